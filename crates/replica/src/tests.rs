//! Produce, fetch and delete through the manager, over a simulated disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_log::disk::SimDisk;
use ottla_log::log_manager::{LogManager, LogManagerConfig};
use ottla_log::producer_state::ProducerStateConfig;
use ottla_log::{
    EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, LogConfig, LogContext, OpenError, OpenLog, UnifiedLog,
};
use ottla_record::{AppendOrigin, BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{
    LeaderEpoch, MonoMs, NodeId, Now, Offset, ProducerEpoch, ProducerId, Timestamp, TopicIdPartition,
    TopicPartition, Uuid,
};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::fetcher::FetcherSettings;
use crate::{
    Assignment, FetchParams, FetchedPartition, NoOtherBrokers, Partition, PartitionFetch, PartitionListener,
    ProduceEntry, ProduceParams, ProduceResult, RateWindow, ReadLater, Reader, ReaderKind, ReplicaManager,
    ReplicaSelector, ReplicaSettings,
};

pub(crate) const LOCAL: NodeId = NodeId(1);
pub(crate) const OTHER: NodeId = NodeId(2);

pub(crate) const FETCHERS: FetcherSettings = FetcherSettings {
    fetchers: 1,
    min_bytes: 1,
    wait_max_ms: 500,
    max_bytes: 1 << 20,
    response_max_bytes: 10 << 20,
    backoff_ms: 1000,
};

pub(crate) fn logs(disk: &SimDisk) -> Arc<LogManager> {
    Arc::new(LogManager::new(LogManagerConfig::new(Vec::new()), Arc::new(disk.clone()), at(0)))
}

pub(crate) fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_700_000_000_000 + ms as i64), mono: MonoMs(ms) }
}

pub(crate) fn assignment(isr: &[NodeId], epochs: i32) -> Assignment {
    Assignment {
        partition: TopicIdPartition { topic_id: Uuid([3; 16]), topic_partition: TopicPartition::new("t", 0) },
        leader: isr[0],
        leader_epoch: LeaderEpoch(epochs),
        partition_epoch: epochs,
        replicas: vec![LOCAL, OTHER],
        isr: isr.to_vec(),
        min_insync_replicas: 1,
    }
}

pub(crate) fn settings() -> ReplicaSettings {
    ReplicaSettings {
        producer_purgatory_purge_interval: 1000,
        fetch_purgatory_purge_interval: 1000,
        delete_records_purgatory_purge_interval: 1,
        share_fetch_purgatory_purge_interval: 1000,
        lag_time_max_ms: 30_000,
        selector: ReplicaSelector::Leader,
        fetchers: FETCHERS,
        quota_window: RateWindow::default(),
        moves_window: RateWindow::default(),
        moves_at_once: 1,
    }
}

struct Harness {
    manager: Arc<ReplicaManager>,
    partition: Arc<Partition>,
    context: Arc<LogContext>,
    disk: SimDisk,
    /// What is to be read where waiting for the disk hurts nobody.
    later: Answers<Box<dyn FnOnce() + Send>>,
}

/// What came back, in the order in which it did.
pub(crate) type Answers<T> = Arc<Mutex<Vec<T>>>;

impl Harness {
    fn new(isr: &[NodeId]) -> Harness {
        let later = Answers::<Box<dyn FnOnce() + Send>>::default();
        let into = Arc::clone(&later);
        let read_later: ReadLater = Arc::new(move |job| into.lock().push(job));
        let disk = SimDisk::new(1);
        let manager = ReplicaManager::new(
            LOCAL,
            settings(),
            logs(&disk),
            Arc::new(NoOtherBrokers),
            Arc::new(|_| {}),
            read_later,
        );
        let manager = Arc::new(manager);
        let context = LogContext::new(Arc::new(disk.clone()), ProducerStateConfig::default());
        let partition = manager.assign(assignment(isr, 0), || open(&context), at(0)).expect("the log opens");
        Harness { manager, partition, context, disk, later }
    }

    fn assign(&self, isr: &[NodeId], epochs: i32, now: Now) {
        self.manager.assign(assignment(isr, epochs), || open(&self.context), now).expect("the log is open");
    }

