use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::subject::Broker;
use bytes::Bytes;
use ottla_client::wire::ErrorCode;
use ottla_client::wire::messages::{FetchRequest, fetch_request};
use ottla_client::{
    Acks, Client, ClientError, Codec, Compression, Delivery, Header, Producer, ProducerSettings, Record,
    RoundRobin, SendOptions, Target, Topics, TrySendReason, partition_of_key,
};
use ottla_record::{Batches, OwnedRecord};

use super::{connect, create_topic_with, launch};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(ottla: &Broker) -> ProducerSettings {
    ProducerSettings::new(ottla.bootstrap())
}

/// All records of a partition, up to its end.
async fn read(client: &Client, topic: &str, partition: i32) -> Vec<OwnedRecord> {
    let mut records: Vec<OwnedRecord> = Vec::new();
    loop {
        let metadata = client.refresh(Topics::Named(vec![topic.into()])).await.unwrap();
        let Some(leader) = metadata.leader(topic, partition) else { continue };
        let topic_id = metadata.topic(topic).unwrap().id;
        let fetch_offset = records.last().map_or(0, |record| record.offset.0 + 1);
        let request = |_| FetchRequest {
            max_wait_ms: 0,
            max_bytes: i32::MAX,
            topics: vec![fetch_request::Topic {
                topic_id,
                partitions: vec![fetch_request::Partition {
                    partition,
                    fetch_offset,
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = client.send_with(Target::Node(leader.node), SendOptions::default(), request).await;
        let Ok(answer) = answer else { continue };
        let Some(data) = answer.response.responses.first().and_then(|topic| topic.partitions.first()) else {
            continue;
        };
        match ErrorCode::from_code(data.error_code).unwrap() {
            ErrorCode::None => {}
            code if code.is_retriable() => continue,
            code => panic!("{code}"),
        }
        let bytes = data.records.bytes().cloned().unwrap_or_else(Bytes::new);
        for batch in Batches::new(&bytes) {
            let mut stored = batch.unwrap().records(64 << 20).unwrap();
            while let Some(record) = stored.next().unwrap() {
                if record.offset.0 >= fetch_offset {
                    records.push(record.to_owned());
                }
            }
        }
        if records.last().map_or(0, |record| record.offset.0 + 1) >= data.high_watermark {
            return records;
        }
    }
}

fn text(record: &OwnedRecord) -> String {
    String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap()
}

async fn all(deliveries: Vec<Delivery>) -> Vec<i64> {
    let mut offsets = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        offsets.push(delivery.await.unwrap().offset.0);
    }
    offsets
}

#[tokio::test]
async fn records_are_written_as_they_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    for codec in Codec::ALL {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let topic = format!("{codec}-{acks:?}");
            create_topic_with(&client, &topic, 1, &[]).await;
            let compression = Compression::new(codec);
            let producer =
                Producer::start(ProducerSettings { acks, compression, ..settings(&ottla) }).unwrap();
            let mut deliveries = Vec::new();
            for number in 0..500 {
                let (key, value) = (format!("key-{number}"), format!("value-{number}"));
                let headers =
                    [Header { key: b"h", value: Some(value.as_bytes()) }, Header { key: b"n", value: None }];
                let record = Record::to(&topic).key(&key).value(&value).headers(&headers);
                deliveries.push(producer.send(record).await.unwrap());
            }
            producer.close(PATIENCE).await.unwrap();
            let offsets = all(deliveries).await;
            let expected: Vec<i64> = if acks == Acks::None { vec![-1; 500] } else { (0..500).collect() };
            assert_eq!(offsets, expected, "{topic}");
            // Nobody says when records that are not acknowledged are there.
            let mut records = read(&client, &topic, 0).await;
            while records.len() < 500 {
                records = read(&client, &topic, 0).await;
            }
            for (number, record) in records.iter().enumerate() {
                assert_eq!(record.key.as_deref(), Some(format!("key-{number}").as_bytes()));
                assert_eq!(text(record), format!("value-{number}"));
                assert_eq!((record.headers.len(), &record.headers[0].key[..]), (2, &b"h"[..]));
                assert_eq!(record.headers[1].value, None);
            }
        }
    }
}

#[tokio::test]
async fn records_go_to_the_partitions_they_belong_to() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic_with(&client, "t", 5, &[]).await;
    let producer = Producer::start(settings(&ottla)).unwrap();
    for number in 0..200 {
        let key = format!("key-{number}");
        let written = producer.send(Record::to("t").key(&key).value("v")).await.unwrap();
        drop(written);
    }
    let named = producer.send(Record::to("t").partition(3).key("key-0").value("v")).await.unwrap();
    let missing = Record::to("t").partition(-1);
    assert!(matches!(producer.send(missing).await, Err(ClientError::Misuse(_))));
    producer.flush().await;
    assert_eq!(named.await.unwrap().partition, 3);
    let mut count = 0;
    for partition in 0..5 {
        for record in read(&client, "t", partition).await {
            let key = record.key.unwrap();
            count += 1;
            assert!(partition_of_key(&key, 5) == partition || (partition, &key[..]) == (3, b"key-0"));
        }
    }
    assert_eq!(count, 201);

    let partitioner = Some(Arc::new(RoundRobin::default()) as Arc<_>);
    let in_turn = ProducerSettings { partitioner, ..settings(&ottla) };
    let producer = Producer::with_client(client.clone(), in_turn).unwrap();
    let mut counts = BTreeMap::new();
    for _ in 0..20 {
        let delivery = producer.send(Record::to("t").key("same").value("v")).await.unwrap();
        *counts.entry(delivery.await.unwrap().partition).or_insert(0) += 1;
    }
    assert_eq!(counts, (0..5).map(|partition| (partition, 4)).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_buffer_holds_up_who_sends_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic_with(&client, "t", 3, &[]).await;
    let small = ProducerSettings {
        buffer_bytes: 10_000,
        batch_bytes: 2_000,
        // Who waits for memory does not wait for this.
        linger_ms: 40_000,
        delivery_timeout_ms: Some(120_000),
        ..settings(&ottla)
    };
    let producer = Producer::start(small).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let producer = producer.clone();
            tokio::spawn(async move {
                let mut deliveries = Vec::new();
                for number in 0..500 {
                    let value = format!("{task}-{number}-{}", "x".repeat(number % 300));
                    deliveries.push(producer.send(Record::to("t").value(&value)).await.unwrap());
                }
                deliveries
            })
        })
        .collect();
    let mut deliveries = Vec::new();
    for task in tasks {
        deliveries.extend(task.await.unwrap());
    }
    producer.flush().await;
    all(deliveries).await;
    let mut values = Vec::new();
    for partition in 0..3 {
        let records = read(&client, "t", partition).await;
        values.extend(records.iter().map(|record| text(record).trim_end_matches('x').to_owned()));
    }
    values.sort_unstable();
    let mut expected: Vec<String> =
        (0..4).flat_map(|task| (0..500).map(move |number| format!("{task}-{number}-"))).collect();
    expected.sort_unstable();
    assert_eq!(values, expected);
}

