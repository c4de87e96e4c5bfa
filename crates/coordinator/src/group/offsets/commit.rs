use std::sync::Arc;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_commit_request::Partition as CommitPartition;
use ottla_wire::messages::offset_commit_response::{Partition, Topic};
use ottla_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_wire::records::OffsetCommitValue;
use tracing::info;

use crate::group::classic::{ClassicGroup, ClassicState, keep_alive};
use crate::group::consumer::Committer;
use crate::group::context::RequestContext;
use crate::group::record::{ForeignKind, GroupRecord};
use crate::group::shard::{Found, GroupShard, GroupTurn};
use crate::group::state::ForeignGroup;
use crate::runtime::Responder;

/// Since this version clients understand GROUP_ID_NOT_FOUND here (KIP-848).
const GROUP_ID_NOT_FOUND_SINCE: i16 = 9;
/// "As the broker is configured", in a commit's retention time.
const DEFAULT_RETENTION: i64 = -1;

impl GroupShard {
    pub(crate) fn commit_offsets(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: OffsetCommitRequest,
        responder: Responder<OffsetCommitResponse>,
    ) {
        if let Err(code) = self.validate_commit(turn, context, &request) {
            turn.reply_at_once(responder, Err(code));
            return;
        }
        let now = turn.now.wall.value();
        let expire_timestamp = match request.retention_time_ms {
            DEFAULT_RETENTION => -1,
            retention_ms => now.saturating_add(retention_ms),
        };
        let group_id: Arc<str> = Arc::from(request.group_id);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition_index;
                let error = if self.is_metadata_too_large(&partition) {
                    ErrorCode::OffsetMetadataTooLarge
                } else {
                    let value = OffsetCommitValue {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: partition.committed_metadata.unwrap_or_default(),
                        commit_timestamp: now,
                        expire_timestamp,
                        topic_id: topic.topic_id,
                        ..OffsetCommitValue::default()
                    };
                    turn.record(GroupRecord::OffsetCommit {
                        group_id: Arc::clone(&group_id),
                        partition: TopicPartition::new(Arc::clone(&name), index),
                        value: Some(value),
                    });
                    ErrorCode::None
                };
                partitions.push(Partition {
                    partition_index: index,
                    error_code: error.code(),
                    ..Partition::default()
                });
            }
            topics.push(Topic { name: topic.name, topic_id: topic.topic_id, partitions, ..Topic::default() });
        }
        turn.reply(responder, OffsetCommitResponse { topics, ..OffsetCommitResponse::default() });
    }

    /// May the sender commit for this group now? A commit of a member also keeps its session alive.
    fn validate_commit(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: &OffsetCommitRequest,
    ) -> Result<(), ErrorCode> {
        let generation_id = request.generation_id_or_member_epoch;
        match self.find(turn.state, &request.group_id) {
            Found::Live(group) => {
                validate_member_commit(group, request)?;
                if matches!(group.state(), ClassicState::Stable | ClassicState::PreparingRebalance) {
                    keep_alive(group, turn, &request.member_id);
                }
                Ok(())
            }
            Found::Consumer(group) => {
                let by = Committer {
                    member_id: &request.member_id,
                    instance_id: request.group_instance_id.as_deref(),
                    epoch: generation_id,
                    offset_commit_version: Some(context.api_version),
                };
                let partitions = request.topics.iter().flat_map(|topic| {
                    topic.partitions.iter().map(|partition| (topic.topic_id, partition.partition_index))
                });
                group.validate_commit(by, partitions)
            }
            Found::Share(_) => Err(ErrorCode::GroupIdNotFound),
            Found::Foreign(group) => validate_foreign_commit(group, request),
            Found::Idle if generation_id < 0 => Ok(()),
            Found::Idle => Err(ErrorCode::UnknownMemberId),
            Found::Nothing if generation_id < 0 => {
                info!(group = request.group_id, "a group comes into being by a commit without members");
                Ok(())
            }
            Found::Nothing if context.api_version >= GROUP_ID_NOT_FOUND_SINCE => {
                Err(ErrorCode::GroupIdNotFound)
            }
            Found::Nothing => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Kafka counts UTF-16 units here, though the setting speaks of bytes.
    fn is_metadata_too_large(&self, partition: &CommitPartition) -> bool {
        self.is_text_too_large(partition.committed_metadata.as_deref().unwrap_or_default())
    }

    pub(super) fn is_text_too_large(&self, metadata: &str) -> bool {
        let max = self.config.offset_metadata_max_bytes;
        // No text has more units than bytes.
        metadata.len() > max && metadata.encode_utf16().count() > max
    }
}

fn validate_member_commit(group: &ClassicGroup, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let generation_id = request.generation_id_or_member_epoch;
    let is_empty = group.is_in(ClassicState::Empty);
    if generation_id < 0 && is_empty {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if generation_id >= 0 || !request.member_id.is_empty() || instance_id.is_some() {
        group.validate_member(&request.member_id, instance_id)?;
        if generation_id != group.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
    } else if !is_empty {
        return Err(ErrorCode::UnknownMemberId);
    }
    // What the members own is just being decided: a commit now could undo one of the next owner.
    if group.is_in(ClassicState::CompletingRebalance) {
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

/// Groups of other kinds take commits from outside while they have no members.
fn validate_foreign_commit(group: &ForeignGroup, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    match group.kind {
        ForeignKind::Streams => {
            if request.generation_id_or_member_epoch < 0 && group.members.is_empty() {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            }
        }
    }
}