    fn produce(&self, acks: i16, timeout_ms: i32, values: &[&str], now: Now) -> Answers<ProduceResult> {
        self.produce_batch(acks, timeout_ms, batch(values, now), now)
    }

    fn produce_batch(&self, acks: i16, timeout_ms: i32, batch: Bytes, now: Now) -> Answers<ProduceResult> {
        let answers: Answers<ProduceResult> = Arc::default();
        let into = Arc::clone(&answers);
        let entry = ProduceEntry::new(Ok(Arc::clone(&self.partition)), batch);
        let origin = AppendOrigin::Client;
        let params = ProduceParams { required_acks: acks, timeout_ms, origin, transaction_version: 0 };
        self.manager.produce(params, vec![entry], now, move |results| into.lock().extend(results));
        answers
    }

    /// Answers with offset of the first and bytes of all that was found.
    fn fetch(&self, offset: i64, epoch: i32, reader: ReaderKind, min_bytes: u32, now: Now) -> Answers<Found> {
        let answers: Answers<Found> = Arc::default();
        let into = Arc::clone(&answers);
        let params = FetchParams {
            reader: Reader::of_leaders(reader),
            max_wait_ms: 500,
            min_bytes,
            max_bytes: 1 << 20,
        };
        let asked = PartitionFetch {
            partition: Ok(Arc::clone(&self.partition)),
            offset: Offset(offset),
            max_bytes: 1 << 20,
            client_epoch: LeaderEpoch(epoch),
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start_offset: Offset::UNKNOWN,
        };
        self.manager.fetch(params, vec![asked], now, move |found, _| {
            let found = found
                .into_iter()
                .map(|found| (found.read.error, found.read.len(), found.read.high_watermark.0));
            into.lock().extend(found);
        });
        answers
    }
}

/// Error, bytes, high watermark.
type Found = (ErrorCode, u32, i64);

pub(crate) fn open(context: &Arc<LogContext>) -> Result<Arc<UnifiedLog>, OpenError> {
    let dir = PathBuf::from("/data/t-0");
    context.disk.create_dir_all(&dir).expect("a directory can be made");
    let params = OpenLog {
        partition: TopicPartition::new("t", 0),
        dir,
        context: Arc::clone(context),
        config: Arc::new(LogConfig::default()),
        log_start_offset: Offset::ZERO,
        recovery_point: Offset::ZERO,
        had_clean_shutdown: false,
        topic_id: Some(Uuid([3; 16])),
    };
    UnifiedLog::open(params, at(0))
}

pub(crate) fn batch(values: &[&str], now: Now) -> Bytes {
    batch_with(BatchOptions::default(), values, now)
}

pub(crate) fn batch_with(options: BatchOptions, values: &[&str], now: Now) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        let record =
            NewRecord { timestamp: now.wall, key: None, value: Some(value.as_bytes()), headers: &[] };
        builder.append(&record).expect("it fits");
    }
    Bytes::from(builder.build().expect("it is sound"))
}

pub(crate) fn taken<T>(answers: &Answers<T>) -> Vec<T> {
    std::mem::take(&mut *answers.lock())
}

fn outcome(answers: &Answers<ProduceResult>) -> Vec<(Option<ErrorCode>, i64)> {
    taken(answers).into_iter().map(|r| (r.refusal.map(|refusal| refusal.code), r.base_offset.0)).collect()
}

#[test]
fn the_only_replica_acknowledges_at_once() {
    let harness = Harness::new(&[LOCAL]);
    assert_eq!(outcome(&harness.produce(-1, 1000, &["a", "b"], at(1))), [(None, 0)]);
    assert_eq!(outcome(&harness.produce(1, 1000, &["c"], at(2))), [(None, 2)]);
    assert_eq!(harness.partition.log().high_watermark(), Offset(3));
}

