use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_record::{AppendOrigin, Batches};
use ottla_types::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::disk::{Reach, SimDisk};
use crate::producer_state::{ProducerStateConfig, ProducerStateError, VerificationGuard};
use crate::test_log::{START, TestLog, at_ms, marker, producer_batch, small_config, txn_batch};
use crate::{AppendError, FetchIsolation, LeaderAppend, LogConfig, StorageError};

type Outcome = Result<(i64, i64, bool), &'static str>;

fn outcome(log: &TestLog, batch: &Bytes, origin: AppendOrigin) -> Outcome {
    match log.append_from(batch, origin) {
        Ok(info) => Ok((info.first_offset.0, info.last_offset.0, info.is_duplicate)),
        Err(AppendError::Producer(error)) => Err(match error {
            ProducerStateError::OutOfOrderSequence { .. } => "sequence",
            ProducerStateError::InvalidProducerEpoch { .. } => "epoch",
            ProducerStateError::InvalidTxnState { .. } => "transaction",
            ProducerStateError::TransactionCoordinatorFenced { .. } => "coordinator",
        }),
        Err(other) => panic!("{other}"),
    }
}

/// Appends batches of producer 7, each given by epoch, sequence number and count of records.
#[track_caller]
fn check(log: &TestLog, batches: &[(i16, i32, usize, Outcome)]) {
    for &(epoch, sequence, count, expected) in batches {
        let batch = producer_batch(&vec!["v"; count], 7, epoch, sequence);
        assert_eq!(
            outcome(log, &batch, AppendOrigin::Client),
            expected,
            "epoch {epoch}, sequence {sequence}"
        );
    }
}

#[test]
fn retries_are_answered_with_their_old_offsets() {
    let log = TestLog::new(LogConfig::default());
    let appends: Vec<_> =
        (0..6).map(|n| (0, n * 2, 2, Ok((i64::from(n) * 2, i64::from(n) * 2 + 1, false)))).collect();
    check(&log, &appends);
    // Five are remembered, the sixth is not.
    let retries: Vec<_> =
        (1..6).map(|n| (0, n * 2, 2, Ok((i64::from(n) * 2, i64::from(n) * 2 + 1, true)))).collect();
    check(&log, &retries);
    check(&log, &[(0, 0, 2, Err("sequence"))]);
    // Only exactly the same range is a retry.
    check(&log, &[(0, 10, 1, Err("sequence")), (0, 11, 1, Err("sequence"))]);
    assert_eq!(log.log.log_end_offset(), Offset(12));
}

#[test]
fn sequence_numbers_must_follow() {
    let log = TestLog::new(LogConfig::default());
    check(
        &log,
        &[
            (0, 0, 3, Ok((0, 2, false))),
            (0, 4, 1, Err("sequence")),
            (0, 3, 1, Ok((3, 3, false))),
            (1, 4, 1, Err("sequence")),
            (1, 0, 1, Ok((4, 4, false))),
            (0, 4, 1, Err("epoch")),
            (1, 1, 1, Ok((5, 5, false))),
        ],
    );
}

#[test]
fn sequence_numbers_start_over_after_the_largest() {
    let log = TestLog::new(LogConfig::default());
    check(
        &log,
        &[
            (0, i32::MAX - 1, 1, Ok((0, 0, false))),
            (0, i32::MAX, 2, Ok((1, 2, false))),
            (0, i32::MAX, 2, Ok((1, 2, true))),
            (0, 1, 1, Ok((3, 3, false))),
        ],
    );
}

#[test]
fn a_producer_that_is_not_known_may_start_anywhere() {
    let log = TestLog::new(LogConfig::default());
    check(&log, &[(3, 17, 1, Ok((0, 0, false))), (3, 19, 1, Err("sequence"))]);
}

#[test]
fn silent_producers_are_forgotten() {
    let log = TestLog::new(LogConfig::default());
    log.context
        .producer_state
        .store(ProducerStateConfig { producer_id_expiration_ms: 1000, ..Default::default() }.into());
    check(&log, &[(0, 0, 1, Ok((0, 0, false)))]);
    log.log.remove_expired_producers(at_ms(999));
    assert_eq!(log.log.producer_count(), 1);
    log.log.remove_expired_producers(at_ms(1000));
    assert_eq!(log.log.producer_count(), 0);
    check(&log, &[(0, 5, 1, Ok((1, 1, false)))]);
}

