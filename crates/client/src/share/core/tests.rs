//! A share consumer's machine against brokers that do what brokers do at their worst, under random sequences of events.
//!
//! What is checked: sessions are kept as brokers count them, with one request to a node at a time; a member acknowledges
//! what it was lent and has, and nothing else; what was accepted, and confirmed, is not handed out again; every commit is
//! answered, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{MonoMs, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse,
    ShareGroupHeartbeatResponse, share_acknowledge_response, share_fetch_response,
    share_group_heartbeat_response,
};
use proptest::prelude::*;

use super::machine::{Answer, ShareCoreSettings, ShareMachine, View, Work};
use super::membership::{IdPartition, ShareMembership};
use super::record::{AcknowledgeType, ShareRecord};
use crate::backoff::Backoff;
use crate::error::ClientError;

const TOPIC: Uuid = Uuid([7; 16]);
const PARTITIONS: i32 = 3;
const NODES: i32 = 2;
const RECORDS: i64 = 40;

#[derive(Clone, Debug)]
enum Event {
    Poll,
    EndPoll,
    /// It leaves, and joins again.
    Resubscribe,
    /// Of the records that the owner has, the one at this place.
    Acknowledge(usize, AcknowledgeType),
    Commit,
    Pass(u64),
    Heartbeat(bool),
    Answer(i32),
    /// The answer is lost, and perhaps the request; the session with the connection.
    Lose(i32, bool),
    Assign(u8),
    Move(i32, i32),
    /// The member's time with all that it has is over.
    TimeOut,
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop::sample::select(vec![
        AcknowledgeType::Accept,
        AcknowledgeType::Accept,
        AcknowledgeType::Release,
        AcknowledgeType::Reject,
        AcknowledgeType::Renew,
    ]);
    prop_oneof![
        8 => Just(Event::Poll),
        1 => Just(Event::EndPoll),
        1 => Just(Event::Resubscribe),
        8 => (0..8usize, kind).prop_map(|(place, kind)| Event::Acknowledge(place, kind)),
        3 => Just(Event::Commit),
        6 => (1..200u64).prop_map(Event::Pass),
        4 => prop::bool::weighted(0.9).prop_map(Event::Heartbeat),
        16 => (0..NODES).prop_map(Event::Answer),
        1 => (0..NODES, any::<bool>()).prop_map(|(node, seen)| Event::Lose(node, seen)),
        1 => (0..8u8).prop_map(Event::Assign),
        1 => (0..PARTITIONS, 0..NODES).prop_map(|(partition, node)| Event::Move(partition, node)),
        1 => Just(Event::TimeOut),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Available,
    Lent,
    Done,
}

#[derive(Default)]
struct Session {
    epoch: i32,
    partitions: BTreeSet<i32>,
}

struct World {
    machine: ShareMachine,
    is_explicit: bool,
    now: MonoMs,
    leaders: [i32; PARTITIONS as usize],
    records: Vec<Vec<State>>,
    sessions: BTreeMap<i32, Session>,
    assigned: u8,
    /// The lives of those that are under way.
    heartbeats: VecDeque<u64>,
    under_way: BTreeMap<i32, Work>,
    has: Vec<ShareRecord>,
    /// Accepted, as this side was told.
    accepted: BTreeSet<(i32, i64)>,
    tickets: u64,
    done: u64,
}

struct Seen([i32; PARTITIONS as usize]);

impl View for Seen {
    fn leader(&self, partition: &IdPartition) -> Option<NodeId> {
        Some(NodeId(self.0[usize::try_from(partition.1).unwrap()]))
    }

