//! A share consumer's decisions: when it fetches from whom, what it says of records, what it hands out.
//!
//! What always holds: one request to a node is under way at a time, as sessions count them; records are fetched only when
//! the owner has none left and waits, since their time runs from then on; acknowledgements go to the node that lent the
//! records, in the session in which it did.

mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_types::{MonoMs, NodeId, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse,
    ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, share_fetch_response,
};

use super::held::HeldRecords;
use super::membership::{IdPartition, ShareMembership};
use super::record::{AcknowledgeType, Acknowledged, Lock, ShareRecord, lock_lost};
use crate::backoff::Backoff;
use crate::consumer::read_batches;
use crate::error::ClientError;

/// Opens a session.
const FIRST_EPOCH: i32 = 0;
/// Ends a session: what its member still has is for others.
const LAST_EPOCH: i32 = -1;
/// Offsets that an answer may lend of a partition: brokers lend some thousands at most.
const LENT_MAX: i64 = 1_000_000;
/// Outcomes that nobody has asked for, at most.
const OUTCOMES_MAX: usize = 1_000;

/// What the machine goes by.
#[derive(Clone, Debug)]
pub(crate) struct ShareCoreSettings {
    pub is_explicit: bool,
    pub max_poll_records: usize,
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub fetch_max_wait_ms: i32,
    /// `share.acquire.mode` is `record_limit`: never more records than asked for.
    pub is_record_limit: bool,
    pub check_crcs: bool,
    pub retry_backoff_ms: u64,
    pub retry_backoff_max_ms: u64,
}

/// See [`ShareMachine::take_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Other assignments than before.
    pub rebalances: u64,
    /// Offsets of which something was said that no broker has taken.
    pub not_acknowledged: u64,
}

/// What the machine has to know of the world.
pub(crate) trait View {
    fn leader(&self, partition: &IdPartition) -> Option<NodeId>;
    fn name(&self, topic_id: Uuid) -> Option<Arc<str>>;
}

/// What is to be done for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// [`ShareMachine::heartbeat_answered`], with the same life.
    Heartbeat(u64, ShareGroupHeartbeatRequest),
    Fetch(NodeId, ShareFetchRequest),
    Acknowledge(NodeId, ShareAcknowledgeRequest),
    /// Topics or leaders are missing.
    Refresh,
}

/// What became of a request to a node.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Fetched(Result<ShareFetchResponse, ClientError>),
    Acknowledged(Result<ShareAcknowledgeResponse, ClientError>),
}

#[derive(Debug)]
struct Node {
    epoch: i32,
    /// What the session has.
    partitions: BTreeSet<IdPartition>,
    is_asked: bool,
    not_before: MonoMs,
    waits: Backoff,
}

/// Somebody waits for the outcome of acknowledgements.
#[derive(Debug)]
struct Commit {
    ticket: u64,
    open: BTreeMap<(IdPartition, i64), u64>,
    outcome: Vec<Acknowledged>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ShareMachine {
    settings: ShareCoreSettings,
    membership: ShareMembership,
    nodes: BTreeMap<NodeId, Node>,
    held: HeldRecords,
    buffer: VecDeque<ShareRecord>,
    locks: u64,
    is_waited_for: bool,
    commits: Vec<Commit>,
    done: Vec<(u64, Vec<Acknowledged>)>,
    outcomes: VecDeque<Acknowledged>,
    errors: VecDeque<ClientError>,
    refresh_at: MonoMs,
    lock_timeout_ms: Option<i32>,
    /// Offsets of which something was said that no broker has taken, since somebody asked.
    not_acknowledged: u64,
    /// Said with the next work.
    farewell: Option<(u64, ShareGroupHeartbeatRequest)>,
}

impl ShareMachine {
    pub fn new(settings: ShareCoreSettings, membership: ShareMembership) -> ShareMachine {
        ShareMachine {
            settings,
            membership,
            nodes: BTreeMap::new(),
            held: HeldRecords::default(),
            buffer: VecDeque::new(),
            locks: 0,
            is_waited_for: false,
            commits: Vec::new(),
            done: Vec::new(),
            outcomes: VecDeque::new(),
            errors: VecDeque::new(),
            refresh_at: MonoMs(0),
            lock_timeout_ms: None,
            not_acknowledged: 0,
            farewell: None,
        }
    }

