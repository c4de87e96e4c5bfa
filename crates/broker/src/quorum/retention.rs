//! Which snapshots may go (`metadata.max.retention.bytes`, `metadata.max.retention.ms`). The log before the oldest that is
//! left goes with them. The latest snapshot always stays.

use std::collections::BTreeMap;

use ottla_raft::OffsetAndEpoch;
use ottla_types::Timestamp;

use super::snapshots::SnapshotInfo;

/// The oldest snapshot that is to be kept, if any before it is to go. Negative settings mean no bound.
pub(super) fn oldest_to_keep(
    snapshots: &BTreeMap<OffsetAndEpoch, SnapshotInfo>,
    log_bytes: u64,
    retention_bytes: i64,
    retention_ms: i64,
    now: Timestamp,
) -> Option<OffsetAndEpoch> {
    let mut total = log_bytes + snapshots.values().map(|info| info.size).sum::<u64>();
    let too_large = |total: u64| u64::try_from(retention_bytes).is_ok_and(|max| total > max);
    let too_old = |info: &SnapshotInfo| {
        let age = |timestamp: Timestamp| now.0.saturating_sub(timestamp.0);
        retention_ms >= 0 && info.last_contained_log_timestamp.is_some_and(|t| age(t) > retention_ms)
    };
    let mut keep = None;
    for (info, next) in snapshots.values().zip(snapshots.keys().skip(1)) {
        if !too_large(total) && !too_old(info) {
            break;
        }
        total -= info.size;
        keep = Some(*next);
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retention_bytes: i64, retention_ms: i64, expected: Option<i64>) {
        let snapshots = (1..=4).map(|i| {
            let info = SnapshotInfo { size: 10, last_contained_log_timestamp: Some(Timestamp(i * 100)) };
            (OffsetAndEpoch::new(i, 1), info)
        });
        let keep = oldest_to_keep(&snapshots.collect(), 60, retention_bytes, retention_ms, Timestamp(500));
        assert_eq!(keep.map(|id| id.offset.value()), expected);
    }

    #[test]
    fn size_and_age() {
        check(-1, -1, None);
        check(100, 400, None);
        check(99, -1, Some(2));
        check(80, -1, Some(3));
        check(0, -1, Some(4));
        check(-1, 399, Some(2));
        check(-1, 0, Some(4));
        check(99, 250, Some(3));
    }
}
