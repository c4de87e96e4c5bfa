use ottla_wire::messages::ShareGroupDescribeRequest;
use ottla_wire::messages::share_group_describe_response::Group;

use super::*;

fn describe(rig: &ShareRig, group_id: &str) -> Group {
    let request = ShareGroupDescribeRequest {
        group_ids: vec![group_id.to_owned()],
        ..ShareGroupDescribeRequest::default()
    };
    let answer = Answer::of(|reply| rig.api.describe(rig.rig.context(1), request, reply)).now();
    answer.groups[0].clone()
}

#[test]
fn nothing_is_given_out_that_the_share_coordinator_does_not_know() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 3);
    rig.states.hold();
    let mut a = Member::new("a", &["t", "unknown"]);
    a.beat(&rig);
    assert_eq!((a.epoch, a.partitions("t")), (2, vec![]));
    rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
    a.beat(&rig);
    assert_eq!((a.epoch, a.partitions("t")), (2, vec![]), "it is being initialized");
    rig.states.release();
    assert_eq!(rig.known().values().copied().collect::<Vec<_>>(), [(2, -1); 3], "the epoch of the group");
    a.beat(&rig);
    assert_eq!((a.epoch, a.partitions("t")), (3, vec![0, 1, 2]));
    let again = rig.beat(a.request());
    assert_eq!((again.member_epoch, again.assignment, again.heartbeat_interval_ms), (3, None, 1_000));
    rig.rig.pass(5_000);
    assert_eq!(rig.beat(a.request()).heartbeat_interval_ms, 5_000, "it has settled");
    assert_eq!(rig.taken_over().group(), rig.group());
}

#[test]
fn every_member_has_something_and_the_last_one_leaves_an_empty_group() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 2);
    let mut members: Vec<Member> = ["a", "b", "c"].iter().map(|id| rig.member_of(id, "t")).collect();
    for member in &mut members {
        member.beat(&rig);
        assert_eq!(member.partitions("t").len(), 1, "{member:?}");
    }
    let described = describe(&rig, GROUP);
    assert_eq!((described.group_state.as_str(), described.assignor_name.as_str()), ("Stable", "simple"));
    assert_eq!((described.group_epoch, described.assignment_epoch), (rig.group().epoch, rig.group().epoch));
    let ids: Vec<&str> = described.members.iter().map(|member| member.member_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(described.members[0].assignment.topic_partitions[0].topic_name, "t");
    for member in &members {
        let left = rig.beat(beat_request(&member.member_id, LEAVE));
        assert_eq!((left.error_code, left.member_epoch), (0, LEAVE));
    }
    assert_eq!(describe(&rig, GROUP).group_state, "Empty");
    assert_eq!(describe(&rig, "other").error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(describe(&rig, "").error_code, ErrorCode::InvalidGroupId.code());
    assert_eq!(described.members[0].rack_id, None);
    assert_eq!(rig.rig.listed_state(), "Empty");
    assert_eq!(rig.taken_over().group(), rig.group());
}

#[test]
fn who_says_nothing_for_too_long_is_removed() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 2);
    let mut a = rig.member_of("a", "t");
    let b = rig.member_of("b", "t");
    rig.rig.pass(SHARE_SESSION_MS / 2);
    a.beat(&rig);
    rig.rig.pass(SHARE_SESSION_MS / 2 + 1);
    assert_eq!(rig.refused(b.request()), ErrorCode::UnknownMemberId);
    a.beat(&rig);
    assert_eq!(a.partitions("t"), [0, 1]);
}

#[test]
fn who_could_not_be_taken_out_is_missed_later() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    rig.member_of("a", "t");
    rig.rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(rig.refused(beat_request("a", LEAVE)), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(rig.group().len(), 1);
    rig.rig.pass(SHARE_SESSION_MS);
    assert!(rig.group().is_empty());
}

#[test]
fn who_is_back_while_its_removal_is_being_written_has_a_session_of_its_own() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    rig.member_of("a", "t").beat(&rig);
    rig.rig.hold_commits();
    rig.rig.pass(SHARE_SESSION_MS);
    assert!(rig.group().is_empty());
    let back = rig.send_beat(Member::new("a", &["t"]).request());
    rig.rig.pass(config().offsets_commit_timeout_ms);
    assert_eq!(error(back.now().error_code), ErrorCode::CoordinatorNotAvailable, "nothing is committed");
    rig.rig.commit();
    rig.rig.pass(SHARE_SESSION_MS / 2);
    assert_eq!(rig.group().len(), 1);
}

