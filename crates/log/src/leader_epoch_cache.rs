//! Which leader epoch starts where in a log (KIP-101): how replicas find the point where they diverge.
//!
//! What always holds: epochs and their start offsets both grow from entry to entry. An entry that is added is on disk
//! before the log's recovery point passes its start: what lies behind that point is read after a crash, and its epochs
//! are found in it. So taking up a leadership costs no wait for the disk, and an epoch that nothing was written in is
//! never written either. An entry that is removed may come back from disk after a crash, and is then removed again when
//! the log is loaded and its end and start are known.

use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset};
use parking_lot::{Mutex, RwLock};

use crate::checkpoint::{CheckpointError, EpochEntry, LeaderEpochCheckpoint};
use crate::partition_dir::PartitionDir;

/// The answer to "where does this epoch end?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch up to the one asked for; none (-1) if it is unknown.
    pub epoch: LeaderEpoch,
    /// The offset after its last record; unknown (-1) if the epoch is.
    pub end_offset: Offset,
}

impl EpochEndOffset {
    pub const UNKNOWN: EpochEndOffset =
        EpochEndOffset { epoch: LeaderEpoch::NONE, end_offset: Offset::UNKNOWN };
}

/// The leader epochs of one log, in memory and in `leader-epoch-checkpoint`.
#[derive(Debug)]
pub struct LeaderEpochCache {
    checkpoint: LeaderEpochCheckpoint,
    epochs: RwLock<Vec<EpochEntry>>,
    /// What the file says. Locked while it is written, so that a later state is never replaced by an earlier one.
    on_disk: Mutex<Vec<EpochEntry>>,
}

impl LeaderEpochCache {
    /// Reads the checkpoint, if there is one.
    pub fn open(dir: Arc<PartitionDir>) -> Result<LeaderEpochCache, CheckpointError> {
        let checkpoint = LeaderEpochCheckpoint::new(dir);
        let mut epochs = Vec::new();
        for entry in checkpoint.read()? {
            assign(&mut epochs, entry);
        }
        Ok(LeaderEpochCache { checkpoint, on_disk: Mutex::new(epochs.clone()), epochs: RwLock::new(epochs) })
    }

    /// An epoch starts at an offset. No-op if it is the latest one already; entries that contradict are removed, and so
    /// is a negative epoch or offset ignored. In memory alone: whoever makes the log durable up to there flushes this too.
    pub fn assign(&self, epoch: LeaderEpoch, start_offset: Offset) {
        let entry = EpochEntry { epoch, start_offset };
        // Every append asks: nothing is locked exclusively for the epoch that goes on.
        if is_news(&self.epochs.read(), entry) {
            assign(&mut self.epochs.write(), entry);
        }
    }

    /// As [`LeaderEpochCache::assign`] for each.
    pub fn assign_all(&self, entries: &[EpochEntry]) {
        let mut epochs = self.epochs.write();
        for &entry in entries {
            assign(&mut epochs, entry);
        }
    }

    pub fn latest(&self) -> Option<EpochEntry> {
        self.epochs.read().last().copied()
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.latest().map(|entry| entry.epoch)
    }

    pub fn earliest(&self) -> Option<EpochEntry> {
        self.epochs.read().first().copied()
    }

    /// The largest entry below an epoch.
    pub fn previous(&self, epoch: LeaderEpoch) -> Option<EpochEntry> {
        self.epochs.read().iter().rev().find(|entry| entry.epoch < epoch).copied()
    }

    /// The smallest entry above an epoch.
    pub fn next(&self, epoch: LeaderEpoch) -> Option<EpochEntry> {
        self.epochs.read().iter().find(|entry| entry.epoch > epoch).copied()
    }

    pub fn get(&self, epoch: LeaderEpoch) -> Option<EpochEntry> {
        self.epochs.read().iter().find(|entry| entry.epoch == epoch).copied()
    }

