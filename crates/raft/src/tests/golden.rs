//! Bytes that Apache Kafka 4.3.1 wrote.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset, Uuid};

use super::*;
use crate::record_batches;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// The bytes and the batch that they are, both ways.
fn check(golden: &str, batch: LeaderBatch) {
    let bytes = hex(golden);
    assert_eq!(Bytes::from(record_batches::encode(&batch).unwrap()), bytes);
    let parsed = record_batches::parse(bytes.clone());
    assert_eq!(parsed.len(), 1);
    assert_eq!(parsed[0].bytes, bytes);
    assert_eq!((parsed[0].base_offset, parsed[0].last_offset()), (batch.base_offset, batch.last_offset()));
    if let BatchRecords::Control(records) = batch.records {
        let found: Vec<ControlRecord> = parsed[0].control.iter().map(|(_, record)| record.clone()).collect();
        assert_eq!(found, records);
    }
}

impl ReceivedBatch {
    fn last_offset(&self) -> Offset {
        self.last_offset
    }
}

/// The first batch of `__cluster_metadata-0` with a static quorum of node 1.
#[test]
fn start_of_an_epoch_with_static_voters() {
    let change = LeaderChange {
        version: 0,
        leader_id: node_id(1),
        voters: vec![(node_id(1), Uuid::ZERO)],
        granting_voters: vec![(node_id(1), Uuid::ZERO)],
    };
    check(
        "0000000000000000 0000004f 00000001 02 4ee7da80 0020 00000000 000001a1fc83c9fd 000001a1fc83c9fd
         ffffffffffffffff ffff ffffffff 00000001 3a 00 00 00 08 00000002 26 0000 00000001 02 00000001 00
         02 00000001 00 00 00",
        LeaderBatch {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(1),
            append_timestamp: Timestamp(0x01a1_fc83_c9fd),
            records: BatchRecords::Control(vec![ControlRecord::LeaderChange(change)]),
        },
    );
}

fn standalone_voter() -> VoterSet {
    VoterSet::new([VoterNode {
        key: ReplicaKey::new(node_id(1), "CqW04Py_QN6BUUAS1YPPsQ".parse().unwrap()),
        listeners: Endpoints::one("CONTROLLER", HostPort::new("127.0.0.1", 20592)),
        supported_kraft_version: (0, 1),
    }])
}

/// The first batch of `__cluster_metadata-0` of a node formatted with `--standalone`.
#[test]
fn start_of_an_epoch_with_dynamic_voters() {
    let change = LeaderChange {
        version: 0,
        leader_id: node_id(1),
        voters: vec![(node_id(1), Uuid::ZERO)],
        granting_voters: vec![(node_id(1), Uuid::ZERO)],
    };
    check(
        "0000000000000000 000000a2 00000001 02 1a96c333 0020 00000002 000001a1fca81981 000001a1fca81981
         ffffffffffffffff ffff ffffffff 00000003 3a 00 00 00 08 00000002 26 0000 00000001 02 00000001 00 02
         00000001 00 00 00 1e 00 00 02 08 00000005 0a 0000 0001 00 00 82 01 00 00 04 08 00000006 6e 0000 02
         00000001 0aa5b4e0fcbf40de81514012d583cfb1 02 0b 434f4e54524f4c4c4552 0a 3132372e302e302e31 5070 00
         0000 0001 00 00 00 00",
        LeaderBatch {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(1),
            append_timestamp: Timestamp(0x01a1_fca8_1981),
            records: BatchRecords::Control(vec![
                ControlRecord::LeaderChange(change),
                ControlRecord::KRaftVersion(1),
                ControlRecord::Voters(standalone_voter()),
            ]),
        },
    );
}

/// The footer of the checkpoint that formatting with `--standalone` writes.
#[test]
fn end_of_a_snapshot() {
    check(
        "0000000000000003 0000003f 00000000 02 7fbe8ad5 0020 00000000 000001a1fca80c7b 000001a1fca80c7b
         ffffffffffffffff ffff ffffffff 00000001 1a 00 00 00 08 00000004 06 0000 00 00",
        LeaderBatch {
            base_offset: Offset(3),
            leader_epoch: LeaderEpoch(0),
            append_timestamp: Timestamp(0x01a1_fca8_0c7b),
            records: BatchRecords::Control(vec![ControlRecord::SnapshotFooter]),
        },
    );
}

/// A voter that was formatted with `--standalone` writes the same at its first start.
#[test]
fn a_standalone_voter_begins_as_kafkas_does() {
    let voters = standalone_voter();
    let mut settings = settings(1, &[]);
    settings.local.key = voters.iter().next().unwrap().key;
    settings.local.listeners = voters.endpoints(node_id(1));
    let control = [ControlRecord::KRaftVersion(1), ControlRecord::Voters(voters.clone())];
    let control = control.map(|record| (Offset(-1), record)).to_vec();
    let log = LogStart { control, ..LogStart::default() };
    let mut core = RaftCore::new(RaftStart { quorum: settings, election: None, log }, at(0));
    let actions = core.tick(at(0));
    let appended = actions.iter().find_map(|action| match action {
        Action::AppendAsLeader(batches) => Some(batches),
        _ => None,
    });
    let BatchRecords::Control(records) = &appended.unwrap()[0].records else { panic!() };
    assert_eq!(records[1..], [ControlRecord::KRaftVersion(1), ControlRecord::Voters(voters)]);
    let written =
        actions.iter().any(|action| matches!(action, Action::WriteQuorumState { kraft_version: 1, .. }));
    assert!(written);
}
