//! kafka-consumer-groups --describe: offsets, members and states.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{Admin, ConsumerGroupDescription, GroupMemberDescription, GroupOffset, OffsetSpec};
use ottla_types::TopicPartition;

use crate::group_flags::View;
use crate::group_offsets::{Wrong, committed};
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
    for (_, described) in admin.describe_consumer_groups(ids).await {
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
fn announce(group: &ConsumerGroupDescription, rows: usize, output: &mut Output<'_>) -> Result<bool, Wrong> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => output.line(format_args!("\nError: Consumer group '{id}' does not exist."))?,
        "Empty" => output.tell(format_args!("\nConsumer group '{id}' has no active members."))?,
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            output.tell(format_args!("\nWarning: Consumer group '{id}' is rebalancing."))?;
        }
        "Stable" => {}
        other => {
            let text = format!("Expected a valid consumer group state, but found '{other}'.");
            return Err(Wrong::There(text));
        }
    }
    Ok(group.state != "Dead" && rows > 0)
}

/// What a row tells of a partition.
struct Row {
    at: TopicPartition,
    committed: Option<GroupOffset>,
    /// `None` where the partition has no leader.
    end: Option<i64>,
    consumer: [String; 3],
}

impl Row {
    fn cells(&self, group: &str, is_verbose: bool) -> Vec<String> {
        let shown = |number: Option<i64>| number.map_or_else(|| NONE.to_owned(), |number| number.to_string());
        let offset = self.committed.as_ref().map(|of| of.offset);
        let epoch = self.committed.as_ref().and_then(|of| of.leader_epoch).map(i64::from);
        let lag = offset.filter(|offset| *offset != -1).zip(self.end).map(|(offset, end)| end - offset);
        let mut cells = vec![group.to_owned(), self.at.topic.to_string(), self.at.partition.to_string()];
        if is_verbose {
            cells.push(shown(epoch));
        }
        cells.extend([shown(offset), shown(self.end), shown(lag)]);
        cells.extend(self.consumer.clone());
        cells
    }
}

async fn print_offsets(
    admin: &Admin,
    group: &ConsumerGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let rows = rows(admin, group).await?;
    if !announce(group, rows.len(), output)? {
        return Ok(());
    }
    let mut columns = Columns {
        header: vec![
            "GROUP",
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
        ],
        widths: vec![
            WIDTH,
            WIDTH,
            Width::Fixed(10),
            Width::Fixed(15),
            Width::Fixed(15),
            Width::Fixed(15),
            WIDTH,
            WIDTH,
        ],
    };
    if is_verbose {
        columns.header.insert(3, "LEADER-EPOCH");
        columns.widths.insert(3, Width::Fixed(15));
    }
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(&group.id, is_verbose)).collect();
    Ok(columns.print(&cells, output)?)
}

/// Partitions of members, those with most of them first, and behind them what nobody has.
async fn rows(admin: &Admin, group: &ConsumerGroupDescription) -> Result<Vec<Row>, Wrong> {
    let committed = committed(admin, &group.id).await?;
    let mut members: Vec<&GroupMemberDescription> =
        group.members.iter().filter(|member| !member.assignment.is_empty()).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    let assigned: BTreeSet<&TopicPartition> = members.iter().flat_map(|member| &member.assignment).collect();
    let mut of_whom: Vec<(Vec<TopicPartition>, [String; 3])> = members
        .iter()
        .map(|member| {
            let partitions = member.assignment.iter().cloned().collect();
            (partitions, [member.id.clone(), member.host.clone(), member.client_id.clone()])
        })
        .collect();
    let unassigned = committed.keys().filter(|at| !assigned.contains(at)).cloned().collect();
    of_whom.push((unassigned, [NONE.to_owned(), NONE.to_owned(), NONE.to_owned()]));
    let all: BTreeSet<TopicPartition> = of_whom.iter().flat_map(|(of, _)| of.iter().cloned()).collect();
    let ends = admin.list_offsets_at(all, OffsetSpec::Latest).await?;
    let row = |at: TopicPartition, consumer: &[String; 3]| Row {
        committed: committed.get(&at).cloned(),
        end: ends.get(&at).and_then(|end| end.as_ref().ok()).map(|end| end.offset),
        at,
        consumer: consumer.clone(),
    };
    let rows = of_whom.into_iter().flat_map(|(partitions, consumer)| {
        partitions.into_iter().map(|at| row(at, &consumer)).collect::<Vec<_>>()
    });
    Ok(rows.collect())
}

