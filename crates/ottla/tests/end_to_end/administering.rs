//! Topics from their making to their end.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use ottla_testkit::Ottla;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{client, read_all};
use super::launch;

const PATIENCE: Duration = Duration::from_secs(60);

/// For tests of other things.
pub fn create_topic(ottla: &Ottla, name: &str, partitions: i32) {
    assert_eq!(create(&admin(ottla), &topic(name, partitions)), Ok(name.to_owned()));
}

fn admin(ottla: &Ottla) -> AdminClient<DefaultClientContext> {
    client(ottla, &[]).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn topic(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

fn create(admin: &AdminClient<DefaultClientContext>, topic: &NewTopic<'_>) -> TopicResult {
    wait_for(admin.create_topics([topic], &options())).unwrap().remove(0)
}

fn produce(ottla: &Ottla, topic: &str, values: &[&str]) {
    let producer: BaseProducer = client(ottla, &[("acks", "all")]).create().unwrap();
    for value in values {
        producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(*value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn partition_count(admin: &AdminClient<DefaultClientContext>, topic: &str) -> usize {
    let metadata = admin.inner().fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions().len()
}

fn directories(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("ottla-data")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn topics_are_made_once_and_grow() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let admin = admin(&ottla);
    let made = topic("made", 4);
    assert_eq!(create(&admin, &made), Ok("made".to_owned()));
    assert_eq!(create(&admin, &made), Err(("made".to_owned(), RDKafkaErrorCode::TopicAlreadyExists)));
    let check = |topic: NewTopic<'_>, expected: RDKafkaErrorCode| {
        assert_eq!(create(&admin, &topic), Err((topic.name.to_owned(), expected)));
    };
    check(topic("no spaces", 1), RDKafkaErrorCode::InvalidTopic);
    check(topic("unknown-setting", 1).set("no.such.setting", "1"), RDKafkaErrorCode::InvalidConfig);
    check(topic("bad-value", 1).set("retention.ms", "x"), RDKafkaErrorCode::InvalidConfig);
    let three = NewTopic::new("three", 1, TopicReplication::Fixed(3));
    check(three, RDKafkaErrorCode::InvalidReplicationFactor);

    let grow = |count| {
        let grown = wait_for(admin.create_partitions(&[NewPartitions::new("made", count)], &options()));
        grown.unwrap().remove(0)
    };
    assert_eq!(grow(6), Ok("made".to_owned()));
    assert_eq!(grow(5), Err(("made".to_owned(), RDKafkaErrorCode::InvalidPartitions)));
    assert_eq!(partition_count(&admin, "made"), 6);
    assert!(ottla.stop().success());
}

#[test]
fn settings_of_a_topic_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let ottla = launch.start();
    let describe = |ottla: &Ottla| {
        let asked = [ResourceSpecifier::Topic("set")];
        let found = wait_for(admin(ottla).describe_configs(&asked, &options())).unwrap().remove(0).unwrap();
        ["retention.ms", "cleanup.policy", "segment.bytes"].map(|key| {
            let entry = found.get(key).unwrap();
            (entry.value.clone().unwrap(), format!("{:?}", entry.source))
        })
    };
    let set = topic("set", 1).set("retention.ms", "1234567").set("cleanup.policy", "compact");
    assert_eq!(create(&admin(&ottla), &set), Ok("set".to_owned()));
    let expected = [
        ("1234567".to_owned(), "DynamicTopic".to_owned()),
        ("compact".to_owned(), "DynamicTopic".to_owned()),
        ("1073741824".to_owned(), "Default".to_owned()),
    ];
    assert_eq!(describe(&ottla), expected);

    // This call replaces all of them.
    let changed = AlterConfig::new(ResourceSpecifier::Topic("set")).set("retention.ms", "7654321");
    wait_for(admin(&ottla).alter_configs([&changed], &options())).unwrap().remove(0).unwrap();
    assert!(ottla.stop().success());
    let expected = [
        ("7654321".to_owned(), "DynamicTopic".to_owned()),
        ("delete".to_owned(), "Default".to_owned()),
        ("1073741824".to_owned(), "Default".to_owned()),
    ];
    assert_eq!(describe(&launch.start()), expected);
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path());
    let ottla = launch.start();
    produce(&ottla, "shortened", &["a", "b", "c", "d"]);
    let mut upto = TopicPartitionList::new();
    upto.add_partition_offset("shortened", 0, Offset::Offset(3)).unwrap();
    wait_for(admin(&ottla).delete_records(&upto, &options())).unwrap();
    assert_eq!(read_all(&ottla, "shortened"), ["d"]);
    assert!(ottla.stop().success());

    let ottla = launch.start();
    assert_eq!(read_all(&ottla, "shortened"), ["d"]);
    let consumer: BaseConsumer = client(&ottla, &[("group.id", "g")]).create().unwrap();
    assert_eq!(consumer.fetch_watermarks("shortened", 0, PATIENCE).unwrap(), (3, 4));
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let launch = launch(dir.path()).set("auto.create.topics.enable", "false");
    let ottla = launch.start();
    let admin_client = admin(&ottla);
    create(&admin_client, &topic("again", 2)).unwrap();
    produce(&ottla, "again", &["of the first"]);
    let deleted = |name: &str| wait_for(admin_client.delete_topics(&[name], &options())).unwrap().remove(0);
    assert_eq!(deleted("again"), Ok("again".to_owned()));
    assert_eq!(deleted("again"), Err(("again".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition)));
    let metadata = admin_client.inner().fetch_metadata(None, PATIENCE).unwrap();
    assert!(metadata.topics().iter().all(|topic| topic.name() != "again"));

    create(&admin_client, &topic("again", 1)).unwrap();
    assert_eq!(read_all(&ottla, "again"), [""; 0]);
    produce(&ottla, "again", &["of the second"]);
    assert!(ottla.stop().success());
    let ottla = launch.start();
    assert_eq!(read_all(&ottla, "again"), ["of the second"]);
    let named: Vec<_> =
        directories(dir.path()).into_iter().filter(|name| name.starts_with("again-")).collect();
    assert!(named.contains(&"again-0".to_owned()) && !named.contains(&"again-1".to_owned()), "{named:?}");
}
