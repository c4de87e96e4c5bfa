//! Directories that Apache Kafka 4.3.1 wrote.

use std::io::IoSlice;

use ottla_log::disk::Open;
use ottla_raft::RoleName;
use ottla_wire::records::MetadataRecord;

use super::*;

/// Copies the fixture to where a node would have it.
fn standalone() -> Arc<dyn Disk> {
    let disk = disk(1);
    let partition_dir = metadata_dir().join(PARTITION_DIR);
    disk.create_dir_all(&partition_dir).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/quorum/standalone");
    for entry in std::fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let dir = if name == BOOTSTRAP_CHECKPOINT { metadata_dir() } else { partition_dir.clone() };
        let file = disk.open(&dir.join(&name), Open::Create).unwrap();
        file.write_all_at(&[IoSlice::new(&std::fs::read(entry.path()).unwrap())], 0).unwrap();
    }
    disk
}

fn standalone_settings() -> QuorumSettings {
    let mut settings = settings(1, &[]);
    settings.local.key = ReplicaKey::new(NodeId(1), "CqW04Py_QN6BUUAS1YPPsQ".parse().unwrap());
    settings.local.listeners = Endpoints::one("CONTROLLER", HostPort::new("127.0.0.1", 20592));
    settings
}

#[test]
fn a_quorum_goes_on_where_kafka_stopped() {
    let mut quorum = open_on(standalone(), standalone_settings(), at(0)).unwrap();
    assert_eq!((quorum.core().role(), quorum.core().epoch()), (RoleName::Leader, LeaderEpoch(2)));
    // Kafka's 105 records and the first of the new epoch.
    assert_eq!(quorum.core().high_watermark(), Some(Offset(106)));
    assert_eq!(quorum.core().log().latest_snapshot(), Some(OffsetAndEpoch::new(28, 1)));
    assert_eq!(quorum.core().voters().latest().len(), 1);
    assert_eq!(quorum.core().voters().latest_kraft_version(), 1);

    let listener = quorum.register();
    let mut names = Vec::new();
    let mut name = |value: Bytes| names.push(MetadataRecord::decode(value).unwrap().0.name());
    while let Some(delivery) = quorum.next(listener).unwrap() {
        match delivery {
            Delivery::Snapshot(id) => {
                let mut reader = quorum.log().open_snapshot(id).unwrap();
                while let Some(batch) = reader.next_batch().unwrap() {
                    if let SnapshotBatch::Data(values) = batch {
                        values.into_iter().for_each(&mut name);
                    }
                }
            }
            Delivery::Committed { from, bytes, .. } => {
                let batches = committed_batches(from, &bytes).unwrap();
                batches.into_iter().flat_map(|batch| batch.values).for_each(&mut name);
            }
            Delivery::LeaderChanged(leader) => assert_eq!(leader.epoch, LeaderEpoch(2)),
        }
    }
    let count = |wanted: &str| names.iter().filter(|name| **name == wanted).count();
    assert_eq!(count("FeatureLevelRecord"), 6);
    assert_eq!(count("RegisterBrokerRecord"), 1);
    assert_eq!(count("RegisterControllerRecord"), 1);
}

#[test]
fn the_bootstrap_checkpoint_holds_the_features() {
    let values = read_bootstrap(&*standalone(), &metadata_dir()).unwrap().unwrap();
    assert_eq!(values.len(), 6);
}

#[test]
fn what_kafka_wrote_is_written_the_same() {
    let disk = standalone();
    let id = OffsetAndEpoch::new(28, 1);
    let path = metadata_dir().join(PARTITION_DIR).join(snapshot_name(id));
    let read = |path: &Path| {
        let file = disk.open(path, Open::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let original = read(&path);
    // The same records, at the times that Kafka's own batches have.
    let time = |ms: i64| Now { wall: Timestamp(ms), mono: MonoMs(0) };
    let mut reader = SnapshotReader::new(disk.open(&path, Open::Read).unwrap()).unwrap();
    let mut voters = None;
    let mut values = Values::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        match batch {
            SnapshotBatch::Data(batch) => values.extend(batch),
            SnapshotBatch::Control(records) => {
                voters = voters.or(records.into_iter().find_map(|record| match record {
                    ottla_raft::ControlRecord::Voters(voters) => Some(voters),
                    _ => None,
                }));
            }
        }
    }
    let header = snapshot_writer::Header {
        last_contained_log_timestamp: Timestamp(1_795_240_244_110),
        kraft_version: 1,
        voters: voters.as_ref(),
    };
    let place = Place { disk: Arc::clone(&disk), dir: metadata_dir() };
    let mut writer = SnapshotWriter::begin(place, id, &header, time(1_795_240_244_144)).unwrap();
    for value in values {
        writer.append(value, time(1_795_240_244_153)).unwrap();
    }
    writer.write_pending(time(1_795_240_244_153)).unwrap();
    writer.finish(time(1_795_240_244_154)).unwrap();
    assert!(read(&metadata_dir().join(snapshot_name(id))) == original);
}
