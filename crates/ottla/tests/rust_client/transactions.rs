use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::subject::Broker;
use ottla_client::consumer::{Consumer, ConsumerError, ConsumerSettings, IsolationLevel, OffsetReset};
use ottla_client::types::{Offset, TopicPartition};
use ottla_client::wire::ErrorCode;
use ottla_client::wire::messages::{
    ListGroupsRequest, UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_request,
};
use ottla_client::{
    Client, ClientError, ClientSettings, Producer, ProducerSettings, Record, Target, TransactionOutcome,
    TransactionalProducer,
};

use super::{connect, create_topic, create_topic_with, launch};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(ottla: &Broker, id: &str) -> ProducerSettings {
    ProducerSettings { transactional_id: Some(id.to_owned()), ..ProducerSettings::new(ottla.bootstrap()) }
}

async fn start(ottla: &Broker, id: &str) -> TransactionalProducer {
    TransactionalProducer::start(settings(ottla, id)).await.unwrap()
}

fn reading(ottla: &Broker, group_id: &str) -> ConsumerSettings {
    ConsumerSettings {
        group_id: Some(group_id.to_owned()),
        enable_auto_commit: false,
        isolation_level: IsolationLevel::ReadCommitted,
        auto_offset_reset: OffsetReset::Earliest,
        heartbeat_interval_ms: 100,
        ..ConsumerSettings::new(ClientSettings::new(ottla.bootstrap()))
    }
}

