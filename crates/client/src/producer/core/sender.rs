//! What is sent when and where, and what becomes of the answers.
//!
//! A state machine: [`Sender::tick`] yields requests, answers come back through [`Sender::answered`]. Who runs it sends the requests of
//! one node in the order in which they were given.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{MonoMs, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_wire::ErrorCode;

use super::accumulator::Accumulator;
use super::batch::Batch;
use super::delivery::Outcome;
use super::lane::{Identity, Lane, NotNow, Sent};
use super::transactions::{Asking, Transactions};
use crate::backoff::Backoff;
use crate::error::ClientError;

mod transactional;

use transactional::{in_transaction, may_send_to};

/// What the sender has to know of the world when it decides.
pub(crate) trait View {
    /// The partition's leader.
    fn leader(&self, topic: &str, partition: i32) -> Option<NodeId>;
    /// Whether something can be sent to the node at once. If not, it will be: who asks is told when.
    fn is_ready(&mut self, node: NodeId) -> bool;
    /// From 0 to 1.
    fn random(&mut self) -> f64;
}

/// What is to be done for the sender.
#[derive(Debug)]
pub(crate) enum Action {
    Produce(ProduceAction),
    /// Ask any broker who this producer is; the answer goes to [`Sender::identified`].
    Identify,
    /// Ask a coordinator; the answer goes to [`Sender::step_answered`].
    Ask(Asking),
    /// These topics have partitions whose leader is not known, or is another one now.
    Refresh,
}

/// A Produce request.
#[derive(Debug)]
pub(crate) struct ProduceAction {
    pub request: u64,
    pub node: NodeId,
    pub batches: Vec<ProduceBatch>,
}

/// A batch in a request.
#[derive(Debug)]
pub(crate) struct ProduceBatch {
    pub lane: usize,
    pub topic: Arc<str>,
    pub partition: i32,
    pub bytes: Bytes,
}

/// What a broker said of one partition's batch.
#[derive(Clone, Debug)]
pub(crate) struct PartitionAnswer {
    pub lane: usize,
    pub code: ErrorCode,
    pub message: Option<String>,
    pub base_offset: Offset,
    pub log_append_time: Option<Timestamp>,
    pub records: Vec<(i32, Option<String>)>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    /// A lane that isn't named was forgotten by the broker: its batch goes out again.
    By(Vec<PartitionAnswer>),
    /// With acks=0: it was written to the socket.
    Nobody,
    Lost(ClientError),
}

#[derive(Debug)]
struct Request {
    node: NodeId,
    lanes: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Identification {
    NotNeeded,
    Wanted { not_before: MonoMs },
    Asked,
    Known(Identity),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sender {
    accumulator: Arc<Accumulator>,
    lanes: HashMap<usize, Lane>,
    /// Those with something to do.
    active: BTreeSet<usize>,
    requests: HashMap<u64, Request>,
    in_flight: HashMap<NodeId, usize>,
    next_request: u64,
    identification: Identification,
    identity_failures: u32,
    /// Where the next request of a node begins, so that no partition is always last.
    rotation: usize,
    transactions: Option<Transactions>,
    /// What the accumulator was told of why it takes nothing.
    shut: Option<ClientError>,
    counts: SenderCounts,
}

/// What became of records since it was asked for last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SenderCounts {
    pub sent: u64,
    pub failed: u64,
    pub retried: u64,
    /// For how long each batch has waited until it was sent first, in milliseconds.
    pub queued_ms: Vec<u64>,
}

impl Sender {
    pub fn new(accumulator: Arc<Accumulator>) -> Sender {
        let settings = &accumulator.settings;
        let waits = || Backoff::new(settings.retry_backoff_ms, settings.retry_backoff_max_ms);
        let transactions = settings.is_transactional.then(|| Transactions::new(waits()));
        let shut = transactions.as_ref().and_then(Transactions::shut);
        accumulator.shut(shut.clone());
        // With transactions, it is the coordinator that says.
        let is_identified = settings.is_idempotent && transactions.is_none();
        let wanted = Identification::Wanted { not_before: MonoMs(0) };
        Sender {
            transactions,
            shut,
            identification: if is_identified { wanted } else { Identification::NotNeeded },
            accumulator,
            lanes: HashMap::new(),
            active: BTreeSet::new(),
            requests: HashMap::new(),
            in_flight: HashMap::new(),
            next_request: 0,
            counts: SenderCounts::default(),
            identity_failures: 0,
            rotation: 0,
        }
    }

