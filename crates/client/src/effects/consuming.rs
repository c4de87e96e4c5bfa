//! Settings of consumers.

use std::time::Duration;

use ottla_types::TopicPartition;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, FetchRequest, JoinGroupRequest, ListOffsetsRequest, OffsetCommitRequest,
};
use ottla_wire::{ApiKey, Request};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::connection::{asks_what_is_wanted, may_create_topics};
use super::fake::Fate;
use super::producing::is_accepted;
use super::{Effect, Given, about, effect};
use crate::consumer::{Consumer, ConsumerSettings};
use crate::settings::Scope;

const CONSUMER: &[Scope] = &[Scope::Consumer];
const BOTH: &[Scope] = &[Scope::Consumer, Scope::ShareConsumer];
const EARLIEST: (&str, &str) = ("auto.offset.reset", "earliest");

pub(super) const EFFECTS: &[Effect] = &[
    effect!(CONSUMER, "enable.metrics.push" = "false", tells, "asks what is wanted" => "never asks"),
    effect!(BOTH, "allow.auto.create.topics" = "false", may_create_topics, "true" => "false"),
    effect!(BOTH, "key.deserializer" = "com.example.Avro", is_accepted, "accepted" => "refused"),
    effect!(BOTH, "value.deserializer" = "com.example.Avro", is_accepted, "accepted" => "refused"),
    effect!(CONSUMER, "auto.commit.interval.ms" = "700", commit_interval, "about 5000 ms" => "about 700 ms", with [EARLIEST]),
    effect!(CONSUMER, "auto.offset.reset" = "earliest", |given| said(given, |request: &ListOffsetsRequest| {
        request.topics[0].partitions[0].timestamp.to_string()
    }), "-1" => "-2"),
    effect!(CONSUMER, "check.crcs" = "false", damaged, "an error" => "3 records", with [EARLIEST]),
    effect!(CONSUMER, "client.rack" = "r", |given| said(given, |request: &FetchRequest| request.rack_id.clone()), "" => "r"),
    effect!(CONSUMER, "enable.auto.commit" = "false", commits, "commits" => "does not commit", with [EARLIEST]),
    effect!(CONSUMER, "exclude.internal.topics" = "false", internal_topics, "t" => "__own t",
        with [("partition.assignment.strategy", "range")]),
    effect!(CONSUMER, "fetch.max.bytes" = "7000", |given| said(given, |request: &FetchRequest| request.max_bytes.to_string()),
        "1048576" => "7000"),
    effect!(CONSUMER, "fetch.max.wait.ms" = "70", |given| said(given, |request: &FetchRequest| request.max_wait_ms.to_string()),
        "500" => "70"),
    effect!(CONSUMER, "fetch.min.bytes" = "70", |given| said(given, |request: &FetchRequest| request.min_bytes.to_string()),
        "1" => "70"),
    effect!(CONSUMER, "group.id" = "other", |given| said(given, |request: &JoinGroupRequest| request.group_id.clone()),
        "g" => "other"),
    effect!(CONSUMER, "group.instance.id" = "i", |given| said(given, |request: &JoinGroupRequest| {
        format!("{:?}", request.group_instance_id)
    }), "None" => "Some(\"i\")"),
    effect!(CONSUMER, "group.protocol" = "consumer", protocol, "JoinGroup" => "ConsumerGroupHeartbeat"),
    effect!(CONSUMER, "group.remote.assignor" = "range", |given| said(given, |request: &ConsumerGroupHeartbeatRequest| {
        format!("{:?}", request.server_assignor)
    }), "None" => "Some(\"range\")", with [("group.protocol", "consumer")]),
    effect!(CONSUMER, "heartbeat.interval.ms" = "700", heartbeats, "about 3000 ms" => "about 700 ms"),
    effect!(CONSUMER, "isolation.level" = "read_committed", |given| said(given, |request: &FetchRequest| {
        request.isolation_level.to_string()
    }), "0" => "1"),
    effect!(CONSUMER, "max.partition.fetch.bytes" = "7000", |given| said(given, |request: &FetchRequest| {
        request.topics[0].partitions[0].partition_max_bytes.to_string()
    }), "1048576" => "7000"),
    effect!(CONSUMER, "max.poll.interval.ms" = "60000", leaves, "about 300000 ms" => "about 60000 ms"),
    effect!(CONSUMER, "max.poll.records" = "2", poll_size, "3" => "2", with [EARLIEST]),
    effect!(CONSUMER, "partition.assignment.strategy" = "sticky,roundrobin", |given| said(given, |request: &JoinGroupRequest| {
        request.protocols.iter().map(|protocol| protocol.name.clone()).collect::<Vec<_>>().join(" ")
    }), "range cooperative-sticky" => "sticky roundrobin"),
    effect!(CONSUMER, "session.timeout.ms" = "7000", |given| said(given, |request: &JoinGroupRequest| {
        request.session_timeout_ms.to_string()
    }), "45000" => "7000"),
];

