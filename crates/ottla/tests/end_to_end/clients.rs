use std::collections::BTreeMap;
use std::time::Duration;

use ottla_testkit::Ottla;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::launch;

const PATIENCE: Duration = Duration::from_secs(60);

pub fn client(ottla: &Ottla, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", ottla.bootstrap());
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// Values of partition 0 from an offset on, up to its end.
pub fn read_all(ottla: &Ottla, topic: &str) -> Vec<String> {
    let settings = [("group.id", "reader"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = client(ottla, &settings).create().unwrap();
    let (low, high) = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(low)).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut values = Vec::new();
    while (low + values.len() as i64) < high {
        let message = next(&consumer);
        assert_eq!(message.offset(), low + values.len() as i64, "no offset is left out");
        values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
    }
    values
}

/// The next record. The client also returns from waiting when something else happened.
pub fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match consumer.poll(Duration::from_secs(1)) {
            Some(message) => return message.unwrap(),
            None => assert!(std::time::Instant::now() < deadline, "no record comes"),
        }
    }
}

fn send(producer: &BaseProducer, topic: &str, key: &str, value: &str) {
    let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(value) });
    producer.send(BaseRecord::to(topic).partition(0).key(key).payload(value).headers(headers)).unwrap();
}

#[test]
fn records_come_back_as_they_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("topic-{codec}");
        let settings = [("compression.type", codec), ("enable.idempotence", "true"), ("linger.ms", "5")];
        let producer: BaseProducer = client(&ottla, &settings).create().unwrap();
        for i in 0..500 {
            send(&producer, &topic, &format!("key-{i}"), &format!("value-{i}"));
        }
        producer.flush(PATIENCE).unwrap();

        let settings = [("group.id", codec), ("auto.offset.reset", "earliest")];
        let consumer: BaseConsumer = client(&ottla, &settings).create().unwrap();
        consumer.subscribe(&[&topic]).unwrap();
        for i in 0..500 {
            let message = next(&consumer);
            assert_eq!(message.offset(), i);
            assert_eq!(message.key().unwrap(), format!("key-{i}").as_bytes());
            assert_eq!(message.payload().unwrap(), format!("value-{i}").as_bytes());
            let header = message.headers().unwrap().get(0);
            assert_eq!((header.key, header.value), ("h", Some(format!("value-{i}").as_bytes())));
        }
    }
    assert!(ottla.stop().success());
}

#[test]
fn a_group_goes_on_where_it_was_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        [("group.id", "group"), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    let ottla = launch(dir.path()).start();
    let producer: BaseProducer = client(&ottla, &[]).create().unwrap();
    for i in 0..20 {
        send(&producer, "topic", "", &i.to_string());
    }
    producer.flush(PATIENCE).unwrap();
    let consumer: BaseConsumer = client(&ottla, &settings).create().unwrap();
    consumer.subscribe(&["topic"]).unwrap();
    for _ in 0..12 {
        next(&consumer);
    }
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(consumer);
    assert!(ottla.stop().success());

    let ottla = launch(dir.path()).start();
    assert!(!ottla.log().contains("recovered a log"), "the stop was clean");
    let consumer: BaseConsumer = client(&ottla, &settings).create().unwrap();
    consumer.subscribe(&["topic"]).unwrap();
    let message = next(&consumer);
    assert_eq!((message.offset(), message.payload().unwrap()), (12, &b"12"[..]));
}

#[test]
fn members_share_the_partitions_of_a_topic() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("num.partitions", "6").start();
    let producer: BaseProducer = client(&ottla, &[]).create().unwrap();
    for i in 0..600 {
        producer.send(BaseRecord::<(), str>::to("topic").partition(i % 6).payload(&i.to_string())).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
    let settings = [
        ("group.id", "group"),
        ("auto.offset.reset", "earliest"),
        ("partition.assignment.strategy", "range"),
        ("session.timeout.ms", "6000"),
    ];
    let members: Vec<BaseConsumer> = (0..3).map(|_| client(&ottla, &settings).create().unwrap()).collect();
    members.iter().for_each(|member| member.subscribe(&["topic"]).unwrap());
    // Each gets its share once all have joined; what was read before that is read again.
    let deadline = std::time::Instant::now() + PATIENCE;
    let shares = |members: &[BaseConsumer]| -> Vec<usize> {
        members.iter().map(|member| member.assignment().unwrap().count()).collect()
    };
    while shares(&members) != [2, 2, 2] {
        assert!(std::time::Instant::now() < deadline, "{:?}\n{}", shares(&members), ottla.log());
        for member in &members {
            member.poll(Duration::from_millis(20));
        }
    }
}

#[test]
fn topics_are_described_as_they_were_created() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("num.partitions", "3").start();
    let producer: BaseProducer = client(&ottla, &[]).create().unwrap();
    send(&producer, "topic", "", "value");
    producer.flush(PATIENCE).unwrap();
    let admin: AdminClient<DefaultClientContext> = client(&ottla, &[]).create().unwrap();
    let metadata = admin.inner().fetch_metadata(None, PATIENCE);
    let metadata = metadata.unwrap_or_else(|error| panic!("{error}\n{}", ottla.log()));
    let topics: BTreeMap<&str, usize> =
        metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len())).collect();
    assert_eq!(topics.get("topic"), Some(&3));
    let broker = &metadata.brokers()[0];
    assert_eq!(broker.id(), 1);
    assert_eq!(format!("{}:{}", broker.host(), broker.port()), ottla.bootstrap());
}
