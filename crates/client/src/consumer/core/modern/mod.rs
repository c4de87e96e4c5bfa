//! Membership in a group of the consumer protocol (KIP-848): one heartbeat that says and hears everything.
//!
//! The coordinator assigns; the member gives up what it is to lose, takes up the rest and says so. What always holds: one
//! heartbeat is on its way at most; the coordinator is told that partitions are given up only after the owner said so;
//! whatever is owned was assigned in this membership.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::{MonoMs, TopicPartition, Uuid};
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition as OwnedTopic;

use super::membership::{
    Backoff, Effect, GroupError, GroupRequest, MemberIdentity, OnClose, Rebalanced, Rebalances,
};

const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const LEAVES_FOR_NOW: i32 = -2;

/// What a member is set up with.
#[derive(Clone, Debug)]
pub struct ModernSettings {
    pub group_id: String,
    /// Unique for this life of the member: a random id.
    pub member_id: String,
    /// Makes a static member.
    pub group_instance_id: Option<String>,
    pub rack_id: Option<String>,
    /// `group.remote.assignor`; `None` leaves the choice to the coordinator.
    pub server_assignor: Option<String>,
    /// Also how long the coordinator waits for partitions to be given up.
    pub max_poll_interval_ms: i32,
    pub retry_backoff_ms: u64,
    pub retry_backoff_max_ms: u64,
}

/// What a member reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Sorted.
    pub topics: Vec<Arc<str>>,
    /// An expression that the coordinator matches with topics' names (RE2).
    pub regex: Option<String>,
}

/// A partition, by its topic's id.
type IdPartition = (Uuid, i32);

/// The state machine of one member.
#[derive(Debug)]
pub struct ModernMembership {
    settings: ModernSettings,
    phase: Phase,
    epoch: i32,
    wanted: Wanted,
    /// What the coordinator wants this member to have.
    target: Option<BTreeSet<IdPartition>>,
    owned: BTreeMap<IdPartition, TopicPartition>,
    /// What the owner is giving up.
    giving_up: Option<BTreeSet<IdPartition>>,
    names: BTreeMap<Uuid, Arc<str>>,
    heartbeat: Heartbeat,
    backoff: Backoff,
    /// From an assignment that is another one until it is taken up.
    rebalances: Rebalances,
    poll_deadline: MonoMs,
    effects: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not subscribed, or left.
    Out,
    /// Sends heartbeats with epoch 0 until it gets another one.
    Joining,
    In,
    /// Not in the group any more: its owner didn't ask for records in time, or the coordinator gave it up. Comes back when the
    /// owner asks: until then what the owner was handed out is committed as the member that it was, or not at all.
    OwnerBusy,
    /// As `OwnerBusy`, but doesn't come back by itself.
    Failed,
}

#[derive(Debug, Default)]
struct Heartbeat {
    /// As the coordinator wants it.
    interval_ms: i32,
    next: MonoMs,
    in_flight: bool,
    /// What the coordinator was told last, of what is only told when it changes.
    said: Option<Said>,
    /// What the heartbeat that is on its way says.
    saying: Option<Said>,
}

#[derive(Clone, Debug, PartialEq)]
struct Said {
    wanted: Wanted,
    owned: BTreeSet<IdPartition>,
}