#[test]
fn a_group_at_rest_takes_up_what_its_topics_grow_by() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    let mut members = [rig.member_of("a", "t"), rig.member_of("b", "t")];
    let mut rest = || {
        for _ in 0..3 {
            rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
            members.iter_mut().for_each(|member| member.beat(&rig));
        }
        members.each_ref().map(|member| member.partitions("t"))
    };
    assert_eq!(rest(), [[0], [0]]);
    let at_rest = rig.group();
    rest();
    assert_eq!(rig.group(), at_rest);
    rig.rig.topic("t", 4);
    let mut shared = rest().concat();
    shared.sort_unstable();
    assert_eq!(shared, [0, 1, 2, 3]);
    rig.rig.delete_topic("t");
    assert_eq!(rest(), [[], []]);
    rig.rig.topic("t", 1);
    assert_eq!(rest(), [[0], [0]]);
}

#[test]
fn a_coordinator_that_takes_over_waits_for_the_members() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    let mut a = rig.member_of("a", "t");
    let taken = rig.taken_over();
    taken.rig.pass(SHARE_SESSION_MS - 1);
    a.beat(&taken);
    assert_eq!(a.partitions("t"), [0]);
    let taken = taken.taken_over();
    taken.rig.pass(SHARE_SESSION_MS + 1);
    assert!(taken.group().is_empty());
}

#[test]
fn epochs_are_fenced() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    let a = rig.member_of("a", "t");
    assert_eq!(a.epoch, 3);
    assert_eq!(rig.refused(beat_request("b", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(rig.refused(beat_request("b", LEAVE)), ErrorCode::UnknownMemberId);
    assert_eq!(rig.refused(beat_request("a", 4)), ErrorCode::FencedMemberEpoch);
    let behind = rig.beat(beat_request("a", 2));
    assert_eq!((behind.error_code, behind.member_epoch), (0, 3), "it may have missed an answer");
    rig.member_of("b", "t");
    let ahead = rig.beat(a.request()).member_epoch;
    assert!(ahead > 3);
    assert_eq!(rig.refused(beat_request("a", 1)), ErrorCode::FencedMemberEpoch);
    let other = ShareGroupHeartbeatRequest { group_id: "other".to_owned(), ..beat_request("a", 1) };
    assert_eq!(rig.refused(other), ErrorCode::GroupIdNotFound);
}

#[test]
fn what_no_member_could_mean_is_refused() {
    let rig = ShareRig::new();
    let joins = || Member::new("a", &["t"]).request();
    let refused = [
        ShareGroupHeartbeatRequest { group_id: " ".to_owned(), ..joins() },
        ShareGroupHeartbeatRequest { member_id: String::new(), ..joins() },
        ShareGroupHeartbeatRequest { member_id: "m".repeat(37), ..joins() },
        ShareGroupHeartbeatRequest { rack_id: Some(String::new()), ..joins() },
        ShareGroupHeartbeatRequest { member_epoch: -2, ..joins() },
        ShareGroupHeartbeatRequest { subscribed_topic_names: None, ..joins() },
        ShareGroupHeartbeatRequest { subscribed_topic_names: Some(Vec::new()), ..joins() },
    ];
    for request in refused {
        assert_eq!(rig.refused(request.clone()), ErrorCode::InvalidRequest, "{request:?}");
    }
    let mut config = config();
    config.share.max_size = 1;
    let rig = ShareRig::with_config(config);
    rig.member_of("a", "t").beat(&rig);
    assert_eq!(rig.refused(Member::new("b", &["t"]).request()), ErrorCode::GroupMaxSizeReached);
    let classic = ShareRig::new();
    classic.rig.stable_group(1);
    assert_eq!(classic.refused(Member::new("b", &["t"]).request()), ErrorCode::GroupIdNotFound);
}

#[test]
fn an_initialization_that_fails_is_begun_again() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 2);
    *rig.states.failures.lock() = vec![ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable];
    let mut a = Member::new("a", &["t"]);
    a.beat(&rig);
    assert!(rig.known().is_empty());
    rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
    a.beat(&rig);
    assert_eq!(rig.known().len(), 2);
    rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
    a.beat(&rig);
    assert_eq!(a.partitions("t"), [0, 1]);
}

#[test]
fn an_initialization_without_an_answer_is_begun_again_after_a_while() {
    // `group.share.initialize.retry.interval.ms`
    for (retry_ms, expected) in [(30_000, [1, 1, 1, 2]), (15_000, [1, 1, 2, 2])] {
        let mut config = config();
        config.share.initialize_retry_interval_ms = retry_ms;
        let rig = ShareRig::with_config(config);
        rig.rig.topic("t", 1);
        rig.states.hold();
        let mut a = Member::new("a", &["t"]);
        let mut counts = Vec::new();
        for _ in 0..4 {
            a.beat(&rig);
            counts.push(rig.states.held.lock().as_ref().unwrap().len());
            rig.rig.pass(10_000);
        }
        assert_eq!(counts, expected);
    }
}

