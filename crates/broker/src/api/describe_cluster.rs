//! DescribeCluster (KIP-700, KIP-919, KIP-1073).

use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_wire::messages::describe_cluster_response::{Broker, DescribeClusterResponse};

use super::authorized_operations::{NOT_ASKED, ON_CLUSTER};
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
    if let Some((code, message)) = refused {
        return call.reply(&DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..DescribeClusterResponse::default()
        });
    }
    if !is_controller_listener {
        let image = node.metadata.image();
        let listener = &call.context.connection.listener;
        let brokers = brokers(&image, listener, call.request.include_fenced_brokers);
        let controller = controller_for_clients(&image, node.identity.node_id, listener);
        let response = describe(node, &call.request, brokers, controller);
        return call.reply(&response);
    }
    let (context, request, answer) = call.into_parts();
    let described = Arc::clone(node);
    node.controller.describe_quorum(move |view| {
        let controllers = controllers(&described.metadata.image(), &context.connection.listener);
        answer.reply(&describe(&described, &request, controllers, view.leader));
    });
}

fn describe(
    node: &Node,
    request: &DescribeClusterRequest,
    brokers: Vec<Broker>,
    controller: NodeId,
) -> DescribeClusterResponse {
    let is_asked = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: node.identity.cluster_id.clone(),
        controller_id: controller.value(),
        brokers,
        cluster_authorized_operations: if is_asked { ON_CLUSTER } else { NOT_ASKED },
        ..DescribeClusterResponse::default()
    }
}

fn brokers(image: &MetadataImage, listener: &str, with_fenced: bool) -> Vec<Broker> {
    registered_endpoints(image, listener)
        .into_iter()
        .filter(|(_, is_fenced)| !is_fenced || with_fenced)
        .map(|(endpoint, is_fenced)| Broker {
            broker_id: endpoint.id.0,
            host: endpoint.host,
            port: i32::from(endpoint.port),
            rack: endpoint.rack,
            is_fenced,
            ..Broker::default()
        })
        .collect()
}

/// The controllers that have registered with the listener.
fn controllers(image: &MetadataImage, listener: &str) -> Vec<Broker> {
    let registered = image.controllers.iter().filter_map(|(id, controller)| {
        let endpoint = controller.end_points.iter().find(|endpoint| endpoint.name == listener)?;
        Some(Broker {
            broker_id: id.value(),
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Broker::default()
        })
    });
    registered.collect()
}
