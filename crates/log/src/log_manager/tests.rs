use std::path::PathBuf;
use std::sync::Arc;

use ottla_record::{AppendOrigin, BatchOptions};
use ottla_types::{BrokerEpoch, LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, TopicPartition, Uuid};

use super::*;
use crate::cleaner::CleanProgress;
use crate::disk::sim::{Call, Loss};
use crate::disk::{Disk, RealDisk, SimDisk};
use crate::names;
use crate::test_log::{START, at_ms, batch, marker, small_config};
use crate::{CleanupPolicy, FetchIsolation, LeaderAppend, LogConfig, OpenError};

struct Broker {
    root: tempfile::TempDir,
    dirs: Vec<PathBuf>,
    logs: LogManager,
    now: Now,
}

const EPOCH: BrokerEpoch = BrokerEpoch(17);

fn configs(_: &str) -> Arc<LogConfig> {
    Arc::new(small_config())
}

fn unique(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn partition(n: i32) -> TopicPartition {
    TopicPartition::new("t", n)
}

impl Broker {
    fn with_dirs(count: usize) -> Broker {
        let root = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = (0..count).map(|n| root.path().join(format!("d{n}"))).collect();
        let logs = LogManager::new(config(&dirs), Arc::new(RealDisk::new(200)), at_ms(0));
        let mut broker = Broker { root, dirs, logs, now: at_ms(0) };
        broker.load();
        broker
    }

    fn load(&mut self) {
        self.logs.load(&configs, &LoadProgress::default(), self.now).unwrap();
    }

    fn restart(&mut self, clean: bool) {
        if clean {
            assert_eq!(self.logs.shutdown(EPOCH, self.now).failed_dirs, []);
        }
        self.logs = LogManager::new(config(&self.dirs), Arc::new(RealDisk::new(200)), self.now);
        self.load();
    }

    fn create(&self, n: i32) -> Arc<UnifiedLog> {
        self.logs.get_or_create(&to_create(n), self.now).unwrap()
    }

    fn tick(&mut self, ms: i64) -> LogManagerEvents {
        self.now = at_ms(ms);
        self.logs.tick(self.now)
    }

    fn names(&self, dir: usize) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.dirs[dir])
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn config(dirs: &[PathBuf]) -> LogManagerConfig {
    LogManagerConfig { initial_task_delay_ms: 0, ..LogManagerConfig::new(dirs.to_vec()) }
}

fn to_create(n: i32) -> CreateLog {
    CreateLog {
        partition: partition(n),
        topic_id: Some(unique(1)),
        config: configs("t"),
        is_new: true,
        dir: None,
    }
}

fn append(log: &UnifiedLog, value: &str) {
    let batch = batch(&[value], START, BatchOptions::default());
    log.append_as_leader(&batch, &LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Client), at_ms(0)).unwrap();
    log.update_high_watermark(Offset::MAX);
}

#[test]
fn what_was_not_replicated_at_a_stop_is_not_stable_afterwards() {
    for clean in [true, false] {
        let mut broker = Broker::with_dirs(1);
        let log = broker.create(0);
        let producer = BatchOptions {
            producer_id: ProducerId(2),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            transactional: true,
            partition_leader_epoch: LeaderEpoch(0),
            ..BatchOptions::default()
        };
        log.append_as_follower(&batch(&["a"], START, producer), LeaderEpoch(0), broker.now).unwrap();
        let coordinator = LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Coordinator);
        log.append_as_leader(&marker(2, 0, true, 0), &coordinator, broker.now).unwrap();
        log.update_high_watermark(Offset(1));
        assert_eq!((log.log_end_offset(), log.last_stable_offset()), (Offset(2), Offset(0)));
        broker.logs.checkpoint_high_watermarks();
        broker.restart(clean);
        let log = broker.logs.log(&partition(0)).unwrap();
        assert_eq!((log.high_watermark(), log.last_stable_offset()), (Offset(1), Offset(0)));
    }
}

