//! Share partitions over a log on a simulated disk, with a share coordinator that answers when the test says so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ottla_log::LogContext;
use ottla_log::disk::SimDisk;
use ottla_log::disk::sim::Call as DiskCall;
use ottla_log::producer_state::ProducerStateConfig;
use ottla_record::AppendOrigin;
use ottla_types::{NodeId, Now, Offset, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::*;
use crate::tests::{Answers, FETCHERS, LOCAL, OTHER, assignment, at, batch, logs, open, taken};
use crate::{
    NoOtherBrokers, Partition, ProduceEntry, ProduceParams, RateWindow, ReplicaManager, ReplicaSelector,
    ReplicaSettings,
};

const TOPIC: Uuid = Uuid([3; 16]);
const LOCK_MS: u64 = 30_000;

/// What waits for an answer of the share coordinator.
enum Call {
    Read(Persisted<PersistedState>),
    Write(Persisted<()>),
}

#[derive(Default)]
struct Coordinator {
    calls: Mutex<VecDeque<Call>>,
    /// Reads are answered with this, and writes with success, at once.
    answers_at_once: Mutex<Option<PersistedState>>,
    writes: Mutex<Vec<StateWrite>>,
    /// Writes that are being made, one within the other, and how many these were at most.
    depth: Mutex<(usize, usize)>,
}

impl Persister for Coordinator {
    fn read(&self, _: &SharePartitionId, _: i32, now: Now, done: Persisted<PersistedState>) {
        let state = self.answers_at_once.lock().clone();
        match state {
            Some(state) => done(Ok(state), now),
            None => self.calls.lock().push_back(Call::Read(done)),
        }
    }

    fn write(&self, _: &SharePartitionId, write: StateWrite, now: Now, done: Persisted<()>) {
        self.writes.lock().push(write);
        if self.answers_at_once.lock().is_some() {
            {
                let (now, most) = &mut *self.depth.lock();
                *now += 1;
                *most = (*most).max(*now);
            }
            done(Ok(()), now);
            self.depth.lock().0 -= 1;
            return;
        }
        self.calls.lock().push_back(Call::Write(done));
    }
}

/// Letters wait until the test lets them go.
#[derive(Default)]
struct Letters(Mutex<VecDeque<(Vec<DeadRecords>, LettersWritten)>>);

impl DeadLetters for Letters {
    fn write(
        &self,
        _: &SharePartitionId,
        _: Arc<Partition>,
        dead: Vec<DeadRecords>,
        _: Now,
        done: LettersWritten,
    ) {
        self.0.lock().push_back((dead, done));
    }
}

struct Settings(Mutex<OffsetReset>);

impl ShareGroups for Settings {
    fn settings(&self, _: &str) -> ShareGroupSettings {
        ShareGroupSettings {
            partition: ShareSettings {
                record_lock_duration_ms: LOCK_MS as i32,
                delivery_count_limit: 5,
                max_record_locks: 200,
                may_renew: true,
                keeps_dead_letters: true,
            },
            offset_reset: *self.0.lock(),
            read_committed: false,
        }
    }
}

struct Harness {
    replicas: Arc<ReplicaManager>,
    shares: Arc<SharePartitions>,
    coordinator: Arc<Coordinator>,
    letters: Arc<Letters>,
    partition: Arc<Partition>,
    context: Arc<LogContext>,
    disk: SimDisk,
    settings: Arc<Settings>,
    /// How often something was left to those who wait for the disk.
    left_to_others: Arc<AtomicUsize>,
    /// So long has taken what is under way.
    late_ms: Arc<AtomicU64>,
}

/// Error, first, last and count of what was acquired, and bytes of records.
type Found = (ErrorCode, Vec<(i64, i64, i16)>, u32);

impl Harness {
    fn new() -> Harness {
        let harness = Harness::without_answers();
        *harness.coordinator.answers_at_once.lock() = Some(PersistedState::default());
        harness
    }

    fn without_answers() -> Harness {
        let settings = ReplicaSettings {
            producer_purgatory_purge_interval: 1000,
            fetch_purgatory_purge_interval: 1000,
            delete_records_purgatory_purge_interval: 1000,
            share_fetch_purgatory_purge_interval: 1,
            lag_time_max_ms: 30_000,
            selector: ReplicaSelector::Leader,
            fetchers: FETCHERS,
            quota_window: RateWindow::default(),
            moves_window: RateWindow::default(),
            moves_at_once: 1,
        };
        let disk = SimDisk::new(1);
        let (brokers, wake_at) = (Arc::new(NoOtherBrokers), Arc::new(|_| {}));
        let left_to_others = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&left_to_others);
        let read_later = Arc::new(move |job: Box<dyn FnOnce() + Send>| {
            counter.fetch_add(1, Ordering::Relaxed);
            job();
        });
        let logs = logs(&disk);
        let replicas = Arc::new(ReplicaManager::new(LOCAL, settings, logs, brokers, wake_at, read_later));
        let context = LogContext::new(Arc::new(disk.clone()), ProducerStateConfig::default());
        let partition = replicas.assign(assignment(&[LOCAL], 0), || open(&context), at(0)).unwrap();
        let coordinator = Arc::new(Coordinator::default());
        let letters = Arc::new(Letters::default());
        let settings = Arc::new(Settings(Mutex::new(OffsetReset::Earliest)));
        let late_ms = Arc::<AtomicU64>::default();
        let shares = Arc::new(SharePartitions::new(
            Arc::clone(&replicas),
            Arc::clone(&coordinator) as _,
            Arc::clone(&letters) as _,
            Arc::clone(&settings) as _,
            Arc::new({
                let late_ms = Arc::clone(&late_ms);
                move |began: Now| at(began.mono.0 + late_ms.load(Ordering::Relaxed))
            }),
        ));
        Harness {
            replicas,
            shares,
            coordinator,
            letters,
            partition,
            context,
            disk,
            settings,
            left_to_others,
            late_ms,
        }
    }

    fn id() -> SharePartitionId {
        SharePartitionId { group_id: Arc::from("g"), topic_id: TOPIC, partition: 0 }
    }

    fn assign(&self, leader: NodeId, epoch: i32, now: Now) {
        let assignment = assignment(&[leader], epoch);
        self.replicas.assign(assignment, || open(&self.context), now).unwrap();
        self.shares.forget_stale(now);
    }

    fn produce(&self, values: &[&str], now: Now) {
        let entry = ProduceEntry::new(Ok(Arc::clone(&self.partition)), batch(values, now));
        let params = ProduceParams {
            required_acks: 1,
            timeout_ms: 100,
            origin: AppendOrigin::Client,
            transaction_version: 0,
        };
        self.replicas.produce(params, vec![entry], now, |_| {});
    }

    fn fetch(&self, member: &str, max_records: i32, now: Now) -> Answers<Found> {
        let answers: Answers<Found> = Arc::default();
        let into = Arc::clone(&answers);
        let params = ShareFetchParams {
            group_id: Arc::from("g"),
            member: Arc::from(member),
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            limits: AcquireLimits { mode: AcquireMode::BatchOptimized, max_records, batch_size: 500 },
        };
        let wanted = vec![(Harness::id(), Ok(Arc::clone(&self.partition)))];
        self.shares.fetch(params, wanted, now, move |fetched| {
            let found = fetched.into_iter().map(|found| {
                let acquired =
                    found.acquired.iter().map(|a| (a.first_offset.0, a.last_offset.0, a.delivery_count));
                (found.error, acquired.collect(), found.records.map_or(0, |records| records.len))
            });
            into.lock().extend(found);
        });
        answers
    }

    fn accept(&self, member: &str, first: i64, last: i64, now: Now) -> Answers<Result<(), ErrorCode>> {
        self.say(AcknowledgeType::Accept, member, first, last, now)
    }

    fn say(
        &self,
        kind: AcknowledgeType,
        member: &str,
        first: i64,
        last: i64,
        now: Now,
    ) -> Answers<Result<(), ErrorCode>> {
        let answers: Answers<Result<(), ErrorCode>> = Arc::default();
        let into = Arc::clone(&answers);
        let batch = AcknowledgementBatch {
            first_offset: Offset(first),
            last_offset: Offset(last),
            types: vec![kind],
        };
        let done = Box::new(move |result| into.lock().push(result));
        self.shares.acknowledge(&Harness::id(), &Arc::from(member), &[batch], now, done);
        answers
    }

    fn answer(&self, result: Result<(), ErrorCode>, now: Now) {
        let call = self.coordinator.calls.lock().pop_front().expect("somebody waits");
        match call {
            Call::Read(done) => done(result.map(|()| PersistedState::default()), now),
            Call::Write(done) => done(result, now),
        }
    }
}

