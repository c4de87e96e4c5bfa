//! kafka-producer-perf-test: sends records as fast as it goes, or at a rate, and tells how fast and how late they were written.

mod payload;
mod plan;
mod stats;

use std::collections::VecDeque;
use std::pin::pin;
use std::time::{Duration, Instant};

use ottla_client::{
    ClientError, Delivery, Producer, ProducerSettings, Record, Scope, Transaction, TransactionalProducer,
};
use ottla_types::Uuid;

use crate::flags::Parsed;
use crate::metrics::{self, Metric};
use crate::net::{interrupted, with_worker};
use crate::rate;
use crate::tool::{Failure, Output, Run, Tool, said};
use payload::Payload;
pub(crate) use plan::Plan;
use stats::Stats;

pub const TOOL: Tool = Tool { name: "kafka-producer-perf-test", run: Run::Flags(run) };

const TRANSACTION_MS: u64 = 3000;
const TRANSACTIONAL_ID: &str = "performance-producer-";
/// As long as the settings allow.
const PATIENCE: Duration = Duration::from_secs(3600 * 24 * 365);

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    let payload = Payload::new(&plan.payload, output)?;
    let settings = plan.config.settings(Scope::Producer, output)?;
    let mut settings = ProducerSettings::from_settings(&settings).map_err(said)?;
    let client_id = settings.client.client_id.clone();
    let wanted = &plan.transactions;
    let are_used = wanted.id.is_some() || wanted.duration_ms.is_some() || settings.transactional_id.is_some();
    if are_used {
        let random = || format!("{TRANSACTIONAL_ID}{}", Uuid(rand::random()));
        let id = wanted.id.clone().or_else(|| settings.transactional_id.take());
        settings.transactional_id = Some(id.unwrap_or_else(random));
    }
    with_worker(async {
        let test = Test::new(&plan, payload);
        let mut interrupt = pin!(interrupted());
        tokio::select! {
            done = test.run(settings, &client_id, output) => done,
            code = &mut interrupt => Err(Failure::Ended(code)),
        }
    })
}

struct Test<'a> {
    plan: &'a Plan,
    payload: Payload,
    start: Instant,
    all: Stats,
    /// Once the first records are sent that don't count in it.
    steady: Option<Stats>,
    failed: u64,
    unanswered: VecDeque<Unanswered>,
}

struct Unanswered {
    delivery: Delivery,
    since: Instant,
    bytes: usize,
    is_steady: bool,
}

enum Target<'a> {
    Plain(&'a Producer),
    Transaction(&'a Transaction<'a>),
}

impl Target<'_> {
    async fn send(&self, record: Record<'_>) -> Result<Delivery, ClientError> {
        match self {
            Target::Plain(producer) => producer.send(record).await,
            Target::Transaction(transaction) => transaction.send(record).await,
        }
    }
}

