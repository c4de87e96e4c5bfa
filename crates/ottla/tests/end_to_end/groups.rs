//! Members of a group that come and go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_testkit::{Launch, Ottla, free_port};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
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

/// A member of the consumer protocol (KIP-848).
fn new_member(ottla: &Ottla, topics: &[&str], settings: &[(&str, &str)]) -> BaseConsumer {
    let common = [
        ("group.id", "workers"),
        ("group.protocol", "consumer"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let member: BaseConsumer = client(ottla, &[&common[..], settings].concat()).create().unwrap();
    member.subscribe(topics).unwrap();
    member
}

/// A node whose consumer groups hurry.
fn hurried(dir: &std::path::Path) -> Launch {
    launch(dir)
        .set("num.partitions", "4")
        .set("group.consumer.min.heartbeat.interval.ms", "100")
        .set("group.consumer.heartbeat.interval.ms", "200")
        .set("group.consumer.assignment.interval.ms", "100")
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
            match member.poll(Duration::from_millis(20)) {
                // What it tells while the node restarts.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                )))
                | None => {}
                Some(message) => {
                    seen.insert(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
                }
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
fn members_of_the_consumer_protocol_share_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = hurried(dir.path()).start();
    produce(&ottla, 0..100);
    let first = new_member(&ottla, &["work"], &[]);
    assert_eq!(poll_until(&ottla, &[&first], |seen| seen.len() == 100), all(0..100));
    first.commit_consumer_state(CommitMode::Sync).unwrap();

    // The broker matches this one's pattern.
    let second = new_member(&ottla, &["^wor.*"], &[]);
    let shares = |_: &BTreeSet<String>| assigned(&first) == 2 && assigned(&second) == 2;
    poll_until(&ottla, &[&first, &second], shares);
    let classic = member(&ottla, "cooperative-sticky");
    let shares = |_: &BTreeSet<String>| {
        let mut shares = [&first, &second, &classic].map(assigned);
        shares.sort_unstable();
        shares == [1, 1, 2]
    };
    poll_until(&ottla, &[&first, &second, &classic], shares);
    drop(first);
    drop(second);
    // Only a classic member is left: the group is a classic one again.
    poll_until(&ottla, &[&classic], |_| assigned(&classic) == 4);
    produce(&ottla, 100..150);
    let seen = poll_until(&ottla, &[&classic], |seen| all(100..150).is_subset(seen));
    assert_eq!(seen, all(100..150), "what was committed isn't read again");
    assert!(ottla.stop().success());
}

#[test]
fn members_of_the_consumer_protocol_live_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = hurried(dir.path()).listening_on(free_port(), free_port());
    let ottla = node.start();
    produce(&ottla, 0..40);
    let members = [new_member(&ottla, &["work"], &[]), new_member(&ottla, &["work"], &[])];
    let both = [&members[0], &members[1]];
    let have_shares = |_: &BTreeSet<String>| both.iter().all(|member| assigned(member) == 2);
    let mut seen = poll_until(&ottla, &both, have_shares);
    ottla.kill();
    let ottla = node.start();
    produce(&ottla, 40..80);
    seen.extend(poll_until(&ottla, &both, |seen| all(40..80).is_subset(seen)));
    seen.extend(poll_until(&ottla, &both, have_shares));
    assert_eq!(seen, all(0..80));
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