#[test]
fn letters_are_written_before_what_they_are_about_is_given_up() {
    let harness = Harness::new();
    harness.produce(&["a", "b", "c"], at(0));
    assert_eq!(acquired(&harness.fetch("m", 100, at(0))), Some(vec![(0, 2, 1)]));
    let rejected = harness.say(AcknowledgeType::Reject, "m", 0, 1, at(1));
    let accepted = harness.accept("m", 2, 2, at(2));
    assert!(harness.coordinator.writes.lock().is_empty(), "the letters are not written yet");
    let (dead, done) = harness.letters.0.lock().pop_front().unwrap();
    let expected = DeadRecords {
        first_offset: Offset(0),
        last_offset: Offset(1),
        delivery_count: 1,
        why: GivenUp::Rejected,
    };
    assert_eq!(dead, [expected]);
    assert!(taken(&rejected).is_empty() && taken(&accepted).is_empty(), "one after the other");
    done(at(3));
    assert_eq!((taken(&rejected), taken(&accepted)), (vec![Ok(())], vec![Ok(())]));
    let writes = harness.coordinator.writes.lock();
    let states: Vec<RecordState> =
        writes.iter().flat_map(|write| write.batches.iter().map(|batch| batch.state)).collect();
    assert_eq!(states, [RecordState::Archived, RecordState::Acknowledged]);
    assert!(harness.letters.0.lock().is_empty());
}

