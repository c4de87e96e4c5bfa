//! ConsumerGroupHeartbeat: a member joins, says what it subscribes to and what it has, is told what it shall have, and
//! leaves, all with this one request.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition;
use ottla_wire::messages::consumer_group_heartbeat_response::{
    Assignment as AnsweredAssignment, TopicPartition as AnsweredTopic,
};
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::records::ConsumerGroupMemberMetadataValue;
use tracing::{debug, info};

use super::assigning::{MadeTarget, TargetJob};
use super::assignor::Assignor;
use super::draft::Draft;
use super::group::ConsumerGroup;
use super::leave::existing_draft;
use super::member::{ConsumerMember, CurrentAssignment, MemberState, Owned};
use super::patterns::Resolved;
use super::reconcile::Reconciliation;
use super::refusal::Refusal;
use super::settings::GroupSettings;
use super::timers::ConsumerTimer;
use crate::group::context::RequestContext;
use crate::group::modern::pace::Pace;
use crate::group::modern::{JOIN_EPOCH, LEAVE_EPOCH, LEAVE_STATIC_EPOCH};
use crate::group::shard::{GroupShard, GroupTurn};
use crate::runtime::Responder;

/// A heartbeat whose member is known, and what it said is written.
struct Beat {
    request: ConsumerGroupHeartbeatRequest,
    member_id: Arc<str>,
    /// The member before.
    before: Arc<ConsumerMember>,
    has_subscription_changed: bool,
}

fn answer(
    turn: &mut GroupTurn<'_>,
    responder: Responder<ConsumerGroupHeartbeatResponse>,
    answered: Result<ConsumerGroupHeartbeatResponse, Refusal>,
) {
    match answered {
        Ok(response) => turn.reply(responder, response),
        Err(refusal) => turn.reply_at_once(responder, Ok(refused(refusal))),
    }
}

