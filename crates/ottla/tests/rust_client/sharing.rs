use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::subject::{Broker, Launch};
use ottla_client::admin::{Admin, AlterOp, ConfigResource, ResourceType};
use ottla_client::share::{
    AcknowledgeType, Acknowledged, AcknowledgementMode, AcquireMode, ShareConsumer, ShareConsumerSettings,
    ShareRecord,
};
use ottla_client::{Client, ClientSettings, Producer, ProducerSettings, Record};

use super::{connect, create_topic, launch};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "g";

fn sharing(dir: &std::path::Path) -> Launch {
    let settings = [
        ("group.share.min.heartbeat.interval.ms", "100"),
        ("group.share.heartbeat.interval.ms", "100"),
        ("group.share.assignment.interval.ms", "0"),
        ("group.share.record.lock.duration.ms", "60000"),
        ("group.share.delivery.count.limit", "10"),
    ];
    settings.iter().fold(launch(dir), |launch, (key, value)| launch.set(key, value))
}

fn settings(bootstrap: &str, mode: AcknowledgementMode) -> ShareConsumerSettings {
    ShareConsumerSettings {
        acknowledgement_mode: mode,
        ..ShareConsumerSettings::new(ClientSettings::new(bootstrap), GROUP)
    }
}

/// A topic, and a group that reads it from its start.
async fn prepare(ottla: &Broker, partitions: i32) -> Client {
    let client = connect(ottla).await;
    create_topic(&client, "t", partitions).await;
    let admin = Admin::new(client.clone());
    let group = ConfigResource::new(ResourceType::Group, GROUP);
    let set = ("share.auto.offset.reset".to_owned(), AlterOp::Set("earliest".to_owned()));
    let changed = admin.alter_configs(&BTreeMap::from([(group.clone(), vec![set])]), false).await.unwrap();
    changed[&group].clone().unwrap();
    let is_set = async {
        loop {
            let described = admin.describe_configs(std::slice::from_ref(&group), false).await.unwrap();
            let entries = described[&group].clone().unwrap();
            let is_earliest = |name: &str, value: Option<&str>| {
                name == "share.auto.offset.reset" && value == Some("earliest")
            };
            if entries.iter().any(|entry| is_earliest(&entry.name, entry.value.as_deref())) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_set).await.unwrap();
    client
}

async fn write(client: &Client, values: std::ops::Range<i64>) {
    let producer = Producer::with_client(
        client.clone(),
        ProducerSettings { client: client.settings().clone(), ..ProducerSettings::default() },
    )
    .unwrap();
    let mut deliveries = Vec::new();
    for value in values {
        let value = value.to_string();
        deliveries.push(producer.send(Record::to("t").value(&value)).await.unwrap());
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

async fn member(settings: ShareConsumerSettings) -> ShareConsumer {
    let mut member = ShareConsumer::connect(settings).await.unwrap();
    member.subscribe(["t"]).unwrap();
    member
}

fn value(record: &ShareRecord) -> i64 {
    std::str::from_utf8(record.record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

/// The places of these records, as outcomes name them.
fn place(record: &ShareRecord) -> (i32, i64) {
    (record.record.partition(), record.record.offset.0)
}

/// Where brokers have taken the member's word.
fn confirmed(outcomes: Vec<Acknowledged>) -> impl Iterator<Item = (i32, i64)> {
    let taken = outcomes.into_iter().filter(|outcome| outcome.result.is_ok());
    taken.flat_map(|outcome| {
        let partition = outcome.partition.partition;
        outcome.offsets.into_iter().map(move |offset| (partition, offset))
    })
}

async fn patiently<T>(what: &str, until: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, until).await;
    done.unwrap_or_else(|_| panic!("{what}: not after a minute"))
}

#[tokio::test]
async fn asking_for_more_accepts_what_was_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = sharing(dir.path()).start();
    let client = prepare(&ottla, 2).await;
    write(&client, 0..100).await;
    let mut first = member(ShareConsumerSettings {
        max_poll_records: 30,
        ..settings(ottla.bootstrap(), AcknowledgementMode::Implicit)
    })
    .await;
    let (mut seen, mut accepted) = (BTreeMap::new(), BTreeSet::new());
    patiently("all are read and accepted", async {
        while accepted.len() < 100 {
            let records = first.poll(Duration::from_secs(1)).await.unwrap();
            assert!(records.len() <= 30);
            for record in records {
                assert!(!accepted.contains(&place(&record)), "{record:?} was accepted");
                seen.insert(place(&record), value(&record));
            }
            accepted.extend(confirmed(first.commit().await.unwrap()));
            accepted.extend(confirmed(first.outcomes()));
        }
    })
    .await;
    assert_eq!(seen.values().copied().collect::<BTreeSet<_>>(), (0..100).collect());
    assert!(first.lock_timeout_ms().is_some_and(|ms| ms > 0));
    let record = || async { member(settings(ottla.bootstrap(), AcknowledgementMode::Implicit)).await };
    first.close(PATIENCE).await.unwrap();

    // Who comes next goes on behind them.
    let mut second = record().await;
    write(&client, 100..110).await;
    let mut later = BTreeSet::new();
    patiently("the second reads on", async {
        while later.len() < 10 {
            later.extend(second.next().await.unwrap().iter().map(value));
        }
    })
    .await;
    assert_eq!(later, (100..110).collect());
    second.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn records_are_accepted_released_rejected_and_renewed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = sharing(dir.path()).start();
    let client = prepare(&ottla, 1).await;
    write(&client, 0..6).await;
    let mut consumer = member(settings(ottla.bootstrap(), AcknowledgementMode::Explicit)).await;
    let mut kept = Vec::new();
    let mut seen = BTreeMap::new();
    let mut done = BTreeSet::new();
    patiently("everything is seen, and what was released once more", async {
        while seen.len() < 6 || seen[&1] < 2 {
            let records = consumer.next().await.unwrap();
            if let Some(first) = records.first() {
                let early = consumer.next().await.unwrap_err();
                assert!(early.to_string().contains("explicit"), "{early}");
                assert_eq!(first.record.topic(), "t");
            }
            for record in records {
                let kind = match (value(&record), seen.contains_key(&value(&record))) {
                    (1, false) => AcknowledgeType::Release,
                    (2, _) => AcknowledgeType::Reject,
                    (3, false) => AcknowledgeType::Renew,
                    _ => AcknowledgeType::Accept,
                };
                seen.insert(value(&record), record.delivery_count);
                // What was said last counts.
                consumer.acknowledge(&record, AcknowledgeType::Accept).unwrap();
                consumer.acknowledge(&record, kind).unwrap();
                if kind == AcknowledgeType::Renew {
                    kept.push(record);
                }
            }
            done.extend(confirmed(consumer.commit().await.unwrap()));
        }
    })
    .await;
    for record in kept {
        consumer.acknowledge(&record, AcknowledgeType::Accept).unwrap();
    }
    done.extend(confirmed(consumer.commit().await.unwrap()));
    assert_eq!(done, (0..6).map(|offset| (0, offset)).collect());
    consumer.close(PATIENCE).await.unwrap();

    // Nothing of it comes again.
    write(&client, 6..7).await;
    let mut next = member(settings(ottla.bootstrap(), AcknowledgementMode::Explicit)).await;
    let records = patiently("the next member reads on", next.next()).await.unwrap();
    assert_eq!(records.iter().map(value).collect::<Vec<_>>(), [6]);
    consumer_is_closed_with(next, &records).await;
}

/// Acknowledgements that were not committed go out with closing.
async fn consumer_is_closed_with(mut consumer: ShareConsumer, records: &[ShareRecord]) {
    for record in records {
        consumer.acknowledge(record, AcknowledgeType::Accept).unwrap();
        consumer.acknowledge(record, AcknowledgeType::Accept).unwrap();
    }
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn members_share_a_partition_and_what_one_leaves_comes_to_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = sharing(dir.path()).start();
    let client = prepare(&ottla, 1).await;
    write(&client, 0..50).await;
    let limited = |max_poll_records| ShareConsumerSettings {
        max_poll_records,
        acquire_mode: AcquireMode::RecordLimit,
        ..settings(ottla.bootstrap(), AcknowledgementMode::Explicit)
    };
    let mut keeper = member(limited(10)).await;
    let kept: BTreeSet<i64> =
        patiently("one has its part", keeper.next()).await.unwrap().iter().map(value).collect();
    assert!((1..=10).contains(&kept.len()), "{kept:?}");

    let mut other = member(limited(100)).await;
    let mut seen = BTreeSet::new();
    let mut read_until = async |what: &str, is_done: &dyn Fn(&BTreeSet<i64>) -> bool| {
        patiently(what, async {
            while !is_done(&seen) {
                for record in other.next().await.unwrap() {
                    seen.insert(value(&record));
                    other.acknowledge(&record, AcknowledgeType::Accept).unwrap();
                }
            }
        })
        .await;
    };
    read_until("the other has the rest", &|seen| {
        (0..50).all(|value| kept.contains(&value) || seen.contains(&value))
    })
    .await;
    keeper.close(PATIENCE).await.unwrap();
    read_until("the other has all", &|seen| seen.len() == 50).await;
    other.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_was_not_accepted_comes_again_after_members_and_brokers_have_died() {
    let dir = tempfile::tempdir().unwrap();
    let port = ottla_testkit::free_port();
    let launch = sharing(dir.path()).listening_on(port, 0);
    let ottla = launch.start();
    let bootstrap = ottla.bootstrap().to_owned();
    let client = prepare(&ottla, 1).await;
    write(&client, 0..20).await;
    let mut dying = member(settings(&bootstrap, AcknowledgementMode::Explicit)).await;
    patiently("it has something", dying.next()).await.unwrap();
    // Its connections are closed with it, and it says nothing.
    drop(dying);

    let mut consumer = member(settings(&bootstrap, AcknowledgementMode::Explicit)).await;
    let (mut seen, mut accepted) = (BTreeSet::new(), BTreeSet::new());
    patiently("it comes again", async {
        while seen.len() < 20 {
            for record in consumer.next().await.unwrap() {
                let is_first_half = record.record.offset.0 < 10;
                let kind = if is_first_half { AcknowledgeType::Accept } else { AcknowledgeType::Release };
                consumer.acknowledge(&record, kind).unwrap();
                seen.insert(value(&record));
            }
            let outcomes = consumer.commit().await.unwrap();
            accepted.extend(confirmed(outcomes).filter(|(_, offset)| *offset < 10));
        }
    })
    .await;

    ottla.kill();
    let _again = launch.start();
    seen.clear();
    patiently("the rest comes once more", async {
        while accepted.len() < 20 {
            // A broker that is not there yet is no error.
            for record in consumer.next().await.unwrap() {
                assert!(!accepted.contains(&place(&record)), "{record:?} was accepted");
                consumer.acknowledge(&record, AcknowledgeType::Accept).unwrap();
                seen.insert(value(&record));
            }
            accepted.extend(confirmed(consumer.commit().await.unwrap()));
            accepted.extend(confirmed(consumer.outcomes()));
        }
    })
    .await;
    consumer.close(PATIENCE).await.unwrap();
}
