//! Clusters of several nodes whose leaders move, and whose nodes are killed while clients work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_client::admin::{Admin, AlterOp, ConfigResource, ResourceType};
use ottla_client::consumer::{
    Consumer, ConsumerEvent, ConsumerSettings, GroupProtocol, IsolationLevel, OffsetReset,
};
use ottla_client::share::{AcknowledgeType, AcknowledgementMode, ShareConsumer, ShareConsumerSettings};
use ottla_client::types::TopicPartition;
use ottla_client::{
    Client, ClientSettings, CoordinatorKind, Delivery, Producer, ProducerSettings, Record,
    TransactionalProducer,
};
use tokio::task::JoinHandle;

use super::nodes::{Nodes, create, move_leaders, patiently, until_in_sync};

const PARTITIONS: i32 = 3;
const CLOSING: Duration = Duration::from_secs(60);

fn client_settings(nodes: &Nodes) -> ClientSettings {
    ClientSettings::new(&nodes.bootstrap)
}

fn patient(nodes: &Nodes) -> ProducerSettings {
    ProducerSettings {
        batch_bytes: 500,
        linger_ms: 1,
        delivery_timeout_ms: Some(600_000),
        max_block_ms: 600_000,
        ..ProducerSettings::new(&nodes.bootstrap)
    }
}

/// Sends numbered records to each partition in turn until it is told to stop.
struct Writer {
    is_done: Arc<AtomicBool>,
    task: JoinHandle<i64>,
}

impl Writer {
    async fn start(nodes: &Nodes, topic: &'static str) -> Writer {
        let producer = Producer::start(patient(nodes)).unwrap();
        producer.partitions(topic).await.unwrap();
        let is_done = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_done);
        let task = tokio::spawn(async move {
            let mut deliveries: Vec<Delivery> = Vec::new();
            let mut sent = 0;
            while !ends.load(Ordering::Relaxed) {
                let value = sent.to_string();
                for partition in 0..PARTITIONS {
                    let record = Record::to(topic).partition(partition).value(&value);
                    deliveries.push(producer.send(record).await.unwrap());
                }
                sent += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            producer.flush().await;
            for delivery in deliveries {
                delivery.await.unwrap();
            }
            sent
        });
        Writer { is_done, task }
    }

    /// How many it has written to each partition: all of them acknowledged.
    async fn stop(self) -> i64 {
        self.is_done.store(true, Ordering::Relaxed);
        patiently("everything is acknowledged", self.task).await.unwrap()
    }
}

type Seen = Arc<Mutex<BTreeMap<i32, Vec<i64>>>>;

/// Reads as a member of a group and commits, until it is aborted.
async fn read(settings: ConsumerSettings, topic: &'static str, seen: Seen) {
    let mut consumer = Consumer::connect(settings).await.unwrap();
    consumer.subscribe([topic]).unwrap();
    loop {
        match consumer.next().await.unwrap() {
            ConsumerEvent::Records(records) => {
                let mut seen = seen.lock().unwrap();
                for record in records {
                    let value = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
                    seen.entry(record.partition()).or_default().push(value);
                }
            }
            ConsumerEvent::Assigned(_) => {}
            // What can't be committed is read again by whoever comes next.
            ConsumerEvent::Revoked(_) => drop(consumer.commit().await),
            ConsumerEvent::Lost(_) => {}
        }
        drop(consumer.commit_later());
    }
}

