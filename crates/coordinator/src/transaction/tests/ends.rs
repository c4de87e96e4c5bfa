use super::producers::log_of;
use super::*;
use crate::transaction::metadata::{Status, TransactionMetadata};

/// A producer with partition 0 in its transaction.
fn begun(rig: &Rig) -> Producer {
    let who = rig.init(None).unwrap();
    rig.add(who, &[0]).unwrap();
    who
}

#[test]
fn a_transaction_is_answered_when_it_is_decided_and_complete_when_all_markers_are_written() {
    for (committed, prepared, complete) in
        [(true, "PrepareCommit", "CompleteCommit"), (false, "PrepareAbort", "CompleteAbort")]
    {
        let rig = Rig::new();
        let who = begun(&rig);
        rig.add(who, &[1]).unwrap();
        let next = rig.end(who, committed).unwrap();
        assert_eq!(next, producer(1_001, 1));
        assert_eq!(rig.status(), prepared);
        let mut markers = rig.markers();
        assert_eq!(markers.len(), 1);
        let marker = markers.remove(0);
        assert_eq!(marker.partitions, [data(0), data(1)]);
        assert_eq!(
            (marker.marker.producer, marker.marker.committed, marker.marker.coordinator_epoch),
            (next, committed, 1)
        );
        assert_eq!(marker.marker.transaction_version, 2);
        assert_eq!(rig.add(next, &[0]), Err(ErrorCode::ConcurrentTransactions));
        rig.answer(marker, ErrorCode::None);
        assert_eq!(rig.status(), complete);
        assert_eq!(rig.add(next, &[0]), Ok(()));
    }
}

#[test]
fn no_marker_leaves_before_the_decision_is_committed() {
    let rig = Rig::new();
    let who = begun(&rig);
    rig.hold_commits();
    let answer = rig.send_end(5, ID, who, true);
    answer.is_parked();
    assert!(rig.markers().is_empty());
    rig.commit();
    assert_eq!(answer.now().error_code, 0);
    assert_eq!(rig.markers().len(), 1);
}

#[test]
fn a_decision_that_is_committed_late_is_carried_out() {
    let rig = Rig::new();
    let who = begun(&rig);
    rig.hold_commits();
    let answer = rig.send_end(5, ID, who, true);
    rig.pass(30_000);
    assert_eq!(error(answer.now().error_code), ErrorCode::CoordinatorNotAvailable);
    assert!(rig.markers().is_empty());
    rig.commit();
    assert_eq!(rig.deliver(ErrorCode::None).len(), 1);
    rig.commit();
    assert_eq!(rig.status(), "CompleteCommit");
    assert_eq!(rig.end(who, true), Ok(producer(1_001, 1)), "asked once more, it was done");
}