#[tokio::test]
async fn what_does_not_fit_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic_with(&client, "t", 1, &[]).await;
    let small = ProducerSettings {
        buffer_bytes: 4_000,
        batch_bytes: 1_000,
        max_request_bytes: 3_000,
        ..settings(&ottla)
    };
    let producer = Producer::start(small).unwrap();
    let value = "x".repeat(2_990);
    let error = producer.send(Record::to("t").value(&value)).await;
    // First of all its topic has to be known.
    let ClientError::RecordTooLarge { setting, limit, .. } = error.unwrap_err() else {
        panic!("it is too large")
    };
    assert_eq!((setting, limit), ("max.request.size", 3_000));
    let record = Record::to("t").value("small");
    let mut taken = 0;
    let refused = loop {
        match producer.try_send(record) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000_000, "the buffer has a bound");
    };
    assert_eq!((refused.reason, refused.record), (TrySendReason::Full, record));
    let unknown = producer.try_send(Record::to("other")).unwrap_err();
    assert_eq!(unknown.reason, TrySendReason::NoMetadata(None));
    producer.close(PATIENCE).await.unwrap();
    assert_eq!(producer.send(record).await.unwrap_err(), ClientError::Closed);
    assert_eq!(read(&client, "t", 0).await.len(), taken);
}

