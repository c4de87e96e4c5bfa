//! kafka-consumer-groups --reset-offsets: where a group without members is to go on.

use std::collections::BTreeMap;
use std::fs;

use ottla_client::admin::{Admin, GroupOffset, OffsetSpec};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use super::plan::{Position, Reset};
use crate::group_offsets::{Offsets, Wrong, at, at_time, check_all_valid, committed, partitions, print};
use crate::time::now_ms;
use crate::tool::{Failure, Output};

pub(super) async fn reset(
    admin: &Admin,
    ids: &[String],
    reset: &Reset,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let mut plans: BTreeMap<String, Offsets> = BTreeMap::new();
    for (id, described) in admin.describe_consumer_groups(ids).await {
        let state = match described {
            Ok(group) => group.state,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => "Empty".to_owned(),
            Err(error) => return Err(error.into()),
        };
        if !matches!(state.as_str(), "Empty" | "Dead") {
            super::error(
                format_args!(
                    "Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
                ),
                output,
            )?;
            plans.insert(id, Offsets::new());
            continue;
        }
        let partitions = match &reset.topics {
            None => committed(admin, &id).await?.into_keys().collect(),
            Some(topics) => partitions(admin, topics).await?,
        };
        let offsets = planned(admin, &id, ids.len() == 1, partitions, &reset.to, output).await?;
        if reset.executes && !offsets.is_empty() {
            let new = offsets.iter().map(|(at, offset)| (at.clone(), GroupOffset::at(*offset))).collect();
            for (_, result) in admin.alter_group_offsets(&id, &new).await? {
                result?;
            }
        }
        plans.insert(id, offsets);
    }
    match reset.exports {
        true => Ok(output.line(csv(&plans, ids.len() == 1))?),
        false => Ok(print(&plans, output)?),
    }
}

/// A row of the file that `--from-file` reads, with the group's id where several are meant.
pub(crate) fn csv(plans: &BTreeMap<String, Offsets>, is_one: bool) -> String {
    let row = |group: &str, at: &TopicPartition, offset: i64| match is_one {
        true => format!("{},{},{offset}\n", quoted(&at.topic), at.partition),
        false => format!("{},{},{},{offset}\n", quoted(group), quoted(&at.topic), at.partition),
    };
    let rows = plans.iter().flat_map(|(group, offsets)| {
        offsets.iter().map(move |(at, offset)| row(group, at, *offset)).collect::<Vec<_>>()
    });
    rows.collect()
}

/// What isn't plain stands in quotes.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|letter| letter.is_alphanumeric() || "._-".contains(letter));
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// The offsets that a group will have in these partitions.
pub(crate) async fn planned(
    admin: &Admin,
    group: &str,
    is_one: bool,
    partitions: Vec<TopicPartition>,
    to: &Position,
    output: &mut Output<'_>,
) -> Result<Offsets, Wrong> {
    check_all_valid(admin, &partitions).await?;
    match to {
        Position::Offset(offset) => {
            let wanted = partitions.into_iter().map(|at| (at, *offset)).collect();
            within_range(admin, wanted, output).await
        }
        Position::Earliest => at(admin, partitions, OffsetSpec::Earliest).await,
        Position::Latest => at(admin, partitions, OffsetSpec::Latest).await,
        Position::ShiftBy(count) => {
            let now = committed(admin, group).await?;
            let mut wanted = Offsets::new();
            for at in partitions {
                let current = now.get(&at).ok_or_else(|| {
                    Failure::Usage(format!(
                        "Cannot shift offset for partition {at} since there is no current committed offset"
                    ))
                })?;
                wanted.insert(at, current.offset.saturating_add(*count));
            }
            within_range(admin, wanted, output).await
        }
        Position::At(ms) => at_time(admin, partitions, *ms, output).await,
        Position::Ago(ms) => at_time(admin, partitions, now_ms().saturating_sub(*ms), output).await,
        Position::Current => {
            let now = committed(admin, group).await?;
            let (with, without): (Vec<TopicPartition>, Vec<TopicPartition>) =
                partitions.into_iter().partition(|at| now.contains_key(at));
            let mut offsets = at(admin, without, OffsetSpec::Latest).await?;
            offsets.extend(with.into_iter().filter_map(|at| now.get(&at).map(|of| (at, of.offset))));
            Ok(offsets)
        }
        Position::InFile(path) => {
            let text = fs::read_to_string(path).map_err(|why| Wrong::There(format!("{path}: {why}")))?;
            let plans = plans_of(&text, is_one.then_some(group)).map_err(Wrong::There)?;
            match plans.get(group) {
                Some(offsets) => within_range(admin, offsets.clone(), output).await,
                None => {
                    super::error(format_args!("No reset plan for group {group} found"), output)?;
                    Ok(Offsets::new())
                }
            }
        }
    }
}

/// What is below the start becomes the start, what is behind the end the end.
async fn within_range(admin: &Admin, wanted: Offsets, output: &mut Output<'_>) -> Result<Offsets, Wrong> {
    let all: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let starts = at(admin, all.clone(), OffsetSpec::Earliest).await?;
    let ends = at(admin, all, OffsetSpec::Latest).await?;
    let mut offsets = Offsets::new();
    for (at, offset) in wanted {
        let (start, end) = (starts.get(&at).copied(), ends.get(&at).copied());
        let possible = match (start, end) {
            (_, Some(end)) if offset > end => {
                output.tell(format_args!(
                    "New offset ({offset}) is higher than latest offset for topic partition {at}. Value will be set to {end}"
                ))?;
                end
            }
            (Some(start), _) if offset < start => {
                output.tell(format_args!(
                    "New offset ({offset}) is lower than earliest offset for topic partition {at}. Value will be set to {start}"
                ))?;
                start
            }
            _ => offset,
        };
        offsets.insert(at, possible);
    }
    Ok(offsets)
}

/// Reads rows of topic, partition and offset, or of these behind a group.
fn plans_of(text: &str, group: Option<&str>) -> Result<BTreeMap<String, Offsets>, String> {
    let mut plans: BTreeMap<String, Offsets> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let cells: Vec<String> =
            line.split(',').map(|cell| cell.trim().trim_matches('"').to_owned()).collect();
        let (of, topic, index, offset) = match (&cells[..], group) {
            ([topic, index, offset], Some(group)) => (group, topic, index, offset),
            ([of, topic, index, offset], _) => (of.as_str(), topic, index, offset),
            _ => return Err(format!("{line} is no row of topic, partition and offset")),
        };
        let wrong = |_| format!("{line}: partition and offset are numbers");
        let at = TopicPartition::new(topic.as_str(), index.parse().map_err(wrong)?);
        plans.entry(of.to_owned()).or_default().insert(at, offset.parse().map_err(wrong)?);
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_can_be_read() {
        let offsets = Offsets::from([(TopicPartition::new("a", 1), 7), (TopicPartition::new("b", 0), 9)]);
        let one = BTreeMap::from([("g".to_owned(), offsets.clone())]);
        assert_eq!(plans_of(&csv(&one, true), Some("g")).unwrap(), one);
        let two = BTreeMap::from([("g".to_owned(), offsets.clone()), ("h".to_owned(), offsets)]);
        assert_eq!(plans_of(&csv(&two, false), None).unwrap(), two);
        assert!(plans_of("a,b", Some("g")).is_err());
        assert!(plans_of("a,b,c", Some("g")).is_err());
    }
}
