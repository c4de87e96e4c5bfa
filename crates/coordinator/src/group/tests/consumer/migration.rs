use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, LeaveGroupRequest, LeaveGroupResponse,
};

use super::*;
use crate::group::consumer::{ConsumerGroupConfig, MigrationPolicy};

/// What a classic consumer has been assigned, by topic.
fn decoded(bytes: &Bytes) -> BTreeMap<String, Vec<i32>> {
    use ottla_wire::Message;
    let mut reader = ottla_wire::Decoder::new(bytes.clone());
    assert_eq!(reader.i16("version").unwrap(), 3);
    let assignment = ottla_wire::records::ConsumerProtocolAssignment::decode(&mut reader, 3).unwrap();
    assignment.assigned_partitions.into_iter().map(|topic| (topic.topic, topic.partitions)).collect()
}

fn encoded(topic: &str, partitions: &[i32]) -> Bytes {
    let mut bytes = vec![0, 3, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend(topic.as_bytes());
    bytes.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

/// A subscription to `topic` that says what the member has.
fn owning(partitions: &[i32]) -> Bytes {
    let mut bytes = vec![0, 3, 0, 0, 0, 1, 0, 5];
    bytes.extend(b"topic");
    bytes.extend([0xff; 4]);
    bytes.extend([0, 0, 0, 1, 0, 5]);
    bytes.extend(b"topic");
    bytes.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    bytes.extend((-1i32).to_be_bytes());
    bytes.extend([0xff, 0xff]);
    Bytes::from(bytes)
}

/// A classic group of one member that has both partitions of `topic`.
fn classic_group(rig: &Rig) -> JoinGroupResponse {
    rig.topic("topic", 2);
    let mut request = super::super::join_request();
    request.protocols[0].metadata = owning(&[]);
    let joining = rig.join_with(request);
    rig.pass(0);
    let joined = joining.now();
    let assignments = vec![Assignment {
        member_id: joined.member_id.clone(),
        assignment: encoded("topic", &[0, 1]),
        ..Assignment::default()
    }];
    let synced = rig.send_sync(SyncGroupRequest { assignments, ..sync_request(&joined) }).now();
    assert_eq!(synced.error_code, 0);
    joined
}

fn rejoin(rig: &Rig, member_id: &str, owned: &[i32]) -> JoinGroupResponse {
    let mut request = JoinGroupRequest { member_id: member_id.to_owned(), ..super::super::join_request() };
    request.protocols[0].metadata = owning(owned);
    rig.join_with(request).now()
}

fn assignment(rig: &Rig, joined: &JoinGroupResponse) -> BTreeMap<String, Vec<i32>> {
    let synced = rig.sync(joined).now();
    assert_eq!(error(synced.error_code), ErrorCode::None);
    decoded(&synced.assignment)
}

fn leave(rig: &Rig, member_id: &str) -> LeaveGroupResponse {
    leave_together(rig, &[member_id])
}

fn leave_together(rig: &Rig, member_ids: &[&str]) -> LeaveGroupResponse {
    let member = |member_id: &&str| ottla_wire::messages::leave_group_request::Member {
        member_id: (*member_id).to_owned(),
        ..Default::default()
    };
    let request = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members: member_ids.iter().map(member).collect(),
        ..LeaveGroupRequest::default()
    };
    Answer::of(|reply| rig.coordinator.leave_group(rig.context(5), request, reply)).now()
}

fn type_of(rig: &Rig) -> String {
    let listed = listing::list(rig, &[], &[]);
    listed.into_iter().find(|(id, ..)| id == GROUP).map(|(_, kind, ..)| kind).unwrap_or_default()
}

#[test]
fn a_classic_group_takes_members_of_the_consumer_protocol_in() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    let mut b = Consumer::new("b", &["topic"]);
    b.beat(&rig);
    assert_eq!((type_of(&rig).as_str(), b.owned.len()), ("consumer", 0));
    // The classic member is told to join again, gives one partition up, and joins once more.
    assert_eq!(rig.heartbeat(&classic), ErrorCode::RebalanceInProgress);
    let joined = rejoin(&rig, &classic.member_id, &[0, 1]);
    assert_eq!((joined.error_code, joined.generation_id), (0, classic.generation_id));
    assert_eq!((joined.protocol_name.as_deref(), joined.leader.as_str()), (Some("range"), ""));
    let kept = assignment(&rig, &joined)["topic"].clone();
    assert_eq!(kept.len(), 1);
    rig.pass(1_000);
    b.beat(&rig);
    assert!(b.owned.is_empty(), "the other has not given it up");
    assert_eq!(rig.heartbeat(&joined), ErrorCode::RebalanceInProgress);
    let joined = rejoin(&rig, &classic.member_id, &kept);
    assert_eq!(joined.generation_id, classic.generation_id + 1);
    assert_eq!(assignment(&rig, &joined)["topic"], kept);
    b.beat(&rig);
    assert_eq!(b.partitions("topic"), [1 - kept[0]]);
    assert_eq!(rig.heartbeat(&joined), ErrorCode::None);
    assert_eq!(rig.listed_state(), "Stable");
    // What a coordinator that takes over finds is the same, and goes on.
    let next = rig.taken_over();
    assert_eq!(next.consumer_group(), rig.consumer_group());
    assert_eq!(next.heartbeat(&joined), ErrorCode::None);
    b.beat(&next);
}