#[test]
fn a_decision_that_is_not_written_is_none() {
    let rig = Rig::new();
    let who = begun(&rig);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(rig.end(who, true), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!((rig.status().as_str(), rig.markers().len()), ("Ongoing", 0));
    assert_eq!(rig.end(who, false), Ok(producer(1_001, 1)));
}

#[test]
fn markers_are_sent_again_to_those_partitions_that_lack_them() {
    let rig = Rig::new();
    let who = rig.init(None).unwrap();
    rig.add(who, &[0, 1, 2]).unwrap();
    rig.end(who, true).unwrap();
    let first = rig.markers().remove(0);
    let results = vec![
        (data(0), ErrorCode::None),
        (data(1), ErrorCode::NotEnoughReplicas),
        (data(2), ErrorCode::NotLeaderOrFollower),
    ];
    rig.coordinator.markers_written(first.ticket.clone(), results.clone(), rig.now());
    assert!(rig.markers().is_empty(), "not at once");
    assert_eq!(rig.describe(ID).topics[0].partitions, [1, 2]);
    rig.pass(100);
    let second = rig.markers().remove(0);
    assert_eq!(second.partitions, [data(1), data(2)]);
    rig.coordinator.markers_written(first.ticket, results, rig.now());
    rig.pass(100);
    assert!(rig.markers().is_empty(), "the first attempt is over");
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    rig.answer(second, ErrorCode::None);
    assert_eq!(rig.status(), "PrepareCommit", "the end itself could not be written");
    rig.pass(100);
    assert_eq!((rig.status().as_str(), rig.markers().len()), ("CompleteCommit", 0));
}

#[test]
fn a_coordinator_that_was_superseded_stops() {
    let rig = Rig::new();
    let who = begun(&rig);
    rig.end(who, true).unwrap();
    rig.deliver(ErrorCode::TransactionCoordinatorFenced);
    rig.pass(10_000);
    assert_eq!((rig.status().as_str(), rig.markers().len()), ("PrepareCommit", 0));
}

#[test]
fn with_a_bump_the_epoch_tells_a_retry_from_the_next_transaction() {
    use ErrorCode::{ConcurrentTransactions, InvalidTxnState, ProducerFenced};
    let (before, current, after) = (producer(7, 4), producer(7, 5), producer(7, 6));
    type Case = (Status, Producer, bool, Result<Producer, ErrorCode>);
    let cases: &[Case] = &[
        (Status::Empty, before, false, Err(ProducerFenced)),
        (Status::Empty, before, true, Err(ProducerFenced)),
        (Status::Empty, current, false, Ok(after)),
        (Status::Empty, current, true, Err(InvalidTxnState)),
        (Status::Ongoing, before, true, Err(ProducerFenced)),
        (Status::Ongoing, current, true, Ok(after)),
        (Status::Ongoing, current, false, Ok(after)),
        (Status::PrepareCommit, before, true, Err(ConcurrentTransactions)),
        (Status::PrepareCommit, before, false, Err(InvalidTxnState)),
        (Status::PrepareCommit, current, true, Err(ProducerFenced)),
        (Status::PrepareAbort, before, false, Err(ConcurrentTransactions)),
        (Status::PrepareAbort, before, true, Err(InvalidTxnState)),
        (Status::CompleteAbort, before, false, Ok(current)),
        (Status::CompleteAbort, before, true, Err(InvalidTxnState)),
        (Status::CompleteAbort, current, false, Ok(after)),
        (Status::CompleteAbort, current, true, Err(InvalidTxnState)),
        (Status::CompleteCommit, before, false, Err(InvalidTxnState)),
        (Status::CompleteCommit, before, true, Ok(current)),
        (Status::CompleteCommit, current, false, Ok(after)),
        (Status::CompleteCommit, current, true, Err(InvalidTxnState)),
        (Status::CompleteCommit, after, true, Err(ProducerFenced)),
        (Status::CompleteCommit, producer(8, 5), true, Err(ErrorCode::InvalidProducerIdMapping)),
    ];
    for (status, who, committed, expected) in cases {
        let rig = in_status(*status, current, 2);
        assert_eq!(rig.end(*who, *committed), *expected, "{status:?} {who:?} {committed}");
    }
}

#[test]
fn without_a_bump_the_epoch_must_be_the_present_one() {
    use ErrorCode::{ConcurrentTransactions, InvalidTxnState};
    let cases: &[(Status, bool, ErrorCode)] = &[
        (Status::Empty, true, InvalidTxnState),
        (Status::Empty, false, InvalidTxnState),
        (Status::Ongoing, true, ErrorCode::None),
        (Status::Ongoing, false, ErrorCode::None),
        (Status::PrepareCommit, true, ConcurrentTransactions),
        (Status::PrepareCommit, false, InvalidTxnState),
        (Status::PrepareAbort, true, InvalidTxnState),
        (Status::PrepareAbort, false, ConcurrentTransactions),
        (Status::CompleteCommit, true, ErrorCode::None),
        (Status::CompleteCommit, false, InvalidTxnState),
        (Status::CompleteAbort, true, InvalidTxnState),
        (Status::CompleteAbort, false, ErrorCode::None),
    ];
    for (status, committed, expected) in cases {
        let rig = in_status(*status, producer(7, 5), 0);
        assert_eq!(rig.end_v1(producer(7, 5), *committed), *expected, "{status:?} {committed}");
        for epoch in [4, 6] {
            assert_eq!(rig.end_v1(producer(7, epoch), *committed), ErrorCode::ProducerFenced);
        }
        assert_eq!(rig.end_v1(producer(6, 5), *committed), ErrorCode::InvalidProducerIdMapping);
    }
    assert_eq!(Rig::new().end_v1(producer(7, 5), true), ErrorCode::InvalidProducerIdMapping);
}

/// A coordinator that has found an id like this in its log.
fn in_status(status: Status, who: Producer, client_version: i16) -> Rig {
    let mut metadata = TransactionMetadata {
        producer: who,
        status,
        start: Timestamp(1),
        client_version,
        ..TransactionMetadata::new(who.id, TIMEOUT_MS, Timestamp(2))
    };
    if !status.is_idle() {
        metadata.partitions = Arc::new([data(0)].into());
    }
    Rig::with_log(client_version, log_of(&[(ID, metadata)]), 1, Arc::default())
}

#[test]
fn the_last_bump_gives_the_producer_a_new_id() {
    let last = producer(7, i16::MAX - 1);
    let rig = in_status(Status::Ongoing, last, 2);
    let next = producer(1_001, 0);
    assert_eq!(rig.end(last, true), Ok(next));
    assert_eq!(rig.end(last, true), Err(ErrorCode::ConcurrentTransactions));
    let markers = rig.deliver(ErrorCode::None);
    assert_eq!(markers[0].marker.producer, producer(7, i16::MAX), "markers end what the old id has begun");
    assert_eq!(rig.end(last, true), Ok(next), "asked once more, under the old id");
    assert_eq!(rig.add(next, &[0]), Ok(()));
}

/// The largest epoch is the fence's. Whoever got it could begin a transaction that no marker can end.
#[test]
fn a_fence_at_the_last_epoch_gives_the_producer_a_new_id() {
    let last = producer(7, i16::MAX - 1);
    for by_time in [false, true] {
        let rig = in_status(Status::Ongoing, last, 2);
        if by_time {
            *rig.ids.failure.lock() = Some(ErrorCode::CoordinatorLoadInProgress);
            rig.pass(10_000);
            assert_eq!(rig.status(), "Ongoing", "there was no id");
            rig.pass(10_000);
        } else {
            assert_eq!(rig.init(None), Err(ErrorCode::ConcurrentTransactions));
        }
        assert_eq!(rig.status(), "PrepareAbort");
        let rig = rig.taken_over(rig.logs.log(0));
        let markers = rig.deliver(ErrorCode::None);
        assert_eq!(markers[0].marker.producer, producer(7, i16::MAX));
        assert_eq!(rig.status(), "CompleteAbort");
        let next = producer(1_001, 0);
        assert_eq!(rig.end(last, false), Ok(next), "who was fenced gets no epoch of the old id");
        assert_eq!(rig.add(producer(7, i16::MAX), &[0]), Err(ErrorCode::InvalidProducerIdMapping));
        assert_eq!(rig.init(None), Ok(producer(1_001, 1)));
        assert_eq!(rig.end(last, false), Err(ErrorCode::InvalidProducerIdMapping));
    }
}

#[test]
fn what_takes_too_long_is_aborted_and_its_producer_fenced() {
    for (level, then) in [(0, Err(ErrorCode::ProducerFenced)), (2, Ok(producer(1_001, 1)))] {
        let rig = Rig::at_level(level);
        let who = begun(&rig);
        rig.pass(i64::from(TIMEOUT_MS));
        assert_eq!(rig.status(), "Ongoing");
        rig.pass(10_000);
        assert_eq!(rig.status(), "PrepareAbort");
        assert_eq!(rig.add(who, &[1]), Err(ErrorCode::ProducerFenced));
        let markers = rig.deliver(ErrorCode::None);
        assert_eq!(markers[0].marker.producer, producer(1_001, 1));
        assert_eq!(rig.status(), "CompleteAbort");
        assert_eq!(rig.init(Some(who)), then);
    }
}

#[test]
fn however_many_take_too_long_they_are_aborted() {
    let rig = Rig::new();
    let ids: Vec<String> = (0..7).map(|number| format!("{ID}-{number}")).collect();
    for id in &ids {
        let who = rig.send_init(id, None).now();
        let who = producer(who.producer_id, who.producer_epoch);
        rig.send_add(id, who, &[0]).now().unwrap();
    }
    let batches_before = rig.logs.log(0).batches.len();
    *rig.logs.max_batch_bytes.lock() = 512;
    rig.pass(i64::from(TIMEOUT_MS));
    rig.pass(10_000);
    let batches = rig.logs.log(0).batches.len() - batches_before;
    assert!((2..7).contains(&batches), "in {batches} batches");
    assert_eq!(rig.deliver(ErrorCode::None).len(), ids.len());
    for id in &ids {
        assert_eq!(rig.describe(id).transaction_state, "CompleteAbort", "{id}");
    }
}

#[test]
fn ids_that_nobody_uses_expire_and_open_transactions_do_not() {
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;
    let metadata = |status| TransactionMetadata {
        status,
        timeout_ms: i32::MAX,
        producer: producer(7, 0),
        ..TransactionMetadata::new(ProducerId(7), 0, Timestamp(1_000_000))
    };
    let log = log_of(&[
        ("empty", metadata(Status::Empty)),
        ("open", metadata(Status::Ongoing)),
        ("done", metadata(Status::CompleteAbort)),
    ]);
    let rig = Rig::with_log(2, log, 1, Arc::default());
    rig.pass(WEEK_MS - 1);
    assert_eq!(rig.describe("done").error_code, 0);
    rig.pass(3_600_000);
    for (id, expected) in [
        ("empty", ErrorCode::TransactionalIdNotFound),
        ("open", ErrorCode::None),
        ("done", ErrorCode::TransactionalIdNotFound),
    ] {
        assert_eq!(error(rig.describe(id).error_code), expected, "{id}");
    }
}
