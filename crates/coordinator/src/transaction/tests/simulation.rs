//! Producers that begin, write, commit, abort, time out, are fenced and come again, over a coordinator whose log fails,
//! commits late and changes its leader at any record, and partitions whose markers are late, lost or repeated: all from
//! one seed. The partitions are models of what a leader does; what must hold is checked at every step.

use std::collections::{BTreeMap, BTreeSet};

use ottla_testkit::cases;
use ottla_types::Offset;
use proptest::prelude::*;

use super::*;
use crate::testing::Choices;

const PARTITIONS: usize = 3;
const IDS: [&str; 2] = ["a", "b"];

/// One transaction of one instance of a producer: what must be all or nothing.
type Serial = usize;

/// What a partition's leader knows of one producer id.
#[derive(Default)]
struct PartitionProducer {
    epoch: i16,
    /// The transaction's records that no marker has decided.
    open: Vec<Serial>,
    /// A verification that was asked for.
    guard: Option<u64>,
}

#[derive(Default)]
struct Partition {
    producers: BTreeMap<i64, PartitionProducer>,
    coordinator_epoch: i32,
    guards: u64,
    /// Of each transaction that has records here.
    outcomes: BTreeMap<Serial, bool>,
}

impl Partition {
    /// What an append has to bring; none where the transaction is under way.
    fn start_verification(&mut self, who: Producer) -> Result<Option<u64>, ErrorCode> {
        let known = self.producers.entry(who.id.0).or_default();
        if who.epoch.0 < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if known.epoch == who.epoch.0 && !known.open.is_empty() {
            return Ok(None);
        }
        if known.guard.is_none() {
            self.guards += 1;
            known.guard = Some(self.guards);
        }
        Ok(known.guard)
    }

    fn append(&mut self, who: Producer, guard: Option<u64>, serial: Serial) -> Result<(), ErrorCode> {
        let known = self.producers.entry(who.id.0).or_default();
        if who.epoch.0 < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let is_under_way = known.epoch == who.epoch.0 && !known.open.is_empty();
        if !is_under_way && (guard.is_none() || guard != known.guard) {
            return Err(ErrorCode::InvalidTxnState);
        }
        known.epoch = who.epoch.0;
        known.guard = None;
        known.open.push(serial);
        Ok(())
    }

    fn end(&mut self, markers: &MarkersToWrite) -> ErrorCode {
        let marker = markers.marker;
        let known = self.producers.entry(marker.producer.id.0).or_default();
        let bumps = marker.transaction_version >= 2 && !known.open.is_empty();
        let epoch = marker.producer.epoch.0;
        if epoch < known.epoch || (bumps && epoch == known.epoch) {
            return ErrorCode::InvalidProducerEpoch;
        }
        if marker.coordinator_epoch < self.coordinator_epoch {
            return ErrorCode::TransactionCoordinatorFenced;
        }
        self.coordinator_epoch = marker.coordinator_epoch;
        known.epoch = epoch;
        known.guard = None;
        for serial in known.open.drain(..) {
            let outcome = *self.outcomes.entry(serial).or_insert(marker.committed);
            assert_eq!(outcome, marker.committed, "transaction {serial} is both");
        }
        ErrorCode::None
    }
}

enum Step {
    /// No producer yet, or one that must begin anew.
    Idle,
    Initializing(Answer<InitProducerIdResponse>),
    /// With a producer, between transactions.
    Ready,
    Adding(usize, Answer<Result<(), ErrorCode>>),
    Verifying(usize, Option<u64>, Answer<Result<Vec<ErrorCode>, ErrorCode>>),
    /// In a transaction, with nothing on its way.
    Writing,
    Ending(bool, Answer<EndTxnResponse>),
    /// The answer said to ask again.
    EndAgain(bool),
}

struct Client {
    id: &'static str,
    producer: Option<Producer>,
    step: Step,
    serial: Serial,
    /// Partitions that were added, and that took a record.
    added: BTreeSet<usize>,
    written: BTreeSet<usize>,
    /// As which it was initialized.
    instance: Option<Producer>,
}

struct World {
    choices: Choices,
    rig: Rig,
    end_version: i16,
    clients: Vec<Client>,
    partitions: Vec<Partition>,
    serials: Serial,
    /// As which each id's last instance was initialized.
    owners: BTreeMap<&'static str, Producer>,
    /// What clients were told of their transactions.
    told: BTreeMap<Serial, (bool, BTreeSet<usize>)>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut choices = Choices::new(seed);
        let level = [0, 1, 2, 2][choices.below(4)];
        let rig = Rig::at_level(level);
        rig.hold_commits();
        let client = |i: usize| Client {
            id: IDS[i % IDS.len()],
            producer: None,
            step: Step::Idle,
            serial: 0,
            added: BTreeSet::new(),
            written: BTreeSet::new(),
            instance: None,
        };
        World {
            choices,
            rig,
            end_version: if level >= 2 { 5 } else { 4 },
            clients: (0..4).map(client).collect(),
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            serials: 0,
            owners: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let i = self.choices.below(self.clients.len());
        match self.choices.below(40) {
            0..=21 => self.progress(i),
            22..=27 => self.deliver_one(),
            28..=33 => self.advance_high_watermark(),
            34 => self.rig.pass([1, 100, 10_000, i64::from(TIMEOUT_MS)][self.choices.below(4)]),
            35 => self.rig.pass(100),
            36 => self.rig.fail_next_append(ErrorCode::NotEnoughReplicas),
            37 => self.fail_over(),
            38 if self.choices.one_in(3) => self.clients[i].step = Step::Idle,
            _ => {}
        }
        self.check_state();
    }

