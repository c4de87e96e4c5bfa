//! Fetch: reads records for consumers, at once or when there are enough.
//!
//! Records never pass through memory: the response names slices of the segments' files. From version 7 on a session
//! remembers what a client fetches (KIP-227), 11 lets consumers read from followers and tells them from which (KIP-392),
//! 13 names topics by id (KIP-516), 16 tells of the leader where it is elsewhere (KIP-951).

use std::sync::Arc;

use ottla_config::keys;
use ottla_log::FileSlice;
use ottla_record::Codec;
use ottla_replica::fetch_session::{
    FetchContext, FetchPartition, PartitionKey, PartitionSummary, SessionRequest,
};
use ottla_replica::{
    FetchClient, FetchParams, FetchedPartition, FollowerId, PartitionRead, Reader, ReaderKind,
};
use ottla_types::{BrokerEpoch, NodeId, Now, Offset, Uuid};
use ottla_wire::messages::fetch_request::{FetchRequest, ForgottenTopicsData, Topic};
use ottla_wire::messages::fetch_response::{
    AbortedTransaction, CurrentLeader, DivergingEpoch, FetchResponse, Partition, Response,
};
use ottla_wire::{ErrorCode, Records};

use super::call::{Answer, Call, Context};
use super::partitions::{LeaderHints, TopicKey};
use crate::node::Node;

const SESSIONS_SINCE: i16 = 7;
const ZSTD_SINCE: i16 = 10;
/// From here on consumers tell their rack, and may read from followers.
const RACKS_SINCE: i16 = 11;
/// The replica id of tools that compare replicas.
const COMPARING_REPLICA: i32 = -2;
const TOPIC_IDS_SINCE: i16 = 13;
const REPLICA_STATE_SINCE: i16 = 15;
const LEADER_HINTS_SINCE: i16 = 16;
/// The last version whose clients may not know KAFKA_STORAGE_ERROR.
const NO_STORAGE_ERROR_UNTIL: i16 = 5;

pub(super) fn handle(node: &Arc<Node>, call: Call<FetchRequest>) {
    if call.context.connection.is_controller_listener {
        // Nothing but the metadata log is read there.
        return super::quorum::handle(node, call);
    }
    let (context, mut request, answer) = call.into_parts();
    let version = context.version();
    let reader = match reader(&context, &request) {
        Ok(reader) => reader,
        Err(code) => return answer.reply(&error_response(version, code, request)),
    };
    let session = session_request(version, &mut request, reader.follower);
    let session = match node.fetch_sessions.begin(session, context.now.mono) {
        Ok(session) => session,
        Err(code) => return answer.reply(&error_response(version, code, request)),
    };
    let cap = node.config.get(keys::FETCH_MAX_BYTES);
    let max_bytes = not_negative(request.max_bytes.min(cap));
    let params = FetchParams {
        reader,
        max_wait_ms: request.max_wait_ms,
        min_bytes: not_negative(request.min_bytes).min(max_bytes),
        max_bytes,
    };
    let of = Arc::clone(node);
    let find = Box::new(move |key: &PartitionKey| topic_key(key).replica(&of, key.partition));
    let now = context.now;
    let reply =
        Reply { node: Arc::clone(node), context, is_follower: params.reader.follower.is_some(), answer };
    let respond = move |session, fetched, now| reply.send(session, fetched, now);
    node.replicas.fetch_in_session(params, session, find, now, respond);
}

fn not_negative(bytes: i32) -> u32 {
    u32::try_from(bytes).unwrap_or(0)
}

/// Who reads. Kafka has no code for an isolation level that does not exist.
fn reader(context: &Context, request: &FetchRequest) -> Result<Reader, ErrorCode> {
    let version = context.version();
    let state = &request.replica_state;
    let (replica, epoch) = match version >= REPLICA_STATE_SINCE {
        true => (state.replica_id, Some(BrokerEpoch(state.replica_epoch))),
        false => (request.replica_id, None),
    };
    if replica >= 0 {
        let broker_epoch = epoch.filter(|epoch| *epoch != BrokerEpoch::NONE);
        let follower = Some(FollowerId { node: NodeId(replica), broker_epoch });
        return Ok(Reader { kind: ReaderKind::Follower, follower, client: None });
    }
    let kind = match request.isolation_level {
        0 => ReaderKind::Consumer,
        1 => ReaderKind::CommittedConsumer,
        _ => return Err(ErrorCode::UnknownServerError),
    };
    let client = || FetchClient {
        rack: (!request.rack_id.is_empty()).then(|| Arc::from(request.rack_id.as_str())),
        listener: Arc::clone(&context.connection.listener),
        compares_replicas: replica == COMPARING_REPLICA,
    };
    Ok(Reader { kind, follower: None, client: (version >= RACKS_SINCE).then(client) })
}

