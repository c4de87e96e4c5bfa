//! What is told of what can't be done: the same of either broker, by its code and by what it says is left to do.

use std::time::Duration;

use ottla_client::admin::{Admin, NewTopic};
use ottla_client::consumer::{Consumer, ConsumerError, ConsumerSettings, FetchError, OffsetReset};
use ottla_client::types::{Offset, TopicPartition};
use ottla_client::wire::ErrorCode;
use ottla_client::{
    Acks, ClientError, ClientSettings, Producer, ProducerSettings, Record, TransactionalProducer,
};

use super::{connect, create_topic, create_topic_with, launch};

const PATIENCE: Duration = Duration::from_secs(60);

/// What an error says, in words.
fn said(error: &ClientError) -> String {
    let code = error.code().map_or("no code", ErrorCode::name);
    let all = [
        ("retriable", error.is_retriable()),
        ("fatal", error.is_fatal()),
        ("fenced", error.is_fenced()),
        ("abortable", error.is_abortable()),
        ("possibly written", error.is_possibly_written()),
    ];
    let what: Vec<&str> = all.iter().filter(|(_, is_so)| *is_so).map(|(name, _)| *name).collect();
    format!("{code}: {}", if what.is_empty() { "nothing".to_owned() } else { what.join(", ") })
}

fn check(error: &ClientError, expected: &str) {
    assert_eq!(said(error), expected, "{error}");
    assert!(error.to_string().len() > 20, "it says what was asked, and why not: {error}");
}

/// Why a record is not written, whoever says so.
async fn refused(producer: &Producer, record: Record<'_>) -> ClientError {
    match producer.send(record).await {
        Ok(delivery) => delivery.await.unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test]
async fn producers_errors_say_what_is_left_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let broker = launch(dir.path()).set("auto.create.topics.enable", "false").start();
    let client = connect(&broker).await;
    create_topic_with(&client, "small", 1, &[("max.message.bytes", "1000")]).await;
    create_topic_with(&client, "compacted", 1, &[("cleanup.policy", "compact")]).await;
    let settings = ProducerSettings::new(broker.bootstrap());
    let producer = Producer::start(settings.clone()).unwrap();
    let large = "x".repeat(5_000);
    check(&refused(&producer, Record::to("small").value(&large)).await, "MESSAGE_TOO_LARGE: nothing");
    check(&refused(&producer, Record::to("compacted").value("v")).await, "INVALID_RECORD: nothing");
    check(&refused(&producer, Record::to("a/b").value("v")).await, "INVALID_TOPIC_EXCEPTION: nothing");
    let huge = "x".repeat(2 << 20);
    check(&refused(&producer, Record::to("compacted").key("k").value(&huge)).await, "no code: nothing");

    // What may come right is tried for as long as there is time.
    let client_settings = ClientSettings { request_timeout_ms: 500, ..settings.client.clone() };
    let hasty = ProducerSettings {
        client: client_settings,
        max_block_ms: 500,
        delivery_timeout_ms: Some(1_000),
        ..settings
    };
    let producer = Producer::start(hasty).unwrap();
    check(&producer.send(Record::to("none").value("v")).await.unwrap_err(), "no code: retriable");
}

#[tokio::test]
async fn transactions_errors_say_what_is_left_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let broker = launch(dir.path()).start();
    let client = connect(&broker).await;
    create_topic(&client, "t", 1).await;
    let settings = ProducerSettings {
        transactional_id: Some("x".to_owned()),
        ..ProducerSettings::new(broker.bootstrap())
    };
    let mut first = TransactionalProducer::start(settings.clone()).await.unwrap();
    let transaction = first.begin().await.unwrap();
    transaction.send(Record::to("t").value("v")).await.unwrap().await.unwrap();
    let _second = TransactionalProducer::start(settings.clone()).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_fenced() && error.is_fatal() && !error.is_retriable(), "{error}");
    let hours = ProducerSettings { transaction_timeout_ms: 3_600_000, ..settings.clone() };
    let error = TransactionalProducer::start(hours).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidTransactionTimeout), "{error}");
    let weak = ProducerSettings { acks: Acks::Leader, ..settings };
    check(&TransactionalProducer::start(weak).await.unwrap_err(), "no code: fatal");
}

#[tokio::test]
async fn consumers_errors_say_what_is_left_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let broker = launch(dir.path()).start();
    let client = connect(&broker).await;
    create_topic(&client, "t", 1).await;
    let settings = ConsumerSettings {
        auto_offset_reset: OffsetReset::None,
        group_id: Some("g".to_owned()),
        ..ConsumerSettings::new(ClientSettings::new(broker.bootstrap()))
    };
    let zero = TopicPartition::new("t", 0);
    let mut consumer = Consumer::connect(settings.clone()).await.unwrap();
    consumer.assign([zero.clone()]).unwrap();
    let error = consumer.poll(PATIENCE).await.unwrap_err();
    assert!(matches!(&error, ConsumerError::Fetch(FetchError::NoOffset(_))), "{error:?}");
    consumer.seek(&zero, Offset(1_000)).unwrap();
    let error = consumer.poll(PATIENCE).await.unwrap_err();
    assert!(matches!(&error, ConsumerError::Fetch(FetchError::OffsetOutOfRange { .. })), "{error:?}");
    let error = consumer.seek(&TopicPartition::new("t", 7), Offset(0)).unwrap_err();
    assert!(matches!(&error, ConsumerError::NotAssigned(_)), "{error:?}");
    let error = consumer.partitions_for("a/b").await.unwrap_err();
    let ConsumerError::Client(error) = error else { panic!("{error:?}") };
    check(&error, "INVALID_TOPIC_EXCEPTION: nothing");

    // The coordinator has its own limits.
    let impatient = ConsumerSettings { session_timeout_ms: 2, heartbeat_interval_ms: 1, ..settings.clone() };
    let mut consumer = Consumer::connect(impatient).await.unwrap();
    consumer.subscribe(["t"]).unwrap();
    let error = consumer.poll(PATIENCE).await.unwrap_err();
    assert!(matches!(&error, ConsumerError::Group(_)), "{error:?}");
    assert!(error.to_string().contains("INVALID_SESSION_TIMEOUT"), "{error}");
}

#[tokio::test]
async fn administrators_errors_say_what_is_left_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let broker = launch(dir.path()).start();
    let client = connect(&broker).await;
    create_topic(&client, "t", 1).await;
    let admin = Admin::new(client);
    for (topic, expected) in [
        (NewTopic::new("t"), "TOPIC_ALREADY_EXISTS: nothing"),
        (NewTopic::new("a/b"), "INVALID_TOPIC_EXCEPTION: nothing"),
        (NewTopic::new("p").partitions(0), "INVALID_PARTITIONS: nothing"),
        (NewTopic::new("r").replication_factor(3), "INVALID_REPLICATION_FACTOR: nothing"),
        (NewTopic::new("c").config("retention.ms", "soon"), "INVALID_CONFIG: nothing"),
    ] {
        check(&admin.create_topic(&topic).await.unwrap_err(), expected);
    }
    let deleted = admin.delete_topics(&["none".to_owned()]).await.unwrap();
    check(deleted["none"].as_ref().unwrap_err(), "UNKNOWN_TOPIC_OR_PARTITION: retriable");
}
