//! Appends that begin a transaction in a partition: the transaction's coordinator is asked first, so that no record lies in
//! a partition that nobody would end the transaction in (KIP-890).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::keys;
use ottla_coordinator::runtime::Producer;
use ottla_log::producer_state::VerificationGuard;
use ottla_replica::Partition;
use ottla_types::{NodeId, Now, TRANSACTION_STATE_TOPIC, Timestamp, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, Topic, Transaction};
use ottla_wire::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;

use crate::node::Node;

/// The transaction version of clients that let the leader add the partition.
const ADDING_VERSION: i16 = 2;

/// What the client's version of Produce or TxnOffsetCommit makes of a partition that the transaction does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// The client must have added it, and knows no better than INVALID_TXN_STATE.
    Verify,
    /// The client must have added it, and knows TRANSACTION_ABORTABLE.
    VerifyAbortable,
    /// The leader adds it.
    Add,
}

impl Support {
    pub fn of_produce(version: i16) -> Support {
        Support::since(version, 11, 12)
    }

    pub fn of_txn_offset_commit(version: i16) -> Support {
        Support::since(version, 4, 5)
    }

    fn since(version: i16, abortable_since: i16, add_since: i16) -> Support {
        match version {
            _ if version >= add_since => Support::Add,
            _ if version >= abortable_since => Support::VerifyAbortable,
            _ => Support::Verify,
        }
    }

    /// What the client is told of a coordinator's code.
    fn translate(self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self == Support::Verify => ErrorCode::InvalidTxnState,
            code => code,
        }
    }
}

/// Who appends as part of which transaction.
#[derive(Clone, Debug)]
pub(crate) struct TransactionalAppend {
    pub transactional_id: Arc<str>,
    pub producer: Producer,
    pub support: Support,
}

impl TransactionalAppend {
    fn start(&self, partition: &Partition, sequence: i32, now: Now) -> Result<VerificationGuard, ErrorCode> {
        let Producer { id, epoch } = self.producer;
        partition.start_verification(id, epoch, sequence, self.support == Support::Add, now)
    }
}

fn must_ask(guard: &Result<VerificationGuard, ErrorCode>) -> bool {
    matches!(guard, Ok(VerificationGuard::Asked(_)))
}

/// What an append brings, by partition: the guard for it, or why there is none.
pub(crate) type Guards = Vec<Result<VerificationGuard, ErrorCode>>;
type Done = Box<dyn FnOnce(Guards) + Send>;

/// A verification under way.
struct Verification {
    append: TransactionalAppend,
    guards: Guards,
    /// What the coordinator is asked about, with its place among the guards and the first sequence number.
    asked: Vec<(usize, Arc<Partition>, i32)>,
    /// When it was asked last, and until when it is asked again while the last transaction is still being ended.
    now: Now,
    give_up: Now,
    done: Done,
}

impl Verification {
    /// Whether a marker came while the coordinator was asked, and made guards worthless. If it was that of the transaction
    /// before, the one that the coordinator has confirmed goes on.
    fn is_outdated(&self) -> bool {
        let starts_anew = |(index, partition, sequence): &(usize, Arc<Partition>, i32)| {
            let started = self.append.start(partition, *sequence, self.now);
            self.guards.get(*index).is_some_and(|guard| *guard != started)
        };
        self.append.support == Support::Add && self.asked.iter().any(starts_anew)
    }
}