fn print_members(
    group: &ConsumerGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    // The header stands there in any case.
    announce(group, group.members.len(), output)?;
    let are_static = group.members.iter().any(|member| member.instance_id.is_some());
    let tells_upgrade = group.members.iter().any(|member| member.is_upgraded == Some(false));
    let mut columns = Columns {
        header: vec!["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS"],
        widths: vec![WIDTH, WIDTH, WIDTH, WIDTH, Width::Fixed(15)],
    };
    if are_static {
        columns.header.insert(2, "GROUP-INSTANCE-ID");
        columns.widths.insert(2, Width::AtLeast(17));
    }
    if is_verbose {
        columns.header.extend(["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"]);
        columns.widths.extend([Width::Fixed(15), Width::AtLeast(20), Width::Fixed(15), Width::AtLeast(20)]);
        if tells_upgrade {
            columns.header.push("UPGRADED");
        }
    } else {
        // A blank follows the last column.
        columns.header.push("");
    }
    let target_epoch = group.epochs.map(|epochs| epochs.target_assignment);
    let shown = |epoch: Option<i32>| epoch.map_or_else(|| NONE.to_owned(), |epoch| epoch.to_string());
    let row = |member: &GroupMemberDescription| {
        let mut cells = vec![group.id.clone(), member.id.clone()];
        if are_static {
            cells.push(member.instance_id.clone().unwrap_or_default());
        }
        cells.extend([member.host.clone(), member.client_id.clone(), member.assignment.len().to_string()]);
        if is_verbose {
            cells.extend([
                shown(member.epoch),
                assignment(&member.assignment),
                shown(target_epoch),
                member.target_assignment.as_ref().map_or_else(|| NONE.to_owned(), assignment),
            ]);
            if tells_upgrade {
                cells.push(member.is_upgraded.map_or_else(|| NONE.to_owned(), |is| is.to_string()));
            }
        }
        if !is_verbose {
            cells.push(String::new());
        }
        cells
    };
    let rows: Vec<Vec<String>> = group.members.iter().map(row).collect();
    Ok(columns.print(&rows, output)?)
}

/// `a:0,1;b:2`
fn assignment(partitions: &BTreeSet<TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition.to_string());
    }
    if topics.is_empty() {
        return NONE.to_owned();
    }
    let topics: Vec<String> =
        topics.into_iter().map(|(topic, indexes)| format!("{topic}:{}", indexes.join(","))).collect();
    topics.join(";")
}

fn print_state(
    admin: &Admin,
    group: &ConsumerGroupDescription,
    is_verbose: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    if !announce(group, 1, output)? {
        return Ok(());
    }
    let metadata = admin.client().metadata();
    let coordinator = match metadata.brokers().get(&group.coordinator) {
        Some(broker) => format!("{}:{}  ({})", broker.host, broker.port, broker.id),
        None => format!("({})", group.coordinator),
    };
    let mut columns = Columns {
        header: vec!["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"],
        widths: vec![WIDTH, Width::AtLeast(25), Width::Fixed(20), Width::Fixed(20)],
    };
    let strategy = if group.assignor.is_empty() { NONE } else { &group.assignor };
    let mut row = vec![
        group.id.clone(),
        coordinator,
        strategy.to_owned(),
        group.state.clone(),
        group.members.len().to_string(),
    ];
    if is_verbose {
        columns.header.splice(4..4, ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]);
        columns.widths.extend([Width::Fixed(15), Width::Fixed(25)]);
        let epoch = |epoch: Option<i32>| epoch.map_or_else(|| NONE.to_owned(), |epoch| epoch.to_string());
        let of_group = epoch(group.epochs.map(|of| of.group));
        let of_target = epoch(group.epochs.map(|of| of.target_assignment));
        row.splice(4..4, [of_group, of_target]);
    }
    Ok(columns.print(&[row], output)?)
}

#[cfg(test)]
mod tests {
    use ottla_client::admin::GroupEpochs;
    use ottla_types::NodeId;

    use super::*;

    fn printed(is_verbose: bool) -> String {
        let assigned = BTreeSet::from([0, 1, 2].map(|index| TopicPartition::new("orders", index)));
        let group = ConsumerGroupDescription {
            id: "g".to_owned(),
            state: "Stable".to_owned(),
            assignor: "uniform".to_owned(),
            coordinator: NodeId(1),
            members: vec![GroupMemberDescription {
                id: "member-1".to_owned(),
                client_id: "me".to_owned(),
                host: "/127.0.0.1".to_owned(),
                assignment: assigned.clone(),
                target_assignment: Some(assigned),
                epoch: Some(2),
                ..GroupMemberDescription::default()
            }],
            epochs: Some(GroupEpochs { group: 2, target_assignment: 2 }),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        print_members(&group, is_verbose, &mut Output { out: &mut out, err: &mut err }).unwrap();
        // What a line ends with can be seen.
        String::from_utf8(out).unwrap().replace('\n', "|\n")
    }

    /// As Apache Kafka's tool, to the last blank.
    #[test]
    fn members_are_told_with_trailing_blanks() {
        expect_test::expect![[r#"
            |
            GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     |
            g               member-1        /127.0.0.1      me              3               |
        "#]]
        .assert_eq(&printed(false));
        expect_test::expect![[r#"
            |
            GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT   |
            g               member-1        /127.0.0.1      me              3               2               orders:0,1,2         2               orders:0,1,2        |
        "#]].assert_eq(&printed(true));
    }
}
