//! kafka-streams-application-reset: sets an application of Kafka Streams back to where its data begin.

mod offsets;
mod plan;

use std::collections::BTreeSet;

use ottla_client::admin::{Admin, GroupOffset, OffsetSpec};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use crate::flags::Parsed;
use crate::group_offsets::{self, Wrong};
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;

pub const TOOL: Tool = Tool { name: "kafka-streams-application-reset", run: Run::Flags(run) };

/// What the broker logs of members that are removed.
const REASON: &str = "the application is reset";

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    plan.connection()?.run(output, async |admin, output| match reset(admin, &plan, output).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Silent),
        Err(Wrong::Here(failure)) => Err(failure),
        Err(Wrong::There(why)) => Err(said(format_args!("ERROR: {why}"))),
    })
}

/// Whether all topics were there.
async fn reset(admin: &Admin, plan: &Plan, output: &mut Output<'_>) -> Result<bool, Wrong> {
    end_members(admin, plan, output).await?;
    let all: BTreeSet<String> =
        admin.list_topics().await?.into_iter().map(|topic| topic.name.to_string()).collect();
    if plan.is_dry_run {
        output.line(
            "----Dry run displays the actions which will be performed when running Streams Reset Tool----",
        )?;
    }
    let are_there = reset_offsets(admin, plan, &all, output).await?;
    delete_internal_topics(admin, plan, &all, output).await?;
    Ok(are_there)
}

/// Fails where the application still runs, unless its members are to be removed.
async fn end_members(admin: &Admin, plan: &Plan, output: &mut Output<'_>) -> Result<(), Wrong> {
    let id = &plan.application;
    for (_, described) in admin.describe_consumer_groups(std::slice::from_ref(id)).await {
        let members = match described {
            Ok(group) => group.members,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if members.is_empty() {
            return Ok(());
        }
        if !plan.removes_members {
            let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
            return Err(Wrong::There(format!(
                "Consumer group '{id}' is still active and has following members: [{}]. Make sure to stop all running application \
                 instances before running the reset tool. You can use option '--force' to remove active members from the group.",
                members.join(", ")
            )));
        }
        output.line(format_args!("Force deleting all active members in the group: {id}"))?;
        for (_, result) in admin.remove_group_members(id, &members, REASON).await? {
            result?;
        }
    }
    Ok(())
}

async fn reset_offsets(
    admin: &Admin,
    plan: &Plan,
    all: &BTreeSet<String>,
    output: &mut Output<'_>,
) -> Result<bool, Wrong> {
    if plan.input_topics.is_empty() && plan.intermediate_topics.is_empty() {
        output.line("No input or intermediate topics specified. Skipping seek.")?;
        return Ok(true);
    }
    let listed = |topics: &[String]| format!("[{}]", topics.join(", "));
    if !plan.input_topics.is_empty() {
        output.line(format_args!("Reset-offsets for input topics {}", listed(&plan.input_topics)))?;
    }
    if !plan.intermediate_topics.is_empty() {
        output.line(format_args!(
            "Seek-to-end for intermediate topics {}",
            listed(&plan.intermediate_topics)
        ))?;
    }
    let input = present(&plan.input_topics, all, "input", "Topic: ", output)?;
    let intermediate = present(&plan.intermediate_topics, all, "intermediate", "Topic:", output)?;
    let are_there =
        input.len() + intermediate.len() == plan.input_topics.len() + plan.intermediate_topics.len();
    if input.is_empty() && intermediate.is_empty() {
        return Ok(are_there);
    }
    if let Err(wrong) = seek(admin, plan, &input, &intermediate, output).await {
        output.tell("ERROR: Resetting offsets failed.")?;
        return Err(wrong);
    }
    output.line("Done.")?;
    Ok(are_there)
}

/// Those that are there; the others are told.
fn present(
    topics: &[String],
    all: &BTreeSet<String>,
    kind: &str,
    head: &str,
    output: &mut Output<'_>,
) -> Result<Vec<String>, Failure> {
    let (there, absent): (Vec<String>, Vec<String>) =
        topics.iter().cloned().partition(|topic| all.contains(topic));
    if !absent.is_empty() {
        output.line(format_args!("Following {kind} topics are not found, skipping them"))?;
        absent.iter().try_for_each(|topic| output.line(format_args!("{head}{topic}")))?;
    }
    Ok(there)
}

async fn seek(
    admin: &Admin,
    plan: &Plan,
    input: &[String],
    intermediate: &[String],
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let group = &plan.application;
    let mut new = offsets::Offsets::new();
    let partitions = group_offsets::partitions(admin, input).await?;
    if !partitions.is_empty() {
        output.line(format_args!(
            "Following input topics offsets will be reset to (for consumer group {group})"
        ))?;
        new = offsets::planned(admin, plan, partitions, output).await?;
        for (at, offset) in &new {
            output.line(format_args!("Topic: {} Partition: {} Offset: {offset}", at.topic, at.partition))?;
        }
    }
    let partitions = group_offsets::partitions(admin, intermediate).await?;
    if !partitions.is_empty() {
        output.line(format_args!(
            "Following intermediate topics offsets will be reset to end (for consumer group {group})"
        ))?;
        intermediate.iter().try_for_each(|topic| output.line(format_args!("Topic: {topic}")))?;
        new.extend(group_offsets::at(admin, partitions, OffsetSpec::Latest).await?);
    }
    if plan.is_dry_run {
        return Ok(());
    }
    let committed = |(at, offset): (TopicPartition, i64)| (at, GroupOffset::at(offset));
    let new = new.into_iter().map(committed).collect();
    for (_, result) in admin.alter_group_offsets(group, &new).await? {
        result?;
    }
    Ok(())
}

async fn delete_internal_topics(
    admin: &Admin,
    plan: &Plan,
    all: &BTreeSet<String>,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let inferred: Vec<String> = all.iter().filter(|topic| plan.is_inferred(topic)).cloned().collect();
    let topics = match &plan.internal_topics {
        Some(specified) if specified.iter().any(|topic| !inferred.contains(topic)) => {
            return Err(Wrong::There(
                "Invalid topic specified in the --internal-topics option. Ensure that the topics specified are all internal \
                 topics. Do a dry run without the --internal-topics option to see the list of all internal topics that can be \
                 deleted."
                    .to_owned(),
            ));
        }
        Some(specified) => specified,
        None => &inferred,
    };
    let kind = if plan.internal_topics.is_some() { "specified" } else { "inferred" };
    output.line(format_args!("Deleting {kind} internal topics [{}]", topics.join(", ")))?;
    if !plan.is_dry_run && !topics.is_empty() {
        let mut has_failed = false;
        for (topic, result) in admin.delete_topics(topics).await? {
            if let Err(error) = result {
                output.tell(format_args!("ERROR: deleting topic {topic}: {}", message(&error)))?;
                has_failed = true;
            }
        }
        if has_failed {
            return Err(Wrong::There("Encountered an error deleting one or more topics".to_owned()));
        }
    }
    Ok(output.line("Done.")?)
}
