//! Records written and read, and how long each took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use ottla_client::admin::Admin;
use ottla_client::consumer::{Consumer, ConsumerSettings};
use ottla_client::types::{Offset, TopicPartition};
use ottla_client::{ClientError, Delivery, Producer, ProducerSettings, Record, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster_view;
use crate::error::Failure;
use crate::output::Cell;
use crate::progress::Progress;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Load {
    pub topic: Arc<Topic>,
    pub records: u64,
    pub value_bytes: u32,
    pub rate: Option<u64>,
}

/// What it came to.
#[derive(Clone, Debug)]
pub struct Phase {
    pub name: &'static str,
    pub records: u64,
    pub bytes: u64,
    pub took: Duration,
    /// In microseconds; `None` where no record is waited for by itself.
    pub latency_us: Option<Histogram<u64>>,
    /// Records that were done in each second.
    pub each_second: Vec<u64>,
}

const LATENCY_US_MAX: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

impl Phase {
    pub fn seconds(&self) -> f64 {
        self.took.as_secs_f64()
    }

    pub fn records_per_second(&self) -> i64 {
        (self.records as f64 / self.seconds().max(1e-9)) as i64
    }

    pub fn bytes_per_second(&self) -> i64 {
        (self.bytes as f64 / self.seconds().max(1e-9)) as i64
    }

    /// In milliseconds.
    pub fn latency_ms(&self, percentile: f64) -> Option<f64> {
        self.latency_us.as_ref().map(|latency| latency.value_at_percentile(percentile) as f64 / 1000.0)
    }

    pub fn latency_cell(&self, percentile: f64) -> Cell {
        Cell::maybe(self.latency_ms(percentile), Cell::Fraction)
    }
}

pub async fn ends(admin: &Admin, load: &Load) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut ends = BTreeMap::new();
    for (at, known) in cluster_view::ends(admin, cluster_view::partitions_of(&load.topic), false).await? {
        ends.insert(at, known?.1);
    }
    Ok(ends)
}

/// What was sent, and from when on its answer is waited for.
type Sent = (Instant, Delivery);

/// So many records in a row go to one partition: batches fill, and all partitions have their share.
const IN_A_ROW: u64 = 64;
const PENDING_MAX: usize = 20_000;
const CLOSING: Duration = Duration::from_secs(30);

pub async fn write(load: &Load, settings: ProducerSettings, is_drawn: bool) -> Result<Phase, Failure> {
    let producer = Producer::start(settings)?;
    producer.partitions(&load.topic.name).await?;
    let value = value_of(load.value_bytes);
    let progress = Progress::records(Some(load.records), is_drawn);
    // A partition's answers come in order: whoever waits for them in that order sees each when it comes.
    let mut waiting = JoinSet::new();
    let begun = Instant::now();
    let senders: Vec<mpsc::Sender<Sent>> = load
        .topic
        .partitions
        .iter()
        .map(|_| {
            let (sender, sent) = mpsc::channel(PENDING_MAX);
            waiting.spawn(wait_for_answers(begun, sent));
            sender
        })
        .collect();
    let partitions = u64::try_from(senders.len()).unwrap_or(1).max(1);
    for number in 0..load.records {
        let due = match load.rate {
            Some(rate) => begun + Duration::from_secs_f64(number as f64 / rate as f64),
            None => Instant::now(),
        };
        // A timer is never shorter than a millisecond, also where its time is over.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let partition = (number / IN_A_ROW) % partitions;
        let record =
            Record::to(&load.topic.name).partition(i32::try_from(partition).unwrap_or(0)).value(&value);
        let delivery = producer.send(record).await?;
        let sender = usize::try_from(partition).ok().and_then(|at| senders.get(at));
        if let Some(sender) = sender
            && sender.send((due, delivery)).await.is_err()
        {
            // It has ended with an error, which is found below.
            break;
        }
        progress.add(1);
    }
    drop(senders);
    producer.flush().await;
    let mut phase = Phase {
        name: "write",
        records: 0,
        bytes: 0,
        took: Duration::ZERO,
        latency_us: None,
        each_second: Vec::new(),
    };
    let mut latency = histogram()?;
    while let Some(joined) = waiting.join_next().await {
        let answered = joined.map_err(|error| Failure::failed(error.to_string()))??;
        phase.records += answered.latency_us.len();
        phase.took = phase.took.max(answered.last);
        latency.add(&answered.latency_us).map_err(|error| Failure::failed(error.to_string()))?;
        add_all(&mut phase.each_second, &answered.each_second);
    }
    phase.bytes = phase.records * u64::from(load.value_bytes);
    phase.latency_us = Some(latency);
    producer.close(CLOSING).await?;
    Ok(phase)
}

/// The same for every run: what is compressed is comparable.
fn value_of(bytes: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + u8::try_from((state >> 24) % 26).unwrap_or_default()
    };
    (0..bytes).map(letter).collect()
}

