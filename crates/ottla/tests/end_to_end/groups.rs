//! Members of a group that come and go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_testkit::Ottla;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::clients::client;
use super::launch;

const PATIENCE: Duration = Duration::from_secs(60);

fn produce(ottla: &Ottla, values: std::ops::Range<i32>) {
    let producer: BaseProducer = client(ottla, &[("acks", "all")]).create().unwrap();
    for i in values {
        let value = i.to_string();
        producer.send(BaseRecord::<(), str>::to("work").partition(i % 4).payload(&value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn member(ottla: &Ottla, assignor: &str) -> BaseConsumer {
    let settings = [
        ("group.id", "workers"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "200"),
        ("partition.assignment.strategy", assignor),
    ];
    let member: BaseConsumer = client(ottla, &settings).create().unwrap();
    member.subscribe(&["work"]).unwrap();
    member
}

/// Polls all members until `is_done`, and says what each record's value was.
fn poll_until(
    ottla: &Ottla,
    members: &[&BaseConsumer],
    mut is_done: impl FnMut(&BTreeSet<String>) -> bool,
) -> BTreeSet<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = BTreeSet::new();
    while !is_done(&seen) {
        assert!(Instant::now() < deadline, "seen {}; the log:\n{}", seen.len(), ottla.log());
        for member in members {
            if let Some(message) = member.poll(Duration::from_millis(20)) {
                seen.insert(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
            }
        }
    }
    seen
}

fn assigned(member: &BaseConsumer) -> usize {
    member.assignment().unwrap().count()
}

fn all(values: std::ops::Range<i32>) -> BTreeSet<String> {
    values.map(|i| i.to_string()).collect()
}

#[test]
fn another_member_goes_on_where_one_left() {
    for assignor in ["range", "cooperative-sticky"] {
        let dir = tempfile::tempdir().unwrap();
        let ottla = launch(dir.path()).set("num.partitions", "4").start();
        produce(&ottla, 0..100);
        let first = member(&ottla, assignor);
        assert_eq!(poll_until(&ottla, &[&first], |seen| seen.len() == 100), all(0..100));
        first.commit_consumer_state(CommitMode::Sync).unwrap();

        let second = member(&ottla, assignor);
        let shares = |_: &BTreeSet<String>| assigned(&first) == 2 && assigned(&second) == 2;
        poll_until(&ottla, &[&first, &second], shares);
        // Closing it says goodbye: nobody waits for its session to end.
        drop(first);
        poll_until(&ottla, &[&second], |_| assigned(&second) == 4);
        produce(&ottla, 100..150);
        let seen = poll_until(&ottla, &[&second], |seen| all(100..150).is_subset(seen));
        assert_eq!(seen, all(100..150), "what was committed isn't read again");
        assert!(ottla.stop().success());
    }
}

#[test]
fn groups_are_listed_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("num.partitions", "4").start();
    produce(&ottla, 0..4);
    let member = member(&ottla, "range");
    poll_until(&ottla, &[&member], |seen| seen.len() == 4);
    let group_of = |consumer: &BaseConsumer| {
        let list = consumer.fetch_group_list(Some("workers"), PATIENCE).unwrap();
        let group = &list.groups()[0];
        let members = group.members().len();
        (group.name().to_owned(), group.state().to_owned(), group.protocol().to_owned(), members)
    };
    assert_eq!(group_of(&member), ("workers".into(), "Stable".into(), "range".into(), 1));
    drop(member);
    let other: BaseConsumer = client(&ottla, &[("group.id", "others")]).create().unwrap();
    assert_eq!(group_of(&other), ("workers".into(), "Empty".into(), String::new(), 0));
    let names = other.fetch_group_list(None, PATIENCE).unwrap();
    assert_eq!(names.groups().iter().map(|group| group.name()).collect::<Vec<_>>(), ["workers"]);
}
