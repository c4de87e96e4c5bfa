//! What the cluster in memory answers, API by API.

use bytes::Bytes;
use ottla_types::Uuid;
use ottla_wire::messages as m;
use ottla_wire::messages::{
    api_versions_response, consumer_group_heartbeat_response, fetch_response, find_coordinator_response,
    join_group_response, list_offsets_response, metadata_response, offset_commit_response,
    offset_fetch_response, produce_response, share_acknowledge_response, share_fetch_response,
    share_group_heartbeat_response,
};
use ottla_wire::{ApiKey, ErrorCode, Records};

use super::fake::{Seen, State, encode};

/// The one who coordinates everything.
const COORDINATOR: i32 = 1;
const MEMBER: &str = "member";

/// What the cluster asks for of a client's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    pub requested: Vec<String>,
    pub push_interval_ms: i32,
    pub compressions: Vec<i8>,
    pub bytes_max: i32,
    pub is_delta: bool,
    pub subscription_id: i32,
}

/// For how long the answer waits, and the answer's frame; none to a request that wants none.
pub(super) fn answer(
    state: &mut State,
    seen: &Seen,
    correlation_id: i32,
    refused: ErrorCode,
) -> (u64, Option<Bytes>) {
    let code = refused.code();
    macro_rules! reply {
        ($answer:expr) => {
            (0, Some(encode(correlation_id, &$answer, seen.version)))
        };
    }
    match seen.api {
        ApiKey::ApiVersions => reply!(versions(state)),
        ApiKey::Metadata => reply!(metadata(state, &seen.read(), code)),
        ApiKey::InitProducerId => reply!(m::InitProducerIdResponse {
            error_code: code,
            producer_id: 7,
            producer_epoch: 0,
            ..Default::default()
        }),
        ApiKey::Produce => {
            let request: m::ProduceRequest = seen.read();
            let wants_answer = request.acks != 0;
            let answer = produce(state, request, code);
            (0, wants_answer.then(|| encode(correlation_id, &answer, seen.version)))
        }
        ApiKey::FindCoordinator => reply!(coordinator(seen.read())),
        ApiKey::JoinGroup => reply!(join(state, seen.read())),
        ApiKey::SyncGroup => {
            let request: m::SyncGroupRequest = seen.read();
            let assignment = request.assignments.into_iter().next().unwrap_or_default().assignment;
            reply!(m::SyncGroupResponse {
                protocol_type: request.protocol_type,
                protocol_name: request.protocol_name,
                assignment,
                ..Default::default()
            })
        }
        ApiKey::Heartbeat => reply!(m::HeartbeatResponse { error_code: code, ..Default::default() }),
        ApiKey::LeaveGroup => reply!(m::LeaveGroupResponse::default()),
        ApiKey::OffsetFetch => reply!(committed(seen.read())),
        ApiKey::OffsetCommit => reply!(commit(seen.read(), code)),
        ApiKey::ListOffsets => reply!(offsets(state, seen.read())),
        ApiKey::Fetch => {
            let request: m::FetchRequest = seen.read();
            let (is_empty, answer) = fetch(state, &request, code);
            let wait_ms = if is_empty { u64::try_from(request.max_wait_ms).unwrap() } else { 0 };
            (wait_ms, Some(encode(correlation_id, &answer, seen.version)))
        }
        ApiKey::ConsumerGroupHeartbeat if code != 0 => {
            reply!(m::ConsumerGroupHeartbeatResponse { error_code: code, ..Default::default() })
        }
        ApiKey::ConsumerGroupHeartbeat => reply!(modern_heartbeat(state, seen.read())),
        ApiKey::ShareGroupHeartbeat => reply!(share_heartbeat(state, seen.read())),
        ApiKey::ShareFetch => {
            let request: m::ShareFetchRequest = seen.read();
            let (is_empty, answer) = share_fetch(state, &request);
            let wait_ms = if is_empty { u64::try_from(request.max_wait_ms).unwrap() } else { 0 };
            (wait_ms, Some(encode(correlation_id, &answer, seen.version)))
        }
        ApiKey::ShareAcknowledge => reply!(share_acknowledge(seen.read())),
        ApiKey::ListGroups => reply!(m::ListGroupsResponse { error_code: code, ..Default::default() }),
        ApiKey::GetTelemetrySubscriptions => {
            reply!(subscription(state.telemetry.as_ref().unwrap(), &seen.read(), code))
        }
        ApiKey::PushTelemetry => {
            reply!(m::PushTelemetryResponse { error_code: code, ..Default::default() })
        }
        other => panic!("{other:?} is not served here"),
    }
}