#[test]
fn the_last_member_of_the_consumer_protocol_leaves_a_classic_group_behind() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    let mut b = Consumer::new("b", &["topic"]);
    b.beat(&rig);
    let joined = rejoin(&rig, &classic.member_id, &[0, 1]);
    let kept = assignment(&rig, &joined)["topic"].clone();
    let joined = rejoin(&rig, &classic.member_id, &kept);
    b.beat(&rig);
    rig.beat(beat_request("b", LEAVE));
    assert_eq!((type_of(&rig).as_str(), rig.state().as_str()), ("classic", "PreparingRebalance"));
    // So it does with a coordinator that takes over meanwhile: nobody has what the last member had.
    let next = rig.taken_over();
    assert_eq!((type_of(&next).as_str(), next.state().as_str()), ("classic", "PreparingRebalance"));
    assert_eq!(rejoin(&next, &classic.member_id, &kept).leader, classic.member_id);
    // It rebalances, as the leader now.
    assert_eq!(
        rig.heartbeat(&JoinGroupResponse { generation_id: rig_generation(&rig), ..joined }),
        ErrorCode::RebalanceInProgress
    );
    let joined = rejoin(&rig, &classic.member_id, &kept);
    assert_eq!(joined.leader, classic.member_id);
    let assignments = vec![Assignment {
        member_id: joined.member_id.clone(),
        assignment: encoded("topic", &[0, 1]),
        ..Assignment::default()
    }];
    let synced = rig.send_sync(SyncGroupRequest { assignments, ..sync_request(&joined) }).now();
    assert_eq!(decoded(&synced.assignment)["topic"], [0, 1]);
    assert_eq!(rig.state(), "Stable");
}

/// The generation of the classic group, as it is written.
fn rig_generation(rig: &Rig) -> i32 {
    match rig.states().0.groups.get(GROUP) {
        Some(state::StoredGroup::Classic(stored)) => stored.generation,
        other => panic!("{other:?} is no classic group"),
    }
}

#[test]
fn the_last_member_of_the_consumer_protocol_may_leave_with_others() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    Consumer::new("b", &["topic"]).beat(&rig);
    let given = rig.send_join(JOIN_VERSION, super::super::join_request()).now();
    assert_eq!(rejoin(&rig, &given.member_id, &[]).error_code, 0);
    leave_together(&rig, &["b", &given.member_id]);
    assert_eq!((type_of(&rig).as_str(), rig.heartbeat(&classic)), ("classic", ErrorCode::IllegalGeneration));
    assert_eq!(rejoin(&rig, &classic.member_id, &[0, 1]).leader, classic.member_id);
}

#[test]
fn a_downgrade_by_a_session_that_is_over() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    Consumer::new("b", &["topic"]).beat(&rig);
    let mut joined = rejoin(&rig, &classic.member_id, &[0, 1]);
    assignment(&rig, &joined);
    for _ in 0..9 {
        rig.pass(5_000);
        if rig.heartbeat(&joined) == ErrorCode::RebalanceInProgress && type_of(&rig) == "consumer" {
            joined = rejoin(&rig, &classic.member_id, &[0]);
            rig.sync(&joined);
        }
    }
    assert_eq!(type_of(&rig), "classic");
    assert_eq!(error(rig.beat(beat_request("b", 2)).error_code), ErrorCode::GroupIdNotFound);
}

