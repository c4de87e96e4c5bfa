//! kafka-console-share-consumer: prints records that are lent to a member of a share group, and says what is to become of them.
//!
//! A record is acknowledged once it is printed, never before: what could not be printed comes again, to anybody.

mod plan;

use std::pin::pin;

use ottla_client::Scope;
use ottla_client::share::{AcknowledgeType, ShareConsumer, ShareConsumerSettings, ShareRecord};

use crate::console_consumer::end::{CLOSING, End, connected};
use crate::console_consumer::formatter::{Formatter, Unshown};
use crate::flags::Parsed;
use crate::net::{interrupted, with_worker};
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;

pub const TOOL: Tool = Tool { name: "kafka-console-share-consumer", run: Run::Flags(run) };

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    let formatter = plan.formatting.formatter()?;
    let settings = plan.config()?.settings(Scope::ShareConsumer, output)?;
    let settings = ShareConsumerSettings::from_settings(&settings).map_err(said)?;
    let mut reading = Reading { plan: &plan, formatter, count: 0 };
    let end = with_worker(async { Ok(reading.run(settings, output).await) })?;
    end.tell(reading.count, plan.tells_events, output)
}

struct Reading<'a> {
    plan: &'a Plan,
    formatter: Formatter,
    count: u64,
}

impl Reading<'_> {
    async fn run(&mut self, settings: ShareConsumerSettings, output: &mut Output<'_>) -> End {
        if self.plan.limits.are_reached(self.count) {
            return End::Done;
        }
        let servers = settings.client.bootstrap_servers.clone();
        let mut interrupt = pin!(interrupted());
        let (connecting, limits) = (ShareConsumer::connect(settings), &self.plan.limits);
        let mut consumer = match connected(&servers, connecting, interrupt.as_mut(), limits, output).await {
            Ok(consumer) => consumer,
            Err(end) => return end,
        };
        let end = match consumer.subscribe([&self.plan.topic]) {
            Ok(()) => tokio::select! {
                end = self.read(&mut consumer, output) => end,
                code = &mut interrupt => End::Interrupted(code),
            },
            Err(error) => End::of_cluster(error),
        };
        match (consumer.close(CLOSING).await, end) {
            (Err(error), End::Done) => End::of_cluster(error),
            (_, end) => end,
        }
    }

    async fn read(&mut self, consumer: &mut ShareConsumer, output: &mut Output<'_>) -> End {
        while !self.plan.limits.are_reached(self.count) {
            let records = tokio::select! {
                biased;
                records = consumer.next() => records,
                () = self.plan.limits.expiry() => return End::Done,
            };
            let done = match records {
                Ok(records) => self.take(consumer, records, output),
                Err(error) => return End::of_cluster(error),
            };
            if let Err(end) = done {
                return end;
            }
        }
        End::Done
    }

    /// Prints records, as many as are wanted, and acknowledges those; the others are given back when the consumer is closed.
    fn take(
        &mut self,
        consumer: &mut ShareConsumer,
        records: Vec<ShareRecord>,
        output: &mut Output<'_>,
    ) -> Result<(), End> {
        let mut shown = Vec::new();
        let mut end = Ok(());
        for record in records {
            if self.plan.limits.are_reached(self.count) {
                break;
            }
            self.count += 1;
            match self.show(&record, output) {
                Ok(kind) => shown.push((record, kind)),
                Err(why) => {
                    end = Err(why);
                    break;
                }
            }
        }
        output.out.flush().map_err(|error| End::of_output(&error))?;
        for (record, kind) in shown {
            consumer
                .acknowledge(&record, kind)
                .map_err(|error| End::Failed { why: error.to_string(), is_failure: true })?;
        }
        end
    }

    /// What is to become of the record then.
    fn show(&self, record: &ShareRecord, output: &mut Output<'_>) -> Result<AcknowledgeType, End> {
        match self.formatter.write(&record.record, Some(record.delivery_count), output.out) {
            Ok(()) => Ok(self.plan.acknowledgement),
            Err(Unshown::Output(error)) => Err(End::of_output(&error)),
            Err(Unshown::Record(why)) if self.plan.rejects_errors => {
                let told =
                    output.tell(format_args!("Error processing message, rejecting this message: {why}"));
                told.map_err(|_| End::Done)?;
                Ok(AcknowledgeType::Reject)
            }
            Err(Unshown::Record(why)) => Err(End::Failed { why, is_failure: true }),
        }
    }
}
