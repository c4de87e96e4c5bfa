//! What an error of a coordinator means for the transaction and its producer.

use ottla_wire::ErrorCode;

use super::Step;
use crate::error::ClientError;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same is asked again.
    Again,
    /// The transaction can only be aborted; without the coordinator, if that has forgotten the id.
    Abort { is_forgotten: bool },
    /// The producer can't go on.
    Fatal,
}

/// Codes that say of any request that this producer's time is over, or that it asks for what it may never do.
pub(super) fn ends_the_producer(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ProducerFenced
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedForMessageFormat
    )
}

pub(super) fn judge(step: &Step, error: &ClientError) -> Verdict {
    let Some(code) = error.code() else {
        // What can't be read may say anything; the same asked again is answered the same.
        let is_lost = error.is_retriable() || matches!(error, ClientError::Protocol { .. });
        return if is_lost { Verdict::Again } else { Verdict::Fatal };
    };
    // The coordinator has aborted the transaction, as it took too long: once this side knows that, it can go on.
    if *step == (Step::End { is_committed: true }) && code == ErrorCode::InvalidTxnState {
        return Verdict::Abort { is_forgotten: false };
    }
    let is_over = matches!(
        code,
        // From a coordinator it means that there is a newer one.
        ErrorCode::InvalidProducerEpoch | ErrorCode::InvalidTxnState | ErrorCode::InvalidTransactionTimeout
    );
    if is_over || ends_the_producer(code) {
        return Verdict::Fatal;
    }
    if code.is_retriable() {
        return Verdict::Again;
    }
    let is_forgotten = matches!(code, ErrorCode::InvalidProducerIdMapping | ErrorCode::UnknownProducerId);
    match step {
        Step::Init(_) => Verdict::Fatal,
        // Nobody knows what became of it.
        Step::End { .. } if !is_forgotten && code != ErrorCode::TransactionAbortable => Verdict::Fatal,
        // An abort that is answered so never comes to an end.
        Step::End { is_committed: false } if !is_forgotten => Verdict::Fatal,
        _ => Verdict::Abort { is_forgotten },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_retried_aborted_or_the_end() {
        use ErrorCode::{
            ConcurrentTransactions, FencedInstanceId, GroupAuthorizationFailed, IllegalGeneration,
            InvalidProducerEpoch, InvalidProducerIdMapping, InvalidTxnState, NotCoordinator, ProducerFenced,
            TransactionAbortable, UnknownTopicOrPartition,
        };
        let add = Step::AddOffsets("g".to_owned());
        let commit = Step::End { is_committed: true };
        let abort = Step::End { is_committed: false };
        let aborted = Verdict::Abort { is_forgotten: false };
        let forgotten = Verdict::Abort { is_forgotten: true };
        for (code, of_add, of_commit, of_abort, of_init) in [
            (ConcurrentTransactions, Verdict::Again, Verdict::Again, Verdict::Again, Verdict::Again),
            (NotCoordinator, Verdict::Again, Verdict::Again, Verdict::Again, Verdict::Again),
            (UnknownTopicOrPartition, Verdict::Again, Verdict::Again, Verdict::Again, Verdict::Again),
            (ProducerFenced, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal),
            (InvalidProducerEpoch, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal),
            (InvalidTxnState, Verdict::Fatal, aborted, Verdict::Fatal, Verdict::Fatal),
            (TransactionAbortable, aborted, aborted, Verdict::Fatal, Verdict::Fatal),
            (InvalidProducerIdMapping, forgotten, forgotten, forgotten, Verdict::Fatal),
            (GroupAuthorizationFailed, aborted, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal),
            (IllegalGeneration, aborted, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal),
            (FencedInstanceId, aborted, Verdict::Fatal, Verdict::Fatal, Verdict::Fatal),
        ] {
            let error = ClientError::broker(code, None, "a test");
            let verdicts = [&add, &commit, &abort, &Step::Init(None)].map(|step| judge(step, &error));
            assert_eq!(verdicts, [of_add, of_commit, of_abort, of_init], "{code}");
        }
    }

    #[test]
    fn what_is_lost_is_asked_again() {
        let lost = ClientError::Disconnected { node: "b".into(), why: "cut".into(), is_sent: true };
        assert_eq!(judge(&Step::End { is_committed: true }, &lost), Verdict::Again);
        let unsupported = ClientError::Unsupported { api: "EndTxn", node: "b".into() };
        assert_eq!(judge(&Step::Init(None), &unsupported), Verdict::Fatal);
    }
}
