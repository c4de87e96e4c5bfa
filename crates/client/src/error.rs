//! What can go wrong, and what that means for whoever asked.
//!
//! What an error code means is taken from the protocol's own table ([`ErrorCode::facts`]); only what a table can't say
//! (fenced, abortable, possibly written) is listed here.

use std::sync::Arc;

use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use thiserror::Error;

/// Why something that was asked of a cluster was not done, or may not have been.
///
/// It is cheap to clone: many records can fail for one reason.
///
/// ```
/// use ottla_client::ClientError;
/// use ottla_client::wire::ErrorCode;
///
/// let error = ClientError::broker(ErrorCode::NotEnoughReplicas, None, "writing to orders-3");
/// assert!(error.is_retriable() && !error.is_fatal());
/// assert_eq!(error.code(), Some(ErrorCode::NotEnoughReplicas));
/// ```
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// A broker answered with an error.
    #[error("{what}: {code}: {}", message.as_deref().unwrap_or(code.description()))]
    Broker {
        code: ErrorCode,
        /// The broker's own words, if it had any.
        message: Option<Arc<str>>,
        /// What was asked.
        what: Arc<str>,
    },
    /// There was no connection, or it ended before the answer came.
    #[error("no answer from {node}: {why}")]
    Disconnected {
        node: Arc<str>,
        why: Arc<str>,
        /// The request may have reached the broker.
        is_sent: bool,
    },
    /// There was no answer in time.
    #[error("{what}: no answer within {timeout_ms} ms{}", last.as_deref().map(|last| format!("; last: {last}")).unwrap_or_default())]
    TimedOut {
        what: Arc<str>,
        timeout_ms: u64,
        /// The request may have reached the broker.
        is_sent: bool,
        /// Why attempts in that time failed, if there were any.
        last: Option<Arc<ClientError>>,
    },
    /// The broker has no version of the request in common with this client.
    #[error(
        "{node} does not serve {api} in a version that this client knows: the broker is too old or too new for it"
    )]
    Unsupported { api: &'static str, node: Arc<str> },
    /// There is no broker of this id in the cluster's metadata.
    #[error("no broker with id {0} is known: it may be down, or not be part of the cluster")]
    UnknownNode(NodeId),
    /// The other side does not speak Kafka's protocol as it should.
    #[error("the answer from {node} can't be read: {why}")]
    Protocol { node: Arc<str>, why: Arc<str> },
    /// The settings contradict themselves or are not possible.
    #[error("{0}")]
    Settings(Arc<str>),
    /// What was asked for makes no sense in this state: a mistake in the program.
    #[error("{0}")]
    Misuse(Arc<str>),
    /// `buffer.memory` stayed full, or metadata of the topic did not come, for `max.block.ms`.
    #[error("{what} within max.block.ms ({max_block_ms} ms){}", last.as_deref().map(|last| format!(": {last}")).unwrap_or_default())]
    Blocked { what: Arc<str>, max_block_ms: u64, last: Option<Arc<ClientError>> },
    /// The record can never be sent with these settings.
    #[error(
        "a record of {bytes} bytes is larger than {setting} ({limit}): raise that setting, and the broker's and topic's limits with it"
    )]
    RecordTooLarge { bytes: usize, setting: &'static str, limit: u64 },
    /// The records were not acknowledged within `delivery.timeout.ms`.
    #[error(
        "{what} were not acknowledged within delivery.timeout.ms ({timeout_ms} ms){}",
        last.as_deref().map(|last| format!("; last: {last}")).unwrap_or_default()
    )]
    DeliveryTimedOut {
        what: Arc<str>,
        timeout_ms: u64,
        /// An attempt may have reached the broker without its answer having come back.
        is_sent: bool,
        last: Option<Arc<ClientError>>,
    },
    /// An attempt failed for good, but an earlier one, whose answer was lost, may have succeeded.
    #[error("{cause}; an earlier attempt may have been written")]
    Unconfirmed { cause: Arc<ClientError> },
    /// The transaction that these records were part of is being aborted.
    #[error("the transaction was aborted before these records were sent")]
    TransactionAborted,
    /// An earlier error ended this producer's work, or only allows it to abort.
    #[error("{}: {cause}", if *is_fatal { "this producer can't go on" } else { "the transaction can only be aborted" })]
    Failed { is_fatal: bool, cause: Arc<ClientError> },
    /// This side was closed.
    #[error("it was closed")]
    Closed,
}

impl ClientError {
    /// From a broker's answer. `message` is what the broker said, `what` says what was asked.
    pub fn broker(code: ErrorCode, message: Option<String>, what: impl Into<Arc<str>>) -> ClientError {
        let message = message.filter(|message| !message.is_empty()).map(Arc::from);
        ClientError::Broker { code, message, what: what.into() }
    }

    pub(crate) fn settings(why: impl Into<Arc<str>>) -> ClientError {
        ClientError::Settings(why.into())
    }

    pub(crate) fn misuse(why: impl Into<Arc<str>>) -> ClientError {
        ClientError::Misuse(why.into())
    }

