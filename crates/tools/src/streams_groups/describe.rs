//! kafka-streams-groups --describe: offsets, members and states.

use std::collections::BTreeSet;

use ottla_client::admin::{
    Admin, OffsetSpec, StreamsGroupDescription, StreamsMemberDescription, StreamsTasks,
};
use ottla_types::TopicPartition;

use super::{EMPTY, describe_one};
use crate::group_flags::View;
use crate::group_offsets::{Wrong, at, committed, error};
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
    for id in ids {
        let group = describe_one(admin, id).await?;
        match view {
            View::Offsets => print_offsets(admin, &group, is_verbose, output).await?,
            View::Members => print_members(&group, is_verbose, output)?,
            View::State => print_state(admin, &group, is_verbose, output)?,
        }
    }
    Ok(())
}

/// What the members' active tasks read: topics of their subtopology, at the task's number.
fn read_by_members(group: &StreamsGroupDescription) -> BTreeSet<TopicPartition> {
    let mut partitions = BTreeSet::new();
    for (id, numbers) in group.members.iter().flat_map(|member| &member.assignment.active) {
        let Some(of) = group.subtopologies.iter().find(|of| of.id == *id) else { continue };
        for topic in of.source_topics.iter().chain(&of.repartition_source_topics) {
            partitions.extend(numbers.iter().map(|number| TopicPartition::new(topic.as_str(), *number)));
        }
    }
    partitions
}

async fn print_offsets(
    admin: &Admin,
    group: &StreamsGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let partitions: Vec<TopicPartition> = read_by_members(group).into_iter().collect();
    if partitions.is_empty() {
        return Ok(());
    }
    let starts = at(admin, partitions.clone(), OffsetSpec::Earliest).await?;
    let ends = at(admin, partitions, OffsetSpec::Latest).await?;
    let committed = committed(admin, &group.id).await?;
    let shown = |number: Option<i64>| number.map_or_else(|| NONE.to_owned(), |number| number.to_string());
    let row = |(at, end): (&TopicPartition, &i64)| {
        let of = committed.get(at);
        let from = of.map(|of| of.offset).or_else(|| starts.get(at).copied());
        let lag = end - from.unwrap_or_default();
        let mut row = vec![group.id.clone(), at.topic.to_string(), at.partition.to_string()];
        if is_verbose {
            row.extend([
                shown(of.map(|of| of.offset)),
                shown(of.and_then(|of| of.leader_epoch).map(i64::from)),
                end.to_string(),
            ]);
        }
        row.push(lag.to_string());
        row
    };
    let rows: Vec<Vec<String>> = ends.iter().map(row).collect();
    let mut columns = Columns {
        header: vec!["GROUP", "TOPIC", "PARTITION", "OFFSET-LAG"],
        widths: vec![WIDTH, WIDTH, Width::Fixed(10)],
    };
    if is_verbose {
        columns.header.splice(3..3, ["CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET"]);
        columns.widths.extend([Width::Fixed(15); 4]);
    }
    Ok(columns.print_at_once(&rows, output)?)
}

fn print_members(
    group: &StreamsGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    if group.members.is_empty() {
        return Ok(());
    }
    if !is_verbose {
        let columns = Columns {
            header: vec!["GROUP", "MEMBER", "PROCESS", "CLIENT-ID", "ASSIGNMENTS"],
            widths: vec![WIDTH; 4],
        };
        let row = |of: &StreamsMemberDescription| {
            vec![
                group.id.clone(),
                of.id.clone(),
                of.process_id.clone(),
                of.client_id.clone(),
                tasks("", &of.assignment),
            ]
        };
        let rows: Vec<Vec<String>> = group.members.iter().map(row).collect();
        return Ok(columns.print_at_once(&rows, output)?);
    }
    let columns = Columns {
        // Nothing parts the third column from the next one.
        header: vec![
            "GROUP",
            "TARGET-ASSIGNMENT-EPOCH",
            "TOPOLOGY-EPOCH MEMBER",
            "MEMBER-PROTOCOL",
            "MEMBER-EPOCH",
            "PROCESS",
            "CLIENT-ID",
            "ASSIGNMENTS",
        ],
        widths: vec![
            WIDTH,
            Width::Fixed(25),
            Width::AtLeast(30),
            Width::Fixed(15),
            Width::Fixed(15),
            WIDTH,
            WIDTH,
        ],
    };
    let row = |of: &StreamsMemberDescription| {
        vec![
            group.id.clone(),
            group.target_assignment_epoch.to_string(),
            format!("{:<15}{}", group.topology_epoch, of.id),
            if of.is_classic { "classic" } else { "streams" }.to_owned(),
            of.epoch.to_string(),
            of.process_id.clone(),
            of.client_id.clone(),
            tasks("", &of.assignment) + &tasks("TARGET-", &of.target_assignment),
        ]
    };
    let rows: Vec<Vec<String>> = group.members.iter().map(row).collect();
    Ok(columns.print_at_once(&rows, output)?)
}

/// `ACTIVE: 0:[1]; 1:[0,2]; STANDBY: 1:[1]; `
fn tasks(prefix: &str, of: &StreamsTasks) -> String {
    let mut shown = String::new();
    for (kind, tasks) in [("ACTIVE", &of.active), ("STANDBY", &of.standby), ("WARMUP", &of.warmup)] {
        if tasks.is_empty() {
            continue;
        }
        shown += &format!("{prefix}{kind}: ");
        for (subtopology, numbers) in tasks {
            let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
            shown += &format!("{subtopology}:[{}]; ", numbers.join(","));
        }
    }
    shown
}

fn print_state(
    admin: &Admin,
    group: &StreamsGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => return Ok(error(format_args!("Streams group '{id}' does not exist."), output)?),
        EMPTY => error(format_args!("Streams group '{id}' has no active members."), output)?,
        _ => {}
    }
    let metadata = admin.client().metadata();
    let coordinator = match metadata.brokers().get(&group.coordinator) {
        Some(broker) => format!("{}:{} ({})", broker.host, broker.port, broker.id),
        None => format!("({})", group.coordinator),
    };
    let mut columns = Columns {
        header: vec!["GROUP", "COORDINATOR (ID)", "STATE", "#MEMBERS"],
        widths: vec![WIDTH, Width::AtLeast(25), Width::Fixed(25)],
    };
    let mut row = vec![id.clone(), coordinator, group.state.clone(), group.members.len().to_string()];
    if is_verbose {
        columns.header.splice(3..3, ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]);
        columns.widths.extend([Width::Fixed(15), Width::Fixed(25)]);
        row.splice(3..3, [group.group_epoch.to_string(), group.target_assignment_epoch.to_string()]);
    }
    Ok(columns.print_at_once(&[row], output)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_stand_behind_their_kind() {
        let of = StreamsTasks {
            active: vec![("0".to_owned(), vec![1]), ("1".to_owned(), vec![0, 2])],
            standby: Vec::new(),
            warmup: vec![("1".to_owned(), vec![3])],
        };
        assert_eq!(tasks("", &of), "ACTIVE: 0:[1]; 1:[0,2]; WARMUP: 1:[3]; ");
        assert_eq!(tasks("TARGET-", &of), "TARGET-ACTIVE: 0:[1]; 1:[0,2]; TARGET-WARMUP: 1:[3]; ");
    }
}