#[test]
fn acks_all_waits_for_the_isr_and_times_out() {
    let harness = Harness::new(&[LOCAL, OTHER]);
    let answers = harness.produce(-1, 100, &["a"], at(1));
    assert!(taken(&answers).is_empty());
    assert_eq!(outcome(&harness.produce(1, 100, &["b"], at(2))), [(None, 1)]);
    assert_eq!(harness.manager.next_deadline(), MonoMs(101));
    harness.manager.tick(at(100));
    assert!(taken(&answers).is_empty());
    harness.manager.tick(at(101));
    assert_eq!(outcome(&answers), [(Some(ErrorCode::RequestTimedOut), -1)]);
}

#[test]
fn a_smaller_isr_lets_the_waiting_go() {
    let harness = Harness::new(&[LOCAL, OTHER]);
    let answers = harness.produce(-1, 10_000, &["a"], at(1));
    let consumer = harness.fetch(0, -1, ReaderKind::Consumer, 1, at(1));
    assert!(taken(&answers).is_empty() && taken(&consumer).is_empty());
    harness.assign(&[LOCAL], 1, at(2));
    assert_eq!(outcome(&answers), [(None, 0)]);
    let found = taken(&consumer);
    assert!(matches!(found[..], [(ErrorCode::None, 1.., 1)]), "{found:?}");
}

#[test]
fn a_replica_that_begins_to_lead_asks_for_as_many_as_its_topic_from_the_first_append_on() {
    let harness = Harness::new(&[OTHER, LOCAL]);
    let leads = Assignment { min_insync_replicas: 2, ..assignment(&[LOCAL], 1) };
    harness.manager.assign(leads, || open(&harness.context), at(1)).expect("the log is open");
    let answers = harness.produce(-1, 1000, &["a"], at(2));
    assert_eq!(outcome(&answers), [(Some(ErrorCode::NotEnoughReplicas), -1)]);
    assert_eq!(harness.partition.log().log_end_offset(), Offset::ZERO);
}

#[test]
fn too_few_in_sync_refuse_acks_all_only() {
    let harness = Harness::new(&[LOCAL]);
    harness.partition.set_min_insync_replicas(2);
    assert_eq!(outcome(&harness.produce(-1, 100, &["a"], at(1))), [(Some(ErrorCode::NotEnoughReplicas), -1)]);
    assert_eq!(outcome(&harness.produce(1, 100, &["a"], at(1))), [(None, 0)]);
    // A topic can't need more replicas than it has.
    harness.partition.set_min_insync_replicas(3);
    harness.assign(&[LOCAL, OTHER], 1, at(2));
    assert!(outcome(&harness.produce(-1, 100, &["a"], at(2))).is_empty());
}

/// A log takes the batches of a producer that it does not know from any number on.
#[test]
fn what_is_sent_behind_a_refused_batch_is_refused_until_that_comes_again() {
    use ErrorCode::{NotEnoughReplicas, NotLeaderOrFollower};
    for (leads_before, code) in [(LOCAL, NotEnoughReplicas), (OTHER, NotLeaderOrFollower)] {
        let harness = Harness::new(&[leads_before]);
        harness.partition.set_min_insync_replicas(2);
        let send = |producer: i64, sequence: i32, ms: u64| {
            let options = BatchOptions {
                producer_id: ProducerId(producer),
                producer_epoch: ProducerEpoch(0),
                base_sequence: sequence,
                ..BatchOptions::default()
            };
            let answers = harness.produce_batch(-1, 100, batch_with(options, &["a"], at(ms)), at(ms));
            outcome(&answers).first().and_then(|(code, _)| *code)
        };
        assert_eq!([send(1, 0, 1), send(2, 3, 1)], [Some(code); 2]);
        let assignment = Assignment { min_insync_replicas: 2, ..assignment(&[LOCAL, OTHER], 1) };
        harness.manager.assign(assignment, || open(&harness.context), at(2)).expect("the log is open");
        assert_eq!([send(1, 1, 2), send(1, 2, 2)], [Some(NotEnoughReplicas); 2]);
        assert_eq!(harness.partition.log().log_end_offset(), Offset::ZERO);
        // They come again in their order, and wait for the other replica.
        assert_eq!([send(1, 0, 3), send(1, 1, 3), send(1, 2, 3)], [None; 3]);
        // What another producer has given up long ago nobody waits for.
        assert_eq!((send(2, 4, 30_000), send(2, 5, 30_001)), (Some(NotEnoughReplicas), None));
        assert_eq!(harness.partition.log().log_end_offset(), Offset(4));
    }
}

