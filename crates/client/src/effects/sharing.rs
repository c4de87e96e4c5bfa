//! Settings of members of share groups.

use std::time::Duration;

use ottla_wire::messages::{ShareFetchRequest, ShareGroupHeartbeatRequest};
use ottla_wire::{ApiKey, Request};
use tokio::time::{Instant, sleep};

use super::connection::asks_what_is_wanted;
use super::{Effect, Given, about, effect};
use crate::settings::Scope;
use crate::share::{ShareConsumer, ShareConsumerSettings};

const SHARE: &[Scope] = &[Scope::ShareConsumer];

pub(super) const EFFECTS: &[Effect] = &[
    effect!(SHARE, "enable.metrics.push" = "false", tells, "asks what is wanted" => "never asks"),
    effect!(SHARE, "check.crcs" = "false", damaged, "nothing" => "3 records"),
    effect!(SHARE, "client.rack" = "r", |given| said(given, |request: &ShareGroupHeartbeatRequest| {
        request.rack_id.clone().unwrap_or_default()
    }), "" => "r"),
    effect!(SHARE, "fetch.max.bytes" = "7000", |given| said(given, |request: &ShareFetchRequest| {
        request.max_bytes.to_string()
    }), "52428800" => "7000"),
    effect!(SHARE, "fetch.max.wait.ms" = "70", |given| said(given, |request: &ShareFetchRequest| {
        request.max_wait_ms.to_string()
    }), "500" => "70"),
    effect!(SHARE, "fetch.min.bytes" = "70", |given| said(given, |request: &ShareFetchRequest| {
        request.min_bytes.to_string()
    }), "1" => "70"),
    effect!(SHARE, "group.id" = "other", |given| said(given, |request: &ShareGroupHeartbeatRequest| {
        request.group_id.clone()
    }), "g" => "other"),
    effect!(SHARE, "max.poll.interval.ms" = "60000", leaves, "about 300000 ms" => "about 60000 ms"),
    effect!(SHARE, "max.poll.records" = "2", |given| said(given, |request: &ShareFetchRequest| {
        request.max_records.to_string()
    }), "500" => "2"),
    effect!(SHARE, "share.acknowledgement.mode" = "explicit", asks_again, "more records" => "an error"),
    effect!(SHARE, "share.acquire.mode" = "record_limit", |given| said(given, |request: &ShareFetchRequest| {
        request.share_acquire_mode.to_string()
    }), "0" => "1"),
];

impl Given {
    /// A member that reads the topic `t`, of three records in each of two partitions.
    async fn share_consumer(&self) -> ShareConsumer {
        self.fake.topic("t", 2);
        (0..2).for_each(|partition| self.fake.load("t", partition, 3));
        let settings = ShareConsumerSettings::from_settings(&self.settings()).unwrap();
        let client = self.connected(settings.client.clone());
        let mut consumer =
            ShareConsumer::connect(ShareConsumerSettings { client, ..settings }).await.unwrap();
        consumer.subscribe(["t"]).unwrap();
        consumer
    }
}

async fn said<R: Request>(given: Given, show: fn(&R) -> String) -> String {
    let mut consumer = given.share_consumer().await;
    tokio::spawn(async move { while consumer.poll(Duration::from_secs(1)).await.is_ok() {} });
    show(&given.fake.first::<R>().await)
}

async fn damaged(given: Given) -> String {
    let mut consumer = given.share_consumer().await;
    (0..2).for_each(|partition| given.fake.damage("t", partition));
    let found = consumer.poll(Duration::from_secs(10)).await.unwrap_or_default();
    if found.is_empty() { "nothing".to_owned() } else { "3 records".to_owned() }
}

async fn leaves(given: Given) -> String {
    let mut consumer = given.share_consumer().await;
    consumer.poll(Duration::from_secs(2)).await.unwrap();
    let began = Instant::now();
    let has_left = || {
        let heartbeats = given.fake.seen(ApiKey::ShareGroupHeartbeat);
        heartbeats.iter().any(|seen| seen.read::<ShareGroupHeartbeatRequest>().member_epoch < 0)
    };
    while !has_left() {
        sleep(Duration::from_millis(100)).await;
    }
    about(u64::try_from(began.elapsed().as_millis()).unwrap(), &[60_000, 300_000])
}

async fn asks_again(given: Given) -> String {
    let mut consumer = given.share_consumer().await;
    assert!(!consumer.poll(Duration::from_secs(10)).await.unwrap().is_empty());
    match consumer.poll(Duration::from_secs(10)).await {
        Ok(_) => "more records".to_owned(),
        Err(_) => "an error".to_owned(),
    }
}

async fn tells(given: Given) -> String {
    given.takes_metrics();
    let _kept = given.share_consumer().await;
    asks_what_is_wanted(&given).await
}
