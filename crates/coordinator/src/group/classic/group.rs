use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::Timestamp;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::join_group_response::Member as JoinedMember;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_wire::records::{ConsumerProtocolSubscription, GroupMetadataValue};
use ottla_wire::{Decoder, ErrorCode, Message};

use super::CONSUMER_PROTOCOL_TYPE;
use super::member::Member;
use super::pending_joins::PendingJoins;
use crate::runtime::Responder;

/// Where a classic group stands. A group that doesn't exist is called Dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassicState {
    /// Without members; what it has committed stays until it expires.
    Empty,
    /// Waits for its members to join the next generation.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    Stable,
}

impl ClassicState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ClassicState::Empty => "Empty",
            ClassicState::PreparingRebalance => "PreparingRebalance",
            ClassicState::CompletingRebalance => "CompletingRebalance",
            ClassicState::Stable => "Stable",
        }
    }
}

/// A classic group in memory.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) group_id: Arc<str>,
    state: ClassicState,
    previous_state: ClassicState,
    state_since: Timestamp,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    pub(crate) generation_id: i32,
    pub(crate) leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    static_members: BTreeMap<String, String>,
    /// Member ids that were given out and not yet used.
    pub(crate) pending_joins: PendingJoins,
    /// Members of the generation that have not asked for their assignment yet.
    pub(crate) pending_syncs: BTreeSet<String>,
    /// Members for each protocol that support it.
    supporters: BTreeMap<String, usize>,
    awaiting_join_count: usize,
    pub(crate) join_phase: JoinPhase,
    /// Somebody joined since the initial rebalance was last put off.
    pub(crate) new_member_added: bool,
    /// `None` if the members are no consumers, or can't be understood.
    pub(crate) subscribed_topics: Option<BTreeSet<String>>,
    /// The log doesn't say yet, or failed to be told, what became of the group.
    pub(crate) is_ahead_of_log: bool,
}

/// What the group's join timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinPhase {
    /// The first rebalance of an empty group waits for more members, longer if some come: this long now, and this long
    /// at most after that.
    Initial { delay_ms: i32, remaining_ms: i32 },
    /// Members have until the rebalance timeout to join again.
    Rebalance,
}

impl ClassicGroup {
    pub(crate) fn new(group_id: Arc<str>, state_since: Timestamp) -> ClassicGroup {
        ClassicGroup {
            group_id,
            state: ClassicState::Empty,
            previous_state: ClassicState::Empty,
            state_since,
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: PendingJoins::default(),
            pending_syncs: BTreeSet::new(),
            supporters: BTreeMap::new(),
            awaiting_join_count: 0,
            join_phase: JoinPhase::Rebalance,
            new_member_added: false,
            subscribed_topics: None,
            is_ahead_of_log: false,
        }
    }

