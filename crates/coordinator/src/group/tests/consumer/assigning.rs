//! Targets of large groups are made outside of the shard.

use super::*;
use crate::group::consumer::ConsumerGroupConfig;

/// A group with a topic of eight partitions is large, one with four is not. What is done outside of the shard waits.
fn rig() -> Rig {
    let consumer = ConsumerGroupConfig { assigned_elsewhere_from: 9, ..ConsumerGroupConfig::default() };
    let rig = Rig::with_config(GroupCoordinatorConfig { consumer, ..config() });
    rig.coordinator.set_consumer_assignment_interval_ms(0);
    rig.topic("t", 8);
    rig.topic("small", 4);
    rig.jobs.hold(true);
    rig
}

#[track_caller]
fn take(consumer: &mut Consumer, answer: &Answer<ConsumerGroupHeartbeatResponse>) {
    assert_eq!(consumer.take(&answer.now()), ErrorCode::None);
}

/// Two members who have half of the partitions each.
fn two(rig: &Rig) -> [Consumer; 2] {
    rig.jobs.hold(false);
    let mut both = [Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(rig, &mut both);
    rig.jobs.hold(true);
    both
}

#[test]
fn nobody_waits_for_the_target_of_a_large_group_but_who_asked_for_it() {
    let rig = rig();
    let mut a = Consumer::new("a", &["t"]);
    let asked = rig.send_beat(a.request());
    asked.is_parked();
    // Another group of the same shard.
    let other =
        ConsumerGroupHeartbeatRequest { group_id: "other".to_owned(), ..join_request("x", &["small"]) };
    assert_eq!(assigned(&rig.beat(other)).unwrap()[&topic_id("small")].len(), 4);
    // Another member of the same group: it goes by the target that there is.
    let mut b = Consumer::new("b", &["t"]);
    b.beat(&rig);
    assert_eq!((b.partitions("t").len(), rig.listed_state()), (0, "Assigning".to_owned()));
    assert!(rig.jobs.run_one());
    take(&mut a, &asked);
    assert_eq!(a.partitions("t").len(), 8);
    // The target was made without the other, and another is due.
    let group = rig.consumer_group();
    assert_eq!((group.target.epoch, group.epoch, rig.listed_state()), (2, 3, "Assigning".to_owned()));
    rig.jobs.hold(false);
    let mut all = [a, b];
    settle(&rig, &mut all);
    assert_eq!(all.map(|of| of.partitions("t").len()), [4, 4]);
}

#[test]
fn a_small_group_is_assigned_at_once() {
    let rig = rig();
    let mut a = Consumer::new("a", &["small"]);
    a.beat(&rig);
    assert_eq!(a.partitions("small").len(), 4);
}

#[test]
fn who_has_left_meanwhile_is_not_assigned_anything() {
    let rig = rig();
    let [mut a, b] = two(&rig);
    let c = rig.send_beat(join_request("c", &["t"]));
    assert_eq!(rig.beat(beat_request("b", LEAVE)).error_code, 0);
    assert_eq!(rig.beat(beat_request("c", LEAVE)).error_code, 0);
    assert!(rig.jobs.run_one());
    assert_eq!(error(c.now().error_code), ErrorCode::UnknownMemberId);
    assert_eq!(rig.consumer_group().target.members().map(|(id, _)| &**id).collect::<Vec<_>>(), ["a"]);
    rig.jobs.hold(false);
    settle(&rig, std::slice::from_mut(&mut a));
    assert_eq!((a.partitions("t").len(), b.partitions("t").len()), (8, 4));
}

#[test]
fn a_target_that_no_longer_fits_is_made_again() {
    let rig = rig();
    rig.jobs.hold(false);
    let alive =
        |member_id: &str| Consumer { instance_id: Some("i".into()), ..Consumer::new(member_id, &["t"]) };
    let mut all = [alive("a1"), Consumer::new("b", &["t"])];
    settle(&rig, &mut all);
    rig.jobs.hold(true);
    let joining = rig.send_beat(join_request("c", &["t"]));
    // A static member comes back as another: the target knows it by its former id.
    let leave = ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".to_owned()),
        ..beat_request("a1", LEAVE_FOR_A_WHILE)
    };
    assert_eq!(rig.beat(leave).error_code, 0);
    all[0] = alive("a2");
    all[0].beat(&rig);
    let target_epoch = rig.consumer_group().target.epoch;
    assert!(rig.jobs.run_one());
    assert_eq!((joining.now().error_code, rig.consumer_group().target.epoch), (0, target_epoch));
    let mut c = Consumer::new("c", &["t"]);
    take(&mut c, &joining);
    rig.jobs.hold(false);
    let [a, b] = all;
    let mut all = [a, b, c];
    settle(&rig, &mut all);
    let mut loads = all.map(|of| of.partitions("t").len());
    loads.sort_unstable();
    assert_eq!(loads, [2, 3, 3]);
}

#[test]
fn an_answer_that_nobody_waits_for_takes_nothing_away() {
    let rig = rig();
    let [mut a, mut b] = two(&rig);
    // A target without `b` is asked for by a heartbeat of `a` that says what it has.
    assert_eq!(rig.beat(beat_request("b", LEAVE)).error_code, 0);
    let lost = rig.send_beat(a.request());
    lost.is_parked();
    // Its connection breaks, and it asks anew: a topic grows, so that the target that is being made is not the last.
    rig.topic("t", 9);
    a.beat(&rig);
    assert!(rig.jobs.run_one());
    assert_eq!(lost.now().error_code, 0);
    rig.jobs.hold(false);
    b = Consumer::new("b2", &b.topics.iter().map(String::as_str).collect::<Vec<_>>());
    let mut both = [a, b];
    settle(&rig, &mut both);
    let mut loads = both.map(|of| of.partitions("t").len());
    loads.sort_unstable();
    assert_eq!(loads, [4, 5]);
}

#[test]
fn a_target_that_came_to_nothing_is_asked_for_again() {
    let rig = rig();
    let mut a = Consumer::new("a", &["t"]);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    let failed = rig.send_beat(a.request());
    assert_eq!(
        (error(failed.now().error_code), rig.jobs.run_one()),
        (ErrorCode::CoordinatorNotAvailable, false)
    );
    let dropped = rig.send_beat(a.request());
    rig.jobs.drop_all();
    assert_eq!(error(dropped.now().error_code), ErrorCode::NotCoordinator);
    let asked = rig.send_beat(a.request());
    assert!(rig.jobs.run_one());
    take(&mut a, &asked);
    assert_eq!(a.partitions("t").len(), 8);
    // A coordinator that takes over while one is made has the next heartbeat make it.
    let asked = rig.send_beat(join_request("b", &["t"]));
    let next = rig.taken_over();
    rig.coordinator.on_resign(0, None);
    assert!(rig.jobs.run_one());
    assert_eq!(error(asked.now().error_code), ErrorCode::NotCoordinator);
    let mut both = [a, Consumer::new("b", &["t"])];
    settle(&next, &mut both);
}
