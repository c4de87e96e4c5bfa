use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use tracing::info;

use super::NEW_MEMBER_JOIN_TIMEOUT_MS;
use super::group::{ClassicGroup, ClassicState, MemberUpdate};
use super::member::Member;
use super::rebalance::{complete_join_if_all_joined, joined, prepare_or_complete_join};
use crate::group::context::RequestContext;
use crate::group::errors;
use crate::group::record::GroupRecord;
use crate::group::shard::{Found, GroupCompletion, GroupShard, GroupTimer, GroupTurn};
use crate::group::state::{GroupState, StoredGroup};
use crate::runtime::Responder;

/// Since this version a member without an id is given one and must come back with it, so that a client that gives up
/// early leaves nothing behind (KIP-394).
pub(crate) const MEMBER_ID_REQUIRED_SINCE: i16 = 4;

/// So much of a client's id is part of the member ids that it is given, in characters.
const CLIENT_ID_CHARS_MAX: usize = 255;

impl GroupShard {
    pub(crate) fn join(
        &mut self,
        turn: &mut GroupTurn<'_>,
        context: &RequestContext,
        mut request: JoinGroupRequest,
        responder: Responder<JoinGroupResponse>,
    ) {
        // A member has one vote for a protocol, however often it names it: the first counts.
        let mut named = BTreeSet::new();
        request.protocols.retain(|protocol| named.insert(protocol.name.clone()));
        let exists = match self.find(turn.state, &request.group_id) {
            Found::Consumer(group) if !group.is_empty() => {
                self.join_consumer_group(turn, context, request, responder);
                return;
            }
            // An empty one becomes a classic group, if somebody new comes.
            Found::Consumer(_) => false,
            Found::Foreign(_) | Found::Share(_) => {
                turn.reply(responder, errors::join(ErrorCode::InconsistentGroupProtocol, ""));
                return;
            }
            Found::Live(_) | Found::Idle => true,
            Found::Nothing => false,
        };
        if !exists && !request.member_id.is_empty() {
            turn.reply(responder, errors::join(ErrorCode::UnknownMemberId, &request.member_id));
            return;
        }
        let group_id = request.group_id.clone();
        let max_size = self.config.group_max_size;
        let config = Arc::clone(&self.config);
        let group = self.live_group(turn, &group_id);
        let joiner = Joiner { group, config: &config, context, turn, request };
        if !joiner.is_accepted(max_size) {
            joiner.refuse(responder);
        } else if joiner.request.member_id.is_empty() {
            joiner.join_new_member(responder);
        } else {
            joiner.join_known_member(responder);
        }
        if !exists && !turn.has_records() {
            self.remove_empty_consumer_group(turn, &group_id);
            let stored = ClassicGroup::new(Arc::from(group_id.as_str()), turn.now.wall);
            let value = Some(stored.to_stored(&Default::default()));
            turn.record(GroupRecord::GroupMetadata { group_id: group_id.clone(), value });
            turn.on_completion(GroupCompletion::Created { group_id: Arc::from(group_id.as_str()) });
        }
        self.forget_if_idle(&group_id);
    }

    /// The record of a new group is committed, or failed to be: then there is no such group, and those who have joined
    /// it meanwhile may try again.
    pub(crate) fn created(
        &mut self,
        turn: &mut GroupTurn<'_>,
        group_id: &str,
        result: Result<(), ErrorCode>,
    ) {
        let Err(code) = result else { return };
        if turn.state.groups.contains_key(group_id) {
            return;
        }
        let Some(mut group) = self.live.remove(group_id) else { return };
        for member in group.members_mut() {
            if let Some(responder) = member.awaiting_join.take() {
                turn.reply_at_once(responder, Err(code));
            }
        }
    }

    /// The group in memory, brought there from the log or created.
    fn live_group(&mut self, turn: &GroupTurn<'_>, group_id: &str) -> &mut ClassicGroup {
        let group_id: Arc<str> = Arc::from(group_id);
        let now = turn.now.wall;
        let state: &GroupState = turn.state;
        self.live.entry(Arc::clone(&group_id)).or_insert_with(|| match state.groups.get(&group_id) {
            Some(StoredGroup::Classic(stored)) => ClassicGroup::from_stored(group_id, stored),
            _ => ClassicGroup::new(group_id, now),
        })
    }
}

/// A JoinGroup on its way through the group.
struct Joiner<'a, 't> {
    group: &'a mut ClassicGroup,
    config: &'a crate::group::config::GroupCoordinatorConfig,
    context: &'a RequestContext,
    turn: &'a mut GroupTurn<'t>,
    request: JoinGroupRequest,
}

impl Joiner<'_, '_> {
    /// Is there room? While a group rebalances, those who are quicker get it.
    fn is_accepted(&self, max_size: usize) -> bool {
        let (group, member_id) = (&*self.group, self.request.member_id.as_str());
        match group.state() {
            ClassicState::Empty => true,
            ClassicState::PreparingRebalance => {
                group.member(member_id).is_some_and(|member| member.awaiting_join.is_some())
                    || group.awaiting_join_count() < max_size
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                group.has_member(member_id) || group.members().len() < max_size
            }
        }
    }

    fn refuse(self, responder: Responder<JoinGroupResponse>) {
        super::rebalance::remove_member(self.group, self.turn, &self.request.member_id);
        self.turn.reply(responder, errors::join(ErrorCode::GroupMaxSizeReached, ""));
    }

