//! Putting an image into effect may take long, and followers are not late for that.

use ottla_metadata::loader::MetadataLoader;
use ottla_types::{BrokerEpoch, LeaderEpoch, Offset, Uuid};
use ottla_wire::records::{MetadataRecord, PartitionRecord, RegisterBrokerRecord};

use super::harness::{Harness, LOCAL, OTHER, at, topic};
use crate::node::Hooks;
use crate::publisher::Publisher;

const ID: Uuid = Uuid([21; 16]);

#[test]
fn a_follower_has_its_time_from_when_its_leader_leads() {
    // It takes forty seconds, and a follower may lag for thirty.
    let hooks = Hooks { clock: Some(Box::new(|| at(40_000))), ..Hooks::default() };
    let harness = Harness::with_hooks(&[], hooks);
    let registered = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: LOCAL,
        incarnation_id: harness.node.registration.incarnation_id,
        broker_epoch: 1,
        ..RegisterBrokerRecord::default()
    });
    let partition = MetadataRecord::Partition(PartitionRecord {
        topic_id: ID,
        partition_id: 0,
        replicas: vec![LOCAL, OTHER],
        isr: vec![LOCAL, OTHER],
        leader: LOCAL,
        ..PartitionRecord::default()
    });
    let mut loader = MetadataLoader::default();
    let records = [registered, topic("new", ID), partition];
    loader.apply(Offset(1), LeaderEpoch(1), at(0).wall, &records).expect("the records fit each other");
    let publication = loader.publish().expect("there is something new");
    Publisher::new(harness.node.clone()).publish(&publication, at(0)).expect("the logs can be loaded");
    let asks = |ms: u64| {
        harness.node.replicas.tick(at(ms));
        harness.node.replicas.next_isr_changes(BrokerEpoch(1), at(ms).mono).is_some()
    };
    assert_eq!([40_001, 60_000, 70_000, 90_000].map(asks), [false, false, false, true]);
}
