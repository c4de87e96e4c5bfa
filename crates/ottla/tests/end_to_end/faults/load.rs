//! Clients of librdkafka that are at work all the time. An idempotent producer numbers the records of each partition, and a
//! consumer that is there from the beginning sees each number once, in order, and at the offset that was acknowledged; one that
//! is not idempotent may say something twice, but what was acknowledged to it is where it was said to be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::super::deliveries::{Deliveries, Delivery};

pub const PARTITIONS: i32 = 3;
/// Of the idempotent producer.
pub const ONCE: &str = "once";
/// Of the other one.
pub const AT_LEAST_ONCE: &str = "at-least-once";
pub const TOPICS: [&str; 2] = [ONCE, AT_LEAST_ONCE];

/// Longer than any fault takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_millis(2);
const UNACKNOWLEDGED_MAX: usize = 20_000;

/// The settings that all clients have.
pub fn client(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let quick = [
        ("bootstrap.servers", bootstrap),
        // They look for a new leader only once in a second otherwise.
        ("topic.metadata.refresh.interval.ms", "200"),
        ("reconnect.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "200"),
        // A request to a node that stands still is given up.
        ("socket.timeout.ms", "10000"),
        ("log_level", "0"),
    ];
    let mut config = ClientConfig::new();
    for (key, value) in quick.iter().chain(settings) {
        config.set(*key, *value);
    }
    config
}

fn value(number: usize) -> String {
    format!("{number:0>20}")
}

fn number(value: &[u8]) -> usize {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// A producer at work.
struct Sending {
    producer: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Sending {
    fn start(
        bootstrap: &str,
        topic: &'static str,
        is_idempotent: bool,
        is_done: &Arc<AtomicBool>,
    ) -> Sending {
        let settings = [
            ("enable.idempotence", if is_idempotent { "true" } else { "false" }),
            ("acks", "all"),
            ("linger.ms", "1"),
            ("message.timeout.ms", "3600000"),
            ("retry.backoff.max.ms", "200"),
        ];
        let deliveries = Deliveries::default();
        let config = client(bootstrap, &settings);
        let producer: ThreadedProducer<Deliveries> = config.create_with_context(deliveries.clone()).unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (producer, sent, is_done) = (producer.clone(), Arc::clone(&sent), Arc::clone(is_done));
            let deliveries = deliveries.clone();
            std::thread::spawn(move || send(&producer, topic, &deliveries, &sent, &is_done))
        };
        Sending { producer, deliveries, sent, thread }
    }

    /// What was told of all that was sent; nothing was refused.
    fn finish(self) -> Vec<Delivery> {
        self.thread.join().unwrap();
        self.producer.flush(PATIENCE).unwrap();
        let (sent, told) = (self.sent.load(Ordering::Relaxed), self.deliveries.all());
        let refused = told.iter().find(|delivery| delivery.result.is_err());
        assert!(
            refused.is_none() && told.len() == sent,
            "{sent} were sent, {} told: {refused:?}",
            told.len()
        );
        told
    }
}

/// Numbers go to the partitions in turn.
fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    deliveries: &Deliveries,
    sent: &AtomicUsize,
    is_done: &AtomicBool,
) {
    let mut number = 0;
    while !is_done.load(Ordering::Relaxed) {
        let value = value(number);
        let partition = i32::try_from(number).unwrap() % PARTITIONS;
        let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&value);
        if number - deliveries.count() < UNACKNOWLEDGED_MAX && producer.send(record).is_ok() {
            number += 1;
            sent.store(number, Ordering::Relaxed);
        }
        std::thread::sleep(PAUSE);
    }
}

/// All that a consumer has read so far of one topic: numbers by partition and offset.
type Read = BTreeMap<(i32, i64), usize>;

/// Reads all partitions of a topic from their beginnings, until it is told to stop.
fn start_reading(
    bootstrap: &str,
    topic: &'static str,
    check: impl Fn(&Read, (i32, i64), usize) + Send + 'static,
    is_done: Arc<AtomicBool>,
) -> (JoinHandle<()>, Arc<Mutex<Read>>) {
    let settings = [("group.id", "reader"), ("enable.auto.commit", "false"), ("auto.offset.reset", "error")];
    let consumer: BaseConsumer = client(bootstrap, &settings).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let read = Arc::new(Mutex::new(Read::new()));
    let so_far = Arc::clone(&read);
    let thread = std::thread::spawn(move || {
        while !is_done.load(Ordering::Relaxed) {
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    let place = (message.partition(), message.offset());
                    let number = number(message.payload().unwrap());
                    let mut read = so_far.lock().unwrap();
                    check(&read, place, number);
                    read.insert(place, number);
                }
                Some(Err(error)) => assert!(is_passing(&error), "the consumer of {topic}: {error}"),
            }
        }
    });
    (thread, read)
}