    /// Where an epoch ended: the start of the next one, or the log's end for the latest. An epoch older than all that
    /// are known ends where the first known one starts; one newer than all is unknown.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> EpochEndOffset {
        if epoch == LeaderEpoch::NONE {
            return EpochEndOffset::UNKNOWN;
        }
        let epochs = self.epochs.read();
        if epochs.last().is_some_and(|latest| latest.epoch == epoch) {
            return EpochEndOffset { epoch, end_offset: log_end_offset };
        }
        let above = epochs.partition_point(|entry| entry.epoch <= epoch);
        let Some(next) = epochs.get(above) else { return EpochEndOffset::UNKNOWN };
        let floor = above.checked_sub(1).and_then(|below| epochs.get(below));
        EpochEndOffset { epoch: floor.map_or(epoch, |entry| entry.epoch), end_offset: next.start_offset }
    }

    /// The epoch that an offset was or would be written in.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let epochs = self.epochs.read();
        let after = epochs.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).and_then(|at| epochs.get(at)).map(|entry| entry.epoch)
    }

    /// Removes the epochs that start at `end_offset` or later. Says whether there were any: the caller then flushes,
    /// at a time when nothing waits for it.
    #[must_use = "removed epochs come back after a restart unless they are flushed"]
    pub fn truncate_from_end(&self, end_offset: Offset) -> bool {
        let mut epochs = self.epochs.write();
        let keep = epochs.partition_point(|entry| entry.start_offset < end_offset);
        let changed = end_offset >= Offset::ZERO && keep < epochs.len();
        if changed {
            epochs.truncate(keep);
        }
        changed
    }

    /// Removes the epochs that end at or before `start_offset`; the one that holds it starts there from now on. Says
    /// whether anything changed: the caller then flushes, at a time when nothing waits for it.
    #[must_use = "removed epochs come back after a restart unless they are flushed"]
    pub fn truncate_from_start(&self, start_offset: Offset) -> bool {
        let mut epochs = self.epochs.write();
        let up_to = epochs.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(holds_it) = up_to.checked_sub(1) else { return false };
        epochs.drain(..holds_it);
        let Some(first) = epochs.first_mut() else { return false };
        let changed = holds_it > 0 || first.start_offset != start_offset;
        first.start_offset = start_offset;
        changed
    }

    /// The epochs of the offsets from `start` up to, not including, `end`, the first one starting at `start`.
    pub fn entries_in(&self, start: Offset, end: Offset) -> Vec<EpochEntry> {
        let epochs = self.epochs.read();
        let from = epochs.partition_point(|entry| entry.start_offset <= start).saturating_sub(1);
        let mut entries: Vec<EpochEntry> =
            epochs.iter().skip(from).take_while(|entry| entry.start_offset < end).copied().collect();
        if let Some(first) = entries.first_mut() {
            first.start_offset = first.start_offset.max(start);
        }
        entries
    }

    pub fn entries(&self) -> Vec<EpochEntry> {
        self.epochs.read().clone()
    }

    pub fn is_empty(&self) -> bool {
        self.epochs.read().is_empty()
    }

    /// Removes all, durably.
    pub fn clear(&self) -> Result<(), CheckpointError> {
        self.epochs.write().clear();
        self.flush()
    }

    /// Makes the entries durable as they are now, unless the file says so already.
    pub fn flush(&self) -> Result<(), CheckpointError> {
        let mut on_disk = self.on_disk.lock();
        let entries = self.entries();
        if entries != *on_disk {
            self.checkpoint.write(&entries)?;
            *on_disk = entries;
        }
        Ok(())
    }
}

fn is_news(epochs: &[EpochEntry], entry: EpochEntry) -> bool {
    let is_valid = entry.epoch >= LeaderEpoch(0) && entry.start_offset >= Offset::ZERO;
    is_valid
        && epochs
            .last()
            .is_none_or(|latest| entry.epoch != latest.epoch || entry.start_offset < latest.start_offset)
}