#[test]
fn the_last_stable_offset_waits_for_decisions() {
    let log = TestLog::new(LogConfig::default());
    let append = |batch: &Bytes, origin| outcome(&log, batch, origin).unwrap();
    let client = AppendOrigin::Client;
    let coordinator = AppendOrigin::Coordinator;
    append(&producer_batch(&["plain"], 1, 0, 0), client);
    append(&txn_batch(&["a"], 2, 0, 0), client);
    append(&txn_batch(&["b"], 3, 0, 0), client);
    assert_eq!(log.log.last_stable_offset(), Offset(1));
    assert_eq!(log.consume(0, 1000, FetchIsolation::TxnCommitted), [(0, "plain".to_owned())]);
    append(&marker(3, 0, false, 0), coordinator);
    assert_eq!(log.log.last_stable_offset(), Offset(1));
    append(&marker(2, 0, true, 0), coordinator);
    assert_eq!(log.log.last_stable_offset(), Offset(5));
    let read = log.log.read(Offset(0), 1000, FetchIsolation::TxnCommitted, true).unwrap();
    let aborted: Vec<_> = read
        .aborted_transactions
        .unwrap()
        .iter()
        .map(|txn| (txn.producer_id, txn.first_offset, txn.last_offset, txn.last_stable_offset))
        .collect();
    assert_eq!(aborted, [(3, 2, 3, 1)]);
    assert_eq!(read.records.unwrap().read().unwrap().len() as u64, log.log.size_bytes());
}

/// A follower may take over many transactions at once: what it keeps of them is what its leader wrote one by one.
#[test]
fn transactions_are_aborted_alike_whether_they_come_one_by_one_or_at_once() {
    let (leader, follower) = (TestLog::new(LogConfig::default()), TestLog::new(LogConfig::default()));
    for (batch, origin) in [
        (txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client),
        (marker(2, 0, false, 0), AppendOrigin::Coordinator),
        (txn_batch(&["b"], 2, 0, 1), AppendOrigin::Client),
        (txn_batch(&["c"], 3, 0, 0), AppendOrigin::Client),
        (marker(2, 0, false, 0), AppendOrigin::Coordinator),
        (marker(3, 0, false, 0), AppendOrigin::Coordinator),
    ] {
        outcome(&leader, &batch, origin).unwrap();
    }
    let all: Bytes = leader.read(0, 10_000).unwrap().records.unwrap().read().unwrap().into();
    follower.log.append_as_follower(&all, LeaderEpoch(0), at_ms(0)).unwrap();
    for (from, to) in (0..6).flat_map(|from| (from + 1..=6).map(move |to| (from, to))) {
        let aborted = |of: &TestLog| of.log.aborted_transactions(Offset(from), Offset(to)).unwrap();
        assert_eq!(aborted(&follower), aborted(&leader), "{from} to {to}");
    }
}

#[test]
fn a_decision_counts_once_it_is_replicated() {
    let log = TestLog::new(LogConfig::default());
    let append = |batch: &Bytes, origin| {
        let append = crate::LeaderAppend::new(LeaderEpoch(0), origin);
        log.log.append_as_leader(batch, &append, at_ms(0)).unwrap();
    };
    append(&txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client);
    log.log.update_high_watermark(Offset(1));
    append(&marker(2, 0, true, 0), AppendOrigin::Coordinator);
    assert_eq!((log.log.high_watermark(), log.log.last_stable_offset()), (Offset(1), Offset(0)));
    log.log.update_high_watermark(Offset(2));
    assert_eq!(log.log.last_stable_offset(), Offset(2));
    assert_eq!(log.log.first_unstable_offset(), None);
}

