//! kafka-share-groups: lists and describes share groups, deletes them, and changes where they start.

mod describe;
mod plan;

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, GroupListing, OffsetSpec};
use ottla_wire::ErrorCode;

use crate::flags::Parsed;
use crate::group_offsets::{self, Offsets, Wrong, error};
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;
use plan::{Action, Position, Reset};

pub const TOOL: Tool = Tool { name: "kafka-share-groups", run: Run::Flags(run) };

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let admin = admin.clone().within(plan.timeout_ms);
        let done = act(&admin, &plan, output).await;
        group_offsets::end("share", done, output)
    })
}

async fn act(admin: &Admin, plan: &Plan, output: &mut Output<'_>) -> Result<(), Wrong> {
    if let Action::List { states } = &plan.action {
        return list(admin, states.as_deref(), output).await;
    }
    let ids = match &plan.groups {
        Some(ids) => ids.clone(),
        None => share_groups(admin, &[]).await?.into_iter().map(|group| group.id).collect(),
    };
    match &plan.action {
        Action::Describe { view, is_verbose } => {
            describe::describe(admin, &ids, *view, *is_verbose, output).await
        }
        Action::Delete => delete(admin, &ids, output).await,
        Action::DeleteOffsets { topics } => delete_offsets(admin, &ids, topics, output).await,
        Action::Reset(wanted) => reset(admin, &ids, wanted, output).await,
        Action::List { .. } => Ok(()),
    }
}

/// By id.
async fn share_groups(admin: &Admin, states: &[String]) -> Result<Vec<GroupListing>, Wrong> {
    let mut groups = Vec::new();
    for (_, listed) in admin.list_groups(states, &["Share".to_owned()]).await {
        groups.extend(listed?.into_iter().filter(|group| group.kind.eq_ignore_ascii_case("share")));
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

async fn list(admin: &Admin, states: Option<&[String]>, output: &mut Output<'_>) -> Result<(), Wrong> {
    let groups = share_groups(admin, states.unwrap_or_default()).await?;
    if states.is_none() {
        groups.iter().try_for_each(|group| output.line(&group.id))?;
        return Ok(());
    }
    let width = groups.iter().map(|group| group.id.chars().count()).max().unwrap_or(0).max(15);
    output.line(format_args!("{:<width$} STATE", "GROUP"))?;
    for group in &groups {
        output.line(format_args!("{:<width$} {}", group.id, group.state))?;
    }
    Ok(())
}

async fn delete(admin: &Admin, ids: &[String], output: &mut Output<'_>) -> Result<(), Wrong> {
    let there = share_groups(admin, &[]).await?;
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    let mut possible = Vec::new();
    for id in ids {
        match there.iter().find(|group| group.id == *id).map(|group| group.state.as_str()) {
            None => drop(failed.insert(id.clone(), format!("Group '{id}' is not a share group."))),
            Some("Empty") => possible.push(id.clone()),
            Some("Dead") => {
                drop(failed.insert(id.clone(), format!("Share group '{id}' group state is DEAD.")))
            }
            Some(_) => drop(failed.insert(id.clone(), format!("Share group '{id}' is not EMPTY."))),
        }
    }
    let mut deleted = Vec::new();
    for (id, result) in admin.delete_groups(&possible).await {
        match result {
            Ok(()) => deleted.push(id),
            Err(why) => drop(failed.insert(id, message(&why))),
        }
    }
    let failed: Vec<(String, String)> = failed.into_iter().collect();
    Ok(group_offsets::tell_deleted("share", &deleted, &failed, output)?)
}

async fn delete_offsets(
    admin: &Admin,
    ids: &[String],
    topics: &[String],
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let Some(group) = ids.last() else { return Ok(()) };
    let mut results: BTreeMap<String, Option<String>> = BTreeMap::new();
    match admin.delete_share_group_offsets(group, topics).await {
        Ok(deleted) => {
            results.extend(
                deleted.into_iter().map(|(topic, result)| (topic, result.err().map(|why| message(&why)))),
            );
        }
        Err(why) => {
            match group_offsets::is_about_group(&why) {
                true => error(message(&why), output)?,
                false => error(format_args!("Encounter some unknown error: {}", message(&why)), output)?,
            }
            results.extend(topics.iter().map(|topic| (topic.clone(), Some(message(&why)))));
        }
    }
    if results.is_empty() {
        return Ok(output.line("")?);
    }
    let width = results.keys().map(|topic| topic.len()).max().unwrap_or(0).max(15);
    output.line("")?;
    output.line(format_args!("{:<width$} STATUS", "TOPIC"))?;
    for (topic, result) in &results {
        let status = result.as_ref().map_or_else(|| "Successful".to_owned(), |why| format!("Error: {why}"));
        output.line(format_args!("{topic:<width$} {status}"))?;
    }
    Ok(())
}

async fn reset(admin: &Admin, ids: &[String], wanted: &Reset, output: &mut Output<'_>) -> Result<(), Wrong> {
    let Some(group) = ids.last() else { return Ok(()) };
    for (id, described) in admin.describe_share_groups(std::slice::from_ref(group)).await {
        match described {
            Ok(of) if !matches!(of.state.as_str(), "Empty" | "Dead") => {
                return Err(said(format_args!("Share group '{id}' is not empty.")).into());
            }
            Err(error) if error.code() != Some(ErrorCode::GroupIdNotFound) => {
                return Err(said(message(&error)).into());
            }
            _ => {}
        }
    }
    let partitions = match &wanted.topics {
        Some(topics) => group_offsets::partitions(admin, topics).await?,
        None => admin.list_share_group_offsets(group).await?.into_keys().collect(),
    };
    group_offsets::check_all_valid(admin, &partitions).await?;
    let offsets: Offsets = match wanted.to {
        Position::Earliest => group_offsets::at(admin, partitions, OffsetSpec::Earliest).await?,
        Position::Latest => group_offsets::at(admin, partitions, OffsetSpec::Latest).await?,
        Position::At(ms) => group_offsets::at_time(admin, partitions, ms, output).await?,
    };
    if wanted.executes {
        for (_, result) in admin.alter_share_group_offsets(group, &offsets).await? {
            result?;
        }
    }
    Ok(group_offsets::print(&BTreeMap::from([(group.clone(), offsets)]), output)?)
}
