//! Offsets that are taken back: one by one, with their group, or with their topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_groups_response::Result as DeletedGroup;
use ottla_wire::messages::offset_delete_response::{Partition, Topic};
use ottla_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use tracing::info;

use super::by_partition::GroupOffsets;
use super::{Offsets, tombstone};
use crate::group::classic::ClassicState;
use crate::group::consumer::removal;
use crate::group::record::GroupRecord;
use crate::group::shard::{Found, GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::group::state::StoredGroup;
use crate::runtime::Responder;

/// Until what could not be written is tried again, in milliseconds.
const RETRY_MS: i64 = 1000;

impl GroupShard {
    pub(crate) fn delete_offsets(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: OffsetDeleteRequest,
        responder: Responder<OffsetDeleteResponse>,
    ) {
        let group = self.find(turn.state, &request.group_id);
        let refusal = match &group {
            Found::Live(group) if !group.is_in(ClassicState::Empty) && !group.uses_consumer_protocol() => {
                Some(ErrorCode::NonEmptyGroup)
            }
            Found::Foreign(_) | Found::Share(_) | Found::Nothing => Some(ErrorCode::GroupIdNotFound),
            Found::Live(_) | Found::Idle | Found::Consumer(_) => None,
        };
        if let Some(code) = refusal {
            turn.reply_at_once(responder, Err(code));
            return;
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let is_subscribed = match &group {
                Found::Live(group) => group.is_subscribed_to(&topic.name),
                Found::Consumer(group) => group.subscribed().contains(&topic.name),
                _ => false,
            };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition_index;
                let error = if is_subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
                partitions.push(Partition { partition_index: index, error_code: error.code() });
                let partition = TopicPartition::new(topic.name.as_str(), index);
                if !is_subscribed && turn.state.offsets.has_any(&request.group_id, &partition) {
                    turn.record(tombstone(&request.group_id, &partition));
                }
            }
            topics.push(Topic { name: topic.name, partitions });
        }
        turn.reply(responder, OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() });
    }

    pub(crate) fn delete_groups(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_ids: Vec<String>,
        responder: Responder<Vec<DeletedGroup>>,
    ) {
        let mut results = Vec::with_capacity(group_ids.len());
        let mut deleted = BTreeSet::new();
        for group_id in group_ids {
            let error = if deleted.contains(&group_id) {
                ErrorCode::GroupIdNotFound
            } else {
                self.delete_group(turn, &group_id).err().unwrap_or(ErrorCode::None)
            };
            let error_code = error.code();
            results.push(DeletedGroup { group_id: group_id.clone(), error_code, ..DeletedGroup::default() });
            if error == ErrorCode::None {
                deleted.insert(group_id);
            }
        }
        turn.reply(responder, results);
    }

    fn delete_group(&mut self, turn: &mut GroupTurn<'_>, group_id: &str) -> Result<(), ErrorCode> {
        match self.find(turn.state, group_id) {
            Found::Live(group) if !group.is_in(ClassicState::Empty) => return Err(ErrorCode::NonEmptyGroup),
            Found::Live(group) => {
                // Those who were given a member id and have not used it will be told that it is unknown.
                for member_id in std::mem::take(&mut group.pending_joins).into_ids() {
                    turn.cancel(GroupTimer::Session(group.group_id.clone(), member_id.to_string()));
                }
            }
            Found::Idle => {}
            Found::Consumer(group) if !group.is_empty() => return Err(ErrorCode::NonEmptyGroup),
            Found::Share(group) if !group.is_empty() => {
                self.check_share_states_again(group_id);
                return Err(ErrorCode::NonEmptyGroup);
            }
            Found::Consumer(_) | Found::Share(_) => {}
            Found::Foreign(_) | Found::Nothing => return Err(ErrorCode::GroupIdNotFound),
        }
        info!(group = group_id, "a group is deleted");
        for partition in turn.state.offsets.all_partitions(group_id) {
            turn.record(tombstone(group_id, &partition));
        }
        if let Some(StoredGroup::Consumer(group)) = turn.state.groups.get(group_id) {
            removal(group_id, group).finish(turn);
        } else if let Some(StoredGroup::Share(_)) = turn.state.groups.get(group_id) {
            self.remove_share_group(turn, group_id);
        } else {
            turn.record(GroupRecord::GroupMetadata { group_id: group_id.to_owned(), value: None });
        }
        self.forget_if_idle(group_id);
        Ok(())
    }

    /// Takes back what was committed for topics that are gone. An offset that names another topic id belongs to a topic
    /// that was created anew under the name.
    pub(crate) fn topics_deleted(&mut self, turn: &mut GroupTurn<'_>, topics: Arc<[(String, Uuid)]>) {
        turn.allow_split();
        for (group_id, partition) in turn.state.offsets.of_topics(&topics) {
            turn.record(tombstone(&group_id, &partition));
        }
        let ids: Vec<Uuid> = topics.iter().map(|(_, id)| *id).collect();
        self.share_topics_deleted(turn, &ids);
        if turn.has_records() {
            turn.on_completion(GroupCompletion::TopicsDeleted(topics));
        }
    }

    /// Nobody tells of deleted topics a second time: what could not be written is tried again.
    pub(crate) fn deletion_of_topics_failed(turn: &mut GroupTurn<'_>, topics: Arc<[(String, Uuid)]>) {
        turn.schedule(GroupTimer::TopicsDeleted(topics), RETRY_MS);
    }
}

impl Offsets {
    fn has_any(&self, group_id: &str, partition: &TopicPartition) -> bool {
        self.of_group(group_id).is_some_and(|offsets| offsets.contains(partition))
            || self.has_pending(group_id, &partition.topic, partition.partition)
    }

    /// Partitions with an offset of the group, in a transaction or not.
    fn all_partitions(&self, group_id: &str) -> BTreeSet<TopicPartition> {
        let committed = self.of_group(group_id).into_iter();
        let all = committed.chain(self.pending_of_group(group_id)).flat_map(GroupOffsets::iter);
        all.map(|(topic, partition, _)| TopicPartition::new(Arc::clone(topic), partition)).collect()
    }

    fn of_topics(&self, topics: &[(String, Uuid)]) -> BTreeSet<(Arc<str>, TopicPartition)> {
        let mut found = BTreeSet::new();
        let by_group = std::iter::once(&self.committed).chain(self.pending.values()).flatten();
        for (group_id, offsets) in by_group {
            for (name, topic_id) in topics {
                let is_gone = |id: Uuid| id.is_zero() || id == *topic_id;
                let gone = offsets.of_topic(name).filter(|(_, committed)| is_gone(committed.topic_id));
                found.extend(
                    gone.map(|(partition, _)| {
                        (group_id.clone(), TopicPartition::new(name.as_str(), partition))
                    }),
                );
            }
        }
        found
    }
}
