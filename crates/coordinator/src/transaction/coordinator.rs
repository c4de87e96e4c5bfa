//! The transaction coordinator as the rest of the broker sees it: one method an API, each answering through a callback.

use std::sync::Arc;

use ottla_types::{
    LeaderEpoch, MonoMs, Now, Offset, ProducerEpoch, ProducerId, TRANSACTION_STATE_TOPIC, TopicPartition,
};
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_transactions_response::TransactionState as Described;
use ottla_wire::messages::list_transactions_response::TransactionState as Listed;
use ottla_wire::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse,
};

use super::config::{Rules, TransactionCoordinatorConfig};
use super::end::EndRequest;
use super::listing::{ListFilter, described_error, list_error};
use super::markers::{CoordinatorEpochs, Exhausted, MarkerChannel, MarkerSender, MarkerTicket};
use super::metadata::{EPOCH_BUMP_SINCE, NO_TIMEOUT};
use super::producers::{Initialization, NeedsProducerId};
use super::shard::{Asker, TransactionShard, TransactionTurn};
use crate::gather::Gather;
use crate::runtime::{
    LoadProgress, LoadTask, Outside, PartitionReader, PartitionWriter, Producer, Responder, Runtime,
    RuntimeConfig,
};

/// From this version of EndTxn on, a client bumps its epoch with every transaction.
const END_TXN_BUMPS_SINCE: i16 = 5;

/// Gives out producer ids, none twice.
pub trait ProducerIdSource: Send + Sync {
    /// Calls back with an id, or why there is none, from any thread.
    fn next(&self, done: Box<dyn FnOnce(Result<ProducerId, ErrorCode>) + Send>);
}

/// Coordinates the transactional ids whose partition of `__transaction_state` this node leads.
///
/// Callbacks are called on whichever thread brings their answer about, never while a shard is held.
pub struct TransactionCoordinator {
    rules: Arc<Rules>,
    epochs: Arc<CoordinatorEpochs>,
    exhausted: Arc<Exhausted>,
    ids: Arc<dyn ProducerIdSource>,
    pub(super) runtime: Runtime<TransactionShard>,
}

impl std::fmt::Debug for TransactionCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionCoordinator").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

/// Reads the log of a shard back; see [`TransactionCoordinator::next_load`].
#[derive(Debug)]
pub struct TransactionLoad(LoadTask<TransactionShard>);

impl TransactionLoad {
    /// Reads and replays one buffer, on the caller's thread.
    pub fn step(&mut self, now: Now) -> LoadProgress {
        self.0.step(now)
    }
}

/// An operation that may have to be repeated with a producer id of its own.
type WithId<T> = dyn Fn(
        &mut TransactionShard,
        &mut TransactionTurn<'_>,
        Option<ProducerId>,
        Asker<T>,
    ) -> Result<(), (NeedsProducerId, Asker<T>)>
    + Send
    + Sync;

impl TransactionCoordinator {
    pub fn new(
        config: TransactionCoordinatorConfig,
        writer: Arc<dyn PartitionWriter>,
        reader: Arc<dyn PartitionReader>,
        sender: Arc<dyn MarkerSender>,
        ids: Arc<dyn ProducerIdSource>,
    ) -> TransactionCoordinator {
        let runtime_config = RuntimeConfig {
            write_timeout_ms: config.write_timeout_ms,
            append_linger_ms: None,
            load_buffer_bytes: config.load_buffer_bytes,
        };
        let rules = Arc::new(Rules::new(config));
        let epochs = Arc::new(CoordinatorEpochs::default());
        let exhausted = Arc::new(Exhausted::default());
        let (of_shards, shard_epochs) = (Arc::clone(&rules), Arc::clone(&epochs));
        let (of_exhausted, attempts) = (Arc::clone(&exhausted), Arc::default());
        let new_shard = move |partition: &TopicPartition| {
            let channel = MarkerChannel {
                partition: partition.partition,
                attempts: Arc::clone(&attempts),
                epochs: Arc::clone(&shard_epochs),
                sender: Arc::clone(&sender),
                exhausted: Arc::clone(&of_exhausted),
            };
            TransactionShard::new(Arc::clone(&of_shards), channel)
        };
        let runtime = Runtime::new(TRANSACTION_STATE_TOPIC, runtime_config, writer, reader, new_shard);
        TransactionCoordinator { rules, epochs, exhausted, ids, runtime }
    }

