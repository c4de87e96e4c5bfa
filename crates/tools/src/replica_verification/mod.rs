//! kafka-replica-verification: compares the replicas of partitions while they grow.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::admin::{Admin, OffsetSpec};
use ottla_client::{SendOptions, Target};
use ottla_types::{NodeId, TopicPartition, Uuid};
use ottla_wire::messages::FetchRequest;
use ottla_wire::messages::fetch_request::{Partition, ReplicaState, Topic};
use tokio::task::JoinSet;

use crate::date_format::DateFormat;
use crate::flags::Parsed;
use crate::names::Names;
use crate::net::{Connection, check_servers, interrupted};
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};
use compare::{Answered, compare};

pub const TOOL: Tool = Tool { name: "kafka-replica-verification", run: Run::Flags(run) };

/// Kafka's number for who reads replicas to look at them: followers answer too.
const DEBUGGING_REPLICA_ID: i32 = -2;
/// From this version of Fetch on, who reads is said in its state (KIP-903).
const STATE_VERSION: i16 = 15;
/// Before a node that could not answer is asked again.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    fetch_bytes: i32,
    wait_ms: i32,
    topics: String,
    from: OffsetSpec,
    report_interval_ms: i64,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let Some(brokers) = parsed.value("--broker-list") else {
            return Err(Failure::Usage("Missing required argument \"[broker-list]\"".to_owned()));
        };
        check_servers(Some(brokers))?;
        let time = parsed.number("--time").unwrap_or(-1);
        Ok(Plan {
            connection: Connection::to(brokers),
            fetch_bytes: parsed.number("--fetch-size").unwrap_or(0),
            wait_ms: parsed.number("--max-wait-ms").unwrap_or(0),
            topics: parsed.value("--topics-include").unwrap_or_default().to_owned(),
            from: match time {
                -1 => OffsetSpec::Latest,
                -2 => OffsetSpec::Earliest,
                time => OffsetSpec::At(time),
            },
            report_interval_ms: parsed.number("--report-interval-ms").unwrap_or(0),
        })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    let topics = Names::parse(&plan.topics)?;
    plan.connection.run(output, async |admin, output| {
        let mut interrupt = pin!(interrupted());
        tokio::select! {
            done = verify(admin, &plan, &topics, output) => done,
            code = &mut interrupt => Err(Failure::Ended(code)),
        }
    })
}

async fn verify(admin: &Admin, plan: &Plan, topics: &Names, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut watched = Watched::of(admin, plan, topics).await?;
    let dates = DateFormat::parse("yyyy-MM-dd HH:mm:ss,SSS").map_err(said)?;
    output.line(format_args!("{}: verification process is started", dates.format(now_ms())))?;
    output.out.flush()?;
    let mut last_report_ms = now_ms();
    loop {
        let (answers, failures) = watched.fetch(admin).await;
        watched.tell_new(failures, output)?;
        for (line, is_hopeless) in watched.compare(answers) {
            output.line(format_args!("{}: {line}", dates.format(now_ms())))?;
            output.out.flush()?;
            if is_hopeless {
                return Err(Failure::Silent);
            }
        }
        let now_ms = now_ms();
        if now_ms - last_report_ms > plan.report_interval_ms {
            output.line(format_args!("{}: {}", dates.format(now_ms), watched.report()))?;
            output.out.flush()?;
            last_report_ms = now_ms;
        }
    }
}

/// No record is older than the epoch; what is below zero would be another question to brokers, whose answer isn't meant here.
fn check_time(from: OffsetSpec, partitions: &BTreeSet<TopicPartition>) -> Result<(), Failure> {
    match (from, partitions.first()) {
        (OffsetSpec::At(time @ ..0), Some(at)) => Err(said(format_args!(
            "The target time for partition {at} is {time}. The target time cannot be negative."
        ))),
        _ => Ok(()),
    }
}

