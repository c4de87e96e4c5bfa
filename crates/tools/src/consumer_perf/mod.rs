//! kafka-consumer-perf-test: reads records as fast as it goes, and tells how fast that was.

mod plan;
pub(crate) mod progress;

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use ottla_client::Scope;
use ottla_client::consumer::{Consumer, ConsumerEvent, ConsumerRecord, ConsumerSettings};
use ottla_types::TopicPartition;

use crate::flags::Parsed;
use crate::metrics::{self, Metric};
use crate::net::{interrupted, patiently, with_worker};
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};
use plan::Source;
pub(crate) use plan::{Form, Plan};
use progress::Read;

pub const TOOL: Tool = Tool { name: "kafka-consumer-perf-test", run: Run::Flags(run) };

/// For leaving a group and committing.
const CLOSING: Duration = Duration::from_secs(30);

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    if !plan.form.hides_header {
        output.line(progress::header(&plan.form))?;
        output.out.flush()?;
    }
    let settings = plan.config(rand::random_range(0..100_000)).settings(Scope::Consumer, output)?;
    let settings = ConsumerSettings::from_settings(&settings).map_err(said)?;
    with_worker(async {
        let mut interrupt = pin!(interrupted());
        tokio::select! {
            done = test(&plan, settings, output) => done,
            code = &mut interrupt => Err(Failure::Ended(code)),
        }
    })
}

async fn test(plan: &Plan, settings: ConsumerSettings, output: &mut Output<'_>) -> Result<(), Failure> {
    let client_id = settings.client.client_id.clone();
    let servers = settings.client.bootstrap_servers.join(",");
    let mut consumer = patiently(&servers, Consumer::connect(settings), output).await?.map_err(said)?;
    match &plan.source {
        Source::Topic(topic) => consumer.subscribe([topic]),
        Source::Pattern(pattern) => consumer.subscribe_pattern(pattern),
    }
    .map_err(said)?;
    let start_ms = now_ms();
    let mut reading = Reading::new(start_ms);
    reading.read_all(plan, &mut consumer, output).await?;
    let end_ms = now_ms();
    consumer.close(CLOSING).await.map_err(said)?;
    let read = reading.read;
    if !plan.form.shows_intervals {
        output.line(progress::total(&plan.form, &read, start_ms, end_ms))?;
    }
    if !plan.form.prints_metrics {
        return Ok(());
    }
    let metric =
        |name, value: u64| Metric { group: "consumer-fetch-manager-metrics", name, value: value as f64 };
    let all = [metric("records-consumed-total", read.records), metric("bytes-consumed-total", read.bytes)];
    metrics::print(&client_id, &all, output)
}

struct Reading {
    read: Read,
    /// When the interval began, and what had been read then.
    interval: (i64, Read),
    assigned: BTreeSet<TopicPartition>,
    /// Since when there are no partitions.
    joining_since_ms: i64,
}

impl Reading {
    fn new(start_ms: i64) -> Reading {
        Reading {
            read: Read::default(),
            interval: (start_ms, Read::default()),
            assigned: BTreeSet::new(),
            joining_since_ms: start_ms,
        }
    }

    async fn read_all(
        &mut self,
        plan: &Plan,
        consumer: &mut Consumer,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let wanted = u64::try_from(plan.records).unwrap_or(0);
        let timeout = Duration::from_millis(plan.timeout_ms);
        let mut last = Instant::now();
        while self.read.records < wanted {
            let left = timeout.saturating_sub(last.elapsed());
            let Ok(event) = tokio::time::timeout(left, consumer.next()).await else {
                output.line(format_args!(
                    "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the \
                     --timeout option to increase the timeout.",
                    plan.timeout_ms
                ))?;
                return Ok(());
            };
            match event.map_err(said)? {
                ConsumerEvent::Records(records) => {
                    last = Instant::now();
                    self.count(plan, &records, output)?;
                }
                ConsumerEvent::Assigned(partitions) => self.assigned(partitions),
                ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions) => {
                    self.revoked(&partitions)
                }
            }
        }
        Ok(())
    }

    fn count(
        &mut self,
        plan: &Plan,
        records: &[ConsumerRecord],
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let now_ms = now_ms();
        for record in records {
            let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len) as u64;
            self.read.records += 1;
            self.read.bytes += size(&record.key) + size(&record.value);
            let (start_ms, before) = self.interval;
            if now_ms - start_ms < i64::try_from(plan.form.interval_ms).unwrap_or(i64::MAX) {
                continue;
            }
            if plan.form.shows_intervals {
                let joining_ms = self.read.joining_ms - before.joining_ms;
                output.line(progress::interval(
                    &plan.form, &self.read, &before, joining_ms, start_ms, now_ms,
                ))?;
                output.out.flush()?;
            }
            self.interval = (now_ms, self.read);
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        if self.assigned.is_empty() {
            self.read.joining_ms += now_ms() - self.joining_since_ms;
        }
        self.assigned.extend(partitions);
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.assigned.retain(|at| !partitions.contains(at));
        if self.assigned.is_empty() {
            self.joining_since_ms = now_ms();
        }
    }
}
