//! Clients of topics with thousands of partitions: what they hold, how many connections they have, and that nothing waits for ever
//! behind others. In memory, on virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ApiKey;
use tokio::time::sleep;

use crate::consumer::{Consumer, ConsumerSettings, GroupProtocol, OffsetReset};
use crate::effects::{Fake, Fate};
use crate::{ClientSettings, Producer, ProducerSettings, Record, TrySendReason};

const PARTITIONS: usize = 4_000;
const NODES: [i32; 3] = [1, 2, 3];
const RECORDS: usize = 5;

/// Partitions of a topic `t` on several nodes.
fn wide() -> (Fake, ClientSettings) {
    let fake = Fake::new();
    fake.with(|state| state.nodes = NODES.to_vec());
    fake.topic("t", PARTITIONS);
    let client =
        ClientSettings { connector: Some(Arc::new(fake.clone())), ..ClientSettings::new("boot:9092") };
    (fake, client)
}

/// Those that are open.
fn connections(fake: &Fake) -> usize {
    fake.with(|state| state.dialed.len() - state.closed.len())
}

async fn producer(client: ClientSettings, buffer_bytes: usize) -> Producer {
    let settings = ProducerSettings { client, buffer_bytes, ..ProducerSettings::default() };
    let producer = Producer::start(settings).unwrap();
    assert_eq!(producer.partitions("t").await.unwrap().partitions.len(), PARTITIONS);
    producer
}

/// One record of each partition after the other.
fn record(number: usize, value: &[u8]) -> Record<'_> {
    Record::to("t").partition(i32::try_from(number % PARTITIONS).unwrap()).value(value)
}

#[tokio::test(start_paused = true)]
async fn a_producer_holds_no_more_than_it_may() {
    const BUFFER_BYTES: usize = 4 << 20;
    const VALUE_BYTES: usize = 1_000;
    let (fake, client) = wide();
    fake.on_request(|seen| match seen.api {
        ApiKey::Produce => Fate::Unanswered,
        _ => Fate::Answered,
    });
    let producer = producer(client, BUFFER_BYTES).await;
    let mut taken_bytes = 0;
    for number in 0.. {
        match producer.try_send(record(number, &[b'x'; VALUE_BYTES])) {
            Ok(_) => taken_bytes += VALUE_BYTES,
            Err(error) => {
                assert_eq!(error.reason, TrySendReason::Full, "{error}");
                break;
            }
        }
        assert!(taken_bytes <= BUFFER_BYTES, "{taken_bytes}");
    }
    assert!(taken_bytes > 0);
    sleep(Duration::from_secs(10)).await;
    assert!(connections(&fake) <= NODES.len() + 1, "{}", connections(&fake));
}

#[tokio::test(start_paused = true)]
async fn a_producer_reaches_all_of_them() {
    // Less than a batch of each takes.
    const BUFFER_BYTES: usize = 256 << 10;
    let (fake, client) = wide();
    let producer = producer(client, BUFFER_BYTES).await;
    let mut deliveries = Vec::new();
    for number in 0..2 * PARTITIONS {
        deliveries.push(producer.send(record(number, &[b'x'; 100])).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    fake.with(|state| assert!(state.topics["t"].logs.iter().all(|log| log.produced > 0)));
    assert!(connections(&fake) <= NODES.len() + 1, "{}", connections(&fake));
    producer.close(Duration::from_secs(10)).await.unwrap();
}

async fn reads_all_and_fetches_little_ahead(group_protocol: GroupProtocol) {
    const FETCH_BYTES: usize = 64 << 10;
    let (fake, client) = wide();
    (0..PARTITIONS).for_each(|partition| fake.load("t", partition, RECORDS));
    let batch_bytes = fake.with(|state| state.topics["t"].logs[0].batch.len());
    let mut consumer = Consumer::connect(ConsumerSettings {
        group_id: Some("g".to_owned()),
        group_protocol,
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        fetch_max_bytes: i32::try_from(FETCH_BYTES).unwrap(),
        ..ConsumerSettings::new(client)
    })
    .await
    .unwrap();
    consumer.subscribe(["t"]).unwrap();
    let mut read = BTreeSet::new();
    while read.len() < PARTITIONS * RECORDS {
        let records = consumer.poll(Duration::from_secs(60)).await.unwrap();
        assert!(!records.is_empty(), "{} records were read, and no more come", read.len());
        for record in records {
            assert!(read.insert((record.partition(), record.offset.value())), "{record:?} is read twice");
        }
        // Time to fetch ahead, for whoever goes on without being asked.
        if read.len() % 1_000 == 0 {
            sleep(Duration::from_secs(10)).await;
        }
        // What is on its way or waits for the owner, with a first batch of each node that is larger than was asked for.
        let ahead = fake.with(|state| state.fetched_bytes).saturating_sub(read.len() * batch_bytes / RECORDS);
        assert!(ahead <= 2 * FETCH_BYTES + (NODES.len() + 1) * batch_bytes, "{ahead} bytes are held");
        // Fetches and commits have their own ones.
        assert!(connections(&fake) <= 2 * NODES.len() + 2, "{}", connections(&fake));
    }
    assert_eq!(read.len(), PARTITIONS * RECORDS);
    consumer.commit().await.unwrap();
    consumer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_classic_member_reads_all_and_fetches_little_ahead() {
    reads_all_and_fetches_little_ahead(GroupProtocol::Classic).await;
}

#[tokio::test(start_paused = true)]
async fn a_modern_member_reads_all_and_fetches_little_ahead() {
    reads_all_and_fetches_little_ahead(GroupProtocol::Consumer).await;
}
