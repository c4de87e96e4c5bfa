use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::subject::Broker;
use ottla_client::consumer::{
    Consumer, ConsumerEvent, ConsumerRecord, ConsumerSettings, GroupProtocol, OffsetReset,
};
use ottla_client::types::{Offset, Timestamp, TopicPartition};
use ottla_client::wire::ErrorCode;
use ottla_client::wire::messages::{ProduceRequest, produce_request};
use ottla_client::{Client, ClientSettings, Target, Topics};
use ottla_record::{BatchBuilder, BatchOptions, Codec, Compression, NewRecord};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{connect, create_topic, launch};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(ottla: &Broker, group_id: &str) -> ConsumerSettings {
    ConsumerSettings {
        group_id: Some(group_id.to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        enable_auto_commit: false,
        heartbeat_interval_ms: 100,
        session_timeout_ms: 45_000,
        ..ConsumerSettings::new(ClientSettings::new(ottla.bootstrap()))
    }
}

/// Writes records with these values and with their places as timestamps.
async fn produce(client: &Client, topic: &str, partition: i32, values: std::ops::Range<i64>) {
    let codec = if partition % 2 == 0 { Codec::None } else { Codec::Lz4 };
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: Compression::new(codec), ..Default::default() });
    for value in values {
        let text = value.to_string();
        let record =
            NewRecord { timestamp: Timestamp(value), value: Some(text.as_bytes()), ..NewRecord::default() };
        builder.append(&record).unwrap();
    }
    let records = bytes::Bytes::from(builder.build().unwrap());
    loop {
        let metadata = client.refresh(Topics::Named(vec![topic.into()])).await.unwrap();
        let (Some(found), Some(leader)) = (metadata.topic(topic), metadata.leader(topic, partition)) else {
            continue;
        };
        let partition_data = produce_request::PartitionData {
            index: partition,
            records: records.clone().into(),
            ..Default::default()
        };
        let topic_data = produce_request::TopicData {
            name: topic.to_owned(),
            topic_id: found.id,
            partition_data: vec![partition_data],
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic_data],
            ..Default::default()
        };
        let answer = client.send(Target::Node(leader.node), &request).await.unwrap();
        if answer.responses[0].partition_responses[0].error_code == ErrorCode::None.code() {
            return;
        }
    }
}

fn value(record: &ConsumerRecord) -> i64 {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

/// Polls until there were so many records; their values by partition.
async fn read(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<i64>> {
    let mut values: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    tokio::time::timeout(PATIENCE, async {
        while values.values().map(Vec::len).sum::<usize>() < count {
            for record in consumer.poll(PATIENCE).await.unwrap() {
                values.entry(record.partition()).or_default().push(value(&record));
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("after a minute only {values:?}"));
    values
}

#[tokio::test]
async fn partitions_are_read_where_their_owner_wants() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let client = connect(&ottla).await;
    create_topic(&client, "t", 2).await;
    for batch in 0..5 {
        produce(&client, "t", 0, batch * 20..batch * 20 + 20).await;
        produce(&client, "t", 1, batch * 20..batch * 20 + 20).await;
    }
    let [zero, one] = [0, 1].map(|partition| TopicPartition::new("t", partition));
    let mut consumer = Consumer::connect(settings(&ottla, "g")).await.unwrap();
    assert_eq!(consumer.partitions_for("t").await.unwrap(), [zero.clone(), one.clone()]);
    consumer.assign([zero.clone(), one.clone()]).unwrap();
    let all: Vec<i64> = (0..100).collect();
    assert_eq!(read(&mut consumer, 200).await, BTreeMap::from([(0, all.clone()), (1, all.clone())]));

    consumer.seek(&one, Offset(37)).unwrap();
    assert_eq!(read(&mut consumer, 63).await, BTreeMap::from([(1, all[37..].to_vec())]));

    consumer.pause(&one).unwrap();
    consumer.seek_to_beginning(&zero).unwrap();
    consumer.seek_to_beginning(&one).unwrap();
    assert_eq!(read(&mut consumer, 100).await, BTreeMap::from([(0, all.clone())]));
    consumer.resume(&one).unwrap();
    assert_eq!(read(&mut consumer, 100).await, BTreeMap::from([(1, all.clone())]));

    let times = [(zero.clone(), Timestamp(50)), (one.clone(), Timestamp(1_000))];
    let found = consumer.offsets_for_times(times).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&zero]);
    assert_eq!((found[&zero].offset, found[&zero].timestamp), (Offset(50), Timestamp(50)));
    let ends = consumer.end_offsets([zero.clone(), one.clone()]).await.unwrap();
    assert_eq!(ends, BTreeMap::from([(zero.clone(), Offset(100)), (one.clone(), Offset(100))]));
    assert_eq!(consumer.beginning_offsets([zero.clone()]).await.unwrap()[&zero], Offset(0));

    // Without a member, commits are nobody's in particular; whoever reads next goes on there.
    consumer.seek(&zero, Offset(90)).unwrap();
    consumer.commit().await.unwrap();
    assert_eq!(
        consumer.committed([zero.clone(), one.clone()]).await.unwrap()[&zero].position.offset,
        Offset(90)
    );
    consumer.close(PATIENCE).await.unwrap();
    let mut next = Consumer::connect(settings(&ottla, "g")).await.unwrap();
    next.assign([zero, one]).unwrap();
    assert_eq!(read(&mut next, 10).await, BTreeMap::from([(0, all[90..].to_vec())]));
    next.close(PATIENCE).await.unwrap();
}

/// A consumer that reads in a task of its own until it is told to stop.
struct Member {
    seen: Arc<Mutex<Vec<(i32, i64)>>>,
    assigned: Arc<Mutex<BTreeSet<TopicPartition>>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Consumer>,
}

impl Member {
    fn start(mut consumer: Consumer) -> Member {
        let (seen, assigned) =
            (Arc::<Mutex<Vec<(i32, i64)>>>::default(), Arc::<Mutex<BTreeSet<_>>>::default());
        let (stop, mut stopped) = oneshot::channel();
        let (sees, holds) = (Arc::clone(&seen), Arc::clone(&assigned));
        let task = tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = consumer.next() => event.unwrap(),
                    _ = &mut stopped => return consumer,
                };
                match event {
                    ConsumerEvent::Records(records) => {
                        sees.lock()
                            .unwrap()
                            .extend(records.iter().map(|record| (record.partition(), value(record))));
                    }
                    ConsumerEvent::Assigned(partitions) => holds.lock().unwrap().extend(partitions),
                    ConsumerEvent::Revoked(partitions) => {
                        if !consumer.settings().enable_auto_commit {
                            consumer.commit().await.unwrap();
                        }
                        holds.lock().unwrap().retain(|partition| !partitions.contains(partition));
                    }
                    ConsumerEvent::Lost(partitions) => panic!("{partitions:?} are lost"),
                }
            }
        });
        Member { seen, assigned, stop, task }
    }

    fn count(&self) -> usize {
        self.assigned.lock().unwrap().len()
    }

    async fn stop(self) -> Consumer {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not after a minute"));
}