struct Answered {
    latency_us: Histogram<u64>,
    last: Duration,
    each_second: Vec<u64>,
}

async fn wait_for_answers(begun: Instant, mut sent: mpsc::Receiver<Sent>) -> Result<Answered, Failure> {
    let mut answered = Answered { latency_us: histogram()?, last: Duration::ZERO, each_second: Vec::new() };
    while let Some((due, delivery)) = sent.recv().await {
        delivery.await.map_err(|error: ClientError| Failure::from(error))?;
        let now = Instant::now();
        let us = u64::try_from((now - due).as_micros()).unwrap_or(LATENCY_US_MAX);
        answered.latency_us.saturating_record(us);
        answered.last = now - begun;
        count(&mut answered.each_second, answered.last, 1);
    }
    Ok(answered)
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).map_err(|error| Failure::failed(error.to_string()))
}

fn count(each_second: &mut Vec<u64>, at: Duration, records: u64) {
    let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX).min(SECONDS_MAX);
    if each_second.len() <= second {
        each_second.resize(second + 1, 0);
    }
    if let Some(known) = each_second.get_mut(second) {
        *known += records;
    }
}

/// A day: what comes later counts to the last.
const SECONDS_MAX: usize = 86_400;

fn add_all(to: &mut Vec<u64>, from: &[u64]) {
    if to.len() < from.len() {
        to.resize(from.len(), 0);
    }
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

pub async fn read(
    load: &Load,
    settings: ConsumerSettings,
    starts: &BTreeMap<TopicPartition, i64>,
    ends: &BTreeMap<TopicPartition, i64>,
    is_drawn: bool,
) -> Result<Phase, Failure> {
    let mut consumer = Consumer::connect(settings).await?;
    let mut open: Vec<TopicPartition> = ends
        .iter()
        .filter(|(at, end)| starts.get(*at).is_some_and(|start| start < *end))
        .map(|(at, _)| at.clone())
        .collect();
    consumer.assign(open.clone())?;
    for at in &open {
        consumer.seek(at, Offset(starts.get(at).copied().unwrap_or_default()))?;
    }
    let progress = Progress::records(Some(load.records), is_drawn);
    let mut phase = Phase {
        name: "read",
        records: 0,
        bytes: 0,
        took: Duration::ZERO,
        latency_us: None,
        each_second: Vec::new(),
    };
    let begun = Instant::now();
    while !open.is_empty() {
        let records = consumer.poll(Duration::from_millis(100)).await?;
        let is_ours = |record: &&ottla_client::consumer::ConsumerRecord| {
            ends.get(&record.topic_partition).is_some_and(|end| record.offset.value() < *end)
        };
        let ours = u64::try_from(records.iter().filter(is_ours).count()).unwrap_or_default();
        let value = |record: &ottla_client::consumer::ConsumerRecord| {
            record.value.as_ref().map_or(0, |value| value.len() as u64)
        };
        phase.records += ours;
        phase.bytes += records.iter().filter(is_ours).map(value).sum::<u64>();
        if ours > 0 {
            phase.took = begun.elapsed();
            count(&mut phase.each_second, phase.took, ours);
        }
        progress.add(records.len());
        let is_done = |at: &TopicPartition| {
            let position = consumer.position(at).map(|position| position.offset.value());
            position.zip(ends.get(at)).is_some_and(|(position, end)| position >= *end)
        };
        open.retain(|at| !is_done(at));
    }
    consumer.close(Duration::from_secs(5)).await?;
    Ok(phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted() {
        let mut each = Vec::new();
        count(&mut each, Duration::from_millis(2500), 3);
        count(&mut each, Duration::from_millis(100), 1);
        assert_eq!(each, [1, 0, 3]);
        add_all(&mut each, &[1, 1, 1, 1]);
        assert_eq!(each, [2, 1, 4, 1]);
    }

    #[test]
    fn values_are_the_same_every_time() {
        assert_eq!(value_of(5), value_of(5));
        assert_eq!(value_of(0), b"");
        assert!(value_of(100).iter().all(u8::is_ascii_lowercase));
    }

    #[test]
    fn rates_come_of_records_and_time() {
        let mut latency = histogram().unwrap();
        (1..=100).for_each(|ms| latency.saturating_record(ms * 1000));
        let phase = Phase {
            name: "write",
            records: 100,
            bytes: 5000,
            took: Duration::from_millis(500),
            latency_us: Some(latency),
            each_second: vec![100],
        };
        assert_eq!((phase.records_per_second(), phase.bytes_per_second()), (200, 10_000));
        assert!((phase.latency_ms(50.0).unwrap() - 50.0).abs() < 0.1);
        assert!((phase.latency_ms(100.0).unwrap() - 100.0).abs() < 0.1);
    }
}
