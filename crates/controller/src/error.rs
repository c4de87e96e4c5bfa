use std::fmt;

use ottla_config::alter::AlterError;
use ottla_metadata::placement::PlacementError;
use ottla_wire::ErrorCode;

/// Why an operation is refused, in the words that clients of Kafka know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError { code, message: Some(message.into()) }
    }

    /// With the words that Apache Kafka has for the code when there is nothing particular to be said.
    pub fn of(code: ErrorCode) -> ApiError {
        ApiError::new(code, kafkas_words(code))
    }

    /// Without words.
    pub fn bare(code: ErrorCode) -> ApiError {
        ApiError { code, message: None }
    }
}

/// As Apache Kafka 4.3.1 answers: tools print it, and scripts read that.
fn kafkas_words(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        ErrorCode::UnknownTopicId => "This server does not host this topic ID.",
        ErrorCode::PreferredLeaderNotAvailable => "The preferred leader was not available.",
        ErrorCode::EligibleLeadersNotAvailable => "Eligible topic partition leaders are not available.",
        ErrorCode::ElectionNotNeeded => "Leader election not needed for topic partition.",
        other => other.description(),
    }
}

/// The two fields that responses have for an outcome.
pub(crate) fn error_fields<T>(result: &Result<T, ApiError>) -> (i16, Option<String>) {
    match result {
        Ok(_) => (ErrorCode::None.code(), None),
        Err(error) => (error.code.code(), error.message.clone()),
    }
}

impl From<AlterError> for ApiError {
    fn from(error: AlterError) -> ApiError {
        match error {
            AlterError::InvalidRequest(message) => ApiError::new(ErrorCode::InvalidRequest, message),
            AlterError::InvalidConfig(message) => ApiError::new(ErrorCode::InvalidConfig, message),
        }
    }
}

impl From<PlacementError> for ApiError {
    fn from(error: PlacementError) -> ApiError {
        ApiError::new(ErrorCode::InvalidReplicationFactor, error.to_string())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code.name()),
            None => f.write_str(self.code.name()),
        }
    }
}

impl std::error::Error for ApiError {}