impl Node {
    /// Asks for each partition, with the first sequence number of what goes there, whether the append may go on. Calls
    /// `hold` first if that is not known here.
    pub(crate) fn verify_append(
        self: &Arc<Self>,
        append: TransactionalAppend,
        partitions: &[(Arc<Partition>, i32)],
        now: Now,
        hold: impl FnOnce(),
        done: impl FnOnce(Guards) + Send + 'static,
    ) {
        let adds = append.support == Support::Add;
        let config = self.effective_config.load();
        if !adds && !config.get(keys::TRANSACTION_PARTITION_VERIFICATION_ENABLE) {
            return done(partitions.iter().map(|_| Ok(VerificationGuard::NotNeeded)).collect());
        }
        let start = |(partition, sequence): &(Arc<Partition>, i32)| append.start(partition, *sequence, now);
        let guards: Guards = partitions.iter().map(start).collect();
        let asked = guards.iter().enumerate().zip(partitions).filter(|((_, guard), _)| must_ask(guard));
        let asked =
            asked.map(|((index, _), (partition, sequence))| (index, Arc::clone(partition), *sequence));
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return done(guards);
        }
        let retry_ms = config
            .get(keys::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MAX_MS)
            .min(config.get(keys::REQUEST_TIMEOUT_MS));
        let give_up = later(now, i64::from(retry_ms));
        drop(config);
        hold();
        self.ask(Verification { append, guards, asked, now, give_up, done: Box::new(done) });
    }

    fn ask(self: &Arc<Self>, verification: Verification) {
        let append = verification.append.clone();
        let (now, id) = (verification.now, Arc::clone(&append.transactional_id));
        let asked = verification.asked.iter();
        let partitions: Vec<_> = asked.map(|(_, partition, _)| partition.topic_partition().clone()).collect();
        let leader = match self.transaction_coordinator(&id) {
            Ok(leader) => leader,
            Err(code) => return self.answered(verification, &[code]),
        };
        let node = Arc::clone(self);
        if leader != self.identity.node_id {
            let request = request(&append, &partitions);
            self.hooks.brokers.add_partitions_to_txn(
                leader,
                request,
                Box::new(move |answer| {
                    let codes = codes(&partitions, &answer);
                    node.answered(verification, &codes);
                }),
            );
        } else if append.support == Support::Add {
            let (producer, version) = (append.producer, ADDING_VERSION);
            self.transactions.add_partitions(&id, producer, version, partitions, now, move |result| {
                node.answered(verification, &[result.err().unwrap_or(ErrorCode::None)]);
            });
        } else {
            self.transactions.verify_partitions(&id, append.producer, partitions, now, move |result| {
                match result {
                    Ok(codes) => node.answered(verification, &codes),
                    Err(code) => node.answered(verification, &[code]),
                }
            });
        }
    }

    /// `codes`: one for each partition that was asked about, or one for all.
    fn answered(self: &Arc<Self>, mut verification: Verification, codes: &[ErrorCode]) {
        let Verification { append, now, give_up, .. } = &verification;
        let is_being_ended = codes.contains(&ErrorCode::ConcurrentTransactions);
        if is_being_ended && append.support == Support::Add && now.mono < give_up.mono {
            let backoff_ms = self.config.get(keys::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MS);
            let (due, node) = (now.mono.plus_ms(i64::from(backoff_ms)), Arc::clone(self));
            self.deadlines.add(due, move |now| node.ask_again(Verification { now, ..verification }));
            (self.hooks.wake_at)(due);
            return;
        }
        let support = append.support;
        if codes.iter().all(|code| *code == ErrorCode::None) && verification.is_outdated() {
            return self.ask_again(verification);
        }
        for (nth, (index, ..)) in verification.asked.iter().enumerate() {
            let code = codes.get(nth).or(codes.first()).copied().unwrap_or(ErrorCode::NetworkException);
            if let Some(guard) = verification.guards.get_mut(*index)
                && code != ErrorCode::None
            {
                *guard = Err(support.translate(code));
            }
        }
        (verification.done)(verification.guards);
    }

    /// Markers of the transaction before have come meanwhile, and made what was asked for before them worthless.
    fn ask_again(self: &Arc<Self>, mut verification: Verification) {
        let Verification { append, guards, asked, now, .. } = &mut verification;
        asked.retain(|(index, partition, sequence)| {
            let started = append.start(partition, *sequence, *now);
            let is_open = must_ask(&started);
            if let Some(guard) = guards.get_mut(*index) {
                *guard = started;
            }
            is_open
        });
        match asked.is_empty() {
            true => (verification.done)(verification.guards),
            false => self.ask(verification),
        }
    }

    /// The leader of the id's partition of `__transaction_state`.
    fn transaction_coordinator(&self, transactional_id: &str) -> Result<NodeId, ErrorCode> {
        let unavailable = ErrorCode::CoordinatorNotAvailable;
        let partition = self.transactions.partition_for(transactional_id).ok_or(unavailable)?;
        let image = self.metadata.image();
        let topic = image.topics.by_name(TRANSACTION_STATE_TOPIC).ok_or(unavailable)?;
        let leader = topic.partitions.get(&partition).ok_or(unavailable)?.leader;
        if leader == NodeId::NONE { Err(unavailable) } else { Ok(leader) }
    }
}

