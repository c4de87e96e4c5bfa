use ottla_wire::records::*;

use super::*;
use crate::changes::Changes;
use crate::loader::MetadataLoader;

const TOPIC: Uuid = Uuid([9; 16]);

fn feature(name: &str, feature_level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: name.into(),
        feature_level,
        ..Default::default()
    })
}

fn topic(name: &str, topic_id: Uuid) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id, ..Default::default() })
}

fn partition(partition_id: i32, replicas: &[i32]) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        partition_id,
        topic_id: TOPIC,
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        leader: replicas[0],
        leader_epoch: 0,
        partition_epoch: 0,
        directories: replicas.iter().map(|id| Uuid([*id as u8; 16])).collect(),
        ..Default::default()
    })
}

fn change(change: PartitionChangeRecord) -> MetadataRecord {
    MetadataRecord::PartitionChange(PartitionChangeRecord { partition_id: 0, topic_id: TOPIC, ..change })
}

fn config(kind: i8, resource: &str, name: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: kind,
        resource_name: resource.into(),
        name: name.into(),
        value: value.map(str::to_owned),
        ..Default::default()
    })
}

fn broker(broker_id: i32, broker_epoch: i64) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id,
        broker_epoch,
        fenced: true,
        log_dirs: vec![Uuid([1; 16])],
        ..Default::default()
    })
}

/// One of everything.
pub(super) fn history() -> Vec<MetadataRecord> {
    vec![
        feature("metadata.version", 30),
        feature("group.version", 1),
        feature("a.feature.of.another.vendor", 3),
        broker(1, 5),
        broker(2, 6),
        MetadataRecord::UnfenceBroker(UnfenceBrokerRecord { id: 1, epoch: 5, ..Default::default() }),
        MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: 2,
            broker_epoch: 6,
            in_controlled_shutdown: 1,
            cordoned_log_dirs: Some(vec![Uuid([1; 16])]),
            ..Default::default()
        }),
        MetadataRecord::RegisterController(RegisterControllerRecord {
            controller_id: 3,
            ..Default::default()
        }),
        topic("orders", TOPIC),
        partition(0, &[1, 2]),
        partition(1, &[2, 1]),
        change(PartitionChangeRecord {
            isr: Some(vec![2]),
            leader: 2,
            eligible_leader_replicas: Some(vec![1]),
            ..Default::default()
        }),
        config(2, "orders", "retention.ms", Some("1")),
        config(4, "", "log.cleaner.threads", Some("2")),
        config(32, "g", "consumer.session.timeout.ms", Some("50000")),
        MetadataRecord::ClientQuota(ClientQuotaRecord {
            entity: vec![client_quota_record::Entity { entity_type: "user".into(), ..Default::default() }],
            key: "producer_byte_rate".into(),
            value: 1e6,
            ..Default::default()
        }),
        MetadataRecord::ProducerIds(ProducerIdsRecord { next_producer_id: 3000, ..Default::default() }),
        MetadataRecord::AccessControlEntry(AccessControlEntryRecord {
            id: Uuid([4; 16]),
            principal: "User:a".into(),
            ..Default::default()
        }),
        MetadataRecord::UserScramCredential(UserScramCredentialRecord {
            name: "alice".into(),
            mechanism: 1,
            ..Default::default()
        }),
        MetadataRecord::DelegationToken(DelegationTokenRecord { token_id: "t".into(), ..Default::default() }),
        MetadataRecord::NoOp(NoOpRecord::default()),
    ]
}

fn replayed(records: &[MetadataRecord]) -> (MetadataImage, Changes) {
    let (mut image, mut changes) = (MetadataImage::default(), Changes::default());
    for record in records {
        image.replay(record, &mut changes).expect("the record fits");
    }
    (image, changes)
}