    /// See [`Runtime::within`].
    #[must_use]
    pub fn within(mut self, outside: Outside) -> TransactionCoordinator {
        self.runtime = self.runtime.within(outside);
        self
    }

    /// Begins to serve, with this many partitions of `__transaction_state`: those that the topic has, or else
    /// `transaction.state.log.num.partitions`. Until then all requests are answered COORDINATOR_NOT_AVAILABLE.
    pub fn start(&self, partitions: i32) {
        self.runtime.start(partitions);
    }

    /// Stops serving and gives all shards up.
    pub fn stop(&self) {
        self.runtime.stop();
    }

    /// The finalized level of the feature `transaction.version`.
    pub fn set_transaction_version(&self, level: i16) {
        self.rules.set_level(level);
    }

    /// The partition of `__transaction_state` that holds the id: its leader is the id's coordinator. `None` before the
    /// start.
    pub fn partition_for(&self, transactional_id: &str) -> Option<i32> {
        self.runtime.partition_for(transactional_id)
    }

    /// This node leads `partition` of `__transaction_state` from now on; see [`TransactionCoordinator::next_load`].
    pub fn on_partition_leader(&self, partition: i32, epoch: LeaderEpoch) {
        self.epochs.set(partition, epoch);
        self.runtime.become_leader(partition, epoch);
    }

    /// This node no longer leads `partition`: since this epoch, or it has no replica of it any more.
    pub fn on_resign(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        self.runtime.resign(partition, epoch);
    }

    /// The next shard to load. Its requests are answered COORDINATOR_LOAD_IN_PROGRESS until somebody has stepped the
    /// task through, on a thread that may wait for the disk.
    pub fn next_load(&self) -> Option<TransactionLoad> {
        self.runtime.next_load().map(TransactionLoad)
    }

    /// The high watermark of `partition` is `offset` now; see [`PartitionWriter`] for where this may be called from.
    pub fn high_watermark_updated(&self, partition: i32, offset: Offset) {
        self.runtime.high_watermark_updated(partition, offset);
    }

    /// Does what is due; whether [`TransactionCoordinator::next_load`] has something that is to be loaded anew.
    pub fn tick(self: &Arc<Self>, now: Now) -> bool {
        let loads = self.runtime.tick(now);
        for (partition, transactional_id) in self.exhausted.take() {
            let operation: Arc<WithId<()>> = Arc::new(move |shard, turn, id, asker| {
                shard.abort_exhausted(turn, &transactional_id, id, asker)
            });
            // Where it fails, it is found again.
            self.submit_with_id(Ok(partition), now, None, operation, asker(|_| {}));
        }
        loads
    }

    /// When [`TransactionCoordinator::tick`] has something to do next. Any request may bring it forward.
    pub fn next_deadline(&self) -> MonoMs {
        self.runtime.next_deadline()
    }

    /// Gives the producer of a transactional id its id and the next epoch. For producers without one there is nothing to
    /// coordinate.
    pub fn init_producer_id(
        self: &Arc<Self>,
        request: InitProducerIdRequest,
        now: Now,
        reply: impl FnOnce(InitProducerIdResponse) + Send + 'static,
    ) {
        let partition = self.check_initialization(&request);
        let expected =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let initialization = Initialization {
            transactional_id: Arc::from(request.transactional_id.unwrap_or_default()),
            timeout_ms: if request.enable2_pc { NO_TIMEOUT } else { request.transaction_timeout_ms },
            expected: (expected.id != ProducerId::NONE).then_some(expected),
        };
        let operation: Arc<WithId<Producer>> =
            Arc::new(move |shard, turn, id, asker| shard.initialize(turn, &initialization, id, asker));
        let asker = asker(move |result| reply(initialized(result)));
        self.submit_with_id(partition, now, None, operation, asker);
    }

    fn check_initialization(&self, request: &InitProducerIdRequest) -> Result<i32, ErrorCode> {
        let config = &self.rules.config;
        let id = request.transactional_id.as_deref().unwrap_or_default();
        let timeout_ms = request.transaction_timeout_ms;
        if id.is_empty() {
            Err(ErrorCode::InvalidRequest)
        } else if request.enable2_pc && !config.two_phase_commit {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        } else if request.keep_prepared_txn {
            Err(ErrorCode::UnsupportedVersion)
        } else if !request.enable2_pc && !(1..=config.max_timeout_ms).contains(&timeout_ms) {
            Err(ErrorCode::InvalidTransactionTimeout)
        } else {
            self.partition_for(id).ok_or(ErrorCode::CoordinatorNotAvailable)
        }
    }

