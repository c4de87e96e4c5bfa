//! Moves of replicas under load, and nodes that come and go by them.

use std::collections::BTreeMap;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest, MetadataRequest,
    UnregisterBrokerRequest, alter_partition_reassignments_request as moves, metadata_response,
};

use super::super::cluster::{Cluster, ask};

/// All topics' partitions, internal ones too, as a node knows them.
pub fn all_partitions(
    cluster: &Cluster,
    through: i32,
) -> Option<BTreeMap<(String, i32), metadata_response::Partition>> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let topics = ask(cluster.address(through), &request, 12)?.topics.into_iter();
    let partitions = topics.flat_map(|topic| {
        let name = topic.name.unwrap_or_default();
        topic
            .partitions
            .into_iter()
            .map(move |partition| ((name.clone(), partition.partition_index), partition))
    });
    Some(partitions.collect())
}

/// Has every partition get these replicas, as `to` says by its former ones, and waits until it has them.
pub fn move_all(cluster: &Cluster, through: i32, to: impl Fn(&[i32]) -> Vec<i32>) -> usize {
    let partitions = cluster.until(|| all_partitions(cluster, through).filter(|all| !all.is_empty()));
    let mut topics: BTreeMap<String, Vec<moves::Partition>> = BTreeMap::new();
    for ((topic, index), partition) in &partitions {
        let replicas = to(&partition.replica_nodes);
        if replicas != partition.replica_nodes {
            let partition =
                moves::Partition { partition_index: *index, replicas: Some(replicas), ..Default::default() };
            topics.entry(topic.clone()).or_default().push(partition);
        }
    }
    let count = topics.values().map(Vec::len).sum();
    let topics: Vec<_> = topics
        .into_iter()
        .map(|(name, partitions)| moves::Topic { name, partitions, ..Default::default() })
        .collect();
    let request = AlterPartitionReassignmentsRequest { topics, timeout_ms: 30_000, ..Default::default() };
    cluster.until(|| {
        let response = ask(cluster.address(through), &request, 0)?;
        let codes = response.responses.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
        [response.error_code].into_iter().chain(codes).all(|code| code == 0).then_some(())
    });
    wait_for_moves(cluster, through);
    count
}

/// Waits until nothing moves any more.
fn wait_for_moves(cluster: &Cluster, through: i32) {
    let request =
        ListPartitionReassignmentsRequest { topics: None, timeout_ms: 30_000, ..Default::default() };
    cluster.until(|| {
        let response = ask(cluster.address(through), &request, 0)?;
        (response.error_code == 0 && response.topics.is_empty()).then_some(())
    });
}

/// Forgets a broker that has stopped.
pub fn unregister(cluster: &Cluster, through: i32, id: i32) {
    let request = UnregisterBrokerRequest { broker_id: id, ..Default::default() };
    cluster.until(|| {
        let response = ask(cluster.address(through), &request, 0)?;
        let code = ErrorCode::from_code(response.error_code).unwrap();
        matches!(code, ErrorCode::None | ErrorCode::BrokerIdNotRegistered).then_some(())
    });
}