    pub fn subscribe(&mut self, topics: BTreeSet<Arc<str>>, now: MonoMs) {
        self.membership.subscribe(topics, now);
    }

    /// Leaves the group; what waits for its owner is for others. What the owner has, it may still acknowledge.
    pub fn unsubscribe(&mut self) {
        self.farewell = self.membership.leave().or(self.farewell.take());
        self.buffer.clear();
        self.held.release_fetched();
    }

    pub fn is_subscribed(&self) -> bool {
        self.membership.is_subscribed()
    }

    /// For how long records are lent, as a node said last.
    pub fn lock_timeout_ms(&self) -> Option<i32> {
        self.lock_timeout_ms
    }

    /// What it is subscribed to.
    pub fn topics(&self) -> &BTreeSet<Arc<str>> {
        self.membership.topics()
    }

    /// The owner asks for records: what it had before is accepted, or must have been acknowledged.
    pub fn begin_poll(&mut self, now: MonoMs) -> Result<(), ClientError> {
        self.membership.polled(now);
        if !self.settings.is_explicit {
            self.held.accept_delivered();
        } else if self.held.has_delivered() {
            return Err(ClientError::misuse(
                "with share.acknowledgement.mode=explicit all records are acknowledged before the next poll",
            ));
        }
        self.held.say_noted();
        Ok(())
    }

    /// The next records, if there are some; otherwise they are fetched for as long as the owner waits.
    pub fn take(&mut self) -> Option<Result<Vec<ShareRecord>, ClientError>> {
        if let Some(error) = self.errors.pop_front() {
            self.is_waited_for = false;
            return Some(Err(error));
        }
        let mut records = Vec::new();
        while records.len() < self.settings.max_poll_records
            && let Some(record) = self.buffer.pop_front()
        {
            if self.held.deliver(&record) {
                records.push(record);
            }
        }
        self.is_waited_for = records.is_empty();
        (!records.is_empty()).then_some(Ok(records))
    }

    /// The owner waits no more.
    pub fn end_poll(&mut self) {
        self.is_waited_for = false;
    }

    pub fn acknowledge(&mut self, record: &ShareRecord, kind: AcknowledgeType) -> Result<(), ClientError> {
        if !self.settings.is_explicit {
            return Err(ClientError::misuse(
                "records are acknowledged one by one with share.acknowledgement.mode=explicit only",
            ));
        }
        if self.held.acknowledge(record, kind) { Ok(()) } else { Err(lock_lost()) }
    }

    /// Is there anything that [`ShareMachine::take`] would hand out?
    pub fn has_news(&self) -> bool {
        !self.errors.is_empty() || !self.buffer.is_empty()
    }

    /// What was said goes out; who has the ticket is told of the outcome. Without explicit acknowledgements, everything that
    /// was handed out is accepted.
    pub fn commit(&mut self, ticket: u64) {
        if !self.settings.is_explicit {
            self.held.accept_delivered();
        }
        self.flush(ticket);
    }

    /// As [`ShareMachine::commit`], but nothing is accepted that wasn't before.
    pub fn flush(&mut self, ticket: u64) {
        self.held.say_noted();
        self.commits.push(Commit { ticket, open: self.held.unanswered(), outcome: Vec::new() });
        self.settle();
    }

    /// Outcomes of commits, by their tickets.
    pub fn take_done(&mut self) -> Vec<(u64, Vec<Acknowledged>)> {
        std::mem::take(&mut self.done)
    }

    /// Outcomes that no commit waited for.
    pub fn take_outcomes(&mut self) -> Vec<Acknowledged> {
        self.outcomes.drain(..).collect()
    }

