//! AddPartitionsToTxn: partitions take part in a transaction (KIP-98). Clients ask up to version 3, each for its one
//! transaction; brokers from 4 on, for several, and may only want to know whether a partition does (KIP-890).

use std::sync::Arc;

use ottla_coordinator::Gather;
use ottla_metadata::MetadataImage;
use ottla_types::{CONSUMER_OFFSETS_TOPIC, Now, TopicPartition, is_internal_topic};
use ottla_wire::ErrorCode;
use ottla_wire::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, Topic, Transaction};
use ottla_wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnResponse, ResultByTopicV3AndBelow, ResultByTopicV3AndBelowResultByPartition,
    ResultByTransaction, TopicResult, TopicResultResultByPartition,
};

use super::call::Call;
use super::transactions::{of_version, producer};
use crate::node::Node;

const MANY_SINCE: i16 = 4;
/// The transaction version of those who send the newer versions.
const ADDING_VERSION: i16 = 2;

type Codes = Vec<(TopicPartition, ErrorCode)>;

pub(super) fn handle(node: &Arc<Node>, call: Call<AddPartitionsToTxnRequest>) {
    let (context, request, answer) = call.into_parts();
    let version = context.version();
    let transactions = if version < MANY_SINCE { vec![single(request)] } else { request.transactions };
    let ids: Vec<_> = transactions.iter().map(|transaction| transaction.transactional_id.clone()).collect();
    let gather = Gather::new(transactions.len(), move |results: Vec<Codes>| {
        answer.reply(&response(ids, results, version));
    });
    for (index, transaction) in transactions.into_iter().enumerate() {
        let gather = Arc::clone(&gather);
        add(node, transaction, version, context.now, move |codes| gather.put(index, codes));
    }
}

fn single(request: AddPartitionsToTxnRequest) -> Transaction {
    let topics = request.v3_and_below_topics.into_iter().map(|topic| Topic {
        name: topic.name,
        partitions: topic.partitions,
        ..Topic::default()
    });
    Transaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        topics: topics.collect(),
        ..Transaction::default()
    }
}

fn add(
    node: &Arc<Node>,
    transaction: Transaction,
    version: i16,
    now: Now,
    done: impl FnOnce(Codes) + Send + 'static,
) {
    let mut partitions = Vec::new();
    for topic in &transaction.topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        partitions.extend(topic.partitions.iter().map(|n| TopicPartition::new(Arc::clone(&name), *n)));
    }
    let may = |topic: &str| transaction.verify_only || may_take_part(topic, version);
    if let Some(refused) = refuse(&node.metadata.image(), &partitions, may) {
        return done(refused);
    }
    let who = producer(transaction.producer_id, transaction.producer_epoch);
    let id = &transaction.transactional_id;
    let asked = partitions.clone();
    if transaction.verify_only {
        return node.transactions.verify_partitions(id, who, asked, now, move |result| {
            done(match result {
                Ok(codes) => partitions.into_iter().zip(codes).collect(),
                Err(code) => partitions.into_iter().map(|partition| (partition, code)).collect(),
            });
        });
    }
    let client_version = if version >= MANY_SINCE { ADDING_VERSION } else { 0 };
    node.transactions.add_partitions(id, who, client_version, asked, now, move |result| {
        let code = of_version(result.err().unwrap_or(ErrorCode::None), version);
        done(partitions.into_iter().map(|partition| (partition, code)).collect());
    });
}

/// One partition that may not take part, or is not there, keeps all others out.
fn refuse(
    image: &MetadataImage,
    partitions: &[TopicPartition],
    may_take_part: impl Fn(&str) -> bool,
) -> Option<Codes> {
    let code = |partition: &TopicPartition| {
        if !may_take_part(&partition.topic) {
            return Some(ErrorCode::TopicAuthorizationFailed);
        }
        let topic = image.topics.by_name(&partition.topic);
        let is_known = topic.is_some_and(|topic| topic.partitions.contains_key(&partition.partition));
        (!is_known).then_some(ErrorCode::UnknownTopicOrPartition)
    };
    let codes: Vec<Option<ErrorCode>> = partitions.iter().map(code).collect();
    codes.iter().any(Option::is_some).then(|| {
        let others = ErrorCode::OperationNotAttempted;
        partitions.iter().cloned().zip(codes.into_iter().map(|code| code.unwrap_or(others))).collect()
    })
}

/// As in Kafka, clients take no internal topic into their transactions. Brokers add the one of committed offsets; in the
/// others Kafka accepts a marker too, and can't load what they hold any more.
fn may_take_part(topic: &str, version: i16) -> bool {
    !is_internal_topic(topic) || (version >= MANY_SINCE && topic == CONSUMER_OFFSETS_TOPIC)
}

fn response(ids: Vec<String>, results: Vec<Codes>, version: i16) -> AddPartitionsToTxnResponse {
    if version < MANY_SINCE {
        let mut topics: Vec<ResultByTopicV3AndBelow> = Vec::new();
        for (partition, code) in results.into_iter().flatten() {
            let result = ResultByTopicV3AndBelowResultByPartition {
                partition_index: partition.partition,
                partition_error_code: code.code(),
                ..ResultByTopicV3AndBelowResultByPartition::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.name == *partition.topic => topic.results_by_partition.push(result),
                _ => topics.push(ResultByTopicV3AndBelow {
                    name: partition.topic.to_string(),
                    results_by_partition: vec![result],
                    ..ResultByTopicV3AndBelow::default()
                }),
            }
        }
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: topics,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let of_transaction = |(transactional_id, codes): (String, Codes)| ResultByTransaction {
        transactional_id,
        topic_results: topic_results(codes),
        ..ResultByTransaction::default()
    };
    AddPartitionsToTxnResponse {
        results_by_transaction: ids.into_iter().zip(results).map(of_transaction).collect(),
        ..AddPartitionsToTxnResponse::default()
    }
}

fn topic_results(codes: Codes) -> Vec<TopicResult> {
    let mut topics: Vec<TopicResult> = Vec::new();
    for (partition, code) in codes {
        let result = TopicResultResultByPartition {
            partition_index: partition.partition,
            partition_error_code: code.code(),
            ..TopicResultResultByPartition::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.name == *partition.topic => topic.results_by_partition.push(result),
            _ => topics.push(TopicResult {
                name: partition.topic.to_string(),
                results_by_partition: vec![result],
                ..TopicResult::default()
            }),
        }
    }
    topics
}
