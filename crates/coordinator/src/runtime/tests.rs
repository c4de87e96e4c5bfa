use std::sync::Arc;

use bytes::Bytes;
use ottla_testkit::cases;
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, ProducerEpoch, ProducerId, Timestamp};
use ottla_wire::ErrorCode;
use proptest::prelude::*;
use rpds::RedBlackTreeMapSync;

use super::cell::EVENTS_A_TURN;
use super::*;
use crate::testing::{Content, Inbox, Jobs, MemoryLog, MemoryLogs};

/// A shard that counts: each key has a number, and a timer that counts once more.
#[derive(Debug, Default)]
struct Counters {
    parked: Vec<Responder<i64>>,
    outcomes: Vec<Result<(), ErrorCode>>,
}

type Counts = RedBlackTreeMapSync<String, i64>;

impl Shard for Counters {
    type State = Counts;
    type Record = (String, Option<i64>);
    type Timer = String;
    type Completion = ();

    const BASE_SEQUENCE: i32 = 0;

    fn encode((key, value): &Self::Record) -> Result<EncodedRecord, ErrorCode> {
        let value = value.map(|value| Bytes::from(value.to_string()));
        Ok(EncodedRecord { key: Bytes::from(key.clone()), value })
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, DecodeError> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match text(key).as_str() {
            "unknown" => Ok(None),
            "broken" => Err(DecodeError { record_type: 9, reason: "broken".into() }),
            key => Ok(Some((key.to_owned(), value.map(|value| text(value).parse().unwrap())))),
        }
    }

    fn replay(state: &mut Counts, _offset: Offset, producer: Option<Producer>, record: Self::Record) {
        let (key, value) = record;
        let key = if producer.is_some() { format!("pending {key}") } else { key };
        match value {
            Some(value) => state.insert_mut(key, value),
            None => drop(state.remove_mut(&key)),
        }
    }

    fn replay_end_transaction(state: &mut Counts, _producer: Producer, committed: bool) {
        state.insert_mut("ended".into(), i64::from(committed));
    }

    fn loaded(&mut self, turn: &mut Turn<'_, Self>) {
        turn.schedule("timer".into(), 100);
    }

    fn timer_fired(&mut self, turn: &mut Turn<'_, Self>, timer: String) {
        add(turn, &timer);
    }

    fn completed(&mut self, _turn: &mut Turn<'_, Self>, _completion: (), result: Result<(), ErrorCode>) {
        self.outcomes.push(result);
    }
}

fn add(turn: &mut Turn<'_, Counters>, key: &str) -> i64 {
    let value = turn.state.get(key).copied().unwrap_or(0) + 1;
    turn.record((key.to_owned(), Some(value)));
    value
}

struct Rig {
    logs: Arc<MemoryLogs>,
    jobs: Jobs,
    runtime: Arc<Runtime<Counters>>,
}

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(ms as i64), mono: MonoMs(ms) }
}

const LINGER: Option<i32> = Some(10);

impl Rig {
    fn new(append_linger_ms: Option<i32>) -> Rig {
        Rig::with_log(append_linger_ms, MemoryLog::default())
    }

    fn with_log(append_linger_ms: Option<i32>, log: MemoryLog) -> Rig {
        let logs = MemoryLogs::new();
        logs.set_log(0, log);
        let config = RuntimeConfig { write_timeout_ms: 5000, append_linger_ms, load_buffer_bytes: 2048 };
        let runtime = Runtime::new("counts", config, logs.clone(), logs.clone(), |_| Counters::default());
        let jobs = Jobs::default();
        let runtime = Arc::new(runtime.within(jobs.outside()));
        let rig = Rig { logs, jobs, runtime };
        rig.runtime.become_leader(0, LeaderEpoch(1));
        rig
    }

    fn loaded(self) -> Rig {
        let mut load = self.runtime.next_load().unwrap();
        while load.step(at(0)) == LoadProgress::More {}
        self
    }

