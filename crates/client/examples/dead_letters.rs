//! Records that can't be worked on don't hold up the others: each is tried again a little later, by way of a topic for that,
//! and after some attempts it is put aside in a topic of dead letters, for somebody to look at.
//!
//! ```text
//! cargo run -p ottla-client --example dead_letters -- localhost:9092
//! ```
//!
//! The topics are `orders`, `orders.retry` and `orders.dead`. Records that are tried again have lost their place among the
//! records of their key: where that matters, keep the key's later records back too, or stop instead.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_client::consumer::{Consumer, ConsumerRecord, ConsumerSettings, OffsetReset, Processing};
use ottla_client::{ClientError, ClientSettings, Header, Producer, ProducerSettings, Record};

pub const TOPIC: &str = "orders";
pub const RETRY_TOPIC: &str = "orders.retry";
pub const DEAD_TOPIC: &str = "orders.dead";
/// What is tried again waits so long first.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const ATTEMPTS_MAX: u32 = 3;
/// Counts the attempts that have failed.
const ATTEMPTS: &[u8] = b"attempts";
const REASON: &[u8] = b"reason";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    run(&bootstrap, async { drop(tokio::signal::ctrl_c().await) }).await
}

/// Works until `stop` is ready.
pub async fn run(bootstrap: &str, stop: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    let producer = Producer::start(ProducerSettings::new(bootstrap))?;
    let mut consumer = Consumer::connect(ConsumerSettings {
        group_id: Some("billing".to_owned()),
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await?;
    consumer.subscribe([TOPIC, RETRY_TOPIC])?;
    let handler = |record| handle(producer.clone(), record);
    consumer.process(Processing::default(), handler, stop).await?;
    consumer.close(Duration::from_secs(10)).await?;
    producer.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// The record is done with once it was worked on, or is safe in another topic. Only when even that fails, everything stops.
async fn handle(producer: Producer, record: ConsumerRecord) -> Result<(), ClientError> {
    let failed_before = attempts(&record);
    if record.topic() == RETRY_TOPIC {
        tokio::time::sleep(until_due(&record)).await;
    }
    let Err(reason) = work_on(&record, failed_before).await else { return Ok(()) };
    let failed = failed_before + 1;
    let topic = if failed < ATTEMPTS_MAX { RETRY_TOPIC } else { DEAD_TOPIC };
    let count = failed.to_string();
    let headers = [
        Header { key: ATTEMPTS, value: Some(count.as_bytes()) },
        Header { key: REASON, value: Some(reason.as_bytes()) },
    ];
    let again = Record {
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
        ..Record::to(topic)
    };
    // To be awaited: with the offset committed and the record not written, it would be lost.
    producer.send(again).await?.await?;
    Ok(())
}

/// What the program is for. Here: `never` never works, `later` not at first.
async fn work_on(record: &ConsumerRecord, failed_before: u32) -> Result<(), String> {
    match record.value.as_deref() {
        Some(b"never") => Err("it can't be done".to_owned()),
        Some(b"later") if failed_before == 0 => Err("not now".to_owned()),
        _ => Ok(()),
    }
}

fn attempts(record: &ConsumerRecord) -> u32 {
    let header = record.headers.iter().find(|header| header.key == ATTEMPTS);
    let count = header.and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok()?.parse().ok());
    count.unwrap_or(0)
}

fn until_due(record: &ConsumerRecord) -> Duration {
    let written = Duration::from_millis(u64::try_from(record.timestamp.value()).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A clock that is ahead elsewhere must not hold it up for longer.
    (written + RETRY_AFTER).saturating_sub(now).min(RETRY_AFTER)
}
