//! A member of a consumer group (KIP-848): the broker gives it partitions, whose committed offsets it moves on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_types::{MonoMs, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use ottla_wire::messages::{
    consumer_group_heartbeat_request as heartbeat, consumer_group_heartbeat_response as answer,
    offset_commit_request, offset_fetch_request,
};

use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, GroupEvent, Protocol};
use crate::network::{Heard, Link, Ticket, decode};

const FIND_VERSION: i16 = 6;
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
    group: String,
    name: String,
    lives: u32,
    member_id: String,
    found: bool,
    /// 0 while it is no member.
    epoch: i32,
    owned: BTreeMap<Uuid, BTreeSet<i32>>,
    /// Its next heartbeat says everything.
    says_all: bool,
    /// Of the partitions of [`TOPIC`] that it owns; none yet of those that it has not asked for.
    offsets: BTreeMap<i32, i64>,
    asked: Option<(Ticket, Asked)>,
    next_beat: MonoMs,
    wait_until: MonoMs,
    is_finishing: bool,
}

impl ConsumerMember {
    pub fn new(group: &str, name: &str) -> ConsumerMember {
        let mut member = ConsumerMember {
            group: group.to_owned(),
            name: name.to_owned(),
            lives: 0,
            member_id: String::new(),
            found: false,
            epoch: 0,
            owned: BTreeMap::new(),
            says_all: true,
            offsets: BTreeMap::new(),
            asked: None,
            next_beat: MonoMs(0),
            wait_until: MonoMs(0),
            is_finishing: false,
        };
        member.live_again();
        member
    }

    fn live_again(&mut self) {
        self.lives += 1;
        self.member_id = format!("{}-{}", self.name, self.lives);
    }

    fn tell(&self, event: GroupEvent, world: &mut World<'_>) {
        world.events.push(Event::Group(event));
    }

