use ottla_types::Offset;

use super::*;

/// A commit with an earlier abort of another id, all markers written: every record that a coordinator writes.
fn lived() -> Rig {
    let rig = Rig::new();
    let other = rig.send_init("other", None).now();
    rig.send_add("other", producer(other.producer_id, 0), &[3]).now().unwrap();
    rig.send_end(5, "other", producer(other.producer_id, 0), false).now();
    let who = rig.init(None).unwrap();
    rig.add(who, &[0, 1]).unwrap();
    rig.end(who, true).unwrap();
    rig.deliver(ErrorCode::None);
    rig
}

#[test]
fn whoever_finds_the_log_at_any_record_brings_what_was_decided_to_its_end() {
    let log = lived().logs.log(0);
    let last = log.end().value();
    assert_eq!(last, 8);
    for end in 0..=last {
        let rig = Rig::with_log(2, log.truncated(Offset(end)), 5, Arc::default());
        let decided = ["other", ID].map(|id| match rig.describe(id).transaction_state.as_str() {
            state @ ("PrepareAbort" | "PrepareCommit") => Some(state == "PrepareCommit"),
            _ => None,
        });
        let markers = rig.deliver(ErrorCode::None);
        let committed: Vec<bool> = markers.iter().map(|markers| markers.marker.committed).collect();
        let mut expected: Vec<bool> = decided.into_iter().flatten().collect();
        expected.sort_unstable();
        let mut sorted = committed.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "at {end}");
        assert!(markers.iter().all(|markers| markers.marker.coordinator_epoch == 5));
        for id in ["other", ID] {
            assert!(!rig.describe(id).transaction_state.starts_with("Prepare"), "{id} at {end}");
        }
    }
}

#[test]
fn what_is_not_committed_yet_is_not_carried_out() {
    let rig = Rig::new();
    let who = rig.init(None).unwrap();
    rig.add(who, &[0]).unwrap();
    rig.hold_commits();
    let _ = rig.send_end(5, ID, who, true);
    let next = rig.taken_over(rig.logs.log(0));
    assert!(next.markers().is_empty());
    next.commit();
    assert_eq!(next.markers().len(), 1);
}

#[test]
fn answers_to_a_former_coordinator_count_no_more() {
    let rig = Rig::new();
    let who = rig.init(None).unwrap();
    rig.add(who, &[0]).unwrap();
    rig.end(who, true).unwrap();
    let stale = rig.markers().remove(0);
    rig.coordinator.on_resign(0, None);
    rig.answer(stale.clone(), ErrorCode::None);
    let next = rig.taken_over(rig.logs.log(0));
    assert_eq!(next.status(), "PrepareCommit");
    next.deliver(ErrorCode::None);
    assert_eq!(next.status(), "CompleteCommit");
}

#[test]
fn what_was_answered_before_the_coordinator_lost_its_place_counts_no_more_when_it_has_it_again() {
    for (stale_code, stale_partition) in [(ErrorCode::TransactionCoordinatorFenced, 0), (ErrorCode::None, 1)]
    {
        let rig = Rig::new();
        let who = rig.init(None).unwrap();
        rig.add(who, &[0, 1]).unwrap();
        rig.end(who, true).unwrap();
        let stale = rig.markers().remove(0).ticket;
        rig.coordinator.on_resign(0, Some(LeaderEpoch(2)));
        rig.coordinator.on_partition_leader(0, LeaderEpoch(3));
        rig.load();
        let markers = rig.markers().remove(0);
        assert_eq!(markers.marker.coordinator_epoch, 3);
        rig.coordinator.markers_written(stale, vec![(data(stale_partition), stale_code)], rig.now());
        let written = |number: i32| vec![(data(number), ErrorCode::None)];
        rig.coordinator.markers_written(markers.ticket, written(0), rig.now());
        rig.pass(100);
        assert_eq!(rig.status(), "PrepareCommit", "one partition has no marker yet");
        let again = rig.markers().remove(0);
        assert_eq!(again.partitions, [data(1)]);
        rig.answer(again, ErrorCode::None);
        assert_eq!(rig.status(), "CompleteCommit");
    }
}
