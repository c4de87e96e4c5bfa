//! Connections that are slow and are cut in the middle of anything.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ottla_client::consumer::{Consumer, ConsumerError, ConsumerSettings, GroupProtocol, OffsetReset};
use ottla_client::types::{Offset, TopicPartition};
use ottla_client::{ClientSettings, Connector, Producer, ProducerSettings, Record, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;

use super::{connect, create_topic, launch};

const PATIENCE: Duration = Duration::from_secs(120);
const RECORDS: i64 = 2_000;
const PARTITIONS: i32 = 2;

/// A network whose connections carry a few bytes at a time, some time apart, and each only so many of them altogether.
#[derive(Debug, Default)]
struct Unsteady {
    connections: AtomicUsize,
    /// From then on it is a good one.
    is_over: AtomicBool,
}

const BYTES_AT_A_TIME: usize = 3_000;
const PAUSE: Duration = Duration::from_millis(1);

impl Unsteady {
    /// Enough to get something done, another number for each connection.
    fn budget(&self, connection: usize) -> usize {
        if self.is_over.load(Ordering::Relaxed) { usize::MAX } else { 6_000 + connection * 7_919 % 40_000 }
    }
}

impl Connector for Unsteady {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>> {
        Box::pin(async move {
            let server = TcpStream::connect((host, port)).await?;
            let (client, near) = duplex(BYTES_AT_A_TIME);
            let connection = self.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(carry(server, near, self.budget(connection)));
            let (reader, writer) = tokio::io::split(client);
            Ok(Stream::new(reader, writer))
        })
    }
}

/// Until one side closes, or so many bytes have gone either way.
async fn carry(server: TcpStream, client: DuplexStream, mut budget: usize) {
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut forth, mut back) = ([0; BYTES_AT_A_TIME], [0; BYTES_AT_A_TIME]);
    loop {
        let carried = tokio::select! {
            read = from_client.read(&mut forth) => match read {
                Ok(count) if count > 0 => {
                    let count = count.min(budget);
                    if to_server.write_all(&forth[..count]).await.is_err() { return }
                    count
                }
                _ => return,
            },
            read = from_server.read(&mut back) => match read {
                Ok(count) if count > 0 => {
                    let count = count.min(budget);
                    if to_client.write_all(&back[..count]).await.is_err() { return }
                    count
                }
                _ => return,
            },
        };
        budget -= carried;
        if budget == 0 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// That a test of it means something.
fn assert_was_cut(network: &Unsteady) {
    let connections = network.connections.load(Ordering::Relaxed);
    assert!(connections > 10, "only {connections} connections");
}

#[tokio::test]
async fn what_is_sent_over_connections_that_are_cut_is_written_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = launch(dir.path()).start();
    let client = connect(&broker).await;
    create_topic(&client, "t", PARTITIONS).await;
    let network = Arc::new(Unsteady::default());
    let settings = ProducerSettings::new(broker.bootstrap());
    let producer = Producer::start(ProducerSettings {
        client: ClientSettings { connector: Some(network.clone()), ..settings.client.clone() },
        batch_bytes: 800,
        delivery_timeout_ms: Some(600_000),
        max_block_ms: 600_000,
        ..settings
    })
    .unwrap();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        for partition in 0..PARTITIONS {
            let value = format!("{number:0>50}");
            deliveries.push(producer.send(Record::to("t").partition(partition).value(&value)).await.unwrap());
        }
    }
    tokio::time::timeout(PATIENCE, producer.flush()).await.expect("all is answered in time");
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_was_cut(&network);

    let mut consumer = Consumer::connect(reading(broker.bootstrap(), None)).await.unwrap();
    consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new("t", partition))).unwrap();
    let mut next = [0; PARTITIONS as usize];
    let all = async {
        while next.iter().any(|next| *next < RECORDS) {
            for record in consumer.poll(PATIENCE).await.unwrap() {
                let value: i64 =
                    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
                assert_eq!(value, std::mem::replace(&mut next[record.partition() as usize], value + 1));
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all is there");
    let ends =
        consumer.end_offsets((0..PARTITIONS).map(|partition| TopicPartition::new("t", partition))).await;
    assert!(ends.unwrap().values().all(|end| *end == Offset(RECORDS)), "and nothing twice");
}

fn reading(bootstrap: &str, network: Option<Arc<Unsteady>>) -> ConsumerSettings {
    let client = ClientSettings::new(bootstrap);
    let connector = network.map(|network| network as Arc<dyn Connector>);
    ConsumerSettings {
        auto_offset_reset: OffsetReset::Earliest,
        enable_auto_commit: false,
        ..ConsumerSettings::new(ClientSettings { connector, ..client })
    }
}

/// Reads all as a member of a group; what is committed in the end is the end.
async fn read_all(bootstrap: &str, group_protocol: GroupProtocol, group: &str) {
    let network = Arc::new(Unsteady::default());
    let settings = ConsumerSettings {
        group_id: Some(group.to_owned()),
        group_protocol,
        // Records come in many answers, some of which are cut off.
        max_partition_fetch_bytes: 4_000,
        fetch_max_bytes: 8_000,
        heartbeat_interval_ms: 100,
        ..reading(bootstrap, Some(network.clone()))
    };
    let mut consumer = Consumer::connect(settings).await.unwrap();
    consumer.subscribe(["t"]).unwrap();
    let mut seen = BTreeSet::new();
    while i64::try_from(seen.len()).unwrap() < RECORDS * i64::from(PARTITIONS) {
        let mut next = [None; PARTITIONS as usize];
        for record in consumer.poll(PATIENCE).await.unwrap() {
            let next = &mut next[record.partition() as usize];
            assert!(next.is_none_or(|next| next == record.offset.0), "no gap within what comes together");
            *next = Some(record.offset.0 + 1);
            seen.insert((record.partition(), record.offset.0));
        }
        match consumer.commit().await {
            Ok(()) => {}
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }
    assert_was_cut(&network);
    network.is_over.store(true, Ordering::Relaxed);
    loop {
        // It may be out of the group at this moment.
        match consumer.commit().await {
            Ok(()) if consumer.positions().len() == PARTITIONS as usize => break,
            Ok(()) | Err(ConsumerError::NotAMember(_)) => {
                drop(consumer.poll(Duration::from_millis(100)).await)
            }
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    }
    let all: Vec<TopicPartition> =
        (0..PARTITIONS).map(|partition| TopicPartition::new("t", partition)).collect();
    let committed = consumer.committed(all).await.unwrap();
    assert!(
        committed.values().all(|committed| committed.position.offset == Offset(RECORDS)),
        "{committed:?}"
    );
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_is_read_over_connections_that_are_cut_is_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = launch(dir.path()).set("group.consumer.min.heartbeat.interval.ms", "100").start();
    let client = connect(&broker).await;
    create_topic(&client, "t", PARTITIONS).await;
    let producer = Producer::start(ProducerSettings::new(broker.bootstrap())).unwrap();
    for number in 0..RECORDS {
        for partition in 0..PARTITIONS {
            let value = format!("{number:0>50}");
            drop(producer.send(Record::to("t").partition(partition).value(&value)).await.unwrap());
        }
    }
    producer.close(PATIENCE).await.unwrap();
    let both = async {
        tokio::join!(
            read_all(broker.bootstrap(), GroupProtocol::Classic, "classic"),
            read_all(broker.bootstrap(), GroupProtocol::Consumer, "modern"),
        )
    };
    tokio::time::timeout(2 * PATIENCE, both).await.expect("all is read in time");
}
