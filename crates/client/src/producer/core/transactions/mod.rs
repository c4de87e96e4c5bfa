//! A transactional producer's dealings with the coordinator of its transactional id (KIP-98, KIP-890): pure.
//!
//! What always holds: one request to a coordinator is under way at a time; nothing is sent before the producer has its
//! epoch, nothing outside of a transaction, and nothing at all once it can't go on; the end of a transaction is asked for
//! when everything that belongs to it has been answered; whether one that was to be committed counts is settled before the
//! next one begins.

#[cfg(test)]
mod simulation;
mod verdict;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use ottla_types::{MonoMs, TopicPartition};
use ottla_wire::ErrorCode;

use self::verdict::{Verdict, judge};
use super::lane::Identity;
use crate::backoff::Backoff;
use crate::consumer::{CommittedOffset, GroupMetadata};
use crate::error::ClientError;

/// Which version of the protocol is spoken: the cluster's feature `transaction.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The coordinator is told of partitions and groups before anything is sent to them.
    Added,
    /// Partitions and groups add themselves, and every end brings a new epoch (KIP-890).
    Implicit,
}

impl Level {
    pub fn of_feature(level: i16) -> Level {
        if level >= 2 { Level::Implicit } else { Level::Added }
    }
}

/// Offsets that are to be committed with the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupOffsets {
    /// By which the answer is known.
    pub ticket: u64,
    pub group: GroupMetadata,
    pub offsets: BTreeMap<TopicPartition, CommittedOffset>,
}

/// A request to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new epoch, which shuts out whoever had the id before. With the present one it is this producer that goes on.
    Init(Option<Identity>),
    AddPartitions(BTreeMap<usize, (Arc<str>, i32)>),
    AddOffsets(String),
    CommitOffsets(Arc<GroupOffsets>),
    End {
        is_committed: bool,
    },
}

/// A step with what its request needs to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    pub step: Step,
    pub identity: Option<Identity>,
    pub level: Level,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Committed,
    /// With the error that was the reason, if it wasn't asked for.
    Aborted(Option<ClientError>),
}

/// How far the producer and its transaction are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has no epoch yet.
    Initializing,
    /// A transaction can begin. With what became of the last one.
    Ready(Option<Outcome>),
    Open,
    /// The transaction is open, but can only be aborted.
    Failed(ClientError),
    Committing,
    Aborting(Option<ClientError>),
    /// Nothing can be done any more.
    Fatal(ClientError),
}

/// What a producer tells of itself: of the transaction with this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub number: u64,
    pub phase: Phase,
    /// Why what is asked of a coordinator has to be asked again.
    pub last_error: Option<ClientError>,
}

/// What is known of the batches when the next step is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Everything that was taken has been answered.
    pub is_flushed: bool,
    /// Requests are under way.
    pub is_sending: bool,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next {
    Ask(Asking),
    Wait(MonoMs),
}

/// The new transaction finds the last one's markers on their way: that takes no long wait.
const CONCURRENT_WAIT_MS: u64 = 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Transactions {
    phase: Phase,
    number: u64,
    level: Level,
    identity: Option<Identity>,
    waits: Backoff,
    /// Partitions, by their lanes, that the coordinator knows to be part of the transaction.
    added: HashSet<usize>,
    to_add: BTreeMap<usize, (Arc<str>, i32)>,
    groups: BTreeSet<String>,
    offsets: VecDeque<Arc<GroupOffsets>>,
    /// The coordinator may know of the transaction.
    is_started: bool,
    asked: Option<Step>,
    again: Option<Step>,
    not_before: MonoMs,
    /// What was sent has gaps: only a new epoch has none.
    needs_epoch: bool,
    /// The coordinator has forgotten the id: there is nothing to end.
    skips_end: bool,
    /// An attempt to commit has no answer.
    is_end_unconfirmed: bool,
    answers: Vec<(u64, Result<(), ClientError>)>,
    last_error: Option<ClientError>,
}