/// Of two topics the group is large; what is done outside of the shard waits.
fn large() -> (Rig, JoinGroupResponse, Consumer) {
    let consumer = ConsumerGroupConfig { assigned_elsewhere_from: 4, ..ConsumerGroupConfig::default() };
    let rig = Rig::with_config(GroupCoordinatorConfig { consumer, ..config() });
    rig.coordinator.set_consumer_assignment_interval_ms(0);
    let classic = classic_group(&rig);
    let mut b = Consumer::new("b", &["topic"]);
    b.beat(&rig);
    let mut joined = classic;
    let mut owned = vec![0, 1];
    for _ in 0..4 {
        joined = rejoin(&rig, &joined.member_id, &owned);
        owned = assignment(&rig, &joined)["topic"].clone();
        b.beat(&rig);
    }
    assert_eq!((owned.len(), b.partitions("topic").len()), (1, 1));
    rig.topic("topic", 4);
    rig.jobs.hold(true);
    (rig, joined, b)
}

fn send_rejoin(rig: &Rig, member_id: &str, owned: &[i32]) -> Answer<JoinGroupResponse> {
    let mut request = JoinGroupRequest { member_id: member_id.to_owned(), ..super::super::join_request() };
    request.protocols[0].metadata = owning(owned);
    rig.join_with(request)
}

#[test]
fn a_classic_member_waits_for_the_target_of_a_large_group_and_nobody_else_does() {
    let (rig, joined, mut b) = large();
    let joining = send_rejoin(&rig, &joined.member_id, &[0]);
    joining.is_parked();
    b.beat(&rig);
    let other = ConsumerGroupHeartbeatRequest { group_id: "other".to_owned(), ..join_request("x", &[]) };
    assert_eq!(rig.beat(other).error_code, 0);
    assert!(rig.jobs.run_one() && !rig.jobs.run_one());
    let joined = joining.now();
    assert_eq!((joined.error_code, assignment(&rig, &joined)["topic"].len()), (0, 2));
    b.beat(&rig);
    assert_eq!(b.partitions("topic").len(), 2);
}

