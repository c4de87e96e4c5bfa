//! A transactional producer: transactions of records in several partitions and of a group's offsets, by either version of
//! the protocol (KIP-98, KIP-890). It aborts some, falls asleep in some, and vanishes at any point to come back as another
//! instance, which fences the one before.

mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ottla_types::{MonoMs, TopicPartition};
use ottla_wire::ErrorCode;

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::{Event, RecordId, TransactionEvent, TransactionId};
use crate::network::Link;
use requests::Outcome;

const RETRY_MS: i64 = 50;
/// Offsets are committed for these partitions of [`TOPIC`].
pub(super) const OFFSET_PARTITIONS: i32 = 2;
pub(super) const TOPIC: &str = "t0";

/// How a transactional producer works.
#[derive(Clone, Debug)]
pub struct TransactionalSettings {
    /// Its instances are counted from here on.
    pub first_producer: u32,
    pub transactional_id: String,
    /// The group whose offsets it commits.
    pub group: String,
    /// Its epoch is bumped with every transaction, and leaders add partitions (KIP-890).
    pub is_version_2: bool,
    pub timeout_ms: i32,
}

/// Who it was told to be.
#[derive(Clone, Copy, Debug)]
struct Identity {
    id: i64,
    epoch: i16,
}

#[derive(Clone, Debug)]
enum Asked {
    Find { of_group: bool },
    Initialize { producer: u32 },
    Add(TopicPartition),
    Produce,
    AddOffsets,
    CommitOffsets,
    End,
}

#[derive(Clone, Debug)]
enum Step {
    Write(TopicPartition),
    CommitOffsets,
}

/// A batch that is to be in the log.
#[derive(Clone, Debug)]
struct Batch {
    partition: TopicPartition,
    first: RecordId,
    count: u64,
    records: Bytes,
}

/// The transaction under way.
#[derive(Debug)]
struct Open {
    id: TransactionId,
    begun: MonoMs,
    steps: VecDeque<Step>,
    is_to_commit: bool,
    /// Partitions that are part of it.
    added: BTreeSet<TopicPartition>,
    has_group: bool,
    batch: Option<Batch>,
    /// The one offset that it commits, when it is sent.
    offset: Option<i64>,
    is_ending: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Transactional {
    settings: TransactionalSettings,
    /// The number of this instance.
    producer: u32,
    found: bool,
    found_group: bool,
    identity: Option<Identity>,
    /// Who it goes on as, if it asks for a new epoch of its own accord (KIP-360).
    expected: Option<Identity>,
    /// It has given up a batch that has its sequence number, and asks for a new epoch before it begins anything (KIP-360).
    has_gap: bool,
    open: Option<Open>,
    transactions: u32,
    numbers: BTreeMap<TopicPartition, u64>,
    sequences: BTreeMap<TopicPartition, i32>,
    asking: Asking<Asked>,
    is_finishing: bool,
}

impl Transactional {
    pub fn new(settings: TransactionalSettings) -> Transactional {
        Transactional {
            producer: settings.first_producer,
            settings,
            found: false,
            found_group: false,
            identity: None,
            expected: None,
            has_gap: false,
            open: None,
            transactions: 0,
            numbers: BTreeMap::new(),
            sequences: BTreeMap::new(),
            asking: Asking::default(),
            is_finishing: false,
        }
    }

    fn name(&self) -> String {
        format!("transactional producer {}", self.settings.first_producer)
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        let outcome = self.read(&asked, body, world);
        let code = match outcome {
            Outcome::Done => return self.done(asked, world),
            Outcome::Failed(code) => code,
        };
        match ErrorCode::from_code(code) {
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) => {
                match asked {
                    Asked::CommitOffsets => self.found_group = false,
                    _ => self.found = false,
                }
                self.wait(world);
            }
            Some(ErrorCode::ConcurrentTransactions | ErrorCode::UnstableOffsetCommit) => self.wait(world),
            Some(ErrorCode::TransactionAbortable) => self.give_up_transaction(world),
            Some(
                ErrorCode::ProducerFenced
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::InvalidProducerIdMapping
                | ErrorCode::InvalidTxnState
                | ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId,
            ) => self.refused(&asked, code, world),
            _ if is_retriable(code) => self.wait(world),
            _ => world.unexpected(&self.name(), asked.name(), code),
        }
    }

    fn wait(&mut self, world: &World<'_>) {
        self.asking.wait_ms(RETRY_MS, world);
    }

    /// What is left to do is to abort it.
    fn give_up_transaction(&mut self, world: &World<'_>) {
        if let Some(open) = &mut self.open {
            open.steps.clear();
            self.has_gap |= open.batch.take().is_some() && !self.settings.is_version_2;
            open.is_to_commit &= open.is_ending;
        }
        self.wait(world);
    }

    /// It may not go on as who it is.
    fn refused(&mut self, asked: &Asked, code: i16, world: &mut World<'_>) {
        let open_ms = self.open.as_ref().map(|open| world.mono().since_ms(open.begun));
        let event = TransactionEvent::Refused {
            producer: self.producer,
            what: asked.name(),
            code,
            open_ms,
            timeout_ms: self.settings.timeout_ms as u64,
            is_newest: world.hears_newest,
        };
        world.events.push(Event::Transaction(event));
        self.become_another(world);
        let pause_ms = world.rng.between(50, 1_500) as i64;
        self.asking.wait_ms(pause_ms, world);
    }

