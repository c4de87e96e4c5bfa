use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset, TopicPartition};

use super::*;
use crate::disk::{Disk, RealDisk};
use crate::partition_dir::PartitionDir;

fn offsets(dir: &tempfile::TempDir, kind: OffsetCheckpointKind) -> OffsetCheckpoint {
    OffsetCheckpoint::new(Arc::new(RealDisk::new(4)), dir.path(), kind)
}

#[test]
fn offsets_are_written_as_kafka_does() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = offsets(&dir, OffsetCheckpointKind::RecoveryPoint);
    assert_eq!(checkpoint.read().unwrap(), []);
    let entries =
        [(TopicPartition::new("a-b", 0), Offset(7)), (TopicPartition::new("c", 12), Offset(1 << 40))];
    checkpoint.write(entries.iter().map(|(partition, offset)| (partition, *offset))).unwrap();
    let text = std::fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n2\na-b 0 7\nc 12 1099511627776\n");
    assert_eq!(checkpoint.read().unwrap(), entries);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn corrupt_contents_name_file_line_and_remedy() {
    let check = |content: &str, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = offsets(&dir, OffsetCheckpointKind::Cleaner);
        std::fs::write(checkpoint.path(), content).unwrap();
        let error = checkpoint.read().unwrap_err();
        assert!(error.is_corrupt());
        let text = error.to_string();
        let text =
            text.strip_prefix(&*dir.path().join("cleaner-offset-checkpoint").to_string_lossy()).unwrap();
        assert_eq!(
            text,
            format!(", {expected}; delete the file: compaction then starts at the beginning of each log")
        );
    };
    check("1\n0\n", "line 1: version 1 is unknown, 0 was expected");
    check("x\n0\n", "line 1: 'x' is not a version number");
    check("0\n-\n", "line 2: '-' is not a number of entries");
    check("0\n2\nt 0 1\n", "line 2: 2 entries are announced, 1 are there");
    check("0\n99999999999\nt 0 1\n", "line 2: 99999999999 entries are announced, 1 are there");
    check("0\n1\nt 0 1\nt 0\n", "line 4: 't 0' is not an entry");
    check("0\n1\nt x 1\n", "line 3: 't x 1' is not an entry");
}

#[test]
fn empty_files_have_no_entries() {
    for content in ["", "0\n", "0\n0\n"] {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = offsets(&dir, OffsetCheckpointKind::Replication);
        std::fs::write(checkpoint.path(), content).unwrap();
        assert_eq!(checkpoint.read().unwrap(), []);
    }
}

#[test]
fn leader_epochs_are_written_as_kafka_does() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(4));
    let checkpoint = LeaderEpochCheckpoint::new(PartitionDir::new(disk, dir.path()));
    let entries = [(0, 0), (3, 17)]
        .map(|(epoch, start)| EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start) });
    checkpoint.write(&entries).unwrap();
    let text = std::fs::read_to_string(dir.path().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n2\n0 0\n3 17\n");
    assert_eq!(checkpoint.read().unwrap(), entries);
}
