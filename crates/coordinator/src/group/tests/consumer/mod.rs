//! Consumer groups through the coordinator's facade.

mod assigning;
mod heartbeat;
mod migration;
mod mixed;
mod offsets;
mod regexes;
mod simulation;
mod stability;
mod static_members;

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition as OwnedTopic;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::records::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};

use super::*;
use crate::group::consumer::ConsumerGroup;

const HEARTBEAT_VERSION: i16 = 1;
const LEAVE: i32 = -1;
const LEAVE_FOR_A_WHILE: i32 = -2;
/// Longer than `group.consumer.session.timeout.ms`.
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 60_000;

type Owned = BTreeMap<Uuid, BTreeSet<i32>>;

pub(super) fn topic_id(name: &str) -> Uuid {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    Uuid(id)
}

impl Rig {
    pub(super) fn replay_metadata(&self, records: &[MetadataRecord]) {
        let mut image = (**self.image.borrow()).clone();
        let mut changes = Changes::default();
        for record in records {
            image.replay(record, &mut changes).expect("the records fit each other");
        }
        image.provenance.last_offset += records.len() as i64;
        self.publish(Arc::new(image), &changes);
    }

    /// Creates the topic, or lets it grow.
    pub(super) fn topic(&self, name: &str, partitions: i32) {
        let topic_id = topic_id(name);
        let known = self.image.borrow().topics.by_id(topic_id).map(|topic| topic.partitions.len() as i32);
        let mut records = Vec::new();
        if known.is_none() {
            let topic = TopicRecord { name: name.to_owned(), topic_id, ..TopicRecord::default() };
            records.push(MetadataRecord::Topic(topic));
        }
        records.extend((known.unwrap_or(0)..partitions).map(|partition_id| {
            MetadataRecord::Partition(PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                ..PartitionRecord::default()
            })
        }));
        self.replay_metadata(&records);
    }

    pub(super) fn delete_topic(&self, name: &str) {
        let record = RemoveTopicRecord { topic_id: topic_id(name), ..RemoveTopicRecord::default() };
        self.replay_metadata(&[MetadataRecord::RemoveTopic(record)]);
    }

    fn send_beat(&self, request: ConsumerGroupHeartbeatRequest) -> Answer<ConsumerGroupHeartbeatResponse> {
        let context = self.context(HEARTBEAT_VERSION);
        Answer::of(|reply| self.coordinator.consumer_group_heartbeat(context, request, reply))
    }

    fn beat(&self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        self.send_beat(request).now()
    }

    /// The group as it is written.
    fn consumer_group(&self) -> ConsumerGroup {
        match self.states().0.groups.get(GROUP) {
            Some(state::StoredGroup::Consumer(group)) => (**group).clone(),
            other => panic!("{other:?} is no consumer group"),
        }
    }

    /// The state of the group, as it is listed.
    pub(super) fn listed_state(&self) -> String {
        let listed = listing::list(self, &[], &[]);
        listed.into_iter().find(|(id, ..)| id == GROUP).map(|(.., state)| state).unwrap_or_default()
    }
}

/// A heartbeat that says nothing but who sends it.
fn beat_request(member_id: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        rebalance_timeout_ms: -1,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A first heartbeat.
fn join_request(member_id: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: REBALANCE_MS,
        subscribed_topic_names: Some(topics.iter().map(|name| (*name).to_owned()).collect()),
        topic_partitions: Some(Vec::new()),
        ..beat_request(member_id, 0)
    }
}

fn owned_topics(owned: &Owned) -> Vec<OwnedTopic> {
    let topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| OwnedTopic {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
        ..OwnedTopic::default()
    };
    owned.iter().map(topic).collect()
}

fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Owned> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect())
}

/// A client of the consumer protocol that does what it is told.
#[derive(Clone, Debug, Default)]
struct Consumer {
    member_id: String,
    instance_id: Option<String>,
    topics: Vec<String>,
    regex: Option<String>,
    epoch: i32,
    owned: Owned,
    /// The next heartbeat says all, because something went wrong or has changed.
    says_all: bool,
}

impl Consumer {
    fn new(member_id: &str, topics: &[&str]) -> Consumer {
        let topics = topics.iter().map(|name| (*name).to_owned()).collect();
        Consumer { member_id: member_id.to_owned(), topics, says_all: true, ..Consumer::default() }
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            instance_id: self.instance_id.clone(),
            topic_partitions: Some(owned_topics(&self.owned)),
            ..beat_request(&self.member_id, self.epoch)
        };
        if self.epoch == 0 {
            request.topic_partitions = Some(Vec::new());
        }
        if self.says_all || self.epoch == 0 {
            request.rebalance_timeout_ms = REBALANCE_MS;
            request.subscribed_topic_names = Some(self.topics.clone());
            request.subscribed_topic_regex.clone_from(&self.regex);
        }
        request
    }

    /// Takes an answer: gives up what is not its own any more, and takes what is.
    fn take(&mut self, response: &ConsumerGroupHeartbeatResponse) -> ErrorCode {
        let code = error(response.error_code);
        match code {
            ErrorCode::None => {
                self.says_all = false;
                self.epoch = response.member_epoch;
                if let Some(assigned) = assigned(response) {
                    self.owned = assigned;
                }
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                self.owned.clear();
                self.epoch = 0;
            }
            _ => self.says_all = true,
        }
        code
    }

    #[track_caller]
    fn beat(&mut self, rig: &Rig) {
        let response = rig.beat(self.request());
        let code = self.take(&response);
        assert_eq!(code, ErrorCode::None, "{:?}", response.error_message);
    }

    fn partitions(&self, topic: &str) -> Vec<i32> {
        self.owned.get(&topic_id(topic)).map(|owned| owned.iter().copied().collect()).unwrap_or_default()
    }
}

/// Lets everybody send heartbeats until nothing changes any more.
#[track_caller]
fn settle(rig: &Rig, consumers: &mut [Consumer]) {
    for _ in 0..10 {
        rig.pass(5_000);
        for consumer in consumers.iter_mut() {
            consumer.beat(rig);
        }
    }
    assert_eq!(rig.listed_state(), "Stable");
}
