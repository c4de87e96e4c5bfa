//! `ottla produce`

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use ottla_client::admin::Admin;
use ottla_client::types::{Timestamp, TopicPartition};
use ottla_client::{Delivery, Header, Producer, ProducerSettings, Record, RecordMetadata, Scope};
use tokio::signal::unix::{SignalKind, signal};

use super::input;
use super::json::{self, NewRecord};
use super::lines::LineForm;
use crate::cluster_view::topics;
use crate::completion;
use crate::connection::key_value;
use crate::error::{Exit, Failure};
use crate::expr::parse_time_ms;
use crate::global::{Context, Global};
use crate::output::{Cell, Column, Listing, column};
use crate::progress::Progress;

#[derive(Args, Debug)]
#[command(
    after_help = "ottla consume A -o jsonl | ottla produce B -i jsonl  copies records with keys, headers and times."
)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub global: Global,
    #[arg(value_name = "TOPIC", add = ArgValueCompleter::new(completion::topics))]
    topic: String,
    /// Values, one record each; without any they come from standard input
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// How standard input is read
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM", conflicts_with = "values")]
    input: Input,
    /// The key of every record that doesn't bring one
    #[arg(short, long, value_name = "KEY")]
    key: Option<String>,
    /// What stands between the key and the value of a line
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with_all = ["key", "values"])]
    key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Into this partition; else it is the key's
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The partition that each record of -i jsonl names
    #[arg(long, conflicts_with = "partition")]
    keep_partitions: bool,
    /// The time of every record, as in 2026-11-01T10:00 or -1h; else that of the record, or now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    timestamp: Option<String>,
    /// A key or value that is this text is null, which deletes the key in a compacted topic
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Input {
    /// A record a line
    #[default]
    Lines,
    /// A JSON object a line, as consume -o jsonl prints it
    Jsonl,
    /// All of it is one record
    Whole,
}

/// What was written into a partition.
#[derive(Debug)]
struct Written {
    at: TopicPartition,
    records: u64,
    first: i64,
    last: i64,
}

const COLUMNS: &[Column<Written>] = &[
    column("topic", |of| Cell::text(&*of.at.topic)),
    column("partition", |of| Cell::number(of.at.partition)),
    column("records", |of| Cell::number(of.records)),
    column("first_offset", |of| offset(of.first)),
    column("last_offset", |of| offset(of.last)),
];

/// With acks=0 nobody tells.
fn offset(offset: i64) -> Cell {
    if offset < 0 { Cell::Nothing } else { Cell::Number(offset) }
}

/// So many answers are waited for at most.
const PENDING_MAX: usize = 10_000;
const CLOSING: Duration = Duration::from_secs(30);

pub async fn run(args: &ProduceArgs, context: &mut Context) -> Result<(), Failure> {
    if args.keep_partitions && args.input != Input::Jsonl {
        return Err(Failure::usage("--keep-partitions is for -i jsonl: lines name no partitions"));
    }
    let timestamp_ms = match &args.timestamp {
        Some(text) => {
            Some(parse_time_ms(text.trim_start_matches('@'), context.now_ms).map_err(Failure::usage)?)
        }
        None => None,
    };
    let settings = context.settings(Scope::Producer)?;
    let bytes_max = u64::try_from(settings.long("max.request.size")).unwrap_or(u64::MAX);
    let mut producing = ProducerSettings::from_settings(&settings)?;
    // A misspelt topic must not come into being.
    producing.client.allow_auto_create_topics = false;
    if !settings.is_set("client.id") {
        producing.client.client_id = "ottla-cli".to_owned();
    }
    let client = context.connect(producing.client.clone()).await?;
    let topic = topics(&Admin::new(client.clone()), std::slice::from_ref(&args.topic)).await?;
    let count = topic.first().map_or(0, |topic| topic.partitions.len());
    let producer = Producer::with_client(client, producing)?;
    let mut sending = Sending {
        producer: &producer,
        args,
        timestamp_ms,
        count,
        pending: VecDeque::new(),
        written: BTreeMap::new(),
    };
    // One listener for both: a second Ctrl-C right behind the first must not fall between two.
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::failed(format!("Ctrl-C can't be listened for: {error}")))?;
    let sent = tokio::select! {
        sent = send_all(&mut sending, bytes_max, context) => sent,
        _ = interrupts.recv() => Err(Failure::Silent(Exit::Interrupted)),
    };
    if matches!(sent, Err(Failure::Silent(_))) {
        context.tell("What was taken is written; Ctrl-C ends at once.")?;
    }
    let settled = tokio::select! {
        settled = sending.settle_all() => settled,
        _ = interrupts.recv() => {
            sending.note_answered();
            Err(sending.given_up())
        }
    };
    let rows: Vec<Written> = sending.written.into_values().collect();
    if !rows.is_empty() || (sent.is_ok() && settled.is_ok()) {
        context.printer.listing(&Listing::of(COLUMNS, &rows))?;
    }
    match (sent, settled) {
        // What could not be sent is the cause of what else went wrong, but who interrupts hears what became of the rest.
        (Err(Failure::Silent(_)), Err(failure)) | (Err(failure), _) | (Ok(()), Err(failure)) => Err(failure),
        (Ok(()), Ok(())) => Ok(producer.close(CLOSING).await?),
    }
}