    fn add(&self, key: &str, ms: u64) -> Inbox<i64> {
        let (inbox, responder) = Inbox::new();
        let key = key.to_owned();
        self.runtime.submit(0, at(ms), responder, move |_, turn, responder| {
            let value = add(turn, &key);
            turn.on_completion(());
            turn.reply(responder, value);
        });
        inbox
    }

    fn read<T: Clone + Send + 'static>(
        &self,
        look: impl FnOnce(&Counters, &Turn<'_, Counters>) -> T + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let (inbox, responder) = Inbox::new();
        self.runtime.submit(0, at(0), responder, move |shard, turn, responder| {
            let seen = look(shard, turn);
            turn.reply_at_once(responder, Ok(seen));
        });
        inbox.get().unwrap()
    }

    fn state(&self) -> Counts {
        self.read(|_, turn| turn.state.clone()).unwrap()
    }

    fn committed(&self) -> Counts {
        self.read(|_, turn| turn.committed.clone()).unwrap()
    }

    fn outcomes(&self) -> Vec<Result<(), ErrorCode>> {
        self.read(|shard, _| shard.outcomes.clone()).unwrap()
    }

    fn commit(&self) {
        self.runtime.high_watermark_updated(0, self.logs.commit(0));
    }
}

fn counts<const N: usize>(entries: [(&str, i64); N]) -> Counts {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the log up to `end` replays to.
fn replayed(log: &MemoryLog, end: Offset) -> Counts {
    Rig::with_log(None, log.truncated(end)).loaded().state()
}

#[test]
fn a_response_waits_for_its_commit_and_later_operations_do_not() {
    let rig = Rig::new(None).loaded();
    let first = rig.add("a", 1);
    let second = rig.add("a", 1);
    assert_eq!((first.get(), second.get()), (None, None));
    assert_eq!((rig.state(), rig.committed()), (counts([("a", 2)]), counts([])));

    rig.runtime.high_watermark_updated(0, Offset(1));
    assert_eq!((first.get(), second.get()), (Some(Ok(1)), None));
    assert_eq!(rig.committed(), counts([("a", 1)]));
    rig.runtime.high_watermark_updated(0, Offset(2));
    assert_eq!(second.get(), Some(Ok(2)));
    assert_eq!(rig.committed(), counts([("a", 2)]));
    assert_eq!(rig.outcomes(), [Ok(()), Ok(())]);
}

#[test]
fn a_response_without_records_waits_for_what_it_was_built_on() {
    let rig = Rig::new(None).loaded();
    rig.add("a", 1);
    let (inbox, responder) = Inbox::new();
    rig.runtime.submit(0, at(1), responder, |_, turn, responder| {
        let value = turn.state["a"];
        turn.reply(responder, value);
    });
    assert_eq!(inbox.get(), None);
    rig.commit();
    assert_eq!(inbox.get(), Some(Ok(1)));
}

#[test]
fn a_failed_append_leaves_no_trace() {
    let rig = Rig::new(LINGER).loaded();
    let kept = rig.add("kept", 1);
    rig.runtime.tick(at(11));
    let inboxes = [rig.add("a", 20), rig.add("kept", 21)];
    rig.logs.failures.lock().push_back(ErrorCode::NotEnoughReplicas);
    rig.runtime.tick(at(30));
    for inbox in inboxes {
        assert_eq!(inbox.get(), Some(Err(ErrorCode::NotEnoughReplicas)));
    }
    assert_eq!(rig.state(), counts([("kept", 1)]));
    assert_eq!(kept.get(), None);
    rig.commit();
    assert_eq!(kept.get(), Some(Ok(1)));
    let failed = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(rig.outcomes(), [failed, failed, Ok(())]);
}

#[test]
fn operations_share_a_batch_while_it_lingers() {
    let rig = Rig::new(LINGER).loaded();
    assert_eq!(rig.jobs.woken_at(), [rig.runtime.next_deadline()]);
    rig.add("a", 1);
    rig.add("b", 5);
    assert_eq!(rig.runtime.next_deadline(), MonoMs(11));
    assert_eq!(rig.jobs.woken_at(), [MonoMs(11)], "told once, since the second changes nothing of it");
    rig.runtime.tick(at(10));
    assert_eq!(rig.logs.log(0).batches.len(), 0);
    rig.runtime.tick(at(11));
    assert_eq!(rig.logs.log(0).batches.len(), 1);
    assert_eq!(rig.logs.log(0).end(), Offset(2));
}

#[test]
fn a_batch_never_outgrows_the_topics_limit() {
    let rig = Rig::new(LINGER).loaded();
    *rig.logs.max_batch_bytes.lock() = 160;
    let inboxes: Vec<_> = (0..5).map(|_| rig.add("a", 1)).collect();
    rig.runtime.tick(at(11));
    assert_eq!(rig.logs.log(0).batches.len(), 3);
    let too_large = rig.add(&"k".repeat(100), 12);
    assert_eq!(too_large.get(), Some(Err(ErrorCode::MessageTooLarge)));
    rig.commit();
    assert_eq!(inboxes[4].get(), Some(Ok(5)));
    assert_eq!(rig.state(), counts([("a", 5)]));
}

#[test]
fn a_large_cleanup_is_split_but_an_operation_is_not() {
    let rig = Rig::new(None).loaded();
    *rig.logs.max_batch_bytes.lock() = 160;
    let run = |split: bool| {
        let (inbox, responder) = Inbox::new();
        rig.runtime.submit(0, at(1), responder, move |_, turn, responder| {
            for key in ["a", "b", "c"] {
                add(turn, key);
            }
            if split {
                turn.allow_split();
            }
            turn.reply(responder, 0);
        });
        rig.commit();
        inbox.get()
    };
    assert_eq!(run(false), Some(Err(ErrorCode::MessageTooLarge)));
    assert_eq!(rig.state(), counts([]));
    assert_eq!(run(true), Some(Ok(0)));
    assert_eq!(rig.logs.log(0).batches.len(), 2);
}

#[test]
fn who_is_not_committed_in_time_is_told_so_once() {
    let rig = Rig::new(None).loaded();
    let inbox = rig.add("a", 1);
    assert_eq!(rig.runtime.next_deadline(), MonoMs(100));
    rig.runtime.tick(at(5000));
    assert_eq!(inbox.get(), None);
    rig.runtime.tick(at(5001));
    assert_eq!(inbox.get(), Some(Err(ErrorCode::RequestTimedOut)));
    rig.commit();
    assert_eq!(rig.committed()["a"], 1);
    assert_eq!(rig.outcomes(), [Err(ErrorCode::RequestTimedOut)]);
}

#[test]
fn timers_fire_once() {
    let rig = Rig::new(None).loaded();
    rig.runtime.tick(at(99));
    assert_eq!(rig.state(), counts([]));
    rig.runtime.tick(at(100));
    rig.runtime.tick(at(1000));
    assert_eq!(rig.state(), counts([("timer", 1)]));
}

#[test]
fn requests_are_refused_while_loading_and_without_a_shard() {
    let rig = Rig::new(None);
    assert_eq!(rig.add("a", 1).get(), Some(Err(ErrorCode::CoordinatorLoadInProgress)));
    let rig = rig.loaded();
    rig.runtime.resign(0, None);
    assert_eq!(rig.add("a", 1).get(), Some(Err(ErrorCode::NotCoordinator)));
}

#[test]
fn resigning_answers_all_who_wait() {
    let rig = Rig::new(LINGER).loaded();
    let written = rig.add("a", 1);
    rig.runtime.tick(at(11));
    let open = rig.add("a", 12);
    let (parked, responder) = Inbox::new();
    rig.runtime.submit(0, at(12), responder, |shard, _, responder| shard.parked.push(responder));
    rig.runtime.resign(0, Some(LeaderEpoch(1)));
    assert_eq!(parked.get(), None, "an epoch that is not newer is stale");
    rig.runtime.resign(0, Some(LeaderEpoch(2)));
    for inbox in [written, open, parked] {
        assert_eq!(inbox.get(), Some(Err(ErrorCode::NotCoordinator)));
    }
}

#[test]
fn a_load_that_was_overtaken_by_resignation_changes_nothing() {
    let rig = Rig::new(None);
    let mut load = rig.runtime.next_load().unwrap();
    rig.runtime.resign(0, None);
    rig.runtime.become_leader(0, LeaderEpoch(3));
    assert_eq!(load.step(at(0)), LoadProgress::Done);
    assert_eq!(rig.add("a", 1).get(), Some(Err(ErrorCode::CoordinatorLoadInProgress)));
}

#[test]
fn a_log_that_cant_be_read_keeps_the_shard_down_until_the_next_election() {
    let logs = MemoryLogs::new();
    let record = EncodedRecord { key: Bytes::from("broken"), value: None };
    logs.push(0, Content::Records(None, vec![record]));
    let rig = Rig::with_log(None, logs.log(0)).loaded();
    assert_eq!(rig.add("a", 1).get(), Some(Err(ErrorCode::NotCoordinator)));
    rig.logs.set_log(0, MemoryLog::default());
    rig.runtime.become_leader(0, LeaderEpoch(2));
    assert_eq!(rig.loaded().state(), counts([]));
}

#[test]
fn loading_replays_transactions_and_skips_the_unknown() {
    let producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(0) };
    let record = |key: &'static str| EncodedRecord { key: Bytes::from(key), value: Some(Bytes::from("5")) };
    let logs = MemoryLogs::new();
    logs.push(0, Content::Records(None, vec![record("a"), record("unknown")]));
    logs.push(0, Content::Records(Some(producer), vec![record("b")]));
    logs.commit(0);
    logs.push(0, Content::EndTransaction(producer, true));
    let rig = Rig::with_log(None, logs.log(0)).loaded();
    assert_eq!(rig.committed(), counts([("a", 5), ("pending b", 5)]));
    assert_eq!(rig.state(), counts([("a", 5), ("pending b", 5), ("ended", 1)]));
    rig.commit();
    assert_eq!(rig.committed(), rig.state());
}