#[test]
fn a_snapshot_gives_the_same_image_through_its_bytes() {
    let (image, _) = replayed(&history());
    let decoded: Vec<_> = image
        .to_records()
        .map(|(record, version)| {
            MetadataRecord::decode(record.encode(version).expect("encodes")).expect("decodes").0
        })
        .collect();
    assert_eq!(decoded[0], feature("metadata.version", 30));
    assert_eq!(replayed(&decoded).0, image);
}

#[test]
fn a_snapshot_at_an_old_level_leaves_out_what_the_level_does_not_have() {
    let (mut image, mut changes) = replayed(&history());
    image.replay(&feature("metadata.version", 7), &mut changes).expect("a known level");
    for (record, version) in image.to_records() {
        record.encode(version).expect("the version carries the record");
        if let MetadataRecord::Partition(record) = record {
            assert_eq!((version, record.directories, record.eligible_leader_replicas), (0, vec![], None));
        }
    }
}

#[test]
fn a_new_leader_raises_its_epoch_and_every_change_the_partitions() {
    let (image, _) = replayed(&history());
    let changed = image.topics.partition(TOPIC, 0).expect("it exists");
    assert_eq!(
        (changed.leader, changed.leader_epoch, changed.partition_epoch),
        (NodeId(2), LeaderEpoch(1), 1)
    );
    assert_eq!((changed.isr.as_slice(), changed.elr.as_slice()), (&[NodeId(2)][..], &[NodeId(1)][..]));
    let other = image.topics.partition(TOPIC, 1).expect("it exists");
    assert_eq!((other.leader_epoch, other.partition_epoch), (LeaderEpoch(0), 0));
}

#[test]
fn clearing_eligible_leaders_is_a_change_of_those_partitions_that_have_some() {
    let epochs = |image: &MetadataImage| {
        [0, 1].map(|partition| image.topics.partition(TOPIC, partition).expect("it exists").partition_epoch)
    };
    let clear = |name: &str| {
        MetadataRecord::ClearElr(ClearElrRecord { topic_name: name.into(), ..Default::default() })
    };
    for name in ["", "orders"] {
        let mut records = history();
        let [first, second] = epochs(&replayed(&records).0);
        records.extend([clear(name), clear(name), clear("no such topic")]);
        let (image, _) = replayed(&records);
        assert!(image.topics.partition(TOPIC, 0).expect("it exists").elr.is_empty());
        assert_eq!(epochs(&image), [first + 1, second]);
    }
}

#[test]
fn replicas_keep_their_directories_when_the_list_changes() {
    let mut records = history();
    records.push(change(PartitionChangeRecord { replicas: Some(vec![3, 1]), ..Default::default() }));
    let (image, _) = replayed(&records);
    let changed = image.topics.partition(TOPIC, 0).expect("it exists");
    assert_eq!(changed.directories, [directory::UNASSIGNED, Uuid([1; 16])]);
}

#[test]
fn removing_a_topic_removes_its_settings() {
    let mut records = history();
    records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: TOPIC, ..Default::default() }));
    let (image, changes) = replayed(&records);
    let orders = ConfigResource::new(ResourceType::Topic, "orders");
    assert!(image.topics.is_empty() && image.configs.of(&orders).is_none());
    assert!(changes.topics.is_empty());
    assert!(changes.deleted_topics.contains(&(TOPIC, "orders".into())));
    assert!(changes.configs.contains(&orders));
}

#[test]
fn deleting_a_setting_brings_back_its_absence() {
    let mut records = history();
    records.push(config(2, "orders", "retention.ms", None));
    let (image, _) = replayed(&records);
    assert_eq!(image.configs.of(&ConfigResource::new(ResourceType::Topic, "orders")), None);
}

