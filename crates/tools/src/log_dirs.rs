//! kafka-log-dirs: log directories of brokers, and what of which partition is in them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::ClientError;
use ottla_client::admin::LogDirDescription;
use ottla_types::NodeId;
use ottla_wire::Json;

use crate::flags::Parsed;
use crate::net::Connection;
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-log-dirs", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    /// Empty: all.
    topics: BTreeSet<String>,
    /// Empty: all.
    brokers: BTreeSet<i32>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        for flag in ["--bootstrap-server", "--describe"] {
            if !parsed.has(flag) {
                let name = flag.trim_start_matches('-');
                return Err(Failure::Usage(format!("Missing required argument \"[{name}]\"")));
            }
        }
        let list = |flag| parsed.value(flag).unwrap_or_default().split(',').filter(|part| !part.is_empty());
        let id = |text: &str| {
            text.parse().map_err(|_| said(format_args!("{text} in --broker-list is no broker id")))
        };
        Ok(Plan {
            connection: Connection::of(parsed)?.named("log-dirs-tool"),
            topics: list("--topic-list").map(str::to_owned).collect(),
            brokers: list("--broker-list").map(id).collect::<Result<_, _>>()?,
        })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let there: BTreeSet<i32> = admin.client().metadata().brokers().keys().map(|id| id.0).collect();
        let missing: BTreeSet<i32> = plan.brokers.difference(&there).copied().collect();
        if !missing.is_empty() {
            return Err(said(format_args!(
                "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
                joined(&missing),
                joined(&there)
            )));
        }
        let asked = if plan.brokers.is_empty() { there } else { plan.brokers.clone() };
        output.line("Querying brokers for log directories information")?;
        let ids: Vec<i32> = asked.iter().copied().collect();
        let described = admin.describe_log_dirs(&ids).await;
        let described: BTreeMap<NodeId, _> = described
            .into_iter()
            .map(|(node, dirs)| dirs.map(|dirs| (node, dirs)))
            .collect::<Result<_, ClientError>>()
            .map_err(said)?;
        output.line(format_args!("Received log directory information from brokers {}", joined(&asked)))?;
        output.line(json(&described, &plan.topics))
    })
}

fn joined(ids: &BTreeSet<i32>) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// Members stand in the order in which Java's maps have them.
fn json(brokers: &BTreeMap<NodeId, BTreeMap<String, LogDirDescription>>, topics: &BTreeSet<String>) -> Json {
    let brokers = brokers.iter().map(|(node, dirs)| {
        let dirs = dirs.iter().map(|(path, dir)| log_dir(path, dir, topics)).collect();
        Json::Object(vec![("broker", Json::Int(node.0.into())), ("logDirs", Json::Array(dirs))])
    });
    Json::Object(vec![("brokers", Json::Array(brokers.collect())), ("version", Json::Int(1))])
}

fn log_dir(path: &str, dir: &LogDirDescription, topics: &BTreeSet<String>) -> Json {
    let shown = dir.replicas.iter().filter(|(at, _)| topics.is_empty() || topics.contains(&*at.topic));
    let partitions = shown.map(|(at, replica)| {
        Json::Object(vec![
            ("partition", Json::Text(at.to_string())),
            ("size", Json::Int(replica.size_bytes)),
            ("offsetLag", Json::Int(replica.offset_lag)),
            ("isFuture", Json::Bool(replica.is_future)),
        ])
    });
    let error = dir.error.as_ref().map_or(Json::Null, |error| Json::Text(exception(error)));
    Json::Object(vec![
        ("partitions", Json::Array(partitions.collect())),
        ("error", error),
        ("logDir", Json::Text(path.to_owned())),
    ])
}

/// Of Java's classes only this one is ever seen here.
fn exception(error: &ClientError) -> String {
    match error.code() {
        Some(ottla_wire::ErrorCode::KafkaStorageError) => {
            "org.apache.kafka.common.errors.KafkaStorageException".to_owned()
        }
        _ => error.to_string(),
    }
}
