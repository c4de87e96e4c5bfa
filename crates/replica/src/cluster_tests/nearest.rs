//! Consumers that read from the replica in their rack (KIP-392). X leads and stands in rack `x`, and so on.

use ottla_log::LogConfig;
use ottla_types::{LeaderEpoch, NodeId};
use ottla_wire::ErrorCode;

use super::cluster::{ALL, Cluster, LAG_MS, X, Y, Z, told, values_in};
use crate::tests::{Answers, FETCHERS, taken};
use crate::{PartitionRead, ReaderKind};

const RACKS: [&str; 3] = ["x", "y", "z"];
const CONSUMER: ReaderKind = ReaderKind::Consumer;

/// The replica to read from instead, or error and values.
type Outcome = Result<(ErrorCode, Vec<String>), i32>;

/// None if the answer has to wait.
fn outcome(answers: &Answers<PartitionRead>) -> Option<Outcome> {
    let read = taken(answers).pop()?;
    if let Some(replica) = read.preferred_read_replica {
        assert!(read.is_empty() && read.error == ErrorCode::None);
        return Some(Err(replica.value()));
    }
    let mut values = Vec::new();
    if let Some(slice) = read.data.and_then(|data| data.records) {
        values_in(&slice, &mut values);
    }
    Some(Ok((read.error, values)))
}

fn values(values: &[&str]) -> Option<Outcome> {
    Some(Ok((ErrorCode::None, values.iter().map(|value| (*value).to_owned()).collect())))
}

fn refused(code: ErrorCode) -> Option<Outcome> {
    Some(Ok((code, Vec::new())))
}

fn sent_to(replica: i32) -> Option<Outcome> {
    Some(Err(replica))
}

fn with_values(mut cluster: Cluster) -> Cluster {
    cluster.produce(X, -1, &["a", "b"]);
    cluster.replicate();
    cluster
}

#[test]
fn the_leader_sends_consumers_to_a_replica_in_their_rack() {
    let cluster = with_values(Cluster::in_racks(RACKS));
    let at_leader = |rack| outcome(&cluster.consume(X, 0, CONSUMER, rack));
    assert_eq!(at_leader(Some("y")), sent_to(2));
    assert_eq!(at_leader(Some("z")), sent_to(3));
    assert_eq!(at_leader(Some("x")), values(&["a", "b"]), "the leader's own rack");
    assert_eq!(at_leader(Some("elsewhere")), values(&["a", "b"]));
    assert_eq!(at_leader(Some("")), values(&["a", "b"]), "it tells no rack");
    assert_eq!(at_leader(None), values(&["a", "b"]), "it can't be sent");
    assert_eq!(
        outcome(&cluster.consume(Y, 0, CONSUMER, Some("z"))),
        values(&["a", "b"]),
        "who follows sends nobody"
    );
    let old_epoch = cluster.consume_in_epoch(X, 0, CONSUMER, Some("y"), LeaderEpoch(1));
    assert_eq!(outcome(&old_epoch), refused(ErrorCode::UnknownLeaderEpoch));
}

#[test]
fn without_a_selector_nobody_is_sent_away_and_followers_serve_all_the_same() {
    let cluster = with_values(Cluster::new());
    for broker in ALL {
        assert_eq!(outcome(&cluster.consume(broker, 0, CONSUMER, Some("y"))), values(&["a", "b"]));
    }
}

#[test]
fn nobody_is_sent_to_a_replica_that_lacks_what_is_asked_for() {
    let mut cluster = with_values(Cluster::in_racks(RACKS));
    cluster.cut.insert((Y, X));
    cluster.produce(X, 1, &["c"]);
    cluster.replicate();
    let at_leader = |cluster: &Cluster, offset| outcome(&cluster.consume(X, offset, CONSUMER, Some("y")));
    assert_eq!(at_leader(&cluster, 2), sent_to(2), "it is in sync, and has all that a consumer may see");
    // Out of sync it may lag for good.
    for _ in 0..2 {
        cluster.pass_ms(LAG_MS / 2);
        cluster.replicate();
    }
    cluster.pass_ms(LAG_MS);
    cluster.replicate();
    assert_eq!(cluster.decided.isr, [X, Z]);
    assert_eq!(at_leader(&cluster, 0), values(&["a", "b", "c"]));
    assert_eq!(at_leader(&cluster, 3), None, "it waits at the leader");
    // A broker that is not reached is none to send anybody to.
    cluster.crash(Z, None);
    assert_eq!(outcome(&cluster.consume(X, 0, CONSUMER, Some("z"))), values(&["a", "b", "c"]));
}

#[test]
fn of_several_replicas_in_a_rack_the_one_that_lacks_least_is_chosen() {
    let mut cluster = with_values(Cluster::in_racks(["x", "y", "y"]));
    cluster.cut.insert((Z, X));
    cluster.produce(X, 1, &["c"]);
    cluster.replicate();
    assert_eq!(outcome(&cluster.consume(X, 0, CONSUMER, Some("y"))), sent_to(2));
    cluster.cut = [(Y, X)].into();
    cluster.pass_ms(1_000);
    cluster.produce(X, 1, &["d"]);
    cluster.replicate();
    assert_eq!(outcome(&cluster.consume(X, 0, CONSUMER, Some("y"))), sent_to(3));
}

