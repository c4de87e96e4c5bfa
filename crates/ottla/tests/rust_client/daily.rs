//! What applications use day by day: single records, records worked on side by side, streams of partitions, interceptors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_client::consumer::{
    CommittedOffset, Consumer, ConsumerError, ConsumerInterceptor, ConsumerRecord, ConsumerSettings,
    OffsetReset, Processing, ProcessingError,
};
use ottla_client::typed::{BigEndian, TypedTopic, Utf8};
use ottla_client::types::TopicPartition;
use ottla_client::{
    Client, ClientError, ClientSettings, OutgoingRecord, Producer, ProducerInterceptor, ProducerSettings,
    Record, RecordMetadata,
};
use ottla_record::OwnedHeader;
use tokio::sync::{Notify, oneshot};

use super::{connect, create_topic, launch};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: i64 = 10;

fn settings(bootstrap: &str) -> ConsumerSettings {
    ConsumerSettings {
        group_id: Some("g".to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        enable_auto_commit: false,
        heartbeat_interval_ms: 100,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    }
}

/// To each partition so many records, with their places as values and the last digits of these as keys.
async fn write(client: &Client, topic: &str, partitions: i32, count: i64) {
    let settings = ProducerSettings { client: client.settings().clone(), ..ProducerSettings::default() };
    let producer = Producer::with_client(client.clone(), settings).unwrap();
    let mut deliveries = Vec::new();
    for value in 0..count {
        let (key, value) = ((value % KEYS).to_string(), value.to_string());
        for partition in 0..partitions {
            let record = Record::to(topic).partition(partition).key(&key).value(&value);
            deliveries.push(producer.send(record).await.unwrap());
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

fn value(record: &ConsumerRecord) -> i64 {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

async fn patiently<T>(what: &str, until: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, until).await;
    done.unwrap_or_else(|_| panic!("{what}: not after a minute"))
}

async fn committed(consumer: &Consumer, topic: &str, partitions: i32) -> Vec<i64> {
    let names = (0..partitions).map(|partition| TopicPartition::new(topic, partition));
    let committed = consumer.committed(names.clone()).await.unwrap();
    names.map(|name| committed.get(&name).map_or(0, |committed| committed.position.offset.0)).collect()
}

/// What handlers have done, in the order in which they have.
#[derive(Clone, Default)]
struct Done {
    all: Arc<Mutex<Vec<(i32, i64)>>>,
    news: Arc<Notify>,
}

impl Done {
    fn add(&self, record: &ConsumerRecord) {
        self.all.lock().unwrap().push((record.partition(), value(record)));
        self.news.notify_waiters();
    }

    fn set(&self) -> BTreeSet<(i32, i64)> {
        self.all.lock().unwrap().iter().copied().collect()
    }

    async fn until(&self, is_enough: impl Fn(&BTreeSet<(i32, i64)>) -> bool) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if is_enough(&self.set()) {
                return;
            }
            news.await;
        }
    }
}

fn all(partitions: i32, count: i64) -> BTreeSet<(i32, i64)> {
    (0..partitions).flat_map(|partition| (0..count).map(move |value| (partition, value))).collect()
}

#[tokio::test]
async fn single_records_are_committed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 2).await;
    write(&client, "t", 2, 30).await;
    let start = || async {
        let mut consumer = Consumer::connect(settings(ottla.bootstrap())).await.unwrap();
        consumer.assign([0, 1].map(|partition| TopicPartition::new("t", partition))).unwrap();
        consumer
    };
    let mut consumer = start().await;
    let mut read = BTreeMap::from([(0, 0), (1, 0)]);
    let mut records = consumer.records();
    for _ in 0..37 {
        let record = patiently("the next record", records.record()).await.unwrap();
        assert_eq!(value(&record), read[&record.partition()], "in order");
        *read.get_mut(&record.partition()).unwrap() += 1;
    }
    records.commit().await.unwrap();
    drop(records);
    let places = vec![read[&0], read[&1]];
    assert_eq!(committed(&consumer, "t", 2).await, places);
    // What was not asked for comes again, here and elsewhere.
    let mut next = start().await;
    for consumer in [&mut consumer, &mut next] {
        let mut read = read.clone();
        let mut records = consumer.records();
        for _ in 37..60 {
            let record = patiently("the next record", records.record()).await.unwrap();
            assert_eq!(value(&record), read[&record.partition()]);
            *read.get_mut(&record.partition()).unwrap() += 1;
        }
        assert_eq!(read, BTreeMap::from([(0, 30), (1, 30)]));
    }
    consumer.close(PATIENCE).await.unwrap();
    next.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn records_of_a_key_are_worked_on_in_order_and_what_is_done_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 2).await;
    write(&client, "t", 2, 100).await;
    let mut consumer = Consumer::connect(settings(ottla.bootstrap())).await.unwrap();
    consumer.subscribe(["t"]).unwrap();

    // First one that can't be done.
    let done = Done::default();
    let handler = |record: ConsumerRecord| {
        let done = done.clone();
        async move {
            if (record.partition(), value(&record)) == (1, 50) {
                return Err("no");
            }
            done.add(&record);
            Ok(())
        }
    };
    let ended = consumer.process(Processing::default(), handler, std::future::pending());
    match patiently("it fails", ended).await.unwrap_err() {
        ProcessingError::Handler { partition, offset, error } => {
            assert_eq!((partition, offset.0, error), (TopicPartition::new("t", 1), 50, "no"));
        }
        other => panic!("{other}"),
    }
    let places = committed(&consumer, "t", 2).await;
    assert!(places[1] <= 50, "{places:?}");
    for (partition, offset) in (0..).zip(&places) {
        assert!((0..*offset).all(|value| done.set().contains(&(partition, value))), "{places:?}");
    }

    // Then on from there, with little in flight, so that partitions are paused and resumed.
    let again = Done::default();
    let handler = |record: ConsumerRecord| {
        let again = again.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(u64::try_from(value(&record) % 3).unwrap())).await;
            again.add(&record);
            Ok::<_, ClientError>(())
        }
    };
    let left: BTreeSet<(i32, i64)> =
        all(2, 100).into_iter().filter(|(partition, value)| *value >= places[*partition as usize]).collect();
    let processing = Processing { concurrency: 6, in_flight_max: 20, ..Processing::default() };
    let stop = again.until(|done| done.is_superset(&left));
    patiently("all are done", consumer.process(processing, handler, stop)).await.unwrap();
    assert_eq!(again.set(), left, "nothing that was committed, and nothing is left out");
    let order = again.all.lock().unwrap().clone();
    for partition in 0..2 {
        for key in 0..KEYS {
            let of_key = order.iter().filter(|(of, value)| (*of, value % KEYS) == (partition, key));
            assert!(of_key.is_sorted(), "{order:?}");
        }
    }
    assert_eq!(committed(&consumer, "t", 2).await, [100, 100]);
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn members_that_work_on_records_hand_partitions_over() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 4).await;
    write(&client, "t", 4, 100).await;
    let done = Done::default();
    let member = |strategy: &str| {
        let settings = ConsumerSettings {
            partition_assignment_strategy: vec![strategy.to_owned()],
            ..settings(ottla.bootstrap())
        };
        let (done, (stop, stopped)) = (done.clone(), oneshot::channel::<()>());
        let task = tokio::spawn(async move {
            let mut consumer = Consumer::connect(settings).await.unwrap();
            consumer.subscribe(["t"]).unwrap();
            let handler = |record: ConsumerRecord| {
                let done = done.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    done.add(&record);
                    Ok::<_, ClientError>(())
                }
            };
            let processing = Processing { concurrency: 4, ..Processing::default() };
            match consumer.process(processing, handler, async { drop(stopped.await) }).await {
                // It may be asked to stop in the middle of a rebalance.
                Ok(()) | Err(ProcessingError::Consumer(ConsumerError::NotAMember(_))) => consumer,
                Err(error) => panic!("{error}"),
            }
        });
        (task, stop)
    };
    let (first, stop_first) = member("cooperative-sticky");
    patiently("the first has begun", done.until(|done| !done.is_empty())).await;
    let (second, stop_second) = member("cooperative-sticky");
    patiently("all are done", done.until(|done| *done == all(4, 100))).await;
    stop_first.send(()).unwrap();
    let first = patiently("the first has ended", first).await.unwrap();
    first.close(PATIENCE).await.unwrap();
    stop_second.send(()).unwrap();
    let second = patiently("the second has ended", second).await.unwrap();
    second.close(PATIENCE).await.unwrap();

    // Between the two, something may have been done twice and not committed; who comes next finishes it.
    let mut last = Consumer::connect(settings(ottla.bootstrap())).await.unwrap();
    let partitions = (0..4).map(|partition| TopicPartition::new("t", partition));
    last.assign(partitions).unwrap();
    let places = committed(&last, "t", 4).await;
    for (partition, offset) in (0..).zip(&places) {
        assert!((0..=100).contains(offset), "{places:?}");
        assert!((0..*offset).all(|value| done.set().contains(&(partition, value))));
    }
    last.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn streams_of_partitions_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 3).await;
    write(&client, "t", 3, 100).await;
    let mut consumer =
        Consumer::connect(ConsumerSettings { max_poll_records: 10, ..settings(ottla.bootstrap()) })
            .await
            .unwrap();
    consumer.subscribe(["t"]).unwrap();
    let mut streams = consumer.into_partition_streams(20, Duration::from_millis(20)).unwrap();
    let done = Done::default();
    let (go_on, waits) = oneshot::channel::<()>();
    let mut waits = Some(waits);
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut records = patiently("the next stream", streams.next()).await.unwrap().unwrap();
        let held_up = (records.partition().partition == 0).then(|| waits.take().unwrap());
        let done = done.clone();
        readers.push(tokio::spawn(async move {
            if let Some(held_up) = held_up {
                held_up.await.unwrap();
            }
            let mut next = 0;
            while let Some(record) = records.record().await {
                assert_eq!((record.partition(), value(&record)), (records.partition().partition, next));
                next += 1;
                done.add(&record);
            }
        }));
    }
    let others: BTreeSet<(i32, i64)> =
        all(3, 100).into_iter().filter(|(partition, _)| *partition != 0).collect();
    patiently("the others are through", done.until(|done| *done == others)).await;
    go_on.send(()).unwrap();
    patiently("all are through", done.until(|done| *done == all(3, 100))).await;
    patiently("it closes", streams.close(PATIENCE)).await.unwrap();
    for reader in readers {
        patiently("a reader ends with its stream", reader).await.unwrap();
    }
    let after = Consumer::connect(settings(ottla.bootstrap())).await.unwrap();
    assert_eq!(committed(&after, "t", 3).await, [100, 100, 100]);
    after.close(PATIENCE).await.unwrap();
}

