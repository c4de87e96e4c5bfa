//! TxnOffsetCommit: offsets that count with the transaction that they are part of (KIP-98, KIP-447).

use std::sync::Arc;

use ottla_types::{ProducerEpoch, ProducerId, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::txn_offset_commit_request::Partition as AskedPartition;
use ottla_wire::messages::txn_offset_commit_response::{Partition, Topic};
use ottla_wire::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use ottla_wire::records::OffsetCommitValue;
use tracing::info;

use crate::group::classic::{ClassicGroup, ClassicState};
use crate::group::consumer::Committer;
use crate::group::record::{ForeignKind, GroupRecord};
use crate::group::shard::{Found, GroupShard, GroupTurn};
use crate::group::state::ForeignGroup;
use crate::runtime::{Membership, Producer, Responder};

impl GroupShard {
    pub(crate) fn commit_transactional_offsets(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: TxnOffsetCommitRequest,
        verification: Option<u64>,
        responder: Responder<TxnOffsetCommitResponse>,
    ) {
        if let Err(code) = self.validate_transactional_commit(turn, &request) {
            turn.reply_at_once(responder, Err(code));
            return;
        }
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let group_id: Arc<str> = Arc::from(request.group_id);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let partition_index = partition.partition_index;
                let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
                let error = if self.is_text_too_large(metadata) {
                    ErrorCode::OffsetMetadataTooLarge
                } else {
                    turn.record(GroupRecord::OffsetCommit {
                        group_id: Arc::clone(&group_id),
                        partition: TopicPartition::new(Arc::clone(&name), partition_index),
                        value: Some(value(partition, turn.now.wall.value())),
                    });
                    ErrorCode::None
                };
                partitions.push(Partition {
                    partition_index,
                    error_code: error.code(),
                    ..Partition::default()
                });
            }
            topics.push(Topic { name: topic.name, partitions, ..Topic::default() });
        }
        if turn.has_records() {
            turn.within_transaction(Membership { producer, verification });
        }
        turn.reply(responder, TxnOffsetCommitResponse { topics, ..TxnOffsetCommitResponse::default() });
    }

    /// May the sender commit for this group now? A transactional producer need not tell who its consumer is.
    fn validate_transactional_commit(
        &mut self,
        turn: &GroupTurn<'_>,
        request: &TxnOffsetCommitRequest,
    ) -> Result<(), ErrorCode> {
        let image = Arc::clone(&self.image);
        match self.find(turn.state, &request.group_id) {
            Found::Live(group) => validate_member(group, request),
            Found::Consumer(group) => {
                let by = Committer {
                    member_id: &request.member_id,
                    instance_id: request.group_instance_id.as_deref(),
                    epoch: request.generation_id,
                    offset_commit_version: None,
                };
                let partitions = request.topics.iter().flat_map(|topic| {
                    let id = image.topics.by_name(&topic.name).map_or(Uuid::ZERO, |topic| topic.id);
                    topic.partitions.iter().map(move |partition| (id, partition.partition_index))
                });
                group.validate_commit(by, partitions).map_err(|code| match code {
                    // Clients know no other word for it here.
                    ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
                    code => code,
                })
            }
            Found::Foreign(group) => validate_foreign(group, request),
            // There are no offsets to commit: the share coordinator keeps where they stand.
            Found::Share(_) => Err(ErrorCode::GroupIdNotFound),
            Found::Idle if request.generation_id < 0 => Ok(()),
            Found::Idle => Err(ErrorCode::UnknownMemberId),
            Found::Nothing if request.generation_id < 0 => {
                info!(group = request.group_id, "a group comes into being by a transaction's commit");
                Ok(())
            }
            Found::Nothing => Err(ErrorCode::IllegalGeneration),
        }
    }
}

fn value(partition: AskedPartition, now: i64) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp: now,
        expire_timestamp: -1,
        ..OffsetCommitValue::default()
    }
}

fn validate_member(group: &ClassicGroup, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    if request.generation_id < 0 && group.is_in(ClassicState::Empty) {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if request.generation_id >= 0 || !request.member_id.is_empty() || instance_id.is_some() {
        group.validate_member(&request.member_id, instance_id)?;
        if request.generation_id != group.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
    }
    Ok(())
}

/// Groups of other kinds take commits from outside while they have no members.
fn validate_foreign(group: &ForeignGroup, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    match group.kind {
        ForeignKind::Streams => {
            if request.generation_id < 0 && group.members.is_empty() {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            }
        }
    }
}
