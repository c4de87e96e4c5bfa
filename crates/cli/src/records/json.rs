//! Records as JSON: what `consume` prints and `produce` takes. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ottla_client::consumer::ConsumerRecord;
use serde_json::{Map, Value};

use crate::expr::parse_time_ms;
use crate::output::{BASE64, Cell, Column, column, wide};

/// What is printed of a record.
pub const COLUMNS: &[Column<ConsumerRecord>] = &[
    wide("topic", |of| Cell::text(of.topic())),
    column("partition", |of| Cell::number(of.partition())),
    column("offset", |of| Cell::number(of.offset.value())),
    column("timestamp", |of| Cell::Time(of.timestamp.value())),
    wide("leader_epoch", |of| Cell::maybe(of.leader_epoch, |epoch| Cell::number(epoch.0))),
    wide("headers", |of| {
        let content = |value: &Option<Bytes>| Cell::maybe(value.clone(), Cell::Content);
        let header = |header: &ottla_client::consumer::OwnedHeader| {
            (Cell::Content(header.key.clone()), content(&header.value))
        };
        Cell::Headers(of.headers.iter().map(header).collect())
    }),
    column("key", |of| Cell::maybe(of.key.clone(), Cell::Content)),
    column("value", |of| Cell::maybe(of.value.clone(), Cell::Content)),
];

/// Of the columns, for people: rows come before it is known how wide they are.
pub const WIDTHS: &[usize] = &[12, 9, 8, 24, 12, 16, 12];

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub partition: Option<i32>,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Reads an object such as `consume -o jsonl` prints. Where a record is from (`topic`, `offset`, `leader_epoch`) is known, and has no
/// say in where it goes.
pub fn parse(line: &[u8], now_ms: i64) -> Result<NewRecord, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("it is no JSON: {error}"))?;
    let Value::Object(fields) = value else { return Err("it is no JSON object".to_owned()) };
    let mut record = NewRecord::default();
    for (name, value) in fields {
        match name.as_str() {
            "topic" | "offset" | "leader_epoch" => {}
            "partition" => record.partition = partition(&value)?,
            "timestamp" => record.timestamp_ms = timestamp(&value, now_ms)?,
            "key" => record.key = content(&value).map_err(|why| format!("key: {why}"))?,
            "value" => record.value = content(&value).map_err(|why| format!("value: {why}"))?,
            "headers" => record.headers = headers(value)?,
            other => {
                return Err(format!(
                    "a record has no field '{other}': there are key, value, headers, timestamp, partition"
                ));
            }
        }
    }
    Ok(record)
}

fn partition(value: &Value) -> Result<Option<i32>, String> {
    match value {
        Value::Null => Ok(None),
        value => match value.as_i64().and_then(|number| i32::try_from(number).ok()) {
            Some(partition) if partition >= 0 => Ok(Some(partition)),
            _ => Err(format!("partition: {value} is none")),
        },
    }
}

fn timestamp(value: &Value, now_ms: i64) -> Result<Option<i64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => number
            .as_i64()
            .map(Some)
            .ok_or_else(|| format!("timestamp: {number} is no number of milliseconds")),
        Value::String(text) => parse_time_ms(text, now_ms).map(Some),
        other => Err(format!("timestamp: {other} is no point in time")),
    }
}

/// A text as it is, base64 where an object says so, everything else as JSON.
fn content(value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Object(fields) => match base64_of(fields) {
            Some(text) => STANDARD.decode(text).map(Some).map_err(|error| format!("no base64: {error}")),
            None => Ok(Some(value.to_string().into_bytes())),
        },
        other => Ok(Some(other.to_string().into_bytes())),
    }
}

fn base64_of(fields: &Map<String, Value>) -> Option<&str> {
    fields.get(BASE64).filter(|_| fields.len() == 1)?.as_str()
}

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A list of keys and values, or an object where no key repeats.
fn headers(value: Value) -> Result<Headers, String> {
    let one = |key: &Value, value: &Value| -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
        let key = content(key)?.ok_or("a header without a key")?;
        Ok((key, content(value)?))
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| one(&Value::String(key.clone()), value)).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|header| {
                one(header.get("key").unwrap_or(&Value::Null), header.get("value").unwrap_or(&Value::Null))
            })
            .collect(),
        other => Err(format!("headers: {other} is neither a list nor an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<NewRecord, String> {
        parse(line.as_bytes(), 1000)
    }

    #[test]
    fn records_as_consume_prints_them() {
        let line = r#"{"topic":"t","partition":2,"offset":7,"timestamp":"1970-01-01T00:00:01.500Z","leader_epoch":0,
            "headers":[{"key":"a","value":"1"},{"key":"a","value":null}],"key":"k","value":{"base64":"+go="}}"#;
        assert_eq!(
            parsed(line).unwrap(),
            NewRecord {
                partition: Some(2),
                timestamp_ms: Some(1500),
                key: Some(b"k".to_vec()),
                value: Some(b"\xfa\n".to_vec()),
                headers: vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)],
            }
        );
    }

    #[test]
    fn records_as_people_write_them() {
        let record =
            parsed(r#"{"key":1,"value":{"a":[true,null]},"headers":{"h":"v"},"timestamp":5}"#).unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"1"[..]));
        assert_eq!(record.value.as_deref(), Some(&br#"{"a":[true,null]}"#[..]));
        assert_eq!(record.headers, [(b"h".to_vec(), Some(b"v".to_vec()))]);
        assert_eq!(record.timestamp_ms, Some(5));
        assert_eq!(parsed("{}"), Ok(NewRecord::default()));
        for (line, why) in [
            ("[]", "it is no JSON object"),
            ("{", "it is no JSON: "),
            (r#"{"vaule":1}"#, "a record has no field 'vaule'"),
            (r#"{"partition":-1}"#, "partition: -1 is none"),
            (r#"{"timestamp":"noon"}"#, "'@noon' is no point in time"),
            (r#"{"value":{"base64":"*"}}"#, "value: no base64: "),
            (r#"{"headers":[{"value":"v"}]}"#, "a header without a key"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.starts_with(why), "{line}: {error}");
        }
    }
}