#[test]
fn the_end_of_a_transaction_is_a_batch_behind_all_that_was_written() {
    let rig = Rig::new(LINGER).loaded();
    let marker = TransactionMarker {
        producer: Producer { id: ProducerId(7), epoch: ProducerEpoch(1) },
        committed: true,
        coordinator_epoch: 3,
        transaction_version: 2,
    };
    let end = |ms| {
        let (inbox, responder) = Inbox::new();
        rig.runtime.end_transaction(0, at(ms), marker, responder);
        inbox
    };
    let waits = rig.add("a", 1);
    let ended = end(1);
    assert_eq!((waits.get(), ended.get()), (None, None), "nothing is committed yet");
    assert_eq!(rig.committed(), counts([]));
    let log = rig.logs.log(0);
    assert_eq!((log.batches.len(), log.batches[1].producer), (2, Some(marker.producer)));
    rig.commit();
    assert_eq!((waits.get(), ended.get()), (Some(Ok(1)), Some(Ok(()))));
    assert_eq!(rig.committed(), counts([("a", 1), ("ended", 1)]));
    let replayed = Rig::with_log(LINGER, rig.logs.log(0)).loaded();
    assert_eq!(replayed.state(), rig.state());

    rig.logs.failures.lock().push_back(ErrorCode::InvalidProducerEpoch);
    let refused = TransactionMarker { committed: false, ..marker };
    let (inbox, responder) = Inbox::new();
    rig.runtime.end_transaction(0, at(2), refused, responder);
    assert_eq!(inbox.get(), Some(Err(ErrorCode::InvalidProducerEpoch)));
    assert_eq!(rig.state(), counts([("a", 1), ("ended", 1)]), "what was not written did not happen");
    rig.runtime.resign(0, None);
    assert_eq!(end(3).get(), Some(Err(ErrorCode::NotCoordinator)));
}

