//! Values of settings, parsed from text and printed as Kafka prints them.

use std::fmt;

use crate::error::ConfigError;
use crate::table::Type;

/// `true` or `false` in any case, with white space around it.
pub fn parse_boolean(text: &str) -> Option<bool> {
    let trimmed = trim(text);
    let is = |word: &str| trimmed.eq_ignore_ascii_case(word);
    is("true").then_some(true).or_else(|| is("false").then_some(false))
}

/// A value of one of the types that keys can have. Classes are strings: their names.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    String(String),
    List(Vec<String>),
    Password(Password),
}

impl Value {
    /// Parses `text` as Kafka does: surrounding white space doesn't count, a list is split at its commas, and the
    /// empty text is the empty list. Whether the key allows the value is for its validator to say.
    pub fn parse(name: &str, kind: Type, text: &str) -> Result<Value, ConfigError> {
        let trimmed = trim(text);
        let number = |name_of_type: &'static str| ConfigError::NotANumber {
            name: name.to_owned(),
            value: text.to_owned(),
            name_of_type,
        };
        Ok(match kind {
            Type::Boolean => {
                let refused = || ConfigError::NotABoolean { name: name.to_owned(), value: text.to_owned() };
                Value::Boolean(parse_boolean(trimmed).ok_or_else(refused)?)
            }
            Type::Int => Value::Int(trimmed.parse().map_err(|_| number("INT"))?),
            Type::Short => Value::Short(trimmed.parse().map_err(|_| number("SHORT"))?),
            Type::Long => Value::Long(trimmed.parse().map_err(|_| number("LONG"))?),
            Type::Double => Value::Double(parse_double(trimmed).ok_or_else(|| number("DOUBLE"))?),
            Type::String | Type::Class => Value::String(trimmed.to_owned()),
            Type::List => Value::List(split_list(trimmed)),
            Type::Password => Value::Password(Password::new(trimmed)),
        })
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(v) => Some(f64::from(*v)),
            Value::Short(v) => Some(f64::from(*v)),
            Value::Long(v) => Some(*v as f64),
            Value::Double(v) => Some(*v),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(v) => Some(i64::from(*v)),
            Value::Short(v) => Some(i64::from(*v)),
            Value::Long(v) => Some(*v),
            _ => None,
        }
    }
}

/// As text; a password as `[hidden]`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(v) => v.fmt(f),
            Value::Int(v) => v.fmt(f),
            Value::Short(v) => v.fmt(f),
            Value::Long(v) => v.fmt(f),
            Value::Double(v) => f.write_str(&java_double(*v)),
            Value::String(v) => f.write_str(v),
            Value::List(v) => f.write_str(&v.join(",")),
            Value::Password(v) => v.fmt(f),
        }
    }
}

/// A secret: it can be read on purpose, and is hidden wherever it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// What stands in its place where it is printed.
    pub const HIDDEN: &'static str = "[hidden]";

    pub fn new(secret: impl Into<String>) -> Password {
        Password(secret.into())
    }

    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Password::HIDDEN)
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Password::HIDDEN)
    }
}

/// Java's `String.trim`: everything up to and including the space character goes.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn split_list(trimmed: &str) -> Vec<String> {
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed.split(',').map(|entry| entry.trim().to_owned()).collect()
}

/// Java's `Double.parseDouble`, except for hexadecimal notation.
fn parse_double(text: &str) -> Option<f64> {
    let number = text
        .strip_suffix(['f', 'F', 'd', 'D'])
        .filter(|n| n.ends_with(|c: char| c.is_ascii_digit() || c == '.'));
    let number = number.unwrap_or(text);
    match number {
        "NaN" | "+NaN" | "-NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if number.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => number.parse().ok(),
        _ => None,
    }
}

/// Java's `Double.toString`: plain between 10^-3 and 10^7, with an exponent outside, always with a fraction.
pub(crate) fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0E{exponent}"),
        None => scientific,
    }
}
