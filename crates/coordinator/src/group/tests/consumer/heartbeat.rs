use ottla_wire::messages::ConsumerGroupDescribeRequest;

use super::*;

#[test]
fn the_first_member_has_all() {
    let rig = Rig::new();
    rig.topic("t", 3);
    let mut a = Consumer::new("a", &["t", "unknown"]);
    a.beat(&rig);
    assert_eq!((a.epoch, a.partitions("t")), (2, vec![0, 1, 2]));
    assert_eq!(rig.listed_state(), "Stable");
    let group = rig.consumer_group();
    assert_eq!((group.epoch, group.target.epoch), (2, 2));
    // What doesn't change isn't told again, unless it is asked for.
    let again = rig.beat(a.request());
    assert_eq!((again.member_epoch, again.assignment), (2, None));
    assert_eq!(again.heartbeat_interval_ms, 1_000);
    rig.pass(5_000);
    assert_eq!(rig.beat(a.request()).heartbeat_interval_ms, 5_000, "the group has settled");
    a.says_all = true;
    assert_eq!(assigned(&rig.beat(a.request())), Some(a.owned.clone()));
}

/// Members who do as the answers say, of the default settings, and how long it takes until all have their part.
#[test]
fn members_who_come_together_have_their_parts_at_the_pace_of_assignments() {
    let rig = Rig::new();
    rig.topic("t", 10);
    let ids: Vec<String> = (0..10).map(|number| format!("m{number}")).collect();
    let mut members: Vec<(Consumer, i64)> = ids.iter().map(|id| (Consumer::new(id, &["t"]), 0)).collect();
    let mut now = 0;
    while members.iter().any(|(member, _)| member.partitions("t").len() != 1) {
        for (member, next) in members.iter_mut().filter(|(_, next)| *next <= now) {
            let (owned, answer) = (member.owned.clone(), rig.beat(member.request()));
            assert_eq!(member.take(&answer), ErrorCode::None);
            // Who has given something up says so at once.
            *next = if member.owned == owned { now + i64::from(answer.heartbeat_interval_ms) } else { now };
        }
        now += 50;
        rig.pass(50);
        assert!(now < 5_000, "no member has to wait for the interval of a group at rest");
    }
    assert!(now <= 1_000 + 300, "they had their parts after {now} ms");
}

#[test]
fn a_partition_is_given_away_only_when_its_owner_has_given_it_up() {
    let rig = Rig::new();
    rig.topic("t", 4);
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&rig);
    rig.pass(1_000);
    let mut b = Consumer::new("b", &["t"]);
    b.beat(&rig);
    assert_eq!((b.epoch, b.partitions("t")), (3, vec![]));
    assert_eq!(rig.listed_state(), "Reconciling");
    // The owner is told, but does not say yet that it has given up anything.
    let told = rig.beat(a.request());
    assert_eq!((told.member_epoch, assigned(&told).unwrap()[&topic_id("t")].len()), (2, 2));
    rig.beat(a.request());
    b.beat(&rig);
    assert!(b.owned.is_empty());
    a.take(&told);
    a.beat(&rig);
    assert_eq!((a.epoch, a.partitions("t").len()), (3, 2));
    b.beat(&rig);
    assert_eq!((b.epoch, b.partitions("t").len()), (3, 2));
    assert_eq!(rig.listed_state(), "Stable");
}

#[test]
fn who_does_not_give_up_in_time_is_removed() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&rig);
    rig.pass(1_000);
    let mut b = Consumer::new("b", &["t"]);
    b.beat(&rig);
    rig.beat(a.request());
    for _ in 0..(REBALANCE_MS / 5_000) {
        assert!(rig.consumer_group().member("a").is_some());
        rig.pass(5_000);
        b.beat(&rig);
        rig.beat(beat_request("a", 2));
    }
    assert!(rig.consumer_group().member("a").is_none());
    assert_eq!(error(rig.beat(beat_request("a", 1)).error_code), ErrorCode::UnknownMemberId);
    settle(&rig, std::slice::from_mut(&mut b));
    assert_eq!(b.partitions("t"), [0, 1]);
}