impl Given {
    /// A member of a group that reads the topic `t`, of three records in each of two partitions.
    async fn consumer(&self) -> Consumer {
        let mut consumer = self.unsubscribed().await;
        consumer.subscribe(["t"]).unwrap();
        consumer
    }

    async fn unsubscribed(&self) -> Consumer {
        self.fake.topic("t", 2);
        (0..2).for_each(|partition| self.fake.load("t", partition, 3));
        let settings = ConsumerSettings::from_settings(&self.settings()).unwrap();
        Consumer::connect(ConsumerSettings { client: self.connected(settings.client.clone()), ..settings })
            .await
            .unwrap()
    }
}

/// Somebody asks for records again and again.
fn polled(mut consumer: Consumer) -> AbortHandle {
    let polling = tokio::spawn(async move {
        loop {
            consumer.poll(Duration::from_secs(1)).await.unwrap();
        }
    });
    polling.abort_handle()
}

/// What the first request of its kind says.
async fn said<R: Request>(given: Given, show: fn(&R) -> String) -> String {
    polled(given.consumer().await);
    show(&given.fake.first::<R>().await)
}

async fn commit_interval(given: Given) -> String {
    polled(given.consumer().await);
    let joined = given.fake.until_seen(ApiKey::SyncGroup, 1).await[0].at_ms;
    let committed = given.fake.until_seen(ApiKey::OffsetCommit, 1).await[0].at_ms;
    about(committed - joined, &[700, 5_000])
}

async fn commits(given: Given) -> String {
    polled(given.consumer().await);
    given.fake.first::<JoinGroupRequest>().await;
    sleep(Duration::from_secs(60)).await;
    let commits: Vec<OffsetCommitRequest> =
        given.fake.seen(ApiKey::OffsetCommit).iter().map(super::Seen::read).collect();
    if commits.is_empty() { "does not commit" } else { "commits" }.to_owned()
}

async fn damaged(given: Given) -> String {
    let mut consumer = given.unsubscribed().await;
    given.fake.damage("t", 0);
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    match consumer.poll(Duration::from_secs(60)).await {
        Ok(records) => format!("{} records", records.len()),
        Err(_) => "an error".to_owned(),
    }
}

async fn internal_topics(given: Given) -> String {
    given.fake.topic("__own", 1);
    let mut consumer = given.unsubscribed().await;
    consumer.subscribe_pattern(".*").unwrap();
    polled(consumer);
    sleep(Duration::from_secs(10)).await;
    let last: JoinGroupRequest = given.fake.seen(ApiKey::JoinGroup).last().unwrap().read();
    // A subscription: its version, and the names of the topics.
    let mut d = ottla_wire::Decoder::new(last.protocols[0].metadata.clone());
    d.i16("version").unwrap();
    let mut names: Vec<String> =
        (0..d.i32("topics").unwrap()).map(|_| d.string(false, "topic").unwrap()).collect();
    names.sort();
    names.join(" ")
}

async fn protocol(given: Given) -> String {
    polled(given.consumer().await);
    sleep(Duration::from_secs(10)).await;
    let is_seen = |api: &&ApiKey| !given.fake.seen(**api).is_empty();
    let spoken: Vec<&ApiKey> =
        [ApiKey::JoinGroup, ApiKey::ConsumerGroupHeartbeat].iter().filter(is_seen).collect();
    spoken.iter().map(|api| api.name()).collect::<Vec<_>>().join(" ")
}

async fn heartbeats(given: Given) -> String {
    polled(given.consumer().await);
    let seen = given.fake.until_seen(ApiKey::Heartbeat, 3).await;
    about(seen[2].at_ms - seen[1].at_ms, &[700, 3_000])
}

/// Whoever asks for nothing more.
async fn leaves(given: Given) -> String {
    let mut consumer = given.consumer().await;
    given.fake.on_request(|_| Fate::Answered);
    consumer.poll(Duration::from_secs(2)).await.unwrap();
    let began = Instant::now();
    while given.fake.seen(ApiKey::LeaveGroup).is_empty() {
        sleep(Duration::from_millis(100)).await;
    }
    about(u64::try_from(began.elapsed().as_millis()).unwrap(), &[60_000, 300_000])
}

async fn poll_size(given: Given) -> String {
    let mut consumer = given.unsubscribed().await;
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    consumer.poll(Duration::from_secs(10)).await.unwrap().len().to_string()
}

async fn tells(given: Given) -> String {
    given.takes_metrics();
    let _kept = given.consumer().await;
    asks_what_is_wanted(&given).await
}
