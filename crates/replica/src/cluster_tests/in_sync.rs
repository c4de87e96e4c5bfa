//! Who is in sync, who decides on it, and what waits for whom meanwhile.

use ottla_log::{LATEST_TIMESTAMP, LogConfig};
use ottla_types::LeaderEpoch;
use ottla_wire::ErrorCode;

use super::cluster::{Cluster, LAG_MS, X, Y, Z, told};
use crate::ReaderKind;
use crate::tests::FETCHERS;

#[test]
fn who_lags_too_long_leaves_and_who_waits_for_it_goes_on() {
    let mut cluster = Cluster::new();
    cluster.replicate();
    cluster.cut.insert((Z, X));
    let waits = cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    assert_eq!(told(&waits), None);
    cluster.pass_ms(LAG_MS - 1);
    assert!(cluster.isr_request(X).is_none());
    // It is looked at twice within that time.
    cluster.pass_ms(LAG_MS / 2);
    // The time of the acknowledgement was over before.
    assert_eq!(told(&waits), Some(Err(ErrorCode::RequestTimedOut)));
    cluster.fetch_once(Y);
    let waits = cluster.produce(X, -1, &["b"]);
    cluster.replicate();
    assert_eq!(cluster.decided.isr, [X, Y]);
    assert_eq!(told(&waits), Some(Ok(1)));
    // It comes back when it has caught up.
    cluster.cut.clear();
    cluster.pass_ms(1_000);
    cluster.replicate();
    assert_eq!((cluster.decided.isr.clone(), cluster.high_watermark(Z)), (vec![X, Y, Z], 2));
}

#[test]
fn a_quiet_partition_keeps_its_isr() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    for _ in 0..10 {
        cluster.pass_ms(LAG_MS);
        cluster.replicate();
    }
    assert_eq!((cluster.decided.isr.len(), cluster.decided.partition_epoch), (3, 0));
}

