//! A consumer without a group: reads all partitions from their beginning, within a fetch session; all records, or only
//! those of transactions that were committed. One that tells its rack reads from a replica there when it is told of one,
//! and from the leader again when something is wrong with that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_log::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use ottla_types::{MonoMs, NodeId, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::fetch_request::{Partition, Topic};
use ottla_wire::messages::fetch_response;
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use ottla_wire::messages::{list_offsets_request, list_offsets_response};

use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, Seen};
use crate::log_files::{Stored, read_batches};
use crate::network::{Heard, Link, Ticket, decode};

const LIST_VERSION: i16 = 10;
const TOPIC_IDS_SINCE: i16 = 13;
const RETRY_MS: i64 = 50;
const READ_COMMITTED: i8 = 1;
const FORGETS_NEAREST_ONE_IN: u64 = 200;

/// What it waits for.
#[derive(Debug)]
enum Waiting {
    Fetch(Ticket),
    /// The beginning of a partition whose position there is not any more.
    Beginning(Ticket, TopicPartition),
}

/// See the module.
#[derive(Debug)]
pub struct Consumer {
    id: u32,
    /// Of Fetch.
    version: i16,
    isolation_level: i8,
    /// Empty if it does not tell it.
    rack: &'static str,
    positions: BTreeMap<TopicPartition, i64>,
    /// What the session on the node knows; it is told what differs.
    in_session: BTreeMap<TopicPartition, i64>,
    session: (i32, i32),
    to_reset: BTreeSet<TopicPartition>,
    waiting: Option<Waiting>,
    wait_until: MonoMs,
    /// The node is not the one to ask.
    is_elsewhere: bool,
    /// As the last answer to each partition said.
    high_watermarks: BTreeMap<TopicPartition, i64>,
    /// Answers since it is to finish.
    answers_since: Option<u32>,
}

impl Consumer {
    pub fn new(id: u32, version: i16, isolation_level: i8) -> Consumer {
        Consumer {
            id,
            version,
            isolation_level,
            rack: "",
            positions: BTreeMap::new(),
            in_session: BTreeMap::new(),
            session: (0, 0),
            to_reset: BTreeSet::new(),
            waiting: None,
            wait_until: MonoMs(0),
            is_elsewhere: false,
            high_watermarks: BTreeMap::new(),
            answers_since: None,
        }
    }

    /// The consumer, in a rack.
    pub fn in_rack(self, rack: &'static str) -> Consumer {
        Consumer { rack, ..self }
    }

