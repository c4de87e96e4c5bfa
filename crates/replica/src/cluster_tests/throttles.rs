//! Replication that is held to a rate (KIP-73).

use ottla_log::LogConfig;
use ottla_types::NodeId;

use super::cluster::{ALL, Cluster, X, Y, Z};
use crate::fetcher::FetcherSettings;
use crate::tests::FETCHERS;
use crate::{ReplicationRates, Throttled};

const NO_RATE: u64 = u64::MAX;

/// X leads with records of 1,000 bytes and more, of which an answer holds five; Z, out of sync, has none of them.
fn with_one_to_catch_up(records: usize) -> Cluster {
    let settings = FetcherSettings { max_bytes: 5_500, ..FETCHERS };
    let mut cluster = Cluster::with(1, LogConfig::default(), settings);
    cluster.crash(Z, None);
    cluster.elect(X, &[X, Y]);
    let value = "v".repeat(1000);
    for _ in 0..records {
        cluster.produce(X, 1, &[&value]);
    }
    cluster.replicate();
    cluster.start(Z);
    cluster
}

fn throttle(cluster: &Cluster, broker: NodeId, throttled: Throttled, rate: u64) {
    cluster.partition(broker).set_throttled(throttled);
    let leader = if throttled.leader { rate } else { NO_RATE };
    let follower = if throttled.follower { rate } else { NO_RATE };
    cluster.manager(broker).set_rates(ReplicationRates { leader, follower, moves: NO_RATE }, cluster.now);
}

/// Lets a follower fetch every tenth of a second; after how long, at most, it has everything.
fn catches_up_after_ms(cluster: &mut Cluster, follower: NodeId) -> u64 {
    for ms in (0..120_000).step_by(100) {
        cluster.fetch_once(follower);
        if cluster.end(follower) == cluster.end(X) {
            return ms;
        }
        cluster.pass_ms(100);
    }
    panic!("it never catches up: {} of {}", cluster.end(follower), cluster.end(X));
}

const LEADER: Throttled = Throttled { leader: true, follower: false };
const FOLLOWER: Throttled = Throttled { leader: false, follower: true };

/// 100 records of some 1,070 bytes at 10,000 bytes a second: some 10 s.
#[test]
fn who_catches_up_is_held_to_the_rate_by_leader_or_follower() {
    for (broker, throttled) in [(X, LEADER), (Z, FOLLOWER)] {
        let mut cluster = with_one_to_catch_up(100);
        throttle(&cluster, broker, throttled, 10_000);
        let ms = catches_up_after_ms(&mut cluster, Z);
        assert!((8_000..=12_000).contains(&ms), "{throttled:?}: {ms} ms");
    }
}

#[test]
fn what_is_not_throttled_is_not_held_to_the_rate() {
    let mut cluster = with_one_to_catch_up(100);
    throttle(&cluster, X, LEADER, 1);
    throttle(&cluster, Z, FOLLOWER, 1);
    cluster.partition(X).set_throttled(Throttled::default());
    cluster.partition(Z).set_throttled(Throttled::default());
    let ms = catches_up_after_ms(&mut cluster, Z);
    assert!(ms <= 3_000, "{ms} ms");
}

#[test]
fn who_is_in_sync_is_not_held_to_the_rate_though_what_it_takes_counts() {
    for (broker, throttled) in [(X, LEADER), (Y, FOLLOWER)] {
        let mut cluster = with_one_to_catch_up(1);
        cluster.replicate();
        assert_eq!(cluster.decided.isr, ALL);
        throttle(&cluster, broker, throttled, 10);
        for _ in 0..20 {
            cluster.produce(X, 1, &["value"]);
            assert_eq!(catches_up_after_ms(&mut cluster, Y), 0, "{throttled:?}");
        }
        // Nothing of it is left for others.
        cluster.crash(Z, None);
        cluster.elect(X, &[X, Y]);
        cluster.produce(X, 1, &["value"]);
        cluster.start(Z);
        cluster.fetch_once(Z);
        cluster.fetch_once(Z);
        assert_eq!(cluster.end(Z) < cluster.end(X), throttled.leader, "{throttled:?}");
    }
}

#[test]
fn a_follower_that_is_held_back_goes_on_when_the_rate_is_raised() {
    for (broker, throttled) in [(X, LEADER), (Z, FOLLOWER)] {
        let mut cluster = with_one_to_catch_up(50);
        throttle(&cluster, broker, throttled, 1);
        for _ in 0..20 {
            cluster.fetch_once(Z);
            cluster.pass_ms(100);
        }
        let held_back_at = cluster.end(Z);
        assert!(held_back_at < 50, "{throttled:?}");
        throttle(&cluster, broker, throttled, NO_RATE);
        let ms = catches_up_after_ms(&mut cluster, Z);
        assert!(ms <= 1_000, "{throttled:?}: {ms} ms from {held_back_at}");
    }
}