impl GroupShard {
    pub(crate) fn consumer_heartbeat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: RequestContext,
        request: ConsumerGroupHeartbeatRequest,
        responder: Responder<ConsumerGroupHeartbeatResponse>,
    ) {
        if matches!(request.member_epoch, LEAVE_EPOCH | LEAVE_STATIC_EPOCH) {
            let left = self.consumer_leave(turn, &request);
            return answer(turn, responder, left);
        }
        let Some(job) = self.pattern_job(turn, &request) else {
            return self.consumer_beat(turn, &context, request, &Resolved::default(), responder);
        };
        self.keep_waiting_member(turn, &request);
        turn.in_background(
            responder,
            move || job.run(),
            move |shard, turn, resolved, responder| {
                shard.consumer_beat(turn, &context, request, &resolved, responder);
            },
        );
    }

    /// Whoever has come in time is not late because its answer is.
    fn keep_waiting_member(&self, turn: &mut GroupTurn<'_>, request: &ConsumerGroupHeartbeatRequest) {
        let Ok(draft) = existing_draft(turn, &request.group_id) else { return };
        let is_up_to_date = |member: &&Arc<ConsumerMember>| {
            !member.uses_classic_protocol() && member.current.epoch == request.member_epoch
        };
        if let Some(member) = draft.group().member(&request.member_id).filter(is_up_to_date) {
            let settings = self.consumer_settings(&draft.group_id);
            expect_next_beat(turn, &draft.group_id, &member.member_id, settings);
        }
    }

    fn consumer_beat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: ConsumerGroupHeartbeatRequest,
        resolved: &Resolved,
        responder: Responder<ConsumerGroupHeartbeatResponse>,
    ) {
        match self.consumer_join_or_beat(turn, context, request, resolved) {
            Ok((draft, beat, None)) => {
                let answered = self.finish_beat(turn, draft, &beat);
                answer(turn, responder, answered);
            }
            Ok((draft, beat, Some(job))) => {
                draft.finish(turn);
                turn.in_background(
                    responder,
                    move || job.run(),
                    move |shard, turn, made, responder| {
                        let answered = shard.resume_beat(turn, &beat, &made);
                        answer(turn, responder, answered);
                    },
                );
            }
            Err(refusal) => answer(turn, responder, Err(refusal)),
        }
    }

    /// Writes what the member says of itself, and the target that its group may be due. If that takes long, the answer has
    /// to wait for the job.
    fn consumer_join_or_beat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: ConsumerGroupHeartbeatRequest,
        resolved: &Resolved,
    ) -> Result<(Draft, Beat, Option<TargetJob>), Refusal> {
        let is_joining = request.member_epoch == JOIN_EPOCH;
        let mut draft = self.consumer_draft(turn, &request.group_id, is_joining)?;
        self.check_consumer_group_size(draft.group(), &request.member_id)?;
        let member_id: Arc<str> = match request.member_id.as_str() {
            "" => Arc::from(context.fresh_id_text()),
            known => Arc::from(known),
        };
        let before = find_member(&mut draft, &member_id, &request)?;
        let metadata = updated(&before, context, &request);
        let subscription = GroupShard::update_member(turn, &mut draft, &before, metadata, resolved)?;
        self.refresh_group(&mut draft, subscription.needs_new_epoch);
        let job = self.make_target(turn, &mut draft);
        if job.is_some() {
            self.retire_classic_group(turn, &draft.group_id);
            expect_next_beat(turn, &draft.group_id, &member_id, self.consumer_settings(&draft.group_id));
        }
        let has_subscription_changed = subscription.has_changed;
        Ok((draft, Beat { request, member_id, before, has_subscription_changed }, job))
    }

    /// The heartbeat goes on with the target that it has waited for.
    fn resume_beat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        beat: &Beat,
        made: &MadeTarget,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let mut draft = existing_draft(turn, &beat.request.group_id)?;
        known_member(&draft, &beat.member_id)?;
        self.take_up(turn, &mut draft, made);
        self.finish_beat(turn, draft, beat)
    }

    /// The member's next step to the target, and what it is told of it.
    fn finish_beat(
        &mut self,
        turn: &mut GroupTurn<'_>,
        mut draft: Draft,
        beat: &Beat,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let Beat { request, member_id, before, has_subscription_changed } = beat;
        let member = draft.member_or_new(member_id);
        // What it said before it was given something else says nothing of that.
        let is_up_to_date = member.current == before.current;
        let owned = request.topic_partitions.as_deref().filter(|_| is_up_to_date);
        let target_epoch = draft.group().target.epoch;
        let next = self.reconcile(&draft, &member, target_epoch, *has_subscription_changed, owned)?;
        self.write_reconciled(turn, &mut draft, &member, &next);

        let settings = self.consumer_settings(&draft.group_id);
        expect_next_beat(turn, &draft.group_id, member_id, settings);
        let is_joining = request.member_epoch == JOIN_EPOCH;
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let is_told = is_joining || is_full || next.assigned != before.current.assigned;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.to_string()),
            member_epoch: next.epoch,
            heartbeat_interval_ms: next_beat_ms(turn, draft.group(), &next, settings),
            assignment: is_told.then(|| answered(&next.assigned)),
            ..ConsumerGroupHeartbeatResponse::default()
        };
        self.retire_classic_group(turn, &draft.group_id);
        draft.finish(turn);
        Ok(response)
    }

    /// A group that is at its size takes nobody in, not even a static member under a new id.
    pub(super) fn check_consumer_group_size(
        &self,
        group: &ConsumerGroup,
        member_id: &str,
    ) -> Result<(), Refusal> {
        let max_size = self.config.consumer.max_size;
        if group.len() >= max_size && group.member(member_id).is_none() {
            let message =
                format!("The consumer group has reached its maximum capacity of {max_size} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// What a member has after its next step to its target, borrowed where that is what it has.
    pub(super) fn reconcile<'m>(
        &self,
        draft: &Draft,
        member: &'m ConsumerMember,
        target_epoch: i32,
        has_subscription_changed: bool,
        owned: Option<&[TopicPartition]>,
    ) -> Result<Cow<'m, CurrentAssignment>, Refusal> {
        if !has_subscription_changed && member.current.is_reconciled_to(target_epoch) {
            return Ok(Cow::Borrowed(&member.current));
        }
        let group = draft.group();
        let target = group.target.of(&member.member_id);
        let subscribed = self.topics().ids(group.topics_of(member));
        let reconciliation = Reconciliation {
            current: &member.current,
            target_epoch,
            target: &target,
            subscribed: &subscribed,
            has_subscription_changed,
            owned,
            is_taken: &|topic_id, partition| group.is_taken(topic_id, partition),
        };
        reconciliation.step().map(Cow::Owned).map_err(|code| {
            let message = "The consumer group member is in an unknown state. The member must abandon all its \
                           partitions and rejoin.";
            Refusal::new(code, message)
        })
    }

    /// Writes what a member has from now on, if that is something else. A member of this protocol that must give
    /// partitions up has the time of its rebalance timeout to do so.
    pub(super) fn write_reconciled(
        &self,
        turn: &mut GroupTurn<'_>,
        draft: &mut Draft,
        member: &ConsumerMember,
        next: &CurrentAssignment,
    ) {
        if std::ptr::eq(next, &member.current) || *next == member.current {
            return;
        }
        debug!(group = %draft.group_id, member = %member.member_id, ?next, "a member goes on to its target");
        draft.write_current(&member.member_id, next);
        if member.uses_classic_protocol() {
            return;
        }
        let timer = ConsumerTimer::Rebalance.of(&draft.group_id, &member.member_id);
        if next.state == MemberState::UnrevokedPartitions {
            turn.schedule(timer, i64::from(member.metadata.rebalance_timeout_ms));
        } else {
            turn.cancel(timer);
        }
    }
}

