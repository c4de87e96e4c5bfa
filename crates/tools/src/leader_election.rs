//! kafka-leader-election: elects leaders of partitions.

use std::collections::BTreeSet;
use std::fs;

use ottla_client::ClientError;
use ottla_client::admin::{ElectionType, Results};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use serde_json::Value;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-leader-election", run: Run::Flags(run) };

const TIMEOUT_MS: u64 = 30_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    election: ElectionType,
    which: Which,
    warns_of_config: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    All,
    One(TopicPartition),
    InFile(String),
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let missing =
            |names: Vec<&str>| said(format_args!("Missing required option(s): {}", names.join(", ")));
        let required = ["bootstrap-server", "election-type"];
        let absent: Vec<&str> =
            required.into_iter().filter(|name| !parsed.has(&format!("--{name}"))).collect();
        if !absent.is_empty() {
            return Err(missing(absent));
        }
        let ways = ["--topic", "--all-topic-partitions", "--path-to-json-file"];
        if ways.into_iter().filter(|flag| parsed.has(flag)).count() != 1 {
            return Err(said(
                "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
            ));
        }
        let election = match parsed.value("--election-type").unwrap_or_default().to_ascii_lowercase().as_str()
        {
            "preferred" => ElectionType::Preferred,
            "unclean" => ElectionType::Unclean,
            other => {
                return Err(said(format_args!(
                    "Cannot parse argument '{other}' of option election-type\nIt is one of PREFERRED, UNCLEAN."
                )));
            }
        };
        let partition: Option<i32> = parsed.number("--partition");
        let which = match (parsed.value("--topic"), partition) {
            (Some(topic), Some(partition)) => Which::One(TopicPartition::new(topic, partition)),
            (Some(_), None) => return Err(missing(vec!["partition"])),
            (None, Some(_)) => return Err(said("Option partition is only allowed if topic is used")),
            (None, None) => match parsed.value("--path-to-json-file") {
                Some(path) => Which::InFile(path.to_owned()),
                None => Which::All,
            },
        };
        let connection =
            Connection::of(parsed)?.with_config(parsed.value("--admin.config")).within_ms(TIMEOUT_MS);
        Ok(Plan { connection, election, which, warns_of_config: parsed.has("--admin.config") })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    if plan.warns_of_config {
        output.line(
            "Option --admin.config has been deprecated and will be removed in a future version. Use --command-config \
             instead.",
        )?;
    }
    let partitions = match &plan.which {
        Which::All => None,
        Which::One(at) => Some(vec![at.clone()]),
        Which::InFile(path) => {
            let text = fs::read(path).map_err(|error| said(format_args!("{path}: {error}")))?;
            Some(partitions_of(&text)?)
        }
    };
    plan.connection.run(output, async |admin, output| {
        let results = admin.elect_leaders(plan.election, partitions.as_deref()).await.map_err(said)?;
        tell(plan.election, results, output)
    })
}

fn tell(
    election: ElectionType,
    results: Results<TopicPartition, ()>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let election = match election {
        ElectionType::Preferred => "PREFERRED",
        ElectionType::Unclean => "UNCLEAN",
    };
    let names = |wanted: fn(&Result<(), ClientError>) -> bool| {
        let names: Vec<String> =
            results.iter().filter(|(_, result)| wanted(result)).map(|(at, _)| at.to_string()).collect();
        names.join(", ")
    };
    let succeeded = names(Result::is_ok);
    if !succeeded.is_empty() {
        output.line(format_args!(
            "Successfully completed leader election ({election}) for partitions {succeeded}"
        ))?;
    }
    let not_needed = names(is_not_needed);
    if !not_needed.is_empty() {
        output.line(format_args!("Valid replica already elected for partitions {not_needed}"))?;
    }
    let mut failed = 0;
    for (at, result) in &results {
        if let Err(error) = result
            && !is_not_needed(result)
        {
            failed += 1;
            let exception = error.code().map(|code| format!("{code:?}")).unwrap_or_default();
            output.line(format_args!(
                "Error completing leader election ({election}) for partition: {at}: \
                 org.apache.kafka.common.errors.{exception}Exception: {}",
                message(error)
            ))?;
        }
    }
    if failed > 0 { Err(said(format_args!("{failed} replica(s) could not be elected"))) } else { Ok(()) }
}

fn is_not_needed(result: &Result<(), ClientError>) -> bool {
    matches!(result, Err(error) if error.code() == Some(ErrorCode::ElectionNotNeeded))
}

/// What the file says: `{"partitions": [{"topic": "a", "partition": 1}]}`.
fn partitions_of(text: &[u8]) -> Result<Vec<TopicPartition>, Failure> {
    let json: Value = serde_json::from_slice(text)
        .map_err(|error| said(format_args!("Replica election data is no valid JSON: {error}")))?;
    let list = json
        .get("partitions")
        .ok_or_else(|| said("Replica election data is missing \"partitions\" field"))?;
    let mut partitions = BTreeSet::new();
    let mut duplicates = BTreeSet::new();
    for entry in list.as_array().into_iter().flatten() {
        let read = || {
            let partition = i32::try_from(entry.get("partition")?.as_i64()?).ok()?;
            Some(TopicPartition::new(entry.get("topic")?.as_str()?, partition))
        };
        let at =
            read().ok_or_else(|| said(format_args!("{entry} doesn't have \"topic\" and \"partition\"")))?;
        if !partitions.insert(at.clone()) {
            duplicates.insert(at.to_string());
        }
    }
    if !duplicates.is_empty() {
        let names: Vec<String> = duplicates.into_iter().collect();
        return Err(said(format_args!(
            "Replica election data contains duplicate partitions: [{}]",
            names.join(", ")
        )));
    }
    Ok(partitions.into_iter().collect())
}
