//! The worked examples that every description of Kafka's replication tells: replicas X, Y and Z, messages M1 to M4.

use ottla_log::LogConfig;
use ottla_log::disk::sim::Loss;
use ottla_types::NodeId;
use ottla_wire::ErrorCode;

use super::cluster::{ALL, Cluster, X, Y, Z, told};
use crate::tests::FETCHERS;

fn check_all(cluster: &Cluster, values: &[&str]) {
    for id in ALL.into_iter().filter(|id| cluster.is_up(*id)) {
        assert_eq!(cluster.values(id), values, "the log of {id}");
    }
}

#[test]
fn what_a_leader_had_not_replicated_when_it_died_is_cut_off_when_it_is_back() {
    let mut cluster = Cluster::new();
    let first = cluster.produce(X, -1, &["M1"]);
    let second = cluster.produce(X, -1, &["M2"]);
    cluster.replicate();
    assert_eq!((told(&first), told(&second)), (Some(Ok(0)), Some(Ok(1))));
    let never_told = cluster.produce(X, -1, &["M3"]);
    cluster.crash(X, None);
    cluster.elect(Y, &[Y, Z]);
    cluster.pass_ms(1_000);
    assert_eq!(told(&never_told), None, "M3 was never acknowledged");
    let fourth = cluster.produce(Y, -1, &["M4"]);
    cluster.replicate();
    assert_eq!(told(&fourth), Some(Ok(2)));
    cluster.start(X);
    assert_eq!(cluster.values(X), ["M1", "M2", "M3"]);
    cluster.replicate();
    check_all(&cluster, &["M1", "M2", "M4"]);
    assert_eq!(cluster.decided.isr, [Y, Z, X]);
}

#[test]
fn one_acknowledgement_may_be_of_what_is_lost() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["M1"]);
    cluster.replicate();
    assert_eq!(told(&cluster.produce(X, 1, &["M2"])), Some(Ok(1)), "acks=1 asks nobody else");
    cluster.crash(X, None);
    cluster.elect(Y, &[Y, Z]);
    assert_eq!(cluster.values(Y), ["M1"], "M2 was acknowledged, and is lost");
}

#[test]
fn the_acknowledgement_of_all_is_of_what_stays() {
    let mut cluster = Cluster::new();
    let acknowledged = cluster.produce(X, -1, &["M1"]);
    assert_eq!(told(&acknowledged), None);
    cluster.fetch_once(Y);
    cluster.fetch_once(Y);
    assert_eq!(told(&acknowledged), None, "Z does not have it");
    cluster.fetch_once(Z);
    assert_eq!(told(&acknowledged), None, "X does not know that Z has it");
    cluster.fetch_once(Z);
    assert_eq!(told(&acknowledged), Some(Ok(0)));
    cluster.crash(X, Some(Loss::Everything));
    cluster.crash(Y, Some(Loss::Everything));
    cluster.elect(Z, &[Z]);
    assert_eq!(cluster.values(Z), ["M1"], "of three disks two are lost");
}

/// What KIP-101 begins with. A follower that went by its high watermark would cut off M2, which was acknowledged, before it
/// hears that it is replicated; as the next leader it would not have it.
#[test]
fn a_follower_that_starts_again_keeps_what_it_has_though_it_does_not_know_how_far_that_is_replicated() {
    let mut cluster = Cluster::new();
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    cluster.produce(X, -1, &["M1"]);
    cluster.replicate();
    let acknowledged = cluster.produce(X, -1, &["M2"]);
    cluster.fetch_once(Y);
    cluster.fetch_unheard(Y);
    assert_eq!(told(&acknowledged), Some(Ok(1)));
    assert_eq!((cluster.high_watermark(X), cluster.high_watermark(Y)), (2, 1));
    cluster.crash(Y, None);
    cluster.start(Y);
    assert!(cluster.high_watermark(Y) < 2);
    cluster.crash(X, None);
    cluster.elect(Y, &[Y]);
    assert_eq!(cluster.values(Y), ["M1", "M2"]);
}

