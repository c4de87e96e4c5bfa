//! Small files with any content: read, or refused with a reason.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use ottla_testkit::cases;
use ottla_types::{Offset, TopicPartition, Uuid};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::checkpoint::{LeaderEpochCheckpoint, OffsetCheckpoint, OffsetCheckpointKind};
use crate::disk::{Disk, Open, SimDisk};
use crate::meta_properties::MetaProperties;
use crate::names::{self, PartitionDirName};
use crate::partition_dir::PartitionDir;
use crate::{clean_shutdown, partition_metadata, producer_snapshot};

/// What each of these files holds in earnest.
const SOUND: &[&str] = &[
    "0\n2\nt 0 7\nt-2 12 1099511627776\n",
    "0\n2\n0 0\n3 17\n",
    "#comment\nversion=1\nnode.id=1\ncluster.id=abc\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n",
    "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
    "{\"version\":0,\"brokerEpoch\":17}",
];

fn content() -> impl Strategy<Value = Vec<u8>> {
    let sound = (0..SOUND.len()).prop_map(|n| SOUND[n].as_bytes().to_vec());
    let piece = prop_oneof![vec(any::<u8>(), 0..6), "[0-9 \n:=\\\\u-]{0,12}".prop_map(String::into_bytes)];
    let damaged = (sound, vec((any::<Index>(), 0..6usize, piece), 0..4)).prop_map(|(mut bytes, changes)| {
        for (at, removed, put) in changes {
            let at = if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, put);
        }
        bytes
    });
    prop_oneof![4 => damaged, 1 => vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn any_content_is_read_or_refused(content in content()) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let root = Path::new("/data");
        disk.create_dir_all(root).unwrap();
        let write = |name: &str| {
            let file = disk.open(&root.join(name), Open::Truncate).unwrap();
            file.write_all_at(&[IoSlice::new(&content)], 0).unwrap();
        };
        let kinds = [
            (names::RECOVERY_POINT_CHECKPOINT, OffsetCheckpointKind::RecoveryPoint),
            (names::REPLICATION_OFFSET_CHECKPOINT, OffsetCheckpointKind::Replication),
        ];
        for (name, kind) in kinds {
            write(name);
            let checkpoint = OffsetCheckpoint::new(Arc::clone(&disk), root, kind);
            if let Ok(entries) = checkpoint.read() {
                checkpoint.write(entries.iter().map(|(partition, offset)| (partition, *offset))).unwrap();
                prop_assert_eq!(checkpoint.read().unwrap(), entries);
            }
        }
        write(names::LEADER_EPOCH_CHECKPOINT);
        write(names::PARTITION_METADATA);
        write(names::META_PROPERTIES);
        write(names::CLEAN_SHUTDOWN);
        let dir = PartitionDir::new(Arc::clone(&disk), root);
        let epochs = LeaderEpochCheckpoint::new(Arc::clone(&dir));
        if let Ok(entries) = epochs.read() {
            epochs.write(&entries).unwrap();
            prop_assert_eq!(epochs.read().unwrap(), entries);
        }
        if let Ok(Some(id)) = partition_metadata::read(&dir) {
            partition_metadata::write(&dir, id).unwrap();
            prop_assert_eq!(partition_metadata::read(&dir).unwrap(), Some(id));
        }
        if let Ok(Some(properties)) = MetaProperties::read(&*disk, root) {
            properties.write(&*disk, root).unwrap();
            prop_assert_eq!(MetaProperties::read(&*disk, root).unwrap(), Some(properties));
        }
        let _ = clean_shutdown::read(&*disk, root).unwrap();
    }

    #[test]
    fn any_producer_snapshot_is_read_or_refused(bytes in vec(any::<u8>(), 0..200), entries in 0..4i32) {
        let _ = producer_snapshot::decode(&bytes);
        // With a checksum that is right, so that more is looked at.
        let body = [&entries.to_be_bytes()[..], &bytes].concat();
        let content = [&1i16.to_be_bytes()[..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat();
        if let Ok(found) = producer_snapshot::decode(&content) {
            prop_assert_eq!(producer_snapshot::encode(&found), content);
        }
    }

    #[test]
    fn any_name_of_a_directory_is_known_or_refused(name in "[a-z.]{0,4}[-.]?[0-9]{0,12}[-.]?([0-9a-f]{32})?-?(delete|future|stray)?") {
        if let Ok(parsed) = PartitionDirName::parse(&name) {
            prop_assert!(parsed.partition.partition >= 0, "{name}: {parsed:?}");
        }
        let unique = Uuid([7; 16]);
        let partition = TopicPartition::new("a.b-c_", 3);
        let marked = names::marked_dir_name(&partition, names::DirState::Delete, unique);
        prop_assert_eq!(PartitionDirName::parse(&marked).unwrap().partition, partition);
        let _ = Offset::ZERO;
    }
}
