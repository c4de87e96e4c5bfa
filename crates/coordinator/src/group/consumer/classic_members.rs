//! Members of the classic protocol in a consumer group. To them a new target looks like a rebalance: they are told to join
//! again, are given their epoch as the generation, and what they have when they sync. None of them is the leader.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition;
use ottla_wire::messages::leave_group_response::Member as LeftMember;
use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use ottla_wire::records::ConsumerGroupMemberMetadataValue;
use tracing::info;

use super::assigning::{MadeTarget, TargetJob};
use super::draft::Draft;
use super::embedded;
use super::group::{ConsumerGroup, ConsumerGroupState};
use super::heartbeat::{known_member, known_static_member, replace_static_member};
use super::leave::existing_draft;
use super::member::{ConsumerMember, MemberState};
use super::migration::classic_metadata;
use super::patterns::Resolved;
use super::refusal::Refusal;
use super::timers::ConsumerTimer;
use super::update::SubscriptionUpdate;
use crate::group::classic::{CONSUMER_PROTOCOL_TYPE, MEMBER_ID_REQUIRED_SINCE};
use crate::group::context::RequestContext;
use crate::group::errors;
use crate::group::shard::{GroupShard, GroupTurn};
use crate::runtime::Responder;

/// A member that joins, and what it said is written.
struct Join {
    request: JoinGroupRequest,
    member_id: Arc<str>,
    /// The member before.
    before: Arc<ConsumerMember>,
    /// What it says that it has.
    owned: Vec<TopicPartition>,
    update: SubscriptionUpdate,
    /// The group becomes a classic one with it.
    downgrades: bool,
}

/// How far a request to join gets at once.
enum Joining {
    Answered(Box<JoinGroupResponse>),
    Ready(Draft, Join),
    /// For a target that is to be made outside of the shard.
    Waits(Draft, Join, TargetJob),
}

