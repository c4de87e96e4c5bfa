//! Readers of logs that are led now here, now there, by nodes that answer late, in parts or not at all.

mod logs;
mod steps;

use std::collections::BTreeMap;

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Timestamp, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::fetch_response::{Partition as PartitionAnswer, Response as TopicAnswer};
use ottla_wire::messages::list_offsets_response::{Partition as ListAnswer, Topic as ListTopic};
use ottla_wire::messages::offset_for_leader_epoch_response::{Partition as EpochAnswer, Topic as EpochTopic};
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse};
use proptest::prelude::*;

use super::*;
use logs::Log;

const TOPIC: Uuid = Uuid([7; 16]);
const PARTITIONS: i32 = 3;
const NODES: i32 = 2;

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("topic", number)
}

/// Who leads which partition, in which epoch.
struct Led(Vec<(i32, i32)>);

impl Leaders for Led {
    fn leader(&self, partition: &TopicPartition) -> Option<(NodeId, LeaderEpoch)> {
        let (node, epoch) = self.0.get(partition.partition as usize)?;
        Some((NodeId(*node), LeaderEpoch(*epoch)))
    }

    fn topic_id(&self, topic: &str) -> Option<Uuid> {
        (topic == "topic").then_some(TOPIC)
    }

    fn is_node(&self, node: NodeId) -> bool {
        (0..NODES).contains(&node.value())
    }
}

/// What a node remembers of a session: offset and bytes by partition.
#[derive(Default)]
struct ServedSession {
    id: i32,
    epoch: i32,
    partitions: BTreeMap<i32, (i64, i32)>,
}

struct World {
    now: MonoMs,
    fetcher: Fetcher,
    logs: Vec<Log>,
    led: Led,
    /// As the reader knows it.
    known: Led,
    sessions: Vec<ServedSession>,
    in_flight: BTreeMap<NodeId, FetchRequest>,
    /// Where each partition's reader is.
    next: Vec<i64>,
    sessions_opened: i32,
}

#[derive(Clone, Debug)]
enum Step {
    Fetch,
    Answer(i32),
    Lose(i32),
    Forget(i32),
    Take(usize),
    Seek(i32, i64),
    SeekToStart(i32),
    Pause(i32, bool),
    Move(i32),
    GiveUpAndBack(i32),
    Pass(u16),
}

impl World {
    fn new(isolation_level: IsolationLevel) -> World {
        let settings = FetchSettings {
            fetch_max_bytes: 700,
            max_partition_fetch_bytes: 350,
            buffer_bytes_max: 1_400,
            isolation_level,
            auto_offset_reset: OffsetReset::Earliest,
            ..FetchSettings::default()
        };
        let mut fetcher = Fetcher::new(settings);
        fetcher.add((0..PARTITIONS).map(partition));
        let led = || Led((0..PARTITIONS).map(|number| (number % NODES, 0)).collect());
        World {
            now: MonoMs(1),
            fetcher,
            logs: (0..PARTITIONS).map(Log::mixed).collect(),
            led: led(),
            known: led(),
            sessions: (0..NODES).map(|_| ServedSession::default()).collect(),
            in_flight: BTreeMap::new(),
            next: vec![0; PARTITIONS as usize],
            sessions_opened: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Fetch => self.ask(),
            Step::Answer(node) => {
                if let Some(request) = self.in_flight.remove(&NodeId(node)) {
                    let answer = self.serve(node, &request);
                    self.fetcher.fetched(NodeId(node), answer, self.now);
                }
            }
            Step::Lose(node) => {
                if self.in_flight.remove(&NodeId(node)).is_some() {
                    self.fetcher.fetch_failed(NodeId(node), self.now);
                }
            }
            Step::Forget(node) => self.sessions[node as usize] = ServedSession::default(),
            Step::Take(count) => self.take(count),
            Step::Seek(number, offset) => {
                assert!(self.fetcher.seek(&partition(number), Position::at(Offset(offset))));
                self.next[number as usize] = offset;
            }
            Step::SeekToStart(number) => {
                assert!(self.fetcher.seek_to(&partition(number), OffsetReset::Earliest));
                self.next[number as usize] = 0;
            }
            Step::Pause(number, pause) if pause => assert!(self.fetcher.pause(&partition(number))),
            Step::Pause(number, _) => assert!(self.fetcher.resume(&partition(number))),
            Step::Move(number) => {
                let (node, epoch) = &mut self.led.0[number as usize];
                *node = (*node + 1) % NODES;
                *epoch += 1;
            }
            Step::GiveUpAndBack(number) => {
                let name = partition(number);
                self.fetcher.hold([&name]);
                self.fetcher.remove([&name]);
                self.fetcher.add([name]);
                // Nothing was committed.
                self.next[number as usize] = 0;
            }
            Step::Pass(ms) => self.now = self.now.plus_ms(ms.into()),
        }
        if self.fetcher.take_wants_metadata() {
            self.known.0.clone_from(&self.led.0);
        }
        assert_eq!(self.fetcher.take_error(), None);
        let held: usize = self.fetcher.partitions.values().map(|state| state.buffered_bytes()).sum();
        assert_eq!(held, self.fetcher.buffered_bytes);
        let max = self.fetcher.settings.buffer_bytes_max;
        assert!(held + self.fetcher.asked_bytes <= max, "{held} and {} bytes", self.fetcher.asked_bytes);
    }