#[test]
fn what_is_to_be_given_up_is_described_until_it_is() {
    let rig = Rig::new();
    rig.topic("t", 3);
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&rig);
    let read = || {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![GROUP.to_owned()],
            ..ConsumerGroupDescribeRequest::default()
        };
        let answer =
            Answer::of(|reply| rig.coordinator.consumer_group_describe(rig.context(1), request, reply)).now();
        let topics = answer.groups[0].members[0].assignment.topic_partitions.iter();
        topics.flat_map(|topic| topic.partitions.clone()).collect::<Vec<_>>()
    };
    assert_eq!(read(), [0, 1, 2]);
    let wants_nothing = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(Vec::new()),
        ..beat_request("a", a.epoch)
    };
    rig.beat(wants_nothing);
    rig.pass(1_000);
    rig.beat(beat_request("a", a.epoch));
    assert!(!rig.consumer_group().member("a").unwrap().current.pending_revocation.is_empty());
    assert_eq!(read(), [0, 1, 2], "it reads them still");
    let has_none =
        ConsumerGroupHeartbeatRequest { topic_partitions: Some(Vec::new()), ..beat_request("a", a.epoch) };
    rig.beat(has_none);
    assert_eq!(read(), [0; 0]);
}

#[test]
fn a_session_that_is_over_frees_what_its_member_had() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut both = [Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(&rig, &mut both);
    let [_, mut b] = both;
    rig.pass(SESSION_MS - 5_000);
    b.beat(&rig);
    assert!(rig.consumer_group().member("a").is_some());
    rig.pass(5_000);
    assert!(rig.consumer_group().member("a").is_none());
    settle(&rig, std::slice::from_mut(&mut b));
    assert_eq!(b.partitions("t"), [0, 1]);
}

#[test]
fn a_member_leaves() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut both = [Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(&rig, &mut both);
    let [_, mut b] = both;
    let left = rig.beat(beat_request("a", LEAVE));
    assert_eq!((left.error_code, left.member_epoch, left.member_id.as_deref()), (0, LEAVE, Some("a")));
    assert_eq!(error(rig.beat(beat_request("a", LEAVE)).error_code), ErrorCode::UnknownMemberId);
    settle(&rig, std::slice::from_mut(&mut b));
    assert_eq!(b.partitions("t"), [0, 1]);
    rig.beat(beat_request("b", LEAVE));
    assert_eq!(rig.listed_state(), "Empty");
}

#[test]
fn members_of_other_epochs_are_fenced() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut both = [Consumer::new("a", &["t"]), Consumer::new("b", &["t"])];
    settle(&rig, &mut both);
    let epoch = both[0].epoch;
    for wrong in [epoch + 1, epoch + 7] {
        let fenced = rig.beat(beat_request("a", wrong));
        assert_eq!(error(fenced.error_code), ErrorCode::FencedMemberEpoch);
        assert!(fenced.error_message.unwrap().contains("greater member epoch"));
    }
    // The answer with the last epoch may have been lost: then the member has no more than what it has got.
    let previous = rig.consumer_group().member("a").unwrap().current.previous_epoch;
    assert!(previous < epoch);
    let missed = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owned_topics(&both[0].owned)),
        ..beat_request("a", previous)
    };
    assert_eq!(rig.beat(missed.clone()).member_epoch, epoch);
    let says_nothing = ConsumerGroupHeartbeatRequest { topic_partitions: None, ..missed.clone() };
    let has_more = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owned_topics(&[(topic_id("t"), [0, 1].into())].into())),
        ..missed
    };
    for request in [says_nothing, has_more] {
        assert_eq!(error(rig.beat(request).error_code), ErrorCode::FencedMemberEpoch);
    }
    // Whoever begins anew is taken back, with all that it shall have.
    let back = rig.beat(join_request("a", &["t"]));
    assert_eq!((back.member_epoch, assigned(&back)), (epoch, Some(both[0].owned.clone())));
}