    /// Everything that can be sent now, and when to come back at the latest without other news.
    pub fn tick(&mut self, view: &mut dyn View, now: MonoMs) -> (Vec<Action>, MonoMs) {
        for queue in self.accumulator.take_listed() {
            self.active.insert(queue.id);
            self.lanes.entry(queue.id).or_insert_with(|| Lane::new(queue));
        }
        let mut wake = self.expire(now);
        let mut actions = Vec::new();
        if !self.transact(now, &mut wake, &mut actions) {
            return (actions, wake);
        }
        let identity = match &self.identification {
            Identification::NotNeeded => self.sends_as(),
            Identification::Known(identity) => Some(*identity),
            Identification::Asked => return (actions, wake),
            Identification::Wanted { .. } if self.active.is_empty() => return (actions, wake),
            Identification::Wanted { not_before } if *not_before > now => {
                return (actions, wake.min(*not_before));
            }
            Identification::Wanted { .. } => {
                self.identification = Identification::Asked;
                return (vec![Action::Identify], wake);
            }
        };
        let ready = self.ready_lanes(view, identity, now, &mut wake, &mut actions);
        for (node, lanes) in ready {
            self.send_to(node, &lanes, view, identity, now, &mut actions);
        }
        self.transact_again(now, &mut wake, &mut actions);
        let lanes = &self.lanes;
        self.active.retain(|id| lanes.get(id).is_some_and(|lane| !lane.is_idle()));
        (actions, wake)
    }

    /// By leader; what waits for time or for a leader is left out.
    fn ready_lanes(
        &mut self,
        view: &dyn View,
        identity: Option<Identity>,
        now: MonoMs,
        wake: &mut MonoMs,
        actions: &mut Vec<Action>,
    ) -> BTreeMap<NodeId, Vec<usize>> {
        let mut ready: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let mut is_leader_missing = false;
        for id in &self.active {
            let Some(lane) = self.lanes.get(id) else { continue };
            match lane.check(&self.accumulator, identity, now) {
                Ok(()) if !may_send_to(&mut self.transactions, lane) => {}
                Ok(()) => match view.leader(&lane.queue.topic, lane.queue.partition) {
                    Some(node) => ready.entry(node).or_default().push(*id),
                    None => is_leader_missing = true,
                },
                Err(NotNow::Until(at)) => *wake = (*wake).min(at),
                Err(NotNow::Wait) => {}
            }
        }
        if is_leader_missing {
            actions.push(Action::Refresh);
        }
        ready
    }

    /// As many requests as there is something for, and as may be under way.
    fn send_to(
        &mut self,
        node: NodeId,
        lanes: &[usize],
        view: &mut dyn View,
        identity: Option<Identity>,
        now: MonoMs,
        actions: &mut Vec<Action>,
    ) {
        let in_flight_max = self.accumulator.settings.in_flight_max;
        while self.in_flight.get(&node).copied().unwrap_or(0) < in_flight_max && view.is_ready(node) {
            let batches = self.gather(lanes, identity, now);
            if batches.is_empty() {
                return;
            }
            let request = self.next_request.saturating_sub(1);
            let lanes = batches.iter().map(|batch| batch.lane).collect();
            self.requests.insert(request, Request { node, lanes });
            if let Some(transactions) = &mut self.transactions {
                transactions.sent();
            }
            *self.in_flight.entry(node).or_default() += 1;
            actions.push(Action::Produce(ProduceAction { request, node, batches }));
        }
    }

    /// A batch of each partition that has one, up to `max.request.size`.
    fn gather(&mut self, lanes: &[usize], identity: Option<Identity>, now: MonoMs) -> Vec<ProduceBatch> {
        let request = self.next_request;
        let bytes_max = self.accumulator.settings.request_bytes_max;
        let mut bytes = 0;
        let mut batches = Vec::new();
        let first = self.rotation.checked_rem(lanes.len()).unwrap_or(0);
        for id in lanes.iter().cycle().skip(first).take(lanes.len()) {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            if lane.check(&self.accumulator, identity, now).is_err() {
                continue;
            }
            if !batches.is_empty() && bytes + lane.next_bytes() > bytes_max {
                self.rotation = self.rotation.wrapping_add(batches.len());
                break;
            }
            let Some(mut batch) = lane.take(&self.accumulator, identity, self.transactions.is_some()) else {
                continue;
            };
            if batch.attempts == 0 {
                self.counts.queued_ms.push(now.since_ms(batch.created));
            }
            batch.attempts = batch.attempts.saturating_add(1);
            bytes += batch.bytes.len();
            batches.push(ProduceBatch {
                lane: *id,
                topic: Arc::clone(&lane.queue.topic),
                partition: lane.queue.partition,
                bytes: batch.bytes.clone(),
            });
            lane.in_flight.push(Sent { request, batch });
        }
        if !batches.is_empty() {
            self.next_request += 1;
        }
        batches
    }

