//! TxnOffsetCommit: a group's positions count with the transaction that they are part of (KIP-98). From version 5 on the
//! partition of `__consumer_offsets` is added to the transaction by this broker (KIP-890).

use std::sync::Arc;

use ottla_coordinator::runtime::Producer;
use ottla_log::producer_state::VerificationGuard;
use ottla_record::NO_SEQUENCE;
use ottla_types::CONSUMER_OFFSETS_TOPIC;
use ottla_wire::ErrorCode;
use ottla_wire::messages::txn_offset_commit_request::{Topic as AskedTopic, TxnOffsetCommitRequest};
use ottla_wire::messages::txn_offset_commit_response::{Partition, Topic, TxnOffsetCommitResponse};

use super::call::{Call, Context};
use super::groups::request_context;
use super::transactions::producer;
use crate::node::Node;
use crate::transactions::{Support, TransactionalAppend};

pub(super) fn handle(node: &Arc<Node>, call: Call<TxnOffsetCommitRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let mut refused = Vec::new();
    request.topics.retain_mut(|topic| leave_known(node, topic, &mut refused));
    if request.topics.is_empty() {
        return answer.reply(&with(refused, Vec::new()));
    }
    let who = producer(request.producer_id, request.producer_epoch);
    let (again, request_context) = (Arc::clone(node), request_context(node, &context));
    let topics = request.topics.clone();
    let transactional_id = request.transactional_id.clone();
    let group_id = request.group_id.clone();
    verify(node, &context, who, &transactional_id, &group_id, move |verified| match verified {
        Ok(guard) => {
            let number = match guard {
                VerificationGuard::Asked(number) => Some(number),
                VerificationGuard::NotNeeded => None,
            };
            again.groups.txn_offset_commit(request_context, request, number, move |committed| {
                answer.reply(&with(refused, committed.topics));
            });
        }
        Err(code) => answer.reply(&with(refused, topics.into_iter().map(|t| refuse(t, code)).collect())),
    });
}

/// Asks the transaction's coordinator, if need be, whether the group's partition has a part in the transaction.
fn verify(
    node: &Arc<Node>,
    context: &Context,
    who: Producer,
    transactional_id: &str,
    group_id: &str,
    done: impl FnOnce(Result<VerificationGuard, ErrorCode>) + Send + 'static,
) {
    let Some(number) = node.groups.partition_for(group_id) else {
        return done(Err(ErrorCode::CoordinatorNotAvailable));
    };
    if group_id.is_empty() {
        return done(Err(ErrorCode::InvalidGroupId));
    }
    let Some(partition) = node.replicas.partition(CONSUMER_OFFSETS_TOPIC, number) else {
        return done(Err(ErrorCode::NotCoordinator));
    };
    let append = TransactionalAppend {
        transactional_id: Arc::from(transactional_id),
        producer: who,
        support: Support::of_txn_offset_commit(context.version()),
    };
    node.verify_append(
        append,
        &[(partition, NO_SEQUENCE)],
        context.now,
        || {},
        move |mut guards| {
            let verified = guards.pop().unwrap_or(Err(ErrorCode::UnknownServerError));
            done(verified.map_err(of_verification));
        },
    );
}

/// Codes that make clients look for the coordinator anew, or ask again.
fn of_verification(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    }
}

/// Leaves those partitions of a topic that exist; false if none are left. What was taken out is answered for.
fn leave_known(node: &Node, topic: &mut AskedTopic, refused: &mut Vec<Topic>) -> bool {
    let image = node.metadata.image();
    let known = image.topics.by_name(&topic.name);
    let is_known = |number: i32| known.is_some_and(|known| known.partitions.contains_key(&number));
    let (left, unknown) = std::mem::take(&mut topic.partitions)
        .into_iter()
        .partition(|partition| is_known(partition.partition_index));
    topic.partitions = left;
    let unknown = AskedTopic { name: topic.name.clone(), partitions: unknown, ..AskedTopic::default() };
    if !unknown.partitions.is_empty() {
        refused.push(refuse(unknown, ErrorCode::UnknownTopicOrPartition));
    }
    !topic.partitions.is_empty()
}

fn refuse(topic: AskedTopic, code: ErrorCode) -> Topic {
    let partitions = topic.partitions.into_iter().map(|partition| Partition {
        partition_index: partition.partition_index,
        error_code: code.code(),
        ..Partition::default()
    });
    Topic { name: topic.name, partitions: partitions.collect(), ..Topic::default() }
}

/// A topic has one entry, with its partitions that were refused in front.
fn with(mut refused: Vec<Topic>, committed: Vec<Topic>) -> TxnOffsetCommitResponse {
    for topic in committed {
        match refused.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => refused.push(topic),
        }
    }
    TxnOffsetCommitResponse { topics: refused, ..TxnOffsetCommitResponse::default() }
}