    /// The group as its last committed generation left it.
    pub(crate) fn from_stored(group_id: Arc<str>, stored: &GroupMetadataValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(group_id, Timestamp(stored.current_state_timestamp));
        for member in &stored.members {
            group.insert(Member::from_stored(member, stored.protocol.as_deref()));
        }
        group.protocol_type = Some(stored.protocol_type.clone()).filter(|name| !name.is_empty());
        group.protocol_name = stored.protocol.clone();
        group.generation_id = stored.generation;
        group.leader = stored.leader.clone();
        if !group.members.is_empty() {
            group.state = ClassicState::Stable;
            group.leader = group.leader.filter(|leader| group.members.contains_key(leader));
            if group.leader.is_none() {
                group.leader = group.members.keys().next().cloned();
            }
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// A stable group of members that have their assignments.
    pub(crate) fn stable(
        group_id: Arc<str>,
        protocol_type: &str,
        generation_id: i32,
        members: Vec<Member>,
        now: Timestamp,
    ) -> ClassicGroup {
        let mut group = ClassicGroup::new(group_id, now);
        group.leader = members.first().map(|member| member.member_id.clone());
        members.into_iter().for_each(|member| group.insert(member));
        group.state = ClassicState::Stable;
        group.protocol_type = Some(protocol_type.to_owned());
        group.generation_id = generation_id;
        group.protocol_name = group.select_protocol();
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// The record of the group with these assignments; members without one get an empty assignment.
    pub(crate) fn to_stored(&self, assignments: &BTreeMap<String, Bytes>) -> GroupMetadataValue {
        let protocol = self.protocol_name.as_deref();
        let stored = |member: &Member| {
            let assignment = assignments.get(&member.member_id).cloned().unwrap_or_default();
            member.to_stored(protocol, assignment)
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation_id,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since.value(),
            members: self.members.values().map(stored).collect(),
            ..GroupMetadataValue::default()
        }
    }

    pub(crate) fn state(&self) -> ClassicState {
        self.state
    }

    pub(crate) fn is_in(&self, state: ClassicState) -> bool {
        self.state == state
    }

    /// The state before this one: the first rebalance of an empty group goes another way than later ones.
    pub(crate) fn previous_state(&self) -> ClassicState {
        self.previous_state
    }

    /// When the group came into its state; `Timestamp::NONE` where an old record doesn't say.
    pub(crate) fn state_since(&self) -> Timestamp {
        self.state_since
    }

    pub(crate) fn transition(&mut self, state: ClassicState, now: Timestamp) {
        self.previous_state = self.state;
        self.state = state;
        self.state_since = now;
    }

    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    pub(crate) fn members_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    pub(crate) fn member_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.members.get_mut(member_id)
    }

    pub(crate) fn has_member(&self, member_id: &str) -> bool {
        self.members.contains_key(member_id)
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(crate) fn static_member_id(&self, instance_id: &str) -> Option<&String> {
        self.static_members.get(instance_id)
    }

    pub(crate) fn awaiting_join_count(&self) -> usize {
        self.awaiting_join_count
    }

    /// May the group be forgotten, since the log says all that there is to know?
    pub(crate) fn is_idle(&self) -> bool {
        self.is_in(ClassicState::Empty) && self.pending_joins.is_empty() && !self.is_ahead_of_log
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// A consumer group whose subscriptions are unknown counts as subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Does this request come from a member, and for a static one, from the instance that holds its id now?
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.has_member(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Adds a member that waits for the next generation. The first one decides the protocol type.
    pub(crate) fn add(
        &mut self,
        mut member: Member,
        protocol_type: &str,
        responder: Responder<JoinGroupResponse>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if self.leader.is_none() {
            self.leader = Some(member.member_id.clone());
        }
        self.pending_joins.remove(&member.member_id);
        member.awaiting_join = Some(responder);
        self.insert(member);
    }

    /// Puts a member in without further ado.
    pub(crate) fn insert(&mut self, member: Member) {
        self.remove_member(&member.member_id.clone());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.member_id.clone());
        }
        for protocol in &member.protocols {
            *self.supporters.entry(protocol.name.clone()).or_default() += 1;
        }
        self.awaiting_join_count += usize::from(member.awaiting_join.is_some());
        self.members.insert(member.member_id.clone(), member);
    }

    /// Takes a member out; if it was the leader, somebody else is.
    pub(crate) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let removed = self.remove_member(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        removed
    }

    fn remove_member(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        for protocol in &member.protocols {
            if let Some(count) = self.supporters.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supporters.remove(&protocol.name);
                }
            }
        }
        self.awaiting_join_count -= usize::from(member.awaiting_join.is_some());
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(&member.member_id)
        {
            self.static_members.remove(instance_id);
        }
        Some(member)
    }

    /// Sets what a JoinGroup says of its member, who waits with it from now on (or no longer). Answers the request that
    /// waited before, if any.
    pub(crate) fn update_member(
        &mut self,
        member_id: &str,
        update: MemberUpdate,
        responder: Option<Responder<JoinGroupResponse>>,
    ) -> Option<Responder<JoinGroupResponse>> {
        let mut member = self.remove_member(member_id)?;
        member.protocols = update.protocols;
        member.rebalance_timeout_ms = update.rebalance_timeout_ms;
        member.session_timeout_ms = update.session_timeout_ms;
        let displaced = std::mem::replace(&mut member.awaiting_join, responder);
        self.insert(member);
        displaced
    }

    /// Gives a static member a new id, with all else that it was. Answers the requests that waited under the old one.
    pub(crate) fn rename_member(&mut self, old_member_id: &str, new_member_id: &str) -> Option<Displaced> {
        let mut member = self.remove_member(old_member_id)?;
        let displaced = Displaced { join: member.awaiting_join.take(), sync: member.awaiting_sync.take() };
        member.member_id = new_member_id.to_owned();
        if self.is_leader(old_member_id) {
            self.leader = Some(member.member_id.clone());
        }
        if self.pending_syncs.remove(old_member_id) {
            self.pending_syncs.insert(member.member_id.clone());
        }
        self.insert(member);
        Some(displaced)
    }

    /// Takes the JoinGroup of a member that waits, to be answered.
    pub(crate) fn take_awaiting_join(&mut self, member_id: &str) -> Option<Responder<JoinGroupResponse>> {
        let responder = self.members.get_mut(member_id)?.awaiting_join.take();
        self.awaiting_join_count -= usize::from(responder.is_some());
        responder
    }

    /// Has everybody said that they will be part of the next generation?
    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join_count && self.pending_joins.is_empty()
    }

