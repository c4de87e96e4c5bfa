//! DescribeCluster (KIP-700, KIP-919, KIP-1073).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_wire::messages::describe_cluster_response::{Broker, DescribeClusterResponse};

use super::call::Call;
use crate::metadata_cache::{controller_for_clients, registered_endpoints};
use crate::node::Node;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeClusterRequest>) {
    let asked = call.request.endpoint_type;
    let is_controller_listener = call.context.connection.is_controller_listener;
    let refused = match (asked, is_controller_listener) {
        (BROKERS, false) | (CONTROLLERS, true) => None,
        (BROKERS | CONTROLLERS, _) => Some((
            ErrorCode::MismatchedEndpointType,
            format!("The request was sent to an endpoint of the wrong type: {asked} was asked for."),
        )),
        _ => Some((ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {asked}"))),
    };
    let response = match refused {
        Some((code, message)) => DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..DescribeClusterResponse::default()
        },
        None => describe(node, &call),
    };
    call.reply(&response);
}

fn describe(node: &Node, call: &Call<DescribeClusterRequest>) -> DescribeClusterResponse {
    let image = node.metadata.image();
    let listener = &call.context.connection.listener;
    let brokers = registered_endpoints(&image, listener)
        .into_iter()
        .filter(|(_, is_fenced)| !is_fenced || call.request.include_fenced_brokers)
        .map(|(endpoint, is_fenced)| Broker {
            broker_id: endpoint.id.0,
            host: endpoint.host,
            port: i32::from(endpoint.port),
            rack: endpoint.rack,
            is_fenced,
            ..Broker::default()
        })
        .collect();
    DescribeClusterResponse {
        endpoint_type: call.request.endpoint_type,
        cluster_id: node.identity.cluster_id.clone(),
        controller_id: controller_for_clients(&image, node.identity.node_id, listener).0,
        brokers,
        ..DescribeClusterResponse::default()
    }
}