/// Snapshots tell of open transactions alone.
#[test]
fn a_decision_that_is_not_replicated_is_remembered() {
    let fill = |log: &TestLog, segments: usize| {
        let wanted = log.base_offsets().len() + segments;
        while log.base_offsets().len() < wanted {
            log.append(&["plain"]);
        }
    };
    for (before, after) in [(0, 0), (2, 0), (0, 2), (2, 2)] {
        let mut log = TestLog::new(small_config());
        log.append(&["plain"]);
        outcome(&log, &txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client).unwrap();
        fill(&log, before);
        let (marker_at, ..) = outcome(&log, &marker(2, 0, true, 0), AppendOrigin::Coordinator).unwrap();
        log.append(&["plain"]);
        fill(&log, after);
        for (is_clean, high_watermark) in
            [(true, 0), (true, 1), (true, 2), (true, marker_at), (false, 1), (false, marker_at)]
        {
            log.reopen(is_clean);
            log.log.resume_at_high_watermark(Offset(high_watermark), log.now).unwrap();
            assert_eq!(log.log.last_stable_offset(), Offset(high_watermark.min(1)));
            // Nor does it get lost with what is behind it.
            log.append_at_end(&["plain"]);
            let cut = log.log.log_end_offset().0 - 1;
            assert!(log.log.truncate_to(Offset(cut.max(marker_at + 1)), log.now).unwrap());
            assert_eq!(log.log.last_stable_offset(), Offset(high_watermark.min(1)));
            log.log.update_high_watermark(Offset(marker_at + 1));
            assert_eq!(log.log.last_stable_offset(), Offset(marker_at + 1));
        }
    }
}

/// A transaction may begin some segments before it is aborted; a reader comes by its records first.
#[test]
fn aborted_transactions_are_told_segments_before_their_markers() {
    let mut log = TestLog::new(small_config());
    let fill_to = |log: &TestLog, segments: usize| {
        while log.base_offsets().len() < segments {
            log.append(&["plain"]);
        }
    };
    let aborted_from = |log: &TestLog, offset: i64| {
        let read = log.log.read(Offset(offset), 1, FetchIsolation::TxnCommitted, true).unwrap();
        read.aborted_transactions.unwrap().iter().map(|txn| txn.first_offset).collect::<Vec<_>>()
    };
    outcome(&log, &txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client).unwrap();
    fill_to(&log, 4);
    let (marker_at, ..) = outcome(&log, &marker(2, 0, false, 0), AppendOrigin::Coordinator).unwrap();
    outcome(&log, &txn_batch(&["b"], 3, 0, 0), AppendOrigin::Client).unwrap();
    outcome(&log, &marker(3, 0, false, 0), AppendOrigin::Coordinator).unwrap();
    fill_to(&log, 6);
    for is_recovered in [false, true] {
        if is_recovered {
            log.reopen_with(Offset(0), Offset(0), false);
        }
        assert_eq!(aborted_from(&log, 0), [0]);
        assert_eq!(aborted_from(&log, 1), [0], "some of its records may still come");
        assert_eq!(aborted_from(&log, marker_at + 1), [marker_at + 1]);
        assert_eq!(aborted_from(&log, marker_at + 3), [0; 0]);
    }
}