#[test]
fn what_is_committed_while_a_log_is_loaded_counts_as_committed() {
    let logs = MemoryLogs::new();
    for value in 0..5 {
        let value = Some(Bytes::from(value.to_string()));
        logs.push(0, Content::Records(None, vec![EncodedRecord { key: Bytes::from("a"), value }]));
    }
    let log = logs.log(0);
    for end in 0..=5 {
        let rig = Rig::with_log(None, log.clone());
        let mut load = rig.runtime.next_load().unwrap();
        assert_eq!(load.step(at(0)), LoadProgress::More);
        rig.logs.commit_to(0, Offset(end));
        rig.runtime.high_watermark_updated(0, Offset(end));
        while load.step(at(0)) == LoadProgress::More {}
        assert_eq!(rig.committed(), replayed(&log, Offset(end)), "committed up to {end}");
        assert_eq!(rig.state(), replayed(&log, Offset(5)));
    }
}

#[test]
fn a_log_with_foreign_records_is_loaded_again() {
    let rig = Rig::new(None).loaded();
    assert!(!rig.runtime.tick(at(1)));
    let record = EncodedRecord { key: Bytes::from("x"), value: Some(Bytes::from("3")) };
    rig.logs.push(0, Content::Records(None, vec![record]));
    assert_eq!(rig.add("a", 1).get(), Some(Err(ErrorCode::NotCoordinator)));
    let reload_at = rig.runtime.next_deadline();
    assert!(reload_at <= at(1).mono, "nobody serves the shard until then");
    assert_eq!(rig.jobs.woken_at().last(), Some(&reload_at));
    assert!(rig.runtime.tick(at(1)), "there is something to load");
    assert!(rig.runtime.next_deadline() > at(1).mono);
    assert_eq!(rig.loaded().state(), counts([("a", 1), ("x", 3)]));
}