#[test]
fn a_classic_member_that_has_left_while_it_waited_is_unknown() {
    let (rig, joined, _) = large();
    let joining = send_rejoin(&rig, &joined.member_id, &[0]);
    joining.is_parked();
    assert_eq!(leave(&rig, &joined.member_id).members[0].error_code, 0);
    assert!(rig.jobs.run_one());
    assert_eq!(error(joining.now().error_code), ErrorCode::UnknownMemberId);
    // And so where its group is gone, or classic.
    let (rig, joined, _) = large();
    let joining = send_rejoin(&rig, &joined.member_id, &[0]);
    assert_eq!(rig.beat(beat_request("b", LEAVE)).error_code, 0);
    assert_eq!(type_of(&rig), "classic");
    assert!(rig.jobs.run_one());
    assert_eq!(error(joining.now().error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn the_policy_says_which_way_groups_may_go() {
    for (policy, up, down) in [
        (MigrationPolicy::Bidirectional, true, true),
        (MigrationPolicy::Upgrade, true, false),
        (MigrationPolicy::Downgrade, false, true),
        (MigrationPolicy::Disabled, false, false),
    ] {
        let with = |migration_policy| {
            let consumer = ConsumerGroupConfig { migration_policy, ..ConsumerGroupConfig::default() };
            GroupCoordinatorConfig { consumer, ..config() }
        };
        let rig = Rig::with_config(with(policy));
        classic_group(&rig);
        let joined = rig.beat(join_request("b", &["topic"]));
        assert_eq!(joined.error_code == 0, up, "{policy:?}");
        if up {
            rig.beat(beat_request("b", LEAVE));
            assert_eq!(type_of(&rig) == "classic", down, "{policy:?}");
        } else {
            assert_eq!(error(joined.error_code), ErrorCode::GroupIdNotFound);
            assert_eq!((type_of(&rig).as_str(), rig.state().as_str()), ("classic", "Stable"));
        }
        assert_eq!(MigrationPolicy::from_name(&format!("{policy:?}").to_uppercase()), Some(policy));
    }
}

#[test]
fn what_cant_be_understood_is_not_upgraded() {
    let rig = Rig::new();
    rig.topic("topic", 2);
    rig.stable_group(1);
    // The assignment that the leader made is its own secret.
    let refused = rig.beat(join_request("b", &["topic"]));
    assert_eq!(error(refused.error_code), ErrorCode::GroupIdNotFound);
    assert!(refused.error_message.unwrap().contains("malformed"));
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn an_upgrade_that_cant_be_written_leaves_the_classic_group() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    let failed = rig.beat(join_request("b", &["topic"]));
    assert_eq!(error(failed.error_code), ErrorCode::CoordinatorNotAvailable);
    assert_eq!((type_of(&rig).as_str(), rig.state().as_str()), ("classic", "Stable"));
    assert_eq!(rig.heartbeat(&classic), ErrorCode::None);
    rig.pass(SESSION_MS);
    assert_eq!(rig.state(), "Empty");
}

#[test]
fn an_upgrade_is_written_in_one_batch_or_not_at_all() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    let before = rig.logs.log(0).end();
    // Enough for each of its records, and not for all of them.
    *rig.logs.max_batch_bytes.lock() = 700;
    let refused = rig.beat(join_request("b", &["topic"]));
    assert_eq!(error(refused.error_code), ErrorCode::UnknownServerError);
    assert_eq!((type_of(&rig).as_str(), rig.state().as_str()), ("classic", "Stable"));
    assert_eq!((rig.logs.log(0).end(), rig.heartbeat(&classic)), (before, ErrorCode::None));
    *rig.logs.max_batch_bytes.lock() = 1 << 20;
    let mut b = Consumer::new("b", &["topic"]);
    b.beat(&rig);
    assert_eq!(type_of(&rig), "consumer");
}

#[test]
fn a_downgrade_that_cant_be_written_leaves_the_consumer_group() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    let mut b = Consumer::new("b", &["topic"]);
    b.beat(&rig);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    rig.beat(beat_request("b", LEAVE));
    assert_eq!(type_of(&rig), "consumer");
    b.beat(&rig);
    assert_eq!(rig.heartbeat(&classic), ErrorCode::RebalanceInProgress);
}

#[test]
fn empty_groups_change_their_kind_with_the_first_member() {
    let rig = Rig::new();
    rig.topic("topic", 2);
    Consumer::new("a", &["topic"]).beat(&rig);
    rig.beat(beat_request("a", LEAVE));
    assert_eq!(error(rig.join("unknown").now().error_code), ErrorCode::UnknownMemberId);
    assert_eq!(type_of(&rig), "consumer");
    let classic = classic_group(&rig);
    assert_eq!(type_of(&rig), "classic");
    leave(&rig, &classic.member_id);
    Consumer::new("a", &["topic"]).beat(&rig);
    assert_eq!(type_of(&rig), "consumer");
    assert_eq!(type_of(&rig.taken_over()), "consumer");
    // A member id that was given out and not used yet goes with the classic group.
    rig.beat(beat_request("a", LEAVE));
    let given = rig.send_join(JOIN_VERSION, super::super::join_request()).now();
    assert_eq!((error(given.error_code), type_of(&rig).as_str()), (ErrorCode::MemberIdRequired, "classic"));
    Consumer::new("a", &["topic"]).beat(&rig);
    rig.pass(SESSION_MS - 1);
    assert_eq!((type_of(&rig).as_str(), rig.consumer_group().len()), ("consumer", 1));
}

#[test]
fn a_static_member_goes_from_one_protocol_to_the_other_and_back() {
    let rig = Rig::new();
    rig.topic("topic", 2);
    let request = |metadata: Bytes| {
        let mut request =
            JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..super::super::join_request() };
        request.protocols[0].metadata = metadata;
        request
    };
    let joining = rig.send_join(JOIN_VERSION, request(owning(&[])));
    rig.pass(0);
    let joined = joining.now();
    let assignments = vec![Assignment {
        member_id: joined.member_id.clone(),
        assignment: encoded("topic", &[0, 1]),
        ..Assignment::default()
    }];
    let request_sync =
        SyncGroupRequest { assignments, group_instance_id: Some("i".to_owned()), ..sync_request(&joined) };
    assert_eq!(rig.send_sync(request_sync).now().error_code, 0);

    let mut next = Consumer { instance_id: Some("i".to_owned()), ..Consumer::new("b", &["topic"]) };
    next.beat(&rig);
    assert_eq!((type_of(&rig).as_str(), next.partitions("topic")), ("consumer", vec![0, 1]));
    let group = rig.consumer_group();
    assert_eq!((group.len(), group.classic_members()), (1, 0));

    let back = rig.send_join(JOIN_VERSION, request(owning(&[]))).now();
    assert_eq!(error(back.error_code), ErrorCode::None);
    assert_eq!(type_of(&rig), "classic");
    let synced = rig
        .send_sync(SyncGroupRequest { group_instance_id: Some("i".to_owned()), ..sync_request(&back) })
        .now();
    assert_eq!(
        (error(synced.error_code), decoded(&synced.assignment)["topic"].clone()),
        (ErrorCode::None, vec![0, 1])
    );
}

