//! kafka-verifiable-producer: sends numbers that grow.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::{Duration, Instant};

use ottla_client::{ClientError, Delivery, Producer, ProducerSettings, Record, RecordMetadata, Scope};
use ottla_types::Timestamp;
use ottla_wire::Json;

use super::{number, tell, text};
use crate::client_config::ClientConfig;
use crate::deprecation::Deprecated;
use crate::flags::Parsed;
use crate::java::exception;
use crate::net::{interrupted, message, with_worker};
use crate::rate;
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};

pub(crate) const TOOL: Tool = Tool { name: "kafka-verifiable-producer", run: Run::Flags(run) };

/// As long as the settings allow.
const PATIENCE: Duration = Duration::from_secs(3600 * 24 * 365);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    topic: String,
    config: ClientConfig,
    /// `None`: without end.
    records: Option<u64>,
    /// Less than 0: as many as it goes.
    records_per_s: i64,
    /// The first record's timestamp.
    create_time_ms: Option<i64>,
    value_prefix: Option<i64>,
    /// Keys are the numbers below.
    keys: Option<i64>,
    warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let mut deprecated = Deprecated::new(
            "Options {old} and {new} are mutually exclusive.",
            "Option {old} has been deprecated and will be removed in a future version. Use {new} instead.",
        );
        let file =
            deprecated.either(parsed, "--producer.config", "--command-config").map_err(Failure::Usage)?;
        let acks = parsed.number::<i64>("--acks").unwrap_or(-1);
        if !(-1..=1).contains(&acks) {
            return Err(Failure::Usage(format!(
                "argument --acks: invalid choice: '{acks}' (choose from {{0,1,-1}})"
            )));
        }
        let config = ClientConfig::new(parsed.value(file), &[])
            .or("bootstrap.servers", parsed.value("--bootstrap-server").unwrap_or_default())
            .or("acks", acks)
            .or("retries", 0);
        let number = |flag| parsed.number::<i64>(flag);
        Ok(Plan {
            topic: parsed.value("--topic").unwrap_or_default().to_owned(),
            config,
            records: number("--max-messages").and_then(|count| u64::try_from(count).ok()),
            records_per_s: number("--throughput").unwrap_or(-1),
            create_time_ms: number("--message-create-time").filter(|ms| *ms != -1),
            value_prefix: number("--value-prefix"),
            keys: number("--repeating-keys"),
            warnings: deprecated.warnings(),
        })
    }

    fn value(&self, index: u64) -> String {
        match self.value_prefix {
            Some(prefix) => format!("{prefix}.{index}"),
            None => index.to_string(),
        }
    }

    fn key(&self, index: u64) -> Option<String> {
        let count = u64::try_from(self.keys?).unwrap_or(u64::MAX);
        Some(index.checked_rem(count).unwrap_or(index).to_string())
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    let settings = plan.config.settings(Scope::Producer, output)?;
    let settings = ProducerSettings::from_settings(&settings).map_err(said)?;
    with_worker(async {
        let producer = Producer::start(settings).map_err(said)?;
        let mut sending = Sending::new(&plan);
        let mut interrupt = pin!(interrupted());
        let sent = tokio::select! {
            sent = sending.send_all(&producer, output) => sent,
            code = &mut interrupt => Err(Failure::Ended(code)),
        };
        let closed = producer.close(PATIENCE).await;
        sending.tell_answered(output)?;
        tell("shutdown_complete", Vec::new(), output)?;
        sending.tell_summary(output)?;
        sent?;
        closed.map_err(said)
    })
}

struct Sending<'a> {
    plan: &'a Plan,
    start: Instant,
    start_ms: i64,
    create_time_ms: Option<i64>,
    sent: i64,
    acked: i64,
    unanswered: VecDeque<Unanswered>,
}

struct Unanswered {
    delivery: Delivery,
    key: Option<String>,
    value: String,
}

