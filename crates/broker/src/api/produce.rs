//! Produce: appends batches to the partitions that this node leads.
//!
//! Version 13 names topics by id (KIP-516), 10 tells of the leader where it is elsewhere (KIP-951), 8 tells which records
//! are at fault (KIP-467).

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::runtime::Producer;
use ottla_record::{AppendOrigin, BatchHeader, Batches, Codec};
use ottla_replica::{ProduceEntry, ProduceParams, ProduceResult};
use ottla_types::{Now, is_internal_topic};
use ottla_wire::ErrorCode;
use ottla_wire::messages::produce_request::{PartitionData, ProduceRequest, TopicData};
use ottla_wire::messages::produce_response::{
    CurrentLeader, PartitionResponse, ProduceResponse, RecordError, Response,
};

use super::call::{Answer, Call, Context};
use super::partitions::{LeaderHints, TopicKey};
use crate::node::Node;
use crate::transactions::{Support, TransactionalAppend};

/// The client that may append to internal topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";
const TOPIC_IDS_SINCE: i16 = 13;
const LEADER_HINTS_SINCE: i16 = 10;
const ZSTD_SINCE: i16 = 7;

pub(super) fn handle(node: &Arc<Node>, call: Call<ProduceRequest>) {
    let (context, mut request, answer) = call.into_parts();
    let refused = refuse_all(&request);
    let mut entries = Vec::with_capacity(request.topic_data.iter().map(|t| t.partition_data.len()).sum());
    for topic in &mut request.topic_data {
        let key = key(context.version(), &topic.name, topic.topic_id);
        for data in &mut topic.partition_data {
            let records = data.records.take().unwrap_or_default();
            let partition = match refused {
                Some(code) => Err(code),
                None => find(node, &context, key, data.index, &records, request.acks),
            };
            entries.push(ProduceEntry::new(partition, records));
        }
    }
    let params = ProduceParams {
        required_acks: request.acks,
        timeout_ms: request.timeout_ms,
        origin: AppendOrigin::Client,
        transaction_version: 0,
    };
    let (now, version) = (context.now, context.version());
    let reply =
        Reply { node: Arc::clone(node), context, acks: request.acks, topics: request.topic_data, answer };
    let Some(transactional) = transactional(&mut entries, request.transactional_id) else {
        return node.replicas.produce(params, entries, now, move |results| reply.send(results));
    };
    let (again, connection) = (Arc::clone(node), Arc::clone(&reply.context.connection));
    // What the client sends next must not be appended before this is.
    let hold = || connection.hold();
    verify(node, transactional, entries, (version, now), hold, move |entries| {
        again.replicas.produce(params, entries, now, move |results| reply.send(results));
    });
}

/// The parts of a request that belong to a transaction.
struct Transactional {
    transactional_id: Arc<str>,
    producer: Producer,
    /// Places of its entries, and the first sequence number in each.
    entries: Vec<(usize, i32)>,
}

/// What of the request belongs to a transaction; none if nothing does. A request is of one producer: one of several is
/// refused as a whole.
fn transactional(entries: &mut [ProduceEntry], transactional_id: Option<String>) -> Option<Transactional> {
    let transactional_id = transactional_id?;
    let mut producers = BTreeSet::new();
    let mut found = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let header = entry.partition.as_ref().ok().and_then(|_| BatchHeader::parse(&entry.records).ok()?);
        if let Some(header) = header.filter(|header| header.is_transactional() && header.has_producer_id()) {
            producers.insert(Producer { id: header.producer_id, epoch: header.producer_epoch });
            found.push((index, header.base_sequence));
        }
    }
    let producer = producers.pop_first()?;
    if !producers.is_empty() {
        for entry in entries.iter_mut() {
            entry.partition = Err(ErrorCode::InvalidProducerIdMapping);
        }
        return None;
    }
    Some(Transactional { transactional_id: Arc::from(transactional_id), producer, entries: found })
}

/// Lets the transaction's coordinator confirm the partitions in which the transaction begins.
fn verify(
    node: &Arc<Node>,
    transactional: Transactional,
    mut entries: Vec<ProduceEntry>,
    (version, now): (i16, Now),
    hold: impl FnOnce(),
    done: impl FnOnce(Vec<ProduceEntry>) + Send + 'static,
) {
    let support = Support::of_produce(version);
    let Transactional { transactional_id, producer, entries: places } = transactional;
    let partitions: Vec<_> = places
        .iter()
        .filter_map(|(index, sequence)| {
            let partition = entries.get(*index)?.partition.as_ref().ok()?;
            Some((Arc::clone(partition), *sequence))
        })
        .collect();
    let append = TransactionalAppend { transactional_id, producer, support };
    node.verify_append(append, &partitions, now, hold, move |guards| {
        for ((index, _), guard) in places.into_iter().zip(guards) {
            let Some(entry) = entries.get_mut(index) else { continue };
            match guard {
                Ok(guard) => entry.verification = guard,
                Err(code) => entry.partition = Err(of_verification(code, support)),
            }
        }
        done(entries);
    });
}

/// Codes that clients of all versions know to retry: NOT_ENOUGH_REPLICAS, since it has them ask for no new metadata.
fn of_verification(code: ErrorCode, support: Support) -> ErrorCode {
    match code {
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        ErrorCode::ConcurrentTransactions if support != Support::Add => ErrorCode::NotEnoughReplicas,
        code => code,
    }
}

