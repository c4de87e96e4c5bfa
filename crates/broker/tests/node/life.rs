//! Starting, stopping, and starting again.

use ottla_broker::lifecycle::LifecycleState;
use ottla_wire::messages::{ApiVersionsRequest, DescribeClusterRequest};

use crate::harness::{NODE, SteppedNode};
use crate::topics::create;

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

/// What the process before it has led, this one may have lost part of: others may have all of it.
#[test]
fn a_process_leads_nothing_before_the_metadata_know_it() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let (disk, now) = node.crash();
    let mut node = SteppedNode::try_start(disk, &[], now).unwrap();
    let replicas = std::sync::Arc::clone(node.node.replicas());
    for _ in 0..1000 {
        if replicas.partition("a", 0).is_some() {
            break;
        }
        node.move_clock(10);
        node.poll_metadata();
    }
    let partition = replicas.partition("a", 0).expect("the metadata tell of it");
    assert!(!partition.is_leader());
    node.run_until(|_| partition.is_leader());
    assert_eq!(node.node.lifecycle_state(), LifecycleState::Running);
}
