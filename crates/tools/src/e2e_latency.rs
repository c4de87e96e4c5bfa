//! kafka-e2e-latency: sends records one after the other, reads each, and tells how long that took.

use std::pin::pin;
use std::time::{Duration, Instant};

use ottla_client::admin::{Admin, NewTopic};
use ottla_client::consumer::{Consumer, ConsumerRecord, ConsumerSettings};
use ottla_client::{Header, Producer, ProducerSettings, Record, Scope, Topics};

use crate::client_config::ClientConfig;
use crate::flags::{self, Grammar, Parsed};
use crate::java::{double, fixed};
use crate::net::{interrupted, patiently, with_worker};
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-e2e-latency", run: Run::Flags(run) };

const POLL: Duration = Duration::from_secs(60);
const CLOSING: Duration = Duration::from_secs(30);
/// Each so many records it is told how long one took.
const REPORTING: usize = 1000;
/// What the words mean that stand there without flags.
const POSITIONS: [&str; 6] = [
    "--bootstrap-server",
    "--topic",
    "--num-records",
    "--producer-acks",
    "--record-size",
    "--command-config",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    topic: String,
    acks: String,
    records: usize,
    shape: Shape,
    config: ClientConfig,
    warns_of_positions: bool,
}

/// What records are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    value_bytes: usize,
    /// 0: there is none.
    key_bytes: usize,
    headers: usize,
    header_key_bytes: usize,
    /// `None`: null.
    header_value_bytes: Option<usize>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let words = parsed.words();
        if words.iter().any(|word| word.starts_with("--")) {
            return Plan::of_flags(parsed, false);
        }
        if !(5..=6).contains(&words.len()) {
            return Err(said(format_args!(
                "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. Usage: bootstrap-server topic \
                 num-records producer-acks record-size [optional] command-config",
                words.len()
            )));
        }
        let named: Vec<String> = POSITIONS
            .into_iter()
            .zip(words)
            .flat_map(|(flag, word)| [flag.to_owned(), word.clone()])
            .collect();
        let Some(grammar) = Grammar::of(TOOL.name) else { return Err(Failure::Silent) };
        let parsed = flags::parse(&grammar, &named).map_err(|misuse| Failure::Usage(misuse.text))?;
        Plan::of_flags(&parsed, true)
    }

    fn of_flags(parsed: &Parsed, warns_of_positions: bool) -> Result<Plan, Failure> {
        let usage = |text: String| Err(Failure::Usage(text));
        for flag in POSITIONS.iter().take(5) {
            if !parsed.has(flag) {
                return usage(format!("Missing required argument \"[{}]\"", flag.trim_start_matches('-')));
            }
        }
        let acks = parsed.value("--producer-acks").unwrap_or_default();
        if !["1", "all"].contains(&acks) {
            let text = "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' \
                        or 'all'.";
            return usage(text.to_owned());
        }
        let number = |flag: &str| parsed.number::<i64>(flag).unwrap_or(0);
        let records = usize::try_from(number("--num-records")).ok().filter(|count| *count > 0);
        let Some(records) = records else {
            return usage("Value for --num-records must be a positive integer.".to_owned());
        };
        let size = |flag: &str| {
            let text = || Failure::Usage(format!("Value for {flag} must be a non-negative integer."));
            usize::try_from(number(flag)).map_err(|_| text())
        };
        let header_value_bytes = match number("--record-header-size") {
            -1 => None,
            bytes => Some(usize::try_from(bytes).map_err(|_| {
                let text = "Value for --record-header-size must be a non-negative integer or -1 for null header value.";
                Failure::Usage(text.to_owned())
            })?),
        };
        let servers = parsed.value("--bootstrap-server").unwrap_or_default();
        Ok(Plan {
            topic: parsed.value("--topic").unwrap_or_default().to_owned(),
            acks: acks.to_owned(),
            records,
            shape: Shape {
                value_bytes: size("--record-size")?,
                key_bytes: size("--record-key-size")?,
                headers: size("--num-headers")?,
                header_key_bytes: size("--record-header-key-size")?,
                header_value_bytes,
            },
            config: ClientConfig::new(parsed.value("--command-config"), &[])
                .shared()
                .fix("bootstrap.servers", servers),
            warns_of_positions,
        })
    }

    fn consumer(&self, output: &mut Output<'_>) -> Result<ConsumerSettings, Failure> {
        let config = self.config.clone();
        let config = config
            .fix("group.id", format!("test-group-{}", now_ms()))
            .fix("enable.auto.commit", false)
            .fix("auto.offset.reset", "latest")
            // Nothing waits for more.
            .fix("fetch.max.wait.ms", 0);
        ConsumerSettings::from_settings(&config.settings(Scope::Consumer, output)?).map_err(said)
    }

    fn producer(&self, output: &mut Output<'_>) -> Result<ProducerSettings, Failure> {
        let config = self.config.clone();
        let config = config.fix("linger.ms", 0).fix("max.block.ms", i64::MAX).fix("acks", &self.acks);
        ProducerSettings::from_settings(&config.settings(Scope::Producer, output)?).map_err(said)
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    if plan.warns_of_positions {
        output.line(format_args!(
            "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named arguments \
             instead: {}",
            POSITIONS.join(", ")
        ))?;
    }
    let (consumer, producer) = (plan.consumer(output)?, plan.producer(output)?);
    with_worker(async {
        let mut interrupt = pin!(interrupted());
        tokio::select! {
            done = measure(&plan, consumer, producer, output) => done,
            code = &mut interrupt => Err(Failure::Ended(code)),
        }
    })
}