#[test]
fn a_registration_replaces_the_one_before_and_old_epochs_are_refused() {
    let mut records = history();
    records.push(broker(1, 50));
    let (mut image, mut changes) = replayed(&records);
    let registered = image.brokers.get(&NodeId(1)).expect("it is registered");
    assert!(registered.is_fenced() && registered.epoch() == BrokerEpoch(50));
    let stale = MetadataRecord::UnfenceBroker(UnfenceBrokerRecord { id: 1, epoch: 5, ..Default::default() });
    let before = image.clone();
    assert_eq!(
        image.replay(&stale, &mut changes),
        Err(ReplayError::UnknownBroker { broker: NodeId(1), epoch: BrokerEpoch(5) })
    );
    assert_eq!(image, before);
}

#[test]
fn what_cannot_be_so_is_refused() {
    let refused = |record: MetadataRecord| {
        let (mut image, mut changes) = replayed(&history());
        image.replay(&record, &mut changes).unwrap_err()
    };
    assert!(matches!(
        refused(feature("metadata.version", 31)),
        ReplayError::UnsupportedFeature { level: 31, .. }
    ));
    assert!(matches!(refused(config(99, "x", "y", None)), ReplayError::UnknownResourceType(99)));
    for again in [topic("orders", Uuid([8; 16])), topic("other", TOPIC)] {
        assert!(matches!(refused(again), ReplayError::TopicExists { .. }));
    }
    let unknown = MetadataRecord::Unknown { type_id: 200, version: 0, bytes: Default::default() };
    assert_eq!(refused(unknown), ReplayError::UnknownRecord(200));
    let elsewhere = PartitionChangeRecord { partition_id: 7, topic_id: TOPIC, ..Default::default() };
    let topic = "orders".into();
    assert_eq!(
        refused(MetadataRecord::PartitionChange(elsewhere)),
        ReplayError::UnknownPartition { topic, partition: 7 }
    );
}

#[test]
fn a_transaction_is_published_whole_or_not_at_all() {
    let begin = MetadataRecord::BeginTransaction(Default::default());
    let end = MetadataRecord::EndTransaction(Default::default());
    let abort = MetadataRecord::AbortTransaction(Default::default());
    let mut loader = MetadataLoader::default();
    let mut offset = 0;
    let mut apply = |loader: &mut MetadataLoader, records: &[MetadataRecord]| {
        offset += records.len() as i64;
        loader.apply(Offset(offset), LeaderEpoch(1), Timestamp(1), records).expect("the records fit");
        loader.publish().map(|published| published.image.topics.len())
    };
    assert_eq!(apply(&mut loader, &[topic("a", Uuid([1; 16]))]), Some(1));
    assert_eq!(apply(&mut loader, &[begin.clone(), topic("b", Uuid([2; 16]))]), None);
    assert_eq!(apply(&mut loader, &[topic("c", Uuid([3; 16])), end]), Some(3));
    assert_eq!(apply(&mut loader, &[begin, topic("d", Uuid([4; 16]))]), None);
    assert_eq!(apply(&mut loader, &[abort]), Some(3));
    assert!(loader.published().topics.by_name("d").is_none());
}

#[test]
fn a_snapshot_tells_what_is_gone() {
    let mut loader = MetadataLoader::default();
    loader.apply(Offset(20), LeaderEpoch(1), Timestamp(1), &history()).expect("the records fit");
    loader.publish().expect("there is news");
    let provenance = Provenance { last_offset: Offset(30), ..Provenance::default() };
    loader.load_snapshot(provenance, [feature("metadata.version", 30)]).expect("the snapshot fits");
    let publication = loader.publish().expect("there is news");
    assert!(publication.changes.deleted_topics.contains(&(TOPIC, "orders".into())));
    assert!(publication.changes.brokers.contains(&NodeId(2)));
    assert!(publication.image.topics.is_empty());
}

#[test]
fn topics_are_walked_in_the_order_of_their_names() {
    let records: Vec<_> =
        ["c", "a", "b"].iter().zip(1..).map(|(name, id)| topic(name, Uuid([id; 16]))).collect();
    let (image, _) = replayed(&records);
    let from = |start| image.topics.iter_from(start).map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(from(""), ["a", "b", "c"]);
    assert_eq!(from("aa"), ["b", "c"]);
}
