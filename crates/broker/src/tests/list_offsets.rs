use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets_request::{ListOffsetsRequest, Partition as Asked, Topic};
use ottla_wire::messages::list_offsets_response::Partition;

use super::fetch::append;
use super::harness::{Harness, at};

const LATEST: i16 = 11;

fn request(topic: &str, partitions: Vec<Asked>) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![Topic { name: topic.to_owned(), partitions, ..Topic::default() }],
        ..ListOffsetsRequest::default()
    }
}

fn asked(partition_index: i32, timestamp: i64) -> Asked {
    Asked { partition_index, timestamp, ..Asked::default() }
}

fn ask(harness: &Harness, version: i16, topic: &str, asked: Asked) -> Partition {
    let response = harness.call(version, &request(topic, vec![asked]), at(0));
    response.topics[0].partitions[0].clone()
}

/// Timestamp, offset and leader epoch.
fn found(partition: &Partition) -> (i64, i64, i32) {
    assert_eq!(partition.error_code, 0);
    (partition.timestamp, partition.offset, partition.leader_epoch)
}

#[test]
fn timestamps_find_offsets_in_every_version() {
    let harness = Harness::new();
    append(&harness, 0, &["a", "b"], 0);
    let time = at(0).wall.0;
    for version in 1..=LATEST {
        let epoch = if version >= 4 { 3 } else { -1 };
        let ask = |timestamp| found(&ask(&harness, version, "t", asked(0, timestamp)));
        assert_eq!(ask(-1), (-1, 2, epoch));
        assert_eq!(ask(-2), (-1, 0, epoch));
        assert_eq!(ask(0), (time, 0, epoch));
        assert_eq!(ask(time), (time, 0, epoch));
        assert_eq!(ask(time + 1), (-1, -1, -1));
    }
}

#[test]
fn special_timestamps_have_their_first_version() {
    let harness = Harness::new();
    append(&harness, 0, &["a"], 0);
    let time = at(0).wall.0;
    for (timestamp, since, expected) in
        [(-3, 7, (time, 0, 3)), (-4, 8, (-1, 0, 3)), (-5, 9, (-1, -1, -1)), (-6, 11, (-1, -1, -1))]
    {
        let ask = |version| ask(&harness, version, "t", asked(0, timestamp));
        assert_eq!(ask(since - 1).error_code, ErrorCode::UnsupportedVersion.code());
        assert_eq!(found(&ask(since)), expected);
    }
    let unknown = ask(&harness, LATEST, "t", asked(0, -7));
    assert_eq!(unknown.error_code, ErrorCode::UnsupportedVersion.code());
}

#[test]
fn each_error_has_its_code() {
    let harness = Harness::new();
    let of_epoch = |current_leader_epoch| Asked { current_leader_epoch, ..asked(0, -1) };
    for (topic, asked, expected) in [
        ("nowhere", asked(0, -1), ErrorCode::UnknownTopicOrPartition),
        ("t", asked(9, -1), ErrorCode::UnknownTopicOrPartition),
        ("elsewhere", asked(0, -1), ErrorCode::NotLeaderOrFollower),
        ("t", of_epoch(2), ErrorCode::FencedLeaderEpoch),
        ("t", of_epoch(4), ErrorCode::UnknownLeaderEpoch),
    ] {
        let partition = ask(&harness, LATEST, topic, asked);
        assert_eq!(ErrorCode::from_code(partition.error_code), Some(expected));
        assert_eq!((partition.timestamp, partition.offset), (-1, -1));
    }
    let response = harness.call(LATEST, &request("t", vec![asked(0, -1), asked(0, -2), asked(1, -1)]), at(0));
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [42, 0]);
}
