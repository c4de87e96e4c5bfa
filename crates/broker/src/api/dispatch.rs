//! From a frame to its handler.

use std::sync::Arc;

use bytes::Bytes;
use ottla_types::Now;
use ottla_wire::{ApiKey, Decoder, Request, RequestHeader, decode_request_header};

use super::bounds::decoded_bytes_max;
use super::call::{Call, Context};
use super::table::Api;
use crate::exchange::{Connection, Reply, ReplySlot};
use crate::node::Node;

/// They tell clients where to turn.
const DIRECTIONS: &[ApiKey] =
    &[ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::DescribeCluster, ApiKey::DescribeTopicPartitions];

/// A request whose body is not decoded yet.
#[derive(Debug)]
pub struct RawCall {
    context: Context,
    body: Decoder,
    slot: ReplySlot,
}

/// Handles one request frame. One that has no API, version or body that is served closes its connection, as in Kafka,
/// except that ApiVersions answers an unknown version with what it knows (KIP-511).
pub fn dispatch(node: &Arc<Node>, connection: &Arc<Connection>, frame: Bytes, now: Now, slot: ReplySlot) {
    let mut body = Decoder::new(frame);
    let header = match decode_request_header(&mut body) {
        Ok(header) => header,
        Err(error) => return slot.send(Reply::Close(format!("a malformed request header: {error}"))),
    };
    let (key, version) = (header.api_key, header.api_version);
    let served = Api::find(key).and_then(|api| Some((api, api.served(connection.is_controller_listener)?)));
    let Some((api, versions)) = served else {
        return slot.send(Reply::Close(format!("{key} is not served on this listener")));
    };
    let context = Context { connection: Arc::clone(connection), header, now };
    if !versions.contains(version) {
        if key == ApiKey::ApiVersions {
            return super::api_versions::refuse_version(node, context, slot);
        }
        return slot.send(Reply::Close(format!("{key} version {version} is not served, {versions} are")));
    }
    // Whoever was told again and again that this node leads what it does not would come back each time. One whose connection
    // ends asks another node. (The process of Apache Kafka ends when its metadata's disk is full.)
    if DIRECTIONS.contains(&key) && !connection.is_controller_listener && node.is_left_behind() {
        return slot.send(Reply::Close(format!("{key}: the metadata stand still here, others know better")));
    }
    (api.handle)(node, RawCall { context, body, slot });
}

/// Decodes the body and calls the API's handler. What is behind the body is ignored, as Kafka does: librdkafka's request
/// for the metadata of all topics has three bytes more than it says.
pub(super) fn call<R: Request>(node: &Arc<Node>, raw: RawCall, handler: impl FnOnce(&Arc<Node>, Call<R>)) {
    let RawCall { context, mut body, slot } = raw;
    let RequestHeader { api_key, api_version, .. } = context.header;
    if let Some(bytes_max) = decoded_bytes_max(api_key) {
        body.limit_budget(bytes_max);
    }
    match R::decode(&mut body, api_version) {
        Ok(request) => handler(node, Call::new(context, request, slot)),
        Err(error) => {
            let reason = format!("a malformed {api_key} request of version {api_version}: {error}");
            slot.send(Reply::Close(reason));
        }
    }
}