/// From now on, for clients that connect from now on.
async fn set_transaction_version(client: &Client, level: i16) {
    // A downgrade that loses nothing.
    const SAFE_DOWNGRADE: i8 = 2;
    let request = |_| {
        let update = update_features_request::FeatureUpdate {
            feature: "transaction.version".to_owned(),
            max_version_level: level,
            upgrade_type: SAFE_DOWNGRADE,
            ..Default::default()
        };
        UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }
    };
    let code = |answer: &UpdateFeaturesResponse| ErrorCode::from_code(answer.error_code).unwrap();
    let answer = client.call(Target::Controller, 60_000, request, code).await.unwrap().response;
    assert_eq!(code(&answer), ErrorCode::None, "{answer:?}");
    // The broker says so to new connections once it has replayed it.
    let told = async {
        loop {
            let fresh = Client::connect(client.settings().clone()).await.unwrap();
            let only = *fresh.metadata().brokers().keys().next().unwrap();
            fresh.send(Target::Node(only), &ListGroupsRequest::default()).await.unwrap();
            let served = fresh.versions(only);
            if served.is_some_and(|served| served.feature("transaction.version") == level) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the level is known in time");
}

/// What counts in the topic: a last record is written into each partition, up to which it is read.
async fn committed(ottla: &Broker, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<String>> {
    const LAST: &str = "the last one";
    let plain = Producer::start(ProducerSettings::new(ottla.bootstrap())).unwrap();
    let mut consumer = Consumer::connect(reading(ottla, "checks")).await.unwrap();
    let all = (0..partitions).map(|partition| TopicPartition::new(topic, partition));
    consumer.assign(all.clone()).unwrap();
    for partition in all.clone() {
        consumer.seek_to_beginning(&partition).unwrap();
        let record = Record::to(topic).partition(partition.partition).value(LAST);
        plain.send(record).await.unwrap().await.unwrap();
    }
    let mut values: BTreeMap<i32, Vec<String>> =
        (0..partitions).map(|partition| (partition, Vec::new())).collect();
    let mut ended = BTreeSet::new();
    let read = async {
        while ended.len() < values.len() {
            for record in consumer.poll(PATIENCE).await.unwrap() {
                let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
                if value == LAST {
                    ended.insert(record.partition());
                } else {
                    values.get_mut(&record.partition()).unwrap().push(value);
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no transaction is open");
    consumer.close(PATIENCE).await.unwrap();
    plain.close(PATIENCE).await.unwrap();
    values
}

async fn group_offset(ottla: &Broker, group: &str, partition: &TopicPartition) -> Option<Offset> {
    let consumer = Consumer::connect(reading(ottla, group)).await.unwrap();
    let committed = consumer.committed([partition.clone()]).await.unwrap();
    committed.get(partition).map(|committed| committed.position.offset)
}

/// Commits, aborts, drops and leaves empty, one after the other.
async fn all_or_nothing(ottla: &Broker, client: &Client, topic: &str) {
    create_topic(client, topic, 2).await;
    let mut producer = start(ottla, topic).await;
    assert_eq!(producer.settle().await, Ok(None));
    let source = TopicPartition::new("source", 0);
    let offsets = |offset: i64| {
        let position = ottla_client::consumer::Position::at(Offset(offset));
        BTreeMap::from([(source.clone(), position.into())])
    };
    let group = ottla_client::consumer::GroupMetadata { group_id: topic.to_owned(), member: None };
    for round in 0..8 {
        let transaction = producer.begin().await.unwrap();
        let kind = ["commit", "abort", "drop", "empty"][round % 4];
        if kind != "empty" {
            for partition in 0..2 {
                let value = format!("{kind} {round}");
                let record = Record::to(topic).partition(partition).value(&value);
                drop(transaction.send(record).await.unwrap());
            }
            transaction.send_offsets(offsets(i64::try_from(round).unwrap()), group.clone()).await.unwrap();
        }
        match kind {
            "abort" => {
                transaction.flush().await;
                transaction.abort().await.unwrap();
                assert_eq!(producer.settle().await, Ok(Some(TransactionOutcome::Aborted)));
            }
            "drop" => {
                transaction.flush().await;
                drop(transaction);
            }
            _ => {
                transaction.commit().await.unwrap();
                assert_eq!(producer.settle().await, Ok(Some(TransactionOutcome::Committed)));
            }
        }
    }
    let expected = vec!["commit 0".to_owned(), "commit 4".to_owned()];
    let counts = committed(ottla, topic, 2).await;
    assert_eq!(counts, BTreeMap::from([(0, expected.clone()), (1, expected)]));
    assert_eq!(group_offset(ottla, topic, &source).await, Some(Offset(4)));
    producer.close(PATIENCE).await.unwrap();
}

/// A record that the broker refuses takes its transaction with it, and nothing else.
async fn failing(ottla: &Broker, client: &Client, topic: &str) {
    create_topic_with(client, topic, 1, &[("max.message.bytes", "2000")]).await;
    let mut producer = start(ottla, topic).await;
    let large = "x".repeat(5_000);
    for commits in [true, false, true] {
        let transaction = producer.begin().await.unwrap();
        let delivery = transaction.send(Record::to(topic).value("before")).await.unwrap();
        drop(delivery);
        let error = transaction.send(Record::to(topic).value(&large)).await.unwrap().await.unwrap_err();
        assert!(error.is_abortable() && !error.is_fatal(), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
        let error = transaction.send(Record::to(topic).value("after")).await.unwrap_err();
        assert!(error.is_abortable(), "{error}");
        if commits {
            let error = transaction.commit().await.unwrap_err();
            assert!(error.is_abortable() && !error.is_possibly_written(), "{error}");
        } else {
            transaction.abort().await.unwrap();
        }
        let transaction = producer.begin().await.unwrap();
        drop(transaction.send(Record::to(topic).value("counts")).await.unwrap());
        transaction.commit().await.unwrap();
    }
    assert_eq!(committed(ottla, topic, 1).await[&0], ["counts"; 3]);
}

/// Another producer with the same id takes over.
async fn zombie(ottla: &Broker, client: &Client, topic: &str) {
    create_topic(client, topic, 1).await;
    let mut zombie = start(ottla, topic).await;
    let transaction = zombie.begin().await.unwrap();
    let delivery = transaction.send(Record::to(topic).value("of a zombie")).await.unwrap();
    delivery.await.unwrap();
    let mut heir = start(ottla, topic).await;
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_fenced() && error.is_fatal() && !error.is_possibly_written(), "{error}");
    assert!(zombie.begin().await.unwrap_err().is_fenced());
    assert!(zombie.settle().await.unwrap_err().is_fenced());
    zombie.close(PATIENCE).await.unwrap();
    let transaction = heir.begin().await.unwrap();
    drop(transaction.send(Record::to(topic).value("of its heir")).await.unwrap());
    transaction.commit().await.unwrap();
    assert_eq!(committed(ottla, topic, 1).await[&0], ["of its heir"]);
}

#[tokio::test]
async fn transactions_count_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "source", 1).await;
    for level in [2, 1] {
        if level == 1 {
            set_transaction_version(&client, 1).await;
        }
        let [whole, failed, fenced] = ["whole", "failing", "zombie"].map(|name| format!("{name}-{level}"));
        tokio::join!(
            all_or_nothing(&ottla, &client, &whole),
            failing(&ottla, &client, &failed),
            zombie(&ottla, &client, &fenced),
        );
    }
}

#[tokio::test]
async fn transactions_have_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let ottla =
        launch(dir.path()).set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "50").start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 1).await;
    let hours = ProducerSettings { transaction_timeout_ms: 3_600_000, ..settings(&ottla, "patient") };
    let error = TransactionalProducer::start(hours).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidTransactionTimeout), "{error}");

    let hasty = ProducerSettings { transaction_timeout_ms: 100, ..settings(&ottla, "hasty") };
    let mut producer = TransactionalProducer::start(hasty).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    // It may be too late for this already.
    let _ = transaction.send(Record::to("t").value("late")).await.unwrap().await;
    // Readers go on when it has been aborted.
    assert_eq!(committed(&ottla, "t", 1).await[&0], [""; 0]);
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_abortable() && !error.is_possibly_written(), "{error}");
    let transaction = producer.begin().await.unwrap();
    drop(transaction.send(Record::to("t").value("in time")).await.unwrap());
    transaction.abort().await.unwrap();
}