#[test]
fn classic_members_that_dont_do_what_they_must_are_removed() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    let mut b = Consumer::new("b", &["topic"]);
    b.beat(&rig);
    // It is told to join, and only sends heartbeats.
    for _ in 0..6 {
        assert_eq!(rig.heartbeat(&classic), ErrorCode::RebalanceInProgress);
        rig.pass(5_000);
        b.beat(&rig);
    }
    assert_eq!(rig.heartbeat(&classic), ErrorCode::UnknownMemberId);
    assert_eq!(type_of(&rig), "consumer");

    // It joins, and does not sync.
    let given = rig.send_join(JOIN_VERSION, super::super::join_request()).now();
    let joined = rejoin(&rig, &given.member_id, &[]);
    assert_eq!(joined.error_code, 0);
    for _ in 0..6 {
        assert_eq!(rig.consumer_group().classic_members(), 1);
        rig.heartbeat(&joined);
        rig.pass(5_000);
        b.beat(&rig);
    }
    assert_eq!(rig.consumer_group().classic_members(), 0);
}

#[test]
fn requests_of_classic_members_that_make_no_sense() {
    let rig = Rig::new();
    let classic = classic_group(&rig);
    Consumer::new("b", &["topic"]).beat(&rig);
    let wrong_generation = JoinGroupResponse { generation_id: 99, ..classic.clone() };
    assert_eq!(rig.heartbeat(&wrong_generation), ErrorCode::IllegalGeneration);
    assert_eq!(error(rig.sync(&wrong_generation).now().error_code), ErrorCode::IllegalGeneration);
    let of_b = JoinGroupResponse { member_id: "b".to_owned(), ..classic.clone() };
    assert_eq!(rig.heartbeat(&of_b), ErrorCode::UnknownMemberId);
    assert_eq!(error(rig.sync(&of_b).now().error_code), ErrorCode::UnknownMemberId);
    assert_eq!(error(rig.sync(&classic).now().error_code), ErrorCode::RebalanceInProgress);
    let other = JoinGroupRequest { protocols: vec![protocol("sticky", "")], ..super::super::join_request() };
    assert_eq!(error(rig.send_join(9, other).now().error_code), ErrorCode::InconsistentGroupProtocol);
    // An administrator may remove anybody.
    let left = leave(&rig, "b");
    assert_eq!(left.members[0].error_code, 0);
    assert_eq!(type_of(&rig), "classic");
}

#[test]
fn groups_of_the_newer_protocol_are_not_described_as_classic_ones() {
    let rig = Rig::new();
    rig.topic("t", 1);
    Consumer::new("a", &["t"]).beat(&rig);
    let request =
        DescribeGroupsRequest { groups: vec![GROUP.to_owned()], ..DescribeGroupsRequest::default() };
    let answer = Answer::of(|reply| rig.coordinator.describe_groups(rig.context(6), request, reply)).now();
    assert_eq!(error(answer.groups[0].error_code), ErrorCode::GroupIdNotFound);
    assert_eq!(answer.groups[0].error_message.as_deref(), Some("Group group is not a classic group."));
}

#[test]
fn only_consumer_groups_are_described_as_such() {
    let rig = Rig::new();
    rig.stable_group(1);
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![GROUP.to_owned(), "unknown".to_owned(), String::new()],
        ..ConsumerGroupDescribeRequest::default()
    };
    let answer =
        Answer::of(|reply| rig.coordinator.consumer_group_describe(rig.context(1), request, reply)).now();
    let code =
        |id: &str| answer.groups.iter().find(|group| group.group_id == id).map(|g| error(g.error_code));
    assert_eq!(code(GROUP), Some(ErrorCode::GroupIdNotFound));
    assert_eq!(code("unknown"), Some(ErrorCode::GroupIdNotFound));
    assert_eq!(code(""), Some(ErrorCode::InvalidGroupId));
}
