//! Membership in a group of the classic protocol: join, sync, heartbeats, leave.
//!
//! What always holds: at most one of join and sync is on its way; partitions are only ever owned by a member with a
//! generation, or until their loss was told; nothing is owned twice; a revocation is over only when the owner says so; who
//! lost a generation joins another one only once its owner asks for what comes next, which is told the loss then.

mod answers;
mod assigning;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{MonoMs, TopicPartition};
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::leave_group_request::Member as LeavingMember;
use ottla_wire::messages::{HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest};

use super::assignors::{Assignor, RebalanceProtocol};
use super::membership::{
    Backoff, Effect, GroupError, GroupRequest, MemberIdentity, OnClose, Rebalanced, Rebalances,
};
use super::protocol::{NO_GENERATION, PROTOCOL_TYPE, Subscription};

/// What a classic member is set up with.
#[derive(Debug)]
pub struct ClassicSettings {
    pub group_id: String,
    /// Makes a static member.
    pub group_instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub session_timeout_ms: i32,
    pub heartbeat_interval_ms: i32,
    /// Also how long the group waits for a member to join again.
    pub max_poll_interval_ms: i32,
    pub retry_backoff_ms: u64,
    pub retry_backoff_max_ms: u64,
    /// In the order of preference; never empty.
    pub assignors: Vec<Box<dyn Assignor>>,
}

/// The state machine of one member.
#[derive(Debug)]
pub struct ClassicMembership {
    settings: ClassicSettings,
    protocol: RebalanceProtocol,
    phase: Phase,
    member_id: String,
    generation: i32,
    topics: Vec<Arc<str>>,
    owned: BTreeSet<TopicPartition>,
    /// What is to be taken up once the revocation that runs is over.
    awaited: Option<BTreeSet<TopicPartition>>,
    rejoin_wanted: bool,
    /// The strategy of this generation.
    chosen: Option<String>,
    /// Set while this member leads: what its assignment was made of.
    led: Option<assigning::Led>,
    backoff: Backoff,
    /// From joining to the assignment.
    rebalances: Rebalances,
    heartbeat: Heartbeat,
    /// When the owner must have asked for records again.
    poll_deadline: MonoMs,
    effects: Vec<Effect>,
}

#[derive(Debug)]
enum Phase {
    /// Not subscribed, or left.
    Out,
    /// In no join that runs; joins at this moment.
    Unjoined(MonoMs),
    /// Waits until these are given up before it joins.
    GivingUp(Vec<TopicPartition>),
    Joining,
    /// Leads, and waits for the topics' partitions to assign them.
    Assigning(Box<JoinGroupResponse>),
    Syncing,
    Stable,
    /// In no generation any more: its owner didn't ask for records in time, or the coordinator gave it up. Comes back when the
    /// owner asks: until then what the owner was handed out is committed as the member that it was, or not at all.
    OwnerBusy,
    /// As `OwnerBusy`, but doesn't come back by itself.
    Failed,
}

#[derive(Debug, Default)]
struct Heartbeat {
    next: MonoMs,
    in_flight: bool,
    /// Without an answer until then, the coordinator has given the member up.
    session_deadline: MonoMs,
}

impl ClassicMembership {
    pub fn new(settings: ClassicSettings) -> ClassicMembership {
        // Only what all strategies can do may be done.
        let protocol =
            settings.assignors.iter().map(|a| a.protocol()).min().unwrap_or(RebalanceProtocol::Eager);
        ClassicMembership {
            protocol,
            phase: Phase::Out,
            member_id: String::new(),
            generation: NO_GENERATION,
            topics: Vec::new(),
            owned: BTreeSet::new(),
            awaited: None,
            rejoin_wanted: false,
            chosen: None,
            led: None,
            backoff: Backoff::new(settings.retry_backoff_ms, settings.retry_backoff_max_ms),
            rebalances: Rebalances::default(),
            heartbeat: Heartbeat::default(),
            poll_deadline: MonoMs::NEVER,
            effects: Vec::new(),
            settings,
        }
    }