#[test]
fn a_batch_that_comes_again_and_is_refused_again_is_waited_for() {
    use ErrorCode::{KafkaStorageError, NotEnoughReplicas};
    let harness = Harness::new(&[LOCAL]);
    let large = "a".repeat(10_000);
    let send = |sequence: i32, value: &str, ms: u64| {
        let options = BatchOptions {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        let answers = harness.produce_batch(1, 100, batch_with(options, &[value], at(ms)), at(ms));
        outcome(&answers).first().and_then(|(code, _)| *code)
    };
    // Smaller ones have room.
    harness.disk.set_capacity_bytes(Some(harness.disk.used_bytes() + 1_000));
    for ms in 1..4 {
        assert_eq!(
            [send(0, &large, ms), send(1, "b", ms)],
            [Some(KafkaStorageError), Some(NotEnoughReplicas)]
        );
    }
    harness.disk.set_capacity_bytes(None);
    assert_eq!([send(0, &large, 4), send(1, "b", 4), send(2, "c", 4)], [None; 3]);
    assert_eq!(harness.partition.log().log_end_offset(), Offset(3));
}

#[test]
fn what_is_behind_a_batch_waits_whatever_that_is_refused_for_when_it_comes_again() {
    use ErrorCode::{InvalidTxnState, NotEnoughReplicas};
    let harness = Harness::new(&[LOCAL]);
    harness.partition.set_min_insync_replicas(2);
    let send = |sequence: i32, transactional: bool, ms: u64| {
        let options = BatchOptions {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            transactional,
            ..BatchOptions::default()
        };
        let answers = harness.produce_batch(-1, 100, batch_with(options, &["a"], at(ms)), at(ms));
        outcome(&answers).first().and_then(|(code, _)| *code)
    };
    assert_eq!(send(0, true, 1), Some(NotEnoughReplicas));
    let assignment = Assignment { min_insync_replicas: 2, ..assignment(&[LOCAL, OTHER], 1) };
    harness.manager.assign(assignment, || open(&harness.context), at(2)).expect("the log is open");
    // Nobody has asked the transaction's coordinator yet.
    assert_eq!([send(0, true, 2), send(1, false, 2)], [Some(InvalidTxnState), Some(NotEnoughReplicas)]);
    assert_eq!(harness.partition.log().log_end_offset(), Offset::ZERO);
}

/// The producer has gone to the leader of then with it, and this node has followed that one before it leads.
#[test]
fn what_another_leader_has_taken_since_is_not_waited_for() {
    let harness = Harness::new(&[OTHER]);
    let batch_of = |sequence: i32, ms: u64| {
        let options = BatchOptions {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        batch_with(options, &["a"], at(ms))
    };
    let send = |sequence: i32, ms: u64| {
        let answers = harness.produce_batch(1, 100, batch_of(sequence, ms), at(ms));
        outcome(&answers).first().and_then(|(code, _)| *code)
    };
    assert_eq!(send(0, 1), Some(ErrorCode::NotLeaderOrFollower));
    let log = harness.partition.log();
    log.append_as_follower(&batch_of(0, 1), LeaderEpoch(0), at(2)).expect("it continues the log");
    harness.assign(&[LOCAL], 1, at(3));
    assert_eq!(send(1, 4), None);
    assert_eq!(log.log_end_offset(), Offset(2));
}

#[test]
fn a_fetch_waits_for_records_or_its_time() {
    let harness = Harness::new(&[LOCAL]);
    let first = harness.fetch(0, -1, ReaderKind::Consumer, 1, at(0));
    assert!(taken(&first).is_empty());
    harness.produce(1, 100, &["a"], at(10));
    assert!(matches!(taken(&first)[..], [(ErrorCode::None, 1.., 1)]));
    let greedy = harness.fetch(1, -1, ReaderKind::Consumer, 10_000, at(20));
    harness.produce(1, 100, &["b"], at(30));
    assert!(taken(&greedy).is_empty());
    harness.manager.tick(at(520));
    assert!(matches!(taken(&greedy)[..], [(ErrorCode::None, 1.., 2)]));
}

#[test]
fn what_has_to_come_from_disk_is_read_later() {
    let harness = Harness::new(&[LOCAL]);
    // Waits for more than there will be in memory.
    let waiting = harness.fetch(0, -1, ReaderKind::Consumer, 3000, at(0));
    harness.disk.set_cold(true);
    for _ in 0..50 {
        harness.produce(1, 100, &["a record"], at(1));
    }
    assert!(taken(&waiting).is_empty());
    let old = harness.fetch(3, -1, ReaderKind::Consumer, 1, at(2));
    assert!(taken(&old).is_empty());
    let newest = harness.fetch(49, -1, ReaderKind::Consumer, 1, at(2));
    assert!(matches!(taken(&newest)[..], [(ErrorCode::None, 1.., 50)]), "what was just written is in memory");
    let jobs = taken(&harness.later);
    assert_eq!(jobs.len(), 2);
    jobs.into_iter().for_each(|job| job());
    assert!(matches!(taken(&old)[..], [(ErrorCode::None, 1.., 50)]));
    assert!(
        matches!(taken(&waiting)[..], [(ErrorCode::None, 3000.., 40..)]),
        "it read on from where it waited"
    );
}

#[test]
fn consumers_see_nothing_above_the_high_watermark() {
    let harness = Harness::new(&[LOCAL, OTHER]);
    harness.produce(1, 100, &["a"], at(1));
    assert!(taken(&harness.fetch(0, -1, ReaderKind::Consumer, 1, at(2))).is_empty());
    assert!(matches!(
        taken(&harness.fetch(0, -1, ReaderKind::Follower, 1, at(2)))[..],
        [(ErrorCode::None, 1.., 0)]
    ));
}

#[test]
fn readers_of_another_epoch_are_told_so() {
    let harness = Harness::new(&[LOCAL]);
    harness.assign(&[LOCAL], 5, at(1));
    let told = |epoch| taken(&harness.fetch(0, epoch, ReaderKind::Consumer, 0, at(2)))[0].0;
    assert_eq!(told(4), ErrorCode::FencedLeaderEpoch);
    assert_eq!(told(6), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(told(5), ErrorCode::None);
    assert_eq!(taken(&harness.fetch(7, 5, ReaderKind::Consumer, 1, at(2)))[0].0, ErrorCode::OffsetOutOfRange);
}

#[test]
fn a_log_that_parts_from_this_one_is_told_where() {
    let harness = Harness::new(&[LOCAL]);
    for (epoch, value) in [(1, "a"), (3, "b"), (5, "c")] {
        harness.assign(&[LOCAL], epoch, at(1));
        harness.produce(1, 100, &[value], at(1));
    }
    let read = |offset, last_fetched_epoch| {
        let asked = PartitionFetch {
            partition: Ok(Arc::clone(&harness.partition)),
            offset: Offset(offset),
            max_bytes: 1 << 20,
            client_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch(last_fetched_epoch),
            log_start_offset: Offset::UNKNOWN,
        };
        let answer: Answers<FetchedPartition> = Arc::default();
        let into = Arc::clone(&answer);
        let params = FetchParams {
            reader: Reader::of_leaders(ReaderKind::Follower),
            max_wait_ms: 500,
            min_bytes: 0,
            max_bytes: 1 << 20,
        };
        harness.manager.fetch(params, vec![asked], at(2), move |found, _| into.lock().extend(found));
        let read = taken(&answer).remove(0).read;
        (read.error, read.is_empty(), read.diverging.map(|end| (end.epoch.0, end.end_offset.0)))
    };
    let agrees = (ErrorCode::None, false, None);
    assert_eq!(read(1, 1), agrees);
    assert_eq!(read(2, 3), agrees);
    assert_eq!(read(2, 5), agrees);
    assert_eq!(read(2, 1), (ErrorCode::None, true, Some((1, 1))), "the epoch ended before");
    assert_eq!(read(2, 4), (ErrorCode::None, true, Some((3, 2))), "an epoch that never was here");
    assert_eq!(read(4, 5), (ErrorCode::None, true, Some((5, 3))), "more than there is");
    assert_eq!(read(1, 0), (ErrorCode::None, true, Some((0, 0))), "an epoch before all");
    assert_eq!(read(1, 6).0, ErrorCode::OffsetOutOfRange, "an epoch to come");
}

#[test]
fn a_new_leader_tells_consumers_no_offset_before_its_epoch_has_caught_up() {
    let harness = Harness::new(&[LOCAL, OTHER]);
    harness.produce(1, 100, &["a", "b"], at(1));
    let ask = |timestamp, reader| {
        let found = harness.partition.offset_for_timestamp(timestamp, LeaderEpoch::NONE, reader);
        found.map(|found| found.map(|found| found.offset.0))
    };
    let time = at(1).wall;
    assert_eq!(ask(LATEST_TIMESTAMP, ReaderKind::Consumer), Ok(Some(0)));
    assert_eq!(ask(time, ReaderKind::Consumer), Ok(None));
    harness.assign(&[LOCAL, OTHER], 1, at(2));
    assert_eq!(ask(LATEST_TIMESTAMP, ReaderKind::Consumer), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(ask(time, ReaderKind::CommittedConsumer), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(ask(EARLIEST_TIMESTAMP, ReaderKind::Consumer), Ok(Some(0)));
    assert_eq!(ask(LATEST_TIMESTAMP, ReaderKind::Follower), Ok(Some(2)));
    harness.assign(&[LOCAL], 2, at(3));
    assert_eq!(ask(LATEST_TIMESTAMP, ReaderKind::Consumer), Ok(Some(2)));
    assert_eq!(ask(time, ReaderKind::Consumer), Ok(Some(0)));
}

/// Followers and consumers find by it where their logs part, also before the epoch has a record (KIP-101).
#[test]
fn a_leader_knows_where_its_epoch_begins_before_it_has_a_record() {
    let harness = Harness::new(&[LOCAL]);
    harness.produce(1, 100, &["a", "b"], at(1));
    harness.assign(&[LOCAL], 3, at(2));
    let end_of = |epoch| {
        let end =
            harness.partition.end_offset_for_epoch(LeaderEpoch(epoch), LeaderEpoch::NONE).expect("it leads");
        (end.epoch.0, end.end_offset.0)
    };
    assert_eq!((end_of(0), end_of(3)), ((0, 2), (3, 2)));
}

#[test]
fn losing_the_leadership_answers_who_waits() {
    let harness = Harness::new(&[LOCAL, OTHER]);
    let producer = harness.produce(-1, 10_000, &["a"], at(1));
    let consumer = harness.fetch(0, -1, ReaderKind::Consumer, 1, at(1));
    harness.assign(&[OTHER, LOCAL], 1, at(2));
    assert_eq!(outcome(&producer), [(Some(ErrorCode::NotLeaderOrFollower), -1)]);
    assert_eq!(taken(&consumer)[0].0, ErrorCode::NotLeaderOrFollower);
    let refused = taken(&harness.produce(1, 100, &["b"], at(3))).remove(0);
    assert_eq!(refused.leader_hint.map(|hint| hint.leader), Some(OTHER));
}

/// A replica that waits for others leads no more, and then does again; whoever waits is not looked at before it does.
fn led_again(has_been_cut: bool) -> Vec<(Option<ErrorCode>, i64)> {
    let harness = Harness::new(&[LOCAL, OTHER]);
    let producer = harness.produce(-1, 10_000, &["a"], at(1));
    harness.partition.assign(assignment(&[OTHER, LOCAL], 1), MonoMs(2));
    if has_been_cut {
        let log = harness.partition.log();
        assert!(log.truncate_to(Offset::ZERO, at(2)).expect("it can be truncated"));
        let options = BatchOptions { partition_leader_epoch: LeaderEpoch(1), ..BatchOptions::default() };
        let records = batch_with(options, &["another"], at(2));
        log.append_as_follower(&records, LeaderEpoch(1), at(2)).expect("it continues the log");
    }
    harness.assign(&[LOCAL], 2, at(3));
    assert_eq!(harness.partition.log().high_watermark(), Offset(1));
    outcome(&producer)
}

#[test]
fn what_was_cut_off_is_not_acknowledged_when_others_have_taken_its_place() {
    assert_eq!(led_again(false), [(None, 0)]);
    assert_eq!(led_again(true), [(Some(ErrorCode::NotLeaderOrFollower), -1)]);
}

#[test]
fn a_replica_that_has_gone_does_not_come_back() {
    let harness = Harness::new(&[LOCAL]);
    harness.manager.take_offline(&TopicPartition::new("t", 0), at(1));
    // Whoever has looked it up before brings news of it.
    harness.partition.assign(assignment(&[LOCAL], 1), MonoMs(2));
    assert!(!harness.partition.is_leader());
    assert_eq!(outcome(&harness.produce(1, 100, &["a"], at(3))), [(Some(ErrorCode::KafkaStorageError), -1)]);
}

#[test]
fn a_removed_partition_answers_who_waits_and_who_comes_late() {
    let harness = Harness::new(&[LOCAL]);
    let consumer = harness.fetch(0, -1, ReaderKind::Consumer, 1, at(1));
    let removed =
        harness.manager.remove(&TopicPartition::new("t", 0), ErrorCode::UnknownTopicOrPartition, at(2));
    assert!(removed.is_some());
    assert_eq!(taken(&consumer)[0].0, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(
        outcome(&harness.produce(1, 100, &["late"], at(3))),
        [(Some(ErrorCode::UnknownTopicOrPartition), -1)]
    );
    assert!(harness.manager.partition("t", 0).is_none());
    assert!(harness.manager.partition_by_id(Uuid([3; 16]), 0).is_none());
}

#[test]
fn records_are_deleted_up_to_the_high_watermark() {
    let harness = Harness::new(&[LOCAL]);
    harness.produce(1, 100, &["a", "b", "c"], at(1));
    let delete = |offset: i64| {
        let answers: Answers<Result<Offset, ErrorCode>> = Arc::default();
        let into = Arc::clone(&answers);
        let deletions = vec![(Ok(Arc::clone(&harness.partition)), Offset(offset))];
        harness.manager.delete_records(deletions, 100, at(2), move |results| into.lock().extend(results));
        taken(&answers).remove(0)
    };
    assert_eq!(delete(2), Ok(Offset(2)));
    assert_eq!(delete(4), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(-2), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(-1), Ok(Offset(3)));
    assert_eq!(
        taken(&harness.fetch(0, -1, ReaderKind::Consumer, 1, at(3)))[0].0,
        ErrorCode::OffsetOutOfRange
    );
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<i64>>);

impl PartitionListener for Heard {
    fn high_watermark_updated(&self, _: &TopicPartition, high_watermark: Offset) {
        self.0.lock().push(high_watermark.0);
    }
}

#[test]
fn a_listener_hears_of_the_high_watermark() {
    let harness = Harness::new(&[LOCAL]);
    let heard = Arc::new(Heard::default());
    harness.partition.set_listener(Some(Arc::clone(&heard) as Arc<dyn PartitionListener>));
    harness.produce(1, 100, &["a", "b"], at(1));
    harness.produce(1, 100, &["c"], at(2));
    assert_eq!(*heard.0.lock(), [2, 3]);
}

#[test]
fn a_replica_follows_its_newest_leader_whoever_looks_at_the_same_time() {
    let harness = Harness::new(&[OTHER, LOCAL]);
    let leaders = [OTHER, NodeId(3)];
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // As who finds room for it again.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                harness.manager.follow_leader(&harness.partition, at(0));
            }
        });
        let followed: Vec<_> = (1..3_000)
            .map(|epoch| {
                let leader = leaders[epoch as usize % 2];
                let assignment = Assignment {
                    replicas: vec![leaders[0], leaders[1], LOCAL],
                    ..assignment(&[leader, LOCAL], epoch)
                };
                harness
                    .manager
                    .assign(assignment, || open(&harness.context), at(0))
                    .expect("the log is open");
                ((leader, LeaderEpoch(epoch)), harness.manager.fetchers.followed())
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        for (newest, followed) in followed {
            assert_eq!(followed, [newest]);
        }
    });
}
