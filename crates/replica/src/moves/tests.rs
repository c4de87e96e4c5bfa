use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_log::disk::SimDisk;
use ottla_log::log_manager::{CreateLog, LogManager, LogManagerConfig};
use ottla_log::producer_state::VerificationGuard;
use ottla_log::{FetchIsolation, LeaderAppend, LogConfig, OffsetMetadata, OpenError, UnifiedLog};
use ottla_record::{AppendOrigin, BatchOptions};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition, Uuid};

use super::{copy_some, is_behind};
use crate::tests::{LOCAL, assignment, at, batch, batch_with, settings};
use crate::{NoOtherBrokers, Partition, ProduceParams, ReplicaManager};

/// A log, and one in another directory that is to become a copy of it.
struct Moving {
    logs: Arc<LogManager>,
    current: Arc<UnifiedLog>,
    copy: Arc<UnifiedLog>,
}

impl Moving {
    fn new() -> Moving {
        let dirs = ["/a", "/b"].map(PathBuf::from).to_vec();
        let disk = Arc::new(SimDisk::new(3));
        let logs = Arc::new(LogManager::new(LogManagerConfig::new(dirs), disk, at(0)));
        let create = |dir: &str| CreateLog {
            partition: TopicPartition::new("t", 0),
            topic_id: Some(Uuid([3; 16])),
            config: Arc::new(LogConfig { segment_bytes: 2_000, ..LogConfig::default() }),
            is_new: true,
            dir: Some(PathBuf::from(dir)),
        };
        let current = logs.get_or_create(&create("/a"), at(0)).expect("it can be made");
        let copy = logs.get_or_create_future(&create("/b"), Uuid([4; 16]), at(0)).expect("it can be made");
        Moving { logs, current, copy }
    }

    /// The partition, which this broker leads.
    fn led(&self) -> (ReplicaManager, Arc<Partition>) {
        let manager = ReplicaManager::new(
            LOCAL,
            settings(),
            Arc::clone(&self.logs),
            Arc::new(NoOtherBrokers),
            Arc::new(|_| {}),
            Arc::new(|job| job()),
        );
        let partition = manager
            .assign(assignment(&[LOCAL], 0), || Ok::<_, OpenError>(Arc::clone(&self.current)), at(1))
            .expect("the log is open");
        (manager, partition)
    }

    fn append(&self, epoch: i32, records: usize) {
        for _ in 0..records {
            let records = batch(&["a value of some length"], at(1));
            let append = LeaderAppend::new(LeaderEpoch(epoch), AppendOrigin::Client);
            self.current.append_as_leader(&records, &append, at(1)).expect("it fits");
        }
        let end = OffsetMetadata::offset_only(self.current.log_end_offset());
        self.current.maybe_increment_high_watermark(end);
    }

    fn step(&self) {
        copy_some(&self.logs, &self.current, &self.copy, at(2)).expect("it can be copied");
    }

    fn finish(&self) {
        for _ in 0..100 {
            if !is_behind(&self.current, &self.copy) {
                return self.compare();
            }
            self.step();
        }
        panic!("it never ends");
    }

    fn compare(&self) {
        assert_eq!(self.copy.log_end_offset(), self.current.log_end_offset());
        assert_eq!(self.copy.latest_epoch(), self.current.latest_epoch());
        assert_eq!(all_bytes(&self.copy), all_bytes(&self.current));
    }
}

fn all_bytes(log: &UnifiedLog) -> Vec<u8> {
    let (mut at, mut all) = (log.log_start_offset(), Vec::new());
    while at < log.log_end_offset() {
        let found = log.read(at, 1, FetchIsolation::LogEnd, true).expect("it can be read");
        let bytes = Bytes::from(found.records.expect("there is a batch").read().expect("it can be read"));
        let header =
            ottla_record::Batches::new(&bytes).next().expect("there is a batch").expect("it is sound");
        at = header.header().next_offset();
        all.extend(bytes);
    }
    all
}

#[test]
fn a_copy_has_all_batches_as_they_are() {
    let moving = Moving::new();
    moving.append(0, 30);
    moving.append(2, 30);
    moving.finish();
    moving.append(2, 5);
    assert!(is_behind(&moving.current, &moving.copy));
    moving.finish();
    assert_eq!(moving.copy.high_watermark(), Offset(65));
}