#[test]
fn a_follower_serves_up_to_the_high_watermark_that_it_knows() {
    let mut cluster = with_values(Cluster::in_racks(RACKS));
    cluster.produce(X, 1, &["c"]);
    // It has the record, and does not know that all have.
    cluster.fetch_once(Y);
    assert_eq!((cluster.end(Y), cluster.high_watermark(Y)), (3, 2));
    assert_eq!(outcome(&cluster.consume(Y, 0, CONSUMER, Some("y"))), values(&["a", "b"]));
    let beyond_its_end =
        |epoch| outcome(&cluster.consume_in_epoch(Y, 4, CONSUMER, Some("y"), LeaderEpoch(epoch)));
    assert_eq!(beyond_its_end(0), refused(ErrorCode::OffsetOutOfRange));
    assert_eq!(
        beyond_its_end(-1),
        refused(ErrorCode::OffsetNotAvailable),
        "it would give up what it has read"
    );
    let waiting = cluster.consume(Y, 2, CONSUMER, Some("y"));
    let beyond = cluster.consume(Y, 3, CONSUMER, Some("y"));
    assert_eq!((outcome(&waiting), outcome(&beyond)), (None, None), "not out of range: it will be there");
    cluster.replicate();
    assert_eq!(outcome(&waiting), values(&["c"]), "as soon as the follower hears of it");
    cluster.pass_ms(500);
    assert_eq!(outcome(&beyond), values(&[]));
}

#[test]
fn who_can_not_read_from_followers_is_told_to_look_for_the_leader() {
    let cluster = with_values(Cluster::in_racks(RACKS));
    assert_eq!(outcome(&cluster.consume(Y, 0, CONSUMER, None)), refused(ErrorCode::NotLeaderOrFollower));
    // Nobody has sent it: it takes this for the leader.
    assert_eq!(outcome(&cluster.consume(Y, 0, CONSUMER, Some(""))), refused(ErrorCode::NotLeaderOrFollower));
    let with_epoch = cluster.consume_in_epoch(Y, 0, CONSUMER, Some(""), LeaderEpoch(0));
    assert_eq!(outcome(&with_epoch), values(&["a", "b"]));
}

#[test]
fn a_follower_refuses_who_knows_another_leader_epoch() {
    let mut cluster = with_values(Cluster::in_racks(RACKS));
    cluster.elect(Z, &ALL);
    let in_epoch = |epoch| outcome(&cluster.consume_in_epoch(Y, 0, CONSUMER, Some("y"), LeaderEpoch(epoch)));
    assert_eq!(in_epoch(0), refused(ErrorCode::FencedLeaderEpoch));
    assert_eq!(in_epoch(1), values(&["a", "b"]));
    assert_eq!(in_epoch(2), refused(ErrorCode::UnknownLeaderEpoch));
}

/// It may be the next process of a broker that led, and has not heard that it leads no more.
#[test]
fn who_follows_nobody_serves_nobody() {
    let mut cluster = with_values(Cluster::in_racks(RACKS));
    cluster.elect(NodeId::NONE, &ALL);
    let knowing = cluster.consume_in_epoch(Y, 0, CONSUMER, Some("y"), LeaderEpoch(1));
    assert_eq!(outcome(&knowing), refused(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn who_waits_at_a_follower_is_answered_when_another_leads() {
    let mut cluster = with_values(Cluster::in_racks(RACKS));
    let waiting = cluster.consume_in_epoch(Y, 2, CONSUMER, Some("y"), LeaderEpoch(0));
    assert_eq!(outcome(&waiting), None);
    cluster.elect(Z, &ALL);
    assert_eq!(outcome(&waiting), refused(ErrorCode::FencedLeaderEpoch));
}

/// Else those who wait at a follower would wait for its next fetch, which waits for records itself.
#[test]
fn a_follower_that_waits_is_told_the_high_watermark_at_once_where_consumers_may_read_from_it() {
    for (cluster, expected) in [(Cluster::in_racks(RACKS), Some(3)), (Cluster::new(), None)] {
        let mut cluster = with_values(cluster);
        let produced = cluster.produce(X, -1, &["c"]);
        cluster.fetch_once(Y);
        // What it knows by then.
        assert_eq!(cluster.high_watermark(Y), 2);
        let waiting = cluster.follow_waiting(Y, 3);
        assert!(taken(&waiting).is_empty());
        cluster.fetch_once(Z);
        cluster.fetch_once(Z);
        assert_eq!((told(&produced), cluster.high_watermark(X)), (Some(Ok(2)), 3));
        let answered = taken(&waiting).pop();
        assert_eq!(
            answered.map(|read| (read.error, read.high_watermark.0)),
            expected.map(|at| (ErrorCode::None, at))
        );
        // It knows now: nothing more is to be told.
        let again = cluster.follow_waiting(Y, 3);
        assert!(taken(&again).is_empty());
    }
}

#[test]
fn racks_change_nothing_where_there_is_one_replica_in_sync() {
    let mut cluster = with_values(Cluster::with(1, LogConfig::default(), FETCHERS));
    cluster.elect(X, &[X]);
    assert_eq!(outcome(&cluster.consume(X, 0, CONSUMER, Some("y"))), values(&["a", "b"]));
}
