//! Bytes of `__consumer_offsets`.

use expect_test::{Expect, expect};
use ottla_wire::messages::OffsetCommitRequest;

use super::offsets::{commit, commit_request, send_commit};
use super::*;
use crate::group::share::record::{ShareContent, ShareRecord, encode};
use crate::runtime::{EncodedRecord, StoredContent};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as i16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn key(record_type: i16, strings: &[&str]) -> Bytes {
    let mut bytes = record_type.to_be_bytes().to_vec();
    bytes.extend(strings.iter().flat_map(|text| string(text)));
    Bytes::from(bytes)
}

/// A commit of an offset of topic `t`, as older versions of Kafka wrote it.
pub(super) fn offset_record(group_id: &str, partition: i32, offset: i64) -> EncodedRecord {
    let mut key = key(1, &[group_id, "t"]).to_vec();
    key.extend(partition.to_be_bytes());
    let mut value = vec![0, 3];
    value.extend(offset.to_be_bytes());
    value.extend((-1i32).to_be_bytes());
    value.extend(string(""));
    value.extend(1_000_000i64.to_be_bytes());
    EncodedRecord { key: Bytes::from(key), value: Some(Bytes::from(value)) }
}

/// A share group `s` whose member has left, a streams group `st`, a share group that is gone, and a record of a kind that
/// is yet to be invented.
pub(super) fn foreign_records() -> Vec<EncodedRecord> {
    let some = || Some(Bytes::from_static(&[0, 0, 1, 2, 3]));
    let share = |group_id: &str, content| {
        encode(&ShareRecord { group_id: Arc::from(group_id), content }).expect("it encodes")
    };
    let member = |value| ShareContent::Member(Arc::from("member"), value);
    vec![
        share("s", ShareContent::Group(Some(Default::default()))),
        share("s", member(Some(Box::default()))),
        share("s", member(None)),
        EncodedRecord { key: key(17, &["st"]), value: some() },
        share("gone", ShareContent::Group(Some(Default::default()))),
        share("gone", member(Some(Box::default()))),
        share("gone", member(None)),
        share("gone", ShareContent::Group(None)),
        EncodedRecord { key: key(99, &["future"]), value: some() },
    ]
}

/// The end of a classic group.
pub(super) fn group_tombstone(group_id: &str) -> EncodedRecord {
    EncodedRecord { key: key(2, &[group_id]), value: None }
}

/// What remains in the log of a consumer group and its member that are gone.
pub(super) fn consumer_group_tombstones(group_id: &str) -> Vec<EncodedRecord> {
    let keys = [key(5, &[group_id, "member"]), key(6, &[group_id]), key(3, &[group_id])];
    keys.into_iter().map(|key| EncodedRecord { key, value: None }).collect()
}

#[track_caller]
fn check_last(rig: &Rig, expected: Expect) {
    let log = rig.logs.log(0);
    let StoredContent::Records(records) = &log.batches.last().unwrap().content else { unreachable!() };
    let lines = records.iter().map(|record| {
        let value = record.value.as_ref().map_or("tombstone".to_owned(), |value| hex(value));
        format!("{} {value}\n", hex(record.key.as_ref().unwrap()))
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn an_offset_commit() {
    let rig = Rig::new();
    let mut request = commit_request(&[("t", 1, 5)]);
    request.topics[0].topic_id = Uuid([7; 16]);
    send_commit(&rig, 10, request);
    check_last(
        &rig,
        expect![[r#"
        0001000567726f757000017400000001 0004000000000000000500000003056e6f746500000000000f424001001007070707070707070707070707070707
    "#]],
    );
    commit(&rig, commit_request(&[("t", 1, 5)]));
    check_last(
        &rig,
        expect![[r#"
        0001000567726f757000017400000001 0004000000000000000500000003056e6f746500000000000f424000
    "#]],
    );
    send_commit(&rig, 4, OffsetCommitRequest { retention_time_ms: 256, ..commit_request(&[("t", 1, 5)]) });
    check_last(
        &rig,
        expect![[r#"
        0001000567726f757000017400000001 0001000000000000000500046e6f746500000000000f424000000000000f4340
    "#]],
    );
    rig.coordinator.on_topics_deleted(&[("t".into(), Uuid([7; 16]))], rig.now());
    check_last(
        &rig,
        expect![[r#"
        0001000567726f757000017400000001 tombstone
    "#]],
    );
}

#[test]
fn group_metadata() {
    let rig = Rig::new();
    rig.send_join(JOIN_VERSION, join_request());
    check_last(
        &rig,
        expect![[r#"
        0002000567726f7570 0003000000000000ffffffff00000000000f424000000000
    "#]],
    );
    let rig = Rig::new();
    let members = rig.stable_group(1);
    assert_eq!(members[0].member_id.len(), 43);
    check_last(
        &rig,
        expect![[r#"
        0002000567726f7570 00030008636f6e73756d657200000001000572616e6765002b636c69656e742d30303030303030302d303030302d303030302d303030302d30303030303030303030303100000000000f424000000001002b636c69656e742d30303030303030302d303030302d303030302d303030302d303030303030303030303031ffff0006636c69656e74000a2f3132372e302e302e310000753000002710000000110003000000010005746f706963ffffffff0000002b636c69656e742d30303030303030302d303030302d303030302d303030302d303030303030303030303031
    "#]],
    );
    rig.pass(SESSION_MS);
    check_last(
        &rig,
        expect![[r#"
        0002000567726f7570 00030008636f6e73756d657200000002ffffffff00000000000f695000000000
    "#]],
    );
}

#[test]
fn what_cant_be_read_is_an_error_and_what_is_unknown_is_not() {
    let value = || Some(Bytes::from_static(&[0, 3, 1]));
    let decode = |key: &[u8], value: Option<Bytes>| record::decode(Bytes::copy_from_slice(key), value);
    assert!(decode(&[0], None).is_err());
    assert!(decode(&[0, 1], None).is_err());
    assert!(decode(&[0, 2, 0, 1, b'g'], value()).is_err());
    assert!(decode(&[0, 2, 0, 1, b'g'], Some(Bytes::from_static(&[0, 9]))).is_err());
    assert!(decode(&[0, 2, 0, 1, b'g'], None).unwrap().is_some());
    assert_eq!(decode(&[0, 77], value()), Ok(None));
}
