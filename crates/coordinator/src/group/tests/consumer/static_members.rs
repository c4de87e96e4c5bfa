use super::*;

fn static_member(member_id: &str, topics: &[&str]) -> Consumer {
    Consumer { instance_id: Some("instance".to_owned()), ..Consumer::new(member_id, topics) }
}

fn leave(member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some("instance".to_owned()),
        ..beat_request(member_id, epoch)
    }
}

#[test]
fn the_next_life_of_a_member_has_what_the_last_had() {
    let rig = Rig::new();
    rig.topic("t", 4);
    let mut all = [static_member("a1", &["t"]), Consumer::new("b", &["t"])];
    settle(&rig, &mut all);
    let had = all[0].owned.clone();
    let group_epoch = rig.consumer_group().epoch;
    let left = rig.beat(leave("a1", LEAVE_FOR_A_WHILE));
    assert_eq!((left.error_code, left.member_epoch), (0, LEAVE_FOR_A_WHILE));
    all[1].beat(&rig);
    assert_eq!(rig.consumer_group().epoch, group_epoch, "its place is kept");
    all[0] = static_member("a2", &["t"]);
    all[0].beat(&rig);
    assert_eq!((all[0].owned.clone(), all[0].epoch), (had, group_epoch));
    let group = rig.consumer_group();
    assert_eq!((group.epoch, group.len()), (group_epoch, 2));
    assert!(group.member("a1").is_none());
    settle(&rig, &mut all);
    // Its earlier self is fenced.
    assert_eq!(error(rig.beat(leave("a1", group_epoch)).error_code), ErrorCode::FencedInstanceId);
    let next = rig.taken_over();
    settle(&next, &mut all);
    assert_eq!(next.consumer_group().epoch, group_epoch);
}

#[test]
fn an_instance_id_belongs_to_one_at_a_time() {
    let rig = Rig::new();
    rig.topic("t", 4);
    static_member("a1", &["t"]).beat(&rig);
    let other = rig.beat(static_member("a2", &["t"]).request());
    assert_eq!(error(other.error_code), ErrorCode::UnreleasedInstanceId);
    assert_eq!(error(rig.beat(leave("a2", LEAVE)).error_code), ErrorCode::FencedInstanceId);
    let unknown =
        ConsumerGroupHeartbeatRequest { instance_id: Some("other".into()), ..beat_request("a1", 1) };
    assert_eq!(error(rig.beat(unknown).error_code), ErrorCode::UnknownMemberId);
    // Without a word within its session it is gone, and the id free.
    rig.pass(SESSION_MS);
    static_member("a2", &["t"]).beat(&rig);
}

#[test]
fn who_does_not_come_back_in_time_is_gone() {
    let rig = Rig::new();
    rig.topic("t", 4);
    let mut all = [static_member("a1", &["t"]), Consumer::new("b", &["t"])];
    settle(&rig, &mut all);
    rig.beat(leave("a1", LEAVE_FOR_A_WHILE));
    let b = &mut all[1..];
    for _ in 0..9 {
        rig.pass(5_000);
        b[0].beat(&rig);
    }
    settle(&rig, b);
    assert_eq!(b[0].partitions("t"), [0, 1, 2, 3]);
    assert_eq!(rig.consumer_group().len(), 1);
}

#[test]
fn a_member_that_comes_back_with_another_subscription_begins_an_epoch() {
    let rig = Rig::new();
    rig.topic("t", 2);
    rig.topic("u", 2);
    let mut all = [static_member("a1", &["t"]), Consumer::new("b", &["t"])];
    settle(&rig, &mut all);
    let epoch = rig.consumer_group().epoch;
    rig.beat(leave("a1", LEAVE_FOR_A_WHILE));
    all[0] = static_member("a2", &["u"]);
    settle(&rig, &mut all);
    assert!(rig.consumer_group().epoch > epoch);
    assert_eq!((all[0].partitions("u"), all[1].partitions("t")), (vec![0, 1], vec![0, 1]));
}
