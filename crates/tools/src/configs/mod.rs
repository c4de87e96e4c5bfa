//! kafka-configs: shows and changes settings of topics, brokers, groups and the like, and quotas and credentials of users.

mod plan;
mod quotas;
mod resources;

use std::collections::BTreeMap;
use std::fs;

use ottla_client::ClientError;
use ottla_client::admin::Admin;

use crate::flags::Parsed;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;
use plan::{Action, Entity, Kind};

pub const TOOL: Tool = Tool { name: "kafka-configs", run: Run::Flags(run) };

/// What is to become of settings.
#[derive(Clone, Debug)]
struct Alteration {
    add: BTreeMap<String, String>,
    delete: Vec<String>,
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    let alteration = match &plan.action {
        Action::Describe { .. } => None,
        Action::Alter { add, file, delete } => {
            let mut add = add.clone();
            if let Some(path) = file {
                add.extend(settings_of_file(path)?);
            }
            plan::check_keys(&add)?;
            Some(Alteration { add, delete: delete.clone() })
        }
    };
    plan.connection.run(output, async |admin, output| {
        let done = match (&plan.action, &alteration) {
            (_, Some(alteration)) => alter(admin, &plan.entities, alteration, output).await,
            (Action::Describe { all }, None) => describe(admin, &plan.entities, *all, output).await,
            _ => Ok(()),
        };
        done.map_err(|wrong| match wrong {
            Wrong::Here(failure) => failure,
            Wrong::There(error) => said(format_args!(
                "Error while executing config command with args '{}'\n{error}",
                parsed.words().join(" ")
            )),
        })
    })
}

/// Why an action failed.
#[derive(Debug)]
enum Wrong {
    /// What was asked for is not possible, or the result could not be printed.
    Here(Failure),
    /// The cluster didn't do it.
    There(ClientError),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        Wrong::Here(failure)
    }
}

impl From<ClientError> for Wrong {
    fn from(error: ClientError) -> Wrong {
        Wrong::There(error)
    }
}

fn settings_of_file(path: &str) -> Result<BTreeMap<String, String>, Failure> {
    let text = fs::read(path).map_err(|error| said(format_args!("{path}: {error}")))?;
    let settings =
        ottla_config::properties::parse(&text).map_err(|error| said(format_args!("{path}: {error}")))?;
    Ok(settings.into_iter().map(|of| (of.key, of.value)).collect())
}

async fn describe(
    admin: &Admin,
    entities: &[Entity],
    all: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    match entities {
        [Entity { kind, name }] if kind.resource().is_some() => {
            resources::describe(admin, *kind, name.as_deref(), all, output).await
        }
        entities => quotas::describe(admin, entities, output).await,
    }
}

async fn alter(
    admin: &Admin,
    entities: &[Entity],
    alteration: &Alteration,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let Some(first) = entities.first() else { return Ok(()) };
    let name = first.name.clone().unwrap_or_default();
    match first.kind.resource() {
        Some(_) => resources::alter(admin, first.kind, &name, alteration).await?,
        None => quotas::alter(admin, entities, alteration).await?,
    }
    match name.as_str() {
        "" => output.line(format_args!(
            "Completed updating default config for {} in the cluster.",
            first.kind.name()
        ))?,
        name => {
            output.line(format_args!("Completed updating config for {} {name}.", first.kind.singular()))?
        }
    }
    Ok(())
}
