//! Changing where a group stands, and taking what is known of it out: both while nobody is in the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_share_group_offsets_request::Topic as AlteredTopic;
use ottla_wire::messages::alter_share_group_offsets_response::{Partition, Response};
use ottla_wire::messages::delete_share_group_offsets_request::Topic as NamedTopic;
use ottla_wire::messages::delete_share_group_offsets_response::Response as DeletedTopic;

use super::draft::ShareDraft;
use super::heartbeat::share_draft;
use super::initialize::Initialization;
use crate::group::consumer::refusal::Refusal;
use crate::group::shard::{GroupShard, GroupTurn};
use crate::group::state::StoredGroup;

/// What was found to alter, and what can be said of each partition at once.
pub(super) type Alteration = Result<(Vec<Response>, Initialization), Refusal>;

/// What is to be deleted at the share coordinator, and what can be said of each topic at once.
#[derive(Clone, Debug, Default)]
pub(super) struct OffsetDeletion {
    pub(super) partitions: BTreeSet<(Uuid, i32)>,
    /// By topic id, for those of which something is to be deleted.
    pub(super) names: BTreeMap<Uuid, String>,
    pub(super) refused: Vec<DeletedTopic>,
}

/// A group that is to be deleted, with the partitions that the share coordinator may have something of; or why it can't be.
pub(super) type GroupDeletion = (String, Result<BTreeSet<(Uuid, i32)>, ErrorCode>);