impl Transactions {
    pub fn new(waits: Backoff) -> Transactions {
        Transactions {
            phase: Phase::Initializing,
            number: 0,
            level: Level::Added,
            identity: None,
            waits,
            added: HashSet::new(),
            to_add: BTreeMap::new(),
            groups: BTreeSet::new(),
            offsets: VecDeque::new(),
            is_started: false,
            asked: None,
            again: None,
            not_before: MonoMs(0),
            needs_epoch: false,
            skips_end: false,
            is_end_unconfirmed: false,
            answers: Vec::new(),
            last_error: None,
        }
    }

    pub fn status(&self) -> Status {
        Status { number: self.number, phase: self.phase.clone(), last_error: self.last_error.clone() }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether nothing is left to be settled.
    pub fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Initializing | Phase::Ready(_) | Phase::Fatal(_))
    }

    /// Who sends; `None`: nothing may be sent.
    pub fn sends_as(&self) -> Option<Identity> {
        self.identity.filter(|_| matches!(self.phase, Phase::Open | Phase::Committing))
    }

    /// Whether what was taken is given up rather than sent.
    pub fn gives_up(&self) -> bool {
        matches!(self.phase, Phase::Failed(_) | Phase::Aborting(_) | Phase::Fatal(_))
    }

    /// Why no record is taken; `None`: one is.
    pub fn shut(&self) -> Option<ClientError> {
        match &self.phase {
            Phase::Open => None,
            Phase::Failed(_) | Phase::Aborting(_) | Phase::Fatal(_) => Some(self.refusal()),
            Phase::Initializing | Phase::Ready(_) | Phase::Committing => {
                Some(ClientError::misuse("records are sent within a transaction: begin one first"))
            }
        }
    }

    /// What is told to those whose records or offsets don't become part of the transaction.
    pub fn refusal(&self) -> ClientError {
        match &self.phase {
            Phase::Failed(cause) | Phase::Aborting(Some(cause)) => failed(false, cause.clone()),
            Phase::Fatal(cause) => failed(true, cause.clone()),
            _ => ClientError::TransactionAborted,
        }
    }

    /// Begins a transaction, whose number nobody has used before.
    pub fn begin(&mut self, number: u64, level: Level) {
        if !matches!(self.phase, Phase::Ready(_)) {
            return;
        }
        (self.phase, self.number, self.level) = (Phase::Open, number, level);
        self.is_end_unconfirmed = false;
    }

    /// Whether the partition of this lane may be sent to. If not, the coordinator will be told of it.
    pub fn may_send_to(&mut self, lane: usize, topic: &Arc<str>, partition: i32) -> bool {
        if self.level == Level::Implicit || self.added.contains(&lane) {
            return true;
        }
        let is_being_added = |step: &Option<Step>| matches!(step, Some(Step::AddPartitions(lanes)) if lanes.contains_key(&lane));
        if !is_being_added(&self.asked) && !is_being_added(&self.again) {
            self.to_add.insert(lane, (Arc::clone(topic), partition));
        }
        false
    }

    /// Something was sent to a partition.
    pub fn sent(&mut self) {
        self.is_started = true;
    }

    /// Commits these offsets with the transaction, if it is open and has this number.
    pub fn commit_offsets(&mut self, number: u64, offsets: GroupOffsets) {
        let refused = if self.number == number { self.shut() } else { Some(ClientError::TransactionAborted) };
        match refused {
            None => self.offsets.push_back(Arc::new(offsets)),
            Some(error) => self.answers.push((offsets.ticket, Err(error))),
        }
    }

    /// What became of offsets, by their tickets.
    pub fn take_answers(&mut self) -> Vec<(u64, Result<(), ClientError>)> {
        std::mem::take(&mut self.answers)
    }

    /// Ends the transaction with this number. One that has failed is aborted.
    pub fn end(&mut self, number: u64, commits: bool) {
        if self.number != number {
            return;
        }
        match (&self.phase, commits) {
            (Phase::Open, true) => self.phase = Phase::Committing,
            (Phase::Open, false) => self.abort(None),
            (Phase::Failed(cause), _) => {
                let cause = cause.clone();
                self.abort(Some(cause));
            }
            _ => {}
        }
    }

    fn abort(&mut self, cause: Option<ClientError>) {
        self.phase = Phase::Aborting(cause);
        self.drop_offsets();
    }

    fn drop_offsets(&mut self) {
        let refusal = self.refusal();
        let mut dropped: Vec<u64> = self.offsets.drain(..).map(|offsets| offsets.ticket).collect();
        if let Some(Step::CommitOffsets(offsets)) = self.again.take_if(|step| is_of_offsets(step)) {
            dropped.push(offsets.ticket);
        }
        self.to_add.clear();
        self.answers.extend(dropped.into_iter().map(|ticket| (ticket, Err(refusal.clone()))));
    }

    /// Something that belongs to the transaction failed for good: what whoever waits for it is told.
    pub fn fail(&mut self, error: ClientError) -> ClientError {
        // A leader knows less than the coordinator of who has taken over.
        let is_fatal = match error.code() {
            Some(code) => verdict::ends_the_producer(code),
            None => matches!(error, ClientError::Unsupported { .. }),
        };
        match (&self.phase, is_fatal) {
            (Phase::Fatal(_), _) => {}
            (_, true) => self.end_for_good(error),
            (Phase::Open, false) => {
                self.phase = Phase::Failed(error);
                self.drop_offsets();
            }
            (Phase::Committing, false) => self.abort(Some(error)),
            _ => {}
        }
        self.refusal()
    }

    /// Nothing is sent from now on.
    pub fn end_for_good(&mut self, error: ClientError) {
        if matches!(self.phase, Phase::Fatal(_)) {
            return;
        }
        let error = match self.is_end_unconfirmed && self.phase == Phase::Committing {
            true => ClientError::Unconfirmed { cause: Arc::new(error) },
            false => error,
        };
        self.phase = Phase::Fatal(error);
        self.drop_offsets();
        (self.again, self.asked) = (None, None);
    }

    /// Sequences have a gap that only a new epoch heals.
    pub fn has_gaps(&mut self) {
        self.needs_epoch = true;
    }

    /// The next request to a coordinator, or when there will be one.
    pub fn next(&mut self, progress: Progress, now: MonoMs) -> Option<Next> {
        if self.asked.is_some() || matches!(self.phase, Phase::Fatal(_)) {
            return None;
        }
        if self.again.is_some() && self.not_before > now {
            return Some(Next::Wait(self.not_before));
        }
        let step = match self.again.take() {
            Some(step) => step,
            None => self.step(progress)?,
        };
        // Once it is sent, nobody knows what was heard of it.
        self.is_started |= self.level == Level::Implicit && is_of_offsets(&step);
        self.asked = Some(step.clone());
        Some(Next::Ask(Asking { step, identity: self.identity, level: self.level }))
    }

    fn step(&mut self, progress: Progress) -> Option<Step> {
        match &self.phase {
            Phase::Initializing => Some(Step::Init(self.identity)),
            Phase::Ready(_) | Phase::Failed(_) | Phase::Fatal(_) => None,
            Phase::Open | Phase::Committing => {
                let is_committing = self.phase == Phase::Committing;
                if !self.to_add.is_empty() {
                    return Some(Step::AddPartitions(std::mem::take(&mut self.to_add)));
                }
                if let Some(offsets) = self.offsets.front() {
                    let group = &offsets.group.group_id;
                    if self.level == Level::Added && !self.groups.contains(group) {
                        return Some(Step::AddOffsets(group.clone()));
                    }
                    return self.offsets.pop_front().map(Step::CommitOffsets);
                }
                if !is_committing || !progress.is_flushed || progress.is_sending {
                    return None;
                }
                if !self.is_started {
                    self.settled(Outcome::Committed);
                    return None;
                }
                Some(Step::End { is_committed: true })
            }
            Phase::Aborting(_) if progress.is_sending || !progress.is_flushed => None,
            Phase::Aborting(cause) => {
                if self.is_started && !self.skips_end {
                    return Some(Step::End { is_committed: false });
                }
                if self.needs_epoch {
                    return Some(Step::Init(self.identity));
                }
                let cause = cause.clone();
                self.settled(Outcome::Aborted(cause));
                None
            }
        }
    }

    fn settled(&mut self, outcome: Outcome) {
        self.phase = Phase::Ready(Some(outcome));
        self.added.clear();
        self.to_add.clear();
        self.groups.clear();
        (self.is_started, self.needs_epoch, self.skips_end) = (false, false, false);
    }

    /// The answer to what was asked: of those steps that give one, the identity from now on. True: it is a new one.
    pub fn answered(
        &mut self,
        result: Result<Option<Identity>, ClientError>,
        random: f64,
        now: MonoMs,
    ) -> bool {
        let Some(step) = self.asked.take() else { return false };
        let before = self.identity;
        match result {
            Ok(identity) => {
                self.waits.reset();
                self.last_error = None;
                self.done(step, identity);
            }
            Err(error) => self.refused(step, error, random, now),
        }
        self.identity != before
    }

    fn done(&mut self, step: Step, identity: Option<Identity>) {
        match step {
            Step::Init(_) => {
                self.identity = identity.or(self.identity);
                self.needs_epoch = false;
                match &self.phase {
                    Phase::Initializing => self.phase = Phase::Ready(None),
                    Phase::Aborting(cause) => {
                        let cause = cause.clone();
                        self.settled(Outcome::Aborted(cause));
                    }
                    _ => {}
                }
            }
            Step::AddPartitions(lanes) => {
                self.is_started = true;
                self.added.extend(lanes.into_keys());
            }
            Step::AddOffsets(group) => {
                self.is_started = true;
                self.groups.insert(group);
            }
            Step::CommitOffsets(offsets) => self.answers.push((offsets.ticket, Ok(()))),
            Step::End { is_committed } => {
                if let Some(identity) = identity {
                    self.identity = Some(identity);
                    self.needs_epoch = false;
                }
                match &self.phase {
                    Phase::Committing if is_committed => self.settled(Outcome::Committed),
                    Phase::Aborting(cause) => {
                        self.is_started = false;
                        if !self.needs_epoch {
                            let cause = cause.clone();
                            self.settled(Outcome::Aborted(cause));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn refused(&mut self, step: Step, error: ClientError, random: f64, now: MonoMs) {
        let is_commit = step == Step::End { is_committed: true };
        let verdict = match judge(&step, &error) {
            // An earlier attempt may have done it.
            Verdict::Abort { .. } if is_commit && self.is_end_unconfirmed => Verdict::Fatal,
            verdict => verdict,
        };
        if verdict == Verdict::Again {
            self.is_end_unconfirmed |= is_commit && error.is_possibly_written();
            let wait_ms = match error.code() {
                Some(ErrorCode::ConcurrentTransactions) => self.waits.failed(random).min(CONCURRENT_WAIT_MS),
                _ => self.waits.failed(random),
            };
            self.not_before = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
            self.again = Some(step);
            self.last_error = Some(error);
            if self.gives_up() {
                self.drop_offsets();
            }
            return;
        }
        self.waits.reset();
        self.last_error = None;
        let ticket = match &step {
            Step::CommitOffsets(offsets) => Some(offsets.ticket),
            _ => None,
        };
        match verdict {
            Verdict::Fatal => self.end_for_good(error),
            Verdict::Abort { is_forgotten } => {
                self.skips_end |= is_forgotten;
                self.needs_epoch |= is_forgotten;
                match &self.phase {
                    Phase::Open => {
                        self.phase = Phase::Failed(error);
                        self.drop_offsets();
                    }
                    Phase::Committing => self.abort(Some(error)),
                    // Of what is given up anyhow.
                    _ => {}
                }
            }
            Verdict::Again => {}
        }
        if let Some(ticket) = ticket {
            self.answers.push((ticket, Err(self.refusal())));
        }
    }
}

fn is_of_offsets(step: &Step) -> bool {
    matches!(step, Step::CommitOffsets(_))
}

fn failed(is_fatal: bool, cause: ClientError) -> ClientError {
    ClientError::Failed { is_fatal, cause: Arc::new(cause) }
}