/// As one asks who looks at replicas and is none. No version has both places for it.
fn of_debugger(request: FetchRequest, version: i16) -> FetchRequest {
    match version {
        ..STATE_VERSION => FetchRequest { replica_id: DEBUGGING_REPLICA_ID, ..request },
        STATE_VERSION.. => {
            let replica_state = ReplicaState { replica_id: DEBUGGING_REPLICA_ID, ..ReplicaState::default() };
            FetchRequest { replica_state, ..request }
        }
    }
}

/// Partitions whose replicas are compared.
struct Watched {
    fetch_bytes: i32,
    wait_ms: i32,
    topic_ids: BTreeMap<String, Uuid>,
    /// Where each goes on.
    offsets: BTreeMap<TopicPartition, i64>,
    of_brokers: BTreeMap<i32, Vec<TopicPartition>>,
    /// Behind which offset of which partition most is missing, and how much.
    farthest: Option<(i64, TopicPartition, i64)>,
    /// Why brokers could not be asked the last time.
    failures: BTreeMap<i32, String>,
}

type Answers = BTreeMap<TopicPartition, BTreeMap<i32, Answered>>;

impl Watched {
    async fn of(admin: &Admin, plan: &Plan, topics: &Names) -> Result<Watched, Failure> {
        let all = admin.list_topics().await.map_err(said)?;
        let names: Vec<String> = all
            .iter()
            .filter(|topic| topics.allows(&topic.name, false))
            .map(|topic| topic.name.to_string())
            .collect();
        if names.is_empty() {
            return Err(said(
                "No topics found. [topics-include] if specified, is either filtering out all topics or there is no topic.",
            ));
        }
        let mut of_brokers: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        let mut topic_ids = BTreeMap::new();
        let mut partitions = BTreeSet::new();
        for (name, topic) in admin.describe_topics(&names, i32::MAX).await.map_err(said)? {
            let topic = topic.map_err(said)?;
            topic_ids.insert(name.clone(), topic.id);
            for partition in topic.partitions {
                let at = TopicPartition::new(name.as_str(), partition.index);
                partition.replicas.iter().for_each(|id| of_brokers.entry(*id).or_default().push(at.clone()));
                partitions.insert(at);
            }
        }
        check_time(plan.from, &partitions)?;
        let listed = admin.list_offsets_at(partitions, plan.from).await.map_err(said)?;
        let mut offsets = BTreeMap::new();
        for (at, result) in listed {
            offsets.insert(at, result.map_err(said)?.offset.max(0));
        }
        Ok(Watched {
            fetch_bytes: plan.fetch_bytes,
            wait_ms: plan.wait_ms,
            topic_ids,
            offsets,
            of_brokers,
            farthest: None,
            failures: BTreeMap::new(),
        })
    }

    /// What all replicas answer; of a broker that doesn't, they have nothing. And why brokers did not.
    async fn fetch(&self, admin: &Admin) -> (Answers, BTreeMap<i32, String>) {
        let mut asked = JoinSet::new();
        for (broker, partitions) in &self.of_brokers {
            let (client, broker) = (admin.client().clone(), *broker);
            let request = self.request(partitions);
            asked.spawn(async move {
                let node = Target::Node(NodeId(broker));
                let answer = client
                    .send_with(node, SendOptions::default(), |version| of_debugger(request, version))
                    .await;
                if answer.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
                (broker, answer)
            });
        }
        let mut answers = Answers::new();
        for (broker, partitions) in &self.of_brokers {
            for at in partitions {
                answers.entry(at.clone()).or_default().insert(*broker, Answered::default());
            }
        }
        let mut failures = BTreeMap::new();
        while let Some(joined) = asked.join_next().await {
            let (broker, answer) = match joined {
                Ok((broker, Ok(answer))) => (broker, answer.response),
                Ok((broker, Err(why))) => {
                    failures.insert(broker, why.to_string());
                    continue;
                }
                Err(_) => continue,
            };
            for topic in answer.responses {
                let name = self.topic_ids.iter().find(|(_, id)| **id == topic.topic_id).map(|(name, _)| name);
                let name = name.map_or(topic.topic.as_str(), String::as_str);
                for partition in topic.partitions {
                    let at = TopicPartition::new(name, partition.partition_index);
                    let Some(of_partition) = answers.get_mut(&at) else { continue };
                    let batches = partition.records.bytes().cloned().unwrap_or_else(Bytes::new);
                    let answered = Answered { high_watermark: partition.high_watermark, batches };
                    of_partition.insert(broker, answered);
                }
            }
        }
        (answers, failures)
    }

