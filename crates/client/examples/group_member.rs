//! A member of a group that tells on standard output what happens to it, for trials of groups with members of several makers:
//! `group_member BOOTSTRAP TOPIC consumer|share [KEY=VALUE...]`, with settings by Apache Kafka's names. It leaves when its
//! standard input ends.
//!
//! `assigned P...`, `revoked P...` and `lost P...` name partitions, `got P OFFSET` a record, once it has been committed or accepted.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use ottla_client::consumer::{Consumer, ConsumerError, ConsumerEvent, ConsumerRecord, ConsumerSettings};
use ottla_client::share::{ShareConsumer, ShareConsumerSettings};
use ottla_client::types::TopicPartition;
use ottla_client::{Scope, Settings};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("group_member BOOTSTRAP TOPIC consumer|share [KEY=VALUE...]");
    let (bootstrap, topic, kind) = (next(), next(), next());
    let given: Vec<String> = arguments.collect();
    let pairs = given.iter().filter_map(|pair| pair.split_once('='));
    let pairs = pairs.chain([("bootstrap.servers", bootstrap.as_str())]);
    let stopped = input_ended();
    if kind == "share" {
        let settings = Settings::parse(Scope::ShareConsumer, pairs)?;
        share(ShareConsumerSettings::from_settings(&settings)?, &topic, stopped).await
    } else {
        let settings = Settings::parse(Scope::Consumer, pairs)?;
        consume(ConsumerSettings::from_settings(&settings)?, &topic, stopped).await
    }
}

/// Standard input is read by a thread of its own: nothing else waits for it.
fn input_ended() -> oneshot::Receiver<()> {
    let (ended, is_over) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    is_over
}

async fn consume(
    settings: ConsumerSettings,
    topic: &str,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), Box<dyn Error>> {
    let mut consumer = Consumer::connect(settings).await?;
    consumer.subscribe([topic])?;
    // What was read and may not have been committed yet.
    let mut read: Vec<ConsumerRecord> = Vec::new();
    loop {
        let event = tokio::select! {
            event = consumer.next() => event?,
            _ = &mut stopped => break,
        };
        match event {
            ConsumerEvent::Records(records) => {
                read.extend(records);
                commit(&mut consumer, &mut read).await?;
            }
            ConsumerEvent::Assigned(partitions) => tell("assigned", &partitions),
            ConsumerEvent::Revoked(partitions) => {
                commit(&mut consumer, &mut read).await?;
                tell("revoked", &partitions);
            }
            ConsumerEvent::Lost(partitions) => tell("lost", &partitions),
        }
    }
    commit(&mut consumer, &mut read).await?;
    consumer.close(PATIENCE).await?;
    Ok(())
}

/// While a rebalance is under way there may be no commit; partitions that are given up are committed before that.
async fn commit(consumer: &mut Consumer, read: &mut Vec<ConsumerRecord>) -> Result<(), ConsumerError> {
    if read.is_empty() {
        return Ok(());
    }
    match consumer.commit().await {
        Ok(()) => {
            for record in read.drain(..) {
                println!("got {} {}", record.partition(), record.offset.0);
            }
            Ok(())
        }
        Err(error) if error.is_retriable() => Ok(()),
        Err(error) => Err(error),
    }
}

fn tell(what: &str, partitions: &[TopicPartition]) {
    let names: Vec<String> = partitions.iter().map(|partition| partition.partition.to_string()).collect();
    println!("{what} {}", names.join(" "));
}

async fn share(
    settings: ShareConsumerSettings,
    topic: &str,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), Box<dyn Error>> {
    let mut consumer = ShareConsumer::connect(settings).await?;
    consumer.subscribe([topic])?;
    loop {
        tokio::select! {
            records = consumer.next() => drop(records?),
            _ = &mut stopped => break,
        }
        for outcome in consumer.commit().await? {
            outcome.result?;
            for offset in outcome.offsets {
                println!("got {} {offset}", outcome.partition.partition);
            }
        }
    }
    consumer.close(PATIENCE).await?;
    Ok(())
}
