//! Three processes in racks of their own: librdkafka reads from the one in its rack, as the leader tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, Message, Statistics};

use super::cluster::Cluster;
use super::replication::{clients, create, wait_until_in_sync};

const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "near";
const NOBODY: i32 = -1;

/// Takes note of the broker that the partition is fetched from.
#[derive(Clone, Default)]
struct From(Arc<AtomicI32>);

impl ClientContext for From {
    fn stats(&self, statistics: Statistics) {
        let partition = statistics.topics.get(TOPIC).and_then(|topic| topic.partitions.get(&0));
        self.0.store(partition.map_or(NOBODY, |partition| partition.broker), Ordering::Relaxed);
    }
}

impl ConsumerContext for From {}

fn rack(node: i32) -> String {
    format!("rack-{node}")
}

/// Reads on until the partition is fetched from `wanted`, and all that was written before and after is there, once and in order.
fn read_from(cluster: &Cluster, wanted: i32, is_read: &AtomicBool, written: &AtomicI32) {
    let settings = [("group.id", "near"), ("enable.auto.commit", "false"), ("statistics.interval.ms", "100")];
    let mut config = clients(cluster, &settings);
    config.set("client.rack", rack(wanted));
    let from = From::default();
    let consumer: BaseConsumer<From> = config.create_with_context(from.clone()).unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let (mut next, mut until) = (0, i32::MAX);
    let deadline = Instant::now() + PATIENCE;
    while next < until {
        assert!(Instant::now() < deadline, "{next} records, from {:?} instead of {wanted}", from.0);
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.unwrap();
            assert_eq!(message.payload(), Some(next.to_string().as_bytes()));
            next += 1;
        }
        if until == i32::MAX && from.0.load(Ordering::Relaxed) == wanted {
            // Some that are written from now on too.
            until = written.load(Ordering::Relaxed) + 100;
        }
    }
    is_read.store(true, Ordering::Relaxed);
}

#[test]
fn consumers_read_from_the_replica_in_their_rack() {
    let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    let settings = |id| vec![("broker.rack", rack(id)), ("replica.selector.class", selector.to_owned())];
    let cluster = Cluster::start_each(&["broker,controller"; 3], 1, settings);
    create(&cluster, TOPIC, 1);
    wait_until_in_sync(&cluster, TOPIC);
    let producer: BaseProducer = clients(&cluster, &[("acks", "all"), ("linger.ms", "0")]).create().unwrap();
    let written = AtomicI32::new(0);
    let are_read = [1, 2, 3].map(|id| (id, AtomicBool::new(false)));
    std::thread::scope(|scope| {
        for (id, is_read) in &are_read {
            let (cluster, written) = (&cluster, &written);
            scope.spawn(move || read_from(cluster, *id, is_read, written));
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline
            && !are_read.iter().all(|(_, is_read)| is_read.load(Ordering::Relaxed))
        {
            let value = written.load(Ordering::Relaxed).to_string();
            if producer.send(BaseRecord::<(), str>::to(TOPIC).partition(0).payload(&value)).is_ok() {
                written.fetch_add(1, Ordering::Relaxed);
            }
            producer.poll(Duration::from_millis(5));
        }
    });
    producer.flush(PATIENCE).unwrap();
}
