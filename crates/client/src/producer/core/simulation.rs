//! A producer's core against brokers that do what brokers do at their worst, under random sequences of events.
//!
//! What is checked is the contract: nothing is lost that was acknowledged, an idempotent producer writes nothing twice and
//! keeps the order of each partition, memory stays within its bound, and everything is answered in the end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ottla_record::{Batch as StoredBatch, BatchHeader, Codec, Compression};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp, Uuid};
use ottla_wire::ErrorCode;
use proptest::prelude::*;

use super::CoreSettings;
use super::accumulator::{Accumulator, Refused};
use super::delivery::Delivery;
use super::record::Record;
use super::sender::{Action, Answered, PartitionAnswer, ProduceAction, ProduceBatch, Sender, View};
use crate::cluster::{Partition, Topic};
use crate::error::ClientError;

const PARTITIONS: i32 = 3;
const NODES: i32 = 2;
const BUFFER_BYTES: usize = 4_000;

#[derive(Clone, Debug)]
enum Event {
    /// Of so many bytes, to a partition or to any.
    Append(Option<i32>, usize),
    Pass(u64),
    /// A node answers its oldest request.
    Answer(i32),
    /// A node refuses its oldest request.
    Refuse(i32, ErrorCode),
    /// A connection is lost: of the requests under way, the node has seen so many.
    Cut(i32, usize),
    /// A node can't be sent to until this comes again.
    Stall(i32),
    Move(i32, i32),
    /// The next batches that are larger than this are refused.
    Limit(usize),
}

fn event() -> impl Strategy<Value = Event> {
    use ErrorCode::{KafkaStorageError, NotEnoughReplicas, NotLeaderOrFollower, RequestTimedOut};
    let node = || 0..NODES;
    let codes = prop::sample::select(vec![
        KafkaStorageError,
        NotEnoughReplicas,
        NotLeaderOrFollower,
        RequestTimedOut,
    ]);
    prop_oneof![
        12 => (prop::option::of(0..PARTITIONS), 8..200usize).prop_map(|(to, bytes)| Event::Append(to, bytes)),
        6 => (0..30u64).prop_map(Event::Pass),
        6 => node().prop_map(Event::Answer),
        2 => (node(), codes).prop_map(|(node, code)| Event::Refuse(node, code)),
        1 => (node(), 0..4usize).prop_map(|(node, seen)| Event::Cut(node, seen)),
        1 => node().prop_map(Event::Stall),
        1 => (0..PARTITIONS, node()).prop_map(|(partition, node)| Event::Move(partition, node)),
        1 => (100..2000usize).prop_map(Event::Limit),
    ]
}

#[derive(Clone, Debug)]
struct Rules {
    is_idempotent: bool,
    in_flight_max: usize,
    codec: Codec,
    delivery_timeout_ms: u64,
    batch_bytes: usize,
}

fn rules() -> impl Strategy<Value = Rules> {
    let codecs = prop::sample::select(vec![Codec::None, Codec::None, Codec::Lz4]);
    let timeouts = prop::sample::select(vec![200, 1_000_000_000]);
    (any::<bool>(), 1..6usize, codecs, timeouts, prop::sample::select(vec![0, 300, 1_000])).prop_map(
        |(is_idempotent, in_flight_max, codec, delivery_timeout_ms, batch_bytes)| Rules {
            is_idempotent,
            in_flight_max,
            codec,
            delivery_timeout_ms,
            batch_bytes,
        },
    )
}

/// A partition's log, and what its leader knows of the producer.
#[derive(Default)]
struct Log {
    values: Vec<u64>,
    epoch: Option<(i64, i16)>,
    next_sequence: i32,
    last: VecDeque<(i32, i32, i64)>,
}

impl Log {
    fn append(&mut self, batch: &StoredBatch<'_>) -> Result<i64, ErrorCode> {
        batch.check_crc().unwrap();
        let header: &BatchHeader = batch;
        if header.has_producer_id() {
            let epoch = (header.producer_id.0, header.producer_epoch.0);
            let (first, last) = (header.base_sequence, header.last_sequence());
            if self.epoch.is_some_and(|known| epoch < known) {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if self.epoch != Some(epoch) {
                // Of a producer that it knows nothing of, a leader takes any sequence for the first one.
                if first != 0 && self.epoch.is_some() {
                    return Err(ErrorCode::OutOfOrderSequenceNumber);
                }
                (self.epoch, self.next_sequence) = (Some(epoch), first);
                self.last.clear();
            }
            if let Some((_, _, offset)) = self.last.iter().find(|known| (known.0, known.1) == (first, last)) {
                return Ok(*offset);
            }
            if last < self.next_sequence {
                return Err(ErrorCode::DuplicateSequenceNumber);
            }
            if first != self.next_sequence {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            self.next_sequence = last + 1;
            self.last.push_back((first, last, self.values.len() as i64));
            if self.last.len() > 5 {
                self.last.pop_front();
            }
        }
        let base = self.values.len() as i64;
        let mut records = batch.records(1 << 20).unwrap();
        while let Some(record) = records.next().unwrap() {
            self.values.push(u64::from_be_bytes(*record.value.unwrap().first_chunk().unwrap()));
        }
        Ok(base)
    }
}

struct World {
    rules: Rules,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    topic: Topic,
    now: MonoMs,
    logs: BTreeMap<i32, Log>,
    under_way: BTreeMap<i32, VecDeque<ProduceAction>>,
    stalled: Vec<i32>,
    limit: usize,
    values: u64,
    /// Of each partition, in the order in which they were taken.
    deliveries: Vec<(u64, Delivery)>,
}

struct Seen<'a> {
    topic: &'a Topic,
    stalled: &'a [i32],
}

impl View for Seen<'_> {
    fn leader(&self, _topic: &str, partition: i32) -> Option<NodeId> {
        self.topic.partitions[usize::try_from(partition).unwrap()].leader
    }

