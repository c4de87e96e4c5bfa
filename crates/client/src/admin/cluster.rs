//! The cluster as a whole, its nodes, and what they serve.

use ottla_types::NodeId;
use ottla_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, UnregisterBrokerRequest,
};

use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// Which nodes are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointType {
    #[default]
    Brokers = 1,
    Controllers = 2,
}

/// A cluster's nodes, of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    /// -1 is none.
    pub controller: NodeId,
    pub nodes: Vec<Endpoint>,
}

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
    pub is_fenced: bool,
}

/// What a broker serves.
pub type BrokerApis = ApiVersionsResponse;

impl Admin {
    pub async fn describe_cluster(&self, includes_fenced: bool) -> Result<ClusterDescription, ClientError> {
        let endpoint_type = match self.client.settings().is_of_controllers {
            true => EndpointType::Controllers,
            false => EndpointType::Brokers,
        };
        let request = DescribeClusterRequest {
            endpoint_type: endpoint_type as i8,
            include_fenced_brokers: includes_fenced,
            ..Default::default()
        };
        let answer = self.ask(Target::AnyNode, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || "describing the cluster".to_owned())?;
        let node = |broker: ottla_wire::messages::describe_cluster_response::Broker| Endpoint {
            id: broker.broker_id,
            host: broker.host,
            port: broker.port,
            rack: broker.rack,
            is_fenced: broker.is_fenced,
        };
        let mut nodes: Vec<Endpoint> = answer.brokers.into_iter().map(node).collect();
        nodes.sort_by_key(|node| node.id);
        Ok(ClusterDescription {
            cluster_id: answer.cluster_id,
            controller: NodeId(answer.controller_id),
            nodes,
        })
    }

    /// Which versions of which APIs each node serves.
    pub async fn broker_apis(&self) -> Results<NodeId, BrokerApis> {
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        self.ask_nodes(self.nodes().into_iter().map(|node| (node, request.clone())), |answer| {
            answer.error_code
        })
        .await
    }

    /// Takes a broker that is gone out of the metadata.
    pub async fn unregister_broker(&self, id: i32) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: id, ..Default::default() };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || format!("unregistering broker {id}"))
    }
}
