//! Stored records as JSON, with the names, the order and the forms that Kafka's own converters give them: so that tools
//! print what Kafka's print.
//!
//! Fields that a version doesn't have are left out, tagged fields also where they have their default. Uuids and binary
//! values are base64.

use std::fmt::{self, Write};

use bytes::Bytes;
use ottla_types::Uuid;

/// A value. Its `Display` is compact JSON, as Jackson writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    /// In this order.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| *key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A member of an object, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        match self {
            Json::Object(members) => members.iter_mut().find(|(key, _)| *key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// What has a form in JSON.
pub trait ToJson {
    /// `version` of the record that holds it decides which fields there are.
    fn to_json(&self, version: i16) -> Json;
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl ToJson for $ty {
            fn to_json(&self, _: i16) -> Json {
                Json::Int(i64::from(*self))
            }
        }
    )*};
}

integers!(i8, i16, u16, i32, u32, i64);

impl ToJson for bool {
    fn to_json(&self, _: i16) -> Json {
        Json::Bool(*self)
    }
}

impl ToJson for f64 {
    fn to_json(&self, _: i16) -> Json {
        Json::Float(*self)
    }
}

impl ToJson for String {
    fn to_json(&self, _: i16) -> Json {
        Json::Text(self.clone())
    }
}

impl ToJson for Uuid {
    fn to_json(&self, _: i16) -> Json {
        Json::Text(self.to_string())
    }
}

impl ToJson for Bytes {
    fn to_json(&self, _: i16) -> Json {
        Json::Text(base64(self))
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, version: i16) -> Json {
        self.as_ref().map_or(Json::Null, |value| value.to_json(version))
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, version: i16) -> Json {
        Json::Array(self.iter().map(|value| value.to_json(version)).collect())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => value.fmt(f),
            Json::Int(value) => value.fmt(f),
            Json::Float(value) => f.write_str(&java_double(*value)),
            Json::Text(text) => write_text(f, text),
            Json::Array(values) => {
                f.write_char('[')?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    value.fmt(f)?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (i, (name, value)) in members.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    f.write_char(':')?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\u{8}' => f.write_str("\\b")?,
            '\t' => f.write_str("\\t")?,
            '\n' => f.write_str("\\n")?,
            '\u{c}' => f.write_str("\\f")?,
            '\r' => f.write_str("\\r")?,
            c if u32::from(c) < 0x20 => write!(f, "\\u{:04X}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// A number as Java's `Double.toString` writes it: plain from a thousandth to ten million, else with an exponent, and
/// always with a fraction. What is no number is quoted in JSON.
pub fn java_double(value: f64) -> String {
    if !value.is_finite() {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        return format!("\"{name}\"");
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{fraction}E{exponent}")
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// In the standard alphabet, padded.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let six = (bits >> (18 - 6 * i)) as usize & 63;
            let letter = BASE64.get(six).copied().unwrap_or(b'=');
            out.push(if i <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{ConsumerProtocolSubscription, FeatureLevelRecord, PartitionRecord, TopicRecord};

    #[track_caller]
    fn check(value: &impl ToJson, version: i16, expected: &str) {
        assert_eq!(value.to_json(version).to_string(), expected);
    }

    #[test]
    fn records_have_kafkas_names_and_order() {
        check(
            &FeatureLevelRecord { name: "kraft.version".into(), feature_level: 1, ..Default::default() },
            0,
            r#"{"name":"kraft.version","featureLevel":1}"#,
        );
        check(
            &TopicRecord { name: "a".into(), topic_id: Uuid::METADATA_TOPIC, ..Default::default() },
            0,
            r#"{"name":"a","topicId":"AAAAAAAAAAAAAAAAAAAAAQ"}"#,
        );
    }

    #[test]
    fn what_a_version_lacks_and_tagged_defaults_are_left_out() {
        let partition =
            PartitionRecord { replicas: vec![1], directories: vec![Uuid::ZERO], ..Default::default() };
        assert_eq!(partition.to_json(0).get("directories"), None);
        let directories = Json::Array(vec![Json::Text(Uuid::ZERO.to_string())]);
        assert_eq!(partition.to_json(1).get("directories"), Some(&directories));
        assert_eq!(partition.to_json(1).get("leaderRecoveryState"), None);
        let subscription = ConsumerProtocolSubscription::default();
        assert_eq!(subscription.to_json(0).get("rackId"), None);
        assert_eq!(subscription.to_json(3).get("rackId"), Some(&Json::Null));
        assert_eq!(subscription.to_json(0).get("userData"), Some(&Json::Null));
    }

    #[test]
    fn texts_and_bytes_are_escaped_as_jackson_does() {
        check(&"a\"\\\n\u{1}\u{7f}é".to_owned(), 0, "\"a\\\"\\\\\\n\\u0001\u{7f}é\"");
        for (bytes, expected) in
            [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("\u{3fb}", "z7s=")]
        {
            check(&Bytes::copy_from_slice(bytes.as_bytes()), 0, &format!("\"{expected}\""));
        }
        check(&Bytes::from_static(&[0xfb, 0xff, 0xfe]), 0, "\"+//+\"");
    }

    #[test]
    fn numbers_are_javas() {
        for (value, expected) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (1048576.0, "1048576.0"),
            (1e7, "1.0E7"),
            (12345678.9, "1.23456789E7"),
            (0.001, "0.001"),
            (0.0005, "5.0E-4"),
            (-2.5, "-2.5"),
        ] {
            check(&value, 0, expected);
        }
    }
}
