//! A producer without a cluster, or with one in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::{Duration, sleep};

use crate::effects::{Fake, Fate};
use crate::{Client, ClientError, ClientSettings, Producer, ProducerSettings, Record, TrySendReason};

#[tokio::test(start_paused = true)]
async fn who_must_not_wait_hears_why_a_topic_is_not_there() {
    let fake = Fake::new();
    let client =
        ClientSettings { connector: Some(Arc::new(fake.clone())), ..ClientSettings::new("boot:9092") };
    let is_forbidden = Arc::new(AtomicBool::new(false));
    let forbids = Arc::clone(&is_forbidden);
    fake.on_request(move |seen| match seen.api {
        ApiKey::Metadata if forbids.load(Ordering::Relaxed) => {
            Fate::Refused(ErrorCode::TopicAuthorizationFailed)
        }
        _ => Fate::Answered,
    });
    let producer = Producer::start(ProducerSettings { client, ..ProducerSettings::default() }).unwrap();
    let mut reasons = Vec::new();
    while reasons.last() != Some(&TrySendReason::NoMetadata(Some(ErrorCode::UnknownTopicOrPartition))) {
        reasons.push(producer.try_send(Record::to("nothing")).unwrap_err().reason);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reasons[0], TrySendReason::NoMetadata(None));
    let last = reasons.pop().unwrap().to_string();
    assert!(last.starts_with("the topic's metadata are not there yet: UNKNOWN_TOPIC_OR_PARTITION"), "{last}");
    // What will not pass is no reason to try on.
    is_forbidden.store(true, Ordering::Relaxed);
    let refused = loop {
        match producer.try_send(Record::to("nothing")).unwrap_err().reason {
            TrySendReason::NoMetadata(_) => sleep(Duration::from_millis(10)).await,
            other => break other,
        }
    };
    let TrySendReason::Error(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.code(), Some(ErrorCode::TopicAuthorizationFailed));
}

#[test]
fn without_a_runtime_there_is_an_error() {
    let settings = || ProducerSettings::new("boot:9092");
    let is_misuse = |started: Result<Producer, ClientError>| matches!(started, Err(ClientError::Misuse(_)));
    assert!(is_misuse(Producer::start(settings())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async { Client::start(ClientSettings::new("boot:9092")).unwrap() });
    assert!(is_misuse(Producer::with_client(client, settings())));
}