/// Until the controller has answered, either ISR may be what it goes by when it elects.
#[test]
fn while_a_smaller_isr_is_not_decided_the_larger_one_counts() {
    let mut cluster = Cluster::new();
    cluster.replicate();
    cluster.cut.insert((Z, X));
    cluster.produce(X, 1, &["a"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    cluster.pass_ms(LAG_MS + 1);
    let asked = cluster.isr_request(X).expect("Z is to leave");
    let waits = cluster.produce(X, -1, &["b"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    assert_eq!((told(&waits), cluster.high_watermark(X)), (None, 0));
    let decided = cluster.decide_on(&asked);
    cluster.manager(X).isr_changes_answered(Ok(decided), cluster.now);
    assert_eq!((told(&waits), cluster.high_watermark(X)), (Some(Ok(1)), 2));
}

#[test]
fn while_a_larger_isr_is_not_decided_the_larger_one_counts() {
    let mut cluster = Cluster::new();
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    cluster.start(Z);
    cluster.produce(X, 1, &["a"]);
    for _ in 0..3 {
        cluster.fetch_once(Y);
        cluster.fetch_once(Z);
    }
    let asked = cluster.isr_request(X).expect("Z is to join");
    assert!(cluster.isr_request(X).is_none(), "one request at a time");
    // However long the controller takes.
    cluster.pass_ms(3 * LAG_MS);
    let waits = cluster.produce(X, -1, &["b"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    assert_eq!(told(&waits), None, "Z counts already");
    cluster.fetch_once(Z);
    cluster.fetch_once(Z);
    assert_eq!(told(&waits), Some(Ok(1)));
    let decided = cluster.decide_on(&asked);
    cluster.manager(X).isr_changes_answered(Ok(decided), cluster.now);
    assert!(cluster.isr_request(X).is_none());
}

/// It is always a record behind: the high watermark waits for it, so that it has all below that.
#[test]
fn a_follower_of_a_busy_leader_gets_in() {
    let mut cluster = Cluster::new();
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    cluster.start(Z);
    for _ in 0..5 {
        cluster.produce(X, 1, &["a"]);
        cluster.fetch_once(Y);
        cluster.fetch_once(Y);
        cluster.fetch_once(Z);
        assert!(cluster.end(X) > 0);
    }
    assert!(cluster.isr_request(X).is_some());
}

/// The controller decided, and the leader did not hear it: it must not go by the smaller ISR until it does.
#[test]
fn a_lost_decision_is_asked_for_again() {
    let mut cluster = Cluster::new();
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    cluster.start(Z);
    cluster.fetch_once(Z);
    cluster.fetch_once(Z);
    let asked = cluster.isr_request(X).expect("Z is to join");
    cluster.decide_on(&asked);
    cluster.manager(X).isr_changes_answered(Err(ErrorCode::NetworkException), cluster.now);
    assert!(cluster.isr_request(X).is_none(), "not at once");
    cluster.pass_ms(100);
    let again = cluster.isr_request(X).expect("it is asked for again");
    assert_eq!(asked, again);
    let refused = cluster.decide_on(&again);
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::InvalidUpdateVersion.code());
    cluster.manager(X).isr_changes_answered(Ok(refused), cluster.now);
    let waits = cluster.produce(X, -1, &["a"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    assert_eq!(told(&waits), None);
    // The metadata tell what was decided.
    cluster.tell(X);
    cluster.replicate();
    assert_eq!(told(&waits), Some(Ok(0)));
}

/// The metadata were quicker than the answer, and more has been asked since.
#[test]
fn an_answer_to_what_is_settled_does_not_settle_what_came_after() {
    let mut cluster = Cluster::new();
    cluster.crash(Y, None);
    cluster.crash(Z, None);
    cluster.elect(X, &[X]);
    cluster.start(Y);
    cluster.start(Z);
    cluster.fetch_once(Y);
    let asked = cluster.isr_request(X).expect("Y is to join");
    let decided = cluster.decide_on(&asked);
    cluster.tell(X);
    cluster.fetch_once(Z);
    cluster.fetch_once(Z);
    cluster.manager(X).isr_changes_answered(Ok(decided), cluster.now);
    let waits = cluster.produce(X, -1, &["a"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    assert_eq!(told(&waits), None, "Z is about to join, and counts");
    let next = cluster.isr_request(X).expect("Z is to join");
    let decided = cluster.decide_on(&next);
    cluster.manager(X).isr_changes_answered(Ok(decided), cluster.now);
    cluster.replicate();
    assert_eq!((told(&waits), cluster.decided.isr.clone()), (Some(Ok(0)), vec![X, Y, Z]));
}

/// KIP-903: a follower that has lost its disk must not join by what its former process had fetched.
#[test]
fn a_former_process_of_a_follower_can_not_join() {
    let mut cluster = Cluster::new();
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    cluster.start(Z);
    cluster.produce(X, 1, &["a"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Z);
    cluster.fetch_once(Y);
    cluster.fetch_once(Z);
    let asked = cluster.isr_request(X).expect("Z is to join");
    cluster.crash(Z, None);
    cluster.start(Z);
    let refused = cluster.decide_on(&asked);
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::IneligibleReplica.code());
    cluster.manager(X).isr_changes_answered(Ok(refused), cluster.now);
    assert!(cluster.isr_request(X).is_none());
    let goes_on = cluster.produce(X, -1, &["b"]);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    assert_eq!(told(&goes_on), Some(Ok(1)), "who was refused does not count");
    cluster.replicate();
    assert_eq!(cluster.decided.isr, [X, Y, Z]);
}

/// Up to where its epoch begins a new leader may have what others do not: its high watermark does not say yet that it counts.
#[test]
fn a_new_leader_takes_in_nobody_who_has_not_reached_its_epoch() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    cluster.produce(X, 1, &["b"]);
    cluster.fetch_once(Y);
    cluster.crash(X, None);
    cluster.elect(Y, &[Y, X]);
    cluster.pass_ms(1_000);
    assert_eq!((cluster.end(Y), cluster.end(Z), cluster.high_watermark(Y)), (2, 1, 1));
    cluster.fetch_once(Z);
    assert!(cluster.isr_request(Y).is_none());
    cluster.fetch_once(Z);
    assert!(cluster.isr_request(Y).is_some());
}

/// KIP-207: a new leader may know of less than consumers have seen.
#[test]
fn a_new_leader_tells_no_end_before_it_knows_what_is_replicated() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["a"]);
    cluster.replicate();
    cluster.produce(X, -1, &["b"]);
    for id in [Y, Z] {
        cluster.fetch_once(id);
        cluster.fetch_unheard(id);
    }
    assert_eq!((cluster.high_watermark(X), cluster.high_watermark(Y)), (2, 1));
    cluster.crash(X, None);
    cluster.elect(Y, &[Y, Z]);
    let end = |cluster: &Cluster| {
        let told =
            cluster.partition(Y).offset_for_timestamp(LATEST_TIMESTAMP, LeaderEpoch(1), ReaderKind::Consumer);
        told.map(|found| found.map(|found| found.offset.0))
    };
    assert_eq!(end(&cluster), Err(ErrorCode::OffsetNotAvailable));
    cluster.pass_ms(1_000);
    cluster.replicate();
    assert_eq!(end(&cluster), Ok(Some(2)));
}

#[test]
fn who_is_no_replica_moves_nothing() {
    let mut cluster = Cluster::with(1, LogConfig::default(), FETCHERS);
    cluster.decided.replicas = vec![X, Y];
    cluster.decided.isr = vec![X, Y];
    cluster.decided.partition_epoch += 1;
    cluster.tell(X);
    cluster.tell(Y);
    let waits = cluster.produce(X, -1, &["a"]);
    cluster.fetch_once(Z);
    cluster.fetch_once(Z);
    assert_eq!(cluster.end(Z), 0, "Z is told that it is no replica");
    cluster.replicate();
    assert_eq!(told(&waits), Some(Ok(0)));
}