#[test]
fn a_log_that_cant_be_read_just_now_is_read_again() {
    for code in [ErrorCode::NotLeaderOrFollower, ErrorCode::KafkaStorageError] {
        let rig = Rig::new(None);
        rig.logs.read_failures.lock().push_back(code);
        let rig = rig.loaded();
        assert_eq!(rig.jobs.woken_at(), [MonoMs(1000)]);
        assert_eq!(rig.add("a", 1).get(), Some(Err(ErrorCode::NotCoordinator)));
        assert_eq!(rig.runtime.next_deadline(), MonoMs(1000));
        assert!(!rig.runtime.tick(at(999)));
        assert!(rig.runtime.tick(at(1000)));
        assert_eq!(rig.add("a", 1001).get(), Some(Err(ErrorCode::CoordinatorLoadInProgress)));
        assert!(!rig.runtime.tick(at(5000)));
        assert_eq!(rig.loaded().state(), counts([]));
    }
}

#[test]
fn what_was_given_up_meanwhile_is_not_read_again() {
    let rig = Rig::new(None);
    rig.logs.read_failures.lock().push_back(ErrorCode::NotLeaderOrFollower);
    let rig = rig.loaded();
    rig.runtime.resign(0, None);
    assert!(!rig.runtime.tick(at(1000)));
    assert!(rig.runtime.next_load().is_none());
    assert_eq!(rig.runtime.next_deadline(), MonoMs::NEVER);
}

/// Counts `key` in each shard that there is, or is about to be.
fn tell(rig: &Rig, key: &'static str, ms: u64) {
    rig.runtime.tell_all(at(ms), move |_, turn| {
        add(turn, key);
    });
}

#[test]
fn what_is_told_while_a_shard_is_loaded_reaches_it() {
    let log = Rig::new(None).loaded();
    log.add("a", 1);
    let rig = Rig::with_log(None, log.logs.log(0));
    tell(&rig, "a", 1);
    tell(&rig, "b", 2);
    let rig = rig.loaded();
    assert_eq!(rig.state(), counts([("a", 2), ("b", 1)]), "once the log is read");
    tell(&rig, "b", 3);
    assert_eq!(rig.state(), counts([("a", 2), ("b", 2)]));
    assert_eq!(replayed(&rig.logs.log(0), Offset::MAX), rig.state());
}

