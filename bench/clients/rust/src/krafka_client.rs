//! krafka, a client of pure Rust.

use std::time::{Duration, Instant};

use krafka::consumer::{AutoOffsetReset, Consumer};
use krafka::producer::{DeliveryHandle, Producer};
use krafka::{Compression, Kafka, Record};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::Outcome;
use crate::meter::Meter;
use crate::options::{BATCH_SIZE_BYTES, BUFFER_MEMORY_BYTES, LINGER, Options};

pub async fn produce(options: &Options) -> Outcome {
    let kafka = Kafka::builder(&*options.bootstrap).connect().await?;
    let codec = match options.codec.as_str() {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => return Err(format!("{other} is no codec").into()),
    };
    let producer = kafka
        .producer()
        .compression(codec)
        .batch_size(BATCH_SIZE_BYTES)
        .buffer_memory(BUFFER_MEMORY_BYTES)
        .linger(LINGER)
        .build()
        .await?;
    let values = options.values();
    send(&producer, options, &values, options.warm, None).await?;
    let meter = Meter::start()?;
    let latencies = send(&producer, options, &values, options.records, Some(meter.began())).await?;
    let mut figures = meter.stop()?;
    figures.latencies = latencies;
    producer.close().await?;
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
    let (sent, mut answers) = mpsc::unbounded_channel::<(Option<Instant>, DeliveryHandle)>();
    let acknowledged = tokio::spawn(async move {
        let mut latencies = Vec::new();
        while let Some((due, delivery)) = answers.recv().await {
            let _ = delivery.await?;
            latencies.extend(due.map(|due| due.elapsed()));
        }
        Ok::<_, krafka::KrafkaError>(latencies)
    });
    for (number, value) in values.iter().cycle().take(count).enumerate() {
        let due = began.and_then(|began| options.due(number).map(|after| began + after));
        if let Some(due) = due.filter(|due| *due > Instant::now()) {
            sleep_until(due.into()).await;
        }
        sent.send((due, producer.enqueue(Record::new(&*options.topic, value.clone())).await?))?;
    }
    drop(sent);
    producer.flush().await?;
    Ok(acknowledged.await??)
}

pub async fn consume(options: &Options) -> Outcome {
    let kafka = Kafka::builder(&*options.bootstrap).connect().await?;
    let consumer =
        kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest).build().await?;
    consumer.assign(&options.topic, (0..options.partitions).collect()).await?;
    read(&consumer, options.warm).await?;
    let meter = Meter::start()?;
    read(&consumer, options.records).await?;
    let figures = meter.stop()?;
    consumer.close().await?;
    Ok(figures)
}

/// Reads at least so many records, and looks at each.
async fn read(consumer: &Consumer, count: usize) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
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