#[tokio::test]
async fn transactions_need_their_producer() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let plain = Producer::start(settings(&ottla, "t"));
    assert!(matches!(plain, Err(ClientError::Settings(_))));
    let nameless = ProducerSettings::new(ottla.bootstrap());
    assert!(matches!(TransactionalProducer::start(nameless).await, Err(ClientError::Settings(_))));
    let port = ottla_testkit::free_port();
    let nobody = ProducerSettings {
        max_block_ms: 300,
        transactional_id: Some("t".to_owned()),
        ..ProducerSettings::new(&format!("127.0.0.1:{port}"))
    };
    let error = TransactionalProducer::start(nobody).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}

const RECORDS: i64 = 1_500;
const KILLS: i64 = 3;

/// Why a copy has to be begun anew from what was committed last.
enum Again {
    /// The same producer can go on.
    Aborted,
    Producer,
}

fn again(error: &ClientError) -> Again {
    if error.is_fatal() { Again::Producer } else { Again::Aborted }
}

/// Copies records one poll a transaction, with the place of each partition; until everything has been copied.
async fn copy(producer: &mut TransactionalProducer, consumer: &mut Consumer) -> Result<(), Again> {
    let of_consumer = |error: ConsumerError| match error {
        ConsumerError::Client(error) => again(&error),
        _ => Again::Aborted,
    };
    let records = consumer.poll(Duration::from_millis(200)).await.map_err(of_consumer)?;
    if records.is_empty() {
        return Ok(());
    }
    let transaction = producer.begin().await.map_err(|error| again(&error))?;
    for record in &records {
        let value = record.value.clone().unwrap();
        let copy = Record::to("copies").partition(record.partition()).value(&value);
        drop(transaction.send(copy).await.map_err(|error| again(&error))?);
    }
    let group = consumer.group_metadata().map_err(of_consumer)?;
    let offsets = consumer.positions();
    transaction.send_offsets(offsets, group).await.map_err(|error| again(&error))?;
    transaction.commit().await.map_err(|error| again(&error))
}