    /// Adds partitions to the producer's transaction, which begins with the first. `client_version` is the transaction
    /// version that the client acts by.
    pub fn add_partitions(
        &self,
        transactional_id: &str,
        producer: Producer,
        client_version: i16,
        partitions: Vec<TopicPartition>,
        now: Now,
        reply: impl FnOnce(Result<(), ErrorCode>) + Send + 'static,
    ) {
        let id: Arc<str> = Arc::from(transactional_id);
        self.submit(transactional_id, now, asker(reply), move |shard, turn, asker| {
            shard.add_partitions(turn, &id, producer, client_version, partitions, asker);
        });
    }

    /// Tells of each partition whether it has a part in the producer's transaction.
    pub fn verify_partitions(
        &self,
        transactional_id: &str,
        producer: Producer,
        partitions: Vec<TopicPartition>,
        now: Now,
        reply: impl FnOnce(Result<Vec<ErrorCode>, ErrorCode>) + Send + 'static,
    ) {
        let id: Arc<str> = Arc::from(transactional_id);
        self.submit(transactional_id, now, asker(reply), move |_, turn, asker| {
            TransactionShard::verify_partitions(turn, &id, producer, &partitions, asker);
        });
    }

    /// Commits or aborts. The answer follows the decision; the markers follow the answer.
    pub fn end_transaction(
        self: &Arc<Self>,
        request: EndTxnRequest,
        api_version: i16,
        now: Now,
        reply: impl FnOnce(EndTxnResponse) + Send + 'static,
    ) {
        let partition = self.partition_of_named(&request.transactional_id);
        let end = EndRequest {
            transactional_id: Arc::from(request.transactional_id),
            producer: Producer {
                id: ProducerId(request.producer_id),
                epoch: ProducerEpoch(request.producer_epoch),
            },
            committed: request.committed,
            client_version: if api_version >= END_TXN_BUMPS_SINCE { EPOCH_BUMP_SINCE } else { 0 },
        };
        let operation: Arc<WithId<Producer>> =
            Arc::new(move |shard, turn, id, asker| shard.end_transaction(turn, &end, id, asker));
        self.submit_with_id(partition, now, None, operation, asker(move |result| reply(ended(result))));
    }

    /// What became of markers that a [`MarkerSender`] was given.
    pub fn markers_written(&self, ticket: MarkerTicket, results: Vec<(TopicPartition, ErrorCode)>, now: Now) {
        let nobody = Responder::new(|_: Result<(), ErrorCode>| {});
        self.runtime.submit(ticket.coordinator_partition, now, nobody, move |shard, turn, nobody| {
            shard.markers_written(turn, &ticket, &results);
            turn.reply_at_once(nobody, Ok(()));
        });
    }

    /// Lists the transactions that this node coordinates.
    pub fn list_transactions(
        &self,
        request: ListTransactionsRequest,
        now: Now,
        reply: impl FnOnce(ListTransactionsResponse) + Send + 'static,
    ) {
        if self.runtime.topic_partitions().is_none() {
            return reply(list_error(ErrorCode::CoordinatorNotAvailable));
        }
        let (filter, unknown_states) = match ListFilter::new(request) {
            Ok(filter) => filter,
            Err(code) => return reply(list_error(code)),
        };
        let partitions = self.runtime.partitions();
        let gather = Gather::new(partitions.len(), move |parts| reply(list_response(parts, unknown_states)));
        for (index, partition) in partitions.into_iter().enumerate() {
            let (gather, filter) = (Arc::clone(&gather), filter.clone());
            let responder = Responder::new(move |listed| gather.put(index, listed));
            self.runtime.submit(partition, now, responder, move |_, turn, responder| {
                let state = turn.committed.clone();
                // All ids of the shard are matched: nobody's transaction waits for that.
                turn.in_background(
                    responder,
                    move || filter.list(&state, now.wall),
                    |_, turn, listed, responder| turn.reply_at_once(responder, listed),
                );
            });
        }
    }