/// What the share coordinator has lost, though the group's log says that it has it.
fn lose(rig: &ShareRig, partitions: &[i32]) {
    rig.states.known.lock().retain(|(_, partition), _| !partitions.contains(partition));
}

fn beat_often(rig: &ShareRig, member: &mut Member) {
    for _ in 0..3 {
        member.beat(rig);
        rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
    }
}

#[test]
fn who_takes_over_has_lost_states_initialized_again() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 3);
    let mut a = rig.member_of("a", "t");
    a.beat(&rig);
    rig.states.known.lock().values_mut().for_each(|(_, start_offset)| *start_offset = 7);
    lose(&rig, &[1]);
    beat_often(&rig, &mut a);
    assert_eq!(rig.known().len(), 2, "who has told the share coordinator does not ask");

    let taken = rig.taken_over();
    beat_often(&taken, &mut a);
    let starts: Vec<i64> = taken.known().values().map(|(_, start_offset)| *start_offset).collect();
    assert_eq!(starts, [7, -1, 7], "what is there stays as it is");
    assert_eq!(a.partitions("t"), [0, 1, 2]);
    let again = taken.taken_over();
    assert_eq!(again.group(), taken.group());
}

#[test]
fn states_that_can_not_be_looked_for_are_looked_for_later() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 2);
    let mut a = rig.member_of("a", "t");
    lose(&rig, &[0]);
    let taken = rig.taken_over();
    *taken.states.failures.lock() = vec![ErrorCode::CoordinatorNotAvailable; 2];
    a.beat(&taken);
    assert_eq!(taken.known().len(), 1);
    beat_often(&taken, &mut a);
    assert_eq!(taken.known().len(), 2);

    // Nor is an answer that does not come waited for for ever.
    lose(&taken, &[1]);
    let taken = taken.taken_over();
    taken.states.hold();
    a.beat(&taken);
    *taken.states.held.lock() = None;
    beat_often(&taken, &mut a);
    assert_eq!(taken.known().len(), 1, "it waits");
    taken.rig.pass(i32::try_from(config().share.initialize_retry_interval_ms).unwrap());
    beat_often(&taken, &mut a);
    assert_eq!(taken.known().len(), 2);
}

#[test]
fn what_is_initialized_meanwhile_is_not_initialized_again() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    let mut a = rig.member_of("a", "t");
    lose(&rig, &[0]);
    let taken = rig.taken_over();
    taken.states.hold();
    a.beat(&taken);
    taken.beat(beat_request("a", LEAVE));
    // The answer that nothing is there is late: an administrator sets where the group begins.
    let late = taken.states.held.lock().take();
    super::offsets::alter(&taken, "t", &[(0, 5)]);
    late.into_iter().flatten().for_each(|job| job());
    let mut b = Member::new("b", &["t"]);
    beat_often(&taken, &mut b);
    assert_eq!(taken.known()[&(topic_id("t"), 0)].1, 5);
    assert_eq!(b.partitions("t"), [0]);
}

#[test]
fn what_a_former_life_of_the_coordinator_has_asked_says_nothing_now() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    let mut a = rig.member_of("a", "t");
    let taken = rig.taken_over();
    lose(&taken, &[0]);
    taken.states.hold();
    a.beat(&taken);
    // The answer that nothing is there is late: another coordinator has had it initialized by the time that this one is
    // back, and asks anew.
    let late = taken.states.held.lock().take();
    taken.states.known.lock().insert((topic_id("t"), 0), (1, 7));
    taken.rig.coordinator.on_resign(0, Some(LeaderEpoch(2)));
    taken.rig.coordinator.on_partition_leader(0, LeaderEpoch(3));
    taken.rig.load();
    taken.states.hold();
    a.beat(&taken);
    late.into_iter().flatten().for_each(|job| job());
    taken.states.release();
    beat_often(&taken, &mut a);
    assert_eq!(taken.known()[&(topic_id("t"), 0)], (1, 7));
    assert_eq!(a.partitions("t"), [0]);
}

#[test]
fn topics_grow_and_go() {
    let rig = ShareRig::new();
    rig.rig.topic("t", 1);
    let mut a = rig.member_of("a", "t");
    rig.rig.topic("t", 3);
    for _ in 0..3 {
        rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
        a.beat(&rig);
    }
    assert_eq!(a.partitions("t"), [0, 1, 2]);
    rig.delete_topic("t");
    for _ in 0..3 {
        rig.rig.pass(ASSIGNMENT_INTERVAL_MS);
        a.beat(&rig);
    }
    assert!(a.owned.is_empty());
    assert!(rig.group().topics.all_partitions().is_empty());
    assert_eq!(rig.taken_over().group(), rig.group());
}
