mod adoption;
mod crashes;
mod damage;
mod snapshots;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::LogContext;
use ottla_log::disk::{Disk, SimDisk};
use ottla_log::producer_state::ProducerStateConfig;
use ottla_raft::{
    Delivery, Endpoints, HostPort, ListenerId, LocalReplica, QuorumSettings, RaftConfig, ReplicaKey, VoterSet,
};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Timestamp, Uuid};

use super::*;

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_700_000_000_000 + ms as i64), mono: MonoMs(ms) }
}

fn metadata_dir() -> PathBuf {
    PathBuf::from("/data")
}

fn disk(seed: u64) -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::new(seed));
    disk.create_dir_all(&metadata_dir()).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn address(id: i32) -> HostPort {
    HostPort::new("localhost", (9000 + id) as u16)
}

/// Node `id` of a quorum with these static voters.
fn settings(id: i32, voters: &[i32]) -> QuorumSettings {
    let key = ReplicaKey::new(NodeId(id), Uuid([id as u8; 16]));
    QuorumSettings {
        config: RaftConfig { cluster_id: "cluster".to_owned(), ..RaftConfig::default() },
        local: LocalReplica {
            key,
            listeners: Endpoints::one("CONTROLLER", address(id)),
            supported_kraft_version: (0, 1),
        },
        static_voters: VoterSet::from_addresses(
            "CONTROLLER",
            voters.iter().map(|id| (NodeId(*id), address(*id))),
        ),
        bootstrap_servers: Vec::new(),
        seed: id as u64,
    }
}

fn open_on(disk: Arc<dyn Disk>, settings: QuorumSettings, now: Now) -> Result<Quorum, RaftDriverError> {
    let context = LogContext::new(disk, ProducerStateConfig::default());
    open_quorum(settings, context, &metadata_dir(), MetadataLogSettings::default(), now)
}

/// The single voter 1.
fn open(disk: &Arc<SimDisk>, now: Now) -> Quorum {
    open_on(Arc::clone(disk) as Arc<dyn Disk>, settings(1, &[1]), now).unwrap()
}

fn append(quorum: &mut Quorum, value: &str, now: Now) -> Offset {
    let epoch = quorum.core().epoch();
    quorum.append(epoch, vec![Bytes::copy_from_slice(value.as_bytes())], now).unwrap()
}

/// What a listener has replayed: the values of a snapshot, then those of the log.
#[derive(Debug, Default, PartialEq)]
struct Replayed {
    snapshots: usize,
    values: Vec<String>,
    next_offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

impl Replayed {
    fn everything(&mut self, quorum: &mut Quorum, listener: ListenerId) {
        let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
        while let Some(delivery) = quorum.next(listener).unwrap() {
            match delivery {
                Delivery::Snapshot(id) => {
                    self.snapshots += 1;
                    self.values.clear();
                    self.next_offset = id.offset;
                    let mut reader = quorum.log().open_snapshot(id).unwrap();
                    while let Some(batch) = reader.next_batch().unwrap() {
                        if let SnapshotBatch::Data(values) = batch {
                            self.values.extend(values.into_iter().map(text));
                        }
                    }
                }
                Delivery::Committed { from, next_offset, bytes } => {
                    for batch in committed_batches(from, &bytes).unwrap() {
                        assert_eq!(batch.base_offset, self.next_offset);
                        self.next_offset = batch.last_offset.next();
                        self.values.extend(batch.values.into_iter().map(text));
                    }
                    assert_eq!(self.next_offset, next_offset);
                }
                Delivery::LeaderChanged(leader) => {
                    self.leader_epoch = leader.leader_id.map(|_| leader.epoch);
                }
            }
        }
    }
}

fn replay(quorum: &mut Quorum) -> Replayed {
    let listener = quorum.register();
    let mut replayed = Replayed::default();
    replayed.everything(quorum, listener);
    replayed
}

/// A snapshot with these values, of everything that is committed.
fn take_snapshot(quorum: &mut Quorum, values: &[&str], now: Now) -> OffsetAndEpoch {
    let offset = quorum.core().high_watermark().unwrap();
    let id = OffsetAndEpoch { offset, epoch: quorum.core().log().last_epoch() };
    let mut writer = begin_snapshot(quorum, id, now.wall, now).unwrap().unwrap();
    for value in values {
        writer.append(Bytes::copy_from_slice(value.as_bytes()), now).unwrap();
    }
    let finished = writer.finish(now).unwrap();
    complete_snapshot(quorum, finished, now).unwrap();
    id
}

/// A thread of the server owns the replica; snapshots are written by another.
#[test]
fn replicas_and_snapshots_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Quorum>();
    is_send::<SnapshotWriter>();
    is_send::<SnapshotReader>();
}
