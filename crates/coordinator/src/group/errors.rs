//! Error responses, and what clients are told of errors of the log.

use ottla_wire::ErrorCode;
use ottla_wire::messages::txn_offset_commit_request::Topic as AskedTopic;
use ottla_wire::messages::txn_offset_commit_response::{Partition as TxnPartition, Topic as TxnTopic};
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse, TxnOffsetCommitResponse};

/// What a client is told of an operation that failed in the log below: codes that it can do something with.
pub(crate) fn of_operation(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        code => code,
    }
}

/// The same for OffsetFetch, whose clients must look for the coordinator anew.
pub(crate) fn of_offset_fetch(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::NotCoordinator
        }
        code => of_operation(code),
    }
}

pub(crate) fn join(code: ErrorCode, member_id: &str) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        generation_id: -1,
        member_id: member_id.to_owned(),
        ..JoinGroupResponse::default()
    }
}

/// The same answer for every partition.
pub(crate) fn txn_offset_commit(topics: Vec<AskedTopic>, code: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| TxnPartition {
            partition_index: partition.partition_index,
            error_code: code.code(),
            ..TxnPartition::default()
        });
        TxnTopic { name: topic.name, partitions: partitions.collect(), ..TxnTopic::default() }
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..TxnOffsetCommitResponse::default() }
}

pub(crate) fn sync(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..SyncGroupResponse::default() }
}