/// When the member is to come again that has this from now on.
fn next_beat_ms(
    turn: &GroupTurn<'_>,
    group: &ConsumerGroup,
    next: &CurrentAssignment,
    settings: GroupSettings,
) -> i32 {
    let pace = Pace {
        heartbeat_interval_ms: settings.heartbeat_interval_ms,
        assignment_interval_ms: settings.assignment_interval_ms,
        group_epoch: group.epoch,
        member_count: group.len(),
        has_partitions: !next.assigned.is_empty(),
        target: &group.target,
        waits_for_others: next.state == MemberState::UnreleasedPartitions,
    };
    pace.next_beat_ms(turn.now.wall.value())
}

fn expect_next_beat(
    turn: &mut GroupTurn<'_>,
    group_id: &Arc<str>,
    member_id: &Arc<str>,
    settings: GroupSettings,
) {
    let session = ConsumerTimer::Session.of(group_id, member_id);
    turn.schedule(session, i64::from(settings.session_timeout_ms));
}

/// The member as the group knows it, or a new one. A static member takes the place of its earlier self.
fn find_member(
    draft: &mut Draft,
    member_id: &Arc<str>,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Arc<ConsumerMember>, Refusal> {
    let is_joining = request.member_epoch == JOIN_EPOCH;
    match &request.instance_id {
        Some(instance_id) if is_joining => join_static_member(draft, member_id, instance_id),
        Some(instance_id) => {
            let member = known_static_member(draft.group(), member_id, instance_id)?;
            check_epoch(&member, request)?;
            Ok(member)
        }
        None if is_joining => {
            info!(group = %draft.group_id, member = %member_id, "a member joins the consumer group");
            Ok(draft.member_or_new(member_id))
        }
        None => {
            let member = known_member(draft, member_id)?;
            check_epoch(&member, request)?;
            Ok(member)
        }
    }
}

pub(super) fn known_member(draft: &Draft, member_id: &str) -> Result<Arc<ConsumerMember>, Refusal> {
    draft.group().member(member_id).cloned().ok_or_else(|| {
        let message = format!("Member {member_id} is not a member of group {}.", draft.group_id);
        Refusal::new(ErrorCode::UnknownMemberId, message)
    })
}

/// The member that holds an instance id, if it is this one.
pub(super) fn known_static_member(
    group: &ConsumerGroup,
    member_id: &str,
    instance_id: &str,
) -> Result<Arc<ConsumerMember>, Refusal> {
    let Some(member) = group.static_member(instance_id) else {
        let message = format!("Instance id {instance_id} is unknown.");
        return Err(Refusal::new(ErrorCode::UnknownMemberId, message));
    };
    if *member.member_id != *member_id {
        let message = format!(
            "Static member {member_id} with instance id {instance_id} was fenced by member {}.",
            member.member_id
        );
        return Err(Refusal::new(ErrorCode::FencedInstanceId, message));
    }
    Ok(Arc::clone(member))
}

/// An earlier self that speaks this protocol must have left before.
fn join_static_member(
    draft: &mut Draft,
    member_id: &Arc<str>,
    instance_id: &str,
) -> Result<Arc<ConsumerMember>, Refusal> {
    let Some(earlier) = draft.group().static_member(instance_id).cloned() else {
        info!(group = %draft.group_id, member = %member_id, instance_id, "a static member joins");
        return Ok(draft.member_or_new(member_id));
    };
    if !earlier.uses_classic_protocol() && !ConsumerGroup::has_left_for_a_while(&earlier) {
        let message = format!(
            "Static member {member_id} with instance id {instance_id} cannot join the group because the instance id is \
             owned by {} member.",
            earlier.member_id
        );
        return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
    }
    Ok(replace_static_member(draft, &earlier, member_id))
}

/// Gives all that a static member was and had to its next self.
pub(super) fn replace_static_member(
    draft: &mut Draft,
    earlier: &ConsumerMember,
    member_id: &Arc<str>,
) -> Arc<ConsumerMember> {
    info!(group = %draft.group_id, member = %member_id, earlier = %earlier.member_id, "a static member is back");
    let target = draft.group().target.of(&earlier.member_id);
    draft.remove_member(&earlier.member_id);
    draft.write_member(member_id, earlier.metadata.clone());
    draft.write_target_of(member_id, &target);
    let current = CurrentAssignment { epoch: 0, previous_epoch: 0, ..earlier.current.clone() };
    draft.write_current(member_id, &current);
    draft.member_or_new(member_id)
}

/// A member may be behind by the one answer that it may have missed, if it has nothing but what it shall have.
fn check_epoch(member: &ConsumerMember, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let (received, known) = (request.member_epoch, member.current.epoch);
    let missed_answer = || {
        received == member.current.previous_epoch
            && request
                .topic_partitions
                .as_deref()
                .is_some_and(|owned| is_subset(owned, &member.current.assigned))
    };
    let differs = match received.cmp(&known) {
        std::cmp::Ordering::Greater => "greater",
        std::cmp::Ordering::Less if !missed_answer() => "smaller",
        _ => return Ok(()),
    };
    let message = format!(
        "The consumer group member has a {differs} member epoch ({received}) than the one known by the group \
         coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

fn is_subset(owned: &[TopicPartition], assigned: &Owned) -> bool {
    owned.iter().all(|topic| {
        assigned
            .get(&topic.topic_id)
            .is_some_and(|of_topic| topic.partitions.iter().all(|partition| of_topic.contains_key(partition)))
    })
}

/// What the member says of itself now: what a request leaves out is as it was. Borrowed where it says nothing new.
fn updated<'m>(
    member: &'m ConsumerMember,
    context: &RequestContext,
    request: &ConsumerGroupHeartbeatRequest,
) -> Cow<'m, ConsumerGroupMemberMetadataValue> {
    let known = &member.metadata;
    let is_as_known = |said: &Option<String>, known: &Option<String>| said.is_none() || said == known;
    if is_as_known(&request.instance_id, &known.instance_id)
        && is_as_known(&request.rack_id, &known.rack_id)
        && is_as_known(&request.server_assignor, &known.server_assignor)
        && is_as_known(&request.subscribed_topic_regex, &known.subscribed_topic_regex)
        && (request.rebalance_timeout_ms == -1 || request.rebalance_timeout_ms == known.rebalance_timeout_ms)
        && request.subscribed_topic_names.is_none()
        && (context.client_id.as_str(), &*context.client_host) == (&known.client_id, &known.client_host)
        && known.classic_member_metadata.is_none()
    {
        return Cow::Borrowed(known);
    }
    let mut metadata = known.clone();
    let set = |field: &mut Option<String>, said: &Option<String>| {
        if said.is_some() {
            field.clone_from(said);
        }
    };
    set(&mut metadata.instance_id, &request.instance_id);
    set(&mut metadata.rack_id, &request.rack_id);
    set(&mut metadata.server_assignor, &request.server_assignor);
    set(&mut metadata.subscribed_topic_regex, &request.subscribed_topic_regex);
    if request.rebalance_timeout_ms != -1 {
        metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(names) = &request.subscribed_topic_names {
        metadata.subscribed_topic_names.clone_from(names);
        metadata.subscribed_topic_names.sort_unstable();
        metadata.subscribed_topic_names.dedup();
    }
    metadata.client_id.clone_from(&context.client_id);
    (*context.client_host).clone_into(&mut metadata.client_host);
    metadata.classic_member_metadata = None;
    Cow::Owned(metadata)
}

/// Refuses what no member could mean, before any group is looked at.
pub(crate) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    api_version: i16,
    assignors: &[Assignor],
) -> Result<(), Refusal> {
    let is_empty = |text: &Option<String>| text.as_deref().is_some_and(|text| text.trim().is_empty());
    let says = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if request.group_id.trim().is_empty() {
        return says("GroupId can't be empty.");
    }
    if is_empty(&request.instance_id) {
        return says("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return says("RackId can't be empty.");
    }
    let has_no_id = request.member_id.trim().is_empty();
    match request.member_epoch {
        JOIN_EPOCH => {
            if api_version >= MEMBER_CHOOSES_ID_SINCE && has_no_id {
                return says("MemberId can't be empty.");
            }
            if request.rebalance_timeout_ms == -1 {
                return says("RebalanceTimeoutMs must be provided in first request.");
            }
            if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return says("TopicPartitions must be empty when (re-)joining.");
            }
            if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
                return says(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        LEAVE_STATIC_EPOCH if request.instance_id.is_none() => return says("InstanceId can't be null."),
        epoch if epoch < LEAVE_STATIC_EPOCH => return says("MemberEpoch is invalid."),
        _ if has_no_id => return says("MemberId can't be empty."),
        _ => {}
    }
    match &request.server_assignor {
        Some(name) if !assignors.iter().any(|assignor| assignor.name() == name) => {
            let supported: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
            let message = format!(
                "ServerAssignor {name} is not supported. Supported assignors: {}.",
                supported.join(", ")
            );
            Err(Refusal::new(ErrorCode::UnsupportedAssignor, message))
        }
        _ => Ok(()),
    }
}

/// Since this version a member makes up its own id (KIP-1082).
const MEMBER_CHOOSES_ID_SINCE: i16 = 1;

pub(crate) fn refused(refusal: Refusal) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn answered(assigned: &Owned) -> AnsweredAssignment {
    let topic =
        |(topic_id, partitions): (&ottla_types::Uuid, &std::collections::BTreeMap<i32, i32>)| AnsweredTopic {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            ..AnsweredTopic::default()
        };
    AnsweredAssignment {
        topic_partitions: assigned.iter().map(topic).collect(),
        ..AnsweredAssignment::default()
    }
}
