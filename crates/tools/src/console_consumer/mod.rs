//! kafka-console-consumer: prints records of topics.

pub(crate) mod deserializer;
pub(crate) mod end;
pub(crate) mod formatter;
mod plan;

use std::collections::BTreeMap;
use std::pin::pin;

use ottla_client::Scope;
use ottla_client::consumer::{
    Consumer, ConsumerError, ConsumerEvent, ConsumerRecord, ConsumerSettings, GroupProtocol, OffsetReset,
};
use ottla_types::{Offset, TopicPartition};

use crate::flags::Parsed;
use crate::names::check_subscription;
use crate::net::{interrupted, with_worker};
use crate::tool::{Failure, Output, Run, Tool, said};
use end::{CLOSING, End, connected};
use formatter::{Formatter, Unshown};
pub(crate) use plan::{Formatting, Plan, deprecated, one_group};
use plan::{From, Source};

pub const TOOL: Tool = Tool { name: "kafka-console-consumer", run: Run::Flags(run) };

const ABOUT_PROTOCOL: &str = "The consumer rebalance protocol (KIP-848) is production-ready! Set group.protocol=consumer to try it out. See \
     https://kafka.apache.org/documentation/#consumer_rebalance_protocol";

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    let formatter = plan.formatting.formatter()?;
    let settings = plan.config(rand::random_range(0..100_000))?.settings(Scope::Consumer, output)?;
    let settings = ConsumerSettings::from_settings(&settings).map_err(said)?;
    let is_member = !matches!(plan.source, Source::Partition { .. });
    if is_member && settings.group_protocol == GroupProtocol::Classic {
        output.tell(ABOUT_PROTOCOL)?;
    }
    if let Source::Pattern(pattern) = &plan.source {
        check_subscription(pattern)?;
    }
    let mut reading = Reading { plan: &plan, formatter, count: 0, unread: BTreeMap::new() };
    let end = with_worker(async { Ok(reading.run(settings, output).await) })?;
    end.tell(reading.count, plan.tells_events, output)
}

struct Reading<'a> {
    plan: &'a Plan,
    formatter: Formatter,
    count: u64,
    /// Where records begin that came, but were not wanted any more.
    unread: BTreeMap<TopicPartition, Offset>,
}

impl Reading<'_> {
    async fn run(&mut self, settings: ConsumerSettings, output: &mut Output<'_>) -> End {
        if self.has_enough() {
            return End::Done;
        }
        let servers = settings.client.bootstrap_servers.clone();
        let mut interrupt = pin!(interrupted());
        let (connecting, limits) = (Consumer::connect(settings), &self.plan.limits);
        let mut consumer = match connected(&servers, connecting, interrupt.as_mut(), limits, output).await {
            Ok(consumer) => consumer,
            Err(end) => return end,
        };
        let end = match choose(&mut consumer, &self.plan.source) {
            Ok(()) => tokio::select! {
                end = self.read(&mut consumer, output) => end,
                code = &mut interrupt => End::Interrupted(code),
            },
            Err(error) => End::of_cluster(error),
        };
        for (at, offset) in &self.unread {
            // It may have been given to somebody else by now.
            let _ = consumer.seek(at, *offset);
        }
        match (consumer.close(CLOSING).await, end) {
            (Err(error), End::Done) => End::of_cluster(error),
            (_, end) => end,
        }
    }

    fn has_enough(&self) -> bool {
        self.plan.limits.are_reached(self.count)
    }

    async fn read(&mut self, consumer: &mut Consumer, output: &mut Output<'_>) -> End {
        let mut expires = pin!(self.plan.limits.expiry());
        while !self.has_enough() {
            let event = tokio::select! {
                biased;
                event = consumer.next() => event,
                () = &mut expires => return End::Done,
            };
            let records = match event {
                Ok(ConsumerEvent::Records(records)) => records,
                Ok(_) => continue,
                Err(error) => return End::of_cluster(error),
            };
            if let Err(end) = self.show(records, output) {
                return end;
            }
            expires.set(self.plan.limits.expiry());
        }
        End::Done
    }

    /// Prints records, as many as are wanted.
    fn show(&mut self, records: Vec<ConsumerRecord>, output: &mut Output<'_>) -> Result<(), End> {
        for record in records {
            if self.has_enough() {
                self.unread.entry(record.topic_partition).or_insert(record.offset);
                continue;
            }
            self.count += 1;
            match self.formatter.write(&record, None, output.out) {
                Ok(()) => {}
                Err(Unshown::Output(error)) => return Err(End::of_output(&error)),
                Err(Unshown::Record(why)) if self.plan.skips_errors => {
                    let told =
                        output.tell(format_args!("Error processing message, skipping this message: {why}"));
                    told.map_err(|_| End::Done)?;
                }
                Err(Unshown::Record(why)) => return Err(End::Failed { why, is_failure: true }),
            }
        }
        output.out.flush().map_err(|error| End::of_output(&error))
    }
}

fn choose(consumer: &mut Consumer, source: &Source) -> Result<(), ConsumerError> {
    match source {
        Source::Topic(topic) => consumer.subscribe([topic]),
        Source::Pattern(pattern) => consumer.subscribe_pattern(pattern),
        Source::Partition { topic, partition, from } => {
            let at = TopicPartition::new(topic.as_str(), *partition);
            consumer.assign([at.clone()])?;
            match from {
                From::End(OffsetReset::Earliest) => consumer.seek_to_beginning(&at),
                From::End(_) => consumer.seek_to_end(&at),
                From::Offset(offset) => consumer.seek(&at, Offset(*offset)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::run;

    #[test]
    fn a_pattern_that_makes_no_sense_is_a_failure() {
        for settings in ["", " --command-property group.protocol=consumer"] {
            let ran =
                run(&format!("kafka-console-consumer --bootstrap-server localhost:1 --include ({settings}"));
            assert!(ran.contains("( is not a regular expression") && ran.ends_with("-- exit 1\n"), "{ran}");
            assert!(!ran.contains("Processed a total"), "{ran}");
        }
    }
}