    /// An answer to a request, or that there is none. True: metadata is out of date.
    pub fn answered(&mut self, request: u64, answered: Answered, view: &mut dyn View, now: MonoMs) -> bool {
        let Some(Request { node, lanes }) = self.requests.remove(&request) else { return false };
        if let Some(count) = self.in_flight.get_mut(&node) {
            *count = count.saturating_sub(1);
        }
        let mut needs_metadata = false;
        let answers = match answered {
            Answered::By(answers) => answers,
            Answered::Nobody => {
                let written = Outcome::Written { base_offset: Offset::UNKNOWN, log_append_time: None };
                for id in lanes {
                    let batch = self.lanes.get_mut(&id).and_then(|lane| lane.answered(request));
                    if let Some(batch) = batch {
                        self.finish(&batch, written.clone());
                    }
                }
                return false;
            }
            Answered::Lost(error) => {
                for id in &lanes {
                    if let Some(batch) = self.lanes.get_mut(id).and_then(|lane| lane.answered(request)) {
                        self.failed(*id, batch, error.clone(), None, view, now);
                    }
                }
                self.give_epochs(&lanes);
                return error.needs_metadata();
            }
        };
        for answer in answers {
            let batch = self.lanes.get_mut(&answer.lane).and_then(|lane| lane.answered(request));
            if let Some(batch) = batch {
                needs_metadata |= self.partition_answered(batch, answer, view, now);
            }
        }
        for id in &lanes {
            if let Some(batch) = self.lanes.get_mut(id).and_then(|lane| lane.answered(request)) {
                let code = ErrorCode::UnknownServerError;
                let error = ClientError::broker(code, None, "a partition that the answer leaves out");
                self.failed(*id, batch, error, None, view, now);
            }
        }
        self.give_epochs(&lanes);
        needs_metadata
    }

    fn partition_answered(
        &mut self,
        batch: Batch,
        answer: PartitionAnswer,
        view: &mut dyn View,
        now: MonoMs,
    ) -> bool {
        let may_split = !self.gives_up();
        let Some(lane) = self.lanes.get_mut(&answer.lane) else { return false };
        match answer.code {
            ErrorCode::None => {
                lane.confirmed(&batch);
                let PartitionAnswer { base_offset, log_append_time, .. } = answer;
                self.finish(&batch, Outcome::Written { base_offset, log_append_time });
                false
            }
            // It was written before, so long ago that the broker does not know where.
            ErrorCode::DuplicateSequenceNumber => {
                lane.confirmed(&batch);
                let base_offset = Offset::UNKNOWN;
                self.finish(&batch, Outcome::Written { base_offset, log_append_time: None });
                false
            }
            ErrorCode::MessageTooLarge if batch.count > 1 && may_split => {
                self.split(answer.lane, batch);
                false
            }
            code => {
                let what = format!("writing to {}-{}", lane.queue.topic, lane.queue.partition);
                let error = ClientError::broker(code, answer.message, what);
                let needs_metadata = error.needs_metadata();
                self.failed(answer.lane, batch, error, Some(answer.records), view, now);
                needs_metadata
            }
        }
    }