/// What is wrong with the request as a whole.
fn refuse_all(request: &ProduceRequest) -> Option<ErrorCode> {
    let mut records = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let is_transactional = |data: &PartitionData| {
        let header = data.records.as_ref().and_then(|records| BatchHeader::parse(records).ok()?);
        header.is_some_and(|header| header.is_transactional())
    };
    (request.transactional_id.is_none() && records.any(is_transactional))
        .then_some(ErrorCode::TransactionalIdAuthorizationFailed)
}

fn key(version: i16, name: &str, id: ottla_types::Uuid) -> TopicKey<'_> {
    if version >= TOPIC_IDS_SINCE { TopicKey::Id(id) } else { TopicKey::Name(name) }
}

/// The partition to append to. What must hold for it to be asked at all is checked in Kafka's order.
fn find(
    node: &Node,
    context: &Context,
    topic: TopicKey<'_>,
    index: i32,
    records: &[u8],
    acks: i16,
) -> Result<Arc<ottla_replica::Partition>, ErrorCode> {
    let found = topic.replica(node, index);
    if let Err(code @ (ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition)) = found {
        return Err(code);
    }
    check_single_batch(context.version(), records)?;
    if !matches!(acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks);
    }
    let partition = found?;
    let name = &partition.topic_partition().topic;
    if is_internal_topic(name) && context.client_id() != ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(partition)
}

/// A partition gets one batch of magic 2.
fn check_single_batch(version: i16, records: &[u8]) -> Result<(), ErrorCode> {
    let mut batches = Batches::new(records);
    let mut next = || batches.next().transpose().map_err(|_| ErrorCode::CorruptMessage);
    let Some(batch) = next()? else { return Err(ErrorCode::InvalidRecord) };
    let header = batch.header();
    if header.is_legacy() {
        return Err(ErrorCode::InvalidRecord);
    }
    if version < ZSTD_SINCE && header.attributes.codec_id() == Codec::Zstd as u8 {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    if next()?.is_some() {
        return Err(ErrorCode::InvalidRecord);
    }
    Ok(())
}

/// What is kept of a request until its answer is due.
struct Reply {
    node: Arc<Node>,
    context: Context,
    acks: i16,
    /// Without their records.
    topics: Vec<TopicData>,
    answer: Answer<ProduceRequest>,
}

impl Reply {
    fn send(self, results: Vec<ProduceResult>) {
        if self.acks == 0 {
            return match first_refusal(&self.topics, &results) {
                None => self.answer.no_reply(),
                // The client does not wait for an answer: that its connection closes is all it can be told.
                Some(reason) => self.answer.close(reason),
            };
        }
        let Reply { node, context, topics, answer, .. } = self;
        let mut hints = LeaderHints::default();
        let mut results = results.into_iter();
        let responses = topics
            .into_iter()
            .map(|topic| {
                let topic_key = key(context.version(), &topic.name, topic.topic_id);
                let partition_responses = topic
                    .partition_data
                    .iter()
                    .zip(&mut results)
                    .map(|(data, result)| {
                        let leader = leader_hint(&node, &context, &mut hints, topic_key, data.index, &result);
                        partition_response(data.index, result, leader)
                    })
                    .collect();
                Response {
                    partition_responses,
                    name: topic.name,
                    topic_id: topic.topic_id,
                    ..Response::default()
                }
            })
            .collect();
        let node_endpoints = hints.into_endpoints();
        answer.reply(&ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() });
    }
}

fn first_refusal(topics: &[TopicData], results: &[ProduceResult]) -> Option<String> {
    let partitions =
        topics.iter().flat_map(|topic| topic.partition_data.iter().map(move |data| (topic, data)));
    let mut refused = partitions.zip(results).filter_map(|((topic, data), result)| {
        let code = result.refusal.as_ref()?.code;
        Some(format!("produce with acks=0 to {}-{} failed: {code}", topic.name, data.index))
    });
    refused.next()
}

fn leader_hint(
    node: &Node,
    context: &Context,
    hints: &mut LeaderHints,
    topic: TopicKey<'_>,
    index: i32,
    result: &ProduceResult,
) -> CurrentLeader {
    let code = result.refusal.as_ref().map(|refusal| refusal.code);
    if code != Some(ErrorCode::NotLeaderOrFollower) || context.version() < LEADER_HINTS_SINCE {
        return CurrentLeader::default();
    }
    let hint = hints.leader(node, topic, index, &context.connection.listener);
    CurrentLeader { leader_id: hint.leader.0, leader_epoch: hint.leader_epoch.0, ..CurrentLeader::default() }
}

fn partition_response(index: i32, result: ProduceResult, current_leader: CurrentLeader) -> PartitionResponse {
    let mut response = PartitionResponse {
        index,
        base_offset: result.base_offset.0,
        log_append_time_ms: result.log_append_time.0,
        log_start_offset: result.log_start_offset.0,
        current_leader,
        ..PartitionResponse::default()
    };
    if let Some(refusal) = result.refusal {
        response.error_code = refusal.code.code();
        // As in Kafka, a message comes with errors of single records alone.
        response.error_message = refusal.message.filter(|_| !refusal.record_errors.is_empty());
        response.record_errors = refusal
            .record_errors
            .into_iter()
            .map(|(batch_index, message)| RecordError {
                batch_index,
                batch_index_error_message: Some(message),
                ..RecordError::default()
            })
            .collect();
    }
    response
}
