use std::sync::Arc;

use ottla_types::Offset;
use rpds::RedBlackTreeMapSync;

use super::batches::{StateBatch, combine};
use super::key::SharePartitionKey;
use super::record::{ShareStateRecord, Snapshot};

/// What a shard keeps in the log. Changed by [`ShareState::replay`] alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShareState {
    pub(crate) partitions: RedBlackTreeMapSync<SharePartitionKey, Arc<StoredPartition>>,
    /// Of the last record that made all earlier ones of its share partition needless.
    last_full_record: Option<Offset>,
}

/// A share partition's state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredPartition {
    pub(crate) snapshot_epoch: i32,
    pub(crate) state_epoch: i32,
    pub(crate) leader_epoch: i32,
    /// The highest leader epoch that was ever written: older leaders are fenced, also after a new initialization.
    pub(crate) fencing_leader_epoch: i32,
    pub(crate) fencing_state_epoch: i32,
    pub(crate) start_offset: i64,
    pub(crate) delivery_complete_count: i32,
    /// In the order of offsets, without overlaps.
    pub(crate) batches: Arc<[StateBatch]>,
    /// When the state came to be, and when it was last written as a whole, in milliseconds since 1970. They differ
    /// after a snapshot that was written only because the last one had become old.
    pub(crate) create_timestamp: i64,
    pub(crate) write_timestamp: i64,
    /// Since the snapshot.
    pub(crate) updates: u32,
    pub(crate) snapshot_offset: Offset,
}

impl ShareState {
    pub(crate) fn replay(&mut self, offset: Offset, record: ShareStateRecord) {
        match record {
            ShareStateRecord::Snapshot(key, snapshot) => {
                let before = self.partitions.get(&key);
                let stored = StoredPartition {
                    snapshot_epoch: snapshot.snapshot_epoch,
                    state_epoch: snapshot.state_epoch,
                    leader_epoch: snapshot.leader_epoch,
                    fencing_leader_epoch: before
                        .map_or(i32::MIN, |before| before.fencing_leader_epoch)
                        .max(snapshot.leader_epoch),
                    fencing_state_epoch: before
                        .map_or(i32::MIN, |before| before.fencing_state_epoch)
                        .max(snapshot.state_epoch),
                    start_offset: snapshot.start_offset,
                    delivery_complete_count: snapshot.delivery_complete_count,
                    batches: snapshot.batches,
                    create_timestamp: snapshot.create_timestamp,
                    write_timestamp: snapshot.write_timestamp,
                    updates: 0,
                    snapshot_offset: offset,
                };
                self.partitions.insert_mut(key, Arc::new(stored));
                self.last_full_record = Some(offset);
            }
            ShareStateRecord::Update(key, update) => {
                // Without its snapshot, which is never pruned before it, an update says too little.
                let Some(before) = self.partitions.get(&key) else { return };
                let start_offset =
                    if update.start_offset == -1 { before.start_offset } else { update.start_offset };
                let stored = StoredPartition {
                    leader_epoch: match update.leader_epoch {
                        -1 => before.leader_epoch,
                        epoch => epoch,
                    },
                    fencing_leader_epoch: before.fencing_leader_epoch.max(update.leader_epoch),
                    start_offset,
                    delivery_complete_count: update.delivery_complete_count,
                    batches: combine(&before.batches, &update.batches, start_offset).into(),
                    updates: before.updates.saturating_add(1),
                    ..(**before).clone()
                };
                self.partitions.insert_mut(key, Arc::new(stored));
            }
            ShareStateRecord::Tombstone(key) => {
                self.partitions.remove_mut(&key);
                self.last_full_record = Some(offset);
            }
        }
    }

    /// Every record before this one is needless: each share partition has a later snapshot, or is gone.
    pub(crate) fn redundant_before(&self) -> Option<Offset> {
        self.partitions.values().map(|stored| stored.snapshot_offset).min().or(self.last_full_record)
    }
}

impl StoredPartition {
    pub(crate) fn as_snapshot(&self) -> Snapshot {
        Snapshot {
            snapshot_epoch: self.snapshot_epoch,
            state_epoch: self.state_epoch,
            leader_epoch: self.leader_epoch,
            start_offset: self.start_offset,
            delivery_complete_count: self.delivery_complete_count,
            create_timestamp: self.create_timestamp,
            write_timestamp: self.write_timestamp,
            batches: Arc::clone(&self.batches),
        }
    }
}