fn session_request(version: i16, request: &mut FetchRequest, follower: Option<FollowerId>) -> SessionRequest {
    let uses_topic_ids = version >= TOPIC_IDS_SINCE;
    let no_name: Arc<str> = Arc::default();
    let name = |name: &str| if uses_topic_ids { Arc::clone(&no_name) } else { Arc::from(name) };
    let mut partitions = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in &request.topics {
        let name = name(&topic.topic);
        partitions.extend(topic.partitions.iter().map(|asked| FetchPartition {
            key: PartitionKey {
                topic_id: topic.topic_id,
                topic: Arc::clone(&name),
                partition: asked.partition,
            },
            fetch_offset: Offset(asked.fetch_offset),
            log_start_offset: Offset(asked.log_start_offset),
            max_bytes: asked.partition_max_bytes,
            current_leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
        }));
    }
    let forgotten = |topic: &ForgottenTopicsData| {
        let (topic_id, topic_name) = (topic.topic_id, name(&topic.topic));
        let key = move |partition: &i32| PartitionKey {
            topic_id,
            topic: Arc::clone(&topic_name),
            partition: *partition,
        };
        topic.partitions.iter().map(key).collect::<Vec<_>>()
    };
    SessionRequest {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        partitions,
        forgotten: request.forgotten_topics_data.iter().flat_map(forgotten).collect(),
        uses_topic_ids,
        follower,
    }
}

fn topic_key(key: &PartitionKey) -> TopicKey<'_> {
    if key.topic_id.is_zero() { TopicKey::Name(&key.topic) } else { TopicKey::Id(key.topic_id) }
}

/// What is kept of a request until its answer is due.
struct Reply {
    node: Arc<Node>,
    context: Context,
    is_follower: bool,
    answer: Answer<FetchRequest>,
}

impl Reply {
    fn send(self, session: FetchContext, mut fetched: Vec<FetchedPartition>, now: Now) {
        let Reply { node, context, is_follower, answer } = self;
        for found in &mut fetched {
            adapt(context.version(), found);
        }
        let summaries: Vec<_> = session
            .partitions
            .iter()
            .zip(&fetched)
            .map(|(asked, found)| (asked.key.clone(), summary(found)))
            .collect();
        let (session_id, carried) = node.fetch_sessions.finish(session, &summaries, now.mono);
        let mut response = Assembly::new(&node, &context);
        for (((key, _), found), is_carried) in summaries.iter().zip(fetched).zip(carried) {
            if is_carried {
                response.add(key, found.read);
            }
        }
        let (mut response, files) = response.finish(session_id);
        if is_follower {
            // Replicas know from the metadata where other nodes are.
            response.node_endpoints.clear();
        }
        answer.reply_with_files(&response, &files);
    }
}

/// Takes back what the client's version can't understand.
fn adapt(version: i16, found: &mut FetchedPartition) {
    if found.read.error == ErrorCode::KafkaStorageError && version <= NO_STORAGE_ERROR_UNTIL {
        found.read.error = ErrorCode::NotLeaderOrFollower;
    }
    if version < ZSTD_SINCE
        && let Some(partition) = &found.partition
        && partition.log().config().compression.is_some_and(|compression| compression.codec() == Codec::Zstd)
    {
        found.read = PartitionRead::refused(ErrorCode::UnsupportedCompressionType);
    }
}

fn summary(found: &FetchedPartition) -> PartitionSummary {
    let read = &found.read;
    PartitionSummary {
        error: read.error,
        has_records: !read.is_empty(),
        high_watermark: read.high_watermark,
        log_start_offset: read.log_start_offset,
        has_redirect: read.diverging.is_some() || read.preferred_read_replica.is_some(),
        is_at_rest: found.is_at_rest,
    }
}