/// What was before KIP-101, and still is for records without leader epochs, which a former format or another program has left:
/// all replicas have M1 and M2, and one that starts again cuts both off, though it gets them back if their leader lives.
#[test]
fn without_leader_epochs_a_follower_that_starts_again_goes_by_its_high_watermark() {
    let mut cluster = Cluster::new();
    ALL.into_iter().for_each(|id| cluster.write_without_epoch(id, &["M1", "M2"]));
    check_all(&cluster, &["M1", "M2"]);
    cluster.crash(Y, None);
    cluster.start(Y);
    assert_eq!(cluster.values(Y), [""; 0]);
    cluster.replicate();
    check_all(&cluster, &["M1", "M2"]);
}

/// Nothing is asked for behind what is to be cut off, and the partition isn't forgotten.
#[test]
fn what_could_not_be_cut_off_is_cut_off_later() {
    let mut cluster = Cluster::new();
    ALL.into_iter().for_each(|id| cluster.write_without_epoch(id, &["M1", "M2"]));
    cluster.produce(X, 1, &["M3"]);
    cluster.decide(X, &ALL);
    cluster.tell(X);
    cluster.disk(Y).run_out_of_files_at_nth(1);
    cluster.tell(Y);
    cluster.disk(Y).heal();
    cluster.tell(Z);
    assert_eq!(cluster.values(Y), ["M1", "M2"]);
    cluster.pass_ms(999);
    assert_eq!(cluster.due(Y), [], "not before replica.fetch.backoff.ms");
    cluster.pass_ms(1);
    cluster.replicate();
    check_all(&cluster, &["M1", "M2", "M3"]);
}

/// The other example of KIP-101: by their lengths the logs are the same.
#[test]
fn logs_of_one_length_with_different_records_are_told_apart_by_their_leader_epochs() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["M1"]);
    cluster.replicate();
    cluster.produce(X, -1, &["M2"]);
    cluster.crash(X, None);
    cluster.elect(Y, &[Y, Z]);
    cluster.produce(Y, -1, &["M3"]);
    cluster.start(X);
    assert_eq!((cluster.end(X), cluster.end(Y)), (2, 2));
    cluster.replicate();
    check_all(&cluster, &["M1", "M3"]);
}

/// KIP-279: between two leaders that came and went quickly the epochs of a follower may be unknown to the leader and the
/// other way round; they go back step by step to what they share.
#[test]
fn logs_that_parted_more_than_once_find_what_they_share() {
    let mut cluster = Cluster::new();
    cluster.produce(X, -1, &["M1"]);
    cluster.replicate();
    let alone = |cluster: &mut Cluster, id: NodeId, values: &[&str]| {
        for other in ALL.into_iter().filter(|other| *other != id) {
            if cluster.is_up(other) {
                cluster.crash(other, None);
            }
        }
        if !cluster.is_up(id) {
            cluster.start(id);
        }
        cluster.elect(id, &[id]);
        for value in values {
            assert!(matches!(told(&cluster.produce(id, 1, &[value])), Some(Ok(_))));
        }
    };
    // Elected out of sync, one after the other.
    alone(&mut cluster, X, &["x1", "x2"]);
    alone(&mut cluster, Y, &["y1", "y2", "y3"]);
    alone(&mut cluster, X, &["x3", "x4"]);
    alone(&mut cluster, Y, &["y4"]);
    cluster.start(X);
    cluster.start(Z);
    cluster.replicate();
    check_all(&cluster, &["M1", "y1", "y2", "y3", "y4"]);
}

#[test]
fn without_unclean_elections_nobody_leads_until_one_that_was_in_sync_is_back() {
    let mut cluster = Cluster::new();
    cluster.cut.extend([(Y, X), (Z, X)]);
    cluster.elect(X, &[X]);
    assert_eq!(told(&cluster.produce(X, -1, &["M1"])), Some(Ok(0)), "X alone is in sync");
    cluster.crash(X, None);
    cluster.elect(NodeId::NONE, &[X]);
    assert_eq!(told(&cluster.produce(Y, -1, &["M2"])), Some(Err(ErrorCode::NotLeaderOrFollower)));
    cluster.start(X);
    cluster.elect(X, &[X]);
    cluster.cut.clear();
    cluster.pass_ms(1_000);
    cluster.replicate();
    check_all(&cluster, &["M1"]);
}