    fn ask(&mut self) {
        let question = self.fetcher.wants_committed(self.now);
        self.fetcher.committed(&question, &BTreeMap::new());
        let now = Now { wall: Timestamp(0), mono: self.now };
        for (node, request, question) in self.fetcher.list_offsets(&self.known, now) {
            let mut answer = ListOffsetsResponse::default();
            for topic in request.topics {
                let listed = topic.partitions.iter().map(|asked| {
                    assert_eq!(asked.timestamp, -2);
                    let code = self.code(node, asked.partition_index, asked.current_leader_epoch);
                    let partition_index = asked.partition_index;
                    ListAnswer {
                        partition_index,
                        error_code: code.code(),
                        offset: 0,
                        leader_epoch: 0,
                        ..Default::default()
                    }
                });
                let partitions = listed.collect();
                answer.topics.push(ListTopic { name: topic.name, partitions, ..ListTopic::default() });
            }
            self.fetcher.offsets_listed(&question, &answer, self.now);
        }
        for (node, request, question) in self.fetcher.validations(&self.known, self.now) {
            let mut answer = OffsetForLeaderEpochResponse::default();
            for topic in request.topics {
                let told = topic.partitions.iter().map(|asked| EpochAnswer {
                    error_code: self.code(node, asked.partition, asked.current_leader_epoch).code(),
                    partition: asked.partition,
                    leader_epoch: asked.leader_epoch,
                    end_offset: self.logs[asked.partition as usize].end,
                    ..EpochAnswer::default()
                });
                let partitions = told.collect();
                answer.topics.push(EpochTopic { topic: topic.topic, partitions, ..EpochTopic::default() });
            }
            self.fetcher.validated(&question, &answer, self.now);
        }
        for (node, request) in self.fetcher.fetches(&self.known, self.now) {
            assert!(self.in_flight.insert(node, request).is_none(), "two fetches of one node");
        }
    }

    fn code(&self, node: NodeId, number: i32, epoch: i32) -> ErrorCode {
        match self.led.0[number as usize] {
            (leader, _) if leader != node.value() => ErrorCode::NotLeaderOrFollower,
            (_, led_in) if led_in > epoch => ErrorCode::FencedLeaderEpoch,
            _ => ErrorCode::None,
        }
    }

