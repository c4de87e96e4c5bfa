//! `ottla bench`: writes records and reads them again, and tells how long that took.

mod measure;
mod report;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ottla_client::admin::{Admin, NewTopic};
use ottla_client::consumer::{ConsumerSettings, OffsetReset};
use ottla_client::{ProducerSettings, Scope};

use crate::cluster_view::topics;
use crate::completion;
use crate::error::Failure;
use crate::global::{Context, Global};
use crate::output::{Cell, Column, Listing, column, wide};
use measure::{Load, Phase, read, write};
use report::Report;

#[derive(Args, Debug)]
#[command(after_help = "Without --topic it works on a topic of its own, which it deletes in the end.\n\
                        -X sets what producers and consumers go by, as in -X acks=1 -X compression.type=zstd -X linger.ms=20.")]
pub struct BenchArgs {
    #[command(flatten)]
    pub global: Global,
    /// Write to this topic, and leave the records there
    #[arg(short, long, value_name = "TOPIC", add = ArgValueCompleter::new(completion::topics))]
    topic: Option<String>,
    /// Of the topic that is made
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..), conflicts_with = "topic")]
    partitions: i32,
    /// Of the topic that is made
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(i16).range(1..), conflicts_with = "topic")]
    replicas: i16,
    /// How many records
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    records: u64,
    /// Of each value, in bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    size: u32,
    /// Records a second; else as fast as it goes. Latency counts from when a record was due
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Only write
    #[arg(long)]
    no_read: bool,
    /// Also write a report with the distribution of latencies, as a page or as a picture
    #[arg(long, value_name = "FILE.html|FILE.svg")]
    report: Option<PathBuf>,
}

const COLUMNS: &[Column<Phase>] = &[
    column("phase", |of| Cell::text(of.name)),
    column("records", |of| Cell::number(of.records)),
    column("records_per_second", |of| Cell::number(of.records_per_second())),
    column("bytes_per_second", |of| Cell::Bytes(of.bytes_per_second())),
    column("seconds", |of| Cell::Fraction(of.seconds())),
    column("p50_ms", |of| of.latency_cell(50.0)),
    column("p90_ms", |of| of.latency_cell(90.0)),
    column("p99_ms", |of| of.latency_cell(99.0)),
    wide("p999_ms", |of| of.latency_cell(99.9)),
    column("max_ms", |of| of.latency_cell(100.0)),
];

pub async fn run(args: &BenchArgs, context: &mut Context) -> Result<(), Failure> {
    let form = args.report.as_ref().map(|path| report::Form::of(path)).transpose().map_err(Failure::usage)?;
    // Nobody measures for minutes to hear that there is no such directory.
    let reserved = args.report.as_deref().map(Reserved::new).transpose()?;
    let admin = context.admin().await?;
    let own = args.topic.is_none();
    let name = args
        .topic
        .clone()
        .unwrap_or_else(|| format!("ottla-bench-{}-{}", context.now_ms, std::process::id()));
    if own {
        admin
            .create_topic(&NewTopic::new(&name).partitions(args.partitions).replication_factor(args.replicas))
            .await?;
    }
    let measured = tokio::select! {
        measured = measure(args, &admin, &name, context) => measured,
        _ = tokio::signal::ctrl_c() => Err(Failure::Silent(crate::error::Exit::Interrupted)),
    };
    if own {
        // Also where it went wrong: nothing is left behind.
        admin.delete_topics(std::slice::from_ref(&name)).await?;
    }
    let phases = measured?;
    context.printer.listing(&Listing::of(COLUMNS, &phases))?;
    if let (Some(reserved), Some(form)) = (reserved, form) {
        let report =
            Report { when_ms: context.now_ms, settings: settings_of(args, context), phases: &phases };
        let path = reserved.write(&report.render(form))?;
        context.tell(format_args!("The report is in {}.", path.display()))?;
    }
    Ok(())
}

/// A file that can be written. What was in it stays until then, and what wasn't there isn't there afterwards unless it is written.
#[derive(Debug)]
struct Reserved<'a> {
    path: &'a Path,
    is_empty: bool,
}

impl<'a> Reserved<'a> {
    fn new(path: &'a Path) -> Result<Reserved<'a>, Failure> {
        let is_empty = !path.exists();
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| not_written(path, &error))?;
        Ok(Reserved { path, is_empty })
    }

    fn write(mut self, text: &str) -> Result<&'a Path, Failure> {
        self.is_empty = false;
        fs::write(self.path, text).map_err(|error| not_written(self.path, &error))?;
        Ok(self.path)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.is_empty {
            // An empty file is all that may stay.
            let _ = fs::remove_file(self.path);
        }
    }
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

/// How long a topic that was just made is waited for.
const TOPIC_PATIENCE: Duration = Duration::from_secs(15);

async fn measure(
    args: &BenchArgs,
    admin: &Admin,
    name: &str,
    context: &mut Context,
) -> Result<Vec<Phase>, Failure> {
    let deadline = tokio::time::Instant::now() + TOPIC_PATIENCE;
    let topic = loop {
        match topics(admin, &[name.to_owned()]).await {
            Ok(found) if found.iter().any(|topic| topic.partitions.iter().all(|of| of.leader.is_some())) => {
                break found;
            }
            Err(failure) if args.topic.is_some() || tokio::time::Instant::now() > deadline => {
                return Err(failure);
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let Some(topic) = topic.into_iter().next() else { return Ok(Vec::new()) };
    let load = Load { topic, records: args.records, value_bytes: args.size, rate: args.rate };
    let settings = context.settings(Scope::Producer)?;
    let mut producing = ProducerSettings::from_settings(&settings)?;
    producing.client.client_id = "ottla-bench".to_owned();
    producing.client.allow_auto_create_topics = false;
    let settings = context.settings(Scope::Consumer)?;
    let consuming = ConsumerSettings {
        group_id: None,
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::from_settings(&settings)?
    };
    let starts = measure::ends(admin, &load).await?;
    let mut phases = vec![write(&load, producing, context.is_watched()).await?];
    if !args.no_read {
        let ends = measure::ends(admin, &load).await?;
        phases.push(read(&load, consuming, &starts, &ends, context.is_watched()).await?);
    }
    Ok(phases)
}

fn settings_of(args: &BenchArgs, context: &Context) -> Vec<(String, String)> {
    let mut settings = vec![
        ("brokers".to_owned(), context.said.servers()),
        ("records".to_owned(), args.records.to_string()),
        ("value".to_owned(), format!("{} bytes", args.size)),
        (
            "rate".to_owned(),
            args.rate.map_or("as fast as it goes".to_owned(), |rate| format!("{rate} records a second")),
        ),
        (
            "topic".to_owned(),
            match &args.topic {
                Some(topic) => topic.clone(),
                None => format!("{} partitions, {} replicas", args.partitions, args.replicas),
            },
        ),
    ];
    settings.extend(args.global.client_settings.iter().cloned());
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_its_place_before_anything_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("nothing/report.html");
        assert!(Reserved::new(&absent).unwrap_err().exit() == crate::error::Exit::Failed);
        let path = dir.path().join("report.html");
        drop(Reserved::new(&path).unwrap());
        assert!(!path.exists());
        Reserved::new(&path).unwrap().write("first").unwrap();
        drop(Reserved::new(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        Reserved::new(&path).unwrap().write("2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2");
    }
}
