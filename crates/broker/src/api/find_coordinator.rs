//! FindCoordinator: which node coordinates a group, a transactional id or a share partition. From version 4 on several
//! keys at once (KIP-699).

use std::sync::Arc;

use ottla_types::{CONSUMER_OFFSETS_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::FindCoordinatorRequest;
use ottla_wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use super::call::{Call, Context};
use crate::metadata_cache::{NodeEndpoint, alive_endpoint};
use crate::node::Node;

const MANY_KEYS_SINCE: i16 = 4;
const SHARE_SINCE: i16 = 6;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) fn handle(node: &Arc<Node>, call: Call<FindCoordinatorRequest>) {
    let (context, request, answer) = call.into_parts();
    let key_type = request.key_type;
    if context.version() < MANY_KEYS_SINCE {
        return answer.reply(&single(find(node, &context, key_type, &request.key)));
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let found = find(node, &context, key_type, &key);
        one_of_many(key, found)
    });
    let coordinators = coordinators.collect();
    answer.reply(&FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() });
}

fn find(node: &Arc<Node>, context: &Context, key_type: i8, key: &str) -> Result<NodeEndpoint, ErrorCode> {
    match key_type {
        GROUP => leader(node, context, CONSUMER_OFFSETS_TOPIC, node.groups.partition_for(key)),
        TRANSACTION => leader(node, context, TRANSACTION_STATE_TOPIC, node.transactions.partition_for(key)),
        SHARE if context.version() < SHARE_SINCE || !is_share_partition(key) => {
            Err(ErrorCode::InvalidRequest)
        }
        SHARE => leader(node, context, SHARE_GROUP_STATE_TOPIC, node.share.coordinator.partition_for(key)),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// Share groups have a coordinator for each partition: `group:topic id:partition` (KIP-932).
fn is_share_partition(key: &str) -> bool {
    let mut parts = key.split(':');
    let mut next = || parts.next().unwrap_or_default();
    let (group, topic_id, partition) = (next(), next(), next());
    let is_partition = partition.parse::<i32>().is_ok() && parts.next().is_none();
    !group.is_empty() && topic_id.parse::<Uuid>().is_ok() && is_partition
}

/// The leader of a partition of the coordinators' topic. The topic is created by the first who asks: there is no
/// coordinator until then.
fn leader(
    node: &Arc<Node>,
    context: &Context,
    topic_name: &str,
    partition: Option<i32>,
) -> Result<NodeEndpoint, ErrorCode> {
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    let partition = partition.ok_or(unavailable)?;
    let image = node.metadata.image();
    let Some(topic) = image.topics.by_name(topic_name) else {
        node.create_internal_topic(topic_name, context.now);
        return Err(unavailable);
    };
    let registration = topic.partitions.get(&partition).ok_or(unavailable)?;
    alive_endpoint(&image, registration.leader, &context.connection.listener).ok_or(unavailable)
}

/// Errors come with no node: -1, no host, port -1.
struct Answer {
    error: ErrorCode,
    node_id: i32,
    host: String,
    port: i32,
}

impl From<Result<NodeEndpoint, ErrorCode>> for Answer {
    fn from(found: Result<NodeEndpoint, ErrorCode>) -> Answer {
        match found {
            Ok(node) => Answer {
                error: ErrorCode::None,
                node_id: node.id.0,
                host: node.host,
                port: i32::from(node.port),
            },
            Err(error) => Answer { error, node_id: -1, host: String::new(), port: -1 },
        }
    }
}

fn single(found: Result<NodeEndpoint, ErrorCode>) -> FindCoordinatorResponse {
    let Answer { error, node_id, host, port } = found.into();
    // As in Kafka, success has the message "NONE".
    let message = if error.is_error() { error.description() } else { error.name() };
    FindCoordinatorResponse {
        error_code: error.code(),
        error_message: Some(message.to_owned()),
        node_id,
        host,
        port,
        ..FindCoordinatorResponse::default()
    }
}

fn one_of_many(key: String, found: Result<NodeEndpoint, ErrorCode>) -> Coordinator {
    let Answer { error, node_id, host, port } = found.into();
    Coordinator { key, node_id, host, port, error_code: error.code(), ..Coordinator::default() }
}
