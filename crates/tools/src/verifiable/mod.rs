//! Producer and consumer for tests of systems: they tell of all that happens to them, in a line of JSON each.

pub(crate) mod consumer;
pub(crate) mod producer;

use bytes::Bytes;
use ottla_wire::Json;

use crate::time::now_ms;
use crate::tool::{Failure, Output};

/// Tells of an event. Its time and name come first.
fn tell(name: &str, members: Vec<(&'static str, Json)>, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut all = vec![("timestamp", Json::Int(now_ms())), ("name", Json::Text(name.to_owned()))];
    all.extend(members);
    output.line(Json::Object(all))?;
    Ok(output.out.flush()?)
}

fn text(text: Option<&str>) -> Json {
    text.map_or(Json::Null, |text| Json::Text(text.to_owned()))
}

fn text_of(bytes: Option<&Bytes>) -> Json {
    bytes.map_or(Json::Null, |bytes| Json::Text(String::from_utf8_lossy(bytes).into_owned()))
}

fn number(number: impl Into<i64>) -> Json {
    Json::Int(number.into())
}
