//! kafka-share-consumer-perf-test: members of a share group read records as fast as it goes, and it is told how fast that was.

mod plan;
mod progress;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ottla_client::Scope;
use ottla_client::share::{ShareConsumer, ShareConsumerSettings, ShareRecord};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::flags::Parsed;
use crate::metrics::{self, Metric};
use crate::net::{interrupted, patiently, with_worker};
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;
use progress::{HEADER, Read};

pub const TOOL: Tool = Tool { name: "kafka-share-consumer-perf-test", run: Run::Flags(run) };

/// For leaving the group.
const CLOSING: Duration = Duration::from_secs(30);
/// Lines that members may be ahead of what is printed.
const LINES_MAX: usize = 64;

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    if !plan.form.hides_header {
        output.line(HEADER)?;
        output.out.flush()?;
    }
    let settings = |number: u32| plan.config(number)?.settings(Scope::ShareConsumer, output);
    let settings: Result<Vec<_>, Failure> = (1..=plan.members).map(settings).collect();
    let read = |settings| ShareConsumerSettings::from_settings(&settings).map_err(said);
    let settings: Vec<ShareConsumerSettings> = settings?.into_iter().map(read).collect::<Result<_, _>>()?;
    with_worker(async {
        let mut interrupt = pin!(interrupted());
        tokio::select! {
            done = test(Arc::new(plan), settings, output) => done,
            code = &mut interrupt => Err(Failure::Ended(code)),
        }
    })
}

/// What members share.
#[derive(Debug, Default)]
struct Total {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Total {
    fn read(&self) -> Read {
        Read { records: self.records.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

async fn test(
    plan: Arc<Plan>,
    settings: Vec<ShareConsumerSettings>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut consumers = Vec::new();
    for settings in settings {
        let servers = settings.client.bootstrap_servers.join(",");
        let connected = patiently(&servers, ShareConsumer::connect(settings), output).await?;
        consumers.push(connected.map_err(said)?);
    }
    let start_ms = now_ms();
    let total = Arc::new(Total::default());
    let mut members = read_all(&plan, &total, consumers, output).await?;
    let read = total.read();
    if plan.shows_members {
        for (number, member) in (1_u32..).zip(&members) {
            let client_id = &member.consumer.settings().client.client_id;
            let line = progress::total(&plan.form, &member.read, start_ms, now_ms());
            output.line(format_args!(
                "Share consumer {number} having client id {client_id} consumption metrics- {line}"
            ))?;
        }
    }
    if read.records < plan.wanted() {
        output.line(format_args!(
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the --timeout \
             option to increase the timeout.",
            plan.timeout_ms
        ))?;
    }
    let end_ms = now_ms();
    for member in &mut members {
        // What became of single acknowledgements is nothing that is measured.
        member.consumer.commit().await.map_err(said)?;
    }
    output.line(progress::total(&plan.form, &read, start_ms, end_ms))?;
    for member in members {
        if plan.form.prints_metrics {
            let metric = |name, value: u64| Metric {
                group: "consumer-share-fetch-manager-metrics",
                name,
                value: value as f64,
            };
            let all = [
                metric("records-fetched-total", member.read.records),
                metric("bytes-fetched-total", member.read.bytes),
            ];
            metrics::print(&member.consumer.settings().client.client_id, &all, output)?;
        }
        member.consumer.close(CLOSING).await.map_err(said)?;
    }
    Ok(())
}

/// Has all members read until there are enough records, or none for too long.
async fn read_all(
    plan: &Arc<Plan>,
    total: &Arc<Total>,
    consumers: Vec<ShareConsumer>,
    output: &mut Output<'_>,
) -> Result<Vec<Member>, Failure> {
    let (lines, mut printed) = mpsc::channel(LINES_MAX);
    let mut reading = JoinSet::new();
    for (number, consumer) in (1_u32..).zip(consumers) {
        let member = Member { number, consumer, read: Read::default() };
        reading.spawn(member.read(Arc::clone(plan), Arc::clone(total), lines.clone()));
    }
    drop(lines);
    while let Some(line) = printed.recv().await {
        output.line(line)?;
        output.out.flush()?;
    }
    let mut members = Vec::new();
    while let Some(done) = reading.join_next().await {
        members.push(done.map_err(said)??);
    }
    members.sort_by_key(|member| member.number);
    Ok(members)
}

#[derive(Debug)]
struct Member {
    /// From 1 on.
    number: u32,
    consumer: ShareConsumer,
    read: Read,
}

impl Member {
    async fn read(
        mut self,
        plan: Arc<Plan>,
        total: Arc<Total>,
        lines: mpsc::Sender<String>,
    ) -> Result<Member, Failure> {
        /// Whether the others have read enough is looked at so often.
        const POLL: Duration = Duration::from_millis(100);
        self.consumer.subscribe([&plan.topic]).map_err(said)?;
        let timeout = Duration::from_millis(plan.timeout_ms);
        let mut last = Instant::now();
        let mut interval = (now_ms(), Read::default());
        while total.records.load(Ordering::Relaxed) < plan.wanted() && last.elapsed() <= timeout {
            let records = self.consumer.poll(POLL).await.map_err(said)?;
            if !records.is_empty() {
                last = Instant::now();
                self.count(&records, &total);
            }
            let (start_ms, before) = interval;
            let now_ms = now_ms();
            let has_passed = now_ms - start_ms >= i64::try_from(plan.form.interval_ms).unwrap_or(i64::MAX);
            if records.is_empty() || !has_passed {
                continue;
            }
            if plan.form.shows_intervals {
                let line = progress::interval(&plan.form, &self.read, &before, start_ms, now_ms);
                // Nobody prints any more only where all ends.
                let _ = lines.send(format!("{line} for share consumer {}", self.number)).await;
            }
            interval = (now_ms, self.read);
        }
        Ok(self)
    }

    fn count(&mut self, records: &[ShareRecord], total: &Total) {
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len) as u64;
        let bytes: u64 = records.iter().map(|of| size(&of.record.key) + size(&of.record.value)).sum();
        let records = records.len() as u64;
        self.read.records += records;
        self.read.bytes += bytes;
        total.records.fetch_add(records, Ordering::Relaxed);
        total.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