#[test]
fn a_member_may_join_before_it_knows_its_topics() {
    let rig = Rig::new();
    let joined = rig.beat(join_request("a", &[]));
    assert_eq!((error(joined.error_code), assigned(&joined)), (ErrorCode::None, Some(Owned::new())));
}

#[test]
fn no_pattern_is_stored_as_an_empty_one() {
    let rig = Rig::new();
    rig.topic("t", 1);
    assert_eq!(rig.beat(join_request("a", &["t"])).error_code, 0);
    let group = rig.consumer_group();
    assert_eq!(group.member("a").unwrap().metadata.subscribed_topic_regex.as_deref(), Some(""));
}

#[test]
fn what_cant_be_meant_is_refused() {
    let rig = Rig::new();
    let join = || join_request("a", &["t"]);
    let invalid = ErrorCode::InvalidRequest;
    let none = || Some(String::new());
    for (request, code) in [
        (ConsumerGroupHeartbeatRequest { group_id: String::new(), ..join() }, invalid),
        (ConsumerGroupHeartbeatRequest { instance_id: none(), ..join() }, invalid),
        (ConsumerGroupHeartbeatRequest { rack_id: none(), ..join() }, invalid),
        (ConsumerGroupHeartbeatRequest { member_id: String::new(), ..join() }, invalid),
        (ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..join() }, invalid),
        (ConsumerGroupHeartbeatRequest { topic_partitions: None, ..join() }, invalid),
        (ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..join() }, invalid),
        (beat_request("", 1), invalid),
        (beat_request("a", -3), invalid),
        (beat_request("a", LEAVE_FOR_A_WHILE), invalid),
        (
            ConsumerGroupHeartbeatRequest { server_assignor: Some("sticky".into()), ..join() },
            ErrorCode::UnsupportedAssignor,
        ),
        (
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("(".into()), ..join() },
            ErrorCode::InvalidRegularExpression,
        ),
        (beat_request("a", 1), ErrorCode::GroupIdNotFound),
        (beat_request("a", LEAVE), ErrorCode::GroupIdNotFound),
    ] {
        let refused = rig.beat(request.clone());
        assert_eq!(error(refused.error_code), code, "{request:?}");
        assert!(refused.error_message.is_some());
    }
    assert!(rig.states().0.groups.is_empty());
    // Older members are given an id.
    let context = rig.context(0);
    let request = ConsumerGroupHeartbeatRequest { member_id: String::new(), ..join() };
    let answer = Answer::of(|reply| rig.coordinator.consumer_group_heartbeat(context, request, reply)).now();
    assert_eq!((answer.error_code, answer.member_id.unwrap().len()), (0, 36));
}

#[test]
fn a_group_takes_no_more_than_its_size() {
    let consumer = ConsumerGroupConfig { max_size: 1, ..ConsumerGroupConfig::default() };
    let rig = Rig::with_config(GroupCoordinatorConfig { consumer, ..config() });
    rig.topic("t", 2);
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&rig);
    let refused = rig.beat(join_request("b", &["t"]));
    assert_eq!(error(refused.error_code), ErrorCode::GroupMaxSizeReached);
    a.says_all = true;
    a.beat(&rig);
}

#[test]
fn targets_are_made_in_intervals() {
    let rig = Rig::new();
    rig.topic("t", 4);
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&rig);
    let mut b = Consumer::new("b", &["t"]);
    b.beat(&rig);
    // The last target was made just now: the next waits, and so does the member.
    assert_eq!((b.epoch, rig.consumer_group().epoch, rig.consumer_group().target.epoch), (2, 3, 2));
    assert_eq!(rig.listed_state(), "Assigning");
    rig.pass(999);
    b.beat(&rig);
    assert_eq!(rig.consumer_group().target.epoch, 2);
    rig.pass(1);
    b.beat(&rig);
    assert_eq!((b.epoch, rig.consumer_group().target.epoch), (3, 3));
    rig.coordinator.set_consumer_assignment_interval_ms(0);
    let mut c = Consumer::new("c", &["t"]);
    c.beat(&rig);
    assert_eq!((c.epoch, rig.consumer_group().target.epoch), (4, 4));
}

