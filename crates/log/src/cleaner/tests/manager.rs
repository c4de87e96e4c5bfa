//! Which log is cleaned when, and what keeps it from being cleaned.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_types::{Offset, TopicPartition};

use super::world::{Producer, World};
use super::*;
use crate::disk::Disk;
use crate::disk::sim::Call;
use crate::{CleanupPolicy, LogConfig};

const DATA: &str = "/data";

impl World {
    /// A log with `clean` and `dirty` batches in segments of their own each.
    fn fill(&mut self, batches: u8) {
        for i in 0..batches {
            self.append(Producer::Plain, 0, &[(1, Some(i)), (2, Some(i))]);
            self.log.roll(self.now()).unwrap();
        }
    }

    fn reconfigure(&mut self, change: impl FnOnce(&mut LogConfig)) {
        change(&mut self.config);
        self.log.update_config(Arc::new(self.config.clone()));
    }

    fn grab(&self) -> Option<crate::cleaner::Cleaning> {
        self.manager.grab_filthiest([&self.log], &config(), self.now())
    }

    fn try_clean(&self) -> bool {
        clean(&self.manager, &self.log, self.now()).is_some()
    }

    fn names(&self) -> Vec<String> {
        self.disk.read_dir(&self.log.dir()).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn partition(&self) -> &TopicPartition {
        self.log.partition()
    }
}

#[test]
fn a_log_is_cleaned_when_it_is_dirty_enough() {
    let mut world = World::new(1);
    world.reconfigure(|config| config.min_cleanable_dirty_ratio = 0.5);
    assert!(!world.try_clean(), "an empty log");
    world.fill(4);
    assert!(world.try_clean());
    assert!(!world.try_clean(), "nothing is dirty");
    world.append(Producer::Plain, 0, &[(1, Some(1)), (2, Some(2))]);
    assert!(!world.try_clean(), "the active segment is not touched");
    world.log.roll(world.now()).unwrap();
    assert!(!world.try_clean(), "half of it is dirty, not more");
    world.fill(1);
    assert!(world.try_clean());
    assert_eq!(world.manager.metrics().max_dirty_ratio, 2.0 / 3.0);
}

#[test]
fn a_log_that_is_not_compacted_is_left_alone() {
    let mut world = World::new(1);
    world.fill(4);
    world.reconfigure(|config| config.cleanup_policy = CleanupPolicy { delete: true, compact: false });
    assert!(world.grab().is_none());
}

#[test]
fn young_records_are_left_alone() {
    let mut world = World::new(1);
    world.reconfigure(|config| config.min_compaction_lag_ms = 100);
    world.fill(2);
    world.now_ms = 100;
    world.fill(2);
    assert!(!world.try_clean());
    world.now_ms = 101;
    assert!(world.try_clean());
    assert_eq!(world.clean_up_to(), 4);
}

#[test]
fn old_records_are_cleaned_however_few_they_are() {
    let mut world = World::new(1);
    world.reconfigure(|config| {
        config.min_cleanable_dirty_ratio = 1.0;
        config.max_compaction_lag_ms = 100;
    });
    world.fill(2);
    world.now_ms = 100;
    assert!(!world.try_clean());
    // Counted from the largest timestamp of the first batch, 1.
    world.now_ms = 150;
    assert!(world.try_clean());
    assert_eq!(world.manager.metrics().max_compaction_delay_ms, 49);
    assert!(!world.try_clean());
}

#[test]
fn the_dirtiest_log_comes_first() {
    let (mut a, mut b) = (World::new(1), World::new(2));
    // Two logs of one directory, on disks of their own.
    b.log = {
        let context = crate::LogContext::new(Arc::new(b.disk.clone()), Default::default());
        let dir = Path::new("/data/t-1");
        b.disk.create_dir_all(dir).unwrap();
        let mut params =
            crate::test_log::open_params(&context, dir, &b.config, Offset::ZERO, Offset::ZERO, false);
        params.partition = TopicPartition::new("t", 1);
        UnifiedLog::open(params, b.now()).unwrap()
    };
    a.fill(4);
    assert!(a.try_clean());
    a.fill(1);
    b.fill(3);
    let filthiest = a.manager.grab_filthiest([&a.log, &b.log], &config(), a.now()).unwrap();
    assert_eq!(filthiest.log().partition().partition, 1);
    let next = a.manager.grab_filthiest([&a.log, &b.log], &config(), a.now()).unwrap();
    assert_eq!(next.log().partition().partition, 0);
    assert!(a.manager.grab_filthiest([&a.log, &b.log], &config(), a.now()).is_none());
}

#[test]
fn a_pause_ends_a_cleaning_between_two_steps() {
    for steps in 0..12 {
        let mut world = World::new(1);
        world.fill(3);
        let cleaning = world.grab().unwrap();
        for _ in 0..steps {
            world.manager.step(&cleaning, world.now());
        }
        world.manager.abort_and_pause(world.partition());
        world.manager.abort_and_pause(world.partition());
        assert!(!world.names().iter().any(|name| name.ends_with(".cleaned")));
        let is_over = world.manager.clean_up_to(Path::new(DATA), world.partition()).is_some();
        assert_eq!(world.manager.step(&cleaning, world.now()), CleanProgress::Ended);
        assert!(world.grab().is_none(), "it is paused");
        assert!(world.manager.resume(world.partition()));
        assert!(world.grab().is_none(), "it is paused twice");
        assert!(world.manager.resume(world.partition()));
        assert!(!world.manager.resume(world.partition()));
        world.check_view();
        assert_eq!(world.try_clean(), !is_over);
        world.check();
    }
}

#[test]
fn deletion_and_compaction_exclude_each_other() {
    let mut world = World::new(1);
    world.reconfigure(|config| config.cleanup_policy = CleanupPolicy { delete: true, compact: true });
    world.fill(3);
    let cleaning = world.grab().unwrap();
    assert!(world.manager.grab_deletable([&world.log]).is_empty());
    world.manager.abort(cleaning.log().partition());
    let deletions = world.manager.grab_deletable([&world.log]);
    assert_eq!(deletions.len(), 1);
    assert!(world.grab().is_none());
    world.reconfigure(|config| config.retention_bytes = 100);
    world.manager.delete(&deletions[0], world.now());
    assert!(world.log.log_start_offset() > Offset::ZERO);
    assert!(world.try_clean());

    // A pause that comes first is heeded.
    let start = world.log.log_start_offset();
    let deletions = world.manager.grab_deletable([&world.log]);
    world.manager.abort_and_pause(world.partition());
    world.reconfigure(|config| config.retention_bytes = 0);
    world.manager.delete(&deletions[0], world.now());
    assert_eq!(world.log.log_start_offset(), start);
    assert!(world.manager.resume(world.partition()));
    assert_eq!(world.manager.grab_deletable([&world.log]).len(), 1);
}

#[test]
fn retention_of_other_logs_keeps_compaction_away() {
    let mut world = World::new(1);
    world.fill(2);
    assert!(world.manager.pause_not_compacted([&world.log]).is_empty());
    world.reconfigure(|config| config.cleanup_policy = CleanupPolicy { delete: true, compact: false });
    assert_eq!(world.manager.pause_not_compacted([&world.log]).len(), 1);
    world.reconfigure(|config| config.cleanup_policy.compact = true);
    assert!(world.grab().is_none());
    assert!(world.manager.resume(world.partition()));
    assert!(world.grab().is_some());
}

#[test]
fn a_log_that_cannot_be_cleaned_is_left_alone() {
    let mut world = World::new(1);
    world.fill(3);
    let before = world.events();
    world.log.close(world.now()).unwrap();
    let second = world.log.segments().iter().nth(1).unwrap().path();
    world.disk.corrupt_sector(&second, 0).unwrap();
    // Taken as it is, since the stop was clean.
    let params = crate::OpenLog {
        had_clean_shutdown: true,
        ..crate::test_log::open_params(
            &world.context,
            &world.log.dir(),
            &world.config,
            Offset::ZERO,
            Offset(6),
            true,
        )
    };
    world.log = UnifiedLog::open(params, world.now()).unwrap();
    world.log.update_high_watermark(Offset::MAX);
    let cleaning = world.grab().unwrap();
    while world.manager.step(&cleaning, world.now()) != CleanProgress::Ended {}
    assert_eq!(world.manager.uncleanable(Path::new(DATA)), [world.partition().clone()]);
    assert!(world.grab().is_none());
    let dirty: u64 = world.log.segments().iter().map(|segment| u64::from(segment.size())).sum();
    assert_eq!(world.manager.uncleanable_bytes(Path::new(DATA), [&world.log], world.now()), dirty);
    assert_eq!(world.log.log_end_offset(), Offset(before.len() as i64));
    assert!(world.context.failures.take().is_empty());
    world.manager.forget(Path::new(DATA), world.partition());
    assert!(world.grab().is_some());
}

#[test]
fn a_decayed_key_hides_no_other() {
    let mut world = World::new(1);
    world.append(Producer::Plain, 0, &[(7, Some(1))]);
    world.log.roll(world.now()).unwrap();
    world.fill(2);
    // The first record's key behind the header, size, attributes, two deltas and its length.
    const KEY: u64 = 61 + 5;
    let file = world.log.segments().iter().nth(1).unwrap().file().unwrap();
    file.write_all_at(&[std::io::IoSlice::new(&[7])], KEY).unwrap();
    // Each segment is replaced alone.
    world.reconfigure(|config| config.segment_bytes = 100);
    let cleaning = world.grab().unwrap();
    while world.manager.step(&cleaning, world.now()) != CleanProgress::Ended {}
    let first = world.log.segments().first().unwrap().size();
    assert!(first > 61, "the only record with the key is there");
    assert_eq!(world.manager.uncleanable(Path::new(DATA)).len(), 1);
}

#[test]
fn a_failing_disk_is_reported_and_no_fault_of_the_log() {
    // Any call of a cleaning may be the one that fails.
    let mut failed: BTreeMap<bool, u32> = BTreeMap::new();
    for call in 1..80 {
        let mut world = World::new(call);
        world.fill(3);
        let cleaning = world.grab().unwrap();
        world.disk.fail_nth(None, call);
        while matches!(world.manager.step(&cleaning, world.now()), CleanProgress::Worked { .. }) {}
        let is_reported = !world.context.failures.take().is_empty();
        *failed.entry(is_reported).or_default() += 1;
        assert_eq!(world.manager.uncleanable(Path::new(DATA)), []);
        world.disk.heal();
        world.disk.kill();
        world.reopen(Offset(6));
        world.check_view();
    }
    assert!(failed[&true] > 20, "{failed:?}");
}

#[test]
fn a_full_disk_ends_a_cleaning_until_there_is_room() {
    let mut world = World::new(1);
    world.fill(3);
    let used = world.disk.space(Path::new(DATA)).unwrap();
    world.disk.set_capacity_bytes(Some(used.total_bytes - used.usable_bytes + 10));
    let cleaning = world.grab().unwrap();
    while matches!(world.manager.step(&cleaning, world.now()), CleanProgress::Worked { .. }) {}
    assert!(world.context.failures.take().is_empty());
    assert_eq!(world.manager.clean_up_to(Path::new(DATA), world.partition()), None);
    world.check_view();
    world.disk.set_capacity_bytes(None);
    assert!(world.try_clean());
    world.check();
}

#[test]
fn checkpoints_follow_the_log() {
    let mut world = World::new(1);
    world.fill(4);
    assert!(world.try_clean());
    assert_eq!(world.clean_up_to(), 8);
    let checkpointed = || {
        let manager = CleanerManager::new(Arc::new(world.disk.clone()));
        manager.add_dir(Path::new(DATA)).unwrap();
        manager.clean_up_to(Path::new(DATA), world.log.partition())
    };
    assert_eq!(checkpointed(), Some(Offset(8)));
    world.manager.truncate_clean_offset(Path::new(DATA), world.log.partition(), Offset(9));
    assert_eq!(checkpointed(), Some(Offset(8)));
    world.manager.truncate_clean_offset(Path::new(DATA), world.log.partition(), Offset(5));
    assert_eq!(checkpointed(), Some(Offset(5)));

    let other = Path::new("/other");
    world.disk.create_dir_all(other).unwrap();
    world.manager.add_dir(other).unwrap();
    world.manager.move_dir(world.log.partition(), Path::new(DATA), other);
    assert_eq!(
        (checkpointed(), world.manager.clean_up_to(other, world.log.partition())),
        (None, Some(Offset(5)))
    );
    world.manager.forget(other, world.log.partition());
    assert_eq!(world.manager.clean_up_to(other, world.log.partition()), None);
}

#[test]
fn an_offset_out_of_the_logs_range_is_reset() {
    for (offset, expected) in [(100, Some(Offset(0))), (3, Some(Offset(3)))] {
        let mut world = World::new(1);
        world.reconfigure(|config| config.min_cleanable_dirty_ratio = 1.0);
        world.fill(4);
        let text = format!("0\n1\nt 0 {offset}\n");
        crate::files::replace(&world.disk, Path::new("/data/cleaner-offset-checkpoint"), text.as_bytes())
            .unwrap();
        world.manager.add_dir(Path::new(DATA)).unwrap();
        assert!(world.grab().is_none());
        assert_eq!(world.manager.clean_up_to(Path::new(DATA), world.partition()), expected);
    }
}

#[test]
fn a_failed_directory_is_not_cleaned() {
    let mut world = World::new(1);
    world.fill(4);
    world.manager.remove_dir(Path::new(DATA));
    let calls = world.disk.calls(Call::Open);
    assert!(world.grab().is_none() && world.manager.grab_deletable([&world.log]).is_empty());
    assert_eq!(world.disk.calls(Call::Open), calls);
}

#[test]
fn a_corrupt_checkpoint_is_told() {
    let world = World::new(1);
    crate::files::replace(&world.disk, Path::new("/data/cleaner-offset-checkpoint"), b"0\nx\n").unwrap();
    assert!(world.manager.add_dir(Path::new(DATA)).unwrap_err().is_corrupt());
}

#[test]
fn readers_and_writers_go_on_beside_the_cleaner() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("t-0");
    std::fs::create_dir(&dir).unwrap();
    // Enough descriptors for all: files are removed at once, so none could be opened again.
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::RealDisk::new(1000));
    let context = crate::LogContext::new(Arc::clone(&disk), Default::default());
    let config = LogConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        segment_bytes: 2000,
        index_interval_bytes: 200,
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    };
    let now = crate::test_log::at_ms(0);
    let params = crate::test_log::open_params(&context, &dir, &config, Offset::ZERO, Offset::ZERO, false);
    let log = UnifiedLog::open(params, now).unwrap();
    let manager = CleanerManager::new(disk);
    manager.add_dir(root.path()).unwrap();
    const RECORDS: i64 = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..RECORDS {
                super::world::append_keyed(&log, &[(i % 7) as u8], &i.to_be_bytes(), now);
            }
        });
        scope.spawn(|| {
            while log.log_end_offset().0 < RECORDS {
                clean(&manager, &log, now);
                context.deferred.run_due(now);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = 0;
                while next < RECORDS {
                    next = super::world::read_on(&log, next);
                }
            });
        }
    });
    log.roll(now).unwrap();
    clean(&manager, &log, now);
    let mut records = 0;
    for_each_batch(&log, |batch| records += batch.record_count);
    assert_eq!(records, 7);
}
