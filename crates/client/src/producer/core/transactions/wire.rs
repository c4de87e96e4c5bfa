//! The steps of a transaction as requests, and what their answers say.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse, add_partitions_to_txn_request, txn_offset_commit_request,
};

use super::{Asking, GroupOffsets, Level};
use crate::error::ClientError;
use crate::producer::core::lane::Identity;

/// Newer ones are for brokers among themselves.
pub(crate) const ADD_PARTITIONS_VERSION_MAX: i16 = 3;
/// Above it the answer brings a new epoch.
const END_VERSION_MAX: i16 = 4;
/// Above it the group adds itself to the transaction.
const COMMIT_OFFSETS_VERSION_MAX: i16 = 4;
/// Newer ones name topics by their ids.
const COMMIT_OFFSETS_BY_NAME_VERSION_MAX: i16 = 5;
/// Above it partitions add themselves to the transaction.
const PRODUCE_VERSION_MAX: i16 = 11;

impl Level {
    /// The newest version of EndTxn that may be used.
    pub fn end_version_max(self) -> Option<i16> {
        (self == Level::Added).then_some(END_VERSION_MAX)
    }

    pub fn commit_offsets_version_max(self) -> Option<i16> {
        Some(match self {
            Level::Added => COMMIT_OFFSETS_VERSION_MAX,
            Level::Implicit => COMMIT_OFFSETS_BY_NAME_VERSION_MAX,
        })
    }

    pub fn produce_version_max(self) -> Option<i16> {
        (self == Level::Added).then_some(PRODUCE_VERSION_MAX)
    }
}

fn ids(identity: Option<Identity>) -> (i64, i16) {
    identity.map_or((-1, -1), |identity| (identity.producer_id.0, identity.epoch.0))
}

fn identity(producer_id: i64, epoch: i16) -> Option<Identity> {
    (producer_id >= 0)
        .then_some(Identity { producer_id: ProducerId(producer_id), epoch: ProducerEpoch(epoch) })
}

fn check(code: ErrorCode, what: &str) -> Result<(), ClientError> {
    if code.is_error() { Err(ClientError::broker(code, None, what)) } else { Ok(()) }
}

pub(crate) fn init(id: &str, timeout_ms: i32, identity: Option<Identity>) -> InitProducerIdRequest {
    let (producer_id, producer_epoch) = ids(identity);
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: timeout_ms,
        producer_id,
        producer_epoch,
        ..InitProducerIdRequest::default()
    }
}

pub(crate) fn read_init(answer: &InitProducerIdResponse) -> Result<Option<Identity>, ClientError> {
    check(ErrorCode::from_answer(answer.error_code), "asking for the producer's epoch")?;
    Ok(identity(answer.producer_id, answer.producer_epoch))
}

pub(crate) fn add_partitions(
    id: &str,
    asking: &Asking,
    lanes: &BTreeMap<usize, (Arc<str>, i32)>,
) -> AddPartitionsToTxnRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in lanes.values() {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| add_partitions_to_txn_request::V3AndBelowTopic {
            name: name.to_owned(),
            partitions,
            ..Default::default()
        });
    let (producer_id, epoch) = ids(asking.identity);
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: topics.collect(),
        ..AddPartitionsToTxnRequest::default()
    }
}

/// All partitions are added, or none: those that could have been say so, and the error is another one's.
pub(crate) fn read_add_partitions(
    answer: &AddPartitionsToTxnResponse,
) -> Result<Option<Identity>, ClientError> {
    let mut worst = None;
    for topic in &answer.results_by_topic_v3_and_below {
        for partition in &topic.results_by_partition {
            let code = ErrorCode::from_answer(partition.partition_error_code);
            if code.is_error() && code != ErrorCode::OperationNotAttempted {
                let what = format!("adding {}-{} to the transaction", topic.name, partition.partition_index);
                keep_worse(&mut worst, ClientError::broker(code, None, what));
            }
        }
    }
    worst.map_or(Ok(None), Err)
}

pub(crate) fn add_offsets(id: &str, asking: &Asking, group: &str) -> AddOffsetsToTxnRequest {
    let (producer_id, producer_epoch) = ids(asking.identity);
    AddOffsetsToTxnRequest {
        transactional_id: id.to_owned(),
        producer_id,
        producer_epoch,
        group_id: group.to_owned(),
        ..AddOffsetsToTxnRequest::default()
    }
}

pub(crate) fn read_add_offsets(answer: &AddOffsetsToTxnResponse) -> Result<Option<Identity>, ClientError> {
    let code = ErrorCode::from_answer(answer.error_code);
    check(code, "adding the group's offsets to the transaction").map(|()| None)
}

pub(crate) fn commit_offsets(id: &str, asking: &Asking, offsets: &GroupOffsets) -> TxnOffsetCommitRequest {
    let mut topics: Vec<txn_offset_commit_request::Topic> = Vec::new();
    for (partition, offset) in &offsets.offsets {
        if topics.last().is_none_or(|last| *last.name != *partition.topic) {
            topics.push(txn_offset_commit_request::Topic {
                name: partition.topic.to_string(),
                ..Default::default()
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(txn_offset_commit_request::Partition {
                partition_index: partition.partition,
                committed_offset: offset.position.offset.value(),
                committed_leader_epoch: offset.position.leader_epoch.map_or(-1, |epoch| epoch.value()),
                committed_metadata: Some(offset.metadata.clone()),
                ..Default::default()
            });
        }
    }
    let (producer_id, producer_epoch) = ids(asking.identity);
    let request = TxnOffsetCommitRequest {
        transactional_id: id.to_owned(),
        group_id: offsets.group.group_id.clone(),
        producer_id,
        producer_epoch,
        topics,
        ..TxnOffsetCommitRequest::default()
    };
    match &offsets.group.member {
        None => request,
        Some(member) => TxnOffsetCommitRequest {
            generation_id: member.generation_or_epoch,
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            ..request
        },
    }
}

pub(crate) fn read_commit_offsets(answer: &TxnOffsetCommitResponse) -> Result<Option<Identity>, ClientError> {
    let mut worst = None;
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let code = ErrorCode::from_answer(partition.error_code);
            if code.is_error() {
                let what = format!("committing the offset of {}-{}", topic.name, partition.partition_index);
                keep_worse(&mut worst, ClientError::broker(code, None, what));
            }
        }
    }
    worst.map_or(Ok(None), Err)
}

/// What can be asked again is only worth it where nothing else is wrong.
fn keep_worse(worst: &mut Option<ClientError>, error: ClientError) {
    if worst.as_ref().is_none_or(|known| known.is_retriable() && !error.is_retriable()) {
        *worst = Some(error);
    }
}

pub(crate) fn end(id: &str, asking: &Asking, is_committed: bool) -> EndTxnRequest {
    let (producer_id, producer_epoch) = ids(asking.identity);
    EndTxnRequest {
        transactional_id: id.to_owned(),
        producer_id,
        producer_epoch,
        committed: is_committed,
        ..EndTxnRequest::default()
    }
}

/// Older versions answer without a new epoch.
pub(crate) fn read_end(answer: &EndTxnResponse) -> Result<Option<Identity>, ClientError> {
    check(ErrorCode::from_answer(answer.error_code), "ending the transaction")?;
    Ok(identity(answer.producer_id, answer.producer_epoch))
}
