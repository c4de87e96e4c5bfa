//! Against what Apache Kafka printed: see testdata/dump-log/write-expected.

use std::fs;

use super::remote;
use crate::testing::run;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_is_printed_is_what_kafka_prints() {
    let here = format!("{}/", std::env::current_dir().unwrap().display());
    for line in fs::read_to_string("testdata/dump-log/invocations").unwrap().lines() {
        let (name, arguments) = line.split_once(' ').unwrap();
        let printed = run(&format!("kafka-dump-log {arguments}")).replace(&here, "");
        let expected = fs::read_to_string(format!("testdata/dump-log/{name}.expected")).unwrap();
        let expected: String = expected.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        let first = printed.lines().zip(expected.lines()).find(|(printed, expected)| printed != expected);
        assert_eq!(first, None, "{name}");
        assert_eq!(printed, expected, "{name}");
    }
}

#[test]
fn remote_log_metadata_is_shown_as_java_shows_it() {
    for (bytes, expected) in [
        (
            "010000076f72646572730000000000000000000000000000000100000003000000000000000000000000000000000200000000000000000a\
             0000000000000014000000010000018bcfe568000000018bcfe568010300000000000000000000000a0000000005000000000000000f0000\
             001000040102030001000101",
            "RemoteLogSegmentMetadata{remoteLogSegmentId=RemoteLogSegmentId{topicIdPartition=\
             AAAAAAAAAAAAAAAAAAAAAQ:orders-3, id=AAAAAAAAAAAAAAAAAAAAAg}, startOffset=10, endOffset=20, brokerId=1, \
             maxTimestampMs=1700000000000, eventTimestampMs=1700000000001, segmentLeaderEpochs={0=10, 5=15}, \
             segmentSizeInBytes=4096, customMetadata=Optional[CustomMetadata{3 bytes}], state=COPY_SEGMENT_STARTED, \
             txnIdxEmpty=true}",
        ),
        (
            "010100076f7264657273000000000000000000000000000000010000000300000000000000000000000000000000020000000002000001\
             8bcfe56802000100",
            "RemoteLogSegmentMetadataUpdate{remoteLogSegmentId=RemoteLogSegmentId{topicIdPartition=\
             AAAAAAAAAAAAAAAAAAAAAQ:orders-3, id=AAAAAAAAAAAAAAAAAAAAAg}, customMetadata=Optional.empty, \
             state=COPY_SEGMENT_FINISHED, eventTimestampMs=1700000000002, brokerId=2}",
        ),
        (
            "010200076f7264657273000000000000000000000000000000010000000300000000030000018bcfe568030000",
            "RemotePartitionDeleteMetadata{topicPartition=AAAAAAAAAAAAAAAAAAAAAQ:orders-3, \
             state=DELETE_PARTITION_MARKED, eventTimestampMs=1700000000003, brokerId=3}",
        ),
    ] {
        assert_eq!(remote::shown(&hex(bytes)).as_deref(), Ok(expected));
    }
    assert!(remote::shown(&hex("010900")).unwrap_err().ends_with("Unknown metadata id 9"));
    assert!(remote::shown(&[]).is_err());
}

#[test]
fn what_is_no_log_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let failing = |name: &str, bytes: &[u8], part: &str| {
        fs::write(dir.path().join(name), bytes).unwrap();
        let printed = run(&format!("kafka-dump-log --files {} --print-data-log", path(name)));
        assert!(printed.contains(part) && printed.ends_with("-- exit 1\n"), "{printed}");
    };
    failing("name.log", b"", "name in the name is no offset");
    failing("00000000000000000000.log", &[0; 100], "there is no batch at position 0");
    failing("no-snapshot.checkpoint", b"", "the name is not that of a snapshot");
    let missing = run(&format!("kafka-dump-log --files {}", path("00000000000000000007.log")));
    assert!(missing.contains("No such file or directory"), "{missing}");
    // Any bytes will do: nothing may make it panic.
    let whole = fs::read("testdata/dump-log/records/00000000000000000000.log").unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(dir.path().join("00000000000000000000.log"), &bytes).unwrap();
        run(&format!("kafka-dump-log --files {} --offsets-decoder", path("00000000000000000000.log")));
    }
}
