//! The coordinator through its facade, over a log in memory and markers that the test delivers.

mod adopted;
mod ends;
mod listing;
mod producers;
mod recovery;
mod simulation;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, MonoMs, Now, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_transactions_response::TransactionState as Described;
use ottla_wire::messages::{
    DescribeTransactionsRequest, EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
};
use parking_lot::Mutex;

use super::state::TransactionState;
use super::*;
use crate::runtime::{LoadProgress, Producer};
use crate::testing::{Inbox, MemoryLog, MemoryLogs};

const ID: &str = "transactional-id";
const TIMEOUT_MS: i32 = 60_000;

struct Rig {
    logs: Arc<MemoryLogs>,
    sender: Arc<Outbox>,
    ids: Arc<Ids>,
    coordinator: Arc<TransactionCoordinator>,
    level: i16,
    epoch: i32,
    now_ms: Cell<u64>,
}

/// Markers on their way.
#[derive(Default)]
struct Outbox(Mutex<VecDeque<MarkersToWrite>>);

impl MarkerSender for Outbox {
    fn send(&self, markers: MarkersToWrite, _: Now) {
        self.0.lock().push_back(markers);
    }
}

#[derive(Default)]
struct Ids {
    given: Mutex<i64>,
    failure: Mutex<Option<ErrorCode>>,
}

impl ProducerIdSource for Ids {
    fn next(&self, done: Box<dyn FnOnce(Result<ProducerId, ErrorCode>) + Send>) {
        if let Some(code) = self.failure.lock().take() {
            return done(Err(code));
        }
        let id = {
            let mut given = self.given.lock();
            *given += 1;
            *given
        };
        done(Ok(ProducerId(1_000 + id)));
    }
}

/// A response, once it has come.
struct Answer<R>(Arc<Mutex<Option<R>>>);

impl<R: Clone + Send + 'static> Answer<R> {
    fn of(call: impl FnOnce(Box<dyn FnOnce(R) + Send>)) -> Answer<R> {
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        call(Box::new(move |response| {
            assert!(filled.lock().replace(response).is_none(), "answered twice");
        }));
        Answer(slot)
    }

    fn get(&self) -> Option<R> {
        self.0.lock().clone()
    }

    #[track_caller]
    fn now(&self) -> R {
        self.get().expect("no answer yet")
    }

    #[track_caller]
    fn is_parked(&self) {
        assert!(self.0.lock().is_none(), "answered too early");
    }
}

impl Rig {
    /// A coordinator of an empty log, whose writes are committed at once, at the newest transaction version.
    fn new() -> Rig {
        Rig::at_level(2)
    }

    fn at_level(level: i16) -> Rig {
        Rig::with_log(level, MemoryLog::default(), 1, Arc::default())
    }

    fn with_log(level: i16, log: MemoryLog, epoch: i32, ids: Arc<Ids>) -> Rig {
        let rig = Rig::loading(TransactionCoordinatorConfig::default(), level, log, epoch, ids);
        rig.load();
        rig
    }

    fn loading(
        config: TransactionCoordinatorConfig,
        level: i16,
        log: MemoryLog,
        epoch: i32,
        ids: Arc<Ids>,
    ) -> Rig {
        let logs = MemoryLogs::new();
        *logs.commit_at_once.lock() = true;
        logs.set_log(0, log);
        let sender = Arc::new(Outbox::default());
        let coordinator = Arc::new(TransactionCoordinator::new(
            config,
            logs.clone(),
            logs.clone(),
            sender.clone(),
            ids.clone(),
        ));
        let weak = Arc::downgrade(&coordinator);
        *logs.listener.lock() = Some(Arc::new(move |partition, offset| {
            if let Some(coordinator) = weak.upgrade() {
                coordinator.high_watermark_updated(partition, offset);
            }
        }));
        coordinator.start(1);
        coordinator.set_transaction_version(level);
        coordinator.on_partition_leader(0, LeaderEpoch(epoch));
        Rig { logs, sender, ids, coordinator, level, epoch, now_ms: Cell::new(1_000_000) }
    }

    fn load(&self) {
        let mut load = self.coordinator.next_load().expect("something to load");
        while load.step(self.now()) == LoadProgress::More {}
    }

    /// Writes wait for [`Rig::commit`] from now on.
    fn hold_commits(&self) {
        *self.logs.commit_at_once.lock() = false;
    }

    fn commit(&self) {
        self.coordinator.high_watermark_updated(0, self.logs.commit(0));
    }

    fn fail_next_append(&self, code: ErrorCode) {
        self.logs.failures.lock().push_back(code);
    }

    fn now(&self) -> Now {
        let ms = self.now_ms.get();
        Now { wall: Timestamp(ms as i64), mono: MonoMs(ms) }
    }

    fn pass(&self, ms: i64) {
        self.now_ms.set(self.now_ms.get() + ms as u64);
        self.coordinator.tick(self.now());
    }

