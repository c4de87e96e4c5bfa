//! Where in a partition: what people write of offsets, and the offset that it is. Pure.
//!
//! ```text
//! start, end          the ends of the log
//! 42                  an offset
//! -10                 so many records before the end
//! +10                 so many records after the start
//! @TIME               the first record at or after a point in time (see `time`)
//! committed, committed-5, committed+5
//!                     where the group is, or so far from there
//! FROM..TO            from the one, up to the other without it; either may be left out
//! ```

mod time;

use std::fmt;

pub use time::{parse_duration_ms, parse_time_ms, show_time};

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Start,
    End,
    Offset(i64),
    /// So many records after the start.
    AfterStart(i64),
    /// So many records before the end.
    BeforeEnd(i64),
    /// The first record at or after it, in milliseconds.
    Time(i64),
    /// So far from what the group has committed.
    Committed(i64),
}

/// From one place up to another, without that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Place,
    /// `None`: without an end.
    pub to: Option<Place>,
}

/// What is known of a partition when a place in it is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub start: i64,
    pub end: i64,
    /// The first record at or after the point in time that was asked for; `None` where there is none.
    pub at_time: Option<i64>,
    pub committed: Option<i64>,
}

/// An offset, and whether it is another one than was asked for because the log has no such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub is_clamped: bool,
}

const FORMS: &str = "start, end, an offset (42), -N (before the end), +N (after the start), @TIME (@2026-11-01T10:00, @-1h, @now), \
                     and FROM..TO for ranges";

impl Place {
    pub fn parse(text: &str, now_ms: i64) -> Result<Place, String> {
        let trimmed = text.trim();
        if let Some(time) = trimmed.strip_prefix('@') {
            return parse_time_ms(time, now_ms).map(Place::Time);
        }
        if let Some(distance) = trimmed.strip_prefix("committed") {
            return match distance {
                "" => Ok(Place::Committed(0)),
                _ => signed(distance).map(Place::Committed).ok_or_else(|| not_a_place(text)),
            };
        }
        match trimmed {
            "start" | "earliest" | "beginning" | "oldest" => return Ok(Place::Start),
            "end" | "latest" | "newest" => return Ok(Place::End),
            _ => {}
        }
        let place = match signed(trimmed) {
            Some(distance) if trimmed.starts_with('-') => Some(Place::BeforeEnd(-distance)),
            Some(distance) => Some(Place::AfterStart(distance)),
            None => number(trimmed).map(Place::Offset),
        };
        place.ok_or_else(|| not_a_place(text))
    }

    /// The offset, inside of what the log has.
    ///
    /// # Errors
    /// Nothing is committed, and the place is reckoned from there.
    pub fn find(self, known: Known) -> Result<Found, String> {
        let wanted = match self {
            Place::Start => known.start,
            Place::End => known.end,
            Place::Offset(offset) => offset,
            Place::AfterStart(count) => known.start.saturating_add(count),
            Place::BeforeEnd(count) => {
                // Fewer records than that is no mistake of whoever wants the last ones.
                return Ok(Found {
                    offset: known.end.saturating_sub(count).max(known.start),
                    is_clamped: false,
                });
            }
            Place::Time(_) => known.at_time.unwrap_or(known.end),
            Place::Committed(distance) => match known.committed {
                Some(committed) => committed.saturating_add(distance),
                None => return Err("the group has committed nothing there".to_owned()),
            },
        };
        let offset = wanted.clamp(known.start, known.end.max(known.start));
        Ok(Found { offset, is_clamped: offset != wanted })
    }

    /// Which point in time has to be asked for.
    pub fn time_ms(self) -> Option<i64> {
        match self {
            Place::Time(time_ms) => Some(time_ms),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Start => f.write_str("start"),
            Place::End => f.write_str("end"),
            Place::Offset(offset) => write!(f, "{offset}"),
            Place::AfterStart(count) => write!(f, "+{count}"),
            Place::BeforeEnd(count) => write!(f, "-{count}"),
            Place::Time(time_ms) => write!(f, "@{}", show_time(*time_ms)),
            Place::Committed(0) => f.write_str("committed"),
            Place::Committed(distance) => write!(f, "committed{distance:+}"),
        }
    }
}

impl Span {
    /// All there is.
    pub const EVERYTHING: Span = Span { from: Place::Start, to: None };