/// Two members come and go; every record is read once.
async fn share(settings: impl Fn() -> ConsumerSettings, client: &Client, topic: &str, by_pattern: bool) {
    const PARTITIONS: i32 = 4;
    create_topic(client, topic, PARTITIONS).await;
    let member = || async {
        let mut consumer = Consumer::connect(settings()).await.unwrap();
        if by_pattern {
            consumer.subscribe_pattern(&format!("{topic}|nothing-else")).unwrap();
        } else {
            consumer.subscribe([topic]).unwrap();
        }
        Member::start(consumer)
    };
    let write = |values: std::ops::Range<i64>| async move {
        for partition in 0..PARTITIONS {
            produce(client, topic, partition, values.clone()).await;
        }
    };
    write(0..20).await;
    let first = member().await;
    until("the first has all", || first.seen.lock().unwrap().len() == 80).await;
    let second = member().await;
    until("both have their share", || first.count() == 2 && second.count() == 2).await;
    write(20..40).await;
    let sum = || first.seen.lock().unwrap().len() + second.seen.lock().unwrap().len();
    until("both together have all", || sum() >= 160).await;
    let seen_by_second = Arc::clone(&second.seen);
    let mut second = second.stop().await;
    if !second.settings().enable_auto_commit {
        second.commit().await.unwrap();
    }
    second.close(PATIENCE).await.unwrap();
    until("the first has everything again", || first.count() == PARTITIONS as usize).await;
    write(40..50).await;
    let sum = || first.seen.lock().unwrap().len() + seen_by_second.lock().unwrap().len();
    until("the first reads on", || sum() >= 200).await;

    let mut seen = first.seen.lock().unwrap().clone();
    first.stop().await.close(PATIENCE).await.unwrap();
    let order: Vec<(i32, i64)> = seen.clone();
    for partition in 0..PARTITIONS {
        let values = order.iter().filter(|(of, _)| *of == partition).map(|(_, value)| *value);
        assert!(values.is_sorted(), "partition {partition} in order");
    }
    seen.extend(seen_by_second.lock().unwrap().iter().copied());
    seen.sort_unstable();
    let all = (0..PARTITIONS).flat_map(|partition| (0..50).map(move |value| (partition, value)));
    assert_eq!(seen, all.collect::<Vec<_>>(), "each record once");
}

#[tokio::test]
async fn members_share_partitions_and_hand_them_over() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path())
        .set("group.consumer.min.heartbeat.interval.ms", "100")
        .set("group.consumer.heartbeat.interval.ms", "100")
        .start();
    let client = connect(&ottla).await;
    let strategy = |name: &str| ConsumerSettings {
        partition_assignment_strategy: vec![name.to_owned()],
        ..settings(&ottla, name)
    };
    let by_default = || settings(&ottla, "default");
    let cooperative = || ConsumerSettings { enable_auto_commit: true, ..strategy("cooperative-sticky") };
    let modern =
        || ConsumerSettings { group_protocol: GroupProtocol::Consumer, ..settings(&ottla, "modern") };
    let modern_auto =
        || ConsumerSettings { enable_auto_commit: true, group_id: Some("auto".to_owned()), ..modern() };
    tokio::join!(
        share(by_default, &client, "default", false),
        share(|| strategy("sticky"), &client, "sticky", true),
        share(cooperative, &client, "cooperative", false),
        share(modern, &client, "modern", false),
        share(modern_auto, &client, "modern-by-pattern", true),
    );
}
