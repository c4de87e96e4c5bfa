//! kafka-verifiable-consumer: reads a topic as a member of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use ottla_client::Scope;
use ottla_client::consumer::{
    CommittedOffset, Consumer, ConsumerError, ConsumerEvent, ConsumerRecord, ConsumerSettings, Position,
};
use ottla_types::TopicPartition;
use ottla_wire::Json;

use super::{number, tell, text, text_of};
use crate::client_config::ClientConfig;
use crate::deprecation::Deprecated;
use crate::flags::Parsed;
use crate::net::{interrupted, patiently, with_worker};
use crate::tool::{Failure, Output, Run, Tool, said};

pub(crate) const TOOL: Tool = Tool { name: "kafka-verifiable-consumer", run: Run::Flags(run) };

/// For leaving a group and committing.
const CLOSING: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    topic: String,
    config: ClientConfig,
    /// `None`: without end.
    records_max: Option<u64>,
    commits_in_intervals: bool,
    tells_records: bool,
    warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let mut deprecated = Deprecated::new(
            "Options {old} and {new} are mutually exclusive.",
            "Option {old} has been deprecated and will be removed in a future version. Use {new} instead.",
        );
        let file =
            deprecated.either(parsed, "--consumer.config", "--command-config").map_err(Failure::Usage)?;
        let text = |flag| parsed.value(flag).unwrap_or_default();
        let mut config = ClientConfig::new(parsed.value(file), &[])
            .fix("bootstrap.servers", text("--bootstrap-server"))
            .fix("group.id", text("--group-id"))
            .fix("enable.auto.commit", parsed.has("--enable-autocommit"))
            .fix("auto.offset.reset", text("--reset-policy"));
        let given = |config: ClientConfig, key, flag| match parsed.value(flag) {
            Some(value) => config.fix(key, value),
            None => config,
        };
        if text("--group-protocol").eq_ignore_ascii_case("consumer") {
            config = config.fix("group.protocol", text("--group-protocol"));
            config = given(config, "group.remote.assignor", "--group-remote-assignor");
        } else {
            config = given(config, "partition.assignment.strategy", "--assignment-strategy");
        }
        config = given(config, "session.timeout.ms", "--session-timeout");
        config = given(config, "group.instance.id", "--group-instance-id");
        Ok(Plan {
            topic: text("--topic").to_owned(),
            config,
            records_max: parsed.number::<i64>("--max-messages").and_then(|count| u64::try_from(count).ok()),
            commits_in_intervals: parsed.has("--enable-autocommit"),
            tells_records: parsed.has("--verbose"),
            warnings: deprecated.warnings(),
        })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    let settings = plan.config.settings(Scope::Consumer, output)?;
    let settings = ConsumerSettings::from_settings(&settings).map_err(said)?;
    let mut reading = Reading { plan: &plan, count: 0, assigned: BTreeSet::new() };
    with_worker(reading.run(settings, output))
}

struct Reading<'a> {
    plan: &'a Plan,
    count: u64,
    assigned: BTreeSet<TopicPartition>,
}

