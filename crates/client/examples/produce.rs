//! How fast records are written: `produce BOOTSTRAP TOPIC [RECORDS [BYTES [TASKS [KEY=VALUE...]]]]`, with settings by Apache
//! Kafka's names. Prints records and megabytes a second, processor time a record, and how long acknowledgements took.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::{Duration, Instant};

use ottla_client::{ClientError, Delivery, Producer, ProducerSettings, Record, Scope, Settings};

/// Each so many records' acknowledgement is timed.
const TIMED: usize = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), ClientError> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap =
        arguments.next().expect("usage: produce BOOTSTRAP TOPIC [RECORDS [BYTES [TASKS [KEY=VALUE...]]]]");
    let topic = arguments.next().expect("a topic");
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (records, bytes, tasks) = (number(1_000_000), number(100), number(1).max(1));
    let given: Vec<String> = arguments.collect();
    let pairs = given.iter().filter_map(|pair| pair.split_once('='));
    let settings =
        Settings::parse(Scope::Producer, pairs.chain([("bootstrap.servers", bootstrap.as_str())]))?;
    let producer = Producer::start(ProducerSettings::from_settings(&settings)?)?;
    producer.partitions(&topic).await?;

    let before = (Instant::now(), processor_time());
    let mut running = Vec::new();
    for _ in 0..tasks {
        running.push(tokio::spawn(write(producer.clone(), topic.clone(), records / tasks, bytes)));
    }
    let mut waits = Vec::new();
    for task in running {
        waits.extend(task.await.expect("no task panics")?);
    }
    producer.close(Duration::from_secs(120)).await?;
    let took = before.0.elapsed().as_secs_f64();
    let processor = processor_time().saturating_sub(before.1).as_secs_f64();
    waits.sort_unstable();
    let at = |part: f64| waits.get((waits.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!("{records} records of {bytes} bytes by {tasks} tasks in {took:.2} s");
    println!("{:.0} records/s, {:.1} MB/s", records as f64 / took, (records * bytes) as f64 / took / 1e6);
    println!("{:.3} us of processor time a record", processor * 1e6 / records as f64);
    println!("acknowledged after {:?} (median), {:?} (99 of 100)", at(0.5), at(0.99));
    Ok(())
}

async fn write(
    producer: Producer,
    topic: String,
    records: usize,
    bytes: usize,
) -> Result<Vec<Duration>, ClientError> {
    let value = vec![b'x'; bytes];
    let mut timing = Vec::new();
    let mut last: Option<Delivery> = None;
    for number in 0..records {
        let began = Instant::now();
        let delivery = producer.send(Record::to(&topic).value(&value)).await?;
        if number % TIMED == 0 {
            timing.push(tokio::spawn(async move {
                delivery.await?;
                Ok::<Duration, ClientError>(began.elapsed())
            }));
        } else {
            last = Some(delivery);
        }
    }
    if let Some(last) = last {
        last.await?;
    }
    let mut waits = Vec::new();
    for timed in timing {
        waits.push(timed.await.expect("no task panics")?);
    }
    Ok(waits)
}

/// Of this process, as Linux tells it.
fn processor_time() -> Duration {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}
