//! Offsets of groups: what tools for groups of consumers and for share groups do alike.

use std::collections::BTreeMap;
use std::fmt::Display;

use ottla_client::ClientError;
use ottla_client::admin::{Admin, GroupOffset, OffsetSpec};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use crate::net::message;
use crate::table::{Columns, Width};
use crate::tool::{Failure, Output};

pub(crate) type Offsets = BTreeMap<TopicPartition, i64>;

/// All that the group has committed.
pub(crate) async fn committed(
    admin: &Admin,
    group: &str,
) -> Result<BTreeMap<TopicPartition, GroupOffset>, Wrong> {
    let mut committed = BTreeMap::new();
    for (at, offset) in admin.list_group_offsets(group, None).await? {
        committed.insert(at, offset?);
    }
    Ok(committed)
}

/// Why an action failed.
#[derive(Debug)]
pub(crate) enum Wrong {
    Here(Failure),
    /// What the tool tells on standard output, and ends as if all were well.
    There(String),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        Wrong::Here(failure)
    }
}

impl From<ClientError> for Wrong {
    fn from(error: ClientError) -> Wrong {
        Wrong::There(message(&error))
    }
}

/// Ends a command for groups of that kind as a failure where something failed in the cluster.
pub(crate) fn end_failing(
    kind: &str,
    done: Result<(), Wrong>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let has_failed = matches!(done, Err(Wrong::There(_)));
    end(kind, done, output)?;
    if has_failed { Err(Failure::Silent) } else { Ok(()) }
}

/// Ends a command for groups of that kind: what failed in the cluster is told, and no failure of the tool.
pub(crate) fn end(kind: &str, done: Result<(), Wrong>, output: &mut Output<'_>) -> Result<(), Failure> {
    match done {
        Ok(()) => Ok(()),
        Err(Wrong::Here(failure)) => Err(failure),
        Err(Wrong::There(text)) => {
            error(format_args!("Executing {kind} group command failed due to {text}"), output)
        }
    }
}

pub(crate) fn error(text: impl Display, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(format_args!("\nError: {text}"))
}

/// Tells which groups of that kind are deleted, and which are not for what reason.
pub(crate) fn tell_deleted(
    kind: &str,
    deleted: &[String],
    failed: &[(String, String)],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let deleted: Vec<String> = deleted.iter().map(|id| format!("'{id}'")).collect();
    let deleted = deleted.join(", ");
    if failed.is_empty() {
        return output.line(format_args!("Deletion of requested {kind} groups ({deleted}) was successful."));
    }
    error(format_args!("Deletion of some {kind} groups failed:"), output)?;
    for (id, why) in failed {
        output.line(format_args!("* Group '{id}' could not be deleted due to: {why}"))?;
    }
    if !deleted.is_empty() {
        output.line(format_args!("\nThese {kind} groups were deleted successfully: {deleted}"))?;
    }
    Ok(())
}

/// Whether offsets can't be deleted for what the group is, rather than for anything else.
pub(crate) fn is_about_group(why: &ClientError) -> bool {
    matches!(
        why.code(),
        Some(
            ErrorCode::InvalidGroupId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::GroupAuthorizationFailed
                | ErrorCode::NonEmptyGroup
        )
    )
}

/// `topic:1,2`
pub(crate) fn partitions_of(text: &str) -> Result<Vec<TopicPartition>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [topic, indexes] = parts[..] else {
        return Err(format!("Invalid topic arg '{text}', expected topic name and partitions"));
    };
    let index = |digits: &str| {
        let index = digits.parse();
        index
            .map(|index| TopicPartition::new(topic, index))
            .map_err(|_| format!("Invalid partition '{digits}' specified in topic arg '{text}''"))
    };
    indexes.split(',').map(index).collect()
}

pub(crate) async fn partitions(admin: &Admin, topics: &[String]) -> Result<Vec<TopicPartition>, Wrong> {
    let mut partitions = Vec::new();
    for text in topics.iter().filter(|text| text.contains(':')) {
        partitions.extend(partitions_of(text).map_err(Failure::Usage)?);
    }
    let whole: Vec<String> = topics.iter().filter(|text| !text.contains(':')).cloned().collect();
    if whole.is_empty() {
        return Ok(partitions);
    }
    for (name, topic) in admin.describe_topics(&whole, i32::MAX).await? {
        partitions.extend(topic?.partitions.iter().map(|of| TopicPartition::new(name.as_str(), of.index)));
    }
    Ok(partitions)
}

/// Fails where partitions aren't there, or nobody leads them.
pub(crate) async fn check_all_valid(admin: &Admin, partitions: &[TopicPartition]) -> Result<(), Wrong> {
    let mut names: Vec<String> = partitions.iter().map(|at| at.topic.to_string()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let mut leaders = BTreeMap::new();
    for (name, topic) in admin.describe_topics(&names, i32::MAX).await? {
        for of in topic?.partitions {
            leaders.insert(TopicPartition::new(name.as_str(), of.index), of.leader.is_some());
        }
    }
    let names = |is_wrong: &dyn Fn(&TopicPartition) -> bool| {
        let names: Vec<String> =
            partitions.iter().filter(|at| is_wrong(at)).map(ToString::to_string).collect();
        names.join(",")
    };
    let absent = names(&|at| !leaders.contains_key(at));
    if !absent.is_empty() {
        return Err(Wrong::There(format!("The partitions \"{absent}\" do not exist")));
    }
    let leaderless = names(&|at| leaders.get(at) == Some(&false));
    if !leaderless.is_empty() {
        return Err(Wrong::There(format!("The partitions \"{leaderless}\" have no leader")));
    }
    Ok(())
}

pub(crate) async fn at(
    admin: &Admin,
    partitions: Vec<TopicPartition>,
    spec: OffsetSpec,
) -> Result<Offsets, Wrong> {
    let listed = admin.list_offsets_at(partitions, spec).await?;
    let offsets: Result<Offsets, ClientError> =
        listed.into_iter().map(|(at, listed)| Ok((at, listed?.offset))).collect();
    Ok(offsets?)
}

/// Where there is no later record, the end.
pub(crate) async fn at_time(
    admin: &Admin,
    partitions: Vec<TopicPartition>,
    ms: i64,
    output: &mut Output<'_>,
) -> Result<Offsets, Wrong> {
    let mut offsets = at(admin, partitions, OffsetSpec::At(ms)).await?;
    let without: Vec<TopicPartition> =
        offsets.iter().filter(|(_, offset)| **offset < 0).map(|(at, _)| at.clone()).collect();
    for at in &without {
        output.line(format_args!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            at.partition, at.topic
        ))?;
    }
    offsets.extend(at(admin, without, OffsetSpec::Latest).await?);
    Ok(offsets)
}

pub(crate) fn print(plans: &BTreeMap<String, Offsets>, output: &mut Output<'_>) -> Result<(), Failure> {
    if plans.is_empty() {
        return output.line("");
    }
    let columns = Columns {
        header: vec!["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"],
        widths: vec![Width::AtLeast(15), Width::AtLeast(15), Width::Fixed(10)],
    };
    let rows: Vec<Vec<String>> = plans
        .iter()
        .flat_map(|(group, offsets)| {
            offsets.iter().map(move |(at, offset)| {
                vec![group.clone(), at.topic.to_string(), at.partition.to_string(), offset.to_string()]
            })
        })
        .collect();
    columns.print(&rows, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_may_name_partitions() {
        assert_eq!(partitions_of("a:0,2").unwrap().len(), 2);
        assert!(partitions_of("a:x").is_err() && partitions_of("a:1:2").is_err());
    }
}
