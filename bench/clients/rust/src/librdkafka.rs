//! librdkafka, by the rdkafka crate.

use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Outcome;
use crate::meter::Meter;
use crate::options::{BATCH_SIZE_BYTES, BUFFER_MEMORY_BYTES, LINGER, Options};

/// Takes the acknowledgements.
struct Acknowledged {
    made: Instant,
    latencies: Mutex<Vec<Duration>>,
    failure: Mutex<Option<KafkaError>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    /// When the record was due: nanoseconds after this was made, or none.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, due: usize) {
        if let Err((error, _)) = result {
            *self.failure.lock().expect("nobody panics") = Some(error.clone());
        }
        if due > 0 {
            let latency = self.made.elapsed().saturating_sub(Duration::from_nanos(due as u64));
            self.latencies.lock().expect("nobody panics").push(latency);
        }
    }
}

pub fn produce(options: &Options) -> Outcome {
    let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.type", &options.codec)
        .set("batch.size", BATCH_SIZE_BYTES.to_string())
        .set("linger.ms", LINGER.as_millis().to_string())
        .set("queue.buffering.max.kbytes", (BUFFER_MEMORY_BYTES / 1024).to_string())
        .set("queue.buffering.max.messages", "1000000")
        .set("batch.num.messages", "1000000")
        .create_with_context(Acknowledged {
            made: Instant::now(),
            latencies: Mutex::default(),
            failure: Mutex::default(),
        })?;
    let values = options.values();
    send(&producer, options, &values, options.warm, None)?;
    let meter = Meter::start()?;
    send(&producer, options, &values, options.records, Some(meter.began()))?;
    let mut figures = meter.stop()?;
    figures.latencies = std::mem::take(&mut *producer.context().latencies.lock().expect("nobody panics"));
    Ok(figures)
}

/// Sends so many records and waits for all acknowledgements; paced where the load has a rate.
fn send(
    producer: &ThreadedProducer<Acknowledged>,
    options: &Options,
    values: &[Vec<u8>],
    count: usize,
    began: Option<Instant>,
) -> Result<(), KafkaError> {
    for (number, value) in values.iter().cycle().take(count).enumerate() {
        let due = began.and_then(|began| options.due(number).map(|after| began + after));
        if let Some(ahead) = due.and_then(|due| due.checked_duration_since(Instant::now())) {
            sleep(ahead);
        }
        let noted = due.map_or(0, |due| due.duration_since(producer.context().made).as_nanos() as usize);
        let mut record = BaseRecord::<(), Vec<u8>, _>::with_opaque_to(&options.topic, noted).payload(value);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), given_back)) => {
                    record = given_back
                }
                Err((error, _)) => return Err(error),
            }
            sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60))?;
    producer.context().failure.lock().expect("nobody panics").take().map_or(Ok(()), Err)
}

pub fn consume(options: &Options) -> Outcome {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .set("group.id", "clients")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..options.partitions {
        partitions.add_partition_offset(&options.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    read(&consumer, options.warm)?;
    let meter = Meter::start()?;
    read(&consumer, options.records)?;
    meter.stop()
}

/// Reads so many records, and looks at each.
fn read(consumer: &BaseConsumer, count: usize) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut bytes = 0;
    for _ in 0..count {
        let record = consumer.poll(Duration::from_secs(60)).ok_or("no record within a minute")??;
        bytes += record.payload().map_or(0, <[u8]>::len);
    }
    std::hint::black_box(bytes);
    Ok(())
}