    /// The log replays to what the coordinator has.
    fn check_state(&self) {
        let log = self.rig.logs.log(0);
        let (written, committed) = self.rig.states();
        let replayed = |log| Rig::with_log(self.rig.level, log, 1, Arc::default()).states().0;
        // Nothing is committed for it, so it does nothing of itself.
        assert_eq!(written, replayed(MemoryLog { high_watermark: Offset(0), ..log.truncated(log.end()) }));
        let safe = log.truncated(log.high_watermark);
        let compacted = safe.compacted(self.serials.is_multiple_of(2));
        assert_eq!(committed, replayed(MemoryLog { high_watermark: Offset(0), ..safe }));
        assert_eq!(committed, replayed(MemoryLog { high_watermark: Offset(0), ..compacted }));
    }

    fn advance_high_watermark(&mut self) {
        if let Some(to) = self.rig.logs.commit_some(0, &mut self.choices) {
            self.rig.coordinator.high_watermark_updated(0, to);
        }
    }

    /// Another coordinator takes over, with what was committed and some of the rest.
    fn fail_over(&mut self) {
        let next = self.rig.taken_over(self.rig.logs.log(0).survivor(&mut self.choices));
        next.hold_commits();
        // What the former one has sent may still arrive.
        let mut late = self.rig.markers();
        late.truncate(self.choices.below(3));
        for markers in late {
            self.write(&markers);
        }
        self.rig = next;
    }

    fn write(&mut self, markers: &MarkersToWrite) -> Vec<(TopicPartition, ErrorCode)> {
        let write = |partition: &TopicPartition| {
            (partition.clone(), self.partitions[partition.partition as usize].end(markers))
        };
        markers.partitions.iter().map(write).collect()
    }

    fn deliver_one(&mut self) {
        let count = self.rig.sender.0.lock().len();
        if count == 0 {
            return;
        }
        let chosen = self.choices.below(count);
        let Some(markers) = self.rig.sender.0.lock().remove(chosen) else { return };
        let is_late = self.choices.one_in(4);
        let mut results = if is_late { Vec::new() } else { self.write(&markers) };
        if is_late {
            let failed = |partition: &TopicPartition| (partition.clone(), ErrorCode::NotLeaderOrFollower);
            results = markers.partitions.iter().map(failed).collect();
        } else if self.choices.one_in(4) {
            // Written, and nobody hears of it.
            results.iter_mut().for_each(|(_, code)| *code = ErrorCode::RequestTimedOut);
        }
        let superseded = results.iter().any(|(_, code)| {
            matches!(code, ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced)
        });
        assert!(!superseded, "the one coordinator is refused: {markers:?} {results:?}");
        self.rig.coordinator.markers_written(markers.ticket, results, self.rig.now());
    }

    fn progress(&mut self, i: usize) {
        let step = std::mem::replace(&mut self.clients[i].step, Step::Idle);
        let next = match step {
            Step::Idle => self.initialize(i),
            Step::Initializing(answer) => match answer.get() {
                Some(response) => self.initialized(i, &response),
                None => Step::Initializing(answer),
            },
            Step::Ready => self.begin(i),
            Step::Adding(partition, answer) => match answer.get() {
                Some(Ok(())) => {
                    self.clients[i].added.insert(partition);
                    self.verify(i, partition)
                }
                Some(Err(code)) => self.heed(i, code, Step::Writing),
                None => Step::Adding(partition, answer),
            },
            Step::Verifying(partition, guard, answer) => match answer.get() {
                Some(Ok(verdicts)) if verdicts == [ErrorCode::None] => self.append(i, partition, guard),
                Some(Ok(_)) => self.end(i, false),
                Some(Err(code)) => self.heed(i, code, Step::Writing),
                None => Step::Verifying(partition, guard, answer),
            },
            Step::Writing => self.go_on(i),
            Step::Ending(committed, answer) => match answer.get() {
                Some(response) => self.ended(i, committed, &response),
                None => Step::Ending(committed, answer),
            },
            Step::EndAgain(committed) => self.end(i, committed),
        };
        self.clients[i].step = next;
    }

    /// What a client does about an error.
    fn heed(&self, i: usize, code: ErrorCode, again: Step) -> Step {
        match code {
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => again,
            ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidTxnState => Step::Idle,
            code => panic!("client {i} is told {code:?}"),
        }
    }