impl GroupShard {
    pub(crate) fn join_consumer_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: JoinGroupRequest,
        responder: Responder<JoinGroupResponse>,
    ) {
        let said_id = request.member_id.clone();
        let answer = |turn: &mut GroupTurn<'_>,
                      responder,
                      joined: Result<JoinGroupResponse, Refusal>,
                      said_id: &str| {
            match joined {
                Ok(response) => turn.reply(responder, response),
                Err(refusal) => turn.reply_at_once(responder, Ok(errors::join(refusal.code, said_id))),
            }
        };
        match self.begin_join(turn, context, request) {
            Ok(Joining::Answered(response)) => answer(turn, responder, Ok(*response), &said_id),
            Ok(Joining::Ready(draft, join)) => {
                let joined = self.finish_join(turn, draft, &join);
                answer(turn, responder, joined, &said_id);
            }
            Ok(Joining::Waits(draft, join, job)) => {
                turn.schedule(
                    ConsumerTimer::Session.of(&draft.group_id, &join.member_id),
                    i64::from(join.request.session_timeout_ms),
                );
                draft.finish(turn);
                turn.in_background(
                    responder,
                    move || job.run(),
                    move |shard, turn, made, responder| {
                        let joined = shard.resume_join(turn, &join, &made);
                        answer(turn, responder, joined, &said_id);
                    },
                );
            }
            Err(refusal) => answer(turn, responder, Err(refusal), &said_id),
        }
    }

    /// Writes what the member says of itself, and the target that its group may be due. If that takes long, the answer has
    /// to wait for the job.
    fn begin_join(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        request: JoinGroupRequest,
    ) -> Result<Joining, Refusal> {
        let mut draft = existing_draft(turn, &request.group_id)?;
        let is_unknown = request.member_id.is_empty();
        let member_id: Arc<str> = match is_unknown {
            true => Arc::from(context.fresh_id_text()),
            false => Arc::from(request.member_id.as_str()),
        };
        self.check_consumer_group_size(draft.group(), &member_id)?;
        if !supports(draft.group(), &request) {
            return Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, "protocols are not supported"));
        }
        if is_unknown
            && request.group_instance_id.is_none()
            && context.api_version >= MEMBER_ID_REQUIRED_SINCE
        {
            let response = errors::join(ErrorCode::MemberIdRequired, &member_id);
            return Ok(Joining::Answered(Box::new(response)));
        }
        let instance_id = request.group_instance_id.as_deref();
        let earlier = instance_id.and_then(|id| draft.group().static_member(id)).cloned();
        let downgrades =
            earlier.as_ref().is_some_and(|earlier| self.may_downgrade_by_replacing(draft.group(), earlier));
        let before = match (instance_id, &earlier) {
            (Some(_), Some(earlier)) if is_unknown => replace_static_member(&mut draft, earlier, &member_id),
            (Some(instance_id), _) if !is_unknown => {
                known_static_member(draft.group(), &member_id, instance_id)?
            }
            _ => draft.member_or_new(&member_id),
        };
        info!(group = %draft.group_id, member = %member_id, "a classic member joins the consumer group");
        let (metadata, owned) = self.said_by_classic_member(&before, context, &request)?;
        // Patterns are those of the others, whose heartbeats see to them.
        let update =
            GroupShard::update_member(turn, &mut draft, &before, Cow::Owned(metadata), &Resolved::default())?;
        self.refresh_group(&mut draft, update.needs_new_epoch);
        let job = if downgrades { None } else { self.make_target(turn, &mut draft) };
        let join = Join { request, member_id, before, owned, update, downgrades };
        Ok(match job {
            Some(job) => Joining::Waits(draft, join, job),
            None => Joining::Ready(draft, join),
        })
    }

    /// The member goes on with the target that it has waited for.
    fn resume_join(
        &mut self,
        turn: &mut GroupTurn<'_>,
        join: &Join,
        made: &MadeTarget,
    ) -> Result<JoinGroupResponse, Refusal> {
        // A group that is of another kind by now, or gone, does not know the member.
        let is_gone = |refusal: Refusal| Refusal::new(ErrorCode::UnknownMemberId, &refusal.message);
        let mut draft = existing_draft(turn, &join.request.group_id).map_err(is_gone)?;
        if !known_member(&draft, &join.member_id)?.uses_classic_protocol() {
            return Err(Refusal::new(
                ErrorCode::UnknownMemberId,
                "the member speaks another protocol by now",
            ));
        }
        self.take_up(turn, &mut draft, made);
        self.finish_join(turn, draft, join)
    }

    /// The member's next step to the target, and what it is told of it.
    fn finish_join(
        &mut self,
        turn: &mut GroupTurn<'_>,
        mut draft: Draft,
        join: &Join,
    ) -> Result<JoinGroupResponse, Refusal> {
        let Join { request, member_id, before, owned, update, downgrades } = join;
        if !downgrades || !update.needs_new_epoch {
            let target_epoch = draft.group().target.epoch;
            let member = draft.member_or_new(member_id);
            // What it said before it was given something else says nothing of that.
            let owned = Some(owned.as_slice()).filter(|_| member.current == before.current);
            let next = self.reconcile(&draft, &member, target_epoch, update.has_changed, owned)?;
            self.write_reconciled(turn, &mut draft, &member, &next);
        }
        let member = draft.member_or_new(member_id);
        let group_id = Arc::clone(&draft.group_id);
        turn.cancel(ConsumerTimer::Join.of(&group_id, member_id));
        if *downgrades {
            // What others are still to be given, they are given by a rebalance alone from now on.
            let must_rebalance = draft.group().state() != ConsumerGroupState::Stable;
            self.downgrade_all(turn, draft, must_rebalance);
        } else {
            let session = ConsumerTimer::Session.of(&group_id, member_id);
            turn.schedule(session, i64::from(request.session_timeout_ms));
            let sync = ConsumerTimer::Sync.of(&group_id, member_id);
            turn.schedule(sync, i64::from(request.rebalance_timeout_ms));
            draft.finish(turn);
        }
        Ok(JoinGroupResponse {
            generation_id: member.current.epoch,
            protocol_type: Some(CONSUMER_PROTOCOL_TYPE.to_owned()),
            protocol_name: request.protocols.first().map(|protocol| protocol.name.clone()),
            member_id: member_id.to_string(),
            ..JoinGroupResponse::default()
        })
    }

    /// What the member says of itself, and what it says that it has.
    fn said_by_classic_member(
        &self,
        before: &ConsumerMember,
        context: &RequestContext,
        request: &JoinGroupRequest,
    ) -> Result<(ConsumerGroupMemberMetadataValue, Vec<TopicPartition>), Refusal> {
        let protocol = request.protocols.first();
        let Some((_, subscription)) =
            protocol.and_then(|protocol| embedded::subscription(&protocol.metadata))
        else {
            return Err(Refusal::new(ErrorCode::UnknownServerError, "malformed subscription"));
        };
        let owned = subscription.owned_partitions.iter();
        let owned = owned.map(|topic| (topic.topic.as_str(), topic.partitions.as_slice()));
        let owned = embedded::by_id(&self.image, owned);
        let mut metadata = before.metadata.clone();
        if request.group_instance_id.is_some() {
            metadata.instance_id.clone_from(&request.group_instance_id);
        }
        if let Some(rack_id) = subscription.rack_id.filter(|rack| !rack.is_empty()) {
            metadata.rack_id = Some(rack_id);
        }
        if request.rebalance_timeout_ms != -1 {
            metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        metadata.subscribed_topic_names = subscription.topics;
        metadata.subscribed_topic_names.sort_unstable();
        metadata.subscribed_topic_names.dedup();
        // Members of this protocol match patterns themselves.
        metadata.subscribed_topic_regex = Some(String::new());
        metadata.client_id.clone_from(&context.client_id);
        (*context.client_host).clone_into(&mut metadata.client_host);
        metadata.classic_member_metadata =
            Some(classic_metadata(request.session_timeout_ms, &request.protocols));
        Ok((metadata, owned))
    }

    pub(crate) fn sync_with_consumer_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: SyncGroupRequest,
        responder: Responder<SyncGroupResponse>,
    ) {
        match self.try_sync_with_consumer_group(turn, request) {
            Ok(response) => turn.reply(responder, response),
            Err(code) => turn.reply_at_once(responder, Ok(errors::sync(code))),
        }
    }

    fn try_sync_with_consumer_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: SyncGroupRequest,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let draft = existing_draft(turn, &request.group_id).map_err(|_| ErrorCode::UnknownMemberId)?;
        let instance_id = request.group_instance_id.as_deref();
        let member = classic_member(&draft, &request.member_id, instance_id)?;
        if request.generation_id != member.current.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        let protocol = member.classic_protocols().first();
        let differs = |said: &Option<String>, is: Option<&str>| said.is_some() && said.as_deref() != is;
        if differs(&request.protocol_type, Some(CONSUMER_PROTOCOL_TYPE))
            || differs(&request.protocol_name, protocol.map(|protocol| protocol.name.as_str()))
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.has_newer_target(turn, &draft, &member)
            && member.current.state != MemberState::UnrevokedPartitions
        {
            must_join_again(turn, &draft.group_id, &member);
            return Err(ErrorCode::RebalanceInProgress);
        }
        turn.cancel(ConsumerTimer::Sync.of(&draft.group_id, &member.member_id));
        keep_alive(turn, &draft.group_id, &member);
        let version = protocol.and_then(|protocol| embedded::subscription(&protocol.metadata));
        let assigned = member.current.assigned.iter();
        let assigned = assigned.map(|(id, partitions)| (*id, partitions.keys().copied().collect()));
        let version = version.map_or(0, |(version, _)| version);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type,
            protocol_name: request.protocol_name,
            assignment: embedded::encode_assignment(&self.image, version, assigned),
            ..SyncGroupResponse::default()
        })
    }

    pub(crate) fn heartbeat_to_consumer_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ErrorCode> {
        let draft = existing_draft(turn, &request.group_id).map_err(|_| ErrorCode::UnknownMemberId)?;
        let member = classic_member(&draft, &request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != member.current.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        keep_alive(turn, &draft.group_id, &member);
        let must_join = self.has_newer_target(turn, &draft, &member)
            || match member.current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !waits_for_others(draft.group(), &member),
                MemberState::Stable | MemberState::Unknown(_) => false,
            };
        let error = if must_join {
            must_join_again(turn, &draft.group_id, &member);
            ErrorCode::RebalanceInProgress
        } else {
            ErrorCode::None
        };
        Ok(HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() })
    }

    /// Is there a target that the member has not gone to, or could one be made if it joined?
    fn has_newer_target(&self, turn: &GroupTurn<'_>, draft: &Draft, member: &ConsumerMember) -> bool {
        draft.group().target.epoch > member.current.epoch
            || self.may_make_target(turn, &draft.group_id, draft.group())
    }

    /// Members of either protocol may be removed so, by their ids or, static ones, by their instance ids.
    pub(crate) fn leave_consumer_group(
        &mut self,
        turn: &mut GroupTurn<'_>,
        request: LeaveGroupRequest,
        responder: Responder<LeaveGroupResponse>,
    ) {
        let Ok(draft) = existing_draft(turn, &request.group_id) else {
            turn.reply_at_once(responder, Err(ErrorCode::UnknownMemberId));
            return;
        };
        let mut leaving: Vec<Arc<ConsumerMember>> = Vec::new();
        let mut members = Vec::with_capacity(request.members.len());
        for member in request.members {
            let instance_id = member.group_instance_id.as_deref();
            let known = match instance_id {
                Some(instance_id) if member.member_id.is_empty() => {
                    draft.group().static_member(instance_id).cloned().ok_or(ErrorCode::UnknownMemberId)
                }
                _ => any_member(&draft, &member.member_id, instance_id),
            };
            let error = known.as_ref().err().copied().unwrap_or(ErrorCode::None);
            if let Ok(known) = known
                && !leaving.iter().any(|leaving| leaving.member_id == known.member_id)
            {
                let reason = member.reason.as_deref().unwrap_or("not provided");
                info!(group = %draft.group_id, member = %known.member_id, reason, "a member leaves");
                leaving.push(known);
            }
            members.push(LeftMember {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: error.code(),
                ..LeftMember::default()
            });
        }
        if !leaving.is_empty() {
            self.remove_consumer_members(turn, draft, &leaving);
        }
        turn.reply(responder, LeaveGroupResponse { members, ..LeaveGroupResponse::default() });
    }
}

