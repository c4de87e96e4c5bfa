//! Reads one topic and writes another so that each record counts once, whatever fails on the way: what is written and how far
//! was read are one transaction.
//!
//! ```text
//! cargo run -p ottla-client --example exactly_once -- localhost:9092
//! ```
//!
//! The topics are `orders` and `bills`. Run it as often as `orders` has partitions, each with a `transactional.id` of its own
//! (the second argument). Whoever reads `bills` sets `isolation.level` to `read_committed`.

#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use ottla_client::consumer::{
    Consumer, ConsumerError, ConsumerRecord, ConsumerSettings, IsolationLevel, OffsetReset,
};
use ottla_client::types::TopicPartition;
use ottla_client::{ClientSettings, ProducerSettings, Record, TransactionalProducer};

pub const FROM: &str = "orders";
pub const TO: &str = "bills";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let id = arguments.next().unwrap_or_else(|| "billing-1".to_owned());
    run(&bootstrap, &id, async { drop(tokio::signal::ctrl_c().await) }).await
}

/// Copies until `stop` is ready.
pub async fn run(bootstrap: &str, id: &str, stop: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    // Whoever had this id before is shut out from here on: two with one id can't both write.
    let mut producer = TransactionalProducer::start(ProducerSettings {
        transactional_id: Some(id.to_owned()),
        ..ProducerSettings::new(bootstrap)
    })
    .await?;
    let mut consumer = Consumer::connect(ConsumerSettings {
        group_id: Some("billing".to_owned()),
        enable_auto_commit: false,
        isolation_level: IsolationLevel::ReadCommitted,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await?;
    consumer.subscribe([FROM])?;
    tokio::pin!(stop);
    loop {
        // Between two polls no transaction is open, so partitions may go to others there.
        let orders = tokio::select! {
            orders = consumer.poll(Duration::from_secs(1)) => orders?,
            () = &mut stop => break,
        };
        if orders.is_empty() {
            continue;
        }
        if let Err(error) = bill(&mut producer, &consumer, &orders).await {
            if error.downcast_ref().is_some_and(|error: &ottla_client::ClientError| error.is_fatal()) {
                return Err(error);
            }
            // The transaction came to nothing: what was read in it is read again.
            eprintln!("once more: {error}");
            rewind(&mut consumer).await?;
        }
    }
    consumer.close(Duration::from_secs(10)).await?;
    producer.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// An early return drops the transaction, which aborts it.
async fn bill(
    producer: &mut TransactionalProducer,
    consumer: &Consumer,
    orders: &[ConsumerRecord],
) -> Result<(), Box<dyn Error>> {
    let transaction = producer.begin().await?;
    for order in orders {
        let bill = [b"bill for ", order.value.as_deref().unwrap_or_default()].concat();
        let record = Record { key: order.key.as_deref(), ..Record::to(TO).value(&bill) };
        // That it is written is known when the commit is: it need not be awaited.
        drop(transaction.send(record).await?);
    }
    transaction.send_offsets(consumer.positions(), consumer.group_metadata()?).await?;
    transaction.commit().await?;
    Ok(())
}

/// Goes on where the group has committed.
async fn rewind(consumer: &mut Consumer) -> Result<(), ConsumerError> {
    let assigned = consumer.assignment();
    let committed: BTreeMap<TopicPartition, _> = consumer.committed(assigned.clone()).await?;
    for partition in assigned {
        // A partition that has gone to somebody else in the meantime is theirs to read.
        let _ = match committed.get(&partition) {
            Some(committed) => consumer.seek_to_position(&partition, committed.position),
            None => consumer.seek_to_beginning(&partition),
        };
    }
    Ok(())
}