    /// What is counted, since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        Counts {
            rebalances: self.membership.take_rebalances(),
            not_acknowledged: std::mem::take(&mut self.not_acknowledged),
        }
    }

    fn settle(&mut self) {
        let (done, open) =
            std::mem::take(&mut self.commits).into_iter().partition(|commit| commit.open.is_empty());
        self.commits = open;
        let done: Vec<Commit> = done;
        self.done.extend(done.into_iter().map(|commit| (commit.ticket, commit.outcome)));
    }

    fn tell(&mut self, told: Vec<(Acknowledged, Vec<(IdPartition, i64)>)>) {
        for (acknowledged, ended) in told {
            if acknowledged.result.is_err() {
                self.not_acknowledged += u64::try_from(ended.len()).unwrap_or(0);
            }
            let mut is_waited_for = false;
            for commit in &mut self.commits {
                let mut own = Vec::new();
                for key in &ended {
                    if commit.open.remove(key).is_some() {
                        own.push(key.1);
                    }
                }
                own.retain(|offset| acknowledged.offsets.contains(offset));
                if !own.is_empty() {
                    is_waited_for = true;
                    commit.outcome.push(Acknowledged { offsets: own, ..acknowledged.clone() });
                }
            }
            if !is_waited_for && !acknowledged.offsets.is_empty() {
                if self.outcomes.len() == OUTCOMES_MAX {
                    self.outcomes.pop_front();
                }
                self.outcomes.push_back(acknowledged);
            }
        }
        self.settle();
    }

    /// What is to be done now.
    pub fn work(&mut self, view: &dyn View, now: MonoMs) -> Vec<Work> {
        if self.is_waited_for {
            self.membership.polled(now);
        }
        let heartbeat = self.membership.heartbeat(now);
        let mut work: Vec<Work> = self
            .farewell
            .take()
            .into_iter()
            .chain(heartbeat)
            .map(|(life, request)| Work::Heartbeat(life, request))
            .collect();
        let (wanted, is_complete) = self.wanted(view);
        if is_complete {
            self.refresh_at = MonoMs(0);
        } else if self.refresh_at <= now {
            self.refresh_at = now.plus_ms(i64::try_from(self.settings.retry_backoff_ms).unwrap_or(i64::MAX));
            work.push(Work::Refresh);
        }
        let nodes: BTreeSet<NodeId> = wanted.keys().chain(self.nodes.keys()).copied().collect();
        let nothing = BTreeSet::new();
        for node in nodes {
            work.extend(self.ask(node, wanted.get(&node).unwrap_or(&nothing), now));
        }
        self.nodes.retain(|node, state| {
            state.is_asked
                || !state.partitions.is_empty()
                || wanted.contains_key(node)
                || state.not_before > now
        });
        work
    }

    /// When [`ShareMachine::work`] is to be asked again, without other news.
    pub fn deadline(&self, now: MonoMs) -> MonoMs {
        let nodes = self.nodes.values().filter(|node| !node.is_asked).map(|node| node.not_before);
        let others = nodes.chain([self.refresh_at]).filter(|at| *at > now);
        others.min().unwrap_or(MonoMs::NEVER).min(self.membership.deadline())
    }

    /// What is read, by leader; and whether all leaders are known.
    fn wanted(&self, view: &dyn View) -> (BTreeMap<NodeId, BTreeSet<IdPartition>>, bool) {
        let mut wanted: BTreeMap<NodeId, BTreeSet<IdPartition>> = BTreeMap::new();
        let mut is_complete = true;
        for partition in self.membership.assigned() {
            match view.leader(partition).filter(|_| view.name(partition.0).is_some()) {
                Some(node) => {
                    wanted.entry(node).or_default().insert(*partition);
                }
                None => is_complete = false,
            }
        }
        (wanted, is_complete)
    }

    /// The request that a node gets now, if there is one.
    fn ask(&mut self, node: NodeId, wanted: &BTreeSet<IdPartition>, now: MonoMs) -> Option<Work> {
        let settings = &self.settings;
        let new = || Node {
            epoch: FIRST_EPOCH,
            partitions: BTreeSet::new(),
            is_asked: false,
            not_before: MonoMs(0),
            waits: Backoff::new(settings.retry_backoff_ms, settings.retry_backoff_max_ms),
        };
        let state = self.nodes.entry(node).or_insert_with(new);
        if state.is_asked || state.not_before > now {
            return None;
        }
        let pending = self.held.pending(node);
        let is_of_others = self.held.pending_partitions(node).any(|partition| !wanted.contains(partition));
        let fetches = self.is_waited_for && self.buffer.is_empty() && !wanted.is_empty();
        let is_open = state.epoch != FIRST_EPOCH;
        // Renewals go with no fetch, and neither does what is of partitions that are not fetched.
        let goes_alone = pending.renews || is_of_others || (pending.is_waited_for && !fetches);
        if pending.is_any && is_open && goes_alone {
            state.is_asked = true;
            let (epoch, sent) = (state.epoch, self.held.send(node));
            return Some(Work::Acknowledge(node, self.acknowledging(epoch, pending.renews, sent)));
        }
        if !fetches {
            return None;
        }
        state.is_asked = true;
        let (epoch, before) = (state.epoch, std::mem::replace(&mut state.partitions, wanted.clone()));
        let sent = if is_open { self.held.send(node) } else { BTreeMap::new() };
        Some(Work::Fetch(node, self.fetching(epoch, wanted, &before, sent)))
    }

    pub fn heartbeat_answered(
        &mut self,
        life: u64,
        result: Result<ShareGroupHeartbeatResponse, ClientError>,
        random: f64,
        now: MonoMs,
    ) {
        if let Err(error) = self.membership.answered(life, result, random, now) {
            self.errors.push_back(error);
        }
    }

    /// A node's answer. True: metadata is out of date.
    pub fn answered(
        &mut self,
        node: NodeId,
        answer: Answer,
        view: &dyn View,
        random: f64,
        now: MonoMs,
    ) -> bool {
        let Some(state) = self.nodes.get_mut(&node) else { return false };
        state.is_asked = false;
        let failed = match &answer {
            Answer::Fetched(Ok(answer)) => code(answer.error_code, answer.error_message.clone()),
            Answer::Acknowledged(Ok(answer)) => code(answer.error_code, answer.error_message.clone()),
            Answer::Fetched(Err(error)) | Answer::Acknowledged(Err(error)) => Some(error.clone()),
        };
        if let Some(error) = failed {
            return self.session_lost(node, error, random, now);
        }
        state.waits.reset();
        state.epoch = state.epoch.checked_add(1).unwrap_or(FIRST_EPOCH + 1);
        let needs_metadata = match answer {
            Answer::Fetched(Ok(answer)) => self.fetched(node, answer, view, random, now),
            Answer::Acknowledged(Ok(answer)) => self.acknowledged(node, answer),
            _ => false,
        };
        // Of what the answer leaves out nothing was said against it.
        let told = self.held.answered(node, None, &Ok(()));
        self.tell(told);
        needs_metadata
    }

    /// The session is gone, or nobody knows: what was lent in it is not this member's any more.
    fn session_lost(&mut self, node: NodeId, error: ClientError, random: f64, now: MonoMs) -> bool {
        if let Some(state) = self.nodes.get_mut(&node) {
            (state.epoch, state.partitions) = (FIRST_EPOCH, BTreeSet::new());
            let wait_ms = state.waits.failed(random);
            state.not_before = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
        }
        let told = self.held.lost(node, &error);
        self.tell(told);
        self.buffer.retain(|record| record.lock.node != node);
        let is_of_session = matches!(
            error.code(),
            Some(
                ErrorCode::ShareSessionNotFound
                    | ErrorCode::InvalidShareSessionEpoch
                    | ErrorCode::ShareSessionLimitReached
            )
        );
        if !error.is_retriable() && !is_of_session {
            self.errors.push_back(error.clone());
        }
        error.needs_metadata()
    }

    fn acknowledged(&mut self, node: NodeId, answer: ShareAcknowledgeResponse) -> bool {
        let mut needs_metadata = false;
        for topic in answer.responses {
            for partition in topic.partitions {
                let key = (topic.topic_id, partition.partition_index);
                let failed = code(partition.error_code, partition.error_message);
                needs_metadata |= failed.as_ref().is_some_and(ClientError::needs_metadata);
                let told = self.held.answered(node, Some(key), &failed.map_or(Ok(()), Err));
                self.tell(told);
            }
        }
        needs_metadata
    }

    fn fetched(
        &mut self,
        node: NodeId,
        answer: ShareFetchResponse,
        view: &dyn View,
        random: f64,
        now: MonoMs,
    ) -> bool {
        self.locks += 1;
        self.lock_timeout_ms =
            Some(answer.acquisition_lock_timeout_ms).filter(|ms| *ms > 0).or(self.lock_timeout_ms);
        let mut needs_metadata = false;
        let mut is_refused = false;
        for topic in answer.responses {
            for partition in topic.partitions {
                let key = (topic.topic_id, partition.partition_index);
                let said =
                    code(partition.acknowledge_error_code, partition.acknowledge_error_message.clone());
                needs_metadata |= said.as_ref().is_some_and(ClientError::needs_metadata);
                let told = self.held.answered(node, Some(key), &said.map_or(Ok(()), Err));
                self.tell(told);
                match code(partition.error_code, partition.error_message.clone()) {
                    None => {
                        self.lent(node, key, &partition, view);
                        let told = self.held.take_too_late();
                        self.tell(told);
                    }
                    Some(error) => {
                        is_refused = true;
                        needs_metadata |= error.needs_metadata();
                        if let Some(state) = self.nodes.get_mut(&node) {
                            // It is named anew with the next request.
                            state.partitions.remove(&key);
                        }
                        if !error.is_retriable() {
                            self.errors.push_back(error);
                        }
                    }
                }
            }
        }
        if is_refused && let Some(state) = self.nodes.get_mut(&node) {
            let wait_ms = state.waits.failed(random);
            state.not_before = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
        }
        needs_metadata
    }

    /// Takes what a node has lent of a partition: of each offset it is certain afterwards what is to be said.
    fn lent(
        &mut self,
        node: NodeId,
        key: IdPartition,
        answer: &share_fetch_response::Partition,
        view: &dyn View,
    ) {
        if answer.acquired_records.is_empty() {
            return;
        }
        let mut lengths = answer.acquired_records.iter().map(|range| {
            let length =
                range.last_offset.checked_sub(range.first_offset).map(|distance| distance.saturating_add(1));
            length.filter(|length| *length > 0 && range.first_offset >= 0)
        });
        let lent_count = lengths.try_fold(0_i64, |sum, length| Some(sum.saturating_add(length?)));
        if lent_count.is_none_or(|count| count > LENT_MAX) {
            let why = "it lends offsets that can't be".into();
            self.errors.push_back(ClientError::Protocol { node: format!("broker {node}").into(), why });
            return;
        }
        let name = view.name(key.0).unwrap_or_else(|| "".into());
        let partition = TopicPartition::new(name, key.1);
        let lock = Lock { topic_id: key.0, node, number: self.locks };
        let lent = |offset: i64| {
            let mut ranges = answer.acquired_records.iter();
            ranges.find(|range| (range.first_offset..=range.last_offset).contains(&offset))
        };
        let bytes = answer.records.bytes().cloned().unwrap_or_default();
        let (records, failure) = read_batches(&bytes, &partition, self.settings.check_crcs);
        let mut read = BTreeSet::new();
        for record in records {
            let offset = record.offset.value();
            let Some(range) = lent(offset) else { continue };
            read.insert(offset);
            let record = ShareRecord { record, delivery_count: range.delivery_count, lock };
            self.held.fetched(&record);
            self.buffer.push_back(record);
        }
        // Behind what can't be read, nothing was.
        let readable_until = match &failure {
            Some(_) => read.last().map_or(i64::MIN, |last| *last),
            None => i64::MAX,
        };
        for range in &answer.acquired_records {
            for offset in range.first_offset..=range.last_offset {
                if read.contains(&offset) {
                    continue;
                }
                if offset > readable_until {
                    self.held.unreadable(&partition, offset, lock);
                } else {
                    self.held.gap(&partition, offset, lock);
                }
            }
        }
        if let Some(error) = failure {
            let why = format!("a batch of {partition} can't be read: {error}").into();
            self.errors.push_back(ClientError::Protocol { node: format!("broker {node}").into(), why });
        }
    }

    /// What tells everybody that this member goes: what it has is for others.
    pub fn leave(&mut self) -> Vec<Work> {
        self.held.say_noted();
        let mut work = Vec::new();
        for (node, state) in std::mem::take(&mut self.nodes) {
            if state.epoch == FIRST_EPOCH || state.is_asked {
                // With a request under way, the session ends with its connection.
                continue;
            }
            let sent = self.held.send(node);
            work.push(Work::Acknowledge(node, self.acknowledging(LAST_EPOCH, false, sent)));
        }
        self.buffer.clear();
        work.extend(self.membership.leave().map(|(life, request)| Work::Heartbeat(life, request)));
        work
    }
}

fn code(code: i16, message: Option<String>) -> Option<ClientError> {
    let code = ErrorCode::from_answer(code);
    code.is_error().then(|| ClientError::broker(code, message, "reading as a member of a share group"))
}