    fn send_init(&self, id: &str, expected: Option<Producer>) -> Answer<InitProducerIdResponse> {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: expected.map_or(-1, |expected| expected.id.0),
            producer_epoch: expected.map_or(-1, |expected| expected.epoch.0),
            ..InitProducerIdRequest::default()
        };
        self.send_init_request(request)
    }

    fn send_init_request(&self, request: InitProducerIdRequest) -> Answer<InitProducerIdResponse> {
        Answer::of(|reply| self.coordinator.init_producer_id(request, self.now(), reply))
    }

    fn init(&self, expected: Option<Producer>) -> Result<Producer, ErrorCode> {
        let response = self.send_init(ID, expected).now();
        producer_of(response.error_code, response.producer_id, response.producer_epoch)
    }

    fn send_add(&self, id: &str, who: Producer, partitions: &[i32]) -> Answer<Result<(), ErrorCode>> {
        self.send_add_at(0, id, who, partitions)
    }

    fn send_add_at(
        &self,
        client_version: i16,
        id: &str,
        who: Producer,
        partitions: &[i32],
    ) -> Answer<Result<(), ErrorCode>> {
        let partitions = partitions.iter().map(|number| data(*number)).collect();
        Answer::of(|reply| {
            self.coordinator.add_partitions(id, who, client_version, partitions, self.now(), reply);
        })
    }

    fn add(&self, who: Producer, partitions: &[i32]) -> Result<(), ErrorCode> {
        self.send_add(ID, who, partitions).now()
    }

    fn send_verify(
        &self,
        id: &str,
        who: Producer,
        partition: i32,
    ) -> Answer<Result<Vec<ErrorCode>, ErrorCode>> {
        let partitions = vec![data(partition)];
        Answer::of(|reply| self.coordinator.verify_partitions(id, who, partitions, self.now(), reply))
    }

    fn verify(&self, who: Producer, partition: i32) -> Result<Vec<ErrorCode>, ErrorCode> {
        self.send_verify(ID, who, partition).now()
    }

    fn send_end(&self, version: i16, id: &str, who: Producer, committed: bool) -> Answer<EndTxnResponse> {
        let request = EndTxnRequest {
            transactional_id: id.to_owned(),
            producer_id: who.id.0,
            producer_epoch: who.epoch.0,
            committed,
            ..EndTxnRequest::default()
        };
        Answer::of(|reply| self.coordinator.end_transaction(request, version, self.now(), reply))
    }

    /// With a bump of the epoch.
    fn end(&self, who: Producer, committed: bool) -> Result<Producer, ErrorCode> {
        let response = self.send_end(5, ID, who, committed).now();
        producer_of(response.error_code, response.producer_id, response.producer_epoch)
    }

    /// Without one.
    fn end_v1(&self, who: Producer, committed: bool) -> ErrorCode {
        error(self.send_end(4, ID, who, committed).now().error_code)
    }

    /// The markers that wait to be delivered, with their partitions.
    fn markers(&self) -> Vec<MarkersToWrite> {
        self.sender.0.lock().drain(..).collect()
    }

    /// Answers all markers that are on their way.
    fn deliver(&self, code: ErrorCode) -> Vec<MarkersToWrite> {
        let markers = self.markers();
        for marker in markers.clone() {
            self.answer(marker, code);
        }
        markers
    }

    fn answer(&self, markers: MarkersToWrite, code: ErrorCode) {
        let results = markers.partitions.into_iter().map(|partition| (partition, code)).collect();
        self.coordinator.markers_written(markers.ticket, results, self.now());
    }

    fn describe(&self, id: &str) -> Described {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.to_owned()],
            ..DescribeTransactionsRequest::default()
        };
        let answer = Answer::of(|reply| self.coordinator.describe_transactions(request, self.now(), reply));
        answer.now().transaction_states.remove(0)
    }

    fn status(&self) -> String {
        self.describe(ID).transaction_state
    }

    /// Everything that was written, and what of it is committed.
    fn states(&self) -> (TransactionState, TransactionState) {
        let (inbox, responder) = Inbox::new();
        self.coordinator.runtime.submit(0, self.now(), responder, |_, turn, responder| {
            let states = (turn.state.clone(), turn.committed.clone());
            turn.reply_at_once(responder, Ok(states));
        });
        inbox.get().expect("an answer").expect("a loaded shard")
    }

    /// The next coordinator, which finds the log as it is up to `end`.
    fn taken_over(&self, log: MemoryLog) -> Rig {
        self.coordinator.on_resign(0, None);
        let level = self.level;
        let next = Rig::with_log(level, log, self.epoch + 1, Arc::clone(&self.ids));
        next.now_ms.set(self.now_ms.get());
        next
    }
}

fn data(partition: i32) -> TopicPartition {
    TopicPartition::new("data", partition)
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a known code")
}

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn producer_of(code: i16, id: i64, epoch: i16) -> Result<Producer, ErrorCode> {
    match error(code) {
        ErrorCode::None => Ok(producer(id, epoch)),
        code => {
            assert_eq!((id, epoch), (-1, -1), "an error names no producer");
            Err(code)
        }
    }
}