#[test]
fn what_is_told_while_a_log_cant_be_read_reaches_whoever_reads_it() {
    for takes_place_at_once in [false, true] {
        let rig = Rig::new(None);
        rig.logs.read_failures.lock().push_back(ErrorCode::NotLeaderOrFollower);
        tell(&rig, "a", 0);
        let rig = rig.loaded();
        tell(&rig, "b", 1);
        if takes_place_at_once {
            rig.runtime.become_leader(0, LeaderEpoch(2));
        } else {
            assert!(rig.runtime.tick(at(1000)));
        }
        tell(&rig, "c", 1001);
        assert_eq!(rig.loaded().state(), counts([("a", 1), ("b", 1), ("c", 1)]));
    }
}

#[test]
fn what_is_told_as_a_shard_makes_way_for_another_reaches_that() {
    for _ in 0..200 {
        let rig = Rig::new(None);
        rig.logs.read_failures.lock().push_back(ErrorCode::NotLeaderOrFollower);
        let rig = rig.loaded();
        let (mut told, both) = (0, std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let ticking = scope.spawn(|| {
                both.wait();
                assert!(rig.runtime.tick(at(1000)));
            });
            both.wait();
            while told == 0 || !ticking.is_finished() {
                tell(&rig, "a", 1000);
                told += 1;
            }
        });
        assert_eq!(rig.loaded().state(), counts([("a", told)]));
    }
}

#[test]
fn what_is_told_to_a_shard_that_is_given_up_is_forgotten() {
    let rig = Rig::new(None);
    tell(&rig, "a", 0);
    rig.runtime.resign(0, None);
    drop(rig.runtime.next_load());
    rig.runtime.become_leader(0, LeaderEpoch(2));
    let rig = rig.loaded();
    assert_eq!(rig.state(), counts([]));
    rig.logs.push(0, Content::Records(None, vec![EncodedRecord { key: Bytes::from("broken"), value: None }]));
    rig.runtime.resign(0, None);
    rig.runtime.become_leader(0, LeaderEpoch(3));
    tell(&rig, "a", 0);
    let rig = rig.loaded();
    tell(&rig, "a", 0);
    assert_eq!(rig.read(|_, _| ()), Err(ErrorCode::NotCoordinator), "nobody will read it");
}

#[test]
fn threads_never_wait_for_each_other_and_all_are_answered() {
    let rig = Rig::new(None).loaded();
    *rig.logs.commit_at_once.lock() = true;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    drop(rig.add("a", 1));
                    rig.commit();
                }
            });
        }
    });
    assert_eq!(rig.committed(), counts([("a", 1000)]));
    assert_eq!(rig.outcomes(), vec![Ok(()); 1000]);
}

/// Counts once, and once more when something that takes long is done.
/// Leaves an event that is answered when it is handled.
fn look_in(rig: &Rig) -> Inbox<()> {
    let (inbox, responder) = Inbox::new();
    rig.runtime.submit(0, at(1), responder, |_, turn, responder| turn.reply_at_once(responder, Ok(())));
    inbox
}

#[test]
fn a_thread_is_not_kept_by_what_others_leave_meanwhile() {
    let rig = Arc::new(Rig::new(None).loaded());
    rig.jobs.hold(true);
    let (sender, receiver) = std::sync::mpsc::channel();
    let of_others = Arc::clone(&rig);
    let (first, responder) = Inbox::new();
    rig.runtime.submit(0, at(1), responder, move |_, turn, responder| {
        (0..EVENTS_A_TURN).for_each(|_| sender.send(look_in(&of_others)).unwrap());
        turn.reply_at_once(responder, Ok(()));
    });
    assert_eq!(first.get(), Some(Ok(())), "its own answer");
    let others: Vec<Inbox<()>> = receiver.iter().collect();
    let unanswered = || others.iter().filter(|inbox| inbox.get().is_none()).count();
    assert_eq!((others.len(), unanswered()), (EVENTS_A_TURN, 1));
    assert!(rig.jobs.run_one(), "another thread goes on");
    assert_eq!(unanswered(), 0);
    assert!(!rig.jobs.run_one(), "and there is nothing left");
}