#[test]
fn an_unclean_election_serves_again_at_once_and_loses_what_only_the_lost_one_had() {
    let mut cluster = Cluster::new();
    cluster.cut.extend([(Y, X), (Z, X)]);
    cluster.elect(X, &[X]);
    assert_eq!(told(&cluster.produce(X, -1, &["M1"])), Some(Ok(0)));
    cluster.crash(X, None);
    cluster.elect(Y, &[Y]);
    assert_eq!(told(&cluster.produce(Y, -1, &["M2"])), Some(Ok(0)));
    cluster.start(X);
    cluster.cut.clear();
    cluster.pass_ms(1_000);
    cluster.replicate();
    check_all(&cluster, &["M2"]);
}

#[test]
fn with_too_few_in_sync_writes_to_all_are_refused_and_others_are_not_shown() {
    let mut cluster = Cluster::with(2, LogConfig::default(), FETCHERS);
    cluster.crash(Y, None);
    cluster.crash(Z, None);
    cluster.elect(X, &[X]);
    let refused = Some(Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(told(&cluster.produce(X, -1, &["M1"])), refused);
    assert_eq!(told(&cluster.produce(X, 1, &["M2"])), Some(Ok(0)));
    assert_eq!(cluster.high_watermark(X), 0, "what only one replica has is nobody's to read");
    cluster.start(Y);
    cluster.replicate();
    assert_eq!((cluster.decided.isr.clone(), cluster.high_watermark(X)), (vec![X, Y], 1));
    let waits = cluster.produce(X, -1, &["M3"]);
    assert_eq!(told(&waits), None);
    cluster.replicate();
    assert_eq!(told(&waits), Some(Ok(1)));
}

#[test]
fn a_lost_acknowledgement_makes_a_record_twice_without_idempotence() {
    let mut cluster = Cluster::new();
    for _ in 0..2 {
        // The first answer does not arrive.
        cluster.produce(X, -1, &["M3"]);
        cluster.replicate();
    }
    check_all(&cluster, &["M3", "M3"]);
}

#[test]
fn a_lost_acknowledgement_makes_a_record_once_with_idempotence_even_at_another_leader() {
    let mut cluster = Cluster::new();
    let (first, again) = (cluster.produce_once(X, "M3", 0), cluster.produce_once(X, "M3", 0));
    cluster.replicate();
    assert_eq!((told(&first), told(&again)), (Some(Ok(0)), Some(Ok(0))));
    cluster.crash(X, None);
    cluster.elect(Y, &[Y, Z]);
    let at_the_next = cluster.produce_once(Y, "M3", 0);
    let goes_on = cluster.produce_once(Y, "M4", 1);
    cluster.replicate();
    assert_eq!((told(&at_the_next), told(&goes_on)), (Some(Ok(0)), Some(Ok(1))));
    check_all(&cluster, &["M3", "M4"]);
}

/// A producer whose record was cut off with the old leader's log is not taken for having sent it.
#[test]
fn a_record_that_was_cut_off_can_be_sent_again() {
    let mut cluster = Cluster::new();
    cluster.produce_once(X, "M1", 0);
    cluster.replicate();
    let lost = cluster.produce_once(X, "M2", 1);
    cluster.crash(X, None);
    assert_eq!(told(&lost), None);
    cluster.elect(Y, &[Y, Z]);
    cluster.produce(Y, -1, &["M3"]);
    cluster.start(X);
    cluster.replicate();
    cluster.elect(X, &[X, Y, Z]);
    let again = cluster.produce_once(X, "M2", 1);
    cluster.replicate();
    assert_eq!(told(&again), Some(Ok(2)));
    check_all(&cluster, &["M1", "M3", "M2"]);
}