    fn initialize(&mut self, i: usize) -> Step {
        let client = &mut self.clients[i];
        client.producer = None;
        Step::Initializing(self.rig.send_init(client.id, None))
    }

    fn initialized(&mut self, i: usize, response: &InitProducerIdResponse) -> Step {
        match producer_of(response.error_code, response.producer_id, response.producer_epoch) {
            Ok(producer) => {
                let client = &mut self.clients[i];
                (client.producer, client.instance) = (Some(producer), Some(producer));
                let owner = self.owners.entry(client.id).or_insert(producer);
                *owner = producer.max(*owner);
                Step::Ready
            }
            Err(code) => self.heed(i, code, Step::Idle),
        }
    }

    fn begin(&mut self, i: usize) -> Step {
        self.serials += 1;
        let client = &mut self.clients[i];
        client.serial = self.serials;
        client.added.clear();
        client.written.clear();
        Step::Writing
    }

    fn go_on(&mut self, i: usize) -> Step {
        let is_empty = self.clients[i].added.is_empty();
        if !is_empty && self.choices.one_in(3) {
            let committed = !self.choices.one_in(3);
            return self.end(i, committed);
        }
        let partition = self.choices.below(PARTITIONS);
        let client = &self.clients[i];
        let Some(producer) = client.producer else { return Step::Idle };
        if client.added.contains(&partition) {
            return self.verify(i, partition);
        }
        let version = if self.end_version >= 5 { 2 } else { 0 };
        Step::Adding(partition, self.rig.send_add_at(version, client.id, producer, &[partition as i32]))
    }

    fn verify(&mut self, i: usize, partition: usize) -> Step {
        let client = &self.clients[i];
        let Some(producer) = client.producer else { return Step::Idle };
        match self.partitions[partition].start_verification(producer) {
            Ok(None) => self.append(i, partition, None),
            Ok(guard) => {
                Step::Verifying(partition, guard, self.rig.send_verify(client.id, producer, partition as i32))
            }
            Err(code) => self.heed(i, code, Step::Writing),
        }
    }

    fn append(&mut self, i: usize, partition: usize, guard: Option<u64>) -> Step {
        let client = &mut self.clients[i];
        let Some(producer) = client.producer else { return Step::Idle };
        match self.partitions[partition].append(producer, guard, client.serial) {
            Ok(()) => {
                let owner = self.owners[client.id];
                assert!(client.instance >= Some(owner), "a fenced producer appends: {producer:?}");
                client.written.insert(partition);
                Step::Writing
            }
            Err(code) => self.heed(i, code, Step::Writing),
        }
    }

    fn end(&mut self, i: usize, committed: bool) -> Step {
        let client = &self.clients[i];
        let Some(producer) = client.producer else { return Step::Idle };
        Step::Ending(committed, self.rig.send_end(self.end_version, client.id, producer, committed))
    }

    fn ended(&mut self, i: usize, committed: bool, response: &EndTxnResponse) -> Step {
        let code = error(response.error_code);
        if code != ErrorCode::None {
            return self.heed(i, code, Step::EndAgain(committed));
        }
        let client = &mut self.clients[i];
        if response.producer_id >= 0 {
            client.producer = Some(producer(response.producer_id, response.producer_epoch));
        }
        self.told.insert(client.serial, (committed, client.written.clone()));
        // Who was told finds it in the log, whoever reads that.
        Step::Ready
    }

    /// Once nothing fails any more, everything that was begun comes to its end.
    fn settle(&mut self) {
        self.rig.logs.failures.lock().clear();
        *self.rig.logs.commit_at_once.lock() = true;
        self.rig.commit();
        for _ in 0..40 {
            self.rig.pass(i64::from(TIMEOUT_MS));
            for markers in self.rig.markers() {
                let results = self.write(&markers);
                self.rig.coordinator.markers_written(markers.ticket, results, self.rig.now());
            }
        }
        for id in IDS {
            let state = self.rig.describe(id).transaction_state;
            assert!(!state.starts_with("Prepare") && state != "Ongoing", "{id} is left {state}");
        }
        for (number, partition) in self.partitions.iter().enumerate() {
            for (id, known) in &partition.producers {
                assert!(known.open.is_empty(), "{id} has an open transaction in {number}");
            }
        }
        let mut outcomes: BTreeMap<Serial, bool> = BTreeMap::new();
        for (serial, outcome) in self.partitions.iter().flat_map(|partition| &partition.outcomes) {
            let known = *outcomes.entry(*serial).or_insert(*outcome);
            assert_eq!(known, *outcome, "transaction {serial} is half done");
        }
        for (serial, (committed, written)) in &self.told {
            for partition in written {
                let outcome = self.partitions[*partition].outcomes.get(serial);
                assert_eq!(outcome, Some(committed), "transaction {serial} in partition {partition}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(30) })]

    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.settle();
    }
}