fn later(now: Now, ms: i64) -> Now {
    Now { wall: Timestamp(now.wall.0.saturating_add(ms)), mono: now.mono.plus_ms(ms) }
}

fn request(append: &TransactionalAppend, partitions: &[TopicPartition]) -> AddPartitionsToTxnRequest {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        by_topic.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topics = by_topic.into_iter().map(|(name, partitions)| Topic {
        name: name.to_owned(),
        partitions,
        ..Topic::default()
    });
    let transaction = Transaction {
        transactional_id: append.transactional_id.to_string(),
        producer_id: append.producer.id.0,
        producer_epoch: append.producer.epoch.0,
        verify_only: append.support != Support::Add,
        topics: topics.collect(),
        ..Transaction::default()
    };
    AddPartitionsToTxnRequest { transactions: vec![transaction], ..AddPartitionsToTxnRequest::default() }
}

/// What another broker says of each partition.
fn codes(
    partitions: &[TopicPartition],
    answer: &Result<AddPartitionsToTxnResponse, ErrorCode>,
) -> Vec<ErrorCode> {
    let response = match answer {
        Ok(response) => response,
        Err(code) => return vec![*code],
    };
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => {}
        // What brokers may do among themselves is none of the client's business.
        Some(ErrorCode::ClusterAuthorizationFailed) => return vec![ErrorCode::InvalidTxnState],
        code => return vec![code.unwrap_or(ErrorCode::UnknownServerError)],
    }
    let code_of = |wanted: &TopicPartition| {
        let topics = response.results_by_transaction.iter().flat_map(|result| &result.topic_results);
        let of_topic = topics.filter(|topic| topic.name == *wanted.topic);
        let mut partitions = of_topic.flat_map(|topic| &topic.results_by_partition);
        let found = partitions.find(|partition| partition.partition_index == wanted.partition)?;
        ErrorCode::from_code(found.partition_error_code)
    };
    partitions.iter().map(|partition| code_of(partition).unwrap_or(ErrorCode::NetworkException)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_says_who_adds_partitions_and_which_errors_are_known() {
        let cases =
            [(10, Support::Verify), (11, Support::VerifyAbortable), (12, Support::Add), (13, Support::Add)];
        for (version, expected) in cases {
            assert_eq!(Support::of_produce(version), expected);
        }
        let cases = [(3, Support::Verify), (4, Support::VerifyAbortable), (5, Support::Add)];
        for (version, expected) in cases {
            assert_eq!(Support::of_txn_offset_commit(version), expected);
        }
        for support in [Support::Verify, Support::VerifyAbortable, Support::Add] {
            assert_eq!(support.translate(ErrorCode::ProducerFenced), ErrorCode::InvalidProducerEpoch);
        }
        assert_eq!(Support::Verify.translate(ErrorCode::TransactionAbortable), ErrorCode::InvalidTxnState);
        assert_eq!(Support::Add.translate(ErrorCode::TransactionAbortable), ErrorCode::TransactionAbortable);
    }
}
