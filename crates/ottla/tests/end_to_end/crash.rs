//! The process is killed again and again while clients work: what was acknowledged is there in the end, once and in order.
//!
//! A kill loses nothing that the operating system has taken, so nothing acknowledged may be missing. It does cut off appends,
//! checkpoints and indexes at any point, which recovery must mend, and answers, which makes clients send again what is stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_testkit::{Launch, Ottla, free_port};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::administering::create_topic;
use super::clients::{client, next};
use super::deliveries::Deliveries;
use super::launch;

/// How often the process is killed, for a longer run than the usual one.
const CRASHES: &str = "OTTLA_CRASHES";

const CRASHES_BY_DEFAULT: usize = 3;

/// For what must come, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(120);

const TOPIC: &str = "survivors";

const PARTITIONS: i32 = 3;

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

fn node(dir: &Path) -> Launch {
    launch(dir)
        // Clients come back to the same port.
        .listening_on(free_port(), free_port())
        // The least that is allowed, so that segments are rolled between kills.
        .set("log.segment.bytes", "1048576")
        // Checkpoints are written all the time, so that kills meet them.
        .set("log.initial.task.delay.ms", "10")
        .set("log.flush.offset.checkpoint.interval.ms", "50")
        .set("replica.high.watermark.checkpoint.interval.ms", "50")
}

fn values(sent: usize, partition: i32) -> Vec<Vec<u8>> {
    let all = (0..sent).map(|number| (partition_of(number), value(number)));
    all.filter(|(of, _)| *of == partition).map(|(_, value)| value).collect()
}

fn partition_of(number: usize) -> i32 {
    i32::try_from(number).unwrap() % PARTITIONS
}

fn value(number: usize) -> Vec<u8> {
    format!("{number:0>9}").repeat(30).into_bytes()
}

/// Sends numbered records until it is told to stop; says how many it has sent.
fn start_sending(producer: ThreadedProducer<Deliveries>, is_done: Arc<AtomicBool>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut sent = 0;
        while !is_done.load(Ordering::Relaxed) {
            let value = value(sent);
            let record = BaseRecord::<(), [u8]>::to(TOPIC).partition(partition_of(sent)).payload(&value);
            match producer.send(record) {
                Ok(()) => sent += 1,
                // Its queue is full.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
            if sent % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    })
}

/// What a group was told that it has committed.
#[derive(Default)]
struct Committed {
    times: usize,
    last: Offsets,
}

/// Reads as a member of a group and commits as it goes, until it is told to stop.
fn start_committing(
    consumer: BaseConsumer,
    committed: Arc<Mutex<Committed>>,
    is_done: Arc<AtomicBool>,
) -> JoinHandle<()> {
    consumer.subscribe(&[TOPIC]).unwrap();
    std::thread::spawn(move || {
        let mut next = Offsets::new();
        let mut read = 0;
        while !is_done.load(Ordering::Relaxed) {
            // Errors are of a node that is away.
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
            next.insert(message.partition(), message.offset() + 1);
            read += 1;
            if read % 100 == 0 && consumer.commit(&offset_list(&next), CommitMode::Sync).is_ok() {
                let mut committed = committed.lock().unwrap();
                committed.times += 1;
                committed.last.append(&mut next);
            }
        }
    })
}

fn offset_list(offsets: &Offsets) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (&partition, &offset) in offsets {
        list.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).unwrap();
    }
    list
}

fn stored(ottla: &Ottla, partition: i32) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = client(ottla, &[("group.id", "reader")]).create().unwrap();
    let (low, high) = consumer.fetch_watermarks(TOPIC, partition, PATIENCE).unwrap();
    assert_eq!(low, 0);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut values = Vec::new();
    while (values.len() as i64) < high {
        let message = next(&consumer);
        assert_eq!(message.offset(), values.len() as i64, "no offset is left out");
        values.push(message.payload().unwrap().to_vec());
    }
    values
}

fn check_stored(ottla: &Ottla, sent: usize) {
    for partition in 0..PARTITIONS {
        let (expected, stored) = (values(sent, partition), stored(ottla, partition));
        let differ_at = expected.iter().zip(&stored).position(|(expected, stored)| expected != stored);
        let text = |values: &[Vec<u8>]| {
            let at = differ_at.unwrap_or(0);
            let near: Vec<_> = values.iter().skip(at.saturating_sub(2)).take(5).collect();
            near.iter().map(|value| String::from_utf8_lossy(&value[..9]).into_owned()).collect::<Vec<_>>()
        };
        assert!(
            expected == stored,
            "partition {partition}: {} sent, {} stored, first difference {differ_at:?}: {:?} sent, {:?} stored; log:\n{}",
            expected.len(),
            stored.len(),
            text(&expected),
            text(&stored),
            ottla.log()
        );
    }
}

