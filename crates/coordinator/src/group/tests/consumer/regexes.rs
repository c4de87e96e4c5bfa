use super::*;

fn by_regex(member_id: &str, regex: &str) -> Consumer {
    Consumer { regex: Some(regex.to_owned()), ..Consumer::new(member_id, &[]) }
}

#[test]
fn a_pattern_stands_for_the_topics_that_it_matches() {
    let rig = Rig::new();
    for name in ["t1", "t2", "other"] {
        rig.topic(name, 1);
    }
    let mut a = by_regex("a", "t.*");
    a.beat(&rig);
    assert_eq!(a.owned.keys().copied().collect::<Vec<_>>(), [topic_id("t1"), topic_id("t2")]);
    let group = rig.consumer_group();
    let resolved = group.resolved("t.*").unwrap();
    assert_eq!(resolved.topics.iter().collect::<Vec<_>>(), ["t1", "t2"]);
    assert!(group.subscribed().contains("t1") && !group.subscribed().contains("other"));
    // By name as well as by pattern.
    a.topics = vec!["other".to_owned()];
    a.says_all = true;
    settle(&rig, std::slice::from_mut(&mut a));
    assert_eq!(a.owned.len(), 3);
    let next = rig.taken_over();
    assert_eq!(next.consumer_group(), rig.consumer_group());
}

#[test]
fn new_topics_are_matched_ten_seconds_after_the_last_at_the_earliest() {
    let rig = Rig::new();
    rig.topic("t1", 1);
    let mut a = by_regex("a", "t.*");
    a.beat(&rig);
    rig.topic("t2", 1);
    rig.pass(10_000);
    a.beat(&rig);
    assert_eq!(a.owned.len(), 1);
    rig.pass(1);
    a.beat(&rig);
    assert_eq!(a.owned.len(), 2);
    rig.delete_topic("t1");
    rig.pass(10_001);
    a.beat(&rig);
    assert_eq!(a.owned.keys().copied().collect::<Vec<_>>(), [topic_id("t2")]);
    // A topic that grows is no new one, and is taken up at once.
    rig.topic("t2", 2);
    rig.pass(1_000);
    a.beat(&rig);
    assert_eq!(a.partitions("t2"), [0, 1]);
}

#[test]
fn patterns_are_resolved_again_after_a_while() {
    let consumer =
        ConsumerGroupConfig { regex_refresh_interval_ms: 20_000, ..ConsumerGroupConfig::default() };
    let rig = Rig::with_config(GroupCoordinatorConfig { consumer, ..config() });
    rig.topic("t1", 1);
    let mut a = by_regex("a", "t.*");
    a.beat(&rig);
    let resolved_at = |rig: &Rig| rig.consumer_group().resolved("t.*").unwrap().resolved_at;
    let first = resolved_at(&rig);
    rig.pass(20_000);
    a.beat(&rig);
    assert_eq!(resolved_at(&rig), first);
    rig.pass(1);
    a.beat(&rig);
    assert!(resolved_at(&rig) > first);
    assert_eq!(rig.consumer_group().epoch, 2);
}

#[test]
fn a_pattern_that_nobody_subscribes_by_any_more_is_forgotten() {
    let rig = Rig::new();
    rig.topic("t1", 1);
    rig.topic("u1", 1);
    let mut all = [by_regex("a", "t.*"), by_regex("b", "t.*")];
    settle(&rig, &mut all);
    all[0].regex = Some("u.*".to_owned());
    all[0].says_all = true;
    settle(&rig, &mut all);
    assert_eq!((all[0].partitions("u1"), all[1].partitions("t1")), (vec![0], vec![0]));
    let regexes = |rig: &Rig| -> Vec<String> {
        rig.consumer_group().all_resolved().map(|(regex, _)| regex.to_string()).collect()
    };
    assert_eq!(regexes(&rig), ["t.*", "u.*"]);
    rig.beat(beat_request("b", LEAVE));
    assert_eq!(regexes(&rig), ["u.*"]);
    // An empty pattern is none.
    all[0].regex = Some(String::new());
    all[0].topics = vec!["t1".to_owned()];
    all[0].says_all = true;
    settle(&rig, &mut all[..1]);
    assert_eq!((regexes(&rig).len(), all[0].partitions("t1")), (0, vec![0]));
}

/// What is done outside of the shard waits.
fn held() -> Rig {
    let rig = Rig::new();
    rig.coordinator.set_consumer_assignment_interval_ms(0);
    rig.topic("t1", 1);
    rig.jobs.hold(true);
    rig
}

