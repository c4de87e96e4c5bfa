//! From the classic to the consumer protocol and back, while a group has members: it becomes a consumer group when the
//! first member of that protocol joins, and a classic group again when the last of them is gone. In between, members of
//! both are in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::records::ConsumerGroupMemberMetadataValue;
use ottla_wire::records::consumer_group_member_metadata_value::{ClassicMemberMetadata, SupportedProtocol};
use tracing::{info, warn};

use super::draft::Draft;
use super::embedded;
use super::group::ConsumerGroup;
use super::member::{ConsumerMember, CurrentAssignment, MemberState, nothing_said};
use super::refusal::Refusal;
use super::timers::ConsumerTimer;
use crate::group::classic::{CONSUMER_PROTOCOL_TYPE, ClassicGroup, ClassicState, Member, prepare};
use crate::group::errors;
use crate::group::record::GroupRecord;
use crate::group::shard::{GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::group::state::StoredGroup;

impl GroupShard {
    /// The group to be changed. A joining member makes one where there is none, and of a classic one where that may be.
    pub(super) fn consumer_draft(
        &mut self,
        turn: &GroupTurn<'_>,
        group_id: &str,
        is_joining: bool,
    ) -> Result<Draft, Refusal> {
        let live = self.live.get(group_id);
        match turn.state.groups.get(group_id) {
            None if is_joining && live.is_none() => Ok(Draft::new(Arc::from(group_id), Arc::default())),
            Some(StoredGroup::Simple | StoredGroup::Classic(_)) if is_joining => {
                let mut draft = Draft::new(Arc::from(group_id), Arc::default());
                draft.record(GroupRecord::GroupMetadata { group_id: group_id.to_owned(), value: None });
                match live.filter(|group| !group.is_in(ClassicState::Empty)) {
                    Some(group) => self.upgrade(group, draft),
                    None => Ok(draft),
                }
            }
            _ => super::leave::existing_draft(turn, group_id),
        }
    }

    /// A consumer group with the members of a classic one, each with what it has.
    fn upgrade(&self, group: &ClassicGroup, mut draft: Draft) -> Result<Draft, Refusal> {
        let group_id = &group.group_id;
        let refused = |reason: &str| {
            info!(group = %group_id, reason, "a classic group stays one");
            let message =
                format!("Cannot upgrade classic group {group_id} to consumer group because {reason}.");
            Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
        };
        if !self.config.consumer.migration_policy.allows_upgrade() {
            return refused("online upgrade is disabled");
        }
        if !group.uses_consumer_protocol() {
            return refused("the group does not use the consumer embedded protocol");
        }
        if group.members().len() > self.config.consumer.max_size {
            return refused("the group size exceeds the consumer group maximum size");
        }
        let mut members = Vec::with_capacity(group.members().len());
        for member in group.members() {
            match self.upgraded_member(group, member) {
                Ok(member) => members.push(member),
                Err(reason) => return refused(reason),
            }
        }
        // Who takes over would give away what members have that are not in the log yet.
        draft.must_be_whole();
        for member in &members {
            draft.write_member(&member.member_id, member.metadata.clone());
        }
        let topics: Vec<Arc<str>> = draft.group().subscribed().names().cloned().collect();
        let hash = crate::group::modern::topics::TopicHashes::default().of_group(&self.image, topics.iter());
        draft.write_group(group.generation_id, hash);
        for member in &members {
            let assigned = &member.current.assigned;
            let target = assigned.iter().map(|(id, partitions)| (*id, partitions.keys().copied().collect()));
            draft.write_target_of(&member.member_id, &target.collect());
        }
        draft.write_target(group.generation_id, 0);
        for member in &members {
            draft.write_current(&member.member_id, &member.current);
        }
        Ok(draft)
    }

    fn upgraded_member(&self, group: &ClassicGroup, member: &Member) -> Result<ConsumerMember, &'static str> {
        let malformed = "the embedded consumer protocol is malformed";
        let subscribed = member.metadata(group.protocol_name.as_deref());
        let first = member.protocols.first().map(|protocol| protocol.metadata.clone());
        let subscribed = if subscribed.is_empty() { first.unwrap_or_default() } else { subscribed };
        let (_, subscription) = embedded::subscription(&subscribed).ok_or(malformed)?;
        let mut assigned = Vec::new();
        if !member.assignment.is_empty() {
            let assignment = embedded::assignment(&member.assignment).ok_or(malformed)?;
            if assignment.user_data.is_some_and(|data| !data.is_empty()) {
                return Err(
                    "an unsupported custom assignor is in use. Please refer to the documentation or \
                            switch to a default assignor before re-attempting the upgrade",
                );
            }
            let topics = assignment.assigned_partitions.iter();
            let topics = topics.map(|topic| (topic.topic.as_str(), topic.partitions.as_slice()));
            assigned = embedded::by_id(&self.image, topics);
        }
        let mut subscribed_topic_names = subscription.topics;
        subscribed_topic_names.sort_unstable();
        subscribed_topic_names.dedup();
        let metadata = ConsumerGroupMemberMetadataValue {
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            classic_member_metadata: Some(classic_metadata(member.session_timeout_ms, &member.protocols)),
            ..nothing_said()
        };
        let current = CurrentAssignment {
            epoch: group.generation_id,
            previous_epoch: group.generation_id,
            state: MemberState::Stable,
            assigned: embedded::owned(&assigned, group.generation_id),
            ..CurrentAssignment::NONE
        };
        Ok(ConsumerMember { member_id: Arc::from(member.member_id.as_str()), metadata, current })
    }

    /// Takes a classic group from memory that the log is about to be told is a consumer group: its members' requests are
    /// answered that they must join again, and their sessions go on as those of the consumer group.
    pub(super) fn retire_classic_group(&mut self, turn: &mut GroupTurn<'_>, group_id: &Arc<str>) {
        let Some(mut group) = self.live.remove(group_id) else { return };
        turn.cancel(GroupTimer::Join(Arc::clone(group_id)));
        turn.cancel(GroupTimer::Sync(Arc::clone(group_id)));
        for member_id in std::mem::take(&mut group.pending_joins).into_ids() {
            turn.cancel(GroupTimer::Session(Arc::clone(group_id), member_id.to_string()));
        }
        for member in group.members_mut() {
            if let Some(responder) = member.awaiting_join.take() {
                turn.reply(responder, errors::join(ErrorCode::RebalanceInProgress, &member.member_id));
            }
            if let Some(responder) = member.awaiting_sync.take() {
                turn.reply(responder, errors::sync(ErrorCode::RebalanceInProgress));
            }
            turn.cancel(GroupTimer::Session(Arc::clone(group_id), member.member_id.clone()));
            let member_id = Arc::from(member.member_id.as_str());
            let timer = ConsumerTimer::Session.of(group_id, &member_id);
            turn.schedule(timer, i64::from(member.session_timeout_ms));
        }
        turn.on_completion(GroupCompletion::Converted { group_id: Arc::clone(group_id) });
    }

    /// Would the group, without these members, be one of classic members alone that may become a classic group?
    pub(super) fn may_downgrade_without(
        &self,
        group: &ConsumerGroup,
        leaving: &[Arc<ConsumerMember>],
    ) -> bool {
        let left = group.len().saturating_sub(leaving.len());
        let classic_leaving = leaving.iter().filter(|member| member.uses_classic_protocol()).count();
        left > 0
            && left == group.classic_members().saturating_sub(classic_leaving)
            && self.may_be_classic(left, leaving)
    }

    /// The same where a classic member takes the place of its earlier self.
    pub(super) fn may_downgrade_by_replacing(
        &self,
        group: &ConsumerGroup,
        earlier: &Arc<ConsumerMember>,
    ) -> bool {
        group.len().saturating_sub(1) == group.classic_members()
            && self.may_be_classic(group.len(), std::slice::from_ref(earlier))
    }

    fn may_be_classic(&self, size: usize, leaving: &[Arc<ConsumerMember>]) -> bool {
        self.config.consumer.migration_policy.allows_downgrade()
            && size <= self.config.group_max_size
            && leaving.iter().any(|member| !member.uses_classic_protocol())
    }

    /// Makes a classic group of those who are left, which rebalances.
    pub(super) fn downgrade_without(
        &mut self,
        turn: &mut GroupTurn<'_>,
        mut draft: Draft,
        leaving: &[Arc<ConsumerMember>],
    ) {
        let left: Vec<Arc<ConsumerMember>> = draft
            .group()
            .members()
            .filter(|member| !leaving.iter().any(|leaving| leaving.member_id == member.member_id))
            .cloned()
            .collect();
        let group = self.downgraded(turn, &draft, &left);
        draft.remove_group();
        self.install_classic_group(
            turn,
            draft,
            group,
            Some("the last member of the consumer protocol has left"),
        );
    }

    /// Makes a classic group of all members, as the draft has them: the last of the consumer protocol has just become a
    /// classic one.
    pub(super) fn downgrade_all(&mut self, turn: &mut GroupTurn<'_>, mut draft: Draft, must_rebalance: bool) {
        let members: Vec<Arc<ConsumerMember>> = draft.group().members().cloned().collect();
        let group = self.downgraded(turn, &draft, &members);
        draft.remove_group();
        let reason =
            must_rebalance.then_some("the last member of the consumer protocol is a classic one now");
        self.install_classic_group(turn, draft, group, reason);
    }

    fn downgraded(
        &self,
        turn: &GroupTurn<'_>,
        draft: &Draft,
        members: &[Arc<ConsumerMember>],
    ) -> ClassicGroup {
        let mut classic: Vec<Member> = members.iter().map(|member| classic_member(member)).collect();
        for member in &mut classic {
            let target = draft.group().target.of(&member.member_id);
            let target = target.iter().map(|(id, partitions)| (*id, partitions.iter().copied().collect()));
            let first = member.protocols.first();
            let version = first.and_then(|protocol| embedded::subscription(&protocol.metadata));
            let version = version.map_or(0, |(version, _)| version);
            member.assignment = embedded::encode_assignment(&self.image, version, target);
        }
        ClassicGroup::stable(
            Arc::clone(&draft.group_id),
            CONSUMER_PROTOCOL_TYPE,
            draft.group().epoch,
            classic,
            turn.now.wall,
        )
    }

    fn install_classic_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        mut draft: Draft,
        mut group: ClassicGroup,
        rebalance: Option<&str>,
    ) {
        let group_id = Arc::clone(&draft.group_id);
        info!(group = %group_id, "a consumer group becomes a classic one");
        let assignments: BTreeMap<String, Bytes> =
            group.members().map(|member| (member.member_id.clone(), member.assignment.clone())).collect();
        let mut stored = group.to_stored(&assignments);
        if rebalance.is_some() {
            // Whoever takes over before the rebalance is at its end begins it anew.
            stored.leader = None;
        }
        let value = Some(stored);
        draft.record(GroupRecord::GroupMetadata { group_id: group_id.to_string(), value });
        draft.finish(turn);
        for member in group.members() {
            Self::cancel_consumer_timers(turn, &group_id, &Arc::from(member.member_id.as_str()));
            let timer = GroupTimer::Session(Arc::clone(&group_id), member.member_id.clone());
            turn.schedule(timer, i64::from(member.session_timeout_ms));
        }
        if let Some(reason) = rebalance {
            prepare(&mut group, &self.config, turn, reason);
        }
        self.live.insert(Arc::clone(&group_id), group);
        turn.on_completion(GroupCompletion::Converted { group_id });
    }

    /// A group of another kind is committed, or failed to be: then it is what it was before.
    pub(crate) fn converted(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &Arc<str>,
        result: Result<(), ErrorCode>,
    ) {
        let Err(code) = result else { return };
        warn!(group = %group_id, ?code, "a group's change of kind could not be written");
        if let Some(mut group) = self.live.remove(group_id) {
            for member in group.members_mut() {
                if let Some(responder) = member.awaiting_join.take() {
                    turn.reply_at_once(responder, Err(code));
                }
                if let Some(responder) = member.awaiting_sync.take() {
                    turn.reply_at_once(responder, Err(code));
                }
            }
        }
        match turn.state.groups.get(group_id) {
            Some(StoredGroup::Consumer(group)) => {
                let group = Arc::clone(group);
                self.start_consumer_sessions(turn, group_id, &group);
            }
            Some(StoredGroup::Classic(stored)) => {
                let stored = Arc::clone(stored);
                self.revive_group(turn, group_id, &stored);
            }
            _ => {}
        }
    }
}

/// What is kept of a member because it speaks the classic protocol.
pub(super) fn classic_metadata(session_timeout_ms: i32, protocols: &[Protocol]) -> ClassicMemberMetadata {
    let supported = protocols.iter().map(|protocol| SupportedProtocol {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
        ..SupportedProtocol::default()
    });
    ClassicMemberMetadata {
        session_timeout_ms,
        supported_protocols: supported.collect(),
        ..ClassicMemberMetadata::default()
    }
}

fn classic_member(member: &ConsumerMember) -> Member {
    let protocols = member.classic_protocols().iter().map(|protocol| Protocol {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
        ..Protocol::default()
    });
    Member {
        member_id: member.member_id.to_string(),
        instance_id: member.metadata.instance_id.clone(),
        client_id: member.metadata.client_id.clone(),
        client_host: member.metadata.client_host.clone(),
        rebalance_timeout_ms: member.metadata.rebalance_timeout_ms,
        session_timeout_ms: member.classic().map_or(0, |classic| classic.session_timeout_ms),
        protocols: protocols.collect(),
        assignment: Bytes::new(),
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
    }
}