    fn is_ready(&mut self, node: NodeId) -> bool {
        !self.stalled.contains(&node.0)
    }

    fn random(&mut self) -> f64 {
        0.5
    }
}

impl World {
    fn new(rules: Rules) -> World {
        let settings = CoreSettings {
            acks: -1,
            batch_bytes: rules.batch_bytes,
            buffer_bytes: BUFFER_BYTES,
            linger_ms: 5,
            compression: Compression::new(rules.codec),
            request_bytes_max: 2_000,
            delivery_timeout_ms: rules.delivery_timeout_ms,
            retries: u32::MAX,
            retry_backoff_ms: 10,
            retry_backoff_max_ms: 40,
            in_flight_max: rules.in_flight_max,
            is_idempotent: rules.is_idempotent,
            is_adaptive: true,
            is_transactional: false,
        };
        let partition = |index| Partition {
            index,
            leader: Some(NodeId(index % NODES)),
            leader_epoch: LeaderEpoch(0),
            replicas: Vec::new(),
            isr: Vec::new(),
            offline: Vec::new(),
            error: ErrorCode::None,
        };
        let partitions = (0..PARTITIONS).map(partition).collect();
        let accumulator = Arc::new(Accumulator::new(settings, 7));
        World {
            rules,
            sender: Sender::new(Arc::clone(&accumulator)),
            accumulator,
            topic: Topic { name: "t".into(), id: Uuid::ZERO, is_internal: false, partitions },
            now: MonoMs(1_000),
            logs: BTreeMap::new(),
            under_way: BTreeMap::new(),
            stalled: Vec::new(),
            limit: usize::MAX,
            values: 0,
            deliveries: Vec::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Append(to, bytes) => self.append(to, bytes),
            Event::Pass(ms) => self.now = MonoMs(self.now.0 + ms),
            Event::Answer(node) => self.answer(node, None),
            Event::Refuse(node, code) => self.answer(node, Some(code)),
            Event::Cut(node, seen) => self.cut(node, seen),
            Event::Stall(node) => match self.stalled.iter().position(|stalled| *stalled == node) {
                Some(place) => drop(self.stalled.remove(place)),
                None => self.stalled.push(node),
            },
            Event::Move(partition, node) => {
                self.topic.partitions[usize::try_from(partition).unwrap()].leader = Some(NodeId(node));
            }
            Event::Limit(limit) => self.limit = limit,
        }
        self.tick();
        assert!(self.accumulator.memory.available() <= BUFFER_BYTES);
    }

    fn append(&mut self, to: Option<i32>, bytes: usize) {
        let mut value = self.values.to_be_bytes().to_vec();
        value.resize(bytes, 0);
        let record = Record::to("t").value(&value).encodable(Timestamp(1));
        let queues = self.accumulator.topic(&self.topic);
        let appended = match to {
            Some(partition) => self.accumulator.append(&queues, partition, &record, None, self.now),
            None => self.accumulator.append_anywhere(&self.topic, &queues, &record, None, self.now),
        };
        match appended {
            Ok(appended) => {
                self.deliveries.push((self.values, appended.delivery));
                self.values += 1;
            }
            Err(Refused::NeedsMemory { .. }) => {}
            Err(refused) => panic!("{refused:?}"),
        }
    }

    fn tick(&mut self) {
        let World { sender, topic, stalled, now, under_way, .. } = self;
        let mut seen = Seen { topic, stalled };
        // Identification is answered at once.
        loop {
            let (actions, wake) = sender.tick(&mut seen, *now);
            assert!(wake > *now, "nothing is left for now");
            let mut is_identified = false;
            for action in actions {
                match action {
                    Action::Identify => {
                        sender.identified(Ok((ProducerId(1), ProducerEpoch(0))), &mut seen, *now);
                        is_identified = true;
                    }
                    Action::Produce(action) => under_way.entry(action.node.0).or_default().push_back(action),
                    Action::Refresh | Action::Ask(_) => panic!("{action:?}"),
                }
            }
            if !is_identified {
                return;
            }
        }
    }

