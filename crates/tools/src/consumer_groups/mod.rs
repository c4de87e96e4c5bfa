//! kafka-consumer-groups: lists and describes groups of consumers, deletes them, and changes their offsets.

mod describe;
mod plan;
mod reset;

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, GroupListing};
use ottla_types::TopicPartition;

use crate::flags::Parsed;
use crate::group_offsets::{self, Wrong, error};
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool};
use plan::{Action, Groups};
pub(crate) use plan::{POSITIONS, Plan, Position, position};
pub(crate) use reset::{csv, planned};

pub const TOOL: Tool = Tool { name: "kafka-consumer-groups", run: Run::Flags(run) };

const UNDECIDED: &str = "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will \
                         require either --dry-run or --execute to be specified. You should add the --dry-run option explicitly \
                         if you are scripting this command and want to keep the current default behavior without prompting.";

/// Behind the longest id.
const GAP: usize = 10;

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let is_undecided = !parsed.has("--dry-run") && !parsed.has("--execute");
    if parsed.has("--reset-offsets") && parsed.has("--bootstrap-server") && is_undecided {
        output.tell(UNDECIDED)?;
    }
    let plan = Plan::of(parsed)?;
    if let Action::ValidateRegex(pattern) = &plan.action {
        return match regex::Regex::new(pattern) {
            Ok(_) => output.line(format_args!("The regular expression `{pattern}` is valid.")),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                output.line(format_args!("The regular expression `{pattern}` is invalid: {why}."))
            }
        };
    }
    let Some(connection) = &plan.connection else { return Ok(()) };
    connection.run(output, async |admin, output| {
        let admin = admin.clone().within(plan.timeout_ms);
        let done = act(&admin, &plan, output).await;
        group_offsets::end("consumer", done, output)
    })
}

async fn act(admin: &Admin, plan: &Plan, output: &mut Output<'_>) -> Result<(), Wrong> {
    if let Action::List { kinds, states } = &plan.action {
        return list(admin, kinds.as_deref(), states.as_deref(), output).await;
    }
    let ids = match &plan.groups {
        Groups::Named(ids) => ids.clone(),
        Groups::All => consumer_groups(admin, &[], &[]).await?.into_iter().map(|group| group.id).collect(),
    };
    match &plan.action {
        Action::Describe { view, is_verbose } => {
            describe::describe(admin, &ids, *view, *is_verbose, output).await
        }
        Action::Delete => delete(admin, &ids, output).await,
        Action::DeleteOffsets { topics } => match ids.last() {
            Some(group) => delete_offsets(admin, group, topics, output).await,
            None => Ok(()),
        },
        Action::Reset(reset) => reset::reset(admin, &ids, reset, output).await,
        Action::List { .. } | Action::ValidateRegex(_) => Ok(()),
    }
}

/// By id.
async fn consumer_groups(
    admin: &Admin,
    states: &[String],
    kinds: &[String],
) -> Result<Vec<GroupListing>, Wrong> {
    let mut groups = Vec::new();
    for (_, listed) in admin.list_groups(states, kinds).await {
        groups.extend(listed?.into_iter().filter(is_of_consumers));
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

fn is_of_consumers(group: &GroupListing) -> bool {
    let is = |kind: &str| group.kind.eq_ignore_ascii_case(kind);
    is("consumer")
        || (is("classic") || group.kind.is_empty()) && matches!(group.protocol.as_str(), "" | "consumer")
}

async fn list(
    admin: &Admin,
    kinds: Option<&[String]>,
    states: Option<&[String]>,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let groups = consumer_groups(admin, states.unwrap_or_default(), kinds.unwrap_or_default()).await?;
    if kinds.is_none() && states.is_none() {
        groups.iter().try_for_each(|group| output.line(&group.id))?;
        return Ok(());
    }
    let width = groups.iter().map(|group| group.id.chars().count()).max().unwrap_or(0).max(15) + GAP;
    let mut line = |id: &str, kind: &str, state: &str| {
        let kind = kinds.map(|_| format!(" {kind:<20}")).unwrap_or_default();
        let state = states.map(|_| format!(" {state:<20}")).unwrap_or_default();
        output.line(format_args!("{id:<width$}{kind}{state}"))
    };
    line("GROUP", "TYPE", "STATE")?;
    for group in &groups {
        let kind = if group.kind.eq_ignore_ascii_case("consumer") { "Consumer" } else { "Classic" };
        line(&group.id, kind, &group.state)?;
    }
    Ok(())
}

async fn delete(admin: &Admin, ids: &[String], output: &mut Output<'_>) -> Result<(), Wrong> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for (id, result) in admin.delete_groups(ids).await {
        match result {
            Ok(()) => deleted.push(id),
            Err(why) => failed.push((id, message(&why))),
        }
    }
    Ok(group_offsets::tell_deleted("consumer", &deleted, &failed, output)?)
}

/// Of topics, or of partitions of them: `topic:1,2`.
pub(crate) async fn delete_offsets(
    admin: &Admin,
    group: &str,
    topics: &[String],
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let (named, whole): (Vec<&String>, Vec<&String>) = topics.iter().partition(|topic| topic.contains(':'));
    let mut partitions = Vec::new();
    for text in named {
        partitions.extend(group_offsets::partitions_of(text).map_err(Failure::Usage)?);
    }
    // -1 stands for a topic that isn't there.
    let mut results: BTreeMap<TopicPartition, Option<String>> = BTreeMap::new();
    let whole: Vec<String> = whole.into_iter().cloned().collect();
    for (name, topic) in admin.describe_topics(&whole, i32::MAX).await? {
        match topic {
            Ok(topic) => partitions
                .extend(topic.partitions.iter().map(|of| TopicPartition::new(name.as_str(), of.index))),
            Err(why) => {
                results.insert(TopicPartition::new(name.as_str(), -1), Some(message(&why)));
            }
        }
    }
    match admin.delete_group_offsets(group, &partitions).await {
        Ok(deleted) => {
            let failed = deleted.values().any(Result::is_err);
            for (at, result) in deleted {
                results.insert(at, result.err().map(|why| message(&why)));
            }
            match failed {
                false => {
                    output.line(format_args!("Request succeeded for deleting offsets from group {group}."))?
                }
                true => error("Encountered some partition-level error, see the follow-up details.", output)?,
            }
        }
        Err(why) => {
            match group_offsets::is_about_group(&why) {
                true => error(
                    why.code().map_or_else(|| message(&why), |code| code.description().to_owned()),
                    output,
                )?,
                false => error(format_args!("Encountered some unknown error: {}", message(&why)), output)?,
            }
            for at in partitions {
                results.insert(at, Some(message(&why)));
            }
        }
    }
    let width = results.keys().map(|at| at.topic.len()).max().unwrap_or(0).max(15);
    output.line("")?;
    output.line(format_args!("{:<width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS"))?;
    for (at, result) in &results {
        let index = if at.partition < 0 { "-".to_owned() } else { at.partition.to_string() };
        let status = result.as_ref().map_or_else(|| "Successful".to_owned(), |why| format!("Error: {why}"));
        output.line(format_args!("{:<width$} {index:<10} {status:<15}", at.topic))?;
    }
    Ok(())
}
