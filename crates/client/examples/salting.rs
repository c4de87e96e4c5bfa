//! A key that has most of the records would keep one partition, and one reader, busy while the others idle. With a salt, its
//! records go to several partitions; what is counted there is put together again in a second step.
//!
//! ```text
//! cargo run -p ottla-client --example salting -- localhost:9092
//! ```
//!
//! The topic is `clicks`. The records of a salted key have no order among each other any more. Where only those of a part need
//! one, a compound key keeps it: `customer-7/cart-3` in place of `customer-7`.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use ottla_client::consumer::{Consumer, ConsumerSettings, OffsetReset};
use ottla_client::{ClientSettings, Producer, ProducerSettings, Record};

pub const TOPIC: &str = "clicks";
/// Over how many partitions, at most, the records of a hot key go.
pub const SALTS: usize = 8;
const SEPARATOR: char = '#';

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let clicks = (0..1_000).map(|number| if number % 10 == 0 { "page-2" } else { "page-1" });
    send(&bootstrap, clicks, |page| page == "page-1").await?;
    println!("{:?}", count(&bootstrap, 1_000).await?);
    Ok(())
}

/// Sends a click for each page. Only the keys that are hot get a salt: the others keep their order.
pub async fn send<'a>(
    bootstrap: &str,
    pages: impl Iterator<Item = &'a str>,
    is_hot: impl Fn(&str) -> bool,
) -> Result<(), Box<dyn Error>> {
    let producer = Producer::start(ProducerSettings::new(bootstrap))?;
    let mut deliveries = Vec::new();
    for (number, page) in pages.enumerate() {
        let key = if is_hot(page) { salted(page, number) } else { page.to_owned() };
        deliveries.push(producer.send(Record::to(TOPIC).key(&key).value("click")).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close(Duration::from_secs(10)).await?;
    Ok(())
}

/// In turn, or at random: either spreads the load. From the record itself, where sending it again must go to the same place.
fn salted(key: &str, number: usize) -> String {
    format!("{key}{SEPARATOR}{}", number % SALTS)
}

/// The key without its salt.
pub fn unsalted(key: &str) -> &str {
    key.rsplit_once(SEPARATOR).map_or(key, |(key, _)| key)
}

/// Clicks by page. Each reader of a group would send what it has counted, by the key without its salt, to a second topic, where
/// few records are left to be added up.
pub async fn count(bootstrap: &str, clicks: usize) -> Result<BTreeMap<String, usize>, Box<dyn Error>> {
    let mut consumer = Consumer::connect(ConsumerSettings {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(ClientSettings::new(bootstrap))
    })
    .await?;
    let partitions = consumer.partitions_for(TOPIC).await?;
    consumer.assign(partitions)?;
    let mut counts = BTreeMap::new();
    let mut records = consumer.records();
    for _ in 0..clicks {
        let record = records.record().await?;
        let key = std::str::from_utf8(record.key.as_deref().unwrap_or_default())?;
        *counts.entry(unsalted(key).to_owned()).or_insert(0) += 1;
    }
    drop(records);
    consumer.close(Duration::from_secs(10)).await?;
    Ok(counts)
}