impl GroupShard {
    /// A group that does not exist comes into being.
    pub(super) fn alter_share_offsets(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &str,
        asked: &[AlteredTopic],
    ) -> Alteration {
        let mut draft = share_draft(turn, group_id, true)?;
        check_empty(&draft)?;
        let mut topics = (*draft.group().topics).clone();
        let mut begun = BTreeMap::new();
        let mut partitions = Vec::new();
        let mut responses = Vec::with_capacity(asked.len());
        for topic in asked {
            let known = self.image.topics.by_name(&topic.topic_name);
            let mut answered = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let found = known.filter(|known| known.partitions.contains_key(&asked.partition_index));
                let code = match found {
                    Some(known) => {
                        // Whoever joins meanwhile must not have the group begin elsewhere.
                        begun.insert((known.id, asked.partition_index), turn.now.mono);
                        topics.begin(known.id, &topic.topic_name, asked.partition_index);
                        partitions.push((known.id, asked.partition_index, asked.start_offset));
                        ErrorCode::None
                    }
                    None => ErrorCode::UnknownTopicOrPartition,
                };
                answered.push(answered_partition(asked.partition_index, code));
            }
            responses.push(Response {
                topic_name: topic.topic_name.clone(),
                topic_id: known.map_or(Uuid::ZERO, |known| known.id),
                partitions: answered,
                ..Response::default()
            });
        }
        let state_epoch = draft.group().epoch;
        let initialization =
            Initialization { group_id: Arc::clone(&draft.group_id), state_epoch, partitions };
        if !initialization.partitions.is_empty() {
            self.share_initializations.entry(Arc::clone(&draft.group_id)).or_default().extend(begun);
            draft.write_topics(&topics);
            draft.finish(turn);
        }
        Ok((responses, initialization))
    }

    pub(super) fn begin_offset_deletion(
        &self,
        turn: &mut GroupTurn<'_>,
        group_id: &str,
        asked: &[NamedTopic],
    ) -> Result<OffsetDeletion, Refusal> {
        let mut draft = share_draft(turn, group_id, false)
            .map_err(|refusal| Refusal::new(refusal.code, format!("Group {group_id} not found.")))?;
        check_empty(&draft)?;
        let mut topics = (*draft.group().topics).clone();
        let mut deletion = OffsetDeletion::default();
        for NamedTopic { topic_name, .. } in asked {
            let unknown = |message: &str| DeletedTopic {
                topic_name: topic_name.clone(),
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some(message.to_owned()),
                ..DeletedTopic::default()
            };
            let Some(topic) = self.image.topics.by_name(topic_name) else {
                deletion.refused.push(unknown(ErrorCode::UnknownTopicOrPartition.description()));
                continue;
            };
            let partitions: Vec<i32> = match topics.initialized.remove(&topic.id) {
                Some(initialized) => initialized.partitions.into_iter().collect(),
                // An earlier deletion has not come to its end.
                None if topics.deleting.contains_key(&topic.id) => topic.partitions.keys().copied().collect(),
                None => {
                    deletion.refused.push(unknown("There is no offset information to delete."));
                    continue;
                }
            };
            topics.deleting.insert(topic.id, topic_name.clone());
            deletion.names.insert(topic.id, topic_name.clone());
            deletion.partitions.extend(partitions.into_iter().map(|partition| (topic.id, partition)));
        }
        if topics != *draft.group().topics {
            draft.write_topics(&topics);
            draft.finish(turn);
        }
        Ok(deletion)
    }

    /// The share coordinator has nothing of these topics any more. Deletions that have failed may still be done some time.
    pub(super) fn end_offset_deletion(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &str,
        deleted: &BTreeSet<Uuid>,
        some_have_failed: bool,
    ) {
        let Ok(mut draft) = share_draft(turn, group_id, false) else { return };
        if some_have_failed || !draft.group().is_empty() {
            self.check_share_states_again(group_id);
        }
        let mut topics = (*draft.group().topics).clone();
        topics.deleting.retain(|topic_id, _| !deleted.contains(topic_id));
        if topics != *draft.group().topics {
            draft.write_topics(&topics);
            draft.finish(turn);
        }
    }

    /// Of these groups the share groups that may be deleted, with what the share coordinator may have of them. It is
    /// written first that this goes: if the group then stays, because that fails or because somebody joins meanwhile, it
    /// begins anew.
    pub(super) fn begin_group_deletions(
        &self,
        turn: &mut GroupTurn<'_>,
        group_ids: Vec<String>,
    ) -> Vec<GroupDeletion> {
        turn.allow_split();
        let mut deletions = Vec::new();
        for group_id in group_ids {
            let Some(StoredGroup::Share(group)) = turn.state.groups.get(group_id.as_str()) else { continue };
            if !group.is_empty() {
                continue;
            }
            let mut topics = (*group.topics).clone();
            let mut partitions = topics.all_partitions();
            for topic_id in topics.deleting.keys() {
                let topic = self.image.topics.by_id(*topic_id);
                let numbers = topic.into_iter().flat_map(|topic| topic.partitions.keys());
                partitions.extend(numbers.map(|partition| (*topic_id, *partition)));
            }
            if topics.delete_all() {
                let mut draft = ShareDraft::new(Arc::from(group_id.as_str()), Arc::clone(group));
                draft.write_topics(&topics);
                draft.finish(turn);
            }
            deletions.push((group_id, Ok(partitions)));
        }
        deletions
    }

    /// The share coordinator was to delete what it has of a group, and has not answered, or not all of it. It may yet do so,
    /// and then also with what somebody who joins meanwhile has it initialize.
    pub(super) fn group_deletion_failed(&mut self, turn: &GroupTurn<'_>, group_id: &str) {
        if matches!(turn.state.groups.get(group_id), Some(StoredGroup::Share(_))) {
            self.check_share_states_again(group_id);
        }
    }

    /// All partitions that the share coordinator knows of.
    pub(super) fn initialized_partitions(
        &self,
        turn: &GroupTurn<'_>,
        group_id: &str,
    ) -> BTreeMap<Uuid, Vec<i32>> {
        match turn.committed.groups.get(group_id) {
            Some(StoredGroup::Share(group)) => {
                let topics = group.topics.initialized.iter();
                topics.map(|(id, topic)| (*id, topic.partitions.iter().copied().collect())).collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// Takes a share group out that has nobody in it.
    pub(crate) fn remove_share_group(&mut self, turn: &mut GroupTurn<'_>, group_id: &str) {
        self.share_checks.remove(group_id);
        if let Some(StoredGroup::Share(group)) = turn.state.groups.get(group_id) {
            let mut draft = ShareDraft::new(Arc::from(group_id), Arc::clone(group));
            draft.remove_group();
            draft.finish(turn);
        }
    }
}

fn check_empty(draft: &ShareDraft) -> Result<(), Refusal> {
    if draft.group().is_empty() {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::NonEmptyGroup, format!("Group {} is not empty.", draft.group_id)))
}

pub(super) fn answered_partition(partition_index: i32, code: ErrorCode) -> Partition {
    Partition {
        partition_index,
        error_code: code.code(),
        error_message: code.is_error().then(|| code.description().to_owned()),
        ..Partition::default()
    }
}