/// Every record was acknowledged once, with the offset that it has. Records of requests that were in flight together may be
/// told in any order.
fn check_deliveries(deliveries: &Deliveries, sent: usize) {
    let offset = |number: usize| i64::try_from(number).unwrap() / i64::from(PARTITIONS);
    let expected: BTreeMap<_, _> = (0..sent).map(|number| (value(number), Ok(offset(number)))).collect();
    let told: BTreeMap<_, _> =
        deliveries.all().into_iter().map(|delivery| (delivery.value, delivery.result)).collect();
    assert_eq!(deliveries.count(), sent);
    let wrong = told.iter().find(|(value, result)| expected.get(*value) != Some(result));
    assert!(wrong.is_none() && told.len() == sent, "{wrong:?}");
}

fn check_committed(ottla: &Ottla, acknowledged: &Offsets) {
    let consumer: BaseConsumer = client(ottla, &[("group.id", "committers")]).create().unwrap();
    let committed = consumer.committed_offsets(offset_list(acknowledged), PATIENCE).unwrap();
    for (&partition, &acknowledged) in acknowledged {
        match committed.find_partition(TOPIC, partition).unwrap().offset() {
            // An answer may have been lost of a commit that wasn't.
            Offset::Offset(found) => assert!(found >= acknowledged, "{found} < {acknowledged}"),
            other => panic!("partition {partition} was committed at {acknowledged}, but is at {other:?}"),
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kills() {
    let crashes = std::env::var(CRASHES).map_or(CRASHES_BY_DEFAULT, |text| text.parse().expect("a number"));
    let mut dir = tempfile::tempdir().unwrap();
    // A failure leaves the data behind, to be looked at.
    dir.disable_cleanup(true);
    println!("data: {}", dir.path().display());
    let launch = node(dir.path());
    let mut ottla = launch.start();

    create_topic(&ottla, TOPIC, PARTITIONS);
    let come_back = [("reconnect.backoff.ms", "20"), ("reconnect.backoff.max.ms", "200"), ("log_level", "0")];
    let of_producer = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", "1"),
        ("batch.num.messages", "50"),
        ("message.timeout.ms", "600000"),
    ];
    let of_consumer =
        [("group.id", "committers"), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> = client(&ottla, &[&come_back[..], &of_producer].concat())
        .create_with_context(deliveries.clone())
        .unwrap();
    let consumer = client(&ottla, &[&come_back[..], &of_consumer].concat()).create().unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let sending = start_sending(producer.clone(), Arc::clone(&is_done));
    let committed = Arc::new(Mutex::new(Committed::default()));
    let committing = start_committing(consumer, Arc::clone(&committed), Arc::clone(&is_done));

    let wait_for_progress = |ottla: &Ottla, deliveries_more: usize| {
        let commits = || committed.lock().unwrap().times;
        let (deliveries_before, commits_before) = (deliveries.count(), commits());
        let deadline = Instant::now() + PATIENCE;
        while deliveries.count() < deliveries_before + deliveries_more || commits() == commits_before {
            assert!(
                Instant::now() < deadline,
                "{} more acknowledged, {} more commits; the log:\n{}",
                deliveries.count() - deliveries_before,
                commits() - commits_before,
                ottla.log()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    for crash in 0..crashes {
        // Each kill comes at another moment of the work.
        wait_for_progress(&ottla, 1000 + 137 * (crash % 11));
        ottla.kill();
        // Recovery may be cut off as well.
        if crash % 3 == 1 {
            launch.start_and_kill(Duration::from_millis(u64::try_from(crash % 16).unwrap() * 10));
        }
        ottla = launch.start();
    }
    wait_for_progress(&ottla, 1000);
    is_done.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    committing.join().unwrap();
    let acknowledged = committed.lock().unwrap().last.clone();
    producer.flush(PATIENCE).unwrap();

    check_stored(&ottla, sent);
    check_committed(&ottla, &acknowledged);
    check_deliveries(&deliveries, sent);

    assert!(ottla.stop().success());
    let ottla = launch.start();
    check_stored(&ottla, sent);
    check_committed(&ottla, &acknowledged);
    assert!(ottla.stop().success());
    dir.disable_cleanup(false);
}