    /// How far it has read.
    pub fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.positions
    }

    fn name(&self) -> String {
        format!("consumer {}", self.id)
    }

    fn forget_session(&mut self) {
        self.session = (0, 0);
        self.in_session.clear();
    }

    fn fetched(&mut self, body: &Bytes, world: &mut World<'_>) {
        let response: FetchResponse = decode(body, self.version);
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            Some(
                ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError,
            ) => return self.forget_session(),
            _ => return world.unexpected(&self.name(), "Fetch", response.error_code),
        }
        self.session = match (response.session_id, self.session.1) {
            (0, _) => (0, 0),
            (id, epoch) => (id, epoch + 1),
        };
        if self.session.0 == 0 {
            self.in_session.clear();
        }
        self.answers_since = self.answers_since.map(|answers| answers + 1);
        for topic in &response.responses {
            let name = if self.version >= TOPIC_IDS_SINCE {
                let found = world.topics.lasting.iter().find(|(_, (id, _))| *id == topic.topic_id);
                found.map(|(name, _)| name.clone()).unwrap_or_default()
            } else {
                topic.topic.clone()
            };
            for data in &topic.partitions {
                self.took(TopicPartition::new(name.clone(), data.partition_index), data, world);
            }
        }
    }

    fn took(&mut self, partition: TopicPartition, data: &fetch_response::Partition, world: &mut World<'_>) {
        let Some(&asked) = self.positions.get(&partition) else {
            let what = format!("{}: an answer for {partition}, which was not asked for", self.name());
            return world.events.push(Event::Unexpected { what });
        };
        let from_follower = world.topics.nearest.is_some();
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) if data.preferred_read_replica >= 0 => {
                world.topics.nearest = Some(NodeId(data.preferred_read_replica));
                return self.go_elsewhere(world);
            }
            Some(ErrorCode::None) => {}
            // It may not have got as far as the leader.
            Some(ErrorCode::OffsetOutOfRange) if from_follower => return self.leave_follower(world),
            Some(ErrorCode::OffsetOutOfRange) => {
                world.events.push(Event::OutOfRange { partition: partition.clone(), asked });
                self.to_reset.insert(partition);
                return;
            }
            Some(code) if is_retriable(data.error_code) => {
                self.is_elsewhere |= matches!(
                    code,
                    ErrorCode::NotLeaderOrFollower
                        | ErrorCode::UnknownTopicId
                        | ErrorCode::FencedLeaderEpoch
                        | ErrorCode::UnknownLeaderEpoch
                );
                if from_follower {
                    return self.leave_follower(world);
                }
                self.wait_until = world.mono().plus_ms(RETRY_MS);
                return self.forget_session();
            }
            _ => return world.unexpected(&self.name(), "Fetch of a partition", data.error_code),
        }
        let mut stored = Vec::new();
        if let Some(bytes) = data.records.bytes() {
            read_batches(bytes, &mut stored);
        }
        let next = stored.last().map_or(asked, |last| asked.max(last.offset + 1));
        let read_committed = self.isolation_level == READ_COMMITTED;
        if read_committed {
            leave_out_aborted(&mut stored, data.aborted_transactions.as_deref().unwrap_or_default());
        }
        let records = stored
            .iter()
            .filter(|record| record.offset >= asked)
            .filter_map(|record| Some(Seen { offset: record.offset, id: record.id? }))
            .collect();
        self.positions.insert(partition.clone(), next);
        self.high_watermarks.insert(partition.clone(), data.high_watermark);
        world.events.push(Event::Fetched {
            partition,
            from_follower,
            asked,
            next,
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            read_committed,
            records,
        });
    }

    /// Goes on with the leader, whoever that is by now.
    fn leave_follower(&mut self, world: &mut World<'_>) {
        world.topics.nearest = None;
        self.go_elsewhere(world);
    }

    fn go_elsewhere(&mut self, world: &World<'_>) {
        self.is_elsewhere = true;
        self.wait_until = world.mono().plus_ms(RETRY_MS);
        self.forget_session();
    }

    fn found_beginning(&mut self, body: &Bytes, partition: TopicPartition, world: &mut World<'_>) {
        let response: ListOffsetsResponse = decode(body, LIST_VERSION);
        let found: &list_offsets_response::Partition = &response.topics[0].partitions[0];
        match found.error_code {
            0 => {
                self.to_reset.remove(&partition);
                self.positions.insert(partition, found.offset);
            }
            code if is_retriable(code) => self.wait_until = world.mono().plus_ms(RETRY_MS),
            code => world.unexpected(&self.name(), "ListOffsets", code),
        }
    }

    fn ask_position(&self, partition: &TopicPartition, timestamp: i64) -> ListOffsetsRequest {
        ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.isolation_level,
            topics: vec![list_offsets_request::Topic {
                name: partition.topic.to_string(),
                partitions: vec![list_offsets_request::Partition {
                    partition_index: partition.partition,
                    current_leader_epoch: -1,
                    timestamp,
                    ..list_offsets_request::Partition::default()
                }],
                ..list_offsets_request::Topic::default()
            }],
            ..ListOffsetsRequest::default()
        }
    }

    fn fetch(&mut self, world: &mut World<'_>) -> FetchRequest {
        for partition in world.topics.partitions() {
            self.positions.entry(partition).or_insert(0);
        }
        let by_id = self.version >= TOPIC_IDS_SINCE;
        let mut topics: Vec<Topic> = Vec::new();
        for (partition, offset) in &self.positions {
            if self.in_session.get(partition) == Some(offset) {
                continue;
            }
            let asked = Partition {
                partition: partition.partition,
                current_leader_epoch: world.topics.leader_epochs.get(partition).copied().unwrap_or(-1),
                fetch_offset: *offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: world.rng.pick(&[1, 200, 2_000, 100_000]),
                ..Partition::default()
            };
            let name = &*partition.topic;
            topics.push(Topic {
                topic: if by_id { String::new() } else { name.to_owned() },
                topic_id: if by_id { world.topics.id(name) } else { Uuid::ZERO },
                partitions: vec![asked],
                ..Topic::default()
            });
        }
        self.in_session = self.positions.clone();
        FetchRequest {
            replica_id: -1,
            max_wait_ms: world.rng.pick(&[0, 20, 500]),
            min_bytes: world.rng.pick(&[0, 1, 1, 5_000]),
            max_bytes: world.rng.pick(&[1, 3_000, 1 << 20]),
            isolation_level: self.isolation_level,
            session_id: self.session.0,
            session_epoch: self.session.1,
            topics,
            rack_id: self.rack.to_owned(),
            ..FetchRequest::default()
        }
    }
}