    /// The broker's error code, also that of the cause.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Broker { code, .. } => Some(*code),
            ClientError::Failed { cause, .. } | ClientError::Unconfirmed { cause } => cause.code(),
            _ => None,
        }
    }

    /// The same may well succeed later: nothing is wrong with what was asked.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Broker { code, .. } => code.is_retriable(),
            ClientError::Disconnected { .. }
            | ClientError::TimedOut { .. }
            | ClientError::UnknownNode(_)
            | ClientError::Blocked { .. }
            | ClientError::DeliveryTimedOut { .. } => true,
            _ => false,
        }
    }

    /// The cluster looks different from what this client believes: metadata is asked for before the next attempt.
    pub fn needs_metadata(&self) -> bool {
        match self {
            ClientError::Broker { code, .. } => code.is_invalid_metadata(),
            ClientError::Disconnected { .. } | ClientError::UnknownNode(_) => true,
            _ => false,
        }
    }

    /// Another instance has taken this one's place; this one must stop.
    pub fn is_fenced(&self) -> bool {
        if matches!(self, ClientError::Failed { is_fatal: false, .. }) {
            return false;
        }
        matches!(
            self.code(),
            Some(
                ErrorCode::ProducerFenced
                    | ErrorCode::InvalidProducerEpoch
                    | ErrorCode::FencedInstanceId
                    | ErrorCode::TransactionCoordinatorFenced
            )
        )
    }

    /// The transaction must be aborted; after that the producer can go on.
    pub fn is_abortable(&self) -> bool {
        match self {
            ClientError::Broker { code, .. } => *code == ErrorCode::TransactionAbortable,
            ClientError::Failed { is_fatal, .. } => !is_fatal,
            ClientError::TransactionAborted => true,
            ClientError::Unconfirmed { cause } => cause.is_abortable(),
            _ => false,
        }
    }

    /// Trying again with the same producer, consumer or settings can't help.
    pub fn is_fatal(&self) -> bool {
        match self {
            ClientError::Failed { is_fatal, .. } => *is_fatal,
            ClientError::Unconfirmed { cause } => cause.is_fatal(),
            ClientError::Unsupported { .. }
            | ClientError::Settings(_)
            | ClientError::Misuse(_)
            | ClientError::Closed => true,
            ClientError::Broker { code, .. } => {
                self.is_fenced()
                    || matches!(
                        code,
                        ErrorCode::UnsupportedVersion
                            | ErrorCode::UnsupportedForMessageFormat
                            | ErrorCode::SaslAuthenticationFailed
                            | ErrorCode::ClusterAuthorizationFailed
                            | ErrorCode::TransactionalIdAuthorizationFailed
                            | ErrorCode::InvalidProducerIdMapping
                    )
            }
            _ => false,
        }
    }

    /// The change may have been made although nobody confirmed it: sending the same again may make it twice.
    pub fn is_possibly_written(&self) -> bool {
        match self {
            ClientError::Broker { code, .. } => matches!(
                code,
                ErrorCode::UnknownServerError
                    | ErrorCode::RequestTimedOut
                    | ErrorCode::NetworkException
                    | ErrorCode::NotEnoughReplicasAfterAppend
            ),
            ClientError::Disconnected { is_sent, .. }
            | ClientError::TimedOut { is_sent, .. }
            | ClientError::DeliveryTimedOut { is_sent, .. } => *is_sent,
            ClientError::Protocol { .. } | ClientError::Unconfirmed { .. } => true,
            // Whatever was written of a transaction that is aborted doesn't count.
            ClientError::Failed { is_fatal: true, cause } => {
                matches!(**cause, ClientError::Unconfirmed { .. })
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(error: &ClientError) -> Vec<&'static str> {
        [
            (error.is_retriable(), "retriable"),
            (error.needs_metadata(), "metadata"),
            (error.is_fatal(), "fatal"),
            (error.is_fenced(), "fenced"),
            (error.is_abortable(), "abortable"),
            (error.is_possibly_written(), "possibly written"),
        ]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect()
    }

    #[test]
    fn codes_are_told_apart() {
        for (code, expected) in [
            (ErrorCode::NotLeaderOrFollower, vec!["retriable", "metadata"]),
            (ErrorCode::NotEnoughReplicas, vec!["retriable"]),
            (ErrorCode::NotEnoughReplicasAfterAppend, vec!["retriable", "possibly written"]),
            (ErrorCode::RequestTimedOut, vec!["retriable", "possibly written"]),
            (ErrorCode::MessageTooLarge, vec![]),
            (ErrorCode::TransactionAbortable, vec!["abortable"]),
            (ErrorCode::ProducerFenced, vec!["fatal", "fenced"]),
            (ErrorCode::ClusterAuthorizationFailed, vec!["fatal"]),
        ] {
            assert_eq!(kinds(&ClientError::broker(code, None, "a test")), expected, "{code}");
        }
    }

    #[test]
    fn a_cause_shows_through() {
        let cause = Arc::new(ClientError::broker(ErrorCode::ProducerFenced, None, "sending"));
        let fatal = ClientError::Failed { is_fatal: true, cause: Arc::clone(&cause) };
        assert_eq!(kinds(&fatal), ["fatal", "fenced"]);
        assert_eq!(kinds(&ClientError::Failed { is_fatal: false, cause: Arc::clone(&cause) }), ["abortable"]);
        let cause = Arc::new(ClientError::Unconfirmed { cause });
        assert_eq!(
            kinds(&ClientError::Failed { is_fatal: true, cause }),
            ["fatal", "fenced", "possibly written"]
        );
        let lost = ClientError::Disconnected { node: "b:1".into(), why: "it is gone".into(), is_sent: true };
        assert_eq!(kinds(&lost), ["retriable", "metadata", "possibly written"]);
    }

    #[test]
    fn texts_say_what_failed_and_why() {
        let error =
            ClientError::broker(ErrorCode::TopicAuthorizationFailed, Some(String::new()), "writing to a-0");
        assert!(error.to_string().starts_with("writing to a-0: TOPIC_AUTHORIZATION_FAILED: "), "{error}");
        let error = ClientError::broker(ErrorCode::PolicyViolation, Some("no".to_owned()), "creating a");
        assert_eq!(error.to_string(), "creating a: POLICY_VIOLATION: no");
    }
}