/// A response that is being put together.
struct Assembly<'a> {
    node: &'a Node,
    context: &'a Context,
    responses: Vec<Response>,
    files: Vec<FileSlice>,
    hints: LeaderHints,
}

impl<'a> Assembly<'a> {
    fn new(node: &'a Node, context: &'a Context) -> Assembly<'a> {
        Assembly { node, context, responses: Vec::new(), files: Vec::new(), hints: LeaderHints::default() }
    }

    /// Partitions of one topic that follow each other share an entry.
    fn add(&mut self, key: &PartitionKey, read: PartitionRead) {
        let partition = self.partition(key, read);
        match self.responses.last_mut() {
            Some(last) if last.topic_id == key.topic_id && *last.topic == *key.topic => {
                last.partitions.push(partition);
            }
            _ => self.responses.push(Response {
                topic: key.topic.to_string(),
                topic_id: key.topic_id,
                partitions: vec![partition],
                ..Response::default()
            }),
        }
    }

    fn partition(&mut self, key: &PartitionKey, read: PartitionRead) -> Partition {
        let current_leader = self.current_leader(key, read.error);
        let mut partition = Partition {
            partition_index: key.partition,
            error_code: read.error.code(),
            high_watermark: read.high_watermark.0,
            last_stable_offset: read.last_stable_offset.0,
            log_start_offset: read.log_start_offset.0,
            current_leader,
            preferred_read_replica: read.preferred_read_replica.unwrap_or(NodeId::NONE).0,
            aborted_transactions: None,
            records: Records::EMPTY,
            ..Partition::default()
        };
        if let Some(diverging) = read.diverging {
            partition.diverging_epoch = DivergingEpoch {
                epoch: diverging.epoch.0,
                end_offset: diverging.end_offset.0,
                ..DivergingEpoch::default()
            };
        }
        let Some(data) = read.data else { return partition };
        partition.aborted_transactions = data.aborted_transactions.map(|aborted| {
            let transaction = |txn: ottla_log::index::AbortedTxn| AbortedTransaction {
                producer_id: txn.producer_id,
                first_offset: txn.first_offset,
                ..AbortedTransaction::default()
            };
            aborted.into_iter().map(transaction).collect()
        });
        if let Some(slice) = data.records {
            partition.records = Records::External { len: slice.len, token: self.files.len() as u64 };
            self.files.push(slice);
        }
        partition
    }

    fn current_leader(&mut self, key: &PartitionKey, error: ErrorCode) -> CurrentLeader {
        let is_elsewhere = matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        if !is_elsewhere || self.context.version() < LEADER_HINTS_SINCE {
            return CurrentLeader::default();
        }
        let listener = &self.context.connection.listener;
        let hint = self.hints.leader(self.node, topic_key(key), key.partition, listener);
        CurrentLeader {
            leader_id: hint.leader.0,
            leader_epoch: hint.leader_epoch.0,
            ..CurrentLeader::default()
        }
    }

    fn finish(self, session_id: i32) -> (FetchResponse, Vec<FileSlice>) {
        let response = FetchResponse {
            session_id,
            responses: self.responses,
            node_endpoints: self.hints.into_endpoints(),
            ..FetchResponse::default()
        };
        (response, self.files)
    }
}

/// Before version 7 errors have their place with the partitions alone.
fn error_response(version: i16, code: ErrorCode, request: FetchRequest) -> FetchResponse {
    if version >= SESSIONS_SINCE {
        return FetchResponse { error_code: code.code(), ..FetchResponse::default() };
    }
    let refused = PartitionRead::refused(code);
    let topic = |topic: Topic| Response {
        topic: topic.topic,
        topic_id: Uuid::ZERO,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| Partition {
                partition_index: asked.partition,
                error_code: code.code(),
                high_watermark: refused.high_watermark.0,
                records: Records::EMPTY,
                ..Partition::default()
            })
            .collect(),
        ..Response::default()
    };
    FetchResponse { responses: request.topics.into_iter().map(topic).collect(), ..FetchResponse::default() }
}