#[tokio::test]
async fn batches_that_are_too_large_for_the_topic_are_split() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic_with(&client, "t", 1, &[("max.message.bytes", "700")]).await;
    for codec in [Codec::None, Codec::Zstd] {
        let large = ProducerSettings {
            batch_bytes: 100_000,
            linger_ms: 200,
            compression: Compression::new(codec),
            ..settings(&ottla)
        };
        let producer = Producer::with_client(client.clone(), large).unwrap();
        producer.partitions("t").await.unwrap();
        let before = read(&client, "t", 0).await.len();
        let mut deliveries = Vec::new();
        let mut state = 1u32;
        for number in 0..200 {
            // What does not compress well.
            let noise: String = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    char::from(b'a' + u8::try_from(state >> 24).unwrap() % 26)
                })
                .collect();
            let value = format!("{number:03} {noise}");
            deliveries.push(producer.send(Record::to("t").value(&value)).await.unwrap());
        }
        let too_large = "y".repeat(2_000);
        let hopeless = ProducerSettings { compression: Compression::NONE, ..settings(&ottla) };
        let other = Producer::with_client(client.clone(), hopeless).unwrap();
        producer.flush().await;
        let offsets = all(deliveries).await;
        let expected: Vec<i64> = (0..200).map(|number| number + i64::try_from(before).unwrap()).collect();
        assert_eq!(offsets, expected);
        let records = read(&client, "t", 0).await;
        let numbers: Vec<String> =
            records[before..].iter().map(|record| text(record)[..3].to_owned()).collect();
        assert_eq!(numbers, (0..200).map(|number| format!("{number:03}")).collect::<Vec<_>>());
        let refused = other.send(Record::to("t").value(&too_large)).await.unwrap().await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
    }
}

#[tokio::test]
async fn what_can_not_be_known_in_time_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).set("auto.create.topics.enable", "false").start();
    let hasty = ProducerSettings { max_block_ms: 300, ..settings(&ottla) };
    let producer = Producer::start(hasty).unwrap();
    let error = producer.send(Record::to("none").value("v")).await.unwrap_err();
    assert!(matches!(error, ClientError::Blocked { .. }), "{error}");
    let patient = Producer::start(settings(&ottla)).unwrap();
    let error = patient.send(Record::to("not/a/name").value("v")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidTopicException), "{error}");

    let port = ottla_testkit::free_port();
    let nobody =
        ProducerSettings { max_block_ms: 300, ..ProducerSettings::new(&format!("127.0.0.1:{port}")) };
    let producer = Producer::start(nobody).unwrap();
    let error = producer.send(Record::to("t").value("v")).await.unwrap_err();
    assert!(matches!(error, ClientError::Blocked { .. }) && error.is_retriable(), "{error}");
    producer.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_topic_comes_into_being_and_what_is_left_is_sent_when_the_producer_goes() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let patient = ProducerSettings { linger_ms: 20_000, ..settings(&ottla) };
    let producer = Producer::start(patient).unwrap();
    let delivery = producer.send(Record::to("new").value("v")).await.unwrap();
    drop(producer);
    assert_eq!(delivery.await.unwrap().offset.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_written_once_and_in_order_across_crashes() {
    const RECORDS: usize = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let port = ottla_testkit::free_port();
    let launch = launch(dir.path()).listening_on(port, 0);
    let mut ottla = Some(launch.start());
    let client = connect(ottla.as_ref().unwrap()).await;
    create_topic_with(&client, "t", 2, &[]).await;
    let small = ProducerSettings {
        batch_bytes: 500,
        linger_ms: 1,
        buffer_bytes: 100_000,
        delivery_timeout_ms: Some(600_000),
        max_block_ms: 600_000,
        ..settings(ottla.as_ref().unwrap())
    };
    let producer = Producer::with_client(client.clone(), small).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        if number % 2_000 == 1_000 {
            // Some of what is under way is written, and nobody says so.
            let stopping = ottla.take().unwrap();
            tokio::task::spawn_blocking(move || stopping.kill()).await.unwrap();
            let again = launch.clone();
            let started = tokio::task::spawn_blocking(move || again.start());
            ottla = Some(started.await.unwrap());
        }
        let value = number.to_string();
        let partition = i32::try_from(number % 2).unwrap();
        deliveries.push(producer.send(Record::to("t").partition(partition).value(&value)).await.unwrap());
    }
    producer.close(Duration::from_secs(600)).await.unwrap();
    let offsets = all(deliveries).await;
    let mut written: Vec<Vec<String>> = Vec::new();
    for partition in 0..2 {
        written.push(read(&client, "t", partition).await.iter().map(text).collect());
    }
    for (number, offset) in offsets.into_iter().enumerate() {
        let place = number / 2;
        assert_eq!(written[number % 2][place], number.to_string());
        // Where a broker knows only that it has it already, it doesn't say where.
        assert!(offset == -1 || usize::try_from(offset) == Ok(place), "{number} at {offset}");
    }
    assert_eq!((written[0].len(), written[1].len()), (RECORDS / 2, RECORDS / 2));
}
