//! When a snapshot of the committed state is due.

use ottla_types::MonoMs;

/// Counts what was committed since the last snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPolicy {
    max_bytes: u64,
    max_interval_ms: i64,
    bytes: u64,
    since: MonoMs,
}

/// Why a snapshot is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotReason {
    Bytes,
    Interval,
}

impl SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots` and `metadata.log.max.snapshot.interval.ms`, of which 0 means
    /// that time alone is no reason.
    pub fn new(max_bytes: u64, max_interval_ms: i64, now: MonoMs) -> SnapshotPolicy {
        SnapshotPolicy { max_bytes, max_interval_ms, bytes: 0, since: now }
    }

    /// Batches of this size were committed.
    pub fn committed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A snapshot was made or loaded.
    pub fn taken(&mut self, now: MonoMs) {
        self.bytes = 0;
        self.since = now;
    }

    /// Nothing is due as long as nothing was committed.
    pub fn due(&self, now: MonoMs) -> Option<SnapshotReason> {
        if self.bytes == 0 {
            None
        } else if self.bytes >= self.max_bytes {
            Some(SnapshotReason::Bytes)
        } else if self.max_interval_ms > 0 && self.since.plus_ms(self.max_interval_ms) <= now {
            Some(SnapshotReason::Interval)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_or_time_make_it_due() {
        let mut policy = SnapshotPolicy::new(100, 1000, MonoMs(0));
        assert_eq!(policy.due(MonoMs(5000)), None, "nothing new");
        policy.committed(99);
        assert_eq!(policy.due(MonoMs(999)), None);
        assert_eq!(policy.due(MonoMs(1000)), Some(SnapshotReason::Interval));
        policy.committed(1);
        assert_eq!(policy.due(MonoMs(1)), Some(SnapshotReason::Bytes));
        policy.taken(MonoMs(1000));
        policy.committed(1);
        assert_eq!(policy.due(MonoMs(1999)), None);
        let mut never = SnapshotPolicy::new(100, 0, MonoMs(0));
        never.committed(1);
        assert_eq!(never.due(MonoMs(u64::MAX)), None);
    }
}