#[test]
fn changes_that_have_waited_are_written_one_after_the_other_and_not_one_within_the_other() {
    let harness = Harness::new();
    harness.produce(&["a"; 100], at(0));
    assert_eq!(acquired(&harness.fetch("m", 100, at(0))), Some(vec![(0, 99, 1)]));
    let rejected = harness.say(AcknowledgeType::Reject, "m", 0, 0, at(1));
    let accepted: Vec<_> = (1..100).map(|offset| harness.accept("m", offset, offset, at(1))).collect();
    let (_, done) = harness.letters.0.lock().pop_front().unwrap();
    done(at(2));
    assert_eq!(taken(&rejected), [Ok(())]);
    assert!(accepted.iter().all(|answers| taken(answers) == [Ok(())]));
    let starts: Vec<i64> =
        harness.coordinator.writes.lock().iter().map(|write| write.batches[0].first_offset.0).collect();
    assert!(starts.iter().copied().eq(0..100), "{starts:?}");
    let (_, most) = *harness.coordinator.depth.lock();
    assert!(most <= 2, "{most} at once");
}

fn acquired(answers: &Answers<Found>) -> Option<Vec<(i64, i64, i16)>> {
    let mut found = taken(answers);
    let (error, acquired, bytes) = found.pop()?;
    assert_eq!((error, bytes > 0), (ErrorCode::None, !acquired.is_empty()));
    Some(acquired)
}

#[test]
fn records_are_given_out_once_and_carry_no_other_batches() {
    let harness = Harness::new();
    for value in ["a", "b", "c"] {
        harness.produce(&[value, value], at(1));
    }
    let first = harness.fetch("x", 1, at(2));
    let (_, _, bytes_of_first) = first.lock()[0].clone();
    assert_eq!(acquired(&first), Some(vec![(0, 1, 1)]));
    let rest = harness.fetch("y", 100, at(2));
    assert_eq!(rest.lock()[0].2, 2 * bytes_of_first);
    assert_eq!(acquired(&rest), Some(vec![(2, 5, 1)]));
    assert_eq!(taken(&harness.accept("x", 0, 1, at(3))), [Ok(())]);
    assert_eq!(taken(&harness.accept("x", 2, 5, at(3))), [Err(ErrorCode::InvalidRecordState)]);
    assert_eq!(taken(&harness.accept("y", 2, 5, at(3))), [Ok(())]);
    assert_eq!(harness.coordinator.writes.lock().len(), 2);
}