fn add_slowly(rig: &Rig, key: &str, ms: u64) -> Inbox<i64> {
    let (inbox, responder) = Inbox::new();
    let key = key.to_owned();
    rig.runtime.submit(0, at(ms), responder, move |_, turn, responder| {
        add(turn, &key);
        turn.in_background(
            responder,
            || 40,
            move |_, turn, yielded, responder| {
                let value = add(turn, &key);
                turn.reply(responder, value + yielded);
            },
        );
    });
    inbox
}

#[test]
fn others_go_on_while_something_takes_long() {
    let rig = Rig::new(None).loaded();
    rig.jobs.hold(true);
    let slow = add_slowly(&rig, "a", 1);
    let others = [rig.add("a", 1), rig.add("b", 1)];
    rig.commit();
    assert_eq!((slow.get(), others.map(|other| other.get())), (None, [Some(Ok(2)), Some(Ok(1))]));
    assert!(rig.jobs.run_one());
    assert_eq!((slow.get(), rig.state()), (None, counts([("a", 3), ("b", 1)])), "it waits for its commit");
    rig.commit();
    assert_eq!(slow.get(), Some(Ok(43)));
    assert!(!rig.jobs.run_one());
}

#[test]
fn who_waits_for_what_takes_long_is_answered_whatever_happens() {
    let rig = Rig::new(Some(0)).loaded();
    *rig.logs.max_batch_bytes.lock() = 10;
    rig.jobs.hold(true);
    let refused = add_slowly(&rig, "a", 1);
    assert_eq!((refused.get(), rig.jobs.run_one()), (Some(Err(ErrorCode::MessageTooLarge)), false));
    *rig.logs.max_batch_bytes.lock() = 1 << 20;
    let dropped = add_slowly(&rig, "a", 1);
    rig.jobs.drop_all();
    assert_eq!(dropped.get(), Some(Err(ErrorCode::NotCoordinator)));
    let unloaded = add_slowly(&rig, "a", 1);
    rig.runtime.resign(0, None);
    assert_eq!(unloaded.get(), None);
    assert!(rig.jobs.run_one());
    assert_eq!(unloaded.get(), Some(Err(ErrorCode::NotCoordinator)));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Fail,
    Commit(i64),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8).prop_map(Step::Add),
        1 => Just(Step::Fail),
        3 => (0..4i64).prop_map(Step::Commit),
        2 => (0..20u64).prop_map(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    /// However appends fail and commits lag: the state is what the log and the open batch replay to, the committed
    /// state is what the log up to the high watermark replays to, and no response overtakes its commit.
    #[test]
    fn state_is_what_the_log_replays_to(
        linger in prop_oneof![Just(None), Just(Some(0)), Just(LINGER)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let rig = Rig::new(linger).loaded();
        let mut now = 0;
        let mut high_watermark = Offset::ZERO;
        let mut inboxes = Vec::new();
        for step in steps {
            match step {
                Step::Add(key) => inboxes.push((key.to_string(), rig.add(&key.to_string(), now))),
                Step::Fail => rig.logs.failures.lock().push_back(ErrorCode::KafkaStorageError),
                Step::Commit(lag) => {
                    let log = rig.logs.log(0);
                    let boundary = log.batches.iter().rev().nth(lag as usize).map(|b| b.last_offset.next());
                    high_watermark = high_watermark.max(boundary.unwrap_or(Offset::ZERO));
                    rig.runtime.high_watermark_updated(0, high_watermark);
                }
                Step::Tick(ms) => {
                    now += ms;
                    rig.runtime.tick(at(now));
                }
            }
            let log = rig.logs.log(0);
            prop_assert_eq!(rig.committed(), replayed(&log, high_watermark));
            if linger != LINGER {
                prop_assert_eq!(rig.state(), replayed(&log, log.end()));
            }
            let committed = rig.committed();
            for (key, inbox) in &inboxes {
                if let Some(Ok(value)) = inbox.get() {
                    prop_assert!(committed.get(key).is_some_and(|count| *count >= value));
                }
            }
        }
        rig.runtime.tick(at(now + 100));
        rig.commit();
        prop_assert_eq!(rig.committed(), replayed(&rig.logs.log(0), Offset::MAX));
        prop_assert!(inboxes.iter().all(|(_, inbox)| inbox.get().is_some()));
    }
}