/// Numbers what is sent, and notes what it hears.
#[derive(Debug, Default)]
struct Sees {
    sent: Mutex<u64>,
    acknowledged: Mutex<Vec<Result<i64, String>>>,
    committed: Mutex<Vec<i64>>,
}

impl ProducerInterceptor for Sees {
    fn on_send(&self, record: &mut OutgoingRecord) {
        let mut sent = self.sent.lock().unwrap();
        record.headers.push(OwnedHeader { key: "number".into(), value: Some(sent.to_string().into()) });
        *sent += 1;
    }

    fn on_acknowledgement(&self, topic: &str, _: Option<i32>, result: Result<&RecordMetadata, &ClientError>) {
        assert_eq!(topic, "t");
        let result = result.map(|written| written.offset.0).map_err(ToString::to_string);
        self.acknowledged.lock().unwrap().push(result);
    }
}

impl ConsumerInterceptor for Sees {
    fn on_consume(&self, records: &mut Vec<ConsumerRecord>) {
        records.retain(|record| record.offset.0 % 2 == 0);
    }

    fn on_commit(&self, offsets: &BTreeMap<TopicPartition, CommittedOffset>) {
        self.committed.lock().unwrap().extend(offsets.values().map(|committed| committed.position.offset.0));
    }
}

#[tokio::test]
async fn interceptors_see_typed_records_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 1).await;
    let topic = TypedTopic::<String, i64, _, _>::new("t", Utf8, BigEndian);
    let sees = Arc::new(Sees::default());
    let producer = Producer::with_client(
        client.clone(),
        ProducerSettings { interceptors: vec![sees.clone()], ..ProducerSettings::new(ottla.bootstrap()) },
    )
    .unwrap();
    for value in 0..10 {
        let written = topic.send(&producer, &"k".to_owned(), &(value * 100)).await.unwrap().await.unwrap();
        assert_eq!(written.offset.0, value);
    }
    let large = vec![0; 2 << 20];
    producer.send(Record::to("t").value(&large)).await.unwrap_err();
    let heard = async {
        while sees.acknowledged.lock().unwrap().len() < 11 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    patiently("all is heard of", heard).await;
    let acknowledged = sees.acknowledged.lock().unwrap().clone();
    let written: BTreeSet<i64> = acknowledged.iter().filter_map(|result| result.clone().ok()).collect();
    assert_eq!(written, (0..10).collect());
    assert!(
        acknowledged.iter().any(|result| result.as_ref().is_err_and(|why| why.contains("max.request.size")))
    );

    let mut consumer = Consumer::connect(ConsumerSettings {
        interceptors: vec![sees.clone()],
        max_poll_records: 1,
        ..settings(ottla.bootstrap())
    })
    .await
    .unwrap();
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    let mut seen = Vec::new();
    let mut records = consumer.records();
    for _ in 0..5 {
        let record = patiently("the next record", records.record()).await.unwrap();
        let header = record.headers[0].value.clone().unwrap();
        assert_eq!(std::str::from_utf8(&header).unwrap(), record.offset.0.to_string());
        let record = topic.decode(record).unwrap();
        assert_eq!(record.key, "k");
        seen.push(record.value);
    }
    assert_eq!(seen, [0, 200, 400, 600, 800]);
    records.commit().await.unwrap();
    drop(records);
    assert_eq!(*sees.committed.lock().unwrap(), [9]);
    consumer.close(PATIENCE).await.unwrap();
}