    /// The longest that any member may take to join, in milliseconds.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// Can somebody with these protocols be part of the group? It must share one with all members.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is_in(ClassicState::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let supported_by_all = |protocol: &Protocol| {
            self.supporters.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(supported_by_all)
    }

    /// The protocol with the most votes, of those that all members support; each votes for the first on its list.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let is_candidate = |name: &str| self.supporters.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|protocol| is_candidate(&protocol.name));
            if let Some(protocol) = vote {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        let winner = votes.into_iter().max_by_key(|(_, votes)| *votes);
        winner.map(|(name, _)| name.to_owned())
    }

    /// Makes sure that the leader is one who has joined; false if nobody has.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &&Member| member.awaiting_join.is_some();
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let Some(elected) = self.members.values().find(has_joined) else { return false };
        self.leader = Some(elected.member_id.clone());
        true
    }

    /// Begins the next generation with those who are members now.
    pub(crate) fn init_next_generation(&mut self, now: Timestamp) {
        self.generation_id = self.generation_id.wrapping_add(1);
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        self.pending_syncs.clear();
        let is_empty = self.members.is_empty();
        self.transition(if is_empty { ClassicState::Empty } else { ClassicState::CompletingRebalance }, now);
    }

    /// What the leader gets to make its assignment from.
    pub(crate) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref();
        let joined = |member: &Member| JoinedMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
            ..JoinedMember::default()
        };
        self.members.values().map(joined).collect()
    }

    fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(member.metadata(Some(protocol)))?);
        }
        Some(topics)
    }
}

/// What a JoinGroup says of its member.
#[derive(Clone, Debug)]
pub(crate) struct MemberUpdate {
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
}

/// Requests whose sender is no longer the member that it was.
#[derive(Debug)]
pub(crate) struct Displaced {
    pub(crate) join: Option<Responder<JoinGroupResponse>>,
    pub(crate) sync: Option<Responder<SyncGroupResponse>>,
}

/// The topics of a consumer's subscription, whatever its version: they come first in all of them.
fn subscribed_topics(metadata: Bytes) -> Option<Vec<String>> {
    let mut reader = Decoder::new(metadata);
    let version = reader.i16("subscription version").ok()?;
    if version < 0 {
        return None;
    }
    Some(ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?.topics)
}
