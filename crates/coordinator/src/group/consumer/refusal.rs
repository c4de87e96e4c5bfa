use std::fmt;

use ottla_wire::ErrorCode;

/// Why a request is not done, as its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl fmt::Display) -> Refusal {
        Refusal { code, message: message.to_string() }
    }
}