#[test]
fn what_a_log_loses_its_copy_loses_too() {
    let moving = Moving::new();
    moving.append(0, 20);
    moving.append(1, 20);
    moving.finish();
    // Another leader has not had the end of it.
    moving.logs.truncate_to(&moving.current, Offset(15), at(2)).expect("it is truncated");
    assert!(is_behind(&moving.current, &moving.copy));
    moving.append(3, 25);
    assert_eq!(moving.current.log_end_offset(), moving.copy.log_end_offset());
    assert!(is_behind(&moving.current, &moving.copy), "as long, and another");
    moving.finish();
    moving.logs.truncate_to(&moving.current, Offset(35), at(2)).expect("it is truncated");
    moving.finish();
    // Its leader's log starts beyond its end.
    moving
        .logs
        .truncate_fully_and_start_at(&moving.current, Offset(100), None, at(2))
        .expect("it begins anew");
    moving.finish();
    moving.append(5, 3);
    moving.finish();
    assert_eq!(moving.copy.log_start_offset(), Offset(100));
}

#[test]
fn a_log_that_begins_late_has_a_copy_that_does() {
    let moving = Moving::new();
    moving.append(0, 20);
    moving
        .current
        .maybe_increment_log_start_offset(Offset(7), "deleted")
        .expect("it is below the high watermark");
    moving.finish();
    assert_eq!(moving.copy.log_start_offset(), Offset(7));
    moving
        .current
        .maybe_increment_log_start_offset(Offset(12), "deleted")
        .expect("it is below the high watermark");
    moving.step();
    assert_eq!(moving.copy.log_start_offset(), Offset(12));
}

#[test]
fn what_coordinators_are_asked_and_have_answered_is_known_after_a_move() {
    let moving = Moving::new();
    let (_manager, partition) = moving.led();
    let verify = |producer: i64, sequence| {
        partition
            .start_verification(ProducerId(producer), ProducerEpoch(0), sequence, true, at(1))
            .expect("it leads")
    };
    let append = |producer: i64, sequence, guard| {
        let options = BatchOptions {
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        };
        let origin = AppendOrigin::Client;
        let params = ProduceParams { required_acks: 1, timeout_ms: 1_000, origin, transaction_version: 2 };
        partition.append(&batch_with(options, &["a"], at(1)), &params, guard, at(1)).is_ok()
    };
    assert!(append(1, 0, verify(1, 0)));
    let asked = verify(2, 0);
    moving.finish();
    let replaced = partition.replace_log(&moving.logs, &moving.copy, Uuid([5; 16]), at(2));
    assert!(replaced.expect("it can be replaced"));
    assert_eq!(verify(1, 1), VerificationGuard::NotNeeded, "its coordinator has added the partition");
    assert!(append(2, 0, asked));
}

#[test]
fn a_log_that_was_made_as_its_topics_settings_changed_has_the_new_ones_after_the_move() {
    let moving = Moving::new();
    let (_manager, partition) = moving.led();
    let changed = Arc::new(LogConfig { retention_ms: -1, ..LogConfig::default() });
    moving.append(0, 1);
    // Before the other one was known.
    moving.current.update_config(Arc::clone(&changed));
    moving.finish();
    let replaced = partition.replace_log(&moving.logs, &moving.copy, Uuid([5; 16]), at(2));
    assert!(replaced.expect("it can be replaced"));
    assert_eq!(partition.log().config().retention_ms, changed.retention_ms);
}

#[test]
fn a_move_that_ends_as_it_begins_leaves_nothing_paused() {
    let moving = Moving::new();
    let (manager, partition) = moving.led();
    let id = partition.topic_partition();
    let begin = || manager.begin_move(&partition, Arc::clone(&moving.copy), at(1));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    manager.end_move(id);
                }
            });
        }
        (0..300_000).for_each(|_| _ = begin());
        is_over.store(true, Ordering::Relaxed);
    });
    manager.end_move(id);
    assert!(!moving.logs.cleaner().resume(id), "nothing would be compacted until the next start");
}
