//! Whole clients that tell a cluster in memory of themselves, on virtual time.

use std::sync::Arc;
use std::time::Duration;

use ottla_record::{Codec, decompress};
use ottla_types::Uuid;
use ottla_wire::messages::{GetTelemetrySubscriptionsRequest, PushTelemetryRequest};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::sleep;

use super::otlp::tests::read;
use crate::consumer::{Consumer, ConsumerSettings, OffsetReset};
use crate::effects::{Fake, Fate, Subscribed};
use crate::share::{ShareConsumer, ShareConsumerSettings};
use crate::{ClientSettings, Producer, ProducerSettings, Record};

const INTERVAL_MS: i32 = 10_000;

fn wants(requested: &[&str], codec: Codec) -> (Fake, ClientSettings) {
    let fake = Fake::new();
    fake.topic("t", 1);
    fake.load("t", 0, 5);
    fake.with(|state| {
        state.telemetry = Some(Subscribed {
            requested: requested.iter().map(|name| (*name).to_owned()).collect(),
            push_interval_ms: INTERVAL_MS,
            compressions: vec![i8::try_from(codec.id()).unwrap()],
            bytes_max: 1 << 20,
            is_delta: false,
            subscription_id: 5,
        });
    });
    let settings = ClientSettings::new("boot:9092");
    (fake.clone(), ClientSettings { connector: Some(Arc::new(fake)), ..settings })
}

