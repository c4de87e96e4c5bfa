//! Transactions of librdkafka's producers: seen whole or not at all, also where the process is killed among them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_testkit::{Launch, Ottla, free_port};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::administering::create_topic;
use super::clients::client;
use super::launch;

const PATIENCE: Duration = Duration::from_secs(60);
/// How often the process is killed, for a longer run than the usual one.
const CRASHES: &str = "OTTLA_CRASHES";
const CRASHES_BY_DEFAULT: usize = 4;
/// Of what is drawn by lot: when it is killed, what is given up, who takes over when.
const SEED: &str = "OTTLA_SEED";
/// Records that one transaction copies.
const RECORDS_A_TRANSACTION: usize = 10;
/// Transactions between two kills.
const TRANSACTIONS_A_CRASH: usize = 7;

fn producer(ottla: &Ottla, id: &str) -> BaseProducer {
    let producer: BaseProducer =
        client(ottla, &[("transactional.id", id), ("linger.ms", "1")]).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

pub(super) fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &str) -> KafkaResult<()> {
    let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(error, _)| error)
}

/// The values of a partition up to the end that a reader of this isolation is told.
pub(super) fn read(ottla: &Ottla, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
    let settings = [("group.id", "reader"), ("isolation.level", isolation), ("enable.partition.eof", "true")];
    let consumer: BaseConsumer = client(ottla, &settings).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut values = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no end of {topic}-{partition}\n{}", ottla.log());
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return values,
            Some(Err(_)) | None => {}
        }
    }
}

#[test]
fn readers_see_what_is_committed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    create_topic(&ottla, "t", 2);
    let producer = producer(&ottla, "id");
    for round in 0..6 {
        producer.begin_transaction().unwrap();
        for partition in 0..2 {
            send(&producer, "t", partition, &round.to_string()).unwrap();
        }
        if round % 2 == 0 {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.flush(PATIENCE).unwrap();
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "open").unwrap();
    producer.flush(PATIENCE).unwrap();
    for partition in 0..2 {
        assert_eq!(read(&ottla, "t", partition, "read_committed"), ["0", "2", "4"]);
    }
    assert_eq!(read(&ottla, "t", 0, "read_uncommitted"), ["0", "1", "2", "3", "4", "5", "open"]);
    assert!(ottla.stop().success());
}

#[test]
fn a_second_producer_of_an_id_fences_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    create_topic(&ottla, "t", 1);
    let first = producer(&ottla, "id");
    first.begin_transaction().unwrap();
    send(&first, "t", 0, "first").unwrap();
    first.flush(PATIENCE).unwrap();
    let second = producer(&ottla, "id");
    let _ = send(&first, "t", 0, "late");
    let _ = first.flush(PATIENCE);
    assert!(first.commit_transaction(PATIENCE).is_err());
    second.begin_transaction().unwrap();
    send(&second, "t", 0, "second").unwrap();
    second.commit_transaction(PATIENCE).unwrap();
    assert_eq!(read(&ottla, "t", 0, "read_committed"), ["second"]);
}

/// Copies `in` to `out`, each record in one transaction with the position behind it. One copier takes over from another by
/// the transactional id that they share: who came before goes on until it notices.
pub(super) struct Copying {
    config: ClientConfig,
    pub(super) count: usize,
    pub(super) copied: AtomicUsize,
    aborted: AtomicUsize,
    copiers: AtomicUsize,
    pub(super) is_given_up: AtomicBool,
}

impl Copying {
    /// Copies `count` records, by clients with this configuration.
    pub(super) fn new(mut config: ClientConfig, count: usize) -> Arc<Copying> {
        let come_back = [
            ("reconnect.backoff.ms", "20"),
            ("reconnect.backoff.max.ms", "200"),
            ("retry.backoff.ms", "20"),
            ("log_level", "0"),
        ];
        for (key, value) in come_back {
            config.set(key, value);
        }
        Arc::new(Copying {
            config,
            count,
            copied: AtomicUsize::new(0),
            aborted: AtomicUsize::new(0),
            copiers: AtomicUsize::new(0),
            is_given_up: AtomicBool::new(false),
        })
    }

    pub(super) fn start_copier(self: &Arc<Self>, seed: u64) -> JoinHandle<()> {
        let copying = Arc::clone(self);
        let number = 1 + self.copiers.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(move || copying.run(number, &mut Random(seed)))
    }

    /// Goes on after any error with a new producer, which ends what the one before has left, unless another has taken over.
    fn run(&self, number: usize, random: &mut Random) {
        let is_last = || self.copiers.load(Ordering::Relaxed) == number;
        let is_done = || self.copied.load(Ordering::Relaxed) == self.count;
        while is_last() && !is_done() && !self.is_given_up.load(Ordering::Relaxed) {
            if let Err(error) = self.copy(random) {
                println!("copier {number}: {error}");
            }
        }
    }

