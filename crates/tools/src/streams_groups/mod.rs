//! kafka-streams-groups: lists and describes groups of Kafka Streams' own protocol (KIP-1071), deletes them, and changes their
//! offsets. Only brokers of Apache Kafka have such groups so far.

mod describe;
mod internal;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{Admin, GroupListing, GroupOffset, StreamsGroupDescription};
use ottla_types::TopicPartition;

use crate::consumer_groups::{self, csv, planned};
use crate::flags::Parsed;
use crate::group_offsets::{self, Offsets, Wrong, check_all_valid, committed, error};
use crate::net::message;
use crate::table::{Columns, Width};
use crate::tool::{Failure, Output, Run, Tool};
pub(crate) use plan::Plan;
use plan::{Action, Reset, Topics};

pub const TOOL: Tool = Tool { name: "kafka-streams-groups", run: Run::Flags(run) };

const KIND: &str = "streams";
const EMPTY: &str = "Empty";

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let admin = admin.clone().within(plan.timeout_ms);
        let done = act(&admin, &plan, output).await;
        group_offsets::end_failing(KIND, done, output)
    })
}

async fn act(admin: &Admin, plan: &Plan, output: &mut Output<'_>) -> Result<(), Wrong> {
    if let Action::List { states } = &plan.action {
        return list(admin, states.as_deref(), output).await;
    }
    let ids = match &plan.groups {
        Some(ids) => ids.clone(),
        None => streams_groups(admin, &[]).await?.into_iter().map(|group| group.id).collect(),
    };
    match &plan.action {
        Action::Describe { view, is_verbose } => {
            describe::describe(admin, &ids, *view, *is_verbose, output).await
        }
        Action::Delete { internal_topics } => delete(admin, &ids, *internal_topics, output).await,
        Action::DeleteOffsets { topics } => match ids.last() {
            Some(group) => delete_offsets(admin, group, topics, output).await,
            None => Ok(()),
        },
        Action::Reset(wanted) => reset(admin, &ids, wanted, output).await,
        Action::List { .. } => Ok(()),
    }
}

