//! kafka-client-metrics: which metrics clients push, and how often (KIP-714).

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, AlterOp, ConfigEntry, ConfigResource, ResourceType};
use ottla_types::Uuid;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool};

pub const TOOL: Tool = Tool { name: "kafka-client-metrics", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    List,
    /// `None`: all.
    Describe {
        name: Option<String>,
    },
    /// `None`: a name that nobody has.
    Alter {
        name: Option<String>,
        settings: BTreeMap<&'static str, String>,
    },
    Delete {
        name: String,
    },
}

/// Flags, and the settings that they set.
const SETTINGS: [(&str, &str); 3] =
    [("--interval", "interval.ms"), ("--match", "match"), ("--metrics", "metrics")];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        let actions = ["--alter", "--delete", "--describe", "--list"];
        if actions.into_iter().filter(|action| parsed.has(action)).count() != 1 {
            return usage(
                "Command must include exactly one action: --alter, --delete, --describe or --list.",
            );
        }
        if !parsed.has("--bootstrap-server") {
            return usage("--bootstrap-server must be specified.");
        }
        let name = parsed.value("--name").map(str::to_owned);
        let action = match () {
            () if parsed.has("--list") => Action::List,
            () if parsed.has("--describe") => Action::Describe { name },
            () if parsed.has("--delete") => match name {
                Some(name) => Action::Delete { name },
                None => return usage("A client metrics resource name must be specified with --delete."),
            },
            () => {
                if name.is_some() == parsed.has("--generate-name") {
                    return usage("One of --name or --generate-name must be specified with --alter.");
                }
                let interval = parsed.value("--interval").unwrap_or_default();
                if !interval.is_empty() && interval.parse::<i32>().is_err() {
                    return usage("Invalid interval value. Enter an integer, or leave empty to reset.");
                }
                let setting =
                    |(flag, key): &(&str, &'static str)| Some((*key, parsed.value(flag)?.to_owned()));
                Action::Alter { name, settings: SETTINGS.iter().filter_map(setting).collect() }
            }
        };
        Ok(Plan { connection: Connection::of(parsed)?, action })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let done = match &plan.action {
            Action::List => list(admin, output).await,
            Action::Describe { name } => describe(admin, name.as_deref(), output).await,
            Action::Alter { name, settings } => {
                let name = name.clone().unwrap_or_else(|| Uuid(rand::random()).to_string());
                let op = |value: &String| match value.as_str() {
                    "" => AlterOp::Delete,
                    value => AlterOp::Set(value.to_owned()),
                };
                let changes = settings.iter().map(|(key, value)| ((*key).to_owned(), op(value))).collect();
                alter(admin, &name, changes, "Altered", output).await
            }
            Action::Delete { name } => delete(admin, name, output).await,
        };
        match done {
            Ok(()) => Ok(()),
            Err(Wrong::Here(failure)) => Err(failure),
            Err(Wrong::There(error)) => {
                output.line(format_args!(
                    "Error while executing client metrics command : {}",
                    message(&error)
                ))?;
                Err(Failure::Silent)
            }
        }
    })
}

/// Why an action failed.
#[derive(Debug)]
enum Wrong {
    Here(Failure),
    There(ottla_client::ClientError),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        Wrong::Here(failure)
    }
}

impl From<ottla_client::ClientError> for Wrong {
    fn from(error: ottla_client::ClientError) -> Wrong {
        Wrong::There(error)
    }
}

async fn names(admin: &Admin) -> Result<Vec<String>, Wrong> {
    let mut names = admin.list_config_resources(ResourceType::ClientMetrics).await?;
    names.sort();
    Ok(names)
}

async fn list(admin: &Admin, output: &mut Output<'_>) -> Result<(), Wrong> {
    Ok(output.line(names(admin).await?.join("\n"))?)
}

async fn settings(admin: &Admin, name: &str) -> Result<Vec<ConfigEntry>, Wrong> {
    let resource = ConfigResource::new(ResourceType::ClientMetrics, name);
    let mut described = admin.describe_configs(std::slice::from_ref(&resource), false).await?;
    let mut entries = described.remove(&resource).unwrap_or(Ok(Vec::new()))?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

async fn describe(admin: &Admin, name: Option<&str>, output: &mut Output<'_>) -> Result<(), Wrong> {
    let known = names(admin).await?;
    let names = match name {
        Some(name) if !known.iter().any(|known| known == name) => {
            return Ok(output.line(format_args!(
                "The client metric resource {name} doesn't exist and doesn't have dynamic config."
            ))?);
        }
        Some(name) => vec![name.to_owned()],
        None => known,
    };
    for name in names {
        output.line(format_args!("Client metrics configs for {name} are:"))?;
        for entry in settings(admin, &name).await? {
            let value = entry.value.as_deref().unwrap_or("null");
            output.line(format_args!("  {}={value}", entry.name))?;
        }
    }
    Ok(())
}

async fn delete(admin: &Admin, name: &str, output: &mut Output<'_>) -> Result<(), Wrong> {
    let set = settings(admin, name).await?;
    let changes = set.into_iter().map(|entry| (entry.name, AlterOp::Delete)).collect();
    alter(admin, name, changes, "Deleted", output).await
}

async fn alter(
    admin: &Admin,
    name: &str,
    changes: Vec<(String, AlterOp)>,
    done: &str,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let resource = ConfigResource::new(ResourceType::ClientMetrics, name);
    let results = admin.alter_configs(&BTreeMap::from([(resource, changes)]), false).await?;
    results.into_values().collect::<Result<(), _>>()?;
    Ok(output.line(format_args!("{done} client metrics config for {name}."))?)
}
