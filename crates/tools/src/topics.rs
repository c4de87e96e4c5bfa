//! kafka-topics: lists, describes, creates, grows and deletes topics.

mod describe;
mod plan;

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, NewPartitions, NewTopic};
use ottla_wire::ErrorCode;

use crate::flags::Parsed;
use crate::names::Names;
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool};
pub(crate) use plan::Plan;
use plan::{Action, Creation};

pub const TOOL: Tool = Tool { name: "kafka-topics", run: Run::Flags(run) };

const COLLISIONS: &str = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
                          collide. To avoid issues it is best to use either, but not both.";

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    for warning in &plan.warnings {
        output.tell(warning)?;
    }
    if parsed.has("--topic")
        && parsed.has("--topic-id")
        && parsed.has("--if-exists")
        && parsed.has("--describe")
    {
        output.line(
            "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID",
        )?;
    }
    plan.connection.run(output, async |admin, output| {
        let done = match &plan.action {
            Action::List => list(admin, &plan, output).await,
            Action::Describe(description) => describe::describe(admin, &plan, description, output).await,
            Action::Create(creation) => create(admin, creation, output).await,
            Action::Alter { partitions, assignment } => alter(admin, &plan, *partitions, assignment).await,
            Action::Delete => delete(admin, &plan).await,
        };
        match done {
            Err(Wrong::Topics(text)) => {
                output.line(format_args!("Error while executing topic command : {text}"))?;
                Err(Failure::Silent)
            }
            Err(Wrong::Output(failure)) => Err(failure),
            Ok(()) => Ok(()),
        }
    })
}

/// Why an action failed.
#[derive(Debug)]
enum Wrong {
    /// The tool has its own way to say it.
    Topics(String),
    Output(Failure),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        match failure {
            Failure::Said(text) => Wrong::Topics(text),
            other => Wrong::Output(other),
        }
    }
}

impl From<ottla_client::ClientError> for Wrong {
    fn from(error: ottla_client::ClientError) -> Wrong {
        Wrong::Topics(message(&error))
    }
}

/// Topics that the pattern chooses, by name; all without one.
async fn chosen(admin: &Admin, plan: &Plan) -> Result<Vec<String>, Wrong> {
    let names = plan.topic.as_deref().map(Names::parse).transpose()?;
    let topics = admin.list_topics().await?;
    let is_chosen = |topic: &&ottla_client::admin::TopicListing| match &names {
        Some(names) => names.allows(&topic.name, plan.excludes_internal),
        None => !(plan.excludes_internal && topic.is_internal),
    };
    Ok(topics.iter().filter(is_chosen).map(|topic| topic.name.to_string()).collect())
}

fn check_exist(names: &[String], plan: &Plan) -> Result<(), Wrong> {
    match &plan.topic {
        Some(topic) if !topic.is_empty() && !plan.if_exists && names.is_empty() => {
            Err(Wrong::Topics(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(()),
    }
}

async fn list(admin: &Admin, plan: &Plan, output: &mut Output<'_>) -> Result<(), Wrong> {
    Ok(output.line(chosen(admin, plan).await?.join("\n"))?)
}

async fn create(admin: &Admin, creation: &Creation, output: &mut Output<'_>) -> Result<(), Wrong> {
    let Creation { topic, if_not_exists, .. } = creation;
    let configs = creation.configs().map_err(Wrong::Topics)?;
    let assignments = creation.assignments().map_err(Wrong::Topics)?;
    if topic.contains(['.', '_']) {
        output.line(COLLISIONS)?;
    }
    creation.check_numbers().map_err(Wrong::Topics)?;
    let new = NewTopic {
        name: topic.clone(),
        partitions: creation.partitions,
        replication_factor: creation.replication_factor.and_then(|factor| i16::try_from(factor).ok()),
        assignments,
        configs,
    };
    match admin.create_topic(&new).await {
        Ok(_) => Ok(output.line(format_args!("Created topic {topic}."))?),
        Err(error) if *if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn alter(admin: &Admin, plan: &Plan, partitions: i32, assignment: &str) -> Result<(), Wrong> {
    let assignments = plan::assignments(assignment).map_err(Wrong::Topics)?;
    let names = chosen(admin, plan).await?;
    check_exist(&names, plan)?;
    if names.is_empty() {
        return Ok(());
    }
    let metadata = admin.client().metadata();
    let growth = |name: &String| {
        let there = metadata.topic(name).map_or(0, |topic| topic.partitions.len());
        // The partitions that there are stand in front.
        let new = (!assignments.is_empty()).then(|| assignments.iter().skip(there).cloned().collect());
        (name.clone(), NewPartitions { count: partitions, assignments: new })
    };
    let growths: BTreeMap<String, NewPartitions> = names.iter().map(growth).collect();
    for (_, result) in admin.create_partitions(&growths, false).await? {
        result?;
    }
    Ok(())
}

async fn delete(admin: &Admin, plan: &Plan) -> Result<(), Wrong> {
    let names = chosen(admin, plan).await?;
    check_exist(&names, plan)?;
    if names.is_empty() {
        return Ok(());
    }
    for (_, result) in admin.delete_topics(&names).await? {
        result?;
    }
    Ok(())
}
