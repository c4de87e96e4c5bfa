//! kafka-reassign-partitions: moves replicas between brokers, and between directories of a broker.

mod execute;
mod file;
mod generate;
mod plan;
mod throttles;
mod verify;

use std::fs;

use ottla_client::ClientError;
use ottla_client::admin::{Admin, PartitionReassignment};
use ottla_types::TopicPartition;

use crate::flags::Parsed;
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool};
use file::{Assignment, Moves, joined};
use plan::Action;
pub(crate) use plan::Plan;

pub const TOOL: Tool = Tool { name: "kafka-reassign-partitions", run: Run::Flags(run) };

/// Why an action ended early; both are told on standard output.
#[derive(Debug)]
enum Wrong {
    /// A sentence of the tool's own.
    Plain(String),
    /// What went wrong.
    Error(String),
    Here(Failure),
}

impl From<ClientError> for Wrong {
    fn from(error: ClientError) -> Wrong {
        Wrong::Error(message(&error))
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        match failure {
            Failure::Said(text) => Wrong::Error(text),
            other => Wrong::Here(other),
        }
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    let text = match act(&plan, output) {
        Ok(()) => return Ok(()),
        Err(Wrong::Here(failure)) => return Err(failure),
        Err(Wrong::Plain(text)) => text,
        Err(Wrong::Error(text)) => format!("Error: {text}"),
    };
    output.line(text)?;
    Err(Failure::Silent)
}

fn act(plan: &Plan, output: &mut Output<'_>) -> Result<(), Wrong> {
    match &plan.action {
        Action::Generate { topics_file, brokers, is_rack_aware } => {
            let brokers = file::brokers(brokers).map_err(Wrong::Error)?;
            let topics = file::topics(&read(topics_file)?).map_err(Wrong::Error)?;
            connected(plan, output, async |admin, output| {
                generate::generate(admin, &topics, &brokers, *is_rack_aware, output).await
            })
        }
        Action::Execute(wanted) => {
            let moves = moves(&wanted.file)?;
            let proposed = moves.assignment().map_err(Wrong::Error)?;
            connected(plan, output, async |admin, output| {
                execute::execute(admin, wanted, &proposed, &moves.dirs, output).await
            })
        }
        Action::Verify { file, preserves_throttles } => {
            let moves = moves(file)?;
            connected(plan, output, async |admin, output| {
                verify::verify(admin, &moves, *preserves_throttles, output).await
            })
        }
        Action::Cancel { file, preserves_throttles, timeout_ms } => {
            let moves = moves(file)?;
            connected(plan, output, async |admin, output| {
                execute::cancel(admin, &moves, *preserves_throttles, *timeout_ms, output).await
            })
        }
        Action::List => connected(plan, output, list),
    }
}

/// Connects and does it. What went wrong with the cluster is told as all else is.
fn connected(
    plan: &Plan,
    output: &mut Output<'_>,
    work: impl AsyncFnOnce(&Admin, &mut Output<'_>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut done = Ok(());
    plan.connection.run(output, async |admin, output| {
        done = work(admin, output).await;
        Ok(())
    })?;
    done
}

fn read(path: &str) -> Result<Vec<u8>, Wrong> {
    fs::read(path).map_err(|error| Wrong::Error(format!("{path}: {error}")))
}

fn moves(path: &str) -> Result<Moves, Wrong> {
    Moves::parse(&read(path)?).map_err(Wrong::Error)
}

async fn list(admin: &Admin, output: &mut Output<'_>) -> Result<(), Wrong> {
    let moves = admin.list_reassignments(None).await?;
    if moves.is_empty() {
        return Ok(output.line("No partition reassignments found.")?);
    }
    output.line("Current partition reassignments:")?;
    moves.iter().try_for_each(|of| output.line(listed(of))).map_err(Wrong::from)
}

fn listed((at, of): (&TopicPartition, &PartitionReassignment)) -> String {
    let part = |name: &str, brokers: &[i32]| match brokers {
        [] => String::new(),
        some => format!(" {name}: {}.", joined(some, ",")),
    };
    let changes = part("adding", &of.adding) + &part("removing", &of.removing);
    format!("{at}: replicas: {}.{changes}", joined(&of.replicas, ","))
}

/// Where the partitions of these topics are.
async fn assignment_of_topics(admin: &Admin, topics: &[String]) -> Result<Assignment, Wrong> {
    let mut assignment = Assignment::new();
    for (name, topic) in admin.describe_topics(topics, i32::MAX).await? {
        let topic = topic.map_err(|error| match error.code() {
            Some(ottla_wire::ErrorCode::UnknownTopicOrPartition) => {
                Wrong::Error(format!("Topic {name} not found."))
            }
            _ => error.into(),
        })?;
        let partitions = topic.partitions.into_iter();
        assignment.extend(partitions.map(|of| (TopicPartition::new(name.as_str(), of.index), of.replicas)));
    }
    Ok(assignment)
}

/// Names of the topics, each once.
fn topics_of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<String> {
    let mut names: Vec<String> = partitions.into_iter().map(|at| at.topic.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_listed() {
        let at = TopicPartition::new("a", 1);
        let of = |adding: &[i32], removing: &[i32]| {
            let found = PartitionReassignment {
                replicas: vec![1, 2, 3],
                adding: adding.to_vec(),
                removing: removing.to_vec(),
            };
            listed((&at, &found))
        };
        assert_eq!(of(&[], &[]), "a-1: replicas: 1,2,3.");
        assert_eq!(of(&[3], &[1, 2]), "a-1: replicas: 1,2,3. adding: 3. removing: 1,2.");
    }
}