    fn name(&self, _topic_id: Uuid) -> Option<Arc<str>> {
        Some("t".into())
    }
}

fn lost() -> ClientError {
    ClientError::Disconnected { node: "n".into(), why: "cut".into(), is_sent: true }
}

impl World {
    fn new(is_explicit: bool) -> World {
        let settings = ShareCoreSettings {
            is_explicit,
            max_poll_records: 5,
            fetch_min_bytes: 1,
            fetch_max_bytes: 1 << 20,
            fetch_max_wait_ms: 500,
            is_record_limit: false,
            check_crcs: true,
            retry_backoff_ms: 10,
            retry_backoff_max_ms: 40,
        };
        let membership =
            ShareMembership::new("g".to_owned(), "m".to_owned(), None, 500, Backoff::new(10, 40));
        let mut machine = ShareMachine::new(settings, membership);
        machine.subscribe(BTreeSet::from(["t".into()]), MonoMs(1));
        World {
            machine,
            is_explicit,
            now: MonoMs(1),
            leaders: [0, 1, 0],
            records: vec![vec![State::Available; RECORDS as usize]; PARTITIONS as usize],
            sessions: BTreeMap::new(),
            assigned: 7,
            heartbeats: VecDeque::new(),
            under_way: BTreeMap::new(),
            has: Vec::new(),
            accepted: BTreeSet::new(),
            tickets: 0,
            done: 0,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Poll => self.poll(),
            Event::EndPoll => self.machine.end_poll(),
            Event::Resubscribe => {
                self.machine.unsubscribe();
                self.work();
                self.machine.subscribe(BTreeSet::from(["t".into()]), self.now);
            }
            Event::Acknowledge(place, kind) => {
                if let Some(record) = self.has.get(place).cloned() {
                    let result = self.machine.acknowledge(&record, kind);
                    assert!(self.is_explicit || result.is_err());
                }
            }
            Event::Commit => {
                self.machine.commit(self.tickets);
                self.tickets += 1;
            }
            Event::Pass(ms) => self.now = MonoMs(self.now.0 + ms),
            Event::Heartbeat(is_heard) => self.heartbeat(is_heard),
            Event::Answer(node) => self.answer(node),
            Event::Lose(node, is_seen) => self.lose(node, is_seen),
            Event::Assign(assigned) => self.assigned = assigned,
            Event::Move(partition, node) => self.lead(partition, node),
            Event::TimeOut => {
                for state in self.records.iter_mut().flatten().filter(|state| **state == State::Lent) {
                    *state = State::Available;
                }
            }
        }
        self.work();
    }

    /// What was lent is not kept by the next leader.
    fn lead(&mut self, partition: i32, node: i32) {
        let place = usize::try_from(partition).unwrap();
        if self.leaders[place] != node {
            self.leaders[place] = node;
            for state in self.records[place].iter_mut().filter(|state| **state == State::Lent) {
                *state = State::Available;
            }
        }
    }

    fn poll(&mut self) {
        if self.machine.begin_poll(self.now).is_err() {
            assert!(self.is_explicit);
            for record in &self.has {
                let _ = self.machine.acknowledge(record, AcknowledgeType::Accept);
            }
            self.machine.begin_poll(self.now).unwrap();
        }
        if let Some(result) = self.machine.take() {
            for record in result.unwrap() {
                let place = (record.record.partition(), record.record.offset.value());
                assert!(!self.accepted.contains(&place), "{place:?} was accepted");
                assert!(record.delivery_count > 0);
                self.has.push(record);
                if self.has.len() > 8 {
                    self.has.remove(0);
                }
            }
        }
    }

    fn work(&mut self) {
        for work in self.machine.work(&Seen(self.leaders), self.now) {
            match work {
                Work::Heartbeat(life, _) => self.heartbeats.push_back(life),
                Work::Fetch(node, _) | Work::Acknowledge(node, _) => {
                    assert!(self.under_way.insert(node.0, work).is_none(), "one request at a time");
                }
                Work::Refresh => panic!("all leaders are known"),
            }
        }
        for (ticket, _) in self.machine.take_done() {
            assert!(ticket < self.tickets);
            self.done += 1;
        }
    }

    fn heartbeat(&mut self, is_heard: bool) {
        let Some(life) = self.heartbeats.pop_front() else { return };
        let partitions = (0..PARTITIONS).filter(|partition| self.assigned & (1 << partition) != 0).collect();
        let topic = share_group_heartbeat_response::TopicPartition {
            topic_id: TOPIC,
            partitions,
            ..Default::default()
        };
        let answer = ShareGroupHeartbeatResponse {
            member_epoch: 1,
            heartbeat_interval_ms: 50,
            assignment: Some(share_group_heartbeat_response::Assignment {
                topic_partitions: vec![topic],
                ..Default::default()
            }),
            ..Default::default()
        };
        let result = if is_heard { Ok(answer) } else { Err(lost()) };
        self.machine.heartbeat_answered(life, result, 0.5, self.now);
    }