fn take(consumer: &mut Consumer, answer: &Answer<ConsumerGroupHeartbeatResponse>) {
    assert_eq!(consumer.take(&answer.now()), ErrorCode::None);
}

#[test]
fn nobody_waits_for_a_pattern_but_who_brings_it() {
    let rig = held();
    let mut a = by_regex("a", "t.*");
    let asked = rig.send_beat(a.request());
    asked.is_parked();
    // Another group of the shard, and another member of the same.
    let other = ConsumerGroupHeartbeatRequest { group_id: "other".to_owned(), ..join_request("x", &["t1"]) };
    assert_eq!(rig.beat(other).error_code, 0);
    let mut b = Consumer::new("b", &["t1"]);
    b.beat(&rig);
    assert_eq!(b.partitions("t1"), [0]);
    assert!(rig.consumer_group().member("a").is_none());
    assert!(rig.jobs.run_one());
    take(&mut a, &asked);
    assert_eq!(rig.consumer_group().resolved("t.*").unwrap().topics.len(), 1);
    let mut all = [a, b];
    settle(&rig, &mut all);
}

#[test]
fn what_is_no_pattern_is_found_out_outside_of_the_shard() {
    let rig = held();
    for pattern in ["(".to_owned(), r"\pL".repeat(10_000), "a{1000}{1000}".to_owned()] {
        let asked = rig.send_beat(by_regex("a", &pattern).request());
        asked.is_parked();
        assert!(rig.jobs.run_one());
        let refused = asked.now();
        assert_eq!(error(refused.error_code), ErrorCode::InvalidRegularExpression);
        let message = refused.error_message.unwrap();
        assert!(message.starts_with(&format!("SubscribedTopicRegex `{}", &pattern[..1])), "{message}");
        assert!(message.len() < 2_000, "no answer can be as long as this pattern");
    }
    assert!(rig.states().0.groups.is_empty());
}

#[test]
fn one_looks_for_new_topics_and_the_others_go_on() {
    let rig = held();
    rig.jobs.hold(false);
    let mut all = [by_regex("a", "t.*"), by_regex("b", "u.*")];
    settle(&rig, &mut all);
    rig.topic("t2", 1);
    rig.topic("u1", 1);
    rig.pass(10_001);
    rig.jobs.hold(true);
    let asked = rig.send_beat(all[0].request());
    asked.is_parked();
    all[1].beat(&rig);
    // It is not late, though its answer is.
    rig.pass(SESSION_MS - 1);
    all[1].beat(&rig);
    assert!(rig.jobs.run_one() && !rig.jobs.run_one());
    take(&mut all[0], &asked);
    all[1].beat(&rig);
    assert_eq!((all[0].owned.len(), all[1].owned.len()), (2, 1));
}

#[test]
fn what_was_found_for_a_pattern_that_is_no_longer_there_is_not_written() {
    let rig = held();
    rig.jobs.hold(false);
    let mut all = [by_regex("a", "t.*"), by_regex("b", "u.*")];
    settle(&rig, &mut all);
    rig.topic("t2", 1);
    rig.pass(10_001);
    rig.jobs.hold(true);
    let asked = rig.send_beat(all[0].request());
    assert_eq!(rig.beat(beat_request("b", LEAVE)).error_code, 0);
    assert!(rig.jobs.run_one());
    take(&mut all[0], &asked);
    let group = rig.consumer_group();
    assert_eq!(group.all_resolved().map(|(regex, _)| &**regex).collect::<Vec<_>>(), ["t.*"]);
}

#[test]
fn who_looks_for_topics_and_is_lost_leaves_that_to_the_next() {
    let rig = held();
    let mut a = by_regex("a", "t.*");
    let dropped = rig.send_beat(a.request());
    rig.jobs.drop_all();
    assert_eq!(error(dropped.now().error_code), ErrorCode::NotCoordinator);
    rig.jobs.hold(false);
    a.beat(&rig);
    rig.topic("t2", 1);
    rig.pass(10_001);
    rig.jobs.hold(true);
    let dropped = rig.send_beat(a.request());
    rig.jobs.drop_all();
    assert_eq!(error(dropped.now().error_code), ErrorCode::NotCoordinator);
    rig.jobs.hold(false);
    a.beat(&rig);
    assert_eq!(a.owned.len(), 2);
}
