//! A transactional producer's core against a coordinator and leaders that do what they do at their worst, under random
//! sequences of events.
//!
//! What is checked: of a transaction that was committed everything counts, once and in order, and of one that was not,
//! nothing; nothing is sent outside of a transaction; once another producer has the id, or the producer can't go on,
//! nothing is sent any more; everything is answered in the end.

mod cluster;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ottla_record::{Batch as StoredBatch, Compression};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset, Timestamp, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use proptest::prelude::*;

use self::cluster::{Cluster, Fate, State};
use super::{Asking, GroupOffsets, Level, Outcome, Phase, Status, Step};
use crate::cluster::{Partition, Topic};
use crate::consumer::{GroupMetadata, Position};
use crate::error::ClientError;
use crate::producer::core::CoreSettings;
use crate::producer::core::accumulator::{Accumulator, Refused};
use crate::producer::core::delivery::Delivery;
use crate::producer::core::record::Record;
use crate::producer::core::sender::{Action, Answered, PartitionAnswer, ProduceAction, Sender, View};

const PARTITIONS: i32 = 3;
const NODES: i32 = 2;
const BUFFER_BYTES: usize = 4_000;

#[derive(Clone, Debug)]
enum Event {
    Begin,
    End(bool),
    Append(i32, usize),
    Offsets,
    Pass(u64),
    /// A node answers its oldest request.
    Answer(i32),
    Refuse(i32, ErrorCode),
    /// A connection is lost: of the requests under way, the node has seen so many. The others may come late.
    Cut(i32, usize),
    /// What was on its way when a connection was lost comes after all.
    Late,
    AnswerStep,
    RefuseStep(ErrorCode),
    /// The answer is lost, and perhaps the request.
    LoseStep(bool),
    /// Another producer initializes the id.
    TakeOver,
    /// The coordinator aborts a transaction that takes too long.
    TimeOut,
    /// The coordinator forgets an id that wasn't used for long.
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    use ErrorCode::{
        ConcurrentTransactions, MessageTooLarge, NotCoordinator, NotEnoughReplicas, NotLeaderOrFollower,
        OutOfOrderSequenceNumber, TransactionAbortable,
    };
    let node = || 0..NODES;
    let of_leaders = vec![
        NotLeaderOrFollower,
        NotEnoughReplicas,
        TransactionAbortable,
        OutOfOrderSequenceNumber,
        MessageTooLarge,
    ];
    let of_coordinators = vec![ConcurrentTransactions, NotCoordinator, TransactionAbortable];
    prop_oneof![
        6 => Just(Event::Begin),
        6 => prop::bool::weighted(0.7).prop_map(Event::End),
        16 => (0..PARTITIONS, 8..200usize).prop_map(|(to, bytes)| Event::Append(to, bytes)),
        3 => Just(Event::Offsets),
        8 => (0..30u64).prop_map(Event::Pass),
        12 => node().prop_map(Event::Answer),
        1 => (node(), prop::sample::select(of_leaders)).prop_map(|(node, code)| Event::Refuse(node, code)),
        1 => (node(), 0..3usize).prop_map(|(node, seen)| Event::Cut(node, seen)),
        1 => Just(Event::Late),
        16 => Just(Event::AnswerStep),
        2 => prop::sample::select(of_coordinators).prop_map(Event::RefuseStep),
        2 => any::<bool>().prop_map(Event::LoseStep),
        1 => prop::sample::select(vec![Event::TakeOver, Event::TimeOut, Event::Forget, Event::Late, Event::Late, Event::Late]),
    ]
}

#[derive(Default)]
struct Transaction {
    /// By partition, in order.
    values: BTreeMap<i32, Vec<u64>>,
    tickets: Vec<u64>,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug)]
enum Levels {
    Always(Level),
    InTurn,
}

#[derive(Clone, Debug)]
struct Rules {
    levels: Levels,
    in_flight_max: usize,
    delivery_timeout_ms: u64,
}

