//! Error codes, and what clients make of them.

use std::fmt;

include!(concat!(env!("OUT_DIR"), "/error_code.rs"));

/// What there is to know about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorFacts {
    pub code: ErrorCode,
    /// As Kafka writes it, such as `UNKNOWN_TOPIC_OR_PARTITION`.
    pub name: &'static str,
    /// A client may send the same again.
    pub is_retriable: bool,
    /// A client asks for metadata before it tries again.
    pub is_invalid_metadata: bool,
    pub description: &'static str,
}

impl ErrorCode {
    /// All of them, in the order of their numbers.
    pub fn all() -> impl ExactSizeIterator<Item = ErrorCode> {
        FACTS.iter().map(|facts| facts.code)
    }

    /// `None` for numbers that Apache Kafka 4.3.1 doesn't know either; it takes them for `UnknownServerError`.
    pub fn from_code(code: i16) -> Option<ErrorCode> {
        Some(FACTS.get(usize::try_from(code.checked_add(1)?).ok()?)?.code)
    }

    /// As a client takes what it was answered: a number that it doesn't know is `UnknownServerError`.
    pub fn from_answer(code: i16) -> ErrorCode {
        ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
    }

    pub const fn code(self) -> i16 {
        self as i16
    }

    #[expect(clippy::indexing_slicing, reason = "a row for each variant, the first with the number -1")]
    pub fn facts(self) -> &'static ErrorFacts {
        &FACTS[(self as i16 + 1) as usize]
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    pub fn is_retriable(self) -> bool {
        self.facts().is_retriable
    }

    pub fn is_invalid_metadata(self) -> bool {
        self.facts().is_invalid_metadata
    }

    /// One short sentence for people, without a full stop.
    pub fn description(self) -> &'static str {
        self.facts().description
    }

    pub fn is_error(self) -> bool {
        self != ErrorCode::None
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.code()
    }
}