    /// What a node makes of a request.
    fn serve(
        &mut self,
        node: i32,
        request: &ProduceAction,
        refused: Option<ErrorCode>,
    ) -> Vec<PartitionAnswer> {
        let mut answers = Vec::new();
        for ProduceBatch { lane, partition, bytes, .. } in &request.batches {
            let batch = StoredBatch::parse(bytes).unwrap();
            let leader = self.topic.partitions[usize::try_from(*partition).unwrap()].leader;
            let result = if let Some(code) = refused {
                Err(code)
            } else if leader != Some(NodeId(node)) {
                Err(ErrorCode::NotLeaderOrFollower)
            } else if bytes.len() > self.limit {
                Err(ErrorCode::MessageTooLarge)
            } else {
                self.logs.entry(*partition).or_default().append(&batch)
            };
            answers.push(PartitionAnswer {
                lane: *lane,
                code: result.err().unwrap_or(ErrorCode::None),
                message: None,
                base_offset: Offset(result.unwrap_or(-1)),
                log_append_time: None,
                records: Vec::new(),
            });
        }
        answers
    }

    fn answer(&mut self, node: i32, refused: Option<ErrorCode>) {
        let Some(request) = self.under_way.entry(node).or_default().pop_front() else { return };
        let answers = self.serve(node, &request, refused);
        let mut seen = Seen { topic: &self.topic, stalled: &self.stalled };
        self.sender.answered(request.request, Answered::By(answers), &mut seen, self.now);
    }

    fn cut(&mut self, node: i32, seen: usize) {
        let requests = std::mem::take(self.under_way.entry(node).or_default());
        for (place, request) in requests.into_iter().enumerate() {
            if place < seen {
                self.serve(node, &request, None);
            }
            let lost = ClientError::Disconnected { node: "n".into(), why: "cut".into(), is_sent: true };
            let mut seen = Seen { topic: &self.topic, stalled: &self.stalled };
            self.sender.answered(request.request, Answered::Lost(lost), &mut seen, self.now);
        }
    }

    /// From now on nothing goes wrong any more.
    fn settle(&mut self) {
        self.stalled.clear();
        self.limit = self.limit.max(400);
        drop(self.accumulator.close());
        for _ in 0..100_000 {
            if self.accumulator.is_empty() && self.sender.requests_in_flight() == 0 {
                return;
            }
            self.happen(Event::Pass(5));
            for node in 0..NODES {
                self.happen(Event::Answer(node));
            }
        }
        panic!("something is never answered: {:?}", self.sender);
    }

    fn check(&self) {
        assert_eq!(self.accumulator.memory.available(), BUFFER_BYTES, "all memory is free again");
        let mut written: HashMap<u64, Vec<(i32, i64)>> = HashMap::new();
        for (partition, log) in &self.logs {
            for (offset, value) in log.values.iter().enumerate() {
                written.entry(*value).or_default().push((*partition, offset as i64));
            }
        }
        for (value, delivery) in &self.deliveries {
            let places = written.get(value).cloned().unwrap_or_default();
            match delivery.peek().expect("it is answered") {
                Ok(metadata) => {
                    let is_there = match metadata.offset {
                        Offset::UNKNOWN => !places.is_empty(),
                        offset => places.contains(&(metadata.partition, offset.0)),
                    };
                    assert!(is_there, "{value} was acknowledged at {metadata:?} and is at {places:?}");
                }
                Err(error) => assert!(
                    places.is_empty() || error.is_possibly_written(),
                    "{value} is at {places:?}, of which nobody knows: {error:?}"
                ),
            }
        }
        if self.rules.is_idempotent {
            assert!(
                written.values().all(|places| places.len() == 1),
                "nothing is written twice: {written:?}"
            );
        }
        for (partition, log) in &self.logs {
            let mut values = log.values.clone();
            if self.rules.is_idempotent {
                assert!(values.is_sorted(), "partition {partition}: {values:?}");
            } else if self.rules.in_flight_max == 1 {
                // An attempt whose answer was lost may be repeated, and a batch is repeated as a whole.
                let mut seen = std::collections::HashSet::new();
                values.retain(|value| seen.insert(*value));
                assert!(values.is_sorted(), "partition {partition}: {values:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ottla_testkit::cases(300))]

    #[test]
    fn the_contract_is_kept(rules in rules(), events in prop::collection::vec(event(), 0..250)) {
        let mut world = World::new(rules);
        for event in events {
            world.happen(event);
        }
        world.settle();
        world.check();
    }

    #[test]
    fn what_is_given_up_says_whether_it_may_be_written(
        rules in rules(),
        events in prop::collection::vec(event(), 0..100),
    ) {
        let mut world = World::new(rules);
        for event in events {
            world.happen(event);
        }
        drop(world.accumulator.close());
        world.sender.fail_all(&ClientError::Closed);
        world.settle();
        world.check();
    }
}