    /// Each failure once, for as long as it lasts.
    fn tell_new(&mut self, failures: BTreeMap<i32, String>, output: &mut Output<'_>) -> Result<(), Failure> {
        for (broker, why) in &failures {
            if self.failures.get(broker) != Some(why) {
                output.tell(format_args!("broker {broker} can't be asked: {why}"))?;
            }
        }
        self.failures = failures;
        Ok(())
    }

    fn request(&self, partitions: &[TopicPartition]) -> FetchRequest {
        let mut topics: BTreeMap<&str, Topic> = BTreeMap::new();
        for at in partitions {
            let topic = topics.entry(&at.topic).or_insert_with(|| Topic {
                topic: at.topic.to_string(),
                topic_id: self.topic_ids.get(&*at.topic).copied().unwrap_or_default(),
                ..Topic::default()
            });
            topic.partitions.push(Partition {
                partition: at.partition,
                fetch_offset: self.offsets.get(at).copied().unwrap_or_default(),
                log_start_offset: 0,
                partition_max_bytes: self.fetch_bytes,
                ..Partition::default()
            });
        }
        FetchRequest {
            max_wait_ms: self.wait_ms,
            min_bytes: 1,
            topics: topics.into_values().collect(),
            ..FetchRequest::default()
        }
    }

    /// What differs, a line each, and whether it is of no use to go on.
    fn compare(&mut self, answers: Answers) -> Vec<(String, bool)> {
        let mut lines = Vec::new();
        self.farthest = None;
        for (at, replicas) in answers {
            let compared = compare(&at.to_string(), &replicas);
            lines.extend(compared.differences.into_iter().map(|line| (line, compared.is_hopeless)));
            let Some(offset) = self.offsets.get_mut(&at) else { continue };
            *offset = compared.next_offset.unwrap_or(*offset);
            let high_watermark = replicas.values().map(|of| of.high_watermark).max().unwrap_or(-1);
            let lag = high_watermark - *offset;
            if self.farthest.as_ref().is_none_or(|(largest, ..)| lag > *largest) {
                self.farthest = Some((lag, at, *offset));
            }
        }
        lines
    }

    fn report(&self) -> String {
        let (lag, name, offset) = match &self.farthest {
            Some((lag, at, offset)) => (*lag, at.to_string(), *offset),
            None => (-1, "null".to_owned(), -1),
        };
        let count = self.offsets.len();
        format!("max lag is {lag} for partition {name} at offset {offset} among {count} partitions")
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::Message;

    use super::*;

    #[test]
    fn every_version_of_fetch_can_say_who_asks() {
        for version in <FetchRequest as Message>::VERSIONS.iter() {
            let request = of_debugger(FetchRequest::default(), version);
            let bytes = request.to_bytes(version).unwrap();
            let read = FetchRequest::from_bytes(bytes, version).unwrap();
            assert_eq!(read.replica_id.min(read.replica_state.replica_id), DEBUGGING_REPLICA_ID, "{version}");
        }
    }

    #[test]
    fn times_are_not_negative() {
        let partitions = BTreeSet::from([TopicPartition::new("orders", 0), TopicPartition::new("orders", 1)]);
        let Failure::Said(text) = check_time(OffsetSpec::At(-3), &partitions).unwrap_err() else { panic!() };
        assert_eq!(text, "The target time for partition orders-0 is -3. The target time cannot be negative.");
        for from in [OffsetSpec::At(0), OffsetSpec::Latest, OffsetSpec::Earliest] {
            assert!(check_time(from, &partitions).is_ok());
        }
    }
}