    fn join_new_member(self, responder: Responder<JoinGroupResponse>) {
        if !self.group.supports(&self.request.protocol_type, &self.request.protocols) {
            self.turn.reply(responder, errors::join(ErrorCode::InconsistentGroupProtocol, ""));
            return;
        }
        let client_id = &self.context.client_id;
        let shown =
            client_id.char_indices().nth(CLIENT_ID_CHARS_MAX).and_then(|(end, _)| client_id.get(..end));
        let prefix = self.request.group_instance_id.as_deref().unwrap_or(shown.unwrap_or(client_id));
        let member_id = format!("{prefix}-{}", self.context.fresh_id_text());
        let old_member_id = match &self.request.group_instance_id {
            Some(instance_id) => self.group.static_member_id(instance_id).cloned(),
            None if self.context.api_version >= MEMBER_ID_REQUIRED_SINCE => {
                return self.give_member_id(&member_id, responder);
            }
            None => None,
        };
        match old_member_id {
            Some(old_member_id) => self.replace_static_member(old_member_id, member_id, responder),
            None => self.add_member(member_id, responder),
        }
    }

    fn give_member_id(self, member_id: &str, responder: Responder<JoinGroupResponse>) {
        if let Some(oldest) = self.group.pending_joins.insert(member_id) {
            self.turn.cancel(GroupTimer::Session(Arc::clone(&self.group.group_id), oldest.to_string()));
        }
        let timer = GroupTimer::Session(Arc::clone(&self.group.group_id), member_id.to_owned());
        self.turn.schedule(timer, i64::from(self.request.session_timeout_ms));
        self.turn.reply(responder, errors::join(ErrorCode::MemberIdRequired, member_id));
    }

    fn join_known_member(self, responder: Responder<JoinGroupResponse>) {
        let member_id = self.request.member_id.clone();
        let instance_id = self.request.group_instance_id.as_deref();
        let refusal = if !self.group.supports(&self.request.protocol_type, &self.request.protocols) {
            Some(ErrorCode::InconsistentGroupProtocol)
        } else if self.group.pending_joins.contains(&member_id) {
            if instance_id.is_none() {
                self.add_member(member_id, responder);
                return;
            }
            // Ids are given out in advance to members without an instance id only.
            Some(ErrorCode::UnknownServerError)
        } else {
            self.group.validate_member(&member_id, instance_id).err()
        };
        if let Some(code) = refusal {
            self.turn.reply(responder, errors::join(code, &member_id));
            return;
        }
        let says_the_same =
            self.group.member(&member_id).is_some_and(|member| member.matches(&self.request.protocols));
        match self.group.state() {
            ClassicState::PreparingRebalance => self.rejoin(responder, "a member joins the rebalance"),
            // The response to its first request may have been lost.
            ClassicState::CompletingRebalance if says_the_same => {
                let response = joined(self.group, &member_id);
                self.turn.reply(responder, response);
            }
            ClassicState::CompletingRebalance => self.rejoin(responder, "a member has changed what it says"),
            // A leader that joins again wants a new assignment: what it subscribes to may have changed.
            ClassicState::Stable if self.group.is_leader(&member_id) => {
                self.rejoin(responder, "the leader joins again");
            }
            ClassicState::Stable if !says_the_same => {
                self.rejoin(responder, "a member has changed what it says");
            }
            ClassicState::Stable => {
                let response = joined(self.group, &member_id);
                self.turn.reply(responder, response);
            }
            ClassicState::Empty => {
                self.turn.reply(responder, errors::join(ErrorCode::UnknownMemberId, &member_id));
            }
        }
    }

    fn rejoin(self, responder: Responder<JoinGroupResponse>, reason: &str) {
        let member_id = self.request.member_id.clone();
        let displaced = self.group.update_member(&member_id, update(self.request), Some(responder));
        if let Some(displaced) = displaced {
            self.turn.reply(displaced, errors::join(ErrorCode::RebalanceInProgress, &member_id));
        }
        prepare_or_complete_join(self.group, self.config, self.turn, reason);
    }

    fn add_member(self, member_id: String, responder: Responder<JoinGroupResponse>) {
        let group_id = Arc::clone(&self.group.group_id);
        info!(group = %group_id, member = member_id, "a member joins");
        let protocol_type = self.request.protocol_type.clone();
        let instance_id = self.request.group_instance_id.clone();
        let MemberUpdate { protocols, rebalance_timeout_ms, session_timeout_ms } = update(self.request);
        let member = Member {
            member_id: member_id.clone(),
            instance_id,
            client_id: self.context.client_id.clone(),
            client_host: self.context.client_host.to_string(),
            rebalance_timeout_ms,
            session_timeout_ms,
            protocols,
            assignment: bytes::Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
        };
        let is_initial = self.group.is_in(ClassicState::PreparingRebalance)
            && self.group.previous_state() == ClassicState::Empty;
        self.group.new_member_added |= is_initial;
        self.group.add(member, &protocol_type, responder);
        self.turn.schedule(GroupTimer::Session(group_id, member_id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        prepare_or_complete_join(self.group, self.config, self.turn, "a new member joins");
    }

    fn replace_static_member(
        self,
        old_member_id: String,
        new_member_id: String,
        responder: Responder<JoinGroupResponse>,
    ) {
        let Some(needs_rebalance) = super::static_member::replace(
            self.group,
            self.turn,
            self.context.api_version,
            (old_member_id, new_member_id),
            update(self.request),
            responder,
        ) else {
            return;
        };
        if needs_rebalance {
            super::rebalance::prepare(self.group, self.config, self.turn, "a static member is back");
        } else {
            complete_join_if_all_joined(self.group, self.turn);
        }
    }
}

fn update(request: JoinGroupRequest) -> MemberUpdate {
    MemberUpdate {
        protocols: request.protocols,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
    }
}