    fn become_another(&mut self, world: &World<'_>) {
        self.identity = None;
        self.expected = None;
        self.open = None;
        self.asking.give_up();
        self.wait(world);
    }

    fn vanish(&mut self, link: &mut Link, world: &mut World<'_>) {
        link.abandon();
        world.events.push(Event::Transaction(TransactionEvent::Vanished { producer: self.producer }));
        self.become_another(world);
        self.found = false;
        let pause_ms = world.rng.below(3_000) as i64;
        self.asking.wait_ms(pause_ms, world);
    }

    fn initialized(&mut self, producer: u32, identity: Identity, world: &mut World<'_>) {
        self.producer = producer;
        self.identity = Some(identity);
        self.expected = None;
        self.transactions = 0;
        self.numbers.clear();
        self.sequences.clear();
        self.has_gap = false;
        world.events.push(Event::Transaction(TransactionEvent::Initialized {
            transactional_id: self.settings.transactional_id.clone(),
            producer,
            producer_id: identity.id,
            epoch: identity.epoch,
        }));
    }

    /// What was asked for is done.
    fn done(&mut self, asked: Asked, world: &mut World<'_>) {
        match (asked, &mut self.open) {
            (Asked::Find { of_group: true }, _) => self.found_group = true,
            (Asked::Find { of_group: false }, _) => self.found = true,
            (Asked::Add(partition), Some(open)) => {
                open.added.insert(partition);
            }
            (Asked::AddOffsets, Some(open)) => open.has_group = true,
            (Asked::Produce | Asked::CommitOffsets, Some(open)) => {
                open.steps.pop_front();
                open.batch = None;
            }
            (Asked::End, Some(open)) => {
                let (transaction, committed) = (open.id, open.is_to_commit);
                self.open = None;
                let event = TransactionEvent::Ended { transaction, committed };
                world.events.push(Event::Transaction(event));
            }
            (Asked::Initialize { .. }, _) | (_, None) => {}
        }
    }

    fn begin(&mut self, world: &mut World<'_>) {
        let partitions = world.topics.partitions();
        let mut steps: VecDeque<Step> = VecDeque::new();
        for _ in 0..world.rng.between(1, 5) {
            let partition = &partitions[world.rng.below(partitions.len() as u64) as usize];
            steps.push_back(Step::Write(partition.clone()));
        }
        if world.rng.one_in(2) {
            let place = world.rng.below(steps.len() as u64 + 1) as usize;
            steps.insert(place, Step::CommitOffsets);
        }
        self.transactions += 1;
        self.open = Some(Open {
            id: TransactionId { producer: self.producer, number: self.transactions },
            begun: world.mono(),
            steps,
            is_to_commit: !world.rng.one_in(4),
            added: BTreeSet::new(),
            has_group: false,
            batch: None,
            offset: None,
            is_ending: false,
        });
    }

    /// What comes next; none for now.
    fn next(&mut self, world: &mut World<'_>) -> Option<Asked> {
        if !self.found {
            return Some(Asked::Find { of_group: false });
        }
        if !self.found_group {
            return Some(Asked::Find { of_group: true });
        }
        if self.identity.is_none() {
            return (!self.is_finishing).then(|| Asked::Initialize { producer: self.producer + 1 });
        }
        let Some(open) = &self.open else {
            if self.is_finishing || !world.rng.one_in(4) {
                return None;
            }
            if world.rng.one_in(12) || self.has_gap {
                self.expected = self.identity.take();
                return Some(Asked::Initialize { producer: self.producer + 1 });
            }
            self.begin(world);
            return None;
        };
        if world.rng.one_in(60) && !self.is_finishing {
            // It thinks so long that its time is over.
            self.asking.wait_ms(i64::from(self.settings.timeout_ms) + 2_000, world);
            return None;
        }
        let is_version_2 = self.settings.is_version_2;
        match open.steps.front() {
            None if open.added.is_empty() && !open.has_group => {
                // Nothing of it is known to the coordinator.
                self.open = None;
                self.identity = None;
                None
            }
            None => Some(Asked::End),
            Some(Step::Write(partition)) if !is_version_2 && !open.added.contains(partition) => {
                Some(Asked::Add(partition.clone()))
            }
            Some(Step::Write(_)) => Some(Asked::Produce),
            Some(Step::CommitOffsets) if !is_version_2 && !open.has_group => Some(Asked::AddOffsets),
            Some(Step::CommitOffsets) => Some(Asked::CommitOffsets),
        }
    }
}

impl Client for Transactional {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                // The same is asked again.
                Said::Lost(_) => self.wait(world),
            }
        }
        if world.topics.lasting.is_empty() {
            return;
        }
        if !self.is_finishing && self.identity.is_some() && world.rng.per_myriad(60) {
            return self.vanish(link, world);
        }
        if !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        if let Some(asked) = self.next(world) {
            let ticket = self.send(&asked, link, world);
            self.asking.ask(ticket, asked);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, _: &Topics) -> bool {
        !self.asking.is_under_way() && self.open.is_none()
    }
}