#[test]
fn logs_are_found_again_after_a_stop_of_any_kind() {
    for clean in [true, false] {
        let mut broker = Broker::with_dirs(2);
        for n in 0..6 {
            let log = broker.create(n);
            for record in 0..20 + n {
                append(&log, &format!("{n}-{record}"));
            }
        }
        let per_dir = |broker: &Broker, dir: usize| {
            broker.logs.logs().iter().filter(|log| log.log_dir() == broker.dirs[dir]).count()
        };
        assert_eq!((per_dir(&broker, 0), per_dir(&broker, 1)), (3, 3), "logs are spread");
        broker.logs.checkpoint_high_watermarks();
        broker.restart(clean);
        assert_eq!(broker.logs.logs().len(), 6);
        for n in 0..6 {
            let log = broker.logs.log(&partition(n)).unwrap();
            assert_eq!(log.log_end_offset(), Offset(i64::from(20 + n)));
            assert_eq!(log.high_watermark(), Offset(i64::from(20 + n)));
            assert_eq!(log.topic_id(), Some(unique(1)));
            let read = log.read(Offset(5), 1000, FetchIsolation::LogEnd, true).unwrap();
            assert!(!read.is_empty());
        }
        assert!(!broker.names(0).iter().any(|name| name == names::CLEAN_SHUTDOWN), "the mark is taken away");
    }
}

#[test]
fn a_clean_stop_is_marked_in_each_directory() {
    let mut broker = Broker::with_dirs(2);
    append(&broker.create(0), "x");
    broker.logs.shutdown(EPOCH, broker.now);
    for dir in 0..2 {
        let found = crate::clean_shutdown::read(&*broker.logs.context().disk, &broker.dirs[dir]).unwrap();
        assert_eq!(found.unwrap().broker_epoch, Some(EPOCH));
        assert!(broker.names(dir).iter().any(|name| name == names::RECOVERY_POINT_CHECKPOINT));
    }
    assert_eq!(broker.logs.clean_shutdown_epoch(), Some(EPOCH));
    broker.restart(false);
    let log = broker.logs.log(&partition(0)).unwrap();
    assert_eq!(log.recovery_point(), Offset(1), "it was not recovered");
    assert_eq!(broker.logs.clean_shutdown_epoch(), None);
}

#[test]
fn directories_that_were_not_left_by_one_clean_stop_have_no_epoch() {
    let broker = Broker::with_dirs(2);
    broker.logs.shutdown(EPOCH, broker.now);
    let disk = &*broker.logs.context().disk;
    crate::clean_shutdown::write(disk, &broker.dirs[1], BrokerEpoch(18)).unwrap();
    assert_eq!(broker.logs.clean_shutdown_epoch(), None);
    crate::clean_shutdown::remove(disk, &broker.dirs[1]).unwrap();
    assert_eq!(broker.logs.clean_shutdown_epoch(), None);
    crate::clean_shutdown::write(disk, &broker.dirs[1], EPOCH).unwrap();
    assert_eq!(broker.logs.clean_shutdown_epoch(), Some(EPOCH));
}

#[test]
fn deleted_logs_go_at_once_and_their_files_later() {
    let mut broker = Broker::with_dirs(1);
    append(&broker.create(0), "x");
    append(&broker.create(1), "y");
    let log = broker.logs.delete(&partition(0), unique(9), broker.now).unwrap().unwrap();
    assert!(broker.logs.log(&partition(0)).is_none());
    assert!(broker.logs.delete(&partition(0), unique(9), broker.now).unwrap().is_none());
    let deleted = format!("t-0.{}-delete", "09".repeat(16));
    assert!(broker.names(0).contains(&deleted), "{:?}", broker.names(0));
    assert!(
        log.append_as_follower(&crate::test_log::numbered(&["z"], 1, 0), LeaderEpoch(0), broker.now).is_err()
    );
    // The name is free for the partition's next life.
    assert_eq!(broker.create(0).log_end_offset(), Offset(0));
    broker.tick(59_999);
    assert!(broker.names(0).contains(&deleted));
    assert_eq!(broker.tick(60_000), LogManagerEvents::default());
    assert!(!broker.names(0).contains(&deleted));
    assert_eq!(broker.logs.logs().len(), 2);
    // One that a stop left is removed after the next start.
    append(&broker.create(2), "x");
    broker.logs.delete(&partition(2), unique(8), broker.now).unwrap();
    broker.restart(true);
    assert_eq!((broker.logs.logs().len(), broker.logs.deleted_waiting()), (2, 1));
    broker.tick(200_000);
    assert_eq!(broker.logs.deleted_waiting(), 0);
    assert!(!broker.names(0).iter().any(|name| name.ends_with("-delete")));
}

