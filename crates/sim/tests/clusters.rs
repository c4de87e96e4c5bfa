//! Runs of the simulator with three nodes, and with more of them (`wide`): seeds that are always the same, and as many others
//! as are asked for.
//!
//! `SIM_SEED=n` replays one and prints what happens in it, `SIM_RUNS=n` runs so many random ones beside the others (from
//! `SIM_FIRST=m` on, where that is given).
//! `SIM_SEED=n SIM_SHRINK=m` looks in at most m runs for the few faults that it takes for a seed to fail.

use ottla_sim::cluster::{
    Kind, Misfortune, SESSION_MS, Victim, create_without_room, fail_over, fence_without_room,
    is_fenced_though_needed, run, run_printing, shrink, tell_without_metadata,
};
use ottla_sim::seeds::{Seeds, number};

const FIXED: std::ops::Range<u64> = 0..9;
/// Seeds that once found a fault; `crates/xtask/mutants` names others, which find faults that are put in.
const KEPT: &[u64] = &[91010786384];
/// Seeds for each kind of process that is killed.
const FAILOVERS: u64 = 3;

/// What a number of seeds together must have seen, and how often at least in each ten of them.
const EXPECTED: &[(&str, u64)] = &[
    ("kills", 10),
    ("losses of power", 4),
    ("nodes stopped in order", 4),
    ("nodes stood still", 15),
    ("nodes were slow", 8),
    ("disks failed", 1),
    ("disks were full", 1),
    ("sectors corrupted", 1),
    ("clocks were set", 2),
    ("ways cut", 4),
    ("ways cut in one direction", 5),
    ("nodes that only hear", 5),
    ("nodes cut off", 5),
    ("networks that are a ring", 2),
    ("requests that came late", 1),
    ("clients cut off", 40),
    ("requests of clients that came late", 1),
    ("feature levels raised", 10),
    ("feature levels lowered", 10),
    ("quorum elections", 15),
    ("partition elections", 100),
    ("records acknowledged", 10_000),
    ("records sent without an answer", 500),
    ("records fetched", 10_000),
    ("records fetched from followers", 500),
    ("transactional producers begun", 40),
    ("transactional producers vanished", 15),
    ("producers fenced", 10),
    ("transactions committed", 15),
    ("transactions aborted", 4),
    ("offsets sent in transactions", 15),
    ("offsets of transactions read", 500),
    ("offsets committed", 500),
    ("partitions taken over", 50),
    ("assignments", 50),
    ("members gone", 15),
    ("records acquired", 50),
    ("records accepted", 10),
];

/// Two of each shape.
const WIDE_FIXED: std::ops::Range<u64> = 0..6;
/// Seeds that once found a fault, and 11, in which a broker loses what it is let in with: few seeds get that far.
const WIDE_KEPT: &[u64] = &[11, 15, 18, 110, 1022, 1093];
const WIDE_EXPECTED: &[(&str, u64)] = &[
    ("clusters of separate controllers and brokers", 3),
    ("clusters with more brokers", 3),
    ("clusters whose voters change", 3),
    ("nodes joined", 10),
    ("partitions moved", 50),
    ("moves taken back", 3),
    ("moves throttled", 6),
    ("throttles lifted", 6),
    ("preferred leaders elected", 20),
    ("brokers drained", 4),
    ("brokers taken away", 2),
    ("moves between directories", 50),
    ("replicas moved between directories", 40),
    ("log directories failed", 1),
    ("connections broken", 100),
    ("partitions left without those in sync", 5),
    ("unclean elections", 2),
    ("voters added", 5),
    ("voters removed", 5),
    ("producers that gave batches up", 10),
    ("connections lost again and again", 20),
    ("votes split", 3),
    ("quorums split", 1),
    ("leaders that led again", 1),
    ("ends told", 1_000),
    ("ends not told yet", 2),
    ("brokers that lost what they were let in with", 1),
    ("kills", 10),
    ("losses of power", 2),
    ("nodes stood still", 15),
    ("quorum elections", 15),
    ("partition elections", 100),
    ("records acknowledged", 10_000),
    ("records fetched", 10_000),
    ("transactions committed", 15),
    ("offsets committed", 500),
    ("assignments", 50),
];