impl<'a> Sending<'a> {
    fn new(plan: &'a Plan) -> Sending<'a> {
        Sending {
            plan,
            start: Instant::now(),
            start_ms: now_ms(),
            create_time_ms: plan.create_time_ms,
            sent: 0,
            acked: 0,
            unanswered: VecDeque::new(),
        }
    }

    async fn send_all(&mut self, producer: &Producer, output: &mut Output<'_>) -> Result<(), Failure> {
        tell("startup_complete", Vec::new(), output)?;
        let records_per_s = Some(self.plan.records_per_s).filter(|rate| *rate >= 0).map(|rate| rate as f64);
        for index in 0..self.plan.records.unwrap_or(u64::MAX) {
            self.send(index, producer, output).await?;
            self.tell_answered(output)?;
            let Some(pause) = rate::pause(records_per_s, index, self.start) else { continue };
            let mut waiting = pin!(tokio::time::sleep(pause));
            loop {
                tokio::select! {
                    () = &mut waiting => break,
                    answer = oldest(&mut self.unanswered) => self.tell_of(answer, output)?,
                }
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        index: u64,
        producer: &Producer,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let (key, value) = (self.plan.key(index), self.plan.value(index));
        let record = Record {
            timestamp: self.create_time_ms.map(Timestamp),
            key: key.as_deref().map(str::as_bytes),
            ..Record::to(&self.plan.topic).value(&value)
        };
        if let Some(ms) = &mut self.create_time_ms {
            *ms += now_ms() - self.start_ms;
        }
        self.sent += 1;
        match producer.send(record).await {
            Ok(delivery) => {
                self.unanswered.push_back(Unanswered { delivery, key, value });
                Ok(())
            }
            Err(error) => self.tell_failed(key.as_deref(), &value, &error, output),
        }
    }

    fn tell_answered(&mut self, output: &mut Output<'_>) -> Result<(), Failure> {
        while let Some(answer) = self.unanswered.front().and_then(|oldest| oldest.delivery.peek()) {
            let Some(oldest) = self.unanswered.pop_front() else { break };
            self.tell_of((oldest, answer), output)?;
        }
        Ok(())
    }

    fn tell_of(
        &mut self,
        (record, answer): (Unanswered, Result<RecordMetadata, ClientError>),
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        match answer {
            Ok(written) => {
                self.acked += 1;
                let members = vec![
                    ("key", text(record.key.as_deref())),
                    ("value", text(Some(&record.value))),
                    ("offset", number(written.offset.value())),
                    ("topic", text(Some(&written.topic))),
                    ("partition", number(written.partition)),
                ];
                tell("producer_send_success", members, output)
            }
            Err(error) => self.tell_failed(record.key.as_deref(), &record.value, &error, output),
        }
    }

    fn tell_failed(
        &self,
        key: Option<&str>,
        value: &str,
        error: &ClientError,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let class = format!("class org.apache.kafka.common.errors.{}", exception(error));
        let members = vec![
            ("message", text(Some(&message(error)))),
            ("exception", text(Some(&class))),
            ("topic", text(Some(&self.plan.topic))),
            ("key", text(key)),
            ("value", text(Some(value))),
        ];
        tell("producer_send_error", members, output)
    }

    fn tell_summary(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let elapsed_ms = (now_ms() - self.start_ms).max(1);
        let members = vec![
            ("sent", number(self.sent)),
            ("acked", number(self.acked)),
            ("target_throughput", number(self.plan.records_per_s)),
            ("avg_throughput", Json::Float(1000.0 * self.acked as f64 / elapsed_ms as f64)),
        ];
        tell("tool_data", members, output)
    }
}

/// The record that was sent first of those that have no answer yet; waits for it.
async fn oldest(unanswered: &mut VecDeque<Unanswered>) -> (Unanswered, Result<RecordMetadata, ClientError>) {
    let answer = match unanswered.front_mut() {
        Some(oldest) => (&mut oldest.delivery).await,
        None => return std::future::pending().await,
    };
    match unanswered.pop_front() {
        Some(record) => (record, answer),
        None => std::future::pending().await,
    }
}