    fn serve(&mut self, node: i32, work: Work) -> Answer {
        match work {
            Work::Fetch(_, request) => Answer::Fetched(Ok(self.fetch(node, request))),
            Work::Acknowledge(_, request) => Answer::Acknowledged(Ok(self.acknowledge(node, request))),
            work => panic!("{work:?}"),
        }
    }

    /// As a broker counts sessions.
    fn session(&mut self, node: i32, epoch: i32) -> Result<&mut Session, ErrorCode> {
        if epoch == 0 {
            self.sessions.insert(node, Session { epoch: 0, partitions: BTreeSet::new() });
        }
        let session = self.sessions.get_mut(&node).ok_or(ErrorCode::ShareSessionNotFound)?;
        assert_eq!(session.epoch, epoch, "sessions are counted alike");
        session.epoch += 1;
        Ok(session)
    }

    /// `accepts`: what is told of one that accepts.
    fn say(&mut self, node: i32, partition: i32, batches: Vec<(i64, i64, Vec<i8>)>) -> ErrorCode {
        let place = usize::try_from(partition).unwrap();
        if self.leaders[place] != node {
            return ErrorCode::NotLeaderOrFollower;
        }
        let mut offsets = Vec::new();
        for (first, last, kinds) in batches {
            assert_eq!(kinds.len() as i64, last - first + 1);
            offsets.extend((first..=last).zip(kinds));
        }
        let is_lent = |(offset, _): &(i64, i8)| self.records[place][*offset as usize] == State::Lent;
        if !offsets.iter().all(is_lent) {
            return ErrorCode::InvalidRecordState;
        }
        for (offset, kind) in offsets {
            let state = match kind {
                0 | 1 | 3 => State::Done,
                2 => State::Available,
                _ => State::Lent,
            };
            self.records[place][offset as usize] = state;
            if kind == 1 {
                self.accepted.insert((partition, offset));
            }
        }
        ErrorCode::None
    }

    fn acknowledge(&mut self, node: i32, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse {
        assert!(request.share_session_epoch != 0, "a session begins with a fetch");
        if let Err(code) = self.session(node, request.share_session_epoch) {
            return ShareAcknowledgeResponse { error_code: code.code(), ..Default::default() };
        }
        let mut partitions = Vec::new();
        for partition in request.topics.into_iter().flat_map(|topic| topic.partitions) {
            let batches = partition.acknowledgement_batches.into_iter();
            let batches: Vec<_> = batches
                .map(|batch| (batch.first_offset, batch.last_offset, batch.acknowledge_types))
                .collect();
            let renews = batches.iter().any(|(_, _, kinds)| kinds.contains(&4));
            assert!(request.is_renew_ack || !renews, "renewals are announced");
            partitions.push(share_acknowledge_response::Partition {
                partition_index: partition.partition_index,
                error_code: self.say(node, partition.partition_index, batches).code(),
                ..Default::default()
            });
        }
        let topic =
            share_acknowledge_response::Response { topic_id: TOPIC, partitions, ..Default::default() };
        ShareAcknowledgeResponse { responses: vec![topic], ..Default::default() }
    }

    fn fetch(&mut self, node: i32, request: ShareFetchRequest) -> ShareFetchResponse {
        let epoch = request.share_session_epoch;
        if let Err(code) = self.session(node, epoch) {
            return ShareFetchResponse { error_code: code.code(), ..Default::default() };
        }
        let mut said = BTreeMap::new();
        for partition in request.topics.into_iter().flat_map(|topic| topic.partitions) {
            let batches = partition.acknowledgement_batches.into_iter();
            let batches: Vec<_> = batches
                .map(|batch| (batch.first_offset, batch.last_offset, batch.acknowledge_types))
                .collect();
            assert!(epoch != 0 || batches.is_empty(), "nothing is said with a session's first request");
            assert!(!batches.iter().any(|(_, _, kinds)| kinds.contains(&4)), "a fetch renews nothing");
            if !batches.is_empty() {
                said.insert(partition.partition_index, self.say(node, partition.partition_index, batches));
            }
            self.sessions.get_mut(&node).unwrap().partitions.insert(partition.partition_index);
        }
        for partition in request.forgotten_topics_data.into_iter().flat_map(|topic| topic.partitions) {
            self.sessions.get_mut(&node).unwrap().partitions.remove(&partition);
        }
        let mut partitions = Vec::new();
        let named: BTreeSet<i32> =
            self.sessions[&node].partitions.iter().chain(said.keys()).copied().collect();
        for index in named {
            let mut answer = share_fetch_response::Partition {
                partition_index: index,
                acknowledge_error_code: said.get(&index).copied().unwrap_or(ErrorCode::None).code(),
                ..Default::default()
            };
            if self.leaders[index as usize] != node {
                answer.error_code = ErrorCode::NotLeaderOrFollower.code();
                self.sessions.get_mut(&node).unwrap().partitions.remove(&index);
            } else {
                self.lend(index, request.max_records, &mut answer);
            }
            partitions.push(answer);
        }
        let topic = share_fetch_response::Response { topic_id: TOPIC, partitions, ..Default::default() };
        ShareFetchResponse { responses: vec![topic], ..Default::default() }
    }

    fn lend(&mut self, index: i32, max: i32, answer: &mut share_fetch_response::Partition) {
        let states = &mut self.records[index as usize];
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for offset in 0..RECORDS {
            let value = offset.to_string();
            let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() };
            builder.append(&record).unwrap();
        }
        let available = states.iter().enumerate().filter(|(_, state)| **state == State::Available);
        let offsets: Vec<usize> = available.map(|(offset, _)| offset).take(max as usize).collect();
        for offset in offsets {
            states[offset] = State::Lent;
            let offset = offset as i64;
            answer.acquired_records.push(share_fetch_response::AcquiredRecord {
                first_offset: offset,
                last_offset: offset,
                delivery_count: 1,
                ..Default::default()
            });
        }
        answer.records = Bytes::from(builder.build().unwrap()).into();
    }