const SERVED: [ApiKey; 18] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::InitProducerId,
    ApiKey::Produce,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::OffsetFetch,
    ApiKey::OffsetCommit,
    ApiKey::ListOffsets,
    ApiKey::Fetch,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ShareGroupHeartbeat,
    ApiKey::ShareFetch,
    ApiKey::ShareAcknowledge,
    ApiKey::ListGroups,
];

fn versions(state: &State) -> m::ApiVersionsResponse {
    let telemetry = [ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry];
    let served = SERVED.into_iter().chain(telemetry.into_iter().filter(|_| state.telemetry.is_some()));
    let api = |api: ApiKey| {
        let facts = api.facts();
        let range = facts.broker_versions.or(facts.schema_versions).unwrap();
        api_versions_response::ApiKey {
            api_key: api.code(),
            min_version: range.min,
            max_version: range.max,
            ..Default::default()
        }
    };
    m::ApiVersionsResponse { api_keys: served.map(api).collect(), ..Default::default() }
}

fn metadata(state: &State, request: &m::MetadataRequest, error_code: i16) -> m::MetadataResponse {
    let names: Vec<String> = match &request.topics {
        None => state.topics.keys().cloned().collect(),
        Some(topics) => topics.iter().filter_map(|topic| topic.name.clone()).collect(),
    };
    let is_of_topics = error_code == ErrorCode::TopicAuthorizationFailed.code();
    let (of_topics, error_code) = if is_of_topics { (error_code, 0) } else { (0, error_code) };
    let topic = |name: String| {
        let found = state.topics.get(&name).filter(|_| of_topics == 0);
        let Some(found) = found else {
            let unknown = ErrorCode::UnknownTopicOrPartition.code();
            return metadata_response::Topic {
                error_code: if of_topics == 0 { unknown } else { of_topics },
                name: Some(name),
                ..Default::default()
            };
        };
        let partition = |index: usize| metadata_response::Partition {
            partition_index: i32::try_from(index).unwrap(),
            leader_id: state.leader(index),
            replica_nodes: vec![state.leader(index)],
            isr_nodes: vec![state.leader(index)],
            ..Default::default()
        };
        metadata_response::Topic {
            name: Some(name),
            topic_id: found.id,
            is_internal: found.is_internal,
            partitions: (0..found.logs.len()).map(partition).collect(),
            ..Default::default()
        }
    };
    let broker = |id: &i32| metadata_response::Broker {
        node_id: *id,
        host: format!("b{id}"),
        port: 9092,
        ..Default::default()
    };
    m::MetadataResponse {
        error_code,
        brokers: state.nodes.iter().map(broker).collect(),
        cluster_id: Some("fake".to_owned()),
        controller_id: COORDINATOR,
        topics: names.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

fn produce(state: &mut State, request: m::ProduceRequest, error_code: i16) -> m::ProduceResponse {
    let mut responses = Vec::new();
    for topic in request.topic_data {
        let name = state.name_of(topic.topic_id).unwrap_or_else(|| topic.name.clone());
        let logs = &mut state.topics.get_mut(&name).unwrap().logs;
        let partition = |data: m::produce_request::PartitionData| {
            let log = &mut logs[usize::try_from(data.index).unwrap()];
            log.produced += 1;
            produce_response::PartitionResponse {
                index: data.index,
                error_code,
                base_offset: if error_code == 0 { log.produced } else { -1 },
                ..Default::default()
            }
        };
        responses.push(produce_response::Response {
            partition_responses: topic.partition_data.into_iter().map(partition).collect(),
            name: topic.name,
            topic_id: topic.topic_id,
            ..Default::default()
        });
    }
    m::ProduceResponse { responses, ..Default::default() }
}

fn coordinator(request: m::FindCoordinatorRequest) -> m::FindCoordinatorResponse {
    let found = |key| find_coordinator_response::Coordinator {
        key,
        node_id: COORDINATOR,
        host: format!("b{COORDINATOR}"),
        port: 9092,
        ..Default::default()
    };
    m::FindCoordinatorResponse {
        coordinators: request.coordinator_keys.into_iter().map(found).collect(),
        ..Default::default()
    }
}

/// Whoever joins is alone, and leads.
fn join(state: &mut State, request: m::JoinGroupRequest) -> m::JoinGroupResponse {
    state.epoch += 1;
    let protocol = request.protocols.into_iter().next().unwrap_or_default();
    let member = join_group_response::Member {
        member_id: MEMBER.to_owned(),
        group_instance_id: request.group_instance_id,
        metadata: protocol.metadata,
        ..Default::default()
    };
    m::JoinGroupResponse {
        generation_id: state.epoch,
        protocol_type: Some(request.protocol_type),
        protocol_name: Some(protocol.name),
        leader: MEMBER.to_owned(),
        member_id: MEMBER.to_owned(),
        members: vec![member],
        ..Default::default()
    }
}

fn committed(request: m::OffsetFetchRequest) -> m::OffsetFetchResponse {
    let partition = |partition_index| offset_fetch_response::GroupTopicPartition {
        partition_index,
        committed_offset: -1,
        ..Default::default()
    };
    let topic = |topic: m::offset_fetch_request::GroupTopic| offset_fetch_response::GroupTopic {
        partitions: topic.partition_indexes.into_iter().map(partition).collect(),
        name: topic.name,
        ..Default::default()
    };
    let group = |group: m::offset_fetch_request::Group| offset_fetch_response::Group {
        group_id: group.group_id,
        topics: group.topics.unwrap_or_default().into_iter().map(topic).collect(),
        ..Default::default()
    };
    m::OffsetFetchResponse { groups: request.groups.into_iter().map(group).collect(), ..Default::default() }
}

fn commit(request: m::OffsetCommitRequest, error_code: i16) -> m::OffsetCommitResponse {
    let partition = |partition: m::offset_commit_request::Partition| offset_commit_response::Partition {
        partition_index: partition.partition_index,
        error_code,
        ..Default::default()
    };
    let topic = |topic: m::offset_commit_request::Topic| offset_commit_response::Topic {
        partitions: topic.partitions.into_iter().map(partition).collect(),
        name: topic.name,
        ..Default::default()
    };
    m::OffsetCommitResponse { topics: request.topics.into_iter().map(topic).collect(), ..Default::default() }
}

fn offsets(state: &State, request: m::ListOffsetsRequest) -> m::ListOffsetsResponse {
    const EARLIEST: i64 = -2;
    let topic = |topic: m::list_offsets_request::Topic| {
        let logs = &state.topics[&topic.name].logs;
        let partition = |partition: m::list_offsets_request::Partition| list_offsets_response::Partition {
            partition_index: partition.partition_index,
            offset: match partition.timestamp {
                EARLIEST => 0,
                _ => logs[usize::try_from(partition.partition_index).unwrap()].end,
            },
            ..Default::default()
        };
        list_offsets_response::Topic {
            partitions: topic.partitions.into_iter().map(partition).collect(),
            name: topic.name,
            ..Default::default()
        }
    };
    m::ListOffsetsResponse { topics: request.topics.into_iter().map(topic).collect(), ..Default::default() }
}

/// There are no sessions here: each request says all.
fn fetch(state: &mut State, request: &m::FetchRequest, error_code: i16) -> (bool, m::FetchResponse) {
    let mut is_empty = error_code == 0;
    let mut responses = Vec::new();
    let bytes_max = usize::try_from(request.max_bytes).unwrap();
    let mut bytes = 0;
    for topic in &request.topics {
        let name = state.name_of(topic.topic_id).unwrap();
        let partition = |asked: &m::fetch_request::Partition| {
            let log = &state.topics[&name].logs[usize::try_from(asked.partition).unwrap()];
            let is_read = asked.fetch_offset < log.end && error_code == 0;
            is_empty &= !is_read;
            // The first batch comes whole, however large it is.
            let is_given = is_read && (bytes == 0 || bytes + log.batch.len() <= bytes_max);
            bytes += if is_given { log.batch.len() } else { 0 };
            fetch_response::Partition {
                partition_index: asked.partition,
                error_code,
                high_watermark: log.end,
                last_stable_offset: log.end,
                log_start_offset: 0,
                records: if is_given { Records::from(log.batch.clone()) } else { Records::default() },
                ..Default::default()
            }
        };
        responses.push(fetch_response::Response {
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(partition).collect(),
            ..Default::default()
        });
    }
    state.fetched_bytes += bytes;
    (is_empty, m::FetchResponse { responses, ..Default::default() })
}

/// Topics by their ids, each with all its partitions.
fn all_of(state: &State, names: &[String]) -> Vec<(Uuid, Vec<i32>)> {
    let topics = names.iter().filter_map(|name| state.topics.get(name));
    topics.map(|topic| (topic.id, (0..i32::try_from(topic.logs.len()).unwrap()).collect())).collect()
}

fn modern_heartbeat(
    state: &mut State,
    request: m::ConsumerGroupHeartbeatRequest,
) -> m::ConsumerGroupHeartbeatResponse {
    let joins = request.member_epoch == 0;
    state.epoch += i32::from(joins);
    let names = request.subscribed_topic_names.unwrap_or_default();
    let of_topic = |(topic_id, partitions)| consumer_group_heartbeat_response::TopicPartition {
        topic_id,
        partitions,
        ..Default::default()
    };
    let all = all_of(state, &names).into_iter().map(of_topic).collect();
    m::ConsumerGroupHeartbeatResponse {
        member_id: Some(request.member_id),
        member_epoch: if request.member_epoch < 0 { request.member_epoch } else { state.epoch },
        heartbeat_interval_ms: 1_000,
        assignment: joins.then(|| consumer_group_heartbeat_response::Assignment {
            topic_partitions: all,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn share_heartbeat(
    state: &mut State,
    request: m::ShareGroupHeartbeatRequest,
) -> m::ShareGroupHeartbeatResponse {
    let joins = request.member_epoch == 0;
    state.epoch += i32::from(joins);
    let names = request.subscribed_topic_names.unwrap_or_default();
    let of_topic = |(topic_id, partitions)| share_group_heartbeat_response::TopicPartition {
        topic_id,
        partitions,
        ..Default::default()
    };
    let all = all_of(state, &names).into_iter().map(of_topic).collect();
    m::ShareGroupHeartbeatResponse {
        member_id: Some(request.member_id),
        member_epoch: if request.member_epoch < 0 { request.member_epoch } else { state.epoch },
        heartbeat_interval_ms: 1_000,
        assignment: joins.then(|| share_group_heartbeat_response::Assignment {
            topic_partitions: all,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Lends a partition's batch once.
fn share_fetch(state: &mut State, request: &m::ShareFetchRequest) -> (bool, m::ShareFetchResponse) {
    let mut is_empty = true;
    let mut responses = Vec::new();
    for topic in &request.topics {
        let name = state.name_of(topic.topic_id).unwrap();
        let logs = &mut state.topics.get_mut(&name).unwrap().logs;
        let partition = |asked: &m::share_fetch_request::Partition| {
            let log = &mut logs[usize::try_from(asked.partition_index).unwrap()];
            let lends = log.end > 0 && !std::mem::replace(&mut log.is_lent, true);
            let is_news = lends || !asked.acknowledgement_batches.is_empty();
            is_empty &= !is_news;
            let acquired = share_fetch_response::AcquiredRecord {
                first_offset: 0,
                last_offset: log.end - 1,
                delivery_count: 1,
                ..Default::default()
            };
            share_fetch_response::Partition {
                partition_index: asked.partition_index,
                records: if lends { Records::from(log.batch.clone()) } else { Records::from(Bytes::new()) },
                acquired_records: if lends { vec![acquired] } else { Vec::new() },
                ..Default::default()
            }
        };
        responses.push(share_fetch_response::Response {
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(partition).collect(),
            ..Default::default()
        });
    }
    (is_empty, m::ShareFetchResponse { acquisition_lock_timeout_ms: 30_000, responses, ..Default::default() })
}

fn share_acknowledge(request: m::ShareAcknowledgeRequest) -> m::ShareAcknowledgeResponse {
    let topic = |topic: m::share_acknowledge_request::Topic| share_acknowledge_response::Response {
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| share_acknowledge_response::Partition {
                partition_index: partition.partition_index,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    m::ShareAcknowledgeResponse {
        responses: request.topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

fn subscription(
    telemetry: &Telemetry,
    request: &m::GetTelemetrySubscriptionsRequest,
    error_code: i16,
) -> m::GetTelemetrySubscriptionsResponse {
    let id = request.client_instance_id;
    m::GetTelemetrySubscriptionsResponse {
        error_code,
        client_instance_id: if id.is_zero() { Uuid([9; 16]) } else { id },
        subscription_id: telemetry.subscription_id,
        accepted_compression_types: telemetry.compressions.clone(),
        push_interval_ms: telemetry.push_interval_ms,
        telemetry_max_bytes: telemetry.bytes_max,
        delta_temporality: telemetry.is_delta,
        requested_metrics: telemetry.requested.clone(),
        ..Default::default()
    }
}