    /// What is to be done since this was last called.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub fn take_rebalances(&mut self) -> Rebalanced {
        self.rebalances.take()
    }

    /// As what the member commits; `None` while it is in no generation.
    pub fn identity(&self) -> Option<MemberIdentity> {
        (self.generation != NO_GENERATION).then(|| MemberIdentity {
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.group_instance_id.clone(),
            generation_or_epoch: self.generation,
        })
    }

    /// Reads these topics from now on: joins, or joins again if they changed.
    pub fn subscribe(&mut self, topics: impl IntoIterator<Item = Arc<str>>, now: MonoMs) {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().collect();
        let topics: Vec<Arc<str>> = topics.into_iter().collect();
        let changed = self.topics != topics;
        self.topics = topics;
        if matches!(self.phase, Phase::Out | Phase::Failed) {
            self.phase = Phase::Unjoined(now);
            self.poll_deadline = now.plus_ms(self.settings.max_poll_interval_ms.into());
        } else if changed {
            self.rejoin_wanted = true;
        }
        self.advance(now);
    }

    /// The partitions or racks of topics changed. A leader has them assigned anew if its group reads them.
    pub fn topics_changed(&mut self, topics: &super::assignors::TopicRacks, now: MonoMs) {
        if self.led.as_ref().is_some_and(|led| led.is_outdated(topics)) {
            self.rejoin_wanted = true;
            self.advance(now);
        }
    }

    /// Asks for another rebalance.
    pub fn enforce_rebalance(&mut self, now: MonoMs) {
        self.rejoin_wanted = true;
        self.advance(now);
    }

    /// The owner asked for records, or is about to.
    pub fn polled(&mut self, now: MonoMs) {
        self.poll_deadline = now.plus_ms(self.settings.max_poll_interval_ms.into());
        match self.phase {
            Phase::OwnerBusy => {
                self.phase = Phase::Unjoined(now);
                self.advance(now);
            }
            Phase::Failed => self.lose_all(),
            _ => {}
        }
    }

    /// When [`tick`](Self::tick) is to be called at the latest.
    pub fn deadline(&self) -> MonoMs {
        let join = match self.phase {
            Phase::Unjoined(at) => at,
            _ => MonoMs::NEVER,
        };
        if !self.is_beating() {
            return join;
        }
        let beat = if self.heartbeat.in_flight { MonoMs::NEVER } else { self.heartbeat.next };
        join.min(beat).min(self.heartbeat.session_deadline).min(self.poll_deadline)
    }

    /// Time passed.
    pub fn tick(&mut self, now: MonoMs) {
        if self.is_beating() {
            if now >= self.poll_deadline {
                self.give_up_for_slowness();
                return;
            }
            if now >= self.heartbeat.session_deadline {
                self.heartbeat.session_deadline = now.plus_ms(self.settings.session_timeout_ms.into());
                self.effects.push(Effect::ForgetCoordinator);
            }
            if now >= self.heartbeat.next && !self.heartbeat.in_flight {
                self.heartbeat.in_flight = true;
                self.send(GroupRequest::Heartbeat(HeartbeatRequest {
                    group_id: self.settings.group_id.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                    group_instance_id: self.settings.group_instance_id.clone(),
                    ..HeartbeatRequest::default()
                }));
            }
        }
        self.advance(now);
    }

    /// The owner gave up what [`Effect::Revoke`] named.
    pub fn revoked(&mut self, now: MonoMs) {
        if let Some(assigned) = self.awaited.take() {
            self.take_up(assigned, now);
        } else if let Phase::GivingUp(given_up) = &self.phase {
            self.owned.retain(|partition| !given_up.contains(partition));
            self.join(now);
        }
        self.advance(now);
    }

    /// Leaves the group, or stays in it as a static member; nothing is owned afterwards. The owner must have given up and
    /// committed before. Whoever subscribes again makes another membership: answers that are on their way are about this one.
    pub fn close(&mut self, on_close: OnClose, reason: &str) {
        let leaves = match on_close {
            OnClose::AsConfigured => self.settings.group_instance_id.is_none(),
            OnClose::Leave => true,
            OnClose::Stay => false,
        };
        if leaves {
            self.send_leave(reason);
        }
        self.forget_generation();
        self.owned.clear();
        self.awaited = None;
        self.rejoin_wanted = false;
        self.phase = Phase::Out;
    }

    fn is_beating(&self) -> bool {
        let joined = matches!(
            self.phase,
            Phase::Stable | Phase::Syncing | Phase::Assigning(_) | Phase::GivingUp(_) | Phase::Unjoined(_)
        );
        joined && self.generation != NO_GENERATION
    }

    /// Does what can be done now: starts a rebalance that is due.
    fn advance(&mut self, now: MonoMs) {
        match self.phase {
            Phase::Stable if self.rejoin_wanted && self.awaited.is_none() => {}
            Phase::Unjoined(at) if now >= at => {}
            _ => return,
        }
        self.rejoin_wanted = false;
        if self.generation == NO_GENERATION {
            self.lose_all();
            self.join(now);
            return;
        }
        let given_up: Vec<TopicPartition> = match self.protocol {
            RebalanceProtocol::Eager => self.owned.iter().cloned().collect(),
            RebalanceProtocol::Cooperative => self
                .owned
                .iter()
                .filter(|partition| !self.topics.contains(&partition.topic))
                .cloned()
                .collect(),
        };
        if given_up.is_empty() {
            self.join(now);
        } else {
            self.phase = Phase::GivingUp(given_up.clone());
            self.effects.push(Effect::Revoke(given_up));
        }
    }

    fn join(&mut self, now: MonoMs) {
        self.rebalances.begin(now);
        self.led = None;
        let protocols = self.settings.assignors.iter().map(|assignor| self.protocol_of(assignor.as_ref()));
        let protocols = match protocols.collect::<Result<Vec<_>, _>>() {
            Ok(protocols) => protocols,
            Err(error) => return self.fail(GroupError::Unreadable(error.to_string())),
        };
        self.phase = Phase::Joining;
        self.send(GroupRequest::Join(JoinGroupRequest {
            group_id: self.settings.group_id.clone(),
            session_timeout_ms: self.settings.session_timeout_ms,
            rebalance_timeout_ms: self.settings.max_poll_interval_ms,
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.group_instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols,
            ..JoinGroupRequest::default()
        }));
    }

    fn protocol_of(&self, assignor: &dyn Assignor) -> Result<Protocol, ottla_wire::EncodeError> {
        let subscription = Subscription {
            topics: self.topics.clone(),
            user_data: assignor.subscription_user_data(&self.topics),
            owned_partitions: self.owned.iter().cloned().collect(),
            generation: Some(self.generation).filter(|generation| *generation != NO_GENERATION),
            rack_id: self.settings.rack_id.clone(),
        };
        let metadata = subscription.encode()?;
        Ok(Protocol { name: assignor.name().to_owned(), metadata, ..Protocol::default() })
    }

    /// An assignment came: gives up what it lacks, then takes it up.
    fn reconcile(&mut self, assigned: BTreeSet<TopicPartition>, now: MonoMs) {
        let given_up: Vec<TopicPartition> = self.owned.difference(&assigned).cloned().collect();
        if given_up.is_empty() {
            return self.take_up(assigned, now);
        }
        // Somebody waits for what is given up: join again so that it gets it.
        self.rejoin_wanted = true;
        self.awaited = Some(assigned);
        self.effects.push(Effect::Revoke(given_up));
    }

    fn take_up(&mut self, assigned: BTreeSet<TopicPartition>, now: MonoMs) {
        let added = assigned.difference(&self.owned).cloned().collect();
        self.owned = assigned;
        self.effects.push(Effect::Assigned(added));
        self.advance(now);
    }

    fn give_up_for_slowness(&mut self) {
        if self.settings.group_instance_id.is_none() {
            self.send_leave("consumer poll timeout has expired.");
        }
        self.start_over_with_owner();
    }

    /// What it owned is only told to be lost once the owner is there to hear it.
    fn start_over_with_owner(&mut self) {
        self.forget_generation();
        self.awaited = None;
        self.phase = Phase::OwnerBusy;
    }

    fn send_leave(&mut self, reason: &str) {
        if self.member_id.is_empty() {
            return;
        }
        let member = LeavingMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.group_instance_id.clone(),
            reason: Some(reason.to_owned()),
            ..LeavingMember::default()
        };
        self.send(GroupRequest::Leave(LeaveGroupRequest {
            group_id: self.settings.group_id.clone(),
            members: vec![member],
            ..LeaveGroupRequest::default()
        }));
    }

    fn forget_generation(&mut self) {
        self.generation = NO_GENERATION;
        self.led = None;
        self.member_id.clear();
        self.heartbeat = Heartbeat::default();
    }

    fn lose_all(&mut self) {
        let lost: Vec<TopicPartition> = std::mem::take(&mut self.owned).into_iter().collect();
        self.awaited = None;
        if !lost.is_empty() {
            self.effects.push(Effect::Lost(lost));
        }
    }

    fn fail(&mut self, error: GroupError) {
        self.start_over_with_owner();
        self.phase = Phase::Failed;
        self.effects.push(Effect::Failed(error));
    }

    fn send(&mut self, request: GroupRequest) {
        self.effects.push(Effect::Send(request));
    }
}
