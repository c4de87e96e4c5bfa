//! Where partitions of input topics are read from again.

use std::fs;

use ottla_client::admin::{Admin, OffsetSpec};
use ottla_types::TopicPartition;

use super::Plan;
use super::plan::Position;
pub(super) use crate::group_offsets::Offsets;
use crate::group_offsets::{self, Wrong};
use crate::time::now_ms;
use crate::tool::{Failure, Output, said};

pub(super) async fn planned(
    admin: &Admin,
    plan: &Plan,
    partitions: Vec<TopicPartition>,
    output: &mut Output<'_>,
) -> Result<Offsets, Wrong> {
    let at_time = |ms: i64| at_time(admin, partitions.clone(), ms);
    match &plan.to {
        Position::Earliest => group_offsets::at(admin, partitions, OffsetSpec::Earliest).await,
        Position::Latest => group_offsets::at(admin, partitions, OffsetSpec::Latest).await,
        Position::Offset(offset) => {
            let wanted = partitions.into_iter().map(|at| (at, *offset)).collect();
            within_range(admin, wanted, output).await
        }
        Position::ShiftBy(count) => {
            let mut wanted = current(admin, plan, partitions).await?;
            wanted.values_mut().for_each(|offset| *offset = offset.saturating_add(*count));
            within_range(admin, wanted, output).await
        }
        Position::At(ms) => tell_empty(at_time(*ms).await?, output),
        Position::Ago(ms) => tell_empty(at_time(now_ms().saturating_sub(*ms)).await?, output),
        Position::InFile(path) => {
            let text = fs::read_to_string(path).map_err(|error| said(format_args!("{path}: {error}")))?;
            let planned = within_range(admin, in_file(&text)?, output).await?;
            let offset_of = |at: TopicPartition| match planned.get(&at) {
                Some(offset) => Ok((at, *offset)),
                None => Err(said(format_args!("{path} says nothing of partition {at}"))),
            };
            Ok(partitions.into_iter().map(offset_of).collect::<Result<Offsets, Failure>>()?)
        }
    }
}

/// Where the group is; without an offset, where its consumers would begin.
async fn current(admin: &Admin, plan: &Plan, partitions: Vec<TopicPartition>) -> Result<Offsets, Wrong> {
    let mut offsets = Offsets::new();
    for (at, offset) in admin.list_group_offsets(&plan.application, Some(&partitions)).await? {
        offsets.insert(at, offset?.offset);
    }
    let without = partitions.into_iter().filter(|at| !offsets.contains_key(at)).collect();
    let spec = if plan.is_from_earliest()? { OffsetSpec::Earliest } else { OffsetSpec::Latest };
    offsets.extend(group_offsets::at(admin, without, spec).await?);
    Ok(offsets)
}

/// Offsets, and the partitions that have no later record: of these it is the end.
async fn at_time(
    admin: &Admin,
    partitions: Vec<TopicPartition>,
    ms: i64,
) -> Result<(Offsets, Vec<TopicPartition>), Wrong> {
    let mut offsets = group_offsets::at(admin, partitions, OffsetSpec::At(ms)).await?;
    let without: Vec<TopicPartition> =
        offsets.iter().filter(|(_, offset)| **offset < 0).map(|(at, _)| at.clone()).collect();
    offsets.extend(group_offsets::at(admin, without.clone(), OffsetSpec::Latest).await?);
    Ok((offsets, without))
}

fn tell_empty(
    (offsets, without): (Offsets, Vec<TopicPartition>),
    output: &mut Output<'_>,
) -> Result<Offsets, Wrong> {
    for at in without {
        output.line(format_args!(
            "Partition {} from topic {} is empty, without a committed record. Falling back to latest known offset.",
            at.partition, at.topic
        ))?;
    }
    Ok(offsets)
}

/// What is not behind the start becomes the start, what is not in front of the end the end.
async fn within_range(admin: &Admin, wanted: Offsets, output: &mut Output<'_>) -> Result<Offsets, Wrong> {
    let all: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let starts = group_offsets::at(admin, all.clone(), OffsetSpec::Earliest).await?;
    let ends = group_offsets::at(admin, all, OffsetSpec::Latest).await?;
    let mut offsets = Offsets::new();
    for (at, offset) in wanted {
        let (start, end) = (starts.get(&at).copied(), ends.get(&at).copied());
        let (limit, words) = match (start, end) {
            (_, Some(end)) if offset >= end => (end, "higher than latest"),
            (Some(start), _) if offset <= start => (start, "lower than earliest"),
            _ => {
                offsets.insert(at, offset);
                continue;
            }
        };
        output.line(format_args!("New offset ({offset}) is {words} offset. Value will be set to {limit}"))?;
        offsets.insert(at, limit);
    }
    Ok(offsets)
}

/// Rows of topic, partition and offset.
fn in_file(text: &str) -> Result<Offsets, Failure> {
    if text.is_empty() {
        return Err(said("ERROR: Error parsing reset plan CSV file. It is empty,"));
    }
    let wrong = || said("ERROR: Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [topic, partition, offset] = cells[..] else { return None };
        Some((TopicPartition::new(topic, partition.parse().ok()?), offset.parse().ok()?))
    };
    text.lines().map(|line| row(line).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_rows_of_three() {
        let expected = Offsets::from([(TopicPartition::new("a", 1), 7), (TopicPartition::new("b", 0), 9)]);
        assert_eq!(in_file("a,1,7\nb,0,9\n").unwrap(), expected);
        for text in ["", "a,1", "a,1,x", "a,1,7,8"] {
            assert!(in_file(text).is_err(), "{text}");
        }
    }
}