/// Each partition has been read so much further.
async fn until_further(seen: &Seen, more: usize) {
    let lengths = || -> BTreeMap<i32, i64> {
        seen.lock()
            .unwrap()
            .iter()
            .map(|(partition, values)| (*partition, *values.iter().max().unwrap()))
            .collect()
    };
    let before = lengths();
    let more = i64::try_from(more).unwrap();
    patiently("each partition is read on", async {
        loop {
            let now = lengths();
            let is_further = |partition: &i32| {
                now.get(partition)
                    .is_some_and(|last| *last >= before.get(partition).copied().unwrap_or(-1) + more)
            };
            if (0..PARTITIONS).all(|partition| is_further(&partition)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// All values of each partition, in the order of their offsets.
async fn stored(nodes: &Nodes, topic: &str, isolation_level: IsolationLevel) -> BTreeMap<i32, Vec<i64>> {
    let settings = ConsumerSettings {
        auto_offset_reset: OffsetReset::Earliest,
        isolation_level,
        ..ConsumerSettings::new(client_settings(nodes))
    };
    let mut consumer = Consumer::connect(settings).await.unwrap();
    let all: Vec<TopicPartition> =
        (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition)).collect();
    consumer.assign(all.clone()).unwrap();
    let ends = consumer.end_offsets(all.clone()).await.unwrap();
    let mut values: BTreeMap<i32, Vec<i64>> =
        (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    patiently("all is read", async {
        let is_behind = |consumer: &Consumer| {
            all.iter().any(|name| consumer.position(name).is_none_or(|position| position.offset < ends[name]))
        };
        while is_behind(&consumer) {
            for record in consumer.poll(Duration::from_millis(200)).await.unwrap() {
                let value = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
                values.get_mut(&record.partition()).unwrap().push(value);
            }
        }
    })
    .await;
    consumer.close(CLOSING).await.unwrap();
    values
}

/// Kills the node, waits for what goes on without it, and has it back.
async fn outlive(nodes: Nodes, victim: i32, client: &Client, topic: &str, seen: &Seen) -> Nodes {
    let nodes = nodes.kill(victim).await;
    until_further(seen, 30).await;
    let nodes = nodes.begin(victim).await;
    until_in_sync(client, topic, 3).await;
    until_further(seen, 30).await;
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_and_groups_go_on_when_leaders_move_and_coordinators_die() {
    const TOPIC: &str = "kept";
    let mut nodes = Nodes::start().await;
    let client = nodes.client().await;
    create(&client, TOPIC, PARTITIONS).await;
    let writer = Writer::start(&nodes, TOPIC).await;
    let groups = [("classic", GroupProtocol::Classic), ("modern", GroupProtocol::Consumer)];
    let mut reading = Vec::new();
    let mut readers = Vec::new();
    for (group_id, group_protocol) in groups {
        let settings = ConsumerSettings {
            group_id: Some(group_id.to_owned()),
            group_protocol,
            enable_auto_commit: false,
            auto_offset_reset: OffsetReset::Earliest,
            heartbeat_interval_ms: 200,
            ..ConsumerSettings::new(client_settings(&nodes))
        };
        let seen = Seen::default();
        for _ in 0..2 {
            reading.push(tokio::spawn(read(settings.clone(), TOPIC, Arc::clone(&seen))));
        }
        readers.push(seen);
    }
    for seen in &readers {
        until_further(seen, 30).await;
    }
    move_leaders(&client, TOPIC).await;
    for ((group_id, _), seen) in groups.iter().zip(&readers) {
        until_further(seen, 30).await;
        let coordinator = client.coordinator(CoordinatorKind::Group, &(*group_id).into()).await.unwrap();
        nodes = outlive(nodes, coordinator.0, &client, TOPIC, seen).await;
    }
    let written = writer.stop().await;
    let all: Vec<i64> = (0..written).collect();
    for (partition, values) in stored(&nodes, TOPIC, IsolationLevel::ReadUncommitted).await {
        assert_eq!(values, all, "partition {partition}: once, and in order");
    }
    for seen in &readers {
        patiently("everything is read", async {
            let is_read = |seen: &BTreeMap<i32, Vec<i64>>| {
                let all: BTreeSet<i64> = all.iter().copied().collect();
                (0..PARTITIONS).all(|partition| {
                    seen.get(&partition)
                        .is_some_and(|values| values.iter().copied().collect::<BTreeSet<_>>() == all)
                })
            };
            while !is_read(&seen.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
    reading.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_outlive_their_coordinator() {
    const TOPIC: &str = "accounts";
    const ID: &str = "t";
    let mut nodes = Nodes::start().await;
    let client = nodes.client().await;
    create(&client, TOPIC, PARTITIONS).await;
    let settings = ProducerSettings { transactional_id: Some(ID.to_owned()), ..patient(&nodes) };
    let mut producer = TransactionalProducer::start(settings.clone()).await.unwrap();
    let mut expected: Vec<i64> = Vec::new();
    for round in 0..60_i64 {
        let mut victim = None;
        if round % 20 == 10 {
            victim = Some(client.coordinator(CoordinatorKind::Transaction, &ID.into()).await.unwrap().0);
        }
        let commits = round % 3 != 2;
        let value = round.to_string();
        let transaction = producer.begin().await.unwrap();
        for partition in 0..PARTITIONS {
            let record = Record::to(TOPIC).partition(partition).value(&value);
            drop(transaction.send(record).await.unwrap());
        }
        if let Some(victim) = victim {
            nodes = nodes.kill(victim).await;
        }
        let ended = if commits { transaction.commit().await } else { transaction.abort().await };
        if let Some(victim) = victim {
            nodes = nodes.begin(victim).await;
            client.forget_coordinator(CoordinatorKind::Transaction, &ID.into());
            until_in_sync(&client, TOPIC, 3).await;
        }
        ended.unwrap();
        if commits {
            expected.push(round);
        }
    }
    producer.close(CLOSING).await.unwrap();
    for (partition, values) in stored(&nodes, TOPIC, IsolationLevel::ReadCommitted).await {
        assert_eq!(values, expected, "partition {partition}: what was committed");
    }
}

/// What brokers said to acknowledgements, by partition and offset.
#[derive(Default)]
struct Acceptance {
    taken: Vec<(i32, i64)>,
    /// The answer was lost, or was an error: brokers may have taken it or not. What they have not comes again.
    uncertain: Vec<(i32, i64)>,
}

/// A member of a share group that accepts what it gets, until it is aborted.
async fn accept(settings: ShareConsumerSettings, topic: &'static str, accepted: Arc<Mutex<Acceptance>>) {
    let mut consumer = ShareConsumer::connect(settings).await.unwrap();
    consumer.subscribe([topic]).unwrap();
    loop {
        let records = consumer.next().await.unwrap();
        for record in &records {
            // What is not this member's any more comes again.
            drop(consumer.acknowledge(record, AcknowledgeType::Accept));
        }
        let outcomes = consumer.commit().await.unwrap();
        let mut accepted = accepted.lock().unwrap();
        for outcome in outcomes.into_iter().chain(consumer.outcomes()) {
            let partition = outcome.partition.partition;
            let places = outcome.offsets.into_iter().map(|offset| (partition, offset));
            match outcome.result {
                Ok(()) => accepted.taken.extend(places),
                Err(_) => accepted.uncertain.extend(places),
            }
        }
    }
}

/// Each partition has so many accepted records more.
async fn until_accepted(accepted: &Mutex<Acceptance>, more: usize) {
    let counts = || {
        let mut counts = BTreeMap::new();
        for (partition, _) in accepted.lock().unwrap().taken.iter() {
            *counts.entry(*partition).or_insert(0) += 1;
        }
        counts
    };
    let before: BTreeMap<i32, usize> = counts();
    patiently("more is accepted of each partition", async {
        loop {
            let now = counts();
            let count = |of: &BTreeMap<i32, usize>, partition| of.get(&partition).copied().unwrap_or(0);
            if (0..PARTITIONS).all(|partition| count(&now, partition) >= count(&before, partition) + more) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn share_groups_go_on_when_leaders_move_and_nodes_die() {
    const TOPIC: &str = "shared";
    const GROUP: &str = "g";
    let mut nodes = Nodes::start().await;
    let client = nodes.client().await;
    create(&client, TOPIC, PARTITIONS).await;
    let resource = ConfigResource::new(ResourceType::Group, GROUP);
    let earliest = ("share.auto.offset.reset".to_owned(), AlterOp::Set("earliest".to_owned()));
    let changes = BTreeMap::from([(resource.clone(), vec![earliest])]);
    Admin::new(client.clone()).alter_configs(&changes, false).await.unwrap()[&resource].clone().unwrap();
    let writer = Writer::start(&nodes, TOPIC).await;
    let settings = ShareConsumerSettings {
        acknowledgement_mode: AcknowledgementMode::Explicit,
        ..ShareConsumerSettings::new(client_settings(&nodes), GROUP)
    };
    let accepted = Arc::<Mutex<Acceptance>>::default();
    let members: Vec<_> =
        (0..2).map(|_| tokio::spawn(accept(settings.clone(), TOPIC, Arc::clone(&accepted)))).collect();
    until_accepted(&accepted, 30).await;
    move_leaders(&client, TOPIC).await;
    until_accepted(&accepted, 30).await;
    // The coordinator of the group, and then who leads the first partition.
    let coordinator = client.coordinator(CoordinatorKind::Group, &GROUP.into()).await.unwrap().0;
    for is_coordinator in [true, false] {
        let leader = client.metadata().leader(TOPIC, 0).unwrap().node.0;
        let victim = if is_coordinator { coordinator } else { leader };
        nodes = nodes.kill(victim).await;
        until_accepted(&accepted, 30).await;
        nodes = nodes.begin(victim).await;
        until_in_sync(&client, TOPIC, 3).await;
        until_accepted(&accepted, 30).await;
    }
    let written = writer.stop().await;
    let all: BTreeSet<(i32, i64)> =
        (0..PARTITIONS).flat_map(|partition| (0..written).map(move |offset| (partition, offset))).collect();
    let is_through = || {
        let accepted = accepted.lock().unwrap();
        accepted.taken.iter().chain(&accepted.uncertain).copied().collect::<BTreeSet<_>>() == all
    };
    patiently("everything is accepted", async {
        while !is_through() {
            assert!(members.iter().all(|member| !member.is_finished()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let accepted = accepted.lock().unwrap();
    let taken: BTreeSet<_> = accepted.taken.iter().collect();
    assert_eq!(taken.len(), accepted.taken.len(), "nothing is taken twice");
    // Not more than was on its way when somebody was killed.
    assert!(taken.len() * 2 > all.len(), "{} of {} are uncertain", accepted.uncertain.len(), all.len());
    members.iter().for_each(JoinHandle::abort);
}