#[test]
fn many_logs_are_made_and_deleted_together() {
    const COUNT: i32 = 4 * 64;
    let mut broker = Broker::with_dirs(2);
    let in_dir = |broker: &Broker, dir: usize| {
        broker.names(dir).iter().filter(|name| name.starts_with("t-") && !name.ends_with("-delete")).count()
    };
    broker.create(0);
    broker.logs.create_missing((0..COUNT).map(to_create).collect(), broker.now);
    assert_eq!(broker.logs.logs().len(), COUNT as usize);
    assert_eq!([0, 1].map(|dir| in_dir(&broker, dir)), [COUNT as usize / 2; 2]);
    for n in [0, 1, COUNT - 1] {
        append(&broker.create(n), "x");
    }
    broker.restart(false);
    assert_eq!(broker.logs.logs().len(), COUNT as usize);
    assert!(broker.logs.logs().iter().all(|log| log.topic_id() == Some(unique(1))));
    assert_eq!(broker.create(1).log_end_offset(), Offset(1));

    broker.logs.checkpoint_recovery_points();
    let failed = broker.logs.delete_all((1..COUNT).map(|n| (partition(n), unique(n as u8))), broker.now);
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(broker.logs.logs().len(), 1);
    let text = |dir: usize| {
        std::fs::read_to_string(broker.dirs[dir].join(names::RECOVERY_POINT_CHECKPOINT)).unwrap()
    };
    assert_eq!(text(0).lines().count() + text(1).lines().count(), 2 + 2 + 1, "{} {}", text(0), text(1));
    assert_eq!(broker.logs.deleted_waiting(), COUNT as usize - 1);
}

#[test]
fn names_of_deleted_logs_are_synced_together() {
    let syncs_of_deleting = |count: i32| {
        let disk = SimDisk::new(1);
        disk.create_dir_all("/one".as_ref()).unwrap();
        disk.sync_dir("/".as_ref()).unwrap();
        let logs = LogManager::new(config(&["/one".into()]), Arc::new(disk.clone()), at_ms(0));
        logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
        (0..count).for_each(|n| drop(logs.get_or_create(&to_create(n), at_ms(0)).unwrap()));
        let before = disk.calls(Call::SyncDir);
        let failed = logs.delete_all((0..count).map(|n| (partition(n), unique(n as u8))), at_ms(0));
        assert!(failed.is_empty(), "{failed:?}");
        let syncs = disk.calls(Call::SyncDir) - before;
        // They stay deleted without anything else being written.
        disk.crash(Loss::Everything);
        let names = disk.read_dir("/one".as_ref()).unwrap();
        assert_eq!(names.iter().filter(|entry| entry.name.ends_with("-delete")).count(), count as usize);
        syncs
    };
    assert_eq!(syncs_of_deleting(50), syncs_of_deleting(1));
}

#[test]
fn checkpoints_are_written_in_time_and_deletion_updates_them() {
    let mut broker = Broker::with_dirs(1);
    let log = broker.create(0);
    for n in 0..40 {
        append(&log, &format!("value-{n}"));
    }
    log.flush(broker.now).unwrap();
    log.maybe_increment_log_start_offset(Offset(3), "test").unwrap();
    broker.tick(0);
    let read = |name: &str| std::fs::read_to_string(broker.dirs[0].join(name)).unwrap();
    assert_eq!(read(names::RECOVERY_POINT_CHECKPOINT), "0\n1\nt 0 40\n");
    assert_eq!(read(names::LOG_START_OFFSET_CHECKPOINT), "0\n1\nt 0 3\n");
    broker.tick(5000);
    let read = |name: &str| std::fs::read_to_string(broker.dirs[0].join(name)).unwrap();
    assert_eq!(read(names::REPLICATION_OFFSET_CHECKPOINT), "0\n1\nt 0 40\n");
    broker.restart(false);
    assert_eq!(broker.logs.log(&partition(0)).unwrap().log_start_offset(), Offset(3));
    broker.logs.delete(&partition(0), unique(9), broker.now).unwrap();
    let read = |name: &str| std::fs::read_to_string(broker.dirs[0].join(name)).unwrap();
    assert_eq!(read(names::RECOVERY_POINT_CHECKPOINT), "0\n0\n");
}