impl Reading<'_> {
    async fn run(&mut self, settings: ConsumerSettings, output: &mut Output<'_>) -> Result<(), Failure> {
        let servers = settings.client.bootstrap_servers.join(",");
        let mut consumer = patiently(&servers, Consumer::connect(settings), output).await?.map_err(said)?;
        tell("startup_complete", Vec::new(), output)?;
        consumer.subscribe([&self.plan.topic]).map_err(said)?;
        let mut interrupt = pin!(interrupted());
        let end = tokio::select! {
            read = self.read_all(&mut consumer, output) => read,
            code = &mut interrupt => Err(Failure::Ended(code)),
        };
        let is_interrupted = matches!(end, Err(Failure::Ended(_)));
        if is_interrupted {
            tell("shutdown_requested", Vec::new(), output)?;
        }
        // As in Kafka, what goes wrong in the cluster ends it, but is no failure of the tool.
        let end = match end {
            Err(Failure::Said(text)) => output.tell(text),
            other => other,
        };
        let closed = consumer.close(CLOSING).await;
        if !self.assigned.is_empty() {
            let partitions = std::mem::take(&mut self.assigned);
            tell("partitions_revoked", vec![partitions_of(&partitions)], output)?;
        }
        tell("shutdown_complete", Vec::new(), output)?;
        if !is_interrupted {
            tell("shutdown_requested", Vec::new(), output)?;
        }
        if let Err(error) = closed {
            output.tell(error)?;
        }
        end
    }

    fn is_finished(&self) -> bool {
        self.plan.records_max.is_some_and(|max| self.count >= max)
    }

    async fn read_all(&mut self, consumer: &mut Consumer, output: &mut Output<'_>) -> Result<(), Failure> {
        while !self.is_finished() {
            match consumer.next().await.map_err(said)? {
                ConsumerEvent::Records(records) => {
                    let offsets = self.tell_records(&records, output)?;
                    if !self.plan.commits_in_intervals {
                        let committed = consumer.commit_offsets(offsets.clone()).await;
                        tell_committed(&offsets, committed, output)?;
                    }
                }
                ConsumerEvent::Assigned(partitions) => {
                    self.assigned.extend(partitions.iter().cloned());
                    tell("partitions_assigned", vec![partitions_of(&partitions)], output)?;
                }
                ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions) => {
                    self.assigned.retain(|at| !partitions.contains(at));
                    tell("partitions_revoked", vec![partitions_of(&partitions)], output)?;
                }
            }
        }
        Ok(())
    }

    /// Where each partition goes on after the records that are wanted.
    fn tell_records(
        &mut self,
        records: &[ConsumerRecord],
        output: &mut Output<'_>,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Failure> {
        let mut offsets = BTreeMap::new();
        let mut summaries = Vec::new();
        for of_partition in records.chunk_by(|a, b| a.topic_partition == b.topic_partition) {
            let left = self.plan.records_max.map_or(u64::MAX, |max| max - self.count);
            let wanted =
                of_partition.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(of_partition);
            let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { break };
            let at = &last.topic_partition;
            offsets.insert(at.clone(), CommittedOffset::from(Position::at(last.offset.next())));
            summaries.push(Json::Object(vec![
                ("topic", text(Some(&at.topic))),
                ("partition", number(at.partition)),
                ("count", number(wanted.len() as i64)),
                ("minOffset", number(first.offset.value())),
                ("maxOffset", number(last.offset.value())),
            ]));
            if self.plan.tells_records {
                wanted.iter().try_for_each(|record| tell("record_data", data(record), output))?;
            }
            self.count += wanted.len() as u64;
        }
        let members = vec![("count", number(records.len() as i64)), ("partitions", Json::Array(summaries))];
        tell("records_consumed", members, output)?;
        Ok(offsets)
    }
}

fn data(record: &ConsumerRecord) -> Vec<(&'static str, Json)> {
    vec![
        ("key", text_of(record.key.as_ref())),
        ("value", text_of(record.value.as_ref())),
        ("topic", text(Some(record.topic()))),
        ("partition", number(record.partition())),
        ("offset", number(record.offset.value())),
    ]
}

fn partitions_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> (&'static str, Json) {
    let shown = partitions
        .into_iter()
        .map(|at| Json::Object(vec![("topic", text(Some(&at.topic))), ("partition", number(at.partition))]));
    ("partitions", Json::Array(shown.collect()))
}

fn tell_committed(
    offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    committed: Result<(), ConsumerError>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let shown = offsets.iter().map(|(at, committed)| {
        Json::Object(vec![
            ("topic", text(Some(&at.topic))),
            ("partition", number(at.partition)),
            ("offset", number(committed.position.offset.value())),
        ])
    });
    let mut members = vec![("offsets", Json::Array(shown.collect()))];
    if let Err(error) = &committed {
        members.push(("error", text(Some(&error.to_string()))));
    }
    members.push(("success", Json::Bool(committed.is_ok())));
    tell("offsets_committed", members, output)
}
