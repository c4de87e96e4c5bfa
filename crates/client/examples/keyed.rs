//! Where keys go: `keyed BOOTSTRAP TOPIC [KEY=VALUE...]` sends a record for each line of standard input, whose key the line says in
//! hexadecimal digits, and prints each record's partition.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::error::Error;
use std::time::Duration;

use tokio::sync::mpsc;

use ottla_client::{Producer, ProducerSettings, Record, Scope, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("keyed BOOTSTRAP TOPIC [KEY=VALUE...]");
    let (bootstrap, topic) = (next(), next());
    let given: Vec<String> = arguments.collect();
    let pairs = given.iter().filter_map(|pair| pair.split_once('='));
    let pairs = pairs.chain([("bootstrap.servers", bootstrap.as_str())]);
    let settings = Settings::parse(Scope::Producer, pairs)?;
    let producer = Producer::start(ProducerSettings::from_settings(&settings)?)?;
    let mut deliveries = Vec::new();
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        let key = bytes_of(&line).expect("hexadecimal digits, two a byte");
        deliveries.push(producer.send(Record::to(&topic).key(&key).value("v")).await?);
    }
    producer.flush().await;
    for delivery in deliveries {
        println!("{}", delivery.await?.partition);
    }
    producer.close(Duration::from_secs(60)).await?;
    Ok(())
}

/// Standard input is read by a thread of its own: nothing else waits for it.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (read, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if read.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