fn rules() -> impl Strategy<Value = Rules> {
    let levels = vec![Levels::Always(Level::Added), Levels::Always(Level::Implicit), Levels::InTurn];
    let timeouts = prop::sample::select(vec![200, 1_000_000_000]);
    (prop::sample::select(levels), 1..6usize, timeouts).prop_map(
        |(levels, in_flight_max, delivery_timeout_ms)| Rules { levels, in_flight_max, delivery_timeout_ms },
    )
}

struct World {
    rules: Rules,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    topic: Topic,
    now: MonoMs,
    cluster: Cluster,
    under_way: BTreeMap<i32, VecDeque<(ProduceAction, Level)>>,
    late: Vec<(ProduceAction, Level)>,
    asked: Option<Asking>,
    number: u64,
    values: u64,
    tickets: u64,
    transactions: BTreeMap<u64, Transaction>,
    told: HashMap<u64, Result<(), ClientError>>,
    deliveries: Vec<(u64, Delivery)>,
    fatal: Option<ClientError>,
}

struct Seen<'a>(&'a Topic);

impl View for Seen<'_> {
    fn leader(&self, _topic: &str, partition: i32) -> Option<NodeId> {
        self.0.partitions[usize::try_from(partition).unwrap()].leader
    }

    fn is_ready(&mut self, _node: NodeId) -> bool {
        true
    }

    fn random(&mut self) -> f64 {
        0.5
    }
}

impl World {
    fn new(rules: Rules) -> World {
        let settings = CoreSettings {
            acks: -1,
            batch_bytes: 300,
            buffer_bytes: BUFFER_BYTES,
            linger_ms: 5,
            compression: Compression::NONE,
            request_bytes_max: 2_000,
            delivery_timeout_ms: rules.delivery_timeout_ms,
            retries: u32::MAX,
            retry_backoff_ms: 10,
            retry_backoff_max_ms: 40,
            in_flight_max: rules.in_flight_max,
            is_idempotent: true,
            is_adaptive: true,
            is_transactional: true,
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
            cluster: Cluster::new(),
            under_way: BTreeMap::new(),
            late: Vec::new(),
            asked: None,
            number: 0,
            values: 0,
            tickets: 0,
            transactions: BTreeMap::new(),
            told: HashMap::new(),
            deliveries: Vec::new(),
            fatal: None,
        }
    }