    pub fn parse(text: &str, now_ms: i64) -> Result<Span, String> {
        let Some((from, to)) = text.split_once("..") else {
            return Ok(Span { from: Place::parse(text, now_ms)?, to: None });
        };
        let from = if from.trim().is_empty() { Place::Start } else { Place::parse(from, now_ms)? };
        let to = if to.trim().is_empty() { None } else { Some(Place::parse(to, now_ms)?) };
        let is_backwards = match (from, to) {
            (Place::Offset(from), Some(Place::Offset(to))) => from > to,
            (Place::Time(from), Some(Place::Time(to))) => from > to,
            (Place::BeforeEnd(from), Some(Place::BeforeEnd(to))) => from < to,
            _ => false,
        };
        if is_backwards {
            return Err(format!("'{text}' ends before it begins"));
        }
        Ok(Span { from, to })
    }
}

fn not_a_place(text: &str) -> String {
    format!("'{text}' is no place in a partition: there are {FORMS}")
}

fn number(digits: &str) -> Option<i64> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

/// With its sign.
fn signed(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    Some(sign * number(digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T08:00:00Z
    const NOW: i64 = 1_795_334_400_000;

    #[test]
    fn places_as_they_are_written() {
        for (text, expected, shown) in [
            ("start", Place::Start, "start"),
            ("earliest", Place::Start, "start"),
            ("end", Place::End, "end"),
            ("latest", Place::End, "end"),
            ("42", Place::Offset(42), "42"),
            ("-10", Place::BeforeEnd(10), "-10"),
            ("+10", Place::AfterStart(10), "+10"),
            ("committed", Place::Committed(0), "committed"),
            ("committed-5", Place::Committed(-5), "committed-5"),
            ("committed+5", Place::Committed(5), "committed+5"),
            ("@now", Place::Time(NOW), "@2026-11-22T08:00:00.000Z"),
            ("@-1h", Place::Time(NOW - 3_600_000), "@2026-11-22T07:00:00.000Z"),
        ] {
            assert_eq!(Place::parse(text, NOW), Ok(expected), "{text}");
            assert_eq!(expected.to_string(), shown);
        }
        for text in ["", "x", "--1", "+-1", "1.5", "committed5", "committed*2", "99999999999999999999"] {
            let error = Place::parse(text, NOW).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is no place in a partition")), "{error}");
        }
    }

    #[test]
    fn spans_as_they_are_written() {
        let span = |from, to| Span { from, to };
        for (text, expected) in [
            ("5..20", span(Place::Offset(5), Some(Place::Offset(20)))),
            ("-10..", span(Place::BeforeEnd(10), None)),
            ("..20", span(Place::Start, Some(Place::Offset(20)))),
            ("..", Span::EVERYTHING),
            ("7", span(Place::Offset(7), None)),
            ("@-1h..@now", span(Place::Time(NOW - 3_600_000), Some(Place::Time(NOW)))),
            ("@2026-11-22T07:59:00.500..end", span(Place::Time(NOW - 59_500), Some(Place::End))),
            ("start..committed", span(Place::Start, Some(Place::Committed(0)))),
        ] {
            assert_eq!(Span::parse(text, NOW), Ok(expected), "{text}");
        }
        for text in ["20..5", "@now..@-1h", "-5..-10"] {
            assert_eq!(Span::parse(text, NOW), Err(format!("'{text}' ends before it begins")));
        }
        assert!(Span::parse("5...20", NOW).is_err());
    }

    #[test]
    fn places_are_found_inside_of_the_log() {
        let known = Known { start: 100, end: 200, at_time: Some(150), committed: Some(190) };
        let bare = Known { at_time: None, committed: None, ..known };
        let found = |offset, is_clamped| Ok(Found { offset, is_clamped });
        for (place, known, expected) in [
            (Place::Start, known, found(100, false)),
            (Place::End, known, found(200, false)),
            (Place::Offset(120), known, found(120, false)),
            (Place::Offset(5), known, found(100, true)),
            (Place::Offset(500), known, found(200, true)),
            (Place::AfterStart(10), known, found(110, false)),
            (Place::AfterStart(1000), known, found(200, true)),
            (Place::BeforeEnd(10), known, found(190, false)),
            (Place::BeforeEnd(1000), known, found(100, false)),
            (Place::BeforeEnd(i64::MAX), known, found(100, false)),
            (Place::Time(1), known, found(150, false)),
            (Place::Time(1), bare, found(200, false)),
            (Place::Committed(0), known, found(190, false)),
            (Place::Committed(-50), known, found(140, false)),
            (Place::Committed(50), known, found(200, true)),
            (Place::Committed(i64::MAX), known, found(200, true)),
        ] {
            assert_eq!(place.find(known), expected, "{place}");
        }
        assert!(Place::Committed(0).find(bare).is_err());
    }
}
