//! A member of a consumer group (KIP-848): the broker gives it partitions, whose committed offsets it moves on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use ottla_wire::messages::{
    consumer_group_heartbeat_request as heartbeat, consumer_group_heartbeat_response as answer,
    offset_commit_request, offset_fetch_request,
};

use super::asking::{Asking, FIND_VERSION, OF_GROUPS, Said, find, find_error};
use super::membership::Membership;
use super::{Client, Topics, World};
use crate::event::{Event, Protocol};
use crate::network::{Link, decode};

const HEARTBEAT_VERSION: i16 = 1;
const COMMIT_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 9;
const RETRY_MS: i64 = 100;
const HEARTBEAT_MS: i64 = 250;
const REBALANCE_TIMEOUT_MS: i32 = 5_000;
const LEAVE: i32 = -1;
/// The topic whose offsets it commits.
const TOPIC: &str = "t0";

#[derive(Clone, Debug)]
enum Asked {
    Find,
    Beat,
    Leave,
    Fetch { epoch: i32, partitions: Vec<i32> },
    Commit { epoch: i32, offsets: Vec<(i32, i64)> },
}

/// See the module.
#[derive(Debug)]
pub struct ConsumerMember {
    membership: Membership,
    owned: BTreeMap<Uuid, BTreeSet<i32>>,
    /// Its next heartbeat says everything.
    says_all: bool,
    /// Of the partitions of [`TOPIC`] that it owns; none yet of those that it has not asked for.
    offsets: BTreeMap<i32, i64>,
    asking: Asking<Asked>,
    is_finishing: bool,
}

impl ConsumerMember {
    pub fn new(group: &str, name: &str) -> ConsumerMember {
        ConsumerMember {
            membership: Membership::new(Protocol::Consumer, group, name),
            owned: BTreeMap::new(),
            says_all: true,
            offsets: BTreeMap::new(),
            asking: Asking::default(),
            is_finishing: false,
        }
    }

    /// It is no member any more, and gives up all that it had.
    fn be_out(&mut self, world: &mut World<'_>) {
        self.owned.clear();
        self.offsets.clear();
        self.says_all = true;
        self.membership.be_out(world);
    }