async fn measure(
    plan: &Plan,
    consumer: ConsumerSettings,
    producer: ProducerSettings,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let servers = consumer.client.bootstrap_servers.join(",");
    let mut consumer = patiently(&servers, Consumer::connect(consumer), output).await?.map_err(said)?;
    let producer = Producer::start(producer).map_err(said)?;
    prepare(plan, &mut consumer, output).await?;
    let mut latencies = Vec::with_capacity(plan.records);
    for index in 0..plan.records {
        let latency = round_trip(plan, &producer, &mut consumer).await?;
        if index.is_multiple_of(REPORTING) {
            output.line(format_args!("{index}\t{}", double(latency.as_nanos() as f64 / 1000.0 / 1000.0)))?;
            output.out.flush()?;
        }
        latencies.push(latency);
    }
    tell(latencies, output)?;
    producer.close(CLOSING).await.map_err(said)?;
    consumer.close(CLOSING).await.map_err(said)
}

/// The topic is there, and all of it is read from its end on.
async fn prepare(plan: &Plan, consumer: &mut Consumer, output: &mut Output<'_>) -> Result<(), Failure> {
    let known = consumer.client().refresh(Topics::Every).await.map_err(said)?;
    if known.topic(&plan.topic).is_none() {
        output.line(format_args!(
            "Topic \"{}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1",
            plan.topic
        ))?;
        let topic = NewTopic::new(plan.topic.as_str()).partitions(1).replication_factor(1);
        if let Err(error) = Admin::new(consumer.client().clone()).create_topic(&topic).await {
            output.line(format_args!("Creation of topic {} failed", plan.topic))?;
            return Err(said(error));
        }
    }
    let partitions = loop {
        // A broker learns of a new topic in its own time.
        match consumer.partitions_for(&plan.topic).await {
            Ok(partitions) => break partitions,
            Err(error) if is_unknown(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(said(error)),
        }
    };
    let ends = consumer.end_offsets(partitions.iter().cloned()).await.map_err(said)?;
    consumer.assign(partitions).map_err(said)?;
    ends.iter().try_for_each(|(at, end)| consumer.seek(at, *end)).map_err(said)
}

fn is_unknown(error: &ottla_client::consumer::ConsumerError) -> bool {
    matches!(
        error,
        ottla_client::consumer::ConsumerError::Client(error)
            if error.code() == Some(ottla_wire::ErrorCode::UnknownTopicOrPartition)
    )
}

async fn round_trip(plan: &Plan, producer: &Producer, consumer: &mut Consumer) -> Result<Duration, Failure> {
    let shape = &plan.shape;
    let (key, value) = (letters(shape.key_bytes), letters(shape.value_bytes));
    let (header_key, header_value) = (letters(shape.header_key_bytes), shape.header_value_bytes.map(letters));
    let header = Header { key: &header_key, value: header_value.as_deref() };
    let headers = vec![header; shape.headers];
    let record = Record {
        key: Some(key.as_slice()).filter(|key| !key.is_empty()),
        headers: &headers,
        ..Record::to(&plan.topic).value(&value)
    };
    let begin = Instant::now();
    producer.send(record).await.map_err(said)?.await.map_err(said)?;
    let records = consumer.poll(POLL).await.map_err(said)?;
    let elapsed = begin.elapsed();
    check(&record, &records).map_err(said)?;
    Ok(elapsed)
}

/// The same letter again and again.
fn letters(count: usize) -> Vec<u8> {
    vec![b'A' + rand::random_range(0..26); count]
}

/// That exactly this record was read.
fn check(sent: &Record<'_>, read: &[ConsumerRecord]) -> Result<(), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let [record] = read else {
        return Err(match read.len() {
            0 => "poll() timed out before finding a result (timeout:[60000ms])".to_owned(),
            count => format!("Only one result was expected during this test. We found [{count}]"),
        });
    };
    let (value, expected) = (record.value.as_deref().unwrap_or_default(), sent.value.unwrap_or_default());
    if value != expected {
        return Err(format!(
            "The message value read [{}] did not match the message value sent [{}]",
            text(value),
            text(expected)
        ));
    }
    match (record.key.as_deref(), sent.key) {
        (None, Some(_)) => return Err("Expected message key but received null".to_owned()),
        (Some(key), None) => return Err(format!("Expected null message key but received [{}]", text(key))),
        (Some(key), Some(expected)) if key != expected => {
            return Err(format!(
                "The message key read [{}] did not match the message key sent [{}]",
                text(key),
                text(expected)
            ));
        }
        _ => {}
    }
    let is_same = record.headers.len() == sent.headers.len()
        && record
            .headers
            .iter()
            .zip(sent.headers)
            .all(|(of, other)| of.key == other.key && of.value.as_deref() == other.value);
    if is_same { Ok(()) } else { Err("Header count mismatch between sent and received messages".to_owned()) }
}

fn tell(mut latencies: Vec<Duration>, output: &mut Output<'_>) -> Result<(), Failure> {
    let total_ns: u128 = latencies.iter().map(Duration::as_nanos).sum();
    let average_ms = total_ns as f64 / latencies.len() as f64 / 1000.0 / 1000.0;
    output.line(format_args!("Avg latency: {} ms", fixed(average_ms, 4)))?;
    latencies.sort_unstable();
    let percentile = |part: f64| {
        let at = (latencies.len() as f64 * part) as usize;
        latencies.get(at).map_or(0, Duration::as_millis)
    };
    output.line(format_args!(
        "Percentiles: 50th = {}, 99th = {}, 99.9th = {}",
        percentile(0.5),
        percentile(0.99),
        percentile(0.999)
    ))
}
