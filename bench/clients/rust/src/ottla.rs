//! Ottla's client.

use std::time::{Duration, Instant};

use ottla_client::consumer::{Consumer, ConsumerSettings};
use ottla_client::types::TopicPartition;
use ottla_client::{Delivery, Producer, ProducerSettings, Record, Scope, Settings};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::Outcome;
use crate::meter::Meter;
use crate::options::{BATCH_SIZE_BYTES, BUFFER_MEMORY_BYTES, LINGER, Options};

pub async fn produce(options: &Options) -> Outcome {
    let settings = Settings::parse(
        Scope::Producer,
        [
            ("bootstrap.servers", options.bootstrap.as_str()),
            ("compression.type", &options.codec),
            ("batch.size", &BATCH_SIZE_BYTES.to_string()),
            ("buffer.memory", &BUFFER_MEMORY_BYTES.to_string()),
            ("linger.ms", &LINGER.as_millis().to_string()),
        ],
    )?;
    let producer = Producer::start(ProducerSettings::from_settings(&settings)?)?;
    let values = options.values();
    send(&producer, options, &values, options.warm, None).await?;
    let meter = Meter::start()?;
    let latencies = send(&producer, options, &values, options.records, Some(meter.began())).await?;
    let mut figures = meter.stop()?;
    figures.latencies = latencies;
    producer.close(Duration::from_secs(60)).await?;
    Ok(figures)
}

/// Sends so many records and waits for all acknowledgements; paced, and with their latencies, where the load has a rate.
async fn send(
    producer: &Producer,
    options: &Options,
    values: &[Vec<u8>],
    count: usize,
    began: Option<Instant>,
) -> Result<Vec<Duration>, Box<dyn std::error::Error + Send + Sync>> {
    let (sent, mut answers) = mpsc::unbounded_channel::<(Option<Instant>, Delivery)>();
    let acknowledged = tokio::spawn(async move {
        let mut latencies = Vec::new();
        while let Some((due, delivery)) = answers.recv().await {
            delivery.await?;
            latencies.extend(due.map(|due| due.elapsed()));
        }
        Ok::<_, ottla_client::ClientError>(latencies)
    });
    for (number, value) in values.iter().cycle().take(count).enumerate() {
        let due = began.and_then(|began| options.due(number).map(|after| began + after));
        if let Some(due) = due.filter(|due| *due > Instant::now()) {
            sleep_until(due.into()).await;
        }
        sent.send((due, producer.send(Record::to(&options.topic).value(value)).await?))?;
    }
    drop(sent);
    producer.flush().await;
    Ok(acknowledged.await??)
}

pub async fn consume(options: &Options) -> Outcome {
    let settings = [("bootstrap.servers", options.bootstrap.as_str()), ("auto.offset.reset", "earliest")];
    let settings = Settings::parse(Scope::Consumer, settings)?;
    let mut consumer = Consumer::connect(ConsumerSettings::from_settings(&settings)?).await?;
    consumer
        .assign((0..options.partitions).map(|partition| TopicPartition::new(&*options.topic, partition)))?;
    read(&mut consumer, options.warm).await?;
    let meter = Meter::start()?;
    read(&mut consumer, options.records).await?;
    let figures = meter.stop()?;
    consumer.close(Duration::from_secs(60)).await?;
    Ok(figures)
}

/// Reads at least so many records, and looks at each.
async fn read(consumer: &mut Consumer, count: usize) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut records, mut bytes) = (0, 0);
    while records < count {
        let polled = consumer.poll(Duration::from_secs(60)).await?;
        if polled.is_empty() {
            return Err("no record within a minute".into());
        }
        records += polled.len();
        bytes +=
            polled.iter().filter_map(|record| record.value.as_ref()).map(|value| value.len()).sum::<usize>();
    }
    std::hint::black_box(bytes);
    Ok(())
}
