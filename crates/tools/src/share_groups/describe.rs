//! kafka-share-groups --describe: offsets, members and states.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{Admin, GroupMemberDescription, ShareGroupDescription};
use ottla_types::TopicPartition;

use crate::group_flags::View;
use crate::group_offsets::Wrong;
use crate::table::{Columns, Width};
use crate::tool::Output;

const NONE: &str = "-";
const WIDTH: Width = Width::AtLeast(15);

pub(super) async fn describe(
    admin: &Admin,
    ids: &[String],
    view: View,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let mut groups = Vec::new();
    for (_, described) in admin.describe_share_groups(ids).await {
        groups.push(described?);
    }
    for group in &groups {
        match view {
            View::Offsets => print_offsets(admin, group, is_verbose, output).await?,
            View::Members => print_members(group, is_verbose, output)?,
            View::State => print_state(admin, group, is_verbose, output)?,
        }
    }
    Ok(())
}

/// Says what is to be said of a group before a table, and whether there is one.
fn announce(group: &ShareGroupDescription, rows: usize, output: &mut Output<'_>) -> Result<bool, Wrong> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => output.line(format_args!("\nError: Share group '{id}' does not exist."))?,
        "Empty" => output.tell(format_args!("\nShare group '{id}' has no active members."))?,
        _ => {}
    }
    Ok(group.state != "Dead" && rows > 0)
}

async fn print_offsets(
    admin: &Admin,
    group: &ShareGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let shown = |number: Option<i64>| number.map_or_else(|| NONE.to_owned(), |number| number.to_string());
    let mut rows = Vec::new();
    for (at, offset) in admin.list_share_group_offsets(&group.id).await? {
        let offset = offset?;
        let mut row = vec![group.id.clone(), at.topic.to_string(), at.partition.to_string()];
        if is_verbose {
            row.push(shown(offset.and_then(|of| of.leader_epoch).map(i64::from)));
        }
        row.extend([shown(offset.map(|of| of.start_offset)), shown(offset.and_then(|of| of.lag))]);
        rows.push(row);
    }
    if rows.is_empty() {
        return Ok(output.line(format_args!("\nShare group '{}' has no offset information.", group.id))?);
    }
    let mut columns = Columns {
        header: vec!["GROUP", "TOPIC", "PARTITION", "START-OFFSET", "LAG"],
        widths: vec![WIDTH, WIDTH, Width::Fixed(10), Width::Fixed(13)],
    };
    if is_verbose {
        columns.header.insert(3, "LEADER-EPOCH");
        columns.widths.insert(3, Width::Fixed(13));
    }
    Ok(columns.print(&rows, output)?)
}

fn print_members(
    group: &ShareGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    if !announce(group, group.members.len(), output)? {
        return Ok(());
    }
    let mut columns = Columns {
        header: vec!["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT"],
        widths: vec![WIDTH, WIDTH, WIDTH, WIDTH, Width::Fixed(12)],
    };
    if is_verbose {
        columns.header.insert(5, "MEMBER-EPOCH");
        columns.widths.push(Width::Fixed(13));
    }
    let mut members: Vec<&GroupMemberDescription> = group.members.iter().collect();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    let row = |member: &&GroupMemberDescription| {
        let mut row = vec![
            group.id.clone(),
            member.id.clone(),
            member.host.clone(),
            member.client_id.clone(),
            member.assignment.len().to_string(),
        ];
        if is_verbose {
            row.push(member.epoch.unwrap_or_default().to_string());
        }
        row.push(assignment(&member.assignment));
        row
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    Ok(columns.print(&rows, output)?)
}

/// `a:0,1;b:2`
fn assignment(partitions: &BTreeSet<TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition.to_string());
    }
    let topics: Vec<String> =
        topics.into_iter().map(|(topic, indexes)| format!("{topic}:{}", indexes.join(","))).collect();
    topics.join(";")
}

fn print_state(
    admin: &Admin,
    group: &ShareGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    announce(group, 1, output)?;
    let metadata = admin.client().metadata();
    let coordinator = match metadata.brokers().get(&group.coordinator) {
        Some(broker) => format!("{}:{}  ({})", broker.host, broker.port, broker.id),
        None => format!("({})", group.coordinator),
    };
    let mut columns = Columns {
        header: vec!["GROUP", "COORDINATOR (ID)", "STATE", "#MEMBERS"],
        widths: vec![WIDTH, Width::AtLeast(25), Width::Fixed(15)],
    };
    let mut row = vec![group.id.clone(), coordinator, group.state.clone(), group.members.len().to_string()];
    if is_verbose {
        columns.header.splice(3..3, ["GROUP-EPOCH", "ASSIGNMENT-EPOCH"]);
        columns.widths.extend([Width::Fixed(12), Width::Fixed(17)]);
        row.splice(3..3, [group.group_epoch.to_string(), group.target_assignment_epoch.to_string()]);
    }
    Ok(columns.print(&[row], output)?)
}