/// On a disk that is full, whatever it has room for still, and whatever of the indexes waits to be written.
#[test]
fn a_marker_without_room_for_its_entry_leaves_no_trace() {
    let mut refused = 0;
    for room in 0..400 {
        let disk = Arc::new(SimDisk::new(3));
        let config = LogConfig { index_interval_bytes: 0, ..LogConfig::default() };
        let log = TestLog::on(Arc::clone(&disk) as _, "/data/t-0".into(), config);
        log.append(&["indexed"]);
        log.append(&["indexed"]);
        outcome(&log, &txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client).unwrap();
        let written = |log: &TestLog| {
            let file = log.log.segments().last().unwrap().file().unwrap();
            (log.log.log_end_offset(), file.len().unwrap())
        };
        let before = written(&log);
        disk.set_capacity_bytes(Some(disk.used_bytes() + room));
        let marked = log.append_from(&marker(2, 0, false, 0), AppendOrigin::Coordinator);
        if marked.is_err() {
            refused += 1;
            assert_eq!(written(&log), before, "with room for {room} bytes");
            let read = log.log.read(Offset(0), 1000, FetchIsolation::TxnCommitted, true);
            assert!(read.unwrap().aborted_transactions.unwrap().is_empty());
            disk.set_capacity_bytes(None);
            outcome(&log, &marker(2, 0, false, 0), AppendOrigin::Coordinator).unwrap();
        }
        assert_eq!(log.log.log_end_offset(), before.0.next());
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn what_follows_a_batch_that_found_no_room_finds_none_either() {
    let disk = Arc::new(SimDisk::new(3));
    let log = TestLog::on(Arc::clone(&disk) as _, "/data/t-0".into(), LogConfig::default());
    let send = |sequence| log.append_from(&producer_batch(&["x"], 2, 0, sequence), AppendOrigin::Client);
    let has_no_room = |appended: Result<_, AppendError>| {
        matches!(appended, Err(AppendError::Storage(StorageError::NoSpace { .. })))
    };
    send(0).unwrap();
    disk.set_capacity_bytes(Some(disk.used_bytes()));
    assert!(has_no_room(send(1)));
    disk.set_capacity_bytes(None);
    assert!(has_no_room(send(2)), "it was sent before its producer could know");
    for sequence in [1, 2] {
        send(sequence).unwrap();
    }
    assert!(matches!(send(7), Err(AppendError::Producer(_))), "a gap is a gap again");
}

#[test]
fn markers_of_fenced_coordinators_and_epochs_are_refused() {
    let log = TestLog::new(LogConfig::default());
    let coordinator = AppendOrigin::Coordinator;
    assert!(outcome(&log, &txn_batch(&["a"], 2, 5, 0), AppendOrigin::Client).is_ok());
    assert_eq!(outcome(&log, &marker(2, 4, true, 7), coordinator), Err("epoch"));
    assert!(outcome(&log, &marker(2, 5, true, 7), coordinator).is_ok());
    assert_eq!(outcome(&log, &marker(2, 5, true, 6), coordinator), Err("coordinator"));
    assert!(outcome(&log, &marker(2, 5, true, 7), coordinator).is_ok());
    // Outside of a transaction nothing transactional goes on, and inside nothing else.
    assert!(outcome(&log, &txn_batch(&["b"], 2, 6, 0), AppendOrigin::Client).is_ok());
    assert_eq!(outcome(&log, &producer_batch(&["c"], 2, 6, 1), AppendOrigin::Client), Err("transaction"));
}

#[test]
fn markers_that_bump_the_epoch_may_come_twice() {
    let log = TestLog::new(LogConfig::default());
    let mark = |epoch| {
        let append = LeaderAppend {
            transaction_version: 2,
            ..LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Coordinator)
        };
        log.log.append_as_leader(&marker(2, epoch, true, 0), &append, at_ms(0)).is_ok()
    };
    assert!(outcome(&log, &txn_batch(&["a"], 2, 5, 0), AppendOrigin::Client).is_ok());
    assert!(!mark(5), "an open transaction's marker has a larger epoch");
    assert!(mark(6));
    assert!(mark(6), "sent again");
    assert!(!mark(5));
}

#[test]
fn transactions_start_verified() {
    let log = TestLog::new(LogConfig::default());
    log.context.producer_state.store(ProducerStateConfig::default().into());
    let first = txn_batch(&["a"], 2, 0, 0);
    assert!(log.append_guarded(&first, VerificationGuard::NotNeeded).is_err());
    let verify = || log.log.start_verification(ProducerId(2), ProducerEpoch(0), 0, false, at_ms(0)).unwrap();
    let guard = verify();
    assert_eq!(verify(), guard, "one verification serves all that wait for it");
    assert!(log.append_guarded(&first, VerificationGuard::Asked(99)).is_err());
    assert!(log.append_guarded(&first, guard).is_ok());
    assert_eq!(verify(), VerificationGuard::NotNeeded);
    assert!(log.append_guarded(&txn_batch(&["b"], 2, 0, 1), VerificationGuard::NotNeeded).is_ok());
}

#[test]
fn a_leader_takes_part_in_a_transaction_that_it_did_not_begin_only_when_it_was_added() {
    let log = TestLog::new(LogConfig::default());
    log.context.producer_state.store(ProducerStateConfig::default().into());
    let verify =
        |adds| log.log.start_verification(ProducerId(2), ProducerEpoch(0), 1, adds, at_ms(0)).unwrap();
    assert!(log.append_guarded(&txn_batch(&["a"], 2, 0, 0), verify(false)).is_ok());
    // The producer's client adds partitions no more, and its transaction may have been decided, without a marker here.
    let guard = verify(true);
    assert_ne!(guard, VerificationGuard::NotNeeded);
    assert!(outcome(&log, &marker(2, 0, true, 0), AppendOrigin::Coordinator).is_ok());
    assert!(
        log.append_guarded(&txn_batch(&["b"], 2, 0, 1), guard).is_err(),
        "it was asked for before the marker"
    );
    assert!(log.append_guarded(&txn_batch(&["b"], 2, 0, 1), verify(true)).is_ok());
    for adds in [true, false] {
        assert_eq!(verify(adds), VerificationGuard::NotNeeded, "added by the leader: {adds}");
    }
}

#[test]
fn a_marker_leaves_what_is_asked_for_the_transaction_after_it() {
    let log = TestLog::new(LogConfig::default());
    log.context.producer_state.store(ProducerStateConfig::default().into());
    let verify =
        |epoch| log.log.start_verification(ProducerId(2), ProducerEpoch(epoch), 0, true, at_ms(0)).unwrap();
    let mark = |epoch| {
        let append = LeaderAppend {
            transaction_version: 2,
            ..LeaderAppend::new(LeaderEpoch(0), AppendOrigin::Coordinator)
        };
        log.log.append_as_leader(&marker(2, epoch, true, 0), &append, at_ms(0)).unwrap();
    };
    let write = |epoch, guard| log.append_guarded(&txn_batch(&["v"], 2, epoch, 0), guard);
    assert!(write(0, verify(0)).is_ok());
    // The producer has been told that its transaction is decided, and goes on before the marker is here.
    let guard = verify(1);
    mark(1);
    assert_eq!(verify(1), guard);
    // A marker may be sent again.
    mark(1);
    assert!(write(1, guard).is_ok());
    // One of which nothing was appended before it was ended.
    mark(2);
    let guard = verify(2);
    mark(3);
    assert!(write(2, guard).is_err());
    assert_ne!(verify(3), guard);
}

#[test]
fn what_follows_a_retry_after_a_restart_is_taken() {
    let mut log = TestLog::new(LogConfig::default());
    log.context.producer_state.store(ProducerStateConfig::default().into());
    let verify = |log: &TestLog, sequence| {
        log.log.start_verification(ProducerId(2), ProducerEpoch(0), sequence, true, at_ms(0)).unwrap()
    };
    let write = |log: &TestLog, sequence, guard| {
        log.append_guarded(&txn_batch(&["v"], 2, 0, sequence), guard).map(|appended| appended.is_duplicate)
    };
    assert!(!write(&log, 0, verify(&log, 0)).unwrap());
    log.reopen(false);
    // Its producer has not been told.
    assert!(write(&log, 0, verify(&log, 0)).unwrap());
    assert!(!write(&log, 1, verify(&log, 1)).unwrap());
}

#[test]
fn late_transactions_are_noticed() {
    let log = TestLog::new(LogConfig::default());
    assert!(outcome(&log, &txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client).is_ok());
    let now = |ms: i64| Now { wall: Timestamp(START.0 + ms), ..at_ms(0) };
    assert!(!log.log.has_late_transaction(now(1_200_000)));
    assert!(log.log.has_late_transaction(now(1_200_001)));
}

#[test]
fn producer_state_survives_a_stop_of_any_kind() {
    for clean in [true, false] {
        let mut log = TestLog::new(small_config());
        for n in 0..40 {
            assert!(outcome(&log, &producer_batch(&["v"], 7, 0, n), AppendOrigin::Client).is_ok());
        }
        assert!(outcome(&log, &txn_batch(&["t"], 8, 1, 0), AppendOrigin::Client).is_ok());
        assert!(outcome(&log, &txn_batch(&["u"], 9, 1, 0), AppendOrigin::Client).is_ok());
        assert!(outcome(&log, &marker(9, 1, false, 3), AppendOrigin::Coordinator).is_ok());
        let before = log.log.active_producers();
        let aborted = log.log.aborted_transactions(Offset(0), Offset::MAX).unwrap();
        log.reopen(clean);
        assert_eq!(log.log.active_producers(), before, "clean: {clean}");
        assert_eq!(log.log.aborted_transactions(Offset(0), Offset::MAX).unwrap(), aborted);
        assert_eq!(log.log.last_stable_offset(), Offset(40));
        check(&log, &[(0, 39, 1, Ok((39, 39, true))), (0, 41, 1, Err("sequence"))]);
        check(&log, &[(0, 40, 1, Ok((43, 43, false)))]);
    }
}

#[test]
fn retries_of_what_snapshots_leave_out_are_recognized() {
    for (clean, between) in [(true, 0), (false, 0), (true, 15), (false, 15)] {
        let mut log = TestLog::new(small_config());
        let mut offsets = Vec::new();
        for n in 0..7 {
            let info = log.append_batch(&producer_batch(&["v", "v"], 7, 1, n * 2)).unwrap();
            offsets.push((info.first_offset.0, info.last_offset.0));
            // In other segments.
            for m in 0..between {
                log.append_batch(&producer_batch(&["another"], 8, 0, n * between + m)).unwrap();
            }
        }
        log.reopen(clean);
        for n in (2..7).rev() {
            let (first, last) = offsets[n];
            check(&log, &[(1, n as i32 * 2, 2, Ok((first, last, true)))]);
        }
        check(&log, &[(1, 2, 2, Err("sequence")), (1, 16, 1, Err("sequence")), (1, 5, 2, Err("sequence"))]);
        let end = log.log.log_end_offset().0;
        check(&log, &[(1, 14, 1, Ok((end, end, false)))]);
    }
}

#[test]
fn batches_of_other_epochs_and_beyond_a_gap_are_not_recalled() {
    let mut log = TestLog::new(LogConfig::default());
    let append = |log: &TestLog, epoch, sequence| {
        assert!(outcome(log, &producer_batch(&["v"], 7, epoch, sequence), AppendOrigin::Client).is_ok());
    };
    append(&log, 0, 0);
    append(&log, 0, 1);
    append(&log, 1, 0);
    append(&log, 1, 1);
    append(&log, 1, 2);
    log.reopen(true);
    check(&log, &[(1, 0, 1, Ok((2, 2, true))), (1, 1, 1, Ok((3, 3, true))), (0, 1, 1, Err("epoch"))]);
    // Forgotten in between: what is known starts anew.
    log.log.remove_expired_producers(Now { wall: Timestamp(START.0 + (1 << 40)), ..at_ms(0) });
    append(&log, 1, 7);
    append(&log, 1, 8);
    log.reopen(true);
    check(&log, &[(1, 7, 1, Ok((5, 5, true))), (1, 2, 1, Err("sequence"))]);
}

#[test]
fn a_producers_batches_are_looked_for_in_the_end_of_the_log_alone() {
    let mut log = TestLog::new(LogConfig::default());
    let large = "x".repeat(1 << 20);
    check(&log, &[(0, 0, 1, Ok((0, 0, false)))]);
    for n in 0..17 {
        log.append_batch(&producer_batch(&[&large[..1_000_000]], 8, 0, n)).unwrap();
    }
    check(&log, &[(0, 1, 1, Ok((18, 18, false))), (0, 2, 1, Ok((19, 19, false)))]);
    log.reopen(true);
    check(&log, &[(0, 0, 1, Err("sequence")), (0, 1, 1, Ok((18, 18, true)))]);
}

#[test]
fn the_last_stable_offset_is_of_one_moment() {
    let log = TestLog::new(LogConfig::default());
    outcome(&log, &producer_batch(&["plain"], 1, 0, 0), AppendOrigin::Client).unwrap();
    let before = log.log.offsets.get();
    outcome(&log, &txn_batch(&["a"], 2, 0, 0), AppendOrigin::Client).unwrap();
    assert_eq!(log.log.high_watermark(), Offset(2));
    let stable = log.log.resolved_last_stable_offset_of(&before, Reach::Disk).unwrap();
    assert_eq!(stable.message_offset, Offset(1));
}

#[test]
fn who_reads_what_is_committed_beside_a_writer_sees_nothing_undecided() {
    let log = TestLog::new(LogConfig::default());
    let is_over = AtomicBool::new(false);
    let read = || {
        while !is_over.load(Ordering::Relaxed) {
            let start = log.log.last_stable_offset();
            let read = log.log.read(start, 1 << 20, FetchIsolation::TxnCommitted, true).unwrap();
            let (Some(records), Some(aborted)) = (read.records, read.aborted_transactions) else { continue };
            for batch in Batches::new(&records.read().unwrap()).map(Result::unwrap) {
                let offset = batch.base_offset.0;
                let is_told =
                    aborted.iter().any(|txn| (txn.first_offset..=txn.last_offset).contains(&offset));
                assert!(batch.is_control() || is_told, "the record at {offset} is read as a committed one");
            }
        }
    };
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(read));
        for sequence in 0..5_000 {
            outcome(&log, &txn_batch(&["a"], 2, 0, sequence), AppendOrigin::Client).unwrap();
            outcome(&log, &marker(2, 0, false, 0), AppendOrigin::Coordinator).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("nothing undecided is read"));
    });
}