/// Can somebody with these protocols be a member? It must share one with all classic members.
fn supports(group: &ConsumerGroup, request: &JoinGroupRequest) -> bool {
    let by_all = |name: &str| group.classic_protocols().count(name) == group.classic_members();
    request.protocol_type == CONSUMER_PROTOCOL_TYPE
        && request.protocols.iter().any(|protocol| by_all(&protocol.name))
}

fn any_member(
    draft: &Draft,
    member_id: &str,
    instance_id: Option<&str>,
) -> Result<Arc<ConsumerMember>, ErrorCode> {
    let member = match instance_id {
        Some(instance_id) => known_static_member(draft.group(), member_id, instance_id),
        None => known_member(draft, member_id),
    };
    member.map_err(|refusal| refusal.code)
}

fn classic_member(
    draft: &Draft,
    member_id: &str,
    instance_id: Option<&str>,
) -> Result<Arc<ConsumerMember>, ErrorCode> {
    let member = any_member(draft, member_id, instance_id)?;
    if member.uses_classic_protocol() { Ok(member) } else { Err(ErrorCode::UnknownMemberId) }
}

/// Is any of what the member shall have, and has not, still with another?
fn waits_for_others(group: &ConsumerGroup, member: &ConsumerMember) -> bool {
    let target = group.target.of(&member.member_id);
    target.iter().any(|(topic_id, partitions)| {
        let assigned = member.current.assigned.get(topic_id);
        partitions.iter().any(|partition| {
            let has = assigned.is_some_and(|assigned| assigned.contains_key(partition));
            !has && group.is_taken(*topic_id, *partition)
        })
    })
}

/// From when it is first told on, the member has the time of its rebalance timeout to join again.
fn must_join_again(turn: &mut GroupTurn<'_>, group_id: &Arc<str>, member: &ConsumerMember) {
    let timer = ConsumerTimer::Join.of(group_id, &member.member_id);
    turn.schedule_if_absent(timer, i64::from(member.metadata.rebalance_timeout_ms));
}

fn keep_alive(turn: &mut GroupTurn<'_>, group_id: &Arc<str>, member: &ConsumerMember) {
    if let Some(classic) = member.classic() {
        let timer = ConsumerTimer::Session.of(group_id, &member.member_id);
        turn.schedule(timer, i64::from(classic.session_timeout_ms));
    }
}