#[test]
fn checkpoints_are_kept_while_logs_are_loaded() {
    let mut broker = Broker::with_dirs(1);
    let log = broker.create(0);
    for n in 0..40 {
        append(&log, &format!("value-{n}"));
    }
    log.flush(broker.now).unwrap();
    log.maybe_increment_log_start_offset(Offset(3), "test").unwrap();
    broker.tick(5000);
    let names = [
        names::RECOVERY_POINT_CHECKPOINT,
        names::LOG_START_OFFSET_CHECKPOINT,
        names::REPLICATION_OFFSET_CHECKPOINT,
    ];
    let read = |broker: &Broker| names.map(|name| std::fs::read(broker.dirs[0].join(name)).unwrap());
    let before = read(&broker);
    broker.logs = LogManager::new(config(&broker.dirs), Arc::new(RealDisk::new(200)), broker.now);
    broker.tick(1_000_000);
    assert_eq!(read(&broker), before);
    broker.load();
    assert_eq!(broker.logs.log(&partition(0)).unwrap().log_start_offset(), Offset(3));
}

#[test]
fn a_damaged_checkpoint_costs_time_and_nothing_else() {
    let mut broker = Broker::with_dirs(1);
    let log = broker.create(0);
    append(&log, "x");
    broker.logs.shutdown(EPOCH, broker.now);
    for name in [names::RECOVERY_POINT_CHECKPOINT, names::LOG_START_OFFSET_CHECKPOINT] {
        std::fs::write(broker.dirs[0].join(name), "rubbish").unwrap();
    }
    broker.restart(false);
    assert_eq!(broker.logs.log(&partition(0)).unwrap().log_end_offset(), Offset(1));
}

#[test]
fn directories_that_are_no_partitions_are_told() {
    let mut broker = Broker::with_dirs(1);
    append(&broker.create(0), "x");
    broker.logs.shutdown(EPOCH, broker.now);
    std::fs::create_dir(broker.dirs[0].join("remote-log-index-cache")).unwrap();
    std::fs::create_dir(broker.dirs[0].join("__cluster_metadata-0")).unwrap();
    std::fs::create_dir(broker.dirs[0].join(format!("t-5.{}-stray", "0a".repeat(16)))).unwrap();
    broker.restart(false);
    assert_eq!(broker.logs.logs().len(), 1);
    std::fs::create_dir(broker.dirs[0].join("lost+found")).unwrap();
    let logs = LogManager::new(config(&broker.dirs), Arc::new(RealDisk::new(20)), broker.now);
    let error = logs.load(&configs, &LoadProgress::default(), broker.now).unwrap_err();
    assert!(error.to_string().contains("lost+found"), "{error}");
}

#[test]
fn of_two_directories_that_hold_a_partition_the_one_that_was_written_last_is_used() {
    for is_the_copy_behind in [true, false] {
        let mut broker = Broker::with_dirs(2);
        let log = broker.create(0);
        append(&log, "x");
        let (dir, place) = (log.dir().to_path_buf(), log.log_dir());
        let other = broker.dirs.iter().find(|dir| **dir != place).unwrap().clone();
        let copy = || {
            std::fs::create_dir_all(other.join("t-0")).unwrap();
            for entry in std::fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), other.join("t-0").join(entry.file_name())).unwrap();
            }
        };
        if is_the_copy_behind {
            copy();
        }
        append(&log, "y");
        if !is_the_copy_behind {
            copy();
            let first = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
            let segment =
                first.into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
            std::fs::File::options().write(true).open(segment).unwrap().set_len(0).unwrap();
        }
        broker.restart(false);
        let used = broker.logs.log(&partition(0)).unwrap();
        let expected = if is_the_copy_behind { place } else { other };
        assert_eq!((used.log_dir(), used.log_end_offset()), (expected.clone(), Offset(2)));
        let unused = broker.dirs.iter().find(|dir| **dir != expected).unwrap();
        let left: Vec<String> = std::fs::read_dir(unused)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("t-"))
            .collect();
        assert!(matches!(&left[..], [name] if name.ends_with("-stray")), "{left:?}");
        broker.restart(true);
        assert_eq!(broker.logs.log(&partition(0)).unwrap().log_dir(), expected);
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_offline_alone() {
    let root = tempfile::tempdir().unwrap();
    let dirs = vec![root.path().join("file"), root.path().join("good")];
    std::fs::write(&dirs[0], "no directory").unwrap();
    let mut logs = LogManager::new(config(&dirs), Arc::new(RealDisk::new(20)), at_ms(0));
    logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
    let failed = logs.tick(at_ms(0)).failed_dirs;
    assert_eq!(failed.iter().map(|failed| &failed.dir).collect::<Vec<_>>(), [&dirs[0]]);
    assert_eq!(logs.tick(at_ms(1)).failed_dirs, []);
    assert_eq!((logs.online_dirs(), logs.offline_dirs()), (vec![dirs[1].clone()], vec![dirs[0].clone()]));
    append(&logs.get_or_create(&to_create(0), at_ms(0)).unwrap(), "x");
    // It may have been there.
    let known = CreateLog { is_new: false, ..to_create(1) };
    assert!(matches!(logs.get_or_create(&known, at_ms(0)), Err(OpenError::DirsOffline { .. })));
    logs = LogManager::new(config(&dirs[..1]), Arc::new(RealDisk::new(20)), at_ms(0));
    assert!(!logs.has_online_dir());
}