#[test]
fn who_waits_for_the_disk_keeps_nobody_else_waiting() {
    let harness = Harness::new();
    harness.produce(&["a"], at(0));
    assert_eq!(acquired(&harness.fetch("x", 100, at(0))), Some(vec![(0, 0, 1)]));
    harness.produce(&["b"], at(1));
    let (shares, partition) = (Arc::clone(&harness.shares), Arc::clone(&harness.partition));
    let (says, hears) = mpsc::channel();
    harness.disk.before_next(DiskCall::Read, move || {
        let (shares, after) = (Arc::clone(&shares), says.clone());
        let others = thread::spawn(move || {
            let done = Box::new(move |result| after.send(result).expect("it is waited for"));
            let batch = AcknowledgementBatch {
                first_offset: Offset(0),
                last_offset: Offset(0),
                types: vec![AcknowledgeType::Release],
            };
            assert!(shares.entry(&Harness::id(), &partition, at(2)).is_ok());
            shares.acknowledge(&Harness::id(), &Arc::from("x"), &[batch], at(2), done);
        });
        // One that hangs would hang for ever.
        let started = Instant::now();
        while !others.is_finished() && started.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    // It is at what comes next, and what came back meanwhile comes after it.
    assert_eq!(acquired(&harness.fetch("y", 100, at(2))), Some(vec![(1, 1, 1)]));
    assert_eq!(hears.try_recv(), Ok(Ok(())), "said while the disk was read");
    assert_eq!(acquired(&harness.fetch("y", 100, at(3))), Some(vec![(0, 0, 2)]));
}

#[test]
fn who_brings_the_state_does_not_look_for_a_time_in_the_log() {
    for (reset, left_to_others) in [(OffsetReset::ByDuration(5), 1), (OffsetReset::Earliest, 0)] {
        let harness = Harness::without_answers();
        *harness.settings.0.lock() = reset;
        harness.produce(&["a"], at(0));
        harness.produce(&["b"], at(10));
        let waiting = harness.fetch("x", 100, at(12));
        let before = harness.left_to_others.load(Ordering::Relaxed);
        harness.answer(Ok(()), at(12));
        let of_fetch = 1;
        assert_eq!(harness.left_to_others.load(Ordering::Relaxed) - before, left_to_others + of_fetch);
        let from = i64::from(left_to_others > 0);
        assert_eq!(acquired(&waiting), Some(vec![(from, 1, 1)]), "{reset:?}");
    }
}

#[test]
fn a_fetch_waits_for_records_or_its_time() {
    let harness = Harness::new();
    let waiting = harness.fetch("x", 100, at(0));
    assert_eq!(acquired(&waiting), None);
    harness.produce(&["a"], at(10));
    assert_eq!(acquired(&waiting), Some(vec![(0, 0, 1)]));
    let waiting = harness.fetch("x", 100, at(20));
    assert_eq!(harness.shares.next_deadline().0, 520);
    harness.shares.tick(at(520));
    assert_eq!(acquired(&waiting), Some(Vec::new()));
}

#[test]
fn what_comes_back_wakes_who_waits() {
    let harness = Harness::new();
    harness.produce(&["a", "b"], at(0));
    harness.fetch("x", 100, at(0));
    let waiting = harness.fetch("y", 100, at(LOCK_MS - 1));
    assert_eq!(acquired(&waiting), None);
    harness.shares.tick(at(LOCK_MS));
    assert_eq!(acquired(&waiting), Some(vec![(0, 1, 2)]));
    let waiting = harness.fetch("x", 100, at(LOCK_MS + 1));
    let done: Answers<Result<(), ErrorCode>> = Arc::default();
    let into = Arc::clone(&done);
    harness.shares.release(
        &Harness::id(),
        &Arc::from("y"),
        at(LOCK_MS + 2),
        Box::new(move |r| into.lock().push(r)),
    );
    assert_eq!(taken(&done), [Ok(())]);
    assert_eq!(acquired(&waiting), Some(vec![(0, 1, 3)]));
}

#[test]
fn locks_begin_when_records_were_read_however_long_the_disk_took() {
    const SLOW_MS: u64 = LOCK_MS + 1_000;
    let harness = Harness::new();
    harness.produce(&["a"], at(0));
    let late_ms = Arc::clone(&harness.late_ms);
    harness.disk.before_next(DiskCall::Read, move || late_ms.store(SLOW_MS, Ordering::Relaxed));
    assert_eq!(acquired(&harness.fetch("x", 100, at(0))), Some(vec![(0, 0, 1)]));
    harness.late_ms.store(0, Ordering::Relaxed);
    assert_eq!(harness.shares.next_deadline(), at(SLOW_MS + LOCK_MS).mono);
    let waiting = harness.fetch("y", 100, at(SLOW_MS + LOCK_MS - 1));
    harness.shares.tick(at(SLOW_MS + LOCK_MS - 1));
    assert_eq!(acquired(&waiting), None, "x still has it");
    harness.shares.tick(at(SLOW_MS + LOCK_MS));
    assert_eq!(acquired(&waiting), Some(vec![(0, 0, 2)]));
}

#[test]
fn nobody_is_served_before_the_state_is_there() {
    let harness = Harness::without_answers();
    harness.produce(&["a"], at(0));
    let waiting = harness.fetch("x", 100, at(0));
    assert_eq!(acquired(&waiting), None);
    harness.answer(Ok(()), at(5));
    assert_eq!(acquired(&waiting), Some(vec![(0, 0, 1)]));
    assert!(harness.shares.len() == 1);
}

#[test]
fn a_state_that_can_t_be_had_is_asked_for_again_by_the_next() {
    let harness = Harness::without_answers();
    harness.produce(&["a"], at(0));
    let waiting = harness.fetch("x", 100, at(0));
    harness.answer(Err(ErrorCode::InvalidRequest), at(5));
    assert_eq!(taken(&waiting), [(ErrorCode::UnknownServerError, Vec::new(), 0)]);
    let waiting = harness.fetch("x", 100, at(6));
    harness.answer(Ok(()), at(7));
    assert_eq!(acquired(&waiting), Some(vec![(0, 0, 1)]));
}

#[test]
fn changes_reach_the_coordinator_one_after_the_other() {
    let harness = Harness::without_answers();
    for value in ["a", "b", "c"] {
        harness.produce(&[value], at(0));
    }
    let fetched = harness.fetch("x", 100, at(0));
    harness.answer(Ok(()), at(0));
    assert_eq!(acquired(&fetched), Some(vec![(0, 2, 1)]));
    let accepted: Vec<_> = (0..3).map(|offset| harness.accept("x", offset, offset, at(1))).collect();
    for result in [Ok(()), Err(ErrorCode::CoordinatorNotAvailable), Ok(())] {
        assert_eq!(harness.coordinator.calls.lock().len(), 1);
        harness.answer(result, at(2));
    }
    let results: Vec<_> = accepted.iter().flat_map(taken).collect();
    assert_eq!(results, [Ok(()), Err(ErrorCode::CoordinatorNotAvailable), Ok(())]);
    // What failed is still with its member.
    let again = harness.accept("x", 1, 1, at(3));
    harness.answer(Ok(()), at(3));
    assert_eq!(taken(&again), [Ok(())]);
}

#[test]
fn a_leader_that_was_fenced_starts_over() {
    let harness = Harness::without_answers();
    harness.produce(&["a"], at(0));
    harness.fetch("x", 100, at(0));
    harness.answer(Ok(()), at(0));
    let accepted = harness.accept("x", 0, 0, at(1));
    let waiting = harness.fetch("y", 100, at(1));
    harness.answer(Err(ErrorCode::FencedStateEpoch), at(2));
    assert_eq!(taken(&accepted), [Err(ErrorCode::NotLeaderOrFollower)]);
    assert_eq!(taken(&waiting), [(ErrorCode::NotLeaderOrFollower, Vec::new(), 0)]);
    assert!(harness.shares.is_empty());
    let again = harness.fetch("y", 100, at(3));
    harness.answer(Ok(()), at(3));
    assert_eq!(acquired(&again), Some(vec![(0, 0, 1)]));
}

#[test]
fn who_waits_hears_of_a_new_leader_and_a_new_epoch_loads_anew() {
    let harness = Harness::new();
    harness.produce(&["a"], at(0));
    harness.fetch("x", 100, at(0));
    let waiting = harness.fetch("y", 100, at(1));
    harness.assign(OTHER, 1, at(2));
    assert_eq!(taken(&waiting), [(ErrorCode::NotLeaderOrFollower, Vec::new(), 0)]);
    assert!(harness.shares.is_empty());
    assert_eq!(taken(&harness.accept("x", 0, 0, at(3))), [Err(ErrorCode::UnknownTopicOrPartition)]);
    assert_eq!(taken(&harness.fetch("y", 100, at(3))), [(ErrorCode::NotLeaderOrFollower, Vec::new(), 0)]);
    harness.assign(LOCAL, 2, at(4));
    assert_eq!(acquired(&harness.fetch("y", 100, at(5))), Some(vec![(0, 0, 1)]));
}

#[test]
fn a_group_without_sessions_is_read_anew() {
    let harness = Harness::new();
    harness.produce(&["a", "b"], at(0));
    harness.fetch("x", 100, at(0));
    harness.shares.forget_group("other", at(1));
    assert_eq!(harness.shares.len(), 1);
    harness.shares.forget_group("g", at(1));
    let start_offset = Some(Offset(1));
    *harness.coordinator.answers_at_once.lock() = Some(PersistedState { start_offset, ..Default::default() });
    assert_eq!(acquired(&harness.fetch("x", 100, at(2))), Some(vec![(1, 1, 1)]));
}

#[test]
fn a_group_that_is_gone_is_read_anew_when_all_that_it_said_is_kept() {
    for comes_back in [false, true] {
        let harness = Harness::without_answers();
        harness.produce(&["a", "b"], at(0));
        harness.fetch("x", 100, at(0));
        harness.answer(Ok(()), at(0));
        let accepted = [0, 1].map(|offset| harness.accept("x", offset, offset, at(1)));
        harness.shares.forget_group("g", at(2));
        let next = comes_back.then(|| harness.fetch("y", 100, at(3)));
        for _ in 0..2 {
            assert_eq!(harness.coordinator.calls.lock().len(), 1, "nobody reads what was before");
            harness.answer(Ok(()), at(4));
        }
        assert!(accepted.iter().all(|accepted| taken(accepted) == [Ok(())]));
        assert_eq!(harness.shares.len(), usize::from(comes_back));
        if let Some(next) = next {
            harness.produce(&["c"], at(5));
            assert_eq!(acquired(&next), Some(vec![(2, 2, 1)]));
        }
    }
}

mod sessions {
    use super::*;

    fn key(member: &str) -> SessionKey {
        SessionKey { group_id: Arc::from("g"), member: Arc::from(member) }
    }

    fn request(member: &str, epoch: i32, added: &[i32], forgotten: &[i32]) -> ShareSessionRequest {
        let partitions = |of: &[i32]| of.iter().map(|partition| (TOPIC, *partition)).collect();
        ShareSessionRequest {
            key: key(member),
            epoch,
            connection: member.len() as u64,
            partitions: partitions(added),
            forgotten: partitions(forgotten),
            has_acknowledgements: false,
        }
    }

    fn numbers(context: Result<ShareFetchContext, ErrorCode>) -> Result<Vec<i32>, ErrorCode> {
        context.map(|context| context.partitions.iter().map(|(_, partition)| *partition).collect())
    }

    #[test]
    fn a_session_holds_its_partitions_and_counts_its_requests() {
        let sessions = ShareSessions::new(10);
        assert_eq!(numbers(sessions.begin(request("a", 1, &[], &[]))), Err(ErrorCode::ShareSessionNotFound));
        assert_eq!(numbers(sessions.begin(request("a", 0, &[1, 2, 1], &[]))), Ok(vec![1, 2]));
        assert_eq!(numbers(sessions.begin(request("a", 1, &[3], &[1]))), Ok(vec![2, 3]));
        assert_eq!(
            numbers(sessions.begin(request("a", 1, &[], &[]))),
            Err(ErrorCode::InvalidShareSessionEpoch)
        );
        assert_eq!(sessions.acknowledge(&key("a"), 1), Err(ErrorCode::InvalidShareSessionEpoch));
        assert_eq!(sessions.acknowledge(&key("a"), 0), Err(ErrorCode::InvalidShareSessionEpoch));
        assert_eq!(sessions.acknowledge(&key("b"), 2), Err(ErrorCode::ShareSessionNotFound));
        assert_eq!(sessions.acknowledge(&key("a"), 2), Ok(()));
        let context = sessions.begin(request("a", 3, &[], &[])).unwrap();
        assert_eq!((context.rotation, context.kind), (1, ContextKind::Incremental));
        assert_eq!(numbers(sessions.begin(request("a", FINAL_EPOCH, &[], &[]))), Ok(Vec::new()));
        assert_eq!(sessions.acknowledge(&key("a"), FINAL_EPOCH), Ok(()));
        let ended = sessions.end(&key("a")).unwrap();
        assert_eq!((ended.partitions, ended.was_last_of_group), (vec![(TOPIC, 2), (TOPIC, 3)], true));
        assert_eq!(sessions.end(&key("a")), None);
        assert_eq!(sessions.acknowledge(&key("a"), FINAL_EPOCH), Err(ErrorCode::ShareSessionNotFound));
    }

    #[test]
    fn there_are_not_more_than_allowed_and_none_begins_with_acknowledgements() {
        let sessions = ShareSessions::new(1);
        let hasty = ShareSessionRequest { has_acknowledgements: true, ..request("a", 0, &[1], &[]) };
        assert_eq!(numbers(sessions.begin(hasty)), Err(ErrorCode::InvalidRequest));
        assert_eq!(numbers(sessions.begin(request("a", 0, &[1], &[]))), Ok(vec![1]));
        assert_eq!(
            numbers(sessions.begin(request("bb", 0, &[1], &[]))),
            Err(ErrorCode::ShareSessionLimitReached)
        );
        assert_eq!(numbers(sessions.begin(request("a", 0, &[2], &[]))), Ok(vec![2]));
    }

    #[test]
    fn a_connection_takes_its_sessions_along() {
        let sessions = ShareSessions::new(10);
        for member in ["a", "b", "cc"] {
            sessions.begin(request(member, 0, &[1], &[])).unwrap();
        }
        let mut ended = sessions.connection_closed(1);
        ended.sort_by_key(|ended| ended.key.clone());
        let members: Vec<_> = ended.iter().map(|e| (&*e.key.member, e.was_last_of_group)).collect();
        assert_eq!(members, [("a", false), ("b", false)]);
        assert!(sessions.connection_closed(1).is_empty());
        assert!(sessions.connection_closed(2)[0].was_last_of_group);
    }

    #[test]
    fn an_answer_carries_what_is_new() {
        let sessions = ShareSessions::new(10);
        let of = |partition, has_records, has_error| ((TOPIC, partition), has_records, has_error);
        let first = sessions.begin(request("a", 0, &[1, 2], &[])).unwrap();
        assert_eq!(sessions.carried(&first, &[of(1, false, false), of(2, false, false)]), [true, true]);
        let next = sessions.begin(request("a", 1, &[], &[])).unwrap();
        assert_eq!(sessions.carried(&next, &[of(1, true, false), of(2, false, true)]), [true, true]);
        assert_eq!(sessions.carried(&next, &[of(1, false, false), of(2, false, false)]), [false, true]);
        assert_eq!(sessions.carried(&next, &[of(1, false, false), of(2, false, false)]), [false, false]);
    }
}
