//! A log that Apache Kafka wrote.

use ottla_record::{BatchMut, Batches, Compression};
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::records::{MetadataRecord, PartitionRecord, TopicRecord};

use super::listing::{ids, list};
use super::offsets::fetch;
use super::*;
use crate::group::consumer::ConsumerRecord;
use crate::group::consumer::record::ConsumerContent;
use crate::group::modern::topics::TopicHashes;
use crate::group::record::GroupRecord;
use crate::group::shard::GroupShard;
use crate::runtime::{EncodedRecord, Shard, StoredBatch, StoredContent, WriteBatch};

const KAFKAS_LOG: &[u8] = include_bytes!("data/consumer_offsets.log");

fn batches() -> Vec<StoredBatch> {
    StoredBatch::decode_all(KAFKAS_LOG, 1 << 20).unwrap()
}

fn adopted() -> Rig {
    let batches = batches();
    let high_watermark = batches.last().unwrap().last_offset.next();
    Rig::with_log(config(), MemoryLog { batches, high_watermark })
}

#[test]
fn groups_and_offsets_are_where_kafka_left_them() {
    let rig = adopted();
    let row = |id: &str, kind: &str, protocol: &str, state: &str| {
        (id.to_owned(), kind.to_owned(), protocol.to_owned(), state.to_owned())
    };
    let expected = [
        row("left", "classic", "consumer", "Empty"),
        row("modern", "consumer", "consumer", "Empty"),
        row("simple", "classic", "", "Empty"),
        row("stays", "classic", "consumer", "Stable"),
    ];
    assert_eq!(list(&rig, &[], &[]), expected);
    for group_id in ["left", "modern", "stays"] {
        assert_eq!((fetch(&rig, group_id, 0), fetch(&rig, group_id, 1)), (0, 20), "{group_id}");
    }
    assert_eq!((fetch(&rig, "simple", 0), fetch(&rig, "simple", 1)), (0, -1));
}

#[test]
fn a_member_of_kafkas_group_comes_back_to_its_assignment() {
    let rig = adopted();
    let mut kafkas = JoinGroupRequest {
        group_id: "stays".into(),
        group_instance_id: Some("instance".into()),
        ..join_request()
    };
    // As the consumer said it: its own name for the protocol and its subscription to `t`.
    kafkas.protocols[0].metadata = subscription(&["t"]);
    let back = rig.send_join(JOIN_VERSION, kafkas).now();
    assert_eq!((back.error_code, back.generation_id), (0, 1));
    assert!(back.skip_assignment && back.member_id.starts_with("instance-"));
    let assignment =
        rig.send_sync(SyncGroupRequest { group_id: "stays".into(), ..sync_request(&back) }).now().assignment;
    // Version 3, one topic, `t`, two partitions, 0 and 1, no user data.
    let expected =
        b"\x00\x03\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff";
    assert_eq!(&assignment[..], expected);
}

/// What is read and written again has the same bytes: records and batches of the kinds that are written here.
#[test]
fn it_is_written_as_kafka_wrote_it() {
    let mut compared = 0;
    for (batch, stored) in Batches::new(KAFKAS_LOG).zip(batches()) {
        let batch = batch.unwrap();
        let StoredContent::Records(records) = stored.content else { unreachable!() };
        let mut encoded = Vec::new();
        for record in records {
            let (key, value) = (record.key.unwrap(), record.value);
            let decoded = super::record::decode(key.clone(), value.clone()).unwrap().unwrap();
            assert_eq!(
                super::record::encode(&decoded),
                Ok(EncodedRecord { key: key.clone(), value: value.clone() })
            );
            encoded.push(EncodedRecord { key, value });
        }
        if encoded.is_empty() {
            continue;
        }
        let timestamp = batch.header().max_timestamp;
        let written = WriteBatch {
            timestamp,
            transaction: None,
            base_sequence: GroupShard::BASE_SEQUENCE,
            records: encoded,
        };
        let mut bytes = written.encode(Compression::NONE).unwrap();
        let mut numbered = BatchMut::parse(&mut bytes).unwrap();
        numbered.set_base_offset(stored.base_offset);
        numbered.set_partition_leader_epoch(batch.header().partition_leader_epoch);
        assert_eq!(bytes, batch.bytes());
        compared += 1;
    }
    assert_eq!(compared, 11);
}

#[test]
fn a_group_of_kafkas_newer_protocol_goes_on() {
    let rig = adopted();
    assert_eq!(ids(list(&rig, &[], &["consumer"])), ["modern"]);
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "modern".into(),
        member_id: "member".into(),
        rebalance_timeout_ms: 1_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let context = rig.context(1);
    let joined = Answer::of(|reply| rig.coordinator.consumer_group_heartbeat(context, request, reply)).now();
    assert_eq!((joined.error_code, joined.member_epoch), (0, 4));
}

/// What Kafka found the hash of `t` and its two partitions to be is what it is here.
#[test]
fn the_hash_of_topics_is_kafkas() {
    let records = batches().into_iter().flat_map(|batch| match batch.content {
        StoredContent::Records(records) => records,
        _ => Vec::new(),
    });
    let (mut hash, mut topic_id) = (0, Uuid::ZERO);
    for record in records {
        match super::record::decode(record.key.unwrap(), record.value).unwrap().unwrap() {
            GroupRecord::Consumer(ConsumerRecord {
                content: ConsumerContent::Group(Some(value)), ..
            }) if value.metadata_hash != 0 => {
                hash = value.metadata_hash;
            }
            GroupRecord::Consumer(ConsumerRecord {
                content: ConsumerContent::TargetOf(_, Some(value)),
                ..
            }) => topic_id = value.topic_partitions[0].topic_id,
            _ => {}
        }
    }
    assert!(hash != 0 && !topic_id.is_zero());
    let mut image = MetadataImage::default();
    let topic = TopicRecord { name: "t".to_owned(), topic_id, ..TopicRecord::default() };
    let partitions = (0..2).map(|partition_id| {
        let partition =
            PartitionRecord { partition_id, topic_id, replicas: vec![1], ..PartitionRecord::default() };
        MetadataRecord::Partition(partition)
    });
    for record in std::iter::once(MetadataRecord::Topic(topic)).chain(partitions) {
        image.replay(&record, &mut Changes::default()).unwrap();
    }
    assert_eq!(TopicHashes::default().of_group(&image, [&Arc::from("t")]), hash);
}