    /// Sends a batch again, or gives it up.
    fn failed(
        &mut self,
        id: usize,
        mut batch: Batch,
        error: ClientError,
        records: Option<Vec<(i32, Option<String>)>>,
        view: &mut dyn View,
        now: MonoMs,
    ) {
        let gives_up = self.gives_up();
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let settings = &self.accumulator.settings;
        let is_gap = settings.is_idempotent
            && matches!(
                error.code(),
                Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId)
            );
        batch.is_possibly_written |= error.is_possibly_written();
        let is_late = deadline(batch.created, settings.delivery_timeout_ms) <= now;
        // A transaction with a gap has lost something.
        let heals = is_gap && !(settings.is_transactional && lane.is_next(&batch));
        let is_worth_it = (error.is_retriable() && !is_gap) || heals;
        let may_retry = is_worth_it && batch.attempts <= settings.retries && !is_late && !gives_up;
        if may_retry {
            if is_gap && lane.is_next(&batch) {
                lane.needs_epoch = true;
            }
            let waits = Backoff::new(settings.retry_backoff_ms, settings.retry_backoff_max_ms);
            let wait_ms = waits.after(batch.attempts.saturating_sub(1), view.random());
            batch.not_before = now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX));
            batch.last_error = Some(error);
            self.counts.retried += u64::try_from(batch.count).unwrap_or(0);
            lane.send_again(batch);
            return;
        }
        lane.failed(&batch);
        let outcome = match (records, error) {
            _ if is_late => self.expired(id, &batch),
            (_, error) if batch.is_possibly_written && !error.is_possibly_written() => {
                Outcome::Failed(ClientError::Unconfirmed { cause: Arc::new(error) })
            }
            (Some(records), ClientError::Broker { code, what, .. }) if !records.is_empty() => {
                Outcome::Refused { code, what, records: records.into() }
            }
            (_, error) => Outcome::Failed(error),
        };
        self.finish(&batch, outcome);
    }

    fn split(&mut self, id: usize, batch: Batch) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let settings = &self.accumulator.settings;
        let number = batch.number;
        // Half of it at most: else one that is small already would stay as it is.
        let bytes_max = settings.batch_bytes.min(batch.uncompressed_bytes / 2);
        self.accumulator.learn_ratio(&lane.queue.topic, 1.0);
        match batch.split(&lane.queue.topic, lane.queue.partition, bytes_max, settings.compression) {
            Ok(parts) => {
                self.accumulator.split(number, parts.len());
                for part in parts {
                    lane.send_again(part);
                }
            }
            Err(failed) => {
                let (error, batch) = *failed;
                lane.failed(&batch);
                self.finish(&batch, Outcome::Failed(error));
            }
        }
    }

    fn finish(&mut self, batch: &Batch, outcome: Outcome) {
        let outcome = self.in_transaction(outcome);
        let count = u64::try_from(batch.count).unwrap_or(0);
        match &outcome {
            Outcome::Written { .. } => self.counts.sent += count,
            _ => self.counts.failed += count,
        }
        self.accumulator.finish(&batch.deliveries, batch.number, batch.reserved_bytes, outcome);
    }

    /// What has become of records since this was asked last.
    pub fn take_counts(&mut self) -> SenderCounts {
        std::mem::take(&mut self.counts)
    }

    /// What this producer is called from now on, or why it isn't called anything.
    pub fn identified(
        &mut self,
        result: Result<(ProducerId, ProducerEpoch), ClientError>,
        view: &mut dyn View,
        now: MonoMs,
    ) {
        self.identification = match result {
            Ok((producer_id, epoch)) => {
                self.identity_failures = 0;
                let identity = Identity { producer_id, epoch };
                for lane in self.lanes.values_mut() {
                    if lane.wants_epoch() {
                        lane.start_anew(identity);
                    }
                }
                Identification::Known(identity)
            }
            Err(error) => {
                if !error.is_retriable() {
                    // What comes later may have better luck, once access was granted.
                    self.fail_all(&error);
                }
                let settings = &self.accumulator.settings;
                let waits = Backoff::new(settings.retry_backoff_ms, settings.retry_backoff_max_ms);
                let wait_ms = waits.after(self.identity_failures, view.random());
                self.identity_failures = self.identity_failures.saturating_add(1);
                Identification::Wanted { not_before: now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX)) }
            }
        };
    }

    /// Partitions with a gap start anew under the next epoch; the others go on as they are until nothing of theirs is under
    /// way.
    fn give_epochs(&mut self, lanes: &[usize]) {
        let Identification::Known(identity) = self.identification else { return };
        let mut wanting = Vec::new();
        for id in lanes {
            if self.lanes.get_mut(id).is_some_and(Lane::wants_epoch) {
                wanting.push(*id);
            }
        }
        if wanting.is_empty() {
            return;
        }
        let Some(epoch) = identity.epoch.0.checked_add(1) else {
            // The epochs are used up: a new id begins with the first one.
            self.identification = Identification::Wanted { not_before: MonoMs(0) };
            return;
        };
        let identity = Identity { epoch: ProducerEpoch(epoch), ..identity };
        for id in wanting {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.start_anew(identity);
            }
        }
        self.identification = Identification::Known(identity);
    }

    /// Gives up what has waited for `delivery.timeout.ms`; when that will be so of the next one.
    fn expire(&mut self, now: MonoMs) -> MonoMs {
        let timeout_ms = self.accumulator.settings.delivery_timeout_ms;
        let mut wake = MonoMs::NEVER;
        let mut failed = Vec::new();
        let ids: Vec<usize> = self.active.iter().copied().collect();
        for id in ids {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let mut late = Vec::new();
            let is_late = |batch: &Batch| deadline(batch.created, timeout_ms) <= now;
            while let Some(place) = lane.in_flight.iter().position(|sent| is_late(&sent.batch)) {
                late.push(Batch { is_possibly_written: true, ..lane.in_flight.remove(place).batch });
            }
            while let Some(place) = lane.retries.iter().position(is_late) {
                late.extend(lane.retries.remove(place));
            }
            while lane.oldest_waiting().is_some_and(|created| deadline(created, timeout_ms) <= now) {
                let Some(open) = lane.pop_waiting() else { break };
                let what = expired_what(lane, open.builder.record_count());
                let outcome = delivery_timed_out(what, timeout_ms, false, None);
                let outcome = in_transaction(&mut self.transactions, outcome);
                self.accumulator.finish(&open.deliveries, open.number, open.reserved_bytes, outcome);
            }
            let open = lane.in_flight.iter().map(|sent| &sent.batch).chain(&lane.retries);
            let oldest = open.map(|batch| batch.created).chain(lane.oldest_waiting()).min();
            wake = oldest.map_or(wake, |oldest| wake.min(deadline(oldest, timeout_ms)));
            for batch in late {
                failed.push(id);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.failed(&batch);
                }
                let outcome = self.expired(id, &batch);
                self.finish(&batch, outcome);
            }
        }
        self.give_epochs(&failed);
        wake
    }

    fn expired(&self, id: usize, batch: &Batch) -> Outcome {
        let timeout_ms = self.accumulator.settings.delivery_timeout_ms;
        let what = self.lanes.get(&id).map(|lane| expired_what(lane, batch.count)).unwrap_or_default();
        let last = batch.last_error.clone().map(Arc::new);
        delivery_timed_out(what, timeout_ms, batch.is_possibly_written, last)
    }

    /// Gives up everything, also what is under way, which is told that it may have been written.
    pub fn fail_all(&mut self, error: &ClientError) {
        self.end_for_good(error);
        for queue in self.accumulator.take_listed() {
            self.active.insert(queue.id);
            self.lanes.entry(queue.id).or_insert_with(|| Lane::new(queue));
        }
        let failed = Outcome::Failed(error.clone());
        let unconfirmed = Outcome::Failed(ClientError::Unconfirmed { cause: Arc::new(error.clone()) });
        for id in std::mem::take(&mut self.active) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let sent = lane.in_flight.drain(..).map(|sent| Batch { is_possibly_written: true, ..sent.batch });
            for batch in sent.chain(lane.retries.drain(..)) {
                lane.is_unresolved |= batch.sequenced.is_some();
                let outcome = if batch.is_possibly_written { &unconfirmed } else { &failed };
                self.accumulator.finish(
                    &batch.deliveries,
                    batch.number,
                    batch.reserved_bytes,
                    outcome.clone(),
                );
            }
            while let Some(open) = lane.pop_waiting() {
                self.accumulator.finish(&open.deliveries, open.number, open.reserved_bytes, failed.clone());
            }
            // From now on the queue tells when something waits there.
            let _ = lane.is_idle();
        }
    }

    /// Requests that have no answer yet.
    #[cfg(test)]
    pub fn requests_in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Topics of which something waits or is under way.
    pub fn active_topics(&self) -> HashSet<Arc<str>> {
        let active = self.active.iter().filter_map(|id| self.lanes.get(id));
        active.map(|lane| Arc::clone(&lane.queue.topic)).collect()
    }
}

fn deadline(created: MonoMs, timeout_ms: u64) -> MonoMs {
    created.plus_ms(i64::try_from(timeout_ms).unwrap_or(i64::MAX))
}

fn expired_what(lane: &Lane, count: i32) -> String {
    format!("{count} records for {}-{}", lane.queue.topic, lane.queue.partition)
}

fn delivery_timed_out(
    what: String,
    timeout_ms: u64,
    is_sent: bool,
    last: Option<Arc<ClientError>>,
) -> Outcome {
    Outcome::Failed(ClientError::DeliveryTimedOut { what: what.into(), timeout_ms, is_sent, last })
}
