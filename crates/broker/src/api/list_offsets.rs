//! ListOffsets: from timestamps, or the special ones below zero, to offsets (KIP-79, KIP-734, KIP-1005, KIP-1023).

use std::collections::HashSet;
use std::sync::Arc;

use ottla_log::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP, MAX_TIMESTAMP, TimestampAndOffset,
};
use ottla_replica::ReaderKind;
use ottla_types::{LeaderEpoch, Timestamp};
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets_request::{ListOffsetsRequest, Partition as Asked};
use ottla_wire::messages::list_offsets_response::{ListOffsetsResponse, Partition, Topic};

use super::call::Call;
use super::partitions;
use crate::node::Node;

const CONSUMER_REPLICA_ID: i32 = -1;
const LEADER_EPOCHS_SINCE: i16 = 4;
const OFFSET_NOT_AVAILABLE_SINCE: i16 = 5;

pub(super) fn handle(node: &Arc<Node>, call: Call<ListOffsetsRequest>) {
    if !looks_into_records(&call.request) {
        return respond(node, call);
    }
    let of_job = Arc::clone(node);
    (node.hooks.read_later)(Box::new(move || respond(&of_job, call)));
}

/// What is asked for by a record's timestamp is found in indexes and records, which may be on disk.
fn looks_into_records(request: &ListOffsetsRequest) -> bool {
    let mut asked = request.topics.iter().flat_map(|topic| &topic.partitions);
    asked.any(|asked| asked.timestamp >= 0 || Timestamp(asked.timestamp) == MAX_TIMESTAMP)
}

fn respond(node: &Arc<Node>, call: Call<ListOffsetsRequest>) {
    let version = call.context.version();
    let reader = reader(&call.request);
    let duplicates = duplicates(&call.request);
    let mut told = HashSet::new();
    let topic = |topic: &ottla_wire::messages::list_offsets_request::Topic| Topic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .filter_map(|asked| {
                let is_duplicate = duplicates.contains(&(topic.name.as_str(), asked.partition_index));
                if is_duplicate && !told.insert((topic.name.clone(), asked.partition_index)) {
                    return None;
                }
                let found = match reader {
                    _ if is_duplicate => Err(ErrorCode::InvalidRequest),
                    Ok(reader) => look_up(node, version, &topic.name, asked, reader),
                    Err(code) => Err(code),
                };
                Some(answer(version, asked.partition_index, found))
            })
            .collect(),
        ..Topic::default()
    };
    let topics = call.request.topics.iter().map(topic).collect();
    let response = ListOffsetsResponse { topics, ..ListOffsetsResponse::default() };
    call.reply(&response);
}

/// Replicas, and tools that pass for one, see to the end of the log.
fn reader(request: &ListOffsetsRequest) -> Result<ReaderKind, ErrorCode> {
    match (request.replica_id, request.isolation_level) {
        (CONSUMER_REPLICA_ID, 0) => Ok(ReaderKind::Consumer),
        (CONSUMER_REPLICA_ID, 1) => Ok(ReaderKind::CommittedConsumer),
        // Kafka has no code for an isolation level that does not exist.
        (CONSUMER_REPLICA_ID, _) => Err(ErrorCode::UnknownServerError),
        _ => Ok(ReaderKind::Follower),
    }
}

/// The partitions that are asked for more than once: each is refused, once.
fn duplicates(request: &ListOffsetsRequest) -> HashSet<(&str, i32)> {
    let mut seen = HashSet::new();
    let partitions = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|asked| (topic.name.as_str(), asked.partition_index)));
    partitions.filter(|partition| !seen.insert(*partition)).collect()
}

fn look_up(
    node: &Node,
    version: i16,
    topic: &str,
    asked: &Asked,
    reader: ReaderKind,
) -> Result<Option<TimestampAndOffset>, ErrorCode> {
    let timestamp = Timestamp(asked.timestamp);
    if !is_known(timestamp, version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = partitions::by_name(node, topic, asked.partition_index)?;
    partition.offset_for_timestamp(timestamp, LeaderEpoch(asked.current_leader_epoch), reader)
}

/// Timestamps below zero have a meaning of their own, or none, that depends on the version.
fn is_known(timestamp: Timestamp, version: i16) -> bool {
    let since = match timestamp {
        LATEST_TIMESTAMP | EARLIEST_TIMESTAMP => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL_TIMESTAMP => 8,
        LATEST_TIERED_TIMESTAMP => 9,
        EARLIEST_PENDING_UPLOAD_TIMESTAMP => 11,
        Timestamp(time) => return time >= 0,
    };
    version >= since
}

fn answer(
    version: i16,
    partition_index: i32,
    found: Result<Option<TimestampAndOffset>, ErrorCode>,
) -> Partition {
    let nothing = Partition { partition_index, ..Partition::default() };
    match found {
        Ok(Some(found)) => Partition {
            timestamp: found.timestamp.0,
            offset: found.offset.0,
            leader_epoch: match found.leader_epoch {
                Some(epoch) if version >= LEADER_EPOCHS_SINCE => epoch.0,
                _ => LeaderEpoch::NONE.0,
            },
            ..nothing
        },
        Ok(None) => nothing,
        Err(ErrorCode::OffsetNotAvailable) if version < OFFSET_NOT_AVAILABLE_SINCE => {
            Partition { error_code: ErrorCode::LeaderNotAvailable.code(), ..nothing }
        }
        Err(code) => Partition { error_code: code.code(), ..nothing },
    }
}