    fn serve(&mut self, node: i32, request: &FetchRequest) -> FetchResponse {
        let session = &mut self.sessions[node as usize];
        if request.session_epoch == 0 {
            self.sessions_opened += 1;
            *session = ServedSession { id: self.sessions_opened, ..ServedSession::default() };
        } else if request.session_id != session.id {
            let error_code = ErrorCode::FetchSessionIdNotFound.code();
            return FetchResponse { error_code, ..FetchResponse::default() };
        }
        assert_eq!(request.session_epoch, session.epoch, "requests of a session are counted");
        session.epoch += 1;
        for asked in request.topics.iter().flat_map(|topic| &topic.partitions) {
            session.partitions.insert(asked.partition, (asked.fetch_offset, asked.current_leader_epoch));
        }
        for number in request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions) {
            assert!(session.partitions.remove(number).is_some());
        }
        let is_full = request.session_epoch == 0;
        let session_id = session.id;
        let asked = session.partitions.clone();
        let mut room = request.max_bytes as usize;
        let mut answers = Vec::new();
        for (number, (offset, epoch)) in asked {
            let code = self.code(NodeId(node), number, epoch);
            let log = &self.logs[number as usize];
            let mut answer = PartitionAnswer {
                partition_index: number,
                error_code: code.code(),
                high_watermark: log.end,
                last_stable_offset: log.end,
                log_start_offset: 0,
                preferred_read_replica: -1,
                ..PartitionAnswer::default()
            };
            if code == ErrorCode::None && room > 0 {
                let (bytes, aborted) = log.read(
                    offset,
                    350.min(room),
                    answers.iter().all(|answer: &PartitionAnswer| answer.records.is_empty()),
                );
                room = room.saturating_sub(bytes.len());
                if self.fetcher.settings.isolation_level == IsolationLevel::ReadCommitted {
                    answer.aborted_transactions = Some(aborted);
                }
                answer.records = bytes.into();
            }
            if is_full || code != ErrorCode::None || !answer.records.is_empty() {
                answers.push(answer);
            }
        }
        let topic = TopicAnswer { topic_id: TOPIC, partitions: answers, ..TopicAnswer::default() };
        FetchResponse { session_id, responses: vec![topic], ..FetchResponse::default() }
    }

    fn expected(&self, number: usize) -> &[i64] {
        match self.fetcher.settings.isolation_level {
            IsolationLevel::ReadCommitted => &self.logs[number].committed,
            IsolationLevel::ReadUncommitted => &self.logs[number].uncommitted,
        }
    }

    fn take(&mut self, count: usize) {
        let paused: Vec<TopicPartition> = self.fetcher.paused().cloned().collect();
        let taken = self.fetcher.take_records(count);
        assert!(taken.len() <= count);
        for record in taken {
            assert!(!paused.contains(&record.topic_partition));
            let number = record.partition() as usize;
            let next = &mut self.next[number];
            let offsets = match self.fetcher.settings.isolation_level {
                IsolationLevel::ReadCommitted => &self.logs[number].committed,
                IsolationLevel::ReadUncommitted => &self.logs[number].uncommitted,
            };
            let expected = offsets[offsets.partition_point(|offset| offset < next)];
            assert_eq!(record.offset.value(), expected, "{}", record.topic_partition);
            assert_eq!(record.value.unwrap(), logs::value(number as i32, expected));
            assert_eq!((record.key.unwrap(), record.headers.len()), ("key".into(), 1));
            assert_eq!(record.timestamp, Timestamp(expected));
            *next = expected + 1;
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..NODES;
    let number = || 0..PARTITIONS;
    let step = prop_oneof![
        10 => Just(Step::Fetch),
        10 => node().prop_map(Step::Answer),
        1 => node().prop_map(Step::Lose),
        1 => node().prop_map(Step::Forget),
        8 => (1usize..12).prop_map(Step::Take),
        1 => (number(), 0i64..40).prop_map(|(number, offset)| Step::Seek(number, offset)),
        1 => number().prop_map(Step::SeekToStart),
        2 => (number(), any::<bool>()).prop_map(|(number, pause)| Step::Pause(number, pause)),
        1 => number().prop_map(Step::Move),
        1 => number().prop_map(Step::GiveUpAndBack),
        3 => (0u16..200).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ottla_testkit::cases(60))]

    #[test]
    fn everything_is_handed_out_once_in_order(steps in steps(), committed in any::<bool>()) {
        let level = if committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
        let mut world = World::new(level);
        for step in &steps {
            world.step(step);
        }
        for number in 0..PARTITIONS {
            world.step(&Step::Pause(number, false));
        }
        for _ in 0..100 {
            let answers = (0..NODES).map(Step::Answer);
            for step in [Step::Fetch].into_iter().chain(answers).chain([Step::Take(20), Step::Pass(100)]) {
                world.step(&step);
            }
        }
        for number in 0..PARTITIONS as usize {
            let last = *world.expected(number).last().unwrap();
            prop_assert_eq!(world.next[number], last + 1, "partition {} is read to its end", number);
            let position = world.fetcher.position(&partition(number as i32)).unwrap();
            prop_assert_eq!(position.offset.value(), world.logs[number].end);
        }
    }
}

#[test]
fn whoever_takes_records_is_told_when_more_can_be_fetched() {
    let mut world = World::new(IsolationLevel::ReadUncommitted);
    let (mut polls, mut told) = (0, 0);
    while (0..PARTITIONS as usize).any(|number| world.next[number] <= *world.expected(number).last().unwrap())
    {
        world.step(&Step::Fetch);
        if !world.fetcher.has_records() {
            for step in [Step::Answer(0), Step::Answer(1), Step::Pass(100)] {
                world.step(&step);
            }
            continue;
        }
        world.take(1);
        polls += 1;
        if world.fetcher.take_has_room() {
            told += 1;
        } else {
            assert_eq!(world.fetcher.fetches(&world.known, world.now), [], "there is nothing to be done");
        }
    }
    assert!(told > 0 && told * 2 < polls, "told {told} times of {polls}");
}
