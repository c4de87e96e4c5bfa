//! kafka-get-offsets: offsets of partitions at a time.

use ottla_client::admin::{Admin, OffsetSpec};
use ottla_types::TopicPartition;

use crate::flags::Parsed;
use crate::java::split;
use crate::names::Names;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-get-offsets", run: Run::Flags(run) };

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    connection: Connection,
    spec: OffsetSpec,
    /// A partition that one of these chooses is asked for.
    rules: Vec<Rule>,
    excludes_internal: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    topics: Names,
    partitions: Partitions,
}

#[derive(Clone, Debug)]
enum Partitions {
    All,
    These(Vec<i32>),
    /// Without the upper end.
    From(i32, i32),
}

impl Partitions {
    fn have(&self, partition: i32) -> bool {
        match self {
            Partitions::All => true,
            Partitions::These(ids) => ids.contains(&partition),
            Partitions::From(low, high) => (*low..*high).contains(&partition),
        }
    }
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        if !parsed.has("--bootstrap-server") {
            return Err(Failure::Usage("Missing required argument \"[bootstrap-server]\"".to_owned()));
        }
        let connection = Connection::of(parsed)?.named("GetOffsetShell");
        if parsed.has("--topic-partitions") && (parsed.has("--topic") || parsed.has("--partitions")) {
            return Err(occurred("--topic-partitions cannot be used with --topic or --partitions"));
        }
        let rules = match parsed.value("--topic-partitions") {
            Some(list) => split(list).into_iter().map(Rule::parse).collect::<Result<_, _>>()?,
            None => {
                let topics = Names::parse(parsed.value("--topic").unwrap_or(".*"))?;
                vec![Rule {
                    topics,
                    partitions: partition_ids(parsed.value("--partitions").unwrap_or_default())?,
                }]
            }
        };
        Ok(Plan {
            connection,
            spec: spec(parsed.value("--time").unwrap_or("latest"))?,
            rules,
            excludes_internal: parsed.has("--exclude-internal-topics"),
        })
    }
}

impl Rule {
    /// `topic`, `topic:1`, `topic:1-3`, `topic:1-`, `topic:-3`; no topic means all.
    fn parse(text: &str) -> Result<Rule, Failure> {
        let invalid = || occurred(&format!("Invalid rule specification: {text}"));
        let (topics, partitions) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str, default: i32| match text {
            "" => Ok(default),
            digits => digits.parse().ok().filter(|number: &i32| *number >= 0).ok_or_else(invalid),
        };
        let partitions = match partitions.split_once('-') {
            Some((low, high)) => Partitions::From(number(low, 0)?, number(high, i32::MAX)?),
            None if partitions.is_empty() => Partitions::All,
            None => Partitions::These(vec![number(partitions, 0)?]),
        };
        Ok(Rule { topics: Names::parse(if topics.is_empty() { ".*" } else { topics })?, partitions })
    }
}

fn partition_ids(text: &str) -> Result<Partitions, Failure> {
    if text.is_empty() {
        return Ok(Partitions::All);
    }
    let ids = split(text).into_iter().map(str::parse).collect::<Result<Vec<i32>, _>>();
    let chosen = |ids: Vec<i32>| if ids.is_empty() { Partitions::All } else { Partitions::These(ids) };
    ids.map(chosen).map_err(|_| {
        occurred(&format!(
            "--partitions expects a comma separated list of numeric partition ids, but received: {text}"
        ))
    })
}

fn spec(time: &str) -> Result<OffsetSpec, Failure> {
    Ok(match time {
        "-1" | "latest" => OffsetSpec::Latest,
        "-2" | "earliest" => OffsetSpec::Earliest,
        "-3" | "max-timestamp" => OffsetSpec::MaxTimestamp,
        "-4" | "earliest-local" => OffsetSpec::EarliestLocal,
        "-5" | "latest-tiered" => OffsetSpec::LatestTiered,
        "-6" | "earliest-pending-upload" => OffsetSpec::EarliestPendingUpload,
        time => OffsetSpec::At(time.parse().map_err(|_| {
            occurred(&format!(
                "Malformed time argument {time}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or \
                 earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
            ))
        })?),
    })
}

fn occurred(text: &str) -> Failure {
    said(format_args!("Error occurred: {text}"))
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let partitions = partitions(admin, &plan).await?;
        if partitions.is_empty() {
            return Err(occurred("Could not match any topic-partitions with the specified filters"));
        }
        let listed = admin.list_offsets_at(partitions, plan.spec).await.map_err(said)?;
        // In the order of their texts: topic-10 is before topic-2.
        let mut listed: Vec<(String, TopicPartition, _)> =
            listed.into_iter().map(|(at, result)| (at.to_string(), at, result)).collect();
        listed.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        for (name, at, result) in listed {
            match result {
                Ok(listed) if listed.offset < 0 => {}
                Ok(listed) => output.line(format_args!("{}:{}:{}", at.topic, at.partition, listed.offset))?,
                Err(error) => output.tell(format_args!(
                    "Skip getting offsets for topic-partition {name} due to error: {}",
                    message(&error)
                ))?,
            }
        }
        Ok(())
    })
}

async fn partitions(admin: &Admin, plan: &Plan) -> Result<Vec<TopicPartition>, Failure> {
    admin.list_topics().await.map_err(said)?;
    let metadata = admin.client().metadata();
    let mut chosen = Vec::new();
    for topic in metadata.topics().filter(|topic| !(plan.excludes_internal && topic.is_internal)) {
        for partition in &topic.partitions {
            let is_chosen = |rule: &&Rule| {
                rule.topics.allows(&topic.name, false) && rule.partitions.have(partition.index)
            };
            if plan.rules.iter().find(is_chosen).is_some() {
                chosen.push(TopicPartition::new(std::sync::Arc::clone(&topic.name), partition.index));
            }
        }
    }
    Ok(chosen)
}