async fn send_all(sending: &mut Sending<'_>, bytes_max: u64, context: &mut Context) -> Result<(), Failure> {
    let args = sending.args;
    let form = LineForm { key_separator: args.key_separator.clone(), null: args.null.clone() };
    for value in &args.values {
        sending.send(form.record(value.as_bytes()).map_err(Failure::usage)?).await?;
    }
    if !args.values.is_empty() {
        return Ok(());
    }
    let is_typed = io::stdin().is_terminal();
    if is_typed {
        context.tell("Type a record a line; Ctrl-D ends.")?;
    }
    if args.input == Input::Whole {
        let value = input::whole(bytes_max).recv().await.transpose().map_err(not_read)?.unwrap_or_default();
        return sending.send(NewRecord { value: Some(value), ..NewRecord::default() }).await;
    }
    let progress = Progress::records(None, context.is_watched() && !is_typed);
    let mut lines = input::lines(bytes_max);
    let mut number = 0_u64;
    while let Some(line) = lines.recv().await {
        let line = line.map_err(not_read)?;
        number += 1;
        let record = match args.input {
            Input::Jsonl if line.trim_ascii().is_empty() => continue,
            Input::Jsonl => json::parse(&line, context.now_ms),
            _ => form.record(&line),
        };
        let record = record.map_err(|why| Failure::usage(format!("line {number}: {why}")))?;
        sending.send(record).await?;
        progress.add(1);
    }
    Ok(())
}

fn not_read(error: io::Error) -> Failure {
    Failure::failed(format!("standard input: {error}"))
}

/// Records on their way.
struct Sending<'a> {
    producer: &'a Producer,
    args: &'a ProduceArgs,
    timestamp_ms: Option<i64>,
    /// Of the topic's partitions.
    count: usize,
    pending: VecDeque<Delivery>,
    written: BTreeMap<TopicPartition, Written>,
}

impl Sending<'_> {
    async fn send(&mut self, record: NewRecord) -> Result<(), Failure> {
        let args = self.args;
        let partition = match (args.partition, args.keep_partitions) {
            (None, true) => record.partition,
            (partition, _) => partition,
        };
        if let Some(absent) = partition.filter(|&of| usize::try_from(of).map_or(true, |of| of >= self.count))
        {
            let (topic, count) = (&args.topic, self.count);
            let text = format!("topic {topic} has no partition {absent}: it has {count}, from 0 on");
            return Err(Failure::new(Exit::NotFound, text));
        }
        let own = record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() });
        let added = args
            .headers
            .iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: Some(value.as_bytes()) });
        let headers: Vec<Header<'_>> = own.chain(added).collect();
        let delivery = self
            .producer
            .send(Record {
                topic: &args.topic,
                partition,
                timestamp: self.timestamp_ms.or(record.timestamp_ms).map(Timestamp),
                key: record.key.as_deref().or(args.key.as_deref().map(str::as_bytes)),
                value: record.value.as_deref(),
                headers: &headers,
            })
            .await?;
        self.pending.push_back(delivery);
        if self.pending.len() >= PENDING_MAX
            && let Some(oldest) = self.pending.front_mut()
        {
            let answer = oldest.await;
            self.pending.pop_front();
            self.note(answer?);
        }
        Ok(())
    }

    /// Waits for everything; the first error counts, and what was written is noted all the same.
    async fn settle_all(&mut self) -> Result<(), Failure> {
        self.producer.flush().await;
        let mut first = Ok(());
        while let Some(delivery) = self.pending.front_mut() {
            let answer = delivery.await;
            self.pending.pop_front();
            match answer {
                Ok(metadata) => self.note(metadata),
                Err(error) => first = first.and(Err(error.into())),
            }
        }
        first
    }

    /// Of those that are answered by now; the others stay.
    fn note_answered(&mut self) {
        for delivery in std::mem::take(&mut self.pending) {
            match delivery.peek() {
                Some(Ok(metadata)) => self.note(metadata),
                Some(Err(_)) | None => self.pending.push_back(delivery),
            }
        }
    }

    /// Of those that are not answered, it is not known whether they are written.
    fn given_up(&self) -> Failure {
        match self.pending.len() {
            0 => Failure::Silent(Exit::Interrupted),
            open => Failure::new(
                Exit::Interrupted,
                format!("no answer was awaited for {open} records: they may be written, or not"),
            ),
        }
    }

    fn note(&mut self, metadata: RecordMetadata) {
        let at = TopicPartition::new(metadata.topic, metadata.partition);
        let offset = metadata.offset.value();
        let written =
            self.written.entry(at.clone()).or_insert(Written { at, records: 0, first: offset, last: offset });
        written.records += 1;
        (written.first, written.last) = (written.first.min(offset), written.last.max(offset));
    }
}
