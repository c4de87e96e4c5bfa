//! A worker that ends well: told to stop, it begins nothing new, finishes what it has, commits that, and leaves its group, so
//! that others take over at once and nothing is done twice.
//!
//! ```text
//! cargo run -p ottla-client --example graceful_shutdown -- localhost:9092
//! ```
//!
//! The topic is `orders`. Records with the same key are worked on in order, others beside each other.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use ottla_client::ClientSettings;
use ottla_client::consumer::{Consumer, ConsumerRecord, ConsumerSettings, OffsetReset, Processing};

pub const TOPIC: &str = "orders";
pub const GROUP: &str = "packing";
/// Shorter than what the system waits before it kills a process that it has asked to end.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    run(&bootstrap, asked_to_end(), pack).await
}

/// Ctrl-C, or what systemd, Docker and Kubernetes send.
async fn asked_to_end() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return eprintln!("signals can't be heard: {error}"),
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Works until `stop` is ready.
pub async fn run<H, F>(bootstrap: &str, stop: impl Future<Output = ()>, work: H) -> Result<(), Box<dyn Error>>
where
    H: FnMut(ConsumerRecord) -> F,
    F: Future<Output = Result<(), std::io::Error>> + Send + 'static,
{
    let mut consumer = Consumer::connect(ConsumerSettings {
        group_id: Some(GROUP.to_owned()),
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await?;
    consumer.subscribe([TOPIC])?;
    let processing = Processing { concurrency: 32, ..Processing::default() };
    // Returns once nothing is worked on any more, with all of it committed.
    let processed = consumer.process(processing, work, stop).await;
    // Also after an error: what was done is not to be done again by who comes next.
    let closed = consumer.close(PATIENCE).await;
    processed?;
    closed?;
    Ok(())
}

async fn pack(order: ConsumerRecord) -> Result<(), std::io::Error> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("packed the order at {} of {}", order.offset, order.topic_partition);
    Ok(())
}