    /// Copies until all is done, or a transaction is aborted, as a tenth of them are.
    fn copy(&self, random: &mut Random) -> KafkaResult<()> {
        let mut of_producer = self.config.clone();
        let producer: BaseProducer = of_producer.set("transactional.id", "copier").create()?;
        producer.init_transactions(PATIENCE)?;
        let consumer = self.consumer()?;
        let mut position = committed(&consumer)?;
        // The answer to the last commit of whoever was before may have been lost.
        self.copied.fetch_max(position, Ordering::Relaxed);
        consumer.assign(&positions(position)?)?;
        while position < self.count {
            let end = self.count.min(position + RECORDS_A_TRANSACTION);
            producer.begin_transaction()?;
            for number in position..end {
                let message = next(&consumer)?;
                assert_eq!(message.offset(), number as i64);
                let value = std::str::from_utf8(message.payload().unwrap()).unwrap();
                send(&producer, "out", number as i32 % 3, value)?;
            }
            let group = consumer.group_metadata().expect("a group");
            producer.send_offsets_to_transaction(&positions(end)?, &group, PATIENCE)?;
            if random.below(10) == 0 {
                producer.flush(PATIENCE)?;
                producer.abort_transaction(PATIENCE)?;
                self.aborted.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            producer.commit_transaction(PATIENCE)?;
            position = end;
            self.copied.fetch_max(position, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn consumer(&self) -> KafkaResult<BaseConsumer> {
        let mut config = self.config.clone();
        config
            .set("group.id", "copiers")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
    }
}

/// The next record. Errors are of a node that is away; it comes back, or the test ends.
fn next(consumer: &BaseConsumer) -> KafkaResult<BorrowedMessage<'_>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.poll(Duration::from_secs(1)) {
            Some(message) => return message,
            None if Instant::now() > deadline => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {}
        }
    }
}

fn positions(position: usize) -> KafkaResult<TopicPartitionList> {
    let mut positions = TopicPartitionList::new();
    positions.add_partition_offset("in", 0, Offset::Offset(position as i64))?;
    Ok(positions)
}

/// Where the group stands; at the start if it is nowhere.
pub(super) fn committed(consumer: &BaseConsumer) -> KafkaResult<usize> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition("in", 0);
    let found = consumer.committed_offsets(wanted, PATIENCE)?;
    Ok(match found.find_partition("in", 0).map(|partition| partition.offset()) {
        Some(Offset::Offset(offset)) => usize::try_from(offset).unwrap(),
        _ => 0,
    })
}

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn node(dir: &Path) -> Launch {
    // Clients come back to the same port.
    launch(dir).listening_on(free_port(), free_port())
}

#[test]
fn every_record_is_copied_once_though_the_process_is_killed() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let crashes = number(CRASHES).map_or(CRASHES_BY_DEFAULT, |crashes| usize::try_from(crashes).unwrap());
    let seed = number(SEED).unwrap_or(1);
    println!("{SEED}={seed}");
    let mut random = Random(seed);
    let count = (crashes + 1) * TRANSACTIONS_A_CRASH * RECORDS_A_TRANSACTION;
    let dir = tempfile::tempdir().unwrap();
    let launch = node(dir.path());
    let mut ottla = launch.start();
    create_topic(&ottla, "in", 1);
    create_topic(&ottla, "out", 3);
    let plain: BaseProducer = client(&ottla, &[]).create().unwrap();
    let values: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    for value in &values {
        send(&plain, "in", 0, value).unwrap();
    }
    plain.flush(PATIENCE).unwrap();

    let copying = Copying::new(client(&ottla, &[]), count);
    let mut copiers = vec![copying.start_copier(random.below(u64::MAX))];
    let wait_for = |ottla: &Ottla, transactions: usize| {
        let wanted = transactions * RECORDS_A_TRANSACTION;
        let deadline = Instant::now() + 2 * PATIENCE;
        while copying.copied.load(Ordering::Relaxed) < wanted {
            if Instant::now() > deadline {
                copying.is_given_up.store(true, Ordering::Relaxed);
                panic!("{} of {wanted}; the log:\n{}", copying.copied.load(Ordering::Relaxed), ottla.log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    for crash in 1..=crashes {
        // Each takeover and each kill comes at another moment of a transaction.
        wait_for(&ottla, crash * TRANSACTIONS_A_CRASH - 3);
        std::thread::sleep(Duration::from_millis(random.below(40)));
        copiers.push(copying.start_copier(random.below(u64::MAX)));
        wait_for(&ottla, crash * TRANSACTIONS_A_CRASH);
        std::thread::sleep(Duration::from_millis(random.below(40)));
        ottla.kill();
        ottla = launch.start();
    }
    wait_for(&ottla, count / RECORDS_A_TRANSACTION);
    for copier in copiers {
        copier.join().unwrap();
    }
    println!("{crashes} kills, {} copiers", copying.copiers.load(Ordering::Relaxed));
    println!("{} transactions aborted", copying.aborted.load(Ordering::Relaxed));

    let mut copied: Vec<usize> = Vec::new();
    for partition in 0..3 {
        let values = read(&ottla, "out", partition, "read_committed");
        copied.extend(values.iter().map(|value| value.parse::<usize>().unwrap()));
    }
    copied.sort_unstable();
    assert_eq!(copied, (0..count).collect::<Vec<_>>());
    assert_eq!(committed(&copying.consumer().unwrap()).unwrap(), count);
    assert!(ottla.stop().success());
}
