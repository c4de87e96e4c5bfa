//! What stands in a column of a row: said once, for people and for programs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::expr::show_time;

/// How programs are told that a content is no text.
pub const BASE64: &str = "base64";

/// A value, with what it means: people read `1.5 MiB`, programs 1572864.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Nothing,
    Text(String),
    Number(i64),
    Fraction(f64),
    /// A size.
    Bytes(i64),
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// Programs read seconds, with three decimals.
    DurationMs(i64),
    Flag(bool),
    Numbers(Vec<i32>),
    Texts(Vec<String>),
    /// Bytes that are text most of the time; for programs `{"base64": …}` where they aren't.
    Content(Bytes),
    /// Of a record: for programs a list of objects, since keys repeat; for people `key=value`s.
    Headers(Vec<(Cell, Cell)>),
    /// For programs an object, for people `key=value`s.
    Pairs(Vec<(String, Cell)>),
    /// With what people are to think of it.
    Toned(Tone, Box<Cell>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warning,
    Bad,
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    pub fn number(number: impl TryInto<i64>) -> Cell {
        Cell::Number(number.try_into().unwrap_or(i64::MAX))
    }

    /// What there may be.
    pub fn maybe<T>(value: Option<T>, cell: impl FnOnce(T) -> Cell) -> Cell {
        value.map_or(Cell::Nothing, cell)
    }

    #[must_use]
    pub fn toned(self, tone: Option<Tone>) -> Cell {
        match tone {
            Some(tone) => Cell::Toned(tone, Box::new(self)),
            None => self,
        }
    }

    pub fn tone(&self) -> Option<Tone> {
        match self {
            Cell::Toned(tone, _) => Some(*tone),
            _ => None,
        }
    }

    /// Stands at the right of its column.
    pub fn is_numeric(&self) -> bool {
        match self {
            Cell::Number(_) | Cell::Fraction(_) | Cell::Bytes(_) | Cell::DurationMs(_) => true,
            Cell::Toned(_, cell) => cell.is_numeric(),
            _ => false,
        }
    }

    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Cell::Nothing => "-".to_owned(),
            Cell::Text(text) if text.is_empty() => "-".to_owned(),
            Cell::Text(text) => printable(text),
            Cell::Number(number) => number.to_string(),
            Cell::Fraction(number) => format!("{number:.1}"),
            Cell::Bytes(bytes) => show_bytes(*bytes),
            Cell::Time(time_ms) => show_time(*time_ms),
            Cell::DurationMs(ms) => show_duration(*ms),
            Cell::Flag(true) => "yes".to_owned(),
            Cell::Flag(false) => "no".to_owned(),
            Cell::Numbers(numbers) => join(numbers.iter().map(i32::to_string)),
            Cell::Texts(texts) => join(texts.iter().map(|text| printable(text))),
            Cell::Pairs(pairs) => {
                join(pairs.iter().map(|(key, value)| format!("{}={}", printable(key), value.shown())))
            }
            Cell::Content(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => printable(text),
                Err(_) => bytes.escape_ascii().to_string(),
            },
            Cell::Headers(headers) => {
                join(headers.iter().map(|(key, value)| format!("{}={}", key.shown(), value.shown())))
            }
            Cell::Toned(_, cell) => cell.shown(),
        }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let joined = parts.collect::<Vec<_>>().join(",");
    if joined.is_empty() { "-".to_owned() } else { joined }
}

/// Control characters could do things to a terminal, and lines are rows.
fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// `1.5 MiB`
pub fn show_bytes(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {unit_name}") }
}