/// Adds an entry after removing those that it contradicts; says whether it did.
fn assign(epochs: &mut Vec<EpochEntry>, entry: EpochEntry) -> bool {
    if !is_news(epochs, entry) {
        return false;
    }
    while epochs
        .last()
        .is_some_and(|latest| latest.epoch >= entry.epoch || latest.start_offset >= entry.start_offset)
    {
        epochs.pop();
    }
    epochs.push(entry);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn check_entries(cache: &LeaderEpochCache, expected: &[(i32, i64)]) {
        let entries: Vec<_> =
            cache.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect();
        assert_eq!(entries, expected);
    }

    fn cache(entries: &[(i32, i64)]) -> (tempfile::TempDir, LeaderEpochCache) {
        let root = tempfile::tempdir().unwrap();
        let cache = reopened(&root);
        for &(epoch, start) in entries {
            cache.assign(LeaderEpoch(epoch), Offset(start));
        }
        cache.flush().unwrap();
        (root, cache)
    }

    fn reopened(root: &tempfile::TempDir) -> LeaderEpochCache {
        LeaderEpochCache::open(PartitionDir::new(Arc::new(RealDisk::new(4)), root.path())).unwrap()
    }

    #[test]
    fn assignments_stay_monotonic() {
        let check = |assigned: &[(i32, i64)], expected: &[(i32, i64)]| {
            let (root, cache) = cache(assigned);
            check_entries(&cache, expected);
            check_entries(&reopened(&root), expected);
        };
        check(&[(0, 0), (1, 10), (3, 20)], &[(0, 0), (1, 10), (3, 20)]);
        check(&[(0, 0), (0, 5)], &[(0, 0)]);
        check(&[(0, 5), (0, 3)], &[(0, 3)]);
        // An epoch without records is replaced by the next one at the same offset.
        check(&[(0, 0), (1, 10), (2, 10)], &[(0, 0), (2, 10)]);
        check(&[(0, 0), (5, 10), (6, 20), (4, 15)], &[(0, 0), (4, 15)]);
        check(&[(0, 0), (5, 10), (6, 20), (7, 8)], &[(0, 0), (7, 8)]);
        check(&[(-1, 0), (1, -1)], &[]);
    }

    #[test]
    fn the_file_is_written_by_a_flush_that_has_news() {
        let (root, cache) = cache(&[(2, 5)]);
        cache.assign(LeaderEpoch(3), Offset(9));
        check_entries(&reopened(&root), &[(2, 5)]);
        cache.flush().unwrap();
        check_entries(&reopened(&root), &[(2, 5), (3, 9)]);
        std::fs::remove_file(root.path().join("leader-epoch-checkpoint")).unwrap();
        cache.flush().unwrap();
        check_entries(&reopened(&root), &[]);
    }

    #[test]
    fn end_offsets() {
        let (_root, cache) = cache(&[(2, 5), (4, 10), (7, 20)]);
        let check = |epoch, expected: (i32, i64)| {
            let found = cache.end_offset_for(LeaderEpoch(epoch), Offset(33));
            assert_eq!((found.epoch.0, found.end_offset.0), expected, "epoch {epoch}");
        };
        check(-1, (-1, -1));
        check(0, (0, 5));
        check(1, (1, 5));
        check(2, (2, 10));
        check(3, (2, 10));
        check(4, (4, 20));
        check(6, (4, 20));
        check(7, (7, 33));
        check(8, (-1, -1));
    }

    #[test]
    fn epochs_of_offsets_and_neighbours() {
        let (_root, cache) = cache(&[(2, 5), (4, 10), (7, 20)]);
        let epochs: Vec<_> = [4, 5, 9, 10, 19, 20, 99]
            .map(|offset| cache.epoch_for_offset(Offset(offset)).map(|e| e.0))
            .into();
        assert_eq!(epochs, [None, Some(2), Some(2), Some(4), Some(4), Some(7), Some(7)]);
        assert_eq!(cache.previous(LeaderEpoch(7)).unwrap().epoch.0, 4);
        assert_eq!(cache.previous(LeaderEpoch(2)), None);
        assert_eq!(cache.next(LeaderEpoch(3)).unwrap().epoch.0, 4);
        assert_eq!(cache.next(LeaderEpoch(7)), None);
        let range: Vec<_> =
            cache.entries_in(Offset(7), Offset(20)).iter().map(|e| (e.epoch.0, e.start_offset.0)).collect();
        assert_eq!(range, [(2, 7), (4, 10)]);
    }

    #[test]
    fn truncation_at_the_end() {
        let check = |offset, changed, expected: &[(i32, i64)]| {
            let (_root, cache) = cache(&[(2, 5), (4, 10), (7, 20)]);
            assert_eq!(cache.truncate_from_end(Offset(offset)), changed);
            check_entries(&cache, expected);
        };
        check(-1, false, &[(2, 5), (4, 10), (7, 20)]);
        check(21, false, &[(2, 5), (4, 10), (7, 20)]);
        check(20, true, &[(2, 5), (4, 10)]);
        check(10, true, &[(2, 5)]);
        check(0, true, &[]);
    }

    #[test]
    fn truncation_at_the_start() {
        let check = |offset, changed, expected: &[(i32, i64)]| {
            let (root, cache) = cache(&[(2, 5), (4, 10), (7, 20)]);
            assert_eq!(cache.truncate_from_start(Offset(offset)), changed, "{offset}");
            check_entries(&cache, expected);
            check_entries(&reopened(&root), &[(2, 5), (4, 10), (7, 20)]);
            cache.flush().unwrap();
            check_entries(&reopened(&root), expected);
        };
        check(4, false, &[(2, 5), (4, 10), (7, 20)]);
        check(5, false, &[(2, 5), (4, 10), (7, 20)]);
        check(6, true, &[(2, 6), (4, 10), (7, 20)]);
        check(10, true, &[(4, 10), (7, 20)]);
        check(99, true, &[(7, 99)]);
    }

    #[test]
    fn clearing_is_durable() {
        let (root, cache) = cache(&[(2, 5)]);
        cache.clear().unwrap();
        assert!(cache.is_empty() && reopened(&root).is_empty());
    }
}
