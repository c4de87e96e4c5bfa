//! Writes that want all replicas are refused where too few are in sync.

use std::sync::Arc;

use ottla_metadata::loader::MetadataLoader;
use ottla_types::{LeaderEpoch, Offset};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{ProduceRequest, produce_request};
use ottla_wire::records::{ConfigRecord, MetadataRecord, PartitionRecord, RegisterBrokerRecord};

use super::harness::{Harness, LOCAL, OTHER, at, batch, topic};
use crate::publisher::Publisher;

const ID: ottla_types::Uuid = ottla_types::Uuid([21; 16]);
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// A topic with two replicas of which one is in sync, under settings of the file and of resources at run time.
fn refused(settings: &[(&str, &str)], dynamic: &[(i8, &str)]) -> i16 {
    let harness = Harness::without_metadata(settings);
    let partition = MetadataRecord::Partition(PartitionRecord {
        topic_id: ID,
        partition_id: 0,
        replicas: vec![LOCAL, OTHER],
        isr: vec![LOCAL],
        leader: LOCAL,
        ..PartitionRecord::default()
    });
    let registered = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: LOCAL,
        incarnation_id: harness.node.registration.incarnation_id,
        broker_epoch: 1,
        ..RegisterBrokerRecord::default()
    });
    let config = |(resource_type, resource_name): &(i8, &str)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: *resource_type,
            resource_name: (*resource_name).to_owned(),
            name: "min.insync.replicas".to_owned(),
            value: Some("2".to_owned()),
            ..ConfigRecord::default()
        })
    };
    let mut loader = MetadataLoader::default();
    let mut publisher = Publisher::new(Arc::clone(&harness.node));
    let configs: Vec<_> = dynamic.iter().map(config).collect();
    for (offset, records) in [(1, vec![registered, topic("new", ID), partition]), (2, configs)] {
        loader
            .apply(Offset(offset), LeaderEpoch(1), at(0).wall, &records)
            .expect("the records fit each other");
        if let Some(publication) = loader.publish() {
            publisher.publish(&publication, at(0)).expect("the logs can be loaded");
        }
    }
    let data = produce_request::PartitionData { records: Some(batch(&["v"])), ..Default::default() };
    let topic = produce_request::TopicData { topic_id: ID, partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 10, topic_data: vec![topic], ..ProduceRequest::default() };
    harness.call(13, &request, at(1)).responses[0].partition_responses[0].error_code
}

#[test]
fn too_few_in_sync_refuse_writes_however_that_is_set() {
    let too_few = ErrorCode::NotEnoughReplicas.code();
    assert_eq!(refused(&[], &[]), 0);
    assert_eq!(refused(&[("min.insync.replicas", "2")], &[]), too_few);
    assert_eq!(refused(&[], &[(BROKER, "")]), too_few);
    assert_eq!(refused(&[], &[(BROKER, "1")]), too_few);
    assert_eq!(refused(&[], &[(TOPIC, "new")]), too_few);
}
