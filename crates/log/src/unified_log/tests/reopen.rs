use std::sync::Arc;

use ottla_record::{AppendOrigin, BatchOptions};
use ottla_types::{LeaderEpoch, Offset};

use super::flushing::log_on_sim;
use crate::disk::sim::{Call, Loss};
use crate::test_log::{START, TestLog, batch, small_config};
use crate::{AppendError, LeaderAppend, StorageError};

#[test]
fn a_log_is_the_same_after_it_was_closed_or_not() {
    for clean in [true, false] {
        let mut log = TestLog::new(small_config());
        for n in 0..50 {
            log.append(&[&format!("value-{n}")]);
        }
        let (all, segments) = (log.all(), log.base_offsets());
        for round in 0..3 {
            log.reopen(clean);
            assert_eq!((log.all(), log.base_offsets()), (all.clone(), segments.clone()), "{clean} {round}");
            assert_eq!(log.log.log_end_offset(), Offset(50));
        }
        log.append(&["more"]);
        assert_eq!(log.values().last().map(String::as_str), Some("more"));
        assert!(log.file_names().iter().all(|name| !name.ends_with(".deleted")), "{:?}", log.file_names());
    }
}

#[test]
fn what_is_appended_while_a_log_closes_is_durable_with_the_rest() {
    // Wherever in the flush that appends do not wait for.
    for call in [Call::Sync, Call::SyncDir] {
        let (disk, mut log) = log_on_sim();
        log.append(&["before"]);
        let (appending, now) = (Arc::clone(&log.log), log.now);
        let append = move |value: &str| {
            let record = batch(&[value], START, BatchOptions::default());
            let append = LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client);
            appending.append_as_leader(&record, &append, now)
        };
        let meanwhile = append.clone();
        disk.before_next(call, move || assert!(meanwhile("meanwhile").is_ok()));
        log.close();
        assert_eq!(log.log.recovery_point(), Offset(2), "{call:?}");
        let late = append("late").unwrap_err();
        assert!(matches!(late, AppendError::Storage(StorageError::Closed { .. })), "{late}");
        disk.crash(Loss::Everything);
        log.reopen_with(Offset::ZERO, Offset(2), true);
        assert_eq!(log.values(), ["before", "meanwhile"], "{call:?}");
    }
}
