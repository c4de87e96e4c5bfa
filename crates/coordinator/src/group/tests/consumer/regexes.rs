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
