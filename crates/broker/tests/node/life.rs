//! Starting, stopping, and starting again.

use ottla_wire::messages::{ApiVersionsRequest, DescribeClusterRequest};

use crate::harness::{NODE, SteppedNode};

#[test]
fn a_new_node_registers_and_serves() {
    let mut node = SteppedNode::start(&[]);
    let described = node.ask(&DescribeClusterRequest::default(), 2);
    assert_eq!(described.cluster_id, "cluster");
    assert_eq!(described.brokers.len(), 1);
    let broker = &described.brokers[0];
    assert_eq!(
        (broker.broker_id, broker.host.as_str(), broker.port, broker.is_fenced),
        (NODE.0, "localhost", 9092, false)
    );
}

#[test]
fn a_restarted_node_registers_under_a_later_epoch() {
    let node = SteppedNode::start(&[]);
    let first = node.node.broker_epoch().unwrap();
    let (disk, now) = node.stop();
    let node = SteppedNode::start_on(disk, &[], now);
    let second = node.node.broker_epoch().unwrap();
    assert!(second > first, "{second} after {first}");
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    let third = node.node.broker_epoch().unwrap();
    assert!(third > second, "{third} after {second}");
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let versions = node.ask(&request, 4);
    assert!(
        versions.finalized_features.iter().any(|f| f.name == "metadata.version" && f.max_version_level == 30)
    );
}
