//! How long an assignment takes: `cargo run --release -p ottla-coordinator --example assignors [MEMBERS [TOPICS [PARTITIONS]]]`.
//! 1,000 members over 100 topics of 100 partitions each, unless told otherwise.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool that is run by hand")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ottla_coordinator::group::consumer::assignor::{Assignment, Assignor, GroupSpec, MemberSpec};
use ottla_types::Uuid;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>().unwrap());
    let mut next = |default| arguments.next().unwrap_or(default);
    let (members, topics, partitions) = (next(1_000), next(100), next(100));
    let topic_ids: Vec<Uuid> = (0..topics).map(|topic| Uuid(u128::from(topic + 1).to_be_bytes())).collect();
    let partition_counts: BTreeMap<Uuid, i32> =
        topic_ids.iter().map(|id| (*id, i32::try_from(partitions).unwrap())).collect();
    let all: Arc<BTreeSet<Uuid>> = Arc::new(topic_ids.iter().copied().collect());
    let halves: [Arc<BTreeSet<Uuid>>; 2] =
        [0, 1].map(|half| Arc::new(topic_ids.iter().copied().skip(half).step_by(2).collect()));
    // Each topic with another half of the members: no two subscribe to the same.
    let own = |member: u32| {
        let is_subscribed = |topic: u32| scrambled(u64::from(member) << 32 | u64::from(topic)) & 1 == 0;
        Arc::new(
            (0..topics)
                .zip(&topic_ids)
                .filter(|(topic, _)| is_subscribed(*topic))
                .map(|(_, id)| *id)
                .collect(),
        )
    };
    let own: Vec<Arc<BTreeSet<Uuid>>> = (0..members).map(own).collect();
    for (name, subscriptions) in
        [("all alike", vec![all]), ("two halves", halves.to_vec()), ("each its own", own)]
    {
        for assignor in Assignor::ALL {
            let mut group = GroupSpec { members: BTreeMap::new(), partitions: partition_counts.clone() };
            for (number, subscribed) in (0..members).zip(subscriptions.iter().cycle()) {
                let spec = MemberSpec { subscribed: Arc::clone(subscribed), ..MemberSpec::default() };
                group.members.insert(Arc::from(format!("member-{number}")), spec);
            }
            let first = timed(assignor, &mut group);
            group.members.pop_first();
            let after_a_leave = timed(assignor, &mut group);
            println!("{name}, {}: first {first} us, after one left {after_a_leave} us", assignor.name());
        }
    }
}

/// A number that has nothing to do with this one, and is always the same (splitmix64).
fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Assigns, and lets the members have it.
fn timed(assignor: Assignor, group: &mut GroupSpec) -> u128 {
    let started = Instant::now();
    let assignments: BTreeMap<Arc<str>, Assignment> = assignor.assign(group);
    let took = started.elapsed().as_micros();
    for (member, assignment) in group.members.values_mut().zip(assignments.into_values()) {
        member.assigned = Arc::new(assignment);
    }
    took
}
