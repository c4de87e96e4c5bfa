//! Three processes that keep copies of each other's partitions. One is killed again and again while a producer works: what was
//! acknowledged by all in-sync replicas is there, once and in order, and the process that comes back has it as well.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_wire::messages::{CreateTopicsRequest, create_topics_request, metadata_response};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::client;
use super::cluster::{Cluster, ask, metadata};
use super::deliveries::{Deliveries, Delivery};

/// How often a process is killed, for a longer run than the usual one.
const FAILOVERS: &str = "OTTLA_FAILOVERS";
const FAILOVERS_BY_DEFAULT: usize = 3;

const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "kept";
const PARTITIONS: i32 = 3;

/// With all brokers as replicas.
pub(super) fn create(cluster: &Cluster, name: &str, partitions: i32) {
    let config = create_topics_request::Config {
        name: "min.insync.replicas".to_owned(),
        value: Some("2".to_owned()),
        ..Default::default()
    };
    let topic = create_topics_request::Topic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 3,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let response = ask(cluster.ottla(1).bootstrap(), &request, 7).expect("the broker answers");
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
}

/// In their order, as the first broker that runs knows them; none where there are none.
pub(super) fn partitions(cluster: &Cluster, topic: &str) -> Option<Vec<metadata_response::Partition>> {
    let through = *cluster.brokers().first()?;
    let mut partitions = metadata(cluster.ottla(through).bootstrap(), topic)?.topics.remove(0).partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    (!partitions.is_empty()).then_some(partitions)
}

pub(super) fn wait_until_in_sync(cluster: &Cluster, topic: &str) {
    cluster.until(|| {
        let partitions = partitions(cluster, topic)?;
        let is_whole = |partition: &metadata_response::Partition| {
            partition.isr_nodes.len() == 3 && partition.leader_id >= 0
        };
        partitions.iter().all(is_whole).then_some(())
    });
}

/// Of clients that find the cluster through any node.
pub(super) fn clients(cluster: &Cluster, settings: &[(&str, &str)]) -> ClientConfig {
    let bootstrap: Vec<String> = [1, 2, 3].map(|id| cluster.ottla(id).bootstrap().to_owned()).into();
    let mut config = client(cluster.ottla(1), settings);
    config.set("bootstrap.servers", bootstrap.join(","));
    config
}

fn value(number: usize) -> String {
    format!("{number:0>9}")
}

/// Sends numbered records, some hundreds in a second, until it is told to stop; says how many it has sent.
fn start_sending(producer: ThreadedProducer<Deliveries>, is_done: Arc<AtomicBool>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut sent = 0;
        while !is_done.load(Ordering::Relaxed) {
            let value = value(sent);
            let partition = i32::try_from(sent).unwrap() % PARTITIONS;
            // Its queue may be full.
            if producer.send(BaseRecord::<(), str>::to(TOPIC).partition(partition).payload(&value)).is_ok() {
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        sent
    })
}