impl ModernMembership {
    pub fn new(settings: ModernSettings) -> ModernMembership {
        ModernMembership {
            phase: Phase::Out,
            epoch: JOINS,
            wanted: Wanted::default(),
            target: None,
            owned: BTreeMap::new(),
            giving_up: None,
            names: BTreeMap::new(),
            heartbeat: Heartbeat::default(),
            backoff: Backoff::new(settings.retry_backoff_ms, settings.retry_backoff_max_ms),
            rebalances: Rebalances::default(),
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

    /// As what the member commits; `None` while it is not in the group.
    pub fn identity(&self) -> Option<MemberIdentity> {
        (self.phase == Phase::In).then(|| MemberIdentity {
            member_id: self.settings.member_id.clone(),
            group_instance_id: self.settings.group_instance_id.clone(),
            generation_or_epoch: self.epoch,
        })
    }

    /// Reads this from now on: joins, or tells the coordinator.
    pub fn subscribe(&mut self, mut wanted: Wanted, now: MonoMs) {
        wanted.topics.sort_unstable();
        wanted.topics.dedup();
        let changed = self.wanted != wanted;
        self.wanted = wanted;
        if matches!(self.phase, Phase::Out | Phase::Failed) {
            self.poll_deadline = now.plus_ms(self.settings.max_poll_interval_ms.into());
            self.lose_all();
            self.rejoin(now);
        } else if changed {
            self.heartbeat.next = now;
        }
        self.beat(now);
    }

    /// The owner asked for records, or is about to.
    pub fn polled(&mut self, now: MonoMs) {
        self.poll_deadline = now.plus_ms(self.settings.max_poll_interval_ms.into());
        match self.phase {
            Phase::OwnerBusy if !self.heartbeat.in_flight => {
                self.lose_all();
                self.rejoin(now);
                self.beat(now);
            }
            Phase::Failed => self.lose_all(),
            _ => {}
        }
    }

    /// When [`tick`](Self::tick) is to be called at the latest.
    pub fn deadline(&self) -> MonoMs {
        match self.phase {
            Phase::Joining if self.heartbeat.in_flight => MonoMs::NEVER,
            Phase::Joining => self.heartbeat.next,
            Phase::In if self.heartbeat.in_flight => self.poll_deadline,
            Phase::In => self.heartbeat.next.min(self.poll_deadline),
            Phase::Out | Phase::OwnerBusy | Phase::Failed => MonoMs::NEVER,
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: MonoMs) {
        if self.phase == Phase::In && now >= self.poll_deadline {
            self.phase = Phase::OwnerBusy;
            self.giving_up = None;
            self.target = None;
            self.send_leave(self.epoch_of_leaving(OnClose::AsConfigured).unwrap_or(LEAVES));
            return;
        }
        self.beat(now);
    }

    /// Names of topics that metadata knows by now.
    pub fn learn_names(&mut self, names: impl IntoIterator<Item = (Uuid, Arc<str>)>, now: MonoMs) {
        let of_target: BTreeSet<Uuid> = self.target.iter().flatten().map(|(topic, _)| *topic).collect();
        self.names.retain(|topic, _| of_target.contains(topic));
        self.names.extend(names.into_iter().filter(|(topic, _)| of_target.contains(topic)));
        self.reconcile(now);
    }

    /// The owner gave up what [`Effect::Revoke`] named.
    pub fn revoked(&mut self, now: MonoMs) {
        if let Some(given_up) = self.giving_up.take() {
            self.owned.retain(|partition, _| !given_up.contains(partition));
            // The coordinator waits to hear it.
            self.heartbeat.next = now;
            self.reconcile(now);
            self.beat(now);
        }
    }

    /// Leaves the group, or stays in it as a static member; nothing is owned afterwards. The owner must have given up and
    /// committed before.
    pub fn close(&mut self, on_close: OnClose) {
        // Who was fenced may still be in the group.
        if matches!(self.phase, Phase::In | Phase::Joining | Phase::OwnerBusy)
            && let Some(epoch) = self.epoch_of_leaving(on_close)
        {
            self.send_leave(epoch);
        }
        self.forget();
        self.owned.clear();
        self.phase = Phase::Out;
    }

    /// A static member that doesn't leave says that it will be back.
    fn epoch_of_leaving(&self, on_close: OnClose) -> Option<i32> {
        let is_static = self.settings.group_instance_id.is_some();
        match on_close {
            OnClose::AsConfigured => Some(if is_static { LEAVES_FOR_NOW } else { LEAVES }),
            OnClose::Leave => Some(LEAVES),
            OnClose::Stay => is_static.then_some(LEAVES_FOR_NOW),
        }
    }

    fn rejoin(&mut self, now: MonoMs) {
        self.forget();
        self.phase = Phase::Joining;
        self.heartbeat.next = now;
    }

    fn forget(&mut self) {
        self.rebalances.fail();
        self.epoch = JOINS;
        self.target = None;
        self.giving_up = None;
        self.heartbeat.said = None;
    }

    fn lose_all(&mut self) {
        self.giving_up = None;
        let lost: Vec<TopicPartition> = std::mem::take(&mut self.owned).into_values().collect();
        if !lost.is_empty() {
            self.effects.push(Effect::Lost(lost));
        }
    }

    fn fail(&mut self, error: GroupError) {
        // What it owned is only told to be lost once the owner is there to hear it.
        self.forget();
        self.phase = Phase::Failed;
        self.effects.push(Effect::Failed(error));
    }

    fn beat(&mut self, now: MonoMs) {
        let due = matches!(self.phase, Phase::Joining | Phase::In) && now >= self.heartbeat.next;
        if !due || self.heartbeat.in_flight {
            return;
        }
        let saying = Said { wanted: self.wanted.clone(), owned: self.owned.keys().copied().collect() };
        let said = self.heartbeat.said.as_ref();
        let joins = self.epoch == JOINS;
        let is_new = said.is_none();
        let wanted_changed = said.is_none_or(|said| said.wanted != saying.wanted);
        let owned_changed = said.is_none_or(|said| said.owned != saying.owned);
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.settings.group_id.clone(),
            member_id: self.settings.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.settings.group_instance_id.clone(),
            rebalance_timeout_ms: if is_new { self.settings.max_poll_interval_ms } else { -1 },
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if is_new {
            request.rack_id.clone_from(&self.settings.rack_id);
            request.server_assignor.clone_from(&self.settings.server_assignor);
        }
        if wanted_changed {
            let topics = saying.wanted.topics.iter().map(|topic| topic.to_string());
            request.subscribed_topic_names = Some(topics.collect());
            // An empty expression takes back the one that was said before.
            let before = said.is_some_and(|said| said.wanted.regex.is_some());
            request.subscribed_topic_regex = saying.wanted.regex.clone().or_else(|| before.then(String::new));
        }
        if joins {
            request.topic_partitions = Some(Vec::new());
        } else if owned_changed {
            request.topic_partitions = Some(by_topic(saying.owned.iter()));
        }
        self.heartbeat.in_flight = true;
        self.heartbeat.saying = Some(saying);
        self.send(request);
    }

    fn send_leave(&mut self, epoch: i32) {
        self.send(ConsumerGroupHeartbeatRequest {
            group_id: self.settings.group_id.clone(),
            member_id: self.settings.member_id.clone(),
            member_epoch: epoch,
            instance_id: self.settings.group_instance_id.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        });
    }

    fn send(&mut self, request: ConsumerGroupHeartbeatRequest) {
        self.effects.push(Effect::Send(GroupRequest::ConsumerHeartbeat(request)));
    }

    /// Goes towards the target as far as names are known.
    fn reconcile(&mut self, now: MonoMs) {
        if self.phase != Phase::In || self.giving_up.is_some() || !self.is_known_to_own() {
            return;
        }
        let Some(target) = &self.target else { return };
        let name = |(topic, partition): &IdPartition| {
            let of_owned =
                || self.owned.iter().find(|((id, _), _)| id == topic).map(|(_, owned)| &owned.topic);
            let name = self.names.get(topic).or_else(of_owned)?;
            Some(((*topic, *partition), TopicPartition::new(Arc::clone(name), *partition)))
        };
        let assigned: BTreeMap<IdPartition, TopicPartition> = target.iter().filter_map(name).collect();
        let is_complete = assigned.len() == target.len();
        if !is_complete {
            self.effects.push(Effect::NeedNames);
        }
        if assigned != self.owned || !is_complete {
            self.rebalances.begin(now);
        }
        if assigned == self.owned {
            return self.end_rebalance(now);
        }
        let gone = || self.owned.iter().filter(|(id, _)| !assigned.contains_key(id));
        let given_up: Vec<TopicPartition> = gone().map(|(_, partition)| partition.clone()).collect();
        if given_up.is_empty() {
            self.take_up(assigned, now);
        } else {
            self.giving_up = Some(gone().map(|(id, _)| *id).collect());
            self.effects.push(Effect::Revoke(given_up));
        }
    }

    /// Does the coordinator know for sure what this member owns? While it is being told something else, or may not have
    /// heard, nothing is taken up: it could just have given that to somebody else, as this member didn't own it.
    fn is_known_to_own(&self) -> bool {
        let Some(said) = &self.heartbeat.said else { return false };
        let saying = self.heartbeat.saying.as_ref().filter(|_| self.heartbeat.in_flight);
        saying.is_none_or(|saying| saying.owned == said.owned)
    }

    /// One is over when everything is taken up, also what had no name at first.
    fn end_rebalance(&mut self, now: MonoMs) {
        if self.target.as_ref().is_some_and(|target| target.len() == self.owned.len()) {
            self.rebalances.end(now);
        }
    }

    fn take_up(&mut self, assigned: BTreeMap<IdPartition, TopicPartition>, now: MonoMs) {
        let added = assigned.iter().filter(|(id, _)| !self.owned.contains_key(id));
        let added = added.map(|(_, partition)| partition.clone()).collect();
        self.owned = assigned;
        self.end_rebalance(now);
        self.effects.push(Effect::Assigned(added));
        // The coordinator waits to hear it.
        self.heartbeat.next = now;
        self.beat(now);
    }
}

fn by_topic<'a>(partitions: impl Iterator<Item = &'a IdPartition>) -> Vec<OwnedTopic> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(*partition);
    }
    let topic = |(topic_id, partitions)| OwnedTopic { topic_id, partitions, ..OwnedTopic::default() };
    topics.into_iter().map(topic).collect()
}