#[test]
fn promises_are_kept() {
    if !shrinks(Kind::Three) {
        let seeds = Seeds { fixed: FIXED, kept: KEPT, random_one_in: 1, expected: EXPECTED };
        seeds.check(|seed| run(Kind::Three, seed), |seed| run_printing(Kind::Three, seed));
    }
}

#[test]
fn wide_clusters_keep_theirs() {
    if !shrinks(Kind::Wide) {
        let seeds = Seeds { fixed: WIDE_FIXED, kept: WIDE_KEPT, random_one_in: 2, expected: WIDE_EXPECTED };
        seeds.check(|seed| run(Kind::Wide, seed), |seed| run_printing(Kind::Wide, seed));
    }
}

#[test]
fn a_seed_replays_exactly() {
    assert_eq!(run(Kind::Three, 2), run(Kind::Three, 2));
}

#[test]
fn a_wide_seed_replays_exactly() {
    assert_eq!(run(Kind::Wide, 1), run(Kind::Wide, 1));
}

/// Whether what a seed fails of is looked for.
fn shrinks(kind: Kind) -> bool {
    let (Some(seed), Some(runs)) = (number("SIM_SEED"), number("SIM_SHRINK")) else { return false };
    let shrunk = shrink(kind, seed, runs as usize);
    assert!(shrunk.is_none(), "{}", shrunk.expect("it fails"));
    true
}

/// On the simulator's time: its clients and its network take their share of it.
fn costs_less_than(limit_ms: u64, misfortune: Misfortune) {
    for victim in [Victim::Leader, Victim::Follower, Victim::Controller] {
        let fail_over =
            |seed| fail_over(seed, victim, misfortune).unwrap_or_else(|failure| panic!("{failure}"));
        let gaps: Vec<u64> = (0..FAILOVERS).filter_map(fail_over).collect();
        println!("{victim:?}, {misfortune:?}: {gaps:?} ms");
        assert!(!gaps.is_empty(), "{victim:?}");
        assert!(gaps.iter().all(|gap| *gap < limit_ms), "{victim:?}, {misfortune:?}: {gaps:?}");
    }
}

#[test]
fn a_killed_process_costs_its_partitions_less_than_half_a_second() {
    costs_less_than(500, Misfortune::Killed);
}

#[test]
fn a_process_that_is_killed_and_started_at_once_costs_no_more() {
    for down_ms in [1, 50, 300] {
        costs_less_than(500, Misfortune::Restarted { down_ms });
    }
}

/// Which it may cost whatever it led, the quorum too.
#[test]
fn a_dead_machine_or_a_cut_network_costs_a_session_at_most() {
    for misfortune in [Misfortune::StandsStill, Misfortune::CutOff] {
        costs_less_than(SESSION_MS + 500, misfortune);
    }
}

#[test]
fn a_full_disk_costs_its_partitions_less_than_a_second() {
    for bytes in [0, 5_000] {
        costs_less_than(1_000, Misfortune::Full { bytes });
    }
}

#[test]
fn a_new_topic_is_served_although_one_replica_has_no_room_for_it() {
    for seed in 0..FAILOVERS {
        let ms = create_without_room(seed).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{ms} ms");
        assert!(ms < 1_000, "{ms}");
    }
}

/// Leaders that are Apache Kafka wait for a follower that is not fenced, in sync or not.
#[test]
fn a_broker_without_room_is_fenced_until_there_is_some() {
    for seed in 0..FAILOVERS {
        let (fenced, whole) = fence_without_room(seed).unwrap_or_else(|failure| panic!("{failure}"));
        println!("fenced after {fenced} ms, whole again after {whole} ms");
        assert!(fenced < 1_000, "{fenced}");
        let is_fenced = is_fenced_though_needed(seed).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(!is_fenced, "what it alone has is not taken away from it");
    }
}

/// What such a broker would tell is not so any more, and its clients would ask again and again.
#[test]
fn a_broker_whose_metadata_stand_still_sends_clients_to_others() {
    for seed in 0..FAILOVERS {
        let tells = tell_without_metadata(seed).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(tells, [true, false, true]);
    }
}