    /// It is no member any more, and gives up all that it had.
    fn be_out(&mut self, world: &mut World<'_>) {
        self.epoch = 0;
        self.owned.clear();
        self.offsets.clear();
        self.says_all = true;
        self.next_beat = MonoMs(0);
        let (group, client) = (self.group.clone(), self.name.clone());
        self.tell(GroupEvent::Out { group, client }, world);
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
                let (group, client) = (self.group.clone(), self.name.clone());
                self.tell(GroupEvent::Fenced { group, client, code }, world);
                self.be_out(world);
            }
            // Its epoch has moved on; a heartbeat tells it to where.
            Some(ErrorCode::StaleMemberEpoch) => self.next_beat = MonoMs(0),
            Some(ErrorCode::UnstableOffsetCommit) => self.wait(world),
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) => {
                self.found = false;
                self.says_all = true;
                self.wait(world);
            }
            _ if is_retriable(code) => {
                self.says_all = true;
                self.wait(world);
            }
            _ => world.unexpected(&self.name, what, code),
        }
        false
    }

    fn wait(&mut self, world: &World<'_>) {
        self.wait_until = world.mono().plus_ms(RETRY_MS);
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        match asked {
            Asked::Find => {
                let response: FindCoordinatorResponse = decode(body, FIND_VERSION);
                self.found = self.check("FindCoordinator", response.coordinators[0].error_code, world);
            }
            Asked::Beat => {
                let response: ConsumerGroupHeartbeatResponse = decode(body, HEARTBEAT_VERSION);
                if self.check("ConsumerGroupHeartbeat", response.error_code, world) {
                    self.says_all = false;
                    self.next_beat = world.mono().plus_ms(HEARTBEAT_MS);
                    self.take(&response, world);
                }
            }
            Asked::Leave => {
                self.be_out(world);
                self.live_again();
                self.wait_until = world.mono().plus_ms(world.rng.between(100, 2_000) as i64);
            }
            Asked::Fetch { epoch, partitions } => self.fetched(epoch, &partitions, body, world),
            Asked::Commit { epoch, offsets } => {
                let response: OffsetCommitResponse = decode(body, COMMIT_VERSION);
                for (result, (partition, offset)) in response.topics[0].partitions.iter().zip(offsets) {
                    if self.check("OffsetCommit", result.error_code, world) {
                        let group = self.group.clone();
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
        let is_new = self.epoch != response.member_epoch;
        self.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            let partitions =
                |topic: &answer::TopicPartition| (topic.topic_id, topic.partitions.iter().copied().collect());
            self.owned = assignment.topic_partitions.iter().map(partitions).collect();
            let topic_id = world.topics.id(TOPIC);
            let of_topic = self.owned.get(&topic_id);
            self.offsets.retain(|partition, _| of_topic.is_some_and(|owned| owned.contains(partition)));
            // It says soon what it has given up.
            self.next_beat = world.mono();
        }
        if is_new || response.assignment.is_some() {
            let owned = self.owned.iter().flat_map(|(id, owned)| owned.iter().map(|p| (*id, *p)));
            let partitions = owned.filter_map(|(id, partition)| world.topics.partition(id, partition));
            let event = GroupEvent::Assigned {
                group: self.group.clone(),
                client: self.name.clone(),
                member: self.member_id.clone(),
                epoch: self.epoch,
                partitions: partitions.collect(),
            };
            self.tell(event, world);
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
            let group = self.group.clone();
            world.events.push(Event::OffsetSeen { group, generation: epoch, partition, offset });
        }
        if partitions.iter().any(|partition| !self.offsets.contains_key(partition)) {
            let what = format!("{}: offsets of {partitions:?} were asked for, and not told", self.name);
            world.events.push(Event::Unexpected { what });
        }
    }

    fn next(&mut self, world: &mut World<'_>) -> Option<Asked> {
        if !self.found {
            return Some(Asked::Find);
        }
        if world.mono() >= self.next_beat || self.epoch == 0 {
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
            return Some(Asked::Fetch { epoch: self.epoch, partitions: new });
        }
        if self.offsets.is_empty() || !world.rng.one_in(8) {
            return None;
        }
        for offset in self.offsets.values_mut() {
            *offset = (*offset).max(0) + world.rng.below(5) as i64;
        }
        let offsets = self.offsets.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        Some(Asked::Commit { epoch: self.epoch, offsets })
    }

    fn send(&mut self, asked: Asked, link: &mut Link, world: &mut World<'_>) {
        let now = world.now.mono;
        let ticket = match &asked {
            Asked::Find => {
                let request = FindCoordinatorRequest {
                    coordinator_keys: vec![self.group.clone()],
                    ..FindCoordinatorRequest::default()
                };
                link.send(&request, FIND_VERSION, now, world.rng)
            }
            Asked::Beat => {
                if self.epoch == 0 {
                    let event = GroupEvent::Joining {
                        protocol: Protocol::Consumer,
                        group: self.group.clone(),
                        client: self.name.clone(),
                        wanted: world.topics.partitions(),
                    };
                    self.tell(event, world);
                }
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
        self.asked = Some((ticket, asked));
    }

    fn heartbeat(&self, topics: Vec<String>) -> ConsumerGroupHeartbeatRequest {
        let says_all = self.says_all || self.epoch == 0;
        let owned = self.owned.iter().map(|(topic_id, partitions)| heartbeat::TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
            ..heartbeat::TopicPartition::default()
        });
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
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
            group_id: self.group.clone(),
            member_id: Some(self.member_id.clone()),
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
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            generation_id_or_member_epoch: epoch,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        }
    }

    /// Comes back as somebody else, while the group still counts on it.
    fn vanish(&mut self, link: &mut Link, world: &mut World<'_>) {
        link.abandon();
        self.asked = None;
        self.be_out(world);
        self.live_again();
        self.wait_until = world.mono().plus_ms(world.rng.between(100, 2_000) as i64);
    }
}

impl Client for ConsumerMember {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(heard) = link.hear(world.mono()) {
            match (heard, self.asked.take()) {
                (Heard::Answer { ticket, body }, Some((expected, asked))) if ticket == expected => {
                    self.answered(asked, &body, world);
                }
                (Heard::Answer { .. }, asked) => self.asked = asked,
                (Heard::Closed, asked) => {
                    // What was committed without an answer is not known: it asks anew.
                    if matches!(asked, Some((_, Asked::Commit { .. }))) {
                        self.offsets.clear();
                    }
                    self.says_all = true;
                    self.wait(world);
                }
            }
        }
        if !self.is_finishing && self.epoch > 0 && world.rng.per_myriad(12) {
            return self.vanish(link, world);
        }
        let is_ready = self.asked.is_none() && world.mono() >= self.wait_until;
        // It subscribes to both topics.
        if !is_ready || world.topics.lasting.len() < 2 || !world.connect(link) {
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
        self.epoch > 0
    }
}