impl<'a> Test<'a> {
    fn new(plan: &'a Plan, payload: Payload) -> Test<'a> {
        let start = Instant::now();
        Test {
            plan,
            payload,
            start,
            all: Stats::new(plan.records, plan.reporting_interval_ms, false, start),
            steady: None,
            failed: 0,
            unanswered: VecDeque::new(),
        }
    }

    async fn run(
        mut self,
        settings: ProducerSettings,
        client_id: &str,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        if settings.transactional_id.is_some() {
            let mut producer = TransactionalProducer::start(settings).await.map_err(said)?;
            self.begin(output)?;
            self.send_in_transactions(&mut producer, output).await?;
            producer.close(PATIENCE).await.map_err(said)?;
        } else {
            let producer = Producer::start(settings).map_err(said)?;
            self.begin(output)?;
            self.send_until(0, None, &Target::Plain(&producer), output).await?;
            self.counting(producer.close(PATIENCE), output).await?.map_err(said)?;
        }
        while !self.unanswered.is_empty() {
            let answer = oldest(&mut self.unanswered).await;
            self.count(answer, output)?;
        }
        self.tell(client_id, output)
    }

    /// Counts answers while something else goes on.
    async fn counting<T>(
        &mut self,
        work: impl Future<Output = T>,
        output: &mut Output<'_>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                answer = oldest(&mut self.unanswered) => self.count(answer, output)?,
            }
        }
    }

    fn begin(&mut self, output: &mut Output<'_>) -> Result<(), Failure> {
        let plan = self.plan;
        if plan.warmup_records > 0 {
            output.line(format_args!(
                "Warmup first {} records. Steady state results will print after the complete test summary.",
                plan.warmup_records
            ))?;
        }
        self.start = Instant::now();
        self.all = Stats::new(plan.records, plan.reporting_interval_ms, false, self.start);
        Ok(())
    }

    async fn send_in_transactions(
        &mut self,
        producer: &mut TransactionalProducer,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let duration_ms = self.plan.transactions.duration_ms.unwrap_or(TRANSACTION_MS);
        let mut number = 0;
        while number < self.plan.records {
            let transaction = producer.begin().await.map_err(said)?;
            let end = Instant::now() + Duration::from_millis(duration_ms);
            let target = Target::Transaction(&transaction);
            number = self.send_until(number, Some(end), &target, output).await?;
            self.counting(transaction.commit(), output).await?.map_err(said)?;
        }
        Ok(())
    }

    /// Sends from this record on, to the last one, or to the first that was sent after a moment. The number of the next one.
    async fn send_until(
        &mut self,
        first: u64,
        end: Option<Instant>,
        target: &Target<'_>,
        output: &mut Output<'_>,
    ) -> Result<u64, Failure> {
        for number in first..self.plan.records {
            let since = Instant::now();
            if self.plan.warmup_records > 0 && number == self.plan.warmup_records {
                let records = self.plan.records - number;
                self.steady = Some(Stats::new(records, self.plan.reporting_interval_ms, true, since));
                self.all.silence();
            }
            self.send(number, since, target, output).await?;
            if end.is_some_and(|end| since >= end) {
                return Ok(number + 1);
            }
            self.keep_rate(number, output).await?;
        }
        Ok(self.plan.records)
    }

    async fn send(
        &mut self,
        number: u64,
        since: Instant,
        target: &Target<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        // Apart from the rest, which goes on while the record waits for room.
        let mut payload = std::mem::replace(&mut self.payload, Payload::Monotonic { digits: Vec::new() });
        let value = payload.next(number);
        let (bytes, plan) = (value.len(), self.plan);
        let record = Record::to(&plan.topic).value(value);
        let sent = self.counting(target.send(record), output).await?;
        self.payload = payload;
        match sent {
            Ok(delivery) => {
                let is_steady = self.steady.is_some();
                self.unanswered.push_back(Unanswered { delivery, since, bytes, is_steady });
            }
            Err(error) => {
                self.failed += 1;
                output.tell(error)?;
            }
        }
        while self.unanswered.front().is_some_and(|oldest| oldest.delivery.peek().is_some()) {
            let answer = oldest(&mut self.unanswered).await;
            self.count(answer, output)?;
        }
        Ok(())
    }

    /// Waits as long as records are ahead of the rate that is wanted.
    async fn keep_rate(&mut self, number: u64, output: &mut Output<'_>) -> Result<(), Failure> {
        match rate::pause(self.plan.records_per_s, number, self.start) {
            Some(pause) => self.counting(tokio::time::sleep(pause), output).await,
            None => Ok(()),
        }
    }

    fn count(
        &mut self,
        (record, failed): (Unanswered, Option<ClientError>),
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        if let Some(error) = failed {
            self.failed += 1;
            return output.tell(error);
        }
        let now = Instant::now();
        let latency_ms = u64::try_from(now.duration_since(record.since).as_millis()).unwrap_or(u64::MAX);
        let mut lines = self.all.add(latency_ms, record.bytes, now);
        if let Some(steady) = self.steady.as_mut().filter(|_| record.is_steady) {
            lines.extend(steady.add(latency_ms, record.bytes, now));
        }
        if lines.is_empty() {
            return Ok(());
        }
        lines.iter().try_for_each(|line| output.line(line))?;
        Ok(output.out.flush()?)
    }

    fn tell(mut self, client_id: &str, output: &mut Output<'_>) -> Result<(), Failure> {
        let now = Instant::now();
        output.line(self.all.total_line(now))?;
        if let Some(steady) = &mut self.steady {
            output.line(steady.total_line(now))?;
        }
        if !self.plan.prints_metrics {
            return Ok(());
        }
        let metric = |name, value: u64| Metric { group: "producer-metrics", name, value: value as f64 };
        let all = [
            metric("record-send-total", self.all.records() + self.failed),
            metric("record-error-total", self.failed),
            metric("byte-total", self.all.bytes()),
        ];
        metrics::print(client_id, &all, output)
    }
}

/// The record that was sent first of those that have no answer yet; waits for it.
async fn oldest(unanswered: &mut VecDeque<Unanswered>) -> (Unanswered, Option<ClientError>) {
    let failed = match unanswered.front_mut() {
        Some(oldest) => (&mut oldest.delivery).await.err(),
        None => return std::future::pending().await,
    };
    match unanswered.pop_front() {
        Some(record) => (record, failed),
        None => std::future::pending().await,
    }
}