    pub fn describe_transactions(
        &self,
        request: DescribeTransactionsRequest,
        now: Now,
        reply: impl FnOnce(DescribeTransactionsResponse) + Send + 'static,
    ) {
        let ids = request.transactional_ids;
        let gather = Gather::new(ids.len(), move |transaction_states| {
            reply(DescribeTransactionsResponse {
                transaction_states,
                ..DescribeTransactionsResponse::default()
            });
        });
        for (index, id) in ids.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            self.describe(id, now, move |described| gather.put(index, described));
        }
    }

    fn describe(&self, transactional_id: String, now: Now, reply: impl FnOnce(Described) + Send + 'static) {
        let (id, of_refused) = (transactional_id.clone(), transactional_id.clone());
        let responder = Responder::new(move |described: Result<Described, ErrorCode>| {
            reply(described.unwrap_or_else(|code| described_error(of_refused, code)));
        });
        self.submit(&transactional_id, now, responder, move |shard, turn, responder| {
            let described = shard.describe(turn, id);
            turn.reply_at_once(responder, Ok(described));
        });
    }

    /// Has the shard of a transactional id do what is asked; where there is none for it, the answer is why.
    fn submit<R: Send + 'static>(
        &self,
        transactional_id: &str,
        now: Now,
        responder: Responder<R>,
        operation: impl FnOnce(&mut TransactionShard, &mut TransactionTurn<'_>, Responder<R>) + Send + 'static,
    ) {
        match self.partition_of_named(transactional_id) {
            Ok(partition) => self.runtime.submit(partition, now, responder, operation),
            Err(code) => responder.answer(Err(code)),
        }
    }

    /// Runs `operation`, and once more with a fresh producer id if it can't do without. Where there is no partition for
    /// it, the answer is why.
    fn submit_with_id<T: Send + 'static>(
        self: &Arc<Self>,
        partition: Result<i32, ErrorCode>,
        now: Now,
        fresh_id: Option<ProducerId>,
        operation: Arc<WithId<T>>,
        asker: Asker<T>,
    ) {
        let partition = match partition {
            Ok(partition) => partition,
            Err(code) => return asker.answer(Err(code)),
        };
        let coordinator = Arc::clone(self);
        self.runtime.submit(partition, now, asker, move |shard, turn, asker| {
            let Err((NeedsProducerId, asker)) = operation(shard, turn, fresh_id, asker) else { return };
            turn.afterwards(move || {
                let ids = Arc::clone(&coordinator.ids);
                ids.next(Box::new(move |id| match id {
                    Ok(id) => coordinator.submit_with_id(Ok(partition), now, Some(id), operation, asker),
                    Err(code) => asker.answer(Err(code)),
                }));
            });
        });
    }

    fn partition_of_named(&self, transactional_id: &str) -> Result<i32, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.partition_for(transactional_id).ok_or(ErrorCode::CoordinatorNotAvailable)
    }
}

fn asker<T: Send + 'static>(reply: impl FnOnce(Result<T, ErrorCode>) + Send + 'static) -> Asker<T> {
    Responder::new(move |result: Result<Result<T, ErrorCode>, ErrorCode>| {
        reply(result.map_err(of_log).and_then(|answer| answer));
    })
}

/// What a client is told where the log below failed: codes that it can do something with.
fn of_log(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        code => code,
    }
}

fn split(result: Result<Producer, ErrorCode>) -> (ErrorCode, Producer) {
    let nobody = Producer { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
    match result {
        Ok(producer) => (ErrorCode::None, producer),
        Err(code) => (code, nobody),
    }
}

fn initialized(result: Result<Producer, ErrorCode>) -> InitProducerIdResponse {
    let (error, producer) = split(result);
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        ..InitProducerIdResponse::default()
    }
}

fn ended(result: Result<Producer, ErrorCode>) -> EndTxnResponse {
    let (error, producer) = split(result);
    EndTxnResponse {
        error_code: error.code(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        ..EndTxnResponse::default()
    }
}

/// Shards that were lost meanwhile have nothing to list; one that is loading makes the list incomplete, so there is none.
fn list_response(
    parts: Vec<Result<Vec<Listed>, ErrorCode>>,
    unknown_state_filters: Vec<String>,
) -> ListTransactionsResponse {
    let mut transaction_states = Vec::new();
    for part in parts {
        match part {
            Ok(listed) => transaction_states.extend(listed),
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return list_error(code),
        }
    }
    ListTransactionsResponse {
        transaction_states,
        unknown_state_filters,
        ..ListTransactionsResponse::default()
    }
}