    fn answer(&mut self, node: i32) {
        let Some(work) = self.under_way.remove(&node) else { return };
        let answer = self.serve(node, work);
        self.machine.answered(NodeId(node), answer, &Seen(self.leaders), 0.5, self.now);
    }

    fn lose(&mut self, node: i32, is_seen: bool) {
        let Some(work) = self.under_way.remove(&node) else { return };
        let answer = match &work {
            Work::Fetch(..) => Answer::Fetched(Err(lost())),
            _ => Answer::Acknowledged(Err(lost())),
        };
        if is_seen {
            self.serve(node, work);
        }
        // With the connection the session ends, and what was lent in it.
        self.sessions.remove(&node);
        for (partition, states) in self.records.iter_mut().enumerate() {
            if self.leaders[partition] == node {
                for state in states.iter_mut().filter(|state| **state == State::Lent) {
                    *state = State::Available;
                }
            }
        }
        self.machine.answered(NodeId(node), answer, &Seen(self.leaders), 0.5, self.now);
    }

    /// From now on nothing goes wrong any more: everything is read and accepted.
    fn settle(&mut self) {
        self.assigned = 7;
        for round in 0..1_000 {
            for event in [
                Event::Poll,
                Event::Commit,
                Event::Pass(60),
                Event::Heartbeat(true),
                Event::Answer(0),
                Event::Answer(1),
            ] {
                self.happen(event);
            }
            if self.is_explicit {
                for record in std::mem::take(&mut self.has) {
                    let _ = self.machine.acknowledge(&record, AcknowledgeType::Accept);
                }
            }
            let is_done = self.records.iter().flatten().all(|state| *state == State::Done);
            if is_done && self.done == self.tickets {
                return;
            }
            // What was forgotten is lent again after a while.
            if round % 20 == 19 {
                self.happen(Event::TimeOut);
            }
        }
        panic!("it comes to no end: {:?} {} {}", self.machine, self.done, self.tickets);
    }
}

proptest! {
    #![proptest_config(ottla_testkit::cases(200))]

    #[test]
    fn members_keep_to_what_they_were_lent(is_explicit in any::<bool>(), events in prop::collection::vec(event(), 0..200)) {
        let mut world = World::new(is_explicit);
        for event in events {
            world.happen(event);
        }
        world.settle();
    }
}