#[test]
fn topics_come_grow_and_go() {
    let rig = Rig::new();
    rig.topic("t", 2);
    let mut a = [Consumer::new("a", &["t", "u"])];
    settle(&rig, &mut a);
    let epoch = rig.consumer_group().epoch;
    rig.topic("t", 3);
    settle(&rig, &mut a);
    assert_eq!(a[0].partitions("t"), [0, 1, 2]);
    rig.topic("u", 1);
    settle(&rig, &mut a);
    assert_eq!(a[0].partitions("u"), [0]);
    rig.delete_topic("t");
    settle(&rig, &mut a);
    assert_eq!((a[0].partitions("t"), a[0].partitions("u")), (vec![], vec![0]));
    assert_eq!(rig.consumer_group().epoch, epoch + 3);
    // A topic that nobody subscribes to is no concern of the group.
    rig.topic("v", 1);
    settle(&rig, &mut a);
    assert_eq!(rig.consumer_group().epoch, epoch + 3);
    // A coordinator that takes over looks anew, and finds that nothing has changed.
    let next = rig.taken_over();
    settle(&next, &mut a);
    assert_eq!(next.consumer_group().epoch, epoch + 3);
    next.topic("u", 2);
    settle(&next, &mut a);
    assert_eq!(a[0].partitions("u"), [0, 1]);
}

#[test]
fn what_is_no_longer_subscribed_to_is_given_up_at_once() {
    let rig = Rig::new();
    rig.topic("t", 2);
    rig.topic("u", 2);
    let mut a = Consumer::new("a", &["t", "u"]);
    a.beat(&rig);
    a.topics = vec!["u".to_owned()];
    a.says_all = true;
    a.beat(&rig);
    assert_eq!((a.partitions("t"), a.partitions("u")), (vec![], vec![0, 1]));
    settle(&rig, std::slice::from_mut(&mut a));
}

#[test]
fn members_choose_the_assignor_by_majority() {
    let rig = Rig::new();
    rig.topic("t", 4);
    rig.topic("u", 4);
    let with = |member_id: &str, assignor: &str| ConsumerGroupHeartbeatRequest {
        server_assignor: Some(assignor.to_owned()),
        ..join_request(member_id, &["t", "u"])
    };
    rig.beat(with("a", "range"));
    rig.pass(1_000);
    rig.beat(with("b", "range"));
    let half = |group: &ConsumerGroup, id: &str| group.target.of(id)[&topic_id("t")].clone();
    let group = rig.consumer_group();
    assert_eq!((half(&group, "a"), half(&group, "b")), ([0, 1].into(), [2, 3].into()));
    assert_eq!(group.assignors().most_frequent().map(|name| &**name), Some("range"));
}

#[test]
fn nobody_hears_of_what_is_not_committed() {
    let rig = Rig::new();
    rig.topic("t", 2);
    rig.hold_commits();
    let joined = rig.send_beat(join_request("a", &["t"]));
    joined.is_parked();
    rig.commit();
    assert_eq!(joined.now().member_epoch, 2);
    // A write that fails leaves the group as it was.
    rig.pass(1_000);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    let failed = rig.send_beat(join_request("b", &["t"])).now();
    assert_eq!(error(failed.error_code), ErrorCode::CoordinatorNotAvailable);
    let group = rig.consumer_group();
    assert_eq!((group.epoch, group.len()), (2, 1));
    let again = rig.send_beat(join_request("b", &["t"]));
    rig.commit();
    assert_eq!((again.now().member_epoch, rig.consumer_group().epoch), (3, 3));
}

#[test]
fn a_removal_that_cant_be_written_is_tried_again() {
    let rig = Rig::new();
    rig.topic("t", 2);
    Consumer::new("a", &["t"]).beat(&rig);
    rig.fail_next_append(ErrorCode::NotEnoughReplicas);
    rig.pass(SESSION_MS);
    assert_eq!(rig.consumer_group().len(), 1);
    rig.pass(500);
    assert_eq!(rig.consumer_group().len(), 0);
}
