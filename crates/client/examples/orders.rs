//! An application of fifty lines: orders are taken in and packed, and a broker that is restarted meanwhile costs none of them.
//!
//! ```text
//! ottla topic create orders -p 3
//! cargo run -p ottla-client --example orders -- localhost:9092
//! ```

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use ottla_client::consumer::{Consumer, ConsumerSettings, OffsetReset};
use ottla_client::{ClientSettings, Producer, ProducerSettings, Record};

pub const TOPIC: &str = "orders";
pub const GROUP: &str = "packing";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let ((), packed) = tokio::try_join!(take_in(&bootstrap, 1000), pack(&bootstrap, 1000))?;
    println!("packed {} orders", packed.len());
    Ok(())
}

/// Each order is written once, and a customer's in their order, however often it has to be sent: the producer is idempotent.
pub async fn take_in(bootstrap: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let producer = Producer::start(ProducerSettings::new(bootstrap))?;
    for number in 0..count {
        let (customer, order) = (format!("customer-{}", number % 7), format!("order {number}"));
        let written = producer.send(Record::to(TOPIC).key(&customer).value(&order)).await?.await?;
        println!("took in {order}: {}-{} at {}", written.topic, written.partition, written.offset);
    }
    Ok(producer.close(PATIENCE).await?)
}

/// Until so many are packed. What is committed is not read again; what was read before a crash and not committed, is: so the
/// work has to bear being done twice, as here by a set.
pub async fn pack(bootstrap: &str, count: usize) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut consumer = Consumer::connect(ConsumerSettings {
        group_id: Some(GROUP.to_owned()),
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await?;
    consumer.subscribe([TOPIC])?;
    let mut packed = BTreeSet::new();
    while packed.len() < count {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            packed.insert(String::from_utf8(record.value.unwrap_or_default().to_vec())?);
        }
        consumer.commit().await?;
    }
    consumer.close(PATIENCE).await?;
    Ok(packed)
}
