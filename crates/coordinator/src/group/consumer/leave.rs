use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use tracing::info;

use super::draft::Draft;
use super::heartbeat::{known_member, known_static_member};
use super::member::{ConsumerMember, CurrentAssignment, Owned};
use super::record::ConsumerContent;
use super::refusal::Refusal;
use crate::group::modern::LEAVE_STATIC_EPOCH;
use crate::group::shard::{GroupCompletion, GroupShard, GroupTurn};
use crate::group::state::StoredGroup;

impl GroupShard {
    pub(super) fn consumer_leave(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let mut draft = existing_draft(turn, &request.group_id)?;
        let member = match &request.instance_id {
            None => known_member(&draft, &request.member_id)?,
            Some(instance_id) => known_static_member(draft.group(), &request.member_id, instance_id)?,
        };
        info!(
            group = %draft.group_id, member = request.member_id, epoch = request.member_epoch,
            "a member leaves the consumer group"
        );
        if request.member_epoch == LEAVE_STATIC_EPOCH {
            let left = CurrentAssignment {
                epoch: LEAVE_STATIC_EPOCH,
                pending_revocation: Owned::new(),
                ..member.current.clone()
            };
            draft.write_current(&member.member_id, &left);
            draft.finish(turn);
        } else {
            self.remove_consumer_members(turn, draft, &[member]);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// Takes a group out that has nobody in it, to make place for one of another kind.
    pub(crate) fn remove_empty_consumer_group(&self, turn: &mut GroupTurn<'_>, group_id: &str) {
        if let Ok(mut draft) = existing_draft(turn, group_id)
            && draft.group().is_empty()
        {
            draft.remove_group();
            draft.finish(turn);
            turn.on_completion(GroupCompletion::Converted { group_id: Arc::from(group_id) });
        }
    }

    /// Takes members out of the group, which begins a new epoch without them; or becomes a classic group, if those who
    /// are left speak that protocol. Their timers stay: if this can't be written, they are members still.
    pub(super) fn remove_consumer_members(
        &mut self,
        turn: &mut GroupTurn<'_>,
        mut draft: Draft,
        members: &[Arc<ConsumerMember>],
    ) {
        if self.may_downgrade_without(draft.group(), members) {
            self.downgrade_without(turn, draft, members);
            return;
        }
        for member in members {
            draft.remove_member(&member.member_id);
        }
        forget_unused_regexes(&mut draft);
        let hash = self.metadata_hash(draft.group());
        let epoch = draft.group().epoch + 1;
        draft.write_group(epoch, hash);
        draft.finish(turn);
    }
}

/// Takes patterns out that nobody subscribes by any more.
pub(super) fn forget_unused_regexes(draft: &mut Draft) {
    let group = draft.group();
    let unused =
        group.all_resolved().map(|(regex, _)| regex).filter(|regex| !group.regexes().contains(regex));
    for regex in unused.cloned().collect::<Vec<_>>() {
        draft.write(ConsumerContent::Regex(regex, None));
    }
}

/// A consumer group that exists, to be changed.
pub(super) fn existing_draft(turn: &GroupTurn<'_>, group_id: &str) -> Result<Draft, Refusal> {
    match turn.state.groups.get_key_value(group_id) {
        Some((group_id, StoredGroup::Consumer(group))) => {
            Ok(Draft::new(Arc::clone(group_id), Arc::clone(group)))
        }
        Some(_) => {
            let message = format!("Group {group_id} is not a consumer group.");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        }
        None => {
            Err(Refusal::new(ErrorCode::GroupIdNotFound, format!("Consumer group {group_id} not found.")))
        }
    }
}