#[test]
fn another_topic_of_the_same_name_is_told() {
    let broker = Broker::with_dirs(1);
    broker.create(0);
    let other = CreateLog { topic_id: Some(unique(2)), ..to_create(0) };
    let error = broker.logs.get_or_create(&other, broker.now).unwrap_err();
    assert!(matches!(error, OpenError::InconsistentTopicId { .. }), "{error}");
}

#[test]
fn a_replica_moves_to_another_directory() {
    let mut broker = Broker::with_dirs(2);
    let current = broker.create(0);
    append(&current, "x");
    let other = broker.dirs.iter().find(|dir| **dir != current.log_dir()).unwrap().clone();
    let create = CreateLog { dir: Some(other.clone()), ..to_create(0) };
    let future = broker.logs.get_or_create_future(&create, unique(7), broker.now).unwrap();
    future.append_as_follower(&crate::test_log::numbered(&["x"], 0, 0), LeaderEpoch(0), broker.now).unwrap();
    broker.restart(true);
    assert_eq!(broker.logs.future_logs().len(), 1);
    broker.logs.replace_current_with_future(&partition(0), unique(6), broker.now).unwrap().unwrap();
    assert_eq!(broker.logs.log(&partition(0)).unwrap().log_dir(), other);
    broker.tick(60_000);
    broker.restart(true);
    let log = broker.logs.log(&partition(0)).unwrap();
    assert_eq!((log.log_dir(), log.log_end_offset(), log.high_watermark()), (other, Offset(1), Offset(1)));
    assert_eq!((broker.logs.logs().len(), broker.logs.future_logs().len()), (1, 0));
}

#[test]
fn retention_runs_and_settings_change_while_it_does() {
    let mut broker = Broker::with_dirs(1);
    let log = broker.create(0);
    for n in 0..40 {
        append(&log, &format!("value-{n}"));
    }
    broker.tick(1);
    assert_eq!(log.log_start_offset(), Offset(0));
    broker.logs.update_topic_config("t", &Arc::new(LogConfig { retention_ms: 0, ..small_config() }));
    broker.tick(300_001);
    assert_eq!(log.log_start_offset(), Offset(40));
    assert_eq!(log.segments().len(), 1);
    broker.tick(400_000);
    let files = std::fs::read_dir(log.dir()).unwrap().count();
    assert!(files <= 7, "{files} files are left");
    broker.restart(true);
    assert_eq!(broker.logs.log(&partition(0)).unwrap().log_start_offset(), Offset(40));
    let _ = &broker.root;
}