/// What the client tells of brokers that are down is of no interest.
fn is_passing(error: &KafkaError) -> bool {
    let passing = [
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::RequestTimedOut,
        RDKafkaErrorCode::Resolve,
    ];
    matches!(error, KafkaError::MessageConsumption(code) if passing.contains(code))
}

/// See the module.
pub struct Load {
    sending: BTreeMap<&'static str, Sending>,
    reading: BTreeMap<&'static str, (JoinHandle<()>, Arc<Mutex<Read>>)>,
    is_done: Arc<AtomicBool>,
    is_read: Arc<AtomicBool>,
}

impl Load {
    pub fn start(bootstrap: &str) -> Load {
        let [is_done, is_read] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let sending = TOPICS.map(|topic| (topic, Sending::start(bootstrap, topic, topic == ONCE, &is_done)));
        let reading = TOPICS.map(|topic| {
            let check = if topic == ONCE { follows_the_last } else { |_: &Read, _, _| {} };
            (topic, start_reading(bootstrap, topic, check, Arc::clone(&is_read)))
        });
        Load { sending: sending.into(), reading: reading.into(), is_done, is_read }
    }

    /// How many records of [`ONCE`] have been told of.
    pub fn known(&self) -> usize {
        self.sending[ONCE].deliveries.count()
    }

    /// Waits until each partition of both topics has acknowledged so many records more.
    pub fn wait_for_progress(&self, more: usize, describe: impl Fn() -> String) {
        let deadline = Instant::now() + PATIENCE;
        let from = TOPICS.map(|topic| self.sending[topic].deliveries.count());
        let is_behind = || {
            TOPICS.iter().zip(from).any(|(topic, from)| {
                let told = self.sending[topic].deliveries.since(from);
                let count = |of: i32| told.iter().filter(|delivery| delivery.partition == of).count();
                (0..PARTITIONS).any(|partition| count(partition) < more)
            })
        };
        while is_behind() {
            assert!(
                self.reading.values().all(|(reader, _)| !reader.is_finished()),
                "a reader has complained"
            );
            assert!(Instant::now() < deadline, "it does not go on: {}", describe());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// For how long at most each partition of [`ONCE`] has acknowledged nothing since so many were known.
    pub fn longest_gaps(&self, known: usize) -> Vec<Duration> {
        let since = self.sending[ONCE].deliveries.since(known.saturating_sub(300));
        let gap = |partition: i32| {
            let of_partition = since.iter().filter(|delivery| delivery.partition == partition);
            let times: Vec<Instant> = of_partition.map(|delivery| delivery.at).collect();
            times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        };
        (0..PARTITIONS).map(gap).collect()
    }

    /// Nobody sends any more. Everything that was acknowledged is where it was said to be, and of [`ONCE`] there is nothing else.
    /// Returns how many records each topic has.
    pub fn finish(self) -> BTreeMap<&'static str, usize> {
        self.is_done.store(true, Ordering::Relaxed);
        let told: BTreeMap<_, _> =
            self.sending.into_iter().map(|(topic, sending)| (topic, sending.finish())).collect();
        for (topic, told) in &told {
            let (reader, read) = &self.reading[topic];
            let deadline = Instant::now() + PATIENCE;
            let missing = || {
                let read = read.lock().unwrap();
                told.iter().find(|delivery| !is_there(&read, delivery)).cloned()
            };
            while let Some(missing) = missing() {
                let is_read_on = !reader.is_finished() && Instant::now() < deadline;
                assert!(is_read_on, "{topic} lacks what was acknowledged: {missing:?}");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        self.is_read.store(true, Ordering::Relaxed);
        let counts = self.reading.into_iter().map(|(topic, (thread, read))| {
            thread.join().unwrap();
            (topic, read.lock().unwrap().len())
        });
        let counts: BTreeMap<_, _> = counts.collect();
        assert_eq!(counts[ONCE], told[ONCE].len(), "nothing is there twice");
        counts
    }
}

/// Where it was said to be. Of what was sent again long after it was written nobody says where that was.
fn is_there(read: &Read, delivery: &Delivery) -> bool {
    let (partition, number) = (delivery.partition, number(&delivery.value));
    match delivery.result {
        Ok(offset) if offset >= 0 => read.get(&(partition, offset)) == Some(&number),
        _ => read.get(&(partition, i64::try_from(number).unwrap() / i64::from(PARTITIONS))) == Some(&number),
    }
}

/// The numbers of an idempotent producer follow each other in each partition, and so do the offsets: none is a transaction's.
fn follows_the_last(read: &Read, (partition, offset): (i32, i64), number: usize) {
    let last = read.range((partition, 0)..=(partition, i64::MAX)).next_back();
    let next = last.map_or(0, |((_, last), _)| last + 1);
    let expected = i64::from(partition) + next * i64::from(PARTITIONS);
    assert_eq!((offset, number as i64), (next, expected), "partition {partition}");
}