/// Waits until each partition has acknowledged so many records more.
fn wait_for_progress(cluster: &Cluster, deliveries: &Deliveries, more: usize) {
    let count = |of: i32| deliveries.all().iter().filter(|delivery| delivery.partition == of).count();
    let before: Vec<usize> = (0..PARTITIONS).map(count).collect();
    let deadline = Instant::now() + PATIENCE;
    while (0..PARTITIONS).zip(&before).any(|(partition, before)| count(partition) < before + more) {
        assert!(Instant::now() < deadline, "it does not go on: {:?}", partitions(cluster, TOPIC));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The longest time around `killed_at` in which a partition has acknowledged nothing.
fn longest_gap(all: &[Delivery], partition: i32, killed_at: Instant) -> Duration {
    let of_partition = all.iter().filter(|delivery| delivery.partition == partition);
    let times: Vec<Instant> = of_partition.map(|delivery| delivery.at).collect();
    let gaps = times.windows(2).filter(|pair| pair[1] > killed_at).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

/// Kills the process that leads the first partition, and starts it again when the others have gone on.
fn fail_over(cluster: &mut Cluster, deliveries: &Deliveries) {
    let before = cluster.until(|| partitions(cluster, TOPIC).filter(|found| found[0].leader_id >= 0));
    let victim = before[0].leader_id;
    let leads_quorum = cluster.leader(victim) == victim;
    let known = deliveries.count();
    let killed_at = Instant::now();
    cluster.kill(victim);
    wait_for_progress(cluster, deliveries, 200);
    let since = deliveries.all().split_off(known.saturating_sub(100));
    for partition in &before {
        println!(
            "node {victim} killed{}, partition {} which it {}: nothing acknowledged for {} ms",
            if leads_quorum { " (the active controller)" } else { "" },
            partition.partition_index,
            if partition.leader_id == victim { "led" } else { "followed" },
            longest_gap(&since, partition.partition_index, killed_at).as_millis()
        );
    }
    let restarted_at = Instant::now();
    cluster.begin(&[victim]);
    wait_until_in_sync(cluster, TOPIC);
    println!("node {victim} was in sync {} ms after its start", restarted_at.elapsed().as_millis());
    wait_for_progress(cluster, deliveries, 50);
}

/// All records of a partition. What the client tells of brokers that are down is of no interest.
fn read(cluster: &Cluster, partition: i32, count: usize) -> Vec<String> {
    let settings = [("group.id", "reader"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = client(cluster.ottla(1), &settings).create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut values = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while values.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records of partition {partition}", values.len());
        match consumer.poll(Duration::from_millis(100)) {
            None
            | Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
            ))) => {}
            Some(message) => {
                values.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
            }
        }
    }
    values
}

/// What a node has of a partition: its segments, one after the other.
fn log_bytes(home: &Path, partition: i32) -> Vec<u8> {
    let dir = home.join("data").join(format!("{TOPIC}-{partition}"));
    let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let logs: BTreeSet<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    logs.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn what_all_have_acknowledged_outlives_the_process_that_led() {
    let failovers =
        std::env::var(FAILOVERS).map_or(FAILOVERS_BY_DEFAULT, |text| text.parse().expect("a number"));
    let mut cluster = Cluster::start(&["broker,controller"; 3]);
    create(&cluster, TOPIC, PARTITIONS);
    wait_until_in_sync(&cluster, TOPIC);
    let settings = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", "1"),
        ("message.timeout.ms", "600000"),
        // It looks for a new leader only once in a second otherwise.
        ("topic.metadata.refresh.interval.ms", "100"),
        ("reconnect.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "200"),
        ("log_level", "0"),
    ];
    let config = clients(&cluster, &settings);
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(deliveries.clone()).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let sending = start_sending(producer.clone(), Arc::clone(&is_done));
    wait_for_progress(&cluster, &deliveries, 100);
    for _ in 0..failovers {
        fail_over(&mut cluster, &deliveries);
    }
    // A rolling restart.
    for id in [1, 2, 3] {
        cluster.stop(id);
        cluster.begin(&[id]);
        wait_until_in_sync(&cluster, TOPIC);
        wait_for_progress(&cluster, &deliveries, 20);
    }
    is_done.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    producer.flush(PATIENCE).unwrap();
    let told = deliveries.all();
    let refused = told.iter().find(|delivery| delivery.result.is_err());
    assert!(refused.is_none() && told.len() == sent, "{sent} were sent, {} told: {refused:?}", told.len());
    wait_until_in_sync(&cluster, TOPIC);
    for partition in 0..PARTITIONS {
        let expected: Vec<String> =
            (0..sent).filter(|number| *number as i32 % PARTITIONS == partition).map(value).collect();
        let found = read(&cluster, partition, expected.len());
        let differ_at = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        assert_eq!(differ_at, None, "partition {partition}, of {} records", expected.len());
    }
    [1, 2, 3].into_iter().for_each(|id| cluster.kill(id));
    for partition in 0..PARTITIONS {
        let [first, second, third] = [1, 2, 3].map(|id| log_bytes(&cluster.home(id), partition));
        assert!(first == second && second == third, "the replicas of partition {partition} differ");
    }
}
