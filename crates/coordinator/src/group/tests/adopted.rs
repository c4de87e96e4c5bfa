//! A log that Apache Kafka wrote.

use ottla_record::{BatchMut, Batches, Compression};

use super::listing::{ids, list};
use super::offsets::fetch;
use super::*;
use crate::runtime::{EncodedRecord, StoredBatch, StoredContent, WriteBatch};

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
            if let super::record::GroupRecord::Foreign(_) = decoded {
                continue;
            }
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
        let written = WriteBatch { timestamp, producer: None, records: encoded };
        let mut bytes = written.encode(Compression::NONE).unwrap();
        let mut numbered = BatchMut::parse(&mut bytes).unwrap();
        numbered.set_base_offset(stored.base_offset);
        numbered.set_partition_leader_epoch(batch.header().partition_leader_epoch);
        assert_eq!(bytes, batch.bytes());
        compared += 1;
    }
    assert_eq!(compared, 9);
}

#[test]
fn a_group_of_kafkas_newer_protocol_is_not_taken_over() {
    let rig = adopted();
    let request = JoinGroupRequest { group_id: "modern".into(), ..join_request() };
    let refused = rig.send_join(JOIN_VERSION, request).now();
    assert_eq!(error(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(ids(list(&rig, &[], &["consumer"])), ["modern"]);
}