fn pushed(fake: &Fake) -> Vec<PushTelemetryRequest> {
    fake.seen(ApiKey::PushTelemetry).iter().map(|seen| seen.read()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_producer_tells_what_is_wanted_again_and_again_and_when_it_goes() {
    for codec in Codec::ALL {
        let (fake, client) =
            wants(&["org.apache.kafka.producer.record.send", "org.apache.kafka.other"], codec);
        let producer = Producer::start(ProducerSettings { client, ..ProducerSettings::default() }).unwrap();
        for _ in 0..3 {
            producer.send(Record::to("t").value("v")).await.unwrap().await.unwrap();
        }
        let seen = fake.until_seen(ApiKey::PushTelemetry, 3).await;
        let asked_ms = fake.seen(ApiKey::GetTelemetrySubscriptions)[0].at_ms;
        let first_ms = seen[0].at_ms - asked_ms;
        assert!((5_000..=15_001).contains(&first_ms), "{first_ms}");
        assert_eq!(seen[2].at_ms - seen[1].at_ms, 10_000);
        producer.send(Record::to("t").value("v")).await.unwrap().await.unwrap();
        producer.close(Duration::from_secs(10)).await.unwrap();
        sleep(Duration::from_secs(60)).await;

        let pushes = pushed(&fake);
        assert_eq!(
            pushes.iter().map(|push| push.terminating).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        for (push, count) in pushes.iter().zip([3.0, 3.0, 3.0, 4.0]) {
            assert_eq!((push.client_instance_id, push.subscription_id), (Uuid([9; 16]), 5));
            assert_eq!(push.compression_type, i8::try_from(codec.id()).unwrap());
            let told = read(&decompress(codec, &push.metrics, 1 << 20).unwrap());
            let total = ("org.apache.kafka.producer.record.send.total".to_owned(), "sum", count);
            assert_eq!(told[0], total);
            assert_eq!(told[1].0, "org.apache.kafka.producer.record.send.rate");
            assert_eq!(told.len(), 2, "{told:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_tells_what_it_has_read() {
    let (fake, client) = wants(&[""], Codec::None);
    let settings = ConsumerSettings {
        group_id: Some("g".to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        auto_commit_interval_ms: 1_000,
        ..ConsumerSettings::new(client)
    };
    let mut consumer = Consumer::connect(settings).await.unwrap();
    consumer.subscribe(["t"]).unwrap();
    while pushed(&fake).is_empty() {
        consumer.poll(Duration::from_secs(1)).await.unwrap();
    }
    let told = read(&pushed(&fake)[0].metrics);
    let value = |name: &str| {
        let name = format!("org.apache.kafka.consumer.{name}");
        told.iter().find(|(found, ..)| *found == name).map(|(_, kind, value)| (*kind, *value))
    };
    assert_eq!(value("fetch.manager.records.consumed.total"), Some(("sum", 5.0)), "{told:?}");
    assert_eq!(value("coordinator.assigned.partitions"), Some(("gauge", 1.0)));
    assert!(value("connection.creation.total").unwrap().1 >= 2.0);
    assert!(value("poll.idle.ratio.avg").is_some_and(|(_, ratio)| ratio > 0.99), "it does nothing but wait");
    for name in [
        "fetch.manager.fetch.latency.max",
        "coordinator.commit.latency.avg",
        "coordinator.rebalance.latency.avg",
        "coordinator.rebalance.latency.max",
        "coordinator.rebalance.rate.per.hour",
        "coordinator.join.time.avg",
        "coordinator.sync.time.max",
        "coordinator.heartbeat.response.time.max",
        "node.request.latency.avg",
    ] {
        assert!(value(name).is_some_and(|(kind, _)| kind == "gauge"), "{name}: {told:?}");
    }
    assert_eq!(value("coordinator.rebalance.total"), Some(("sum", 1.0)));
    assert_eq!(value("coordinator.failed.rebalance.total"), Some(("sum", 0.0)));
    for (name, of) in [("heartbeat", ApiKey::Heartbeat), ("commit", ApiKey::OffsetCommit)] {
        let name = format!("coordinator.{name}.total");
        let seen = fake.seen(of).len() as f64;
        assert!(
            value(&name).is_some_and(|(_, told)| told >= 1.0 && told <= seen),
            "{name}: {told:?}, {seen}"
        );
    }
    for name in ["coordinator.last.rebalance.seconds.ago", "coordinator.last.heartbeat.seconds.ago"] {
        assert!(value(name).is_some_and(|(_, seconds)| (0.0..20.0).contains(&seconds)), "{name}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_consumer_tells_what_was_lent_to_it() {
    let (fake, client) = wants(&["org.apache.kafka.consumer.share"], Codec::None);
    let mut consumer = ShareConsumer::connect(ShareConsumerSettings::new(client, "g")).await.unwrap();
    consumer.subscribe(["t"]).unwrap();
    let mut count = 0;
    while pushed(&fake).is_empty() {
        count += consumer.poll(Duration::from_secs(1)).await.unwrap().len();
    }
    let told = read(&pushed(&fake)[0].metrics);
    let value = |name: &str| {
        let name = format!("org.apache.kafka.consumer.share.{name}");
        told.iter().find(|(found, ..)| *found == name).map(|(_, kind, value)| (*kind, *value))
    };
    assert!(count > 0);
    // The last ones may not have been accepted yet.
    assert_eq!(value("fetch.manager.acknowledgements.send.total"), Some(("sum", count as f64)), "{told:?}");
    assert_eq!(value("fetch.manager.acknowledgements.error.total"), Some(("sum", 0.0)));
    assert_eq!(value("coordinator.rebalance.total"), Some(("sum", 1.0)));
    assert!(value("coordinator.heartbeat.total").is_some_and(|(_, told)| told >= 1.0), "{told:?}");
    assert_eq!(value("fetch.manager.records.consumed.total"), Some(("sum", count as f64)), "{told:?}");
    assert!(value("fetch.manager.fetch.latency.avg").is_some(), "{told:?}");
    assert!(
        value("poll.idle.ratio.avg").is_some_and(|(kind, ratio)| kind == "gauge" && ratio > 0.99),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_has_changed_is_asked_for_anew() {
    let (fake, client) = wants(&[""], Codec::None);
    fake.on_request(|seen| match seen.api {
        ApiKey::PushTelemetry => Fate::Refused(ErrorCode::UnknownSubscriptionId),
        _ => Fate::Answered,
    });
    let producer = Producer::start(ProducerSettings { client, ..ProducerSettings::default() }).unwrap();
    producer.partitions("t").await.unwrap();
    let asked = fake.until_seen(ApiKey::GetTelemetrySubscriptions, 2).await;
    let ids = [0, 1].map(|place| asked[place].read::<GetTelemetrySubscriptionsRequest>().client_instance_id);
    assert_eq!(ids, [Uuid::ZERO, Uuid([9; 16])], "the client keeps the id that it was given");
}

#[tokio::test(start_paused = true)]
async fn clusters_that_take_no_metrics_are_not_asked() {
    let (fake, client) = wants(&[""], Codec::None);
    fake.with(|state| state.telemetry = None);
    let producer = Producer::start(ProducerSettings { client, ..ProducerSettings::default() }).unwrap();
    producer.send(Record::to("t").value("v")).await.unwrap().await.unwrap();
    sleep(Duration::from_secs(3_600)).await;
    producer.close(Duration::from_secs(10)).await.unwrap();
    assert!(fake.seen(ApiKey::GetTelemetrySubscriptions).is_empty() && pushed(&fake).is_empty());
}