/// By id.
async fn streams_groups(admin: &Admin, states: &[String]) -> Result<Vec<GroupListing>, Wrong> {
    let mut groups = Vec::new();
    for (_, listed) in admin.list_groups(states, &["Streams".to_owned()]).await {
        groups.extend(listed?.into_iter().filter(|group| group.kind.eq_ignore_ascii_case(KIND)));
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

async fn list(admin: &Admin, states: Option<&[String]>, output: &mut Output<'_>) -> Result<(), Wrong> {
    let groups = streams_groups(admin, states.unwrap_or_default()).await?;
    if states.is_none() {
        groups.iter().try_for_each(|group| output.line(&group.id))?;
        return Ok(());
    }
    let columns = Columns { header: vec!["GROUP", "STATE"], widths: vec![Width::AtLeast(15)] };
    let rows: Vec<Vec<String>> = groups.into_iter().map(|group| vec![group.id, group.state]).collect();
    Ok(columns.print_at_once(&rows, output)?)
}

async fn describe_one(admin: &Admin, id: &str) -> Result<StreamsGroupDescription, Wrong> {
    let mut described = admin.describe_streams_groups(&[id.to_owned()]).await;
    match described.remove(id) {
        Some(described) => Ok(described?),
        None => Err(Wrong::There(format!("Group {id} not found."))),
    }
}

async fn delete(
    admin: &Admin,
    ids: &[String],
    with_internal_topics: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let there = streams_groups(admin, &[]).await?;
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    let mut possible = Vec::new();
    for id in ids {
        match there.iter().find(|group| group.id == *id).map(|group| group.state.as_str()) {
            None => drop(
                failed.insert(id.clone(), format!("Group '{id}' does not exist or is not a streams group.")),
            ),
            Some(EMPTY) => possible.push(id.clone()),
            Some("Dead") => {
                drop(failed.insert(id.clone(), format!("Streams group '{id}' group state is DEAD.")))
            }
            Some(_) => drop(failed.insert(id.clone(), format!("Streams group '{id}' is not EMPTY."))),
        }
    }
    // Once a group is gone, nobody knows them any more.
    let mut internal_topics = BTreeMap::new();
    if with_internal_topics {
        for id in &possible {
            internal_topics.insert(id.clone(), internal::of(&describe_one(admin, id).await?, output)?);
        }
    }
    let mut deleted = Vec::new();
    for (id, result) in admin.delete_groups(&possible).await {
        match result {
            Ok(()) => deleted.push(id),
            Err(why) => drop(failed.insert(id, message(&why))),
        }
    }
    internal_topics.retain(|id, topics| deleted.contains(id) && !topics.is_empty());
    let kept = internal::delete_with_groups(admin, &internal_topics, output).await?;
    let failed: Vec<(String, String)> = failed.into_iter().collect();
    match ids.is_empty() {
        true => output.line("Deletion of requested streams groups ('') was successful.")?,
        false => group_offsets::tell_deleted(KIND, &deleted, &failed, output)?,
    }
    Ok(internal::tell_deleted(&internal_topics, &kept, output)?)
}

/// Partitions of input topics that the group has offsets of.
async fn input_partitions(admin: &Admin, group: &str) -> Result<Vec<TopicPartition>, Wrong> {
    let all = committed(admin, group).await?.into_keys();
    Ok(all.filter(|at| !internal::is_inferred(group, &at.topic)).collect())
}

async fn delete_offsets(
    admin: &Admin,
    group: &str,
    topics: &Topics,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let texts = match topics {
        Topics::Named(texts) => texts.clone(),
        Topics::All => {
            let partitions = input_partitions(admin, group).await?;
            partitions.iter().map(|at| format!("{}:{}", at.topic, at.partition)).collect()
        }
    };
    consumer_groups::delete_offsets(admin, group, &texts, output).await
}

async fn reset(admin: &Admin, ids: &[String], wanted: &Reset, output: &mut Output<'_>) -> Result<(), Wrong> {
    let mut plans: BTreeMap<String, Offsets> = BTreeMap::new();
    for id in ids {
        let group = describe_one(admin, id).await?;
        if !matches!(group.state.as_str(), EMPTY | "Dead") {
            let state = &group.state;
            error(
                format_args!(
                    "Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
                ),
                output,
            )?;
            continue;
        }
        let offsets = match chosen_partitions(admin, id, &wanted.topics, output).await? {
            Some(partitions) => planned(admin, id, ids.len() == 1, partitions, &wanted.to, output).await?,
            None => Offsets::new(),
        };
        if wanted.executes {
            let new: BTreeMap<_, _> =
                offsets.iter().map(|(at, offset)| (at.clone(), GroupOffset::at(*offset))).collect();
            if !new.is_empty() {
                for (_, result) in admin.alter_group_offsets(id, &new).await? {
                    result?;
                }
            }
            internal::delete(admin, &group, &wanted.internal_topics, output).await?;
        }
        plans.insert(id.clone(), offsets);
    }
    match wanted.exports {
        true => Ok(output.line(csv(&plans, ids.len() == 1))?),
        false => Ok(print(&plans, output)?),
    }
}

/// `None` where some of them are none that the group has offsets of, which is told.
async fn chosen_partitions(
    admin: &Admin,
    group: &str,
    topics: &Topics,
    output: &mut Output<'_>,
) -> Result<Option<Vec<TopicPartition>>, Wrong> {
    let of_group = input_partitions(admin, group).await?;
    let Topics::Named(texts) = topics else { return Ok(Some(of_group)) };
    let partitions = group_offsets::partitions(admin, texts).await?;
    check_all_valid(admin, &partitions).await?;
    let known: BTreeSet<&TopicPartition> = of_group.iter().collect();
    if partitions.iter().any(|at| !known.contains(at)) {
        error(format_args!("One or more topics are not part of the group '{group}'."), output)?;
        return Ok(None);
    }
    Ok(Some(partitions))
}

fn print(plans: &BTreeMap<String, Offsets>, output: &mut Output<'_>) -> Result<(), Failure> {
    let columns = Columns {
        header: vec!["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"],
        widths: vec![Width::Fixed(30), Width::Fixed(30), Width::Fixed(10), Width::Fixed(15)],
    };
    let row = |group: &String, (at, offset): (&TopicPartition, &i64)| {
        vec![group.clone(), at.topic.to_string(), at.partition.to_string(), offset.to_string()]
    };
    let rows: Vec<Vec<String>> =
        plans.iter().flat_map(|(group, offsets)| offsets.iter().map(move |of| row(group, of))).collect();
    columns.print(&rows, output)
}