/// Goes on where the last transaction that counts has ended.
async fn rewind(consumer: &mut Consumer) -> Result<(), ConsumerError> {
    let assigned = consumer.assignment();
    let committed = consumer.committed(assigned.clone()).await?;
    for partition in assigned {
        let offset = committed.get(&partition).map_or(Offset(0), |committed| committed.position.offset);
        // It may have been given up in between.
        let _ = consumer.seek(&partition, offset);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_copied_once_across_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let port = ottla_testkit::free_port();
    let launch = launch(dir.path()).listening_on(port, 0);
    let mut ottla = Some(launch.start());
    let client = connect(ottla.as_ref().unwrap()).await;
    for topic in ["originals", "copies"] {
        create_topic(&client, topic, 2).await;
    }
    let plain = Producer::start(ProducerSettings::new(ottla.as_ref().unwrap().bootstrap())).unwrap();
    for number in 0..RECORDS {
        let value = number.to_string();
        let partition = i32::try_from(number % 2).unwrap();
        drop(plain.send(Record::to("originals").partition(partition).value(&value)).await.unwrap());
    }
    plain.close(PATIENCE).await.unwrap();

    let of_producer =
        ProducerSettings { batch_bytes: 300, linger_ms: 0, ..settings(ottla.as_ref().unwrap(), "copier") };
    let of_consumer =
        ConsumerSettings { max_poll_records: 20, ..reading(ottla.as_ref().unwrap(), "copiers") };
    let mut consumer = Consumer::connect(of_consumer).await.unwrap();
    consumer.subscribe(["originals"]).unwrap();
    let mut producer = TransactionalProducer::start(of_producer.clone()).await.unwrap();
    let (mut copied, mut kills, mut restarting) = (0, 0, None);
    let copying = async {
        while copied < RECORDS {
            if kills < KILLS && copied >= (kills + 1) * RECORDS / (KILLS + 2) {
                kills += 1;
                // In the middle of whatever is going on then.
                let (stopping, again) = (ottla.take(), launch.clone());
                let before: Option<tokio::task::JoinHandle<Broker>> = restarting.take();
                restarting = Some(tokio::spawn(async move {
                    let running = match (stopping, before) {
                        (Some(running), _) => Some(running),
                        (None, Some(before)) => Some(before.await.unwrap()),
                        (None, None) => None,
                    };
                    let killed_and_started = move || {
                        if let Some(running) = running {
                            running.kill();
                        }
                        again.start()
                    };
                    tokio::task::spawn_blocking(killed_and_started).await.unwrap()
                }));
            }
            if let Err(why) = copy(&mut producer, &mut consumer).await {
                let can_go_on = match why {
                    // What nobody has answered may count all the same.
                    Again::Aborted => {
                        producer.settle().await.map_or_else(|error| !error.is_fatal(), |_| true)
                    }
                    Again::Producer => false,
                };
                if !can_go_on {
                    producer = TransactionalProducer::start(of_producer.clone()).await.unwrap();
                }
                while rewind(&mut consumer).await.is_err() {}
            }
            let positions = consumer.positions();
            copied = copied.max(positions.values().map(|committed| committed.position.offset.value()).sum());
        }
    };
    tokio::time::timeout(5 * PATIENCE, copying).await.expect("it is done in time");
    assert_eq!(kills, KILLS);
    let ottla = match restarting {
        Some(restarting) => restarting.await.unwrap(),
        None => ottla.take().unwrap(),
    };
    let counts = committed(&ottla, "copies", 2).await;
    for (partition, values) in counts {
        let expected: Vec<String> = (0..RECORDS)
            .filter(|number| number % 2 == i64::from(partition))
            .map(|number| number.to_string())
            .collect();
        assert_eq!(values, expected, "partition {partition}");
    }
}
