//! The coordinator of a transactional id and of a group, and the leaders of the partitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_record::Batch as StoredBatch;
use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;

use crate::producer::core::lane::Identity;
use crate::producer::core::transactions::{Asking, Level, Step};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Open,
    Committed,
    Aborted,
}

/// A partition's log, and what its leader knows of the last producer.
#[derive(Default)]
pub(super) struct Log {
    pub values: Vec<(u64, Fate)>,
    producer: (i64, i16),
    next_sequence: i32,
    last: VecDeque<(i32, i32, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Empty,
    Ongoing,
    Complete(bool),
}

/// The coordinator of the id and of a group, and with them the logs.
pub(super) struct Cluster {
    producer_id: i64,
    epoch: i16,
    pub state: State,
    pub is_known: bool,
    added: BTreeSet<i32>,
    has_group: bool,
    /// Tickets of offsets.
    pending: Vec<u64>,
    pub committed: Vec<u64>,
    pub logs: BTreeMap<i32, Log>,
}

impl Cluster {
    pub fn new() -> Cluster {
        Cluster {
            producer_id: 1,
            epoch: -1,
            state: State::Empty,
            is_known: true,
            added: BTreeSet::new(),
            has_group: false,
            pending: Vec::new(),
            committed: Vec::new(),
            logs: BTreeMap::new(),
        }
    }

    fn end(&mut self, commits: bool) {
        let fate = if commits { Fate::Committed } else { Fate::Aborted };
        for entry in self.logs.values_mut().flat_map(|log| &mut log.values) {
            if entry.1 == Fate::Open {
                entry.1 = fate;
            }
        }
        let pending = std::mem::take(&mut self.pending);
        if commits {
            self.committed.extend(pending);
        }
        self.added.clear();
        self.has_group = false;
        self.state = State::Complete(commits);
    }

    /// Another one has the id from now on.
    pub fn initialize(&mut self) {
        if self.state == State::Ongoing {
            self.time_out();
        }
        self.epoch += 1;
        self.state = State::Empty;
    }

    pub fn time_out(&mut self) {
        self.end(false);
        self.epoch += 1;
    }

    fn check(&self, identity: Option<Identity>) -> Result<(), ErrorCode> {
        let identity = identity.unwrap();
        if !self.is_known || identity.producer_id.0 != self.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if identity.epoch.0 != self.epoch { Err(ErrorCode::ProducerFenced) } else { Ok(()) }
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity { producer_id: ProducerId(self.producer_id), epoch: ProducerEpoch(self.epoch) })
    }

    pub fn serve(&mut self, asking: &Asking) -> Result<Option<Identity>, ErrorCode> {
        let Asking { step, identity, level } = asking;
        match step {
            Step::Init(present) => {
                if !self.is_known {
                    (self.producer_id, self.epoch, self.is_known) = (self.producer_id + 1, -1, true);
                    self.state = State::Empty;
                } else if present.is_some() {
                    self.check(*present)?;
                }
                self.initialize();
                Ok(self.identity())
            }
            Step::AddPartitions(lanes) => {
                self.check(*identity)?;
                assert_eq!(*level, Level::Added);
                self.state = State::Ongoing;
                self.added.extend(lanes.values().map(|(_, partition)| *partition));
                Ok(None)
            }
            Step::AddOffsets(_) => {
                self.check(*identity)?;
                assert_eq!(*level, Level::Added);
                (self.state, self.has_group) = (State::Ongoing, true);
                Ok(None)
            }
            Step::CommitOffsets(offsets) => {
                self.check(*identity)?;
                match level {
                    Level::Added if !self.has_group => return Err(ErrorCode::InvalidTxnState),
                    Level::Added => {}
                    Level::Implicit => (self.state, self.has_group) = (State::Ongoing, true),
                }
                if !self.pending.contains(&offsets.ticket) {
                    self.pending.push(offsets.ticket);
                }
                Ok(None)
            }
            Step::End { is_committed } => {
                let asked = identity.unwrap();
                let is_retry = *level == Level::Implicit
                    && asked.producer_id.0 == self.producer_id
                    && asked.epoch.0 + 1 == self.epoch;
                if let (true, true, State::Complete(before)) = (is_retry, self.is_known, self.state) {
                    let is_the_same = before == *is_committed;
                    return if is_the_same { Ok(self.identity()) } else { Err(ErrorCode::InvalidTxnState) };
                }
                self.check(*identity)?;
                match (self.state, level) {
                    (State::Ongoing, _) => self.end(*is_committed),
                    (State::Complete(before), Level::Added) if before == *is_committed => {}
                    (State::Empty | State::Complete(_), Level::Implicit) if !is_committed => self.end(false),
                    _ => return Err(ErrorCode::InvalidTxnState),
                }
                if *level == Level::Added {
                    return Ok(None);
                }
                self.epoch += 1;
                Ok(self.identity())
            }
        }
    }

    pub fn append(
        &mut self,
        partition: i32,
        batch: &StoredBatch<'_>,
        level: Level,
    ) -> Result<i64, ErrorCode> {
        batch.check_crc().unwrap();
        assert!(batch.is_transactional());
        let producer = (batch.producer_id.0, batch.producer_epoch.0);
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        let log = self.logs.entry(partition).or_default();
        let known = log.last.iter().find(|known| (known.0, known.1) == (first, last));
        if let Some((_, _, offset)) = known.filter(|_| log.producer == producer) {
            return Ok(*offset);
        }
        // The leader asks the coordinator.
        if producer != (self.producer_id, self.epoch) || !self.is_known {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        match level {
            Level::Added if !self.added.contains(&partition) => return Err(ErrorCode::InvalidTxnState),
            Level::Added => {}
            Level::Implicit => {
                self.state = State::Ongoing;
                self.added.insert(partition);
            }
        }
        if log.producer != producer {
            if first != 0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            (log.producer, log.next_sequence) = (producer, 0);
            log.last.clear();
        }
        if first != log.next_sequence {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        let base = log.values.len() as i64;
        log.next_sequence = last + 1;
        log.last.push_back((first, last, base));
        if log.last.len() > 5 {
            log.last.pop_front();
        }
        let mut records = batch.records(1 << 20).unwrap();
        while let Some(record) = records.next().unwrap() {
            let value = u64::from_be_bytes(*record.value.unwrap().first_chunk().unwrap());
            log.values.push((value, Fate::Open));
        }
        Ok(base)
    }
}