    /// Takes an error; whether there was none.
    fn check(&mut self, what: &str, code: i16, world: &mut World<'_>) -> bool {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => return true,
            Some(
                ErrorCode::FencedMemberEpoch
                | ErrorCode::UnknownMemberId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::IllegalGeneration,
            ) => {
                self.membership.tell_fenced(code, world);
                self.be_out(world);
            }
            // Its epoch has moved on; a heartbeat tells it to where.
            Some(ErrorCode::StaleMemberEpoch) => self.membership.beat_in_ms(0, world),
            Some(ErrorCode::UnstableOffsetCommit) => self.asking.wait_ms(RETRY_MS, world),
            _ if self.membership.may_ask_again(code) => {
                self.says_all = true;
                self.asking.wait_ms(RETRY_MS, world);
            }
            _ => world.unexpected(&self.membership.name, what, code),
        }
        false
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        match asked {
            Asked::Find => {
                self.membership.found = self.check("FindCoordinator", find_error(body), world);
            }
            Asked::Beat => {
                let response: ConsumerGroupHeartbeatResponse = decode(body, HEARTBEAT_VERSION);
                if self.check("ConsumerGroupHeartbeat", response.error_code, world) {
                    self.says_all = false;
                    self.membership.beat_in_ms(HEARTBEAT_MS, world);
                    self.take(&response, world);
                }
            }
            Asked::Leave => self.come_back(world),
            Asked::Fetch { epoch, partitions } => self.fetched(epoch, &partitions, body, world),
            Asked::Commit { epoch, offsets } => {
                let response: OffsetCommitResponse = decode(body, COMMIT_VERSION);
                for (result, (partition, offset)) in response.topics[0].partitions.iter().zip(offsets) {
                    if self.check("OffsetCommit", result.error_code, world) {
                        let group = self.membership.group.clone();
                        world.events.push(Event::OffsetCommitted {
                            group,
                            generation: epoch,
                            partition,
                            offset,
                        });
                    } else {
                        // What counts now is not known.
                        self.offsets.clear();
                    }
                }
            }
        }
    }

    /// Takes what a heartbeat was answered: gives up what is not its own any more, and takes what is.
    fn take(&mut self, response: &ConsumerGroupHeartbeatResponse, world: &mut World<'_>) {
        let is_new = self.membership.epoch != response.member_epoch;
        self.membership.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            let partitions =
                |topic: &answer::TopicPartition| (topic.topic_id, topic.partitions.iter().copied().collect());
            self.owned = assignment.topic_partitions.iter().map(partitions).collect();
            let topic_id = world.topics.id(TOPIC);
            let of_topic = self.owned.get(&topic_id);
            self.offsets.retain(|partition, _| of_topic.is_some_and(|owned| owned.contains(partition)));
            // It says soon what it has given up.
            self.membership.beat_in_ms(0, world);
        }
        if is_new || response.assignment.is_some() {
            let owned = self.owned.iter().flat_map(|(id, owned)| owned.iter().map(|p| (*id, *p)));
            self.membership.tell_assigned(owned, world);
        }
    }

    fn fetched(&mut self, epoch: i32, partitions: &[i32], body: &Bytes, world: &mut World<'_>) {
        let response: OffsetFetchResponse = decode(body, FETCH_VERSION);
        let found = &response.groups[0];
        if !self.check("OffsetFetch", found.error_code, world) {
            return;
        }
        for partition in found.topics.iter().flat_map(|topic| &topic.partitions) {
            if !self.check("OffsetFetch of a partition", partition.error_code, world) {
                return;
            }
            let (partition, offset) = (partition.partition_index, partition.committed_offset);
            self.offsets.insert(partition, offset);
            let group = self.membership.group.clone();
            let is_newest = world.hears_newest;
            world.events.push(Event::OffsetSeen { group, generation: epoch, partition, offset, is_newest });
        }
        if partitions.iter().any(|partition| !self.offsets.contains_key(partition)) {
            let what =
                format!("{}: offsets of {partitions:?} were asked for, and not told", self.membership.name);
            world.events.push(Event::Unexpected { what });
        }
    }

    fn next(&mut self, world: &mut World<'_>) -> Option<Asked> {
        if !self.membership.found {
            return Some(Asked::Find);
        }
        if self.membership.is_beat_due(world) {
            return Some(Asked::Beat);
        }
        if !self.is_finishing && world.rng.one_in(250) {
            return Some(Asked::Leave);
        }
        let of_topic = self.owned.get(&world.topics.id(TOPIC));
        let new: Vec<i32> = of_topic
            .into_iter()
            .flatten()
            .filter(|partition| !self.offsets.contains_key(partition))
            .copied()
            .collect();
        if !new.is_empty() {
            return Some(Asked::Fetch { epoch: self.membership.epoch, partitions: new });
        }
        if self.offsets.is_empty() || !world.rng.one_in(8) {
            return None;
        }
        for offset in self.offsets.values_mut() {
            *offset = (*offset).max(0) + world.rng.below(5) as i64;
        }
        let offsets = self.offsets.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        Some(Asked::Commit { epoch: self.membership.epoch, offsets })
    }

    fn send(&mut self, asked: Asked, link: &mut Link, world: &mut World<'_>) {
        let now = world.now.mono;
        let ticket = match &asked {
            Asked::Find => {
                let request = find(OF_GROUPS, &self.membership.group);
                link.send(&request, FIND_VERSION, now, world.rng)
            }
            Asked::Beat => {
                self.membership.tell_if_joining(world);
                let topics = world.topics.lasting.keys().cloned().collect();
                link.send(&self.heartbeat(topics), HEARTBEAT_VERSION, now, world.rng)
            }
            Asked::Leave => {
                let request =
                    ConsumerGroupHeartbeatRequest { member_epoch: LEAVE, ..self.heartbeat(Vec::new()) };
                link.send(&request, HEARTBEAT_VERSION, now, world.rng)
            }
            Asked::Fetch { epoch, partitions } => {
                link.send(&self.fetch(*epoch, partitions), FETCH_VERSION, now, world.rng)
            }
            Asked::Commit { epoch, offsets } => {
                link.send(&self.commit(*epoch, offsets), COMMIT_VERSION, now, world.rng)
            }
        };
        self.asking.ask(ticket, asked);
    }

    fn heartbeat(&self, topics: Vec<String>) -> ConsumerGroupHeartbeatRequest {
        let says_all = self.says_all || !self.membership.is_member();
        let owned = self.owned.iter().map(|(topic_id, partitions)| heartbeat::TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
            ..heartbeat::TopicPartition::default()
        });
        ConsumerGroupHeartbeatRequest {
            group_id: self.membership.group.clone(),
            member_id: self.membership.member_id.clone(),
            member_epoch: self.membership.epoch,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: if says_all { REBALANCE_TIMEOUT_MS } else { -1 },
            subscribed_topic_names: says_all.then_some(topics),
            subscribed_topic_regex: None,
            server_assignor: None,
            topic_partitions: Some(owned.collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn fetch(&self, epoch: i32, partitions: &[i32]) -> OffsetFetchRequest {
        let topic = offset_fetch_request::GroupTopic {
            name: TOPIC.to_owned(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        let group = offset_fetch_request::Group {
            group_id: self.membership.group.clone(),
            member_id: Some(self.membership.member_id.clone()),
            member_epoch: epoch,
            topics: Some(vec![topic]),
            ..Default::default()
        };
        OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() }
    }

    fn commit(&self, epoch: i32, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
        let partition = |(partition, offset): &(i32, i64)| offset_commit_request::Partition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let topic = offset_commit_request::Topic {
            name: TOPIC.to_owned(),
            partitions: offsets.iter().map(partition).collect(),
            ..Default::default()
        };
        OffsetCommitRequest {
            group_id: self.membership.group.clone(),
            member_id: self.membership.member_id.clone(),
            generation_id_or_member_epoch: epoch,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        }
    }

    /// Comes back as somebody else, while the group still counts on it.
    fn vanish(&mut self, link: &mut Link, world: &mut World<'_>) {
        link.abandon();
        self.asking.give_up();
        self.come_back(world);
    }

    fn come_back(&mut self, world: &mut World<'_>) {
        self.be_out(world);
        self.membership.live_again();
        let pause_ms = world.rng.between(100, 2_000) as i64;
        self.asking.wait_ms(pause_ms, world);
    }
}

impl Client for ConsumerMember {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                Said::Lost(asked) => {
                    // What was committed without an answer is not known: it asks anew.
                    if matches!(asked, Some(Asked::Commit { .. })) {
                        self.offsets.clear();
                    }
                    self.says_all = true;
                    self.asking.wait_ms(RETRY_MS, world);
                }
            }
        }
        if !self.is_finishing && self.membership.is_member() && world.rng.per_myriad(12) {
            return self.vanish(link, world);
        }
        // It subscribes to both topics.
        if !self.asking.may_ask(world) || world.topics.lasting.len() < 2 || !world.connect(link) {
            return;
        }
        if let Some(asked) = self.next(world) {
            self.send(asked, link, world);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        self.membership.is_member()
    }
}