/// As a client does it: an aborted transaction lasts from its first offset to its marker.
fn leave_out_aborted(stored: &mut Vec<Stored>, aborted: &[fetch_response::AbortedTransaction]) {
    let mut to_begin: Vec<(i64, i64)> =
        aborted.iter().map(|aborted| (aborted.first_offset, aborted.producer_id)).collect();
    let mut under_way: BTreeSet<i64> = BTreeSet::new();
    stored.retain(|record| {
        to_begin.retain(|(first, producer_id)| {
            let begins = *first <= record.offset;
            if begins {
                under_way.insert(*producer_id);
            }
            !begins
        });
        if record.marker == Some(false) {
            under_way.remove(&record.producer_id);
        }
        !(record.is_transactional && record.marker.is_none() && under_way.contains(&record.producer_id))
    });
}

impl Client for Consumer {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(heard) = link.hear(world.mono()) {
            match (heard, self.waiting.take()) {
                (Heard::Answer { ticket, body }, Some(Waiting::Fetch(asked))) if asked == ticket => {
                    self.fetched(&body, world);
                }
                (Heard::Answer { ticket, body }, Some(Waiting::Beginning(asked, partition)))
                    if asked == ticket =>
                {
                    self.found_beginning(&body, partition, world);
                }
                (Heard::Answer { .. }, waiting) => self.waiting = waiting,
                (Heard::Closed, _) => {
                    world.topics.nearest = None;
                    self.forget_session();
                    self.wait_until = world.mono().plus_ms(RETRY_MS);
                }
            }
        }
        // Who the nearest is holds for a while only.
        if self.waiting.is_none()
            && world.topics.nearest.is_some()
            && world.rng.one_in(FORGETS_NEAREST_ONE_IN)
        {
            self.leave_follower(world);
        }
        if std::mem::take(&mut self.is_elsewhere) {
            link.abandon();
        }
        if self.waiting.is_some() || world.mono() < self.wait_until || !world.connect(link) {
            return;
        }
        if world.topics.lasting.is_empty() || (self.answers_since.is_none() && !world.rng.one_in(3)) {
            return;
        }
        if let Some(partition) = self.to_reset.first().cloned() {
            // Where it began, or, now and then, where it ends.
            let timestamp = if world.rng.one_in(4) { LATEST_TIMESTAMP } else { EARLIEST_TIMESTAMP };
            let request = self.ask_position(&partition, timestamp.0);
            let ticket = link.send(&request, LIST_VERSION, world.now.mono, world.rng);
            self.waiting = Some(Waiting::Beginning(ticket, partition));
            return;
        }
        let request = self.fetch(world);
        let ticket = link.send(&request, self.version, world.now.mono, world.rng);
        self.waiting = Some(Waiting::Fetch(ticket));
    }

    fn finish(&mut self) {
        self.answers_since = Some(0);
    }

    /// It has read all that there is.
    fn is_finished(&self, topics: &Topics) -> bool {
        self.answers_since.is_some_and(|answers| answers >= 2)
            && topics.partitions().iter().all(|partition| {
                let position = self.positions.get(partition).copied().unwrap_or(0);
                self.high_watermarks.get(partition).is_some_and(|end| position >= *end)
            })
    }
}