#[test]
fn offsets_that_no_log_can_have_are_not_believed() {
    let names = [
        names::RECOVERY_POINT_CHECKPOINT,
        names::LOG_START_OFFSET_CHECKPOINT,
        names::REPLICATION_OFFSET_CHECKPOINT,
        names::CLEANER_OFFSET_CHECKPOINT,
    ];
    for (name, offset) in names.iter().flat_map(|name| [i64::MIN, -1, i64::MAX].map(|offset| (name, offset)))
    {
        let mut broker = Broker::with_dirs(1);
        let log = broker.create(0);
        append(&log, "x");
        append(&log, "y");
        broker.logs.shutdown(EPOCH, broker.now);
        std::fs::write(broker.dirs[0].join(name), format!("0\n1\nt 0 {offset}\n")).unwrap();
        crate::clean_shutdown::remove(&*broker.logs.context().disk, &broker.dirs[0]).unwrap();
        broker.restart(false);
        let log = broker.logs.log(&partition(0)).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(0), Offset(2)), "{name} {offset}");
        append(&log, "z");
        assert!((1..=3).contains(&log.unflushed_records()), "{name} {offset}: {}", log.unflushed_records());
        log.flush(broker.now).unwrap();
        assert_eq!(log.recovery_point(), Offset(3), "{name} {offset}");
        broker.tick(1_000_000);
        broker.logs.shutdown(EPOCH, broker.now);
    }
}

#[test]
fn a_checkpoint_of_before_a_truncation_is_not_written_after_it() {
    let disk = SimDisk::new(1);
    disk.create_dir_all("/one".as_ref()).unwrap();
    let logs = LogManager::new(config(&["/one".into()]), Arc::new(disk.clone()), at_ms(0));
    logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
    (1..40).for_each(|n| drop(logs.get_or_create(&to_create(n), at_ms(0)).unwrap()));
    let log = logs.get_or_create(&to_create(0), at_ms(0)).unwrap();
    for _ in 0..500 {
        append(&log, "a");
        append(&log, "b");
        log.flush(at_ms(0)).unwrap();
        std::thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| logs.checkpoint_recovery_points())));
            logs.truncate_to(&log, Offset(1), at_ms(0)).unwrap();
        });
        let checkpointed = logs.dirs[0].recovery_points.read().unwrap();
        let found = checkpointed.into_iter().find(|(of, _)| *of == partition(0)).map(|(_, offset)| offset);
        assert_eq!(found, Some(Offset(1)), "what is appended there would not be looked at after a crash");
    }
}

/// What one cleaner thread does with logs that it has listed.
fn clean_listed(logs: &LogManager, listed: &[Arc<UnifiedLog>]) -> bool {
    let config = logs.cleaner_settings().config((1, 2));
    let Some(cleaning) = logs.cleaner.grab_filthiest(listed, &config, at_ms(0)) else { return false };
    while let CleanProgress::Worked { .. } = logs.cleaner.step(&cleaning, at_ms(0)) {}
    true
}

#[test]
fn nothing_is_known_as_clean_of_a_log_that_was_deleted_beside_the_cleaner() {
    let disk = SimDisk::new(1);
    disk.create_dir_all("/one".as_ref()).unwrap();
    let logs = LogManager::new(config(&["/one".into()]), Arc::new(disk.clone()), at_ms(0));
    logs.load(&configs, &LoadProgress::default(), at_ms(0)).unwrap();
    let cleanup_policy = CleanupPolicy { compact: true, delete: false };
    let compacted = Arc::new(LogConfig { cleanup_policy, min_cleanable_dirty_ratio: 0.0, ..small_config() });
    let create = CreateLog { config: compacted, ..to_create(0) };
    let mut cleaned = 0;
    for _ in 0..300 {
        let log = logs.get_or_create(&create, at_ms(0)).unwrap();
        for _ in 0..2 {
            let records = crate::test_log::numbered(&["x"], log.log_end_offset().0, 0);
            log.append_as_follower(&records, LeaderEpoch(0), at_ms(0)).unwrap();
            log.update_high_watermark(Offset::MAX);
            log.roll(at_ms(0)).unwrap();
        }
        let listed = logs.logs();
        std::thread::scope(|scope| {
            let cleaner = scope.spawn(|| clean_listed(&logs, &listed));
            logs.delete(&partition(0), unique(9), at_ms(0)).unwrap();
            cleaned += usize::from(cleaner.join().unwrap());
        });
        assert_eq!(logs.cleaner.clean_up_to("/one".as_ref(), &partition(0)), None, "{cleaned} were cleaned");
        assert!(!clean_listed(&logs, &listed), "it is gone");
        logs.remove_deleted(at_ms(1_000_000));
    }
}