/// The two largest units: `1d2h`, `3m12s`, `1.500s`, `12ms`.
pub fn show_duration(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    let seconds = ms / 1000;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{sign}{large}{large_unit}"),
        _ => format!("{sign}{large}{large_unit}{small}{small_unit}"),
    };
    match seconds {
        0 => format!("{sign}{ms}ms"),
        1..10 if !ms.is_multiple_of(1000) => format!("{sign}{seconds}.{:03}s", ms % 1000),
        1..60 => format!("{sign}{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60, "m"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// For programs.
impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Nothing => to.serialize_none(),
            Cell::Text(text) => to.serialize_str(text),
            Cell::Number(number) | Cell::Bytes(number) => to.serialize_i64(*number),
            Cell::Fraction(number) => to.serialize_f64(*number),
            Cell::Time(time_ms) => to.serialize_str(&show_time(*time_ms)),
            Cell::DurationMs(ms) => to.serialize_f64(*ms as f64 / 1000.0),
            Cell::Flag(flag) => to.serialize_bool(*flag),
            Cell::Numbers(numbers) => sequence(numbers, to),
            Cell::Texts(texts) => sequence(texts, to),
            Cell::Pairs(pairs) => to.collect_map(pairs.iter().map(|(key, value)| (key, value))),
            Cell::Content(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => to.serialize_str(text),
                Err(_) => to.collect_map([(BASE64, STANDARD.encode(bytes))]),
            },
            Cell::Headers(headers) => to.collect_seq(headers.iter().map(|(key, value)| Pair { key, value })),
            Cell::Toned(_, cell) => cell.serialize(to),
        }
    }
}

/// A header for programs.
#[derive(serde::Serialize)]
struct Pair<'a> {
    key: &'a Cell,
    value: &'a Cell,
}

fn sequence<T: Serialize, S: Serializer>(of: &[T], to: S) -> Result<S::Ok, S::Error> {
    let mut sequence = to.serialize_seq(Some(of.len()))?;
    for element in of {
        sequence.serialize_element(element)?;
    }
    sequence.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_read_the_same_differently() {
        for (cell, shown, json) in [
            (Cell::Nothing, "-", "null"),
            (Cell::text("a\tb\u{1b}[31m"), "a\\tb\\u{1b}[31m", "\"a\\tb\\u001b[31m\""),
            (Cell::text(""), "-", "\"\""),
            (Cell::Number(-7), "-7", "-7"),
            (Cell::Fraction(1.25), "1.2", "1.25"),
            (Cell::Bytes(1023), "1023 B", "1023"),
            (Cell::Bytes(1_572_864), "1.5 MiB", "1572864"),
            (Cell::Bytes(i64::MAX), "8192.0 PiB", "9223372036854775807"),
            (Cell::Time(0), "1970-01-01T00:00:00.000Z", "\"1970-01-01T00:00:00.000Z\""),
            (Cell::DurationMs(1500), "1.500s", "1.5"),
            (Cell::Flag(true), "yes", "true"),
            (Cell::Numbers(vec![1, 2]), "1,2", "[1,2]"),
            (Cell::Numbers(vec![]), "-", "[]"),
            (Cell::Texts(vec!["a".to_owned()]), "a", "[\"a\"]"),
            (Cell::Pairs(vec![("k".to_owned(), Cell::text("v"))]), "k=v", "{\"k\":\"v\"}"),
            (Cell::Content(Bytes::from_static(b"\xfa\n")), "\\xfa\\n", "{\"base64\":\"+go=\"}"),
            (Cell::Content(Bytes::from_static("\u{e4}".as_bytes())), "\u{e4}", "\"\u{e4}\""),
            (
                Cell::Headers(vec![(Cell::text("k"), Cell::Nothing), (Cell::text("k"), Cell::text("v"))]),
                "k=-,k=v",
                "[{\"key\":\"k\",\"value\":null},{\"key\":\"k\",\"value\":\"v\"}]",
            ),
            (Cell::Number(1).toned(Some(Tone::Bad)), "1", "1"),
        ] {
            assert_eq!(
                (cell.shown().as_str(), serde_json::to_string(&cell).unwrap().as_str()),
                (shown, json)
            );
        }
    }

    #[test]
    fn durations_in_two_units() {
        for (ms, shown) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (59_999, "59s"),
            (192_000, "3m12s"),
            (3_600_000, "1h"),
            (93_600_000, "1d2h"),
            (-1500, "-1.500s"),
        ] {
            assert_eq!(show_duration(ms), shown);
        }
    }
}
