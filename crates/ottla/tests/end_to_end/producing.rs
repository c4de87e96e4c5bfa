//! What producers may ask for, and where their records are found afterwards.

use std::time::{Duration, Instant, SystemTime};

use ottla_testkit::Ottla;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{client, read_all};
use super::deliveries::Deliveries;
use super::launch;

const PATIENCE: Duration = Duration::from_secs(60);

fn producer(ottla: &Ottla, settings: &[(&str, &str)]) -> (BaseProducer<Deliveries>, Deliveries) {
    let deliveries = Deliveries::default();
    (client(ottla, settings).create_with_context(deliveries.clone()).unwrap(), deliveries)
}

fn results(deliveries: &Deliveries) -> Vec<Result<i64, RDKafkaErrorCode>> {
    deliveries.all().into_iter().map(|delivery| delivery.result).collect()
}

#[test]
fn acknowledgements_are_given_as_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    for acks in ["0", "1", "all"] {
        let topic = format!("acks-{acks}");
        let (producer, deliveries) = producer(&ottla, &[("acks", acks)]);
        let values: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        for value in &values {
            producer.send(BaseRecord::<(), str>::to(&topic).partition(0).payload(value)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        if acks == "0" {
            // Nothing says when they are stored.
            let deadline = Instant::now() + PATIENCE;
            while read_all(&ottla, &topic).len() < values.len() && Instant::now() < deadline {}
        } else {
            assert_eq!(results(&deliveries), (0..100).map(Ok).collect::<Vec<_>>());
        }
        assert_eq!(read_all(&ottla, &topic), values, "acks={acks}");
    }
}

#[test]
fn the_largest_record_is_taken_and_larger_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    // One record a batch: a batch is refused as a whole.
    let settings = [("message.max.bytes", "3000000"), ("batch.num.messages", "1"), ("acks", "all")];
    let (producer, deliveries) = producer(&ottla, &settings);
    let sizes = [1_048_000, 1_050_000, 10];
    let values = sizes.map(|size| "0123456789".repeat(size / 10));
    for value in &values {
        producer.send(BaseRecord::<(), str>::to("large").partition(0).payload(value)).unwrap();
        producer.flush(PATIENCE).unwrap();
    }
    assert_eq!(results(&deliveries), [Ok(0), Err(RDKafkaErrorCode::MessageSizeTooLarge), Ok(1)]);
    let [largest, _, small] = values;
    assert!(read_all(&ottla, "large") == [largest, small], "records come back whole");
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let first_ms = i64::try_from(now.as_millis()).unwrap() - 3_600_000;
    let (producer, _) = producer(&ottla, &[]);
    for i in 0..10 {
        let record = BaseRecord::<(), str>::to("times").partition(0).payload("x");
        producer.send(record.timestamp(first_ms + i * 1000)).unwrap();
        producer.flush(PATIENCE).unwrap();
    }
    let consumer: BaseConsumer = client(&ottla, &[("group.id", "times")]).create().unwrap();
    let check = |timestamp_ms: i64, expected: Offset| {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("times", 0, Offset::Offset(timestamp_ms)).unwrap();
        let found = consumer.offsets_for_times(asked, PATIENCE).unwrap();
        assert_eq!(found.find_partition("times", 0).unwrap().offset(), expected);
    };
    check(0, Offset::Offset(0));
    check(first_ms, Offset::Offset(0));
    check(first_ms + 1, Offset::Offset(1));
    check(first_ms + 5000, Offset::Offset(5));
    check(first_ms + 8500, Offset::Offset(9));
    check(first_ms + 9001, Offset::End);
    assert_eq!(consumer.fetch_watermarks("times", 0, PATIENCE).unwrap(), (0, 10));
}