    fn status(&self) -> Status {
        self.sender.transaction().unwrap()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::End(commits) => self.sender.end_transaction(self.number, commits),
            Event::Append(to, bytes) => self.append(to, bytes),
            Event::Offsets => self.offsets(),
            Event::Pass(ms) => self.now = MonoMs(self.now.0 + ms),
            Event::Answer(node) => self.answer(node, None),
            Event::Refuse(node, code) => self.answer(node, Some(code)),
            Event::Cut(node, seen) => self.cut(node, seen),
            Event::Late => {
                for (request, level) in std::mem::take(&mut self.late) {
                    self.serve(&request, level, None);
                }
            }
            Event::AnswerStep => self.answer_step(None),
            Event::RefuseStep(code) => self.answer_step(Some(code)),
            Event::LoseStep(is_seen) => self.lose_step(is_seen),
            Event::TakeOver => self.cluster.initialize(),
            Event::TimeOut if self.cluster.state == State::Ongoing => self.cluster.time_out(),
            Event::Forget if self.cluster.state != State::Ongoing => self.cluster.is_known = false,
            Event::TimeOut | Event::Forget => {}
        }
        self.tick();
        self.look();
        assert!(self.accumulator.memory.available() <= BUFFER_BYTES);
    }

    fn begin(&mut self) {
        let is_ready = matches!(self.status().phase, Phase::Ready(_));
        let number = self.number + 1;
        let level = match self.rules.levels {
            Levels::Always(level) => level,
            Levels::InTurn if number.is_multiple_of(3) => Level::Added,
            Levels::InTurn => Level::Implicit,
        };
        self.sender.begin_transaction(number, level);
        assert_eq!(self.status().phase == Phase::Open && self.status().number == number, is_ready);
        if is_ready {
            self.number = number;
            self.transactions.insert(number, Transaction::default());
        }
    }

    fn append(&mut self, to: i32, bytes: usize) {
        let mut value = self.values.to_be_bytes().to_vec();
        value.resize(bytes, 0);
        let record = Record::to("t").value(&value).encodable(Timestamp(1));
        let queues = self.accumulator.topic(&self.topic);
        let is_open = self.status().phase == Phase::Open;
        match self.accumulator.append(&queues, to, &record, None, self.now) {
            Ok(appended) => {
                assert!(is_open, "a record is taken within a transaction only");
                self.deliveries.push((self.number, appended.delivery));
                let transaction = self.transactions.get_mut(&self.number).unwrap();
                transaction.values.entry(to).or_default().push(self.values);
                self.values += 1;
            }
            Err(Refused::NeedsMemory { .. }) => {}
            Err(Refused::Error(error)) => assert!(!is_open, "{error:?}"),
            Err(refused) => panic!("{refused:?}"),
        }
    }

    fn offsets(&mut self) {
        let ticket = self.tickets;
        self.tickets += 1;
        if let Some(transaction) = self.transactions.get_mut(&self.number) {
            transaction.tickets.push(ticket);
        }
        let group = GroupMetadata { group_id: "g".to_owned(), member: None };
        let offset = Position::at(Offset(1)).into();
        let offsets = BTreeMap::from([(TopicPartition::new("source", 0), offset)]);
        self.sender.commit_offsets(self.number, GroupOffsets { ticket, group, offsets });
    }

    fn tick(&mut self) {
        let was_fatal = matches!(self.status().phase, Phase::Fatal(_));
        let (actions, wake) = self.sender.tick(&mut Seen(&self.topic), self.now);
        assert!(wake > self.now, "nothing is left for now");
        assert!(!was_fatal || actions.is_empty(), "nothing is sent by one that can't go on: {actions:?}");
        for action in actions {
            match action {
                Action::Ask(asking) => {
                    assert!(self.asked.replace(asking).is_none(), "one step is under way at a time");
                }
                Action::Produce(action) => {
                    let status = self.status();
                    assert!(
                        matches!(status.phase, Phase::Open | Phase::Committing),
                        "nothing is sent outside of a transaction: {status:?}"
                    );
                    let level = self.sender.transaction_level().unwrap();
                    self.under_way.entry(action.node.0).or_default().push_back((action, level));
                }
                Action::Identify | Action::Refresh => panic!("{action:?}"),
            }
        }
    }

    fn look(&mut self) {
        self.told.extend(self.sender.take_offsets_answers());
        let Status { number, phase, .. } = self.status();
        match phase {
            Phase::Ready(Some(outcome)) => {
                let transaction = self.transactions.get_mut(&number).unwrap();
                assert!(transaction.outcome.replace(outcome.clone()).is_none_or(|known| known == outcome));
            }
            Phase::Fatal(error) => {
                assert!(self.fatal.get_or_insert(error.clone()) == &error, "the first error counts");
            }
            _ => {}
        }
    }

    fn serve(
        &mut self,
        request: &ProduceAction,
        level: Level,
        refused: Option<ErrorCode>,
    ) -> Vec<PartitionAnswer> {
        let batches = request.batches.iter();
        let answers = batches.map(|batch| {
            let stored = StoredBatch::parse(&batch.bytes).unwrap();
            let result = match refused {
                Some(code) => Err(code),
                None => self.cluster.append(batch.partition, &stored, level),
            };
            PartitionAnswer {
                lane: batch.lane,
                code: result.err().unwrap_or(ErrorCode::None),
                message: None,
                base_offset: Offset(result.unwrap_or(-1)),
                log_append_time: None,
                records: Vec::new(),
            }
        });
        answers.collect()
    }

    fn answer(&mut self, node: i32, refused: Option<ErrorCode>) {
        let Some((request, level)) = self.under_way.entry(node).or_default().pop_front() else { return };
        let answers = self.serve(&request, level, refused);
        self.sender.answered(request.request, Answered::By(answers), &mut Seen(&self.topic), self.now);
    }

    fn cut(&mut self, node: i32, seen: usize) {
        let requests = std::mem::take(self.under_way.entry(node).or_default());
        for (place, (request, level)) in requests.into_iter().enumerate() {
            let number = request.request;
            if place < seen {
                self.serve(&request, level, None);
            } else {
                self.late.push((request, level));
            }
            self.sender.answered(number, Answered::Lost(lost()), &mut Seen(&self.topic), self.now);
        }
    }

    fn answer_step(&mut self, refused: Option<ErrorCode>) {
        let Some(asking) = self.asked.take() else { return };
        let result = match refused.filter(|_| !matches!(asking.step, Step::Init(_))) {
            Some(code) => Err(code),
            None => self.cluster.serve(&asking),
        };
        let result = result.map_err(|code| ClientError::broker(code, None, "a step"));
        self.sender.step_answered(result, 0.5, self.now);
    }

    fn lose_step(&mut self, is_seen: bool) {
        let Some(asking) = self.asked.take() else { return };
        if is_seen {
            let _ = self.cluster.serve(&asking);
        }
        self.sender.step_answered(Err(lost()), 0.5, self.now);
    }

    /// From now on nothing goes wrong any more.
    fn settle(&mut self) {
        for _ in 0..3_000 {
            if matches!(self.status().phase, Phase::Open | Phase::Failed(_)) {
                self.sender.end_transaction(self.number, false);
            }
            self.happen(Event::Pass(5));
            self.happen(Event::AnswerStep);
            for node in 0..NODES {
                self.happen(Event::Answer(node));
            }
            if self.sender.is_settled()
                && self.accumulator.is_empty()
                && self.sender.requests_in_flight() == 0
            {
                return;
            }
        }
        panic!("something is never answered: {:?}", self.sender);
    }

    fn check(&mut self) {
        // Whatever comes late finds that its time is over.
        self.happen(Event::Late);
        self.cluster.initialize();
        assert_eq!(self.accumulator.memory.available(), BUFFER_BYTES, "all memory is free again");
        assert!(self.deliveries.iter().all(|(_, delivery)| delivery.peek().is_some()));
        let mut counting: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        for (partition, log) in &self.cluster.logs {
            let committed = log.values.iter().filter(|(_, fate)| *fate == Fate::Committed);
            let values: Vec<u64> = committed.map(|(value, _)| *value).collect();
            if !values.is_empty() {
                counting.insert(*partition, values);
            }
        }
        let mut expected: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        let mut expected_tickets: Vec<u64> = Vec::new();
        let is_undecided = matches!(self.fatal, Some(ClientError::Unconfirmed { .. }));
        for (number, transaction) in &self.transactions {
            let is_last = *number == self.number;
            let first = transaction.values.iter().find_map(|(to, values)| Some((*to, *values.first()?)));
            let counts = match &transaction.outcome {
                Some(Outcome::Committed) => true,
                Some(Outcome::Aborted(_)) => false,
                None => {
                    assert!(is_last && self.fatal.is_some(), "{number} has an outcome");
                    // Either all of it or nothing.
                    let has_first = first.is_some_and(|(to, value)| {
                        counting.get(&to).is_some_and(|there| there.contains(&value))
                    });
                    let has_ticket = transaction
                        .tickets
                        .first()
                        .is_some_and(|ticket| self.cluster.committed.contains(ticket));
                    is_undecided && (has_first || has_ticket)
                }
            };
            if counts {
                for (to, values) in &transaction.values {
                    expected.entry(*to).or_default().extend(values);
                }
                let done =
                    transaction.tickets.iter().filter(|ticket| matches!(self.told.get(ticket), Some(Ok(()))));
                expected_tickets.extend(done);
            }
        }
        assert_eq!(counting, expected, "what counts is what was committed");
        assert_eq!(self.cluster.committed, expected_tickets, "offsets count with their transaction");
        assert_eq!(self.told.len() as u64, self.tickets, "who waits for offsets hears of them");
    }
}

fn lost() -> ClientError {
    ClientError::Disconnected { node: "n".into(), why: "cut".into(), is_sent: true }
}

proptest! {
    #![proptest_config(ottla_testkit::cases(300))]

    #[test]
    fn what_counts_is_what_was_committed(rules in rules(), events in prop::collection::vec(event(), 0..250)) {
        let mut world = World::new(rules);
        for event in events {
            world.happen(event);
        }
        world.settle();
        world.check();
    }
}
