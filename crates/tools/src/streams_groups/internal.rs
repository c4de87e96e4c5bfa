//! Topics that Kafka Streams makes for a group.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{Admin, StreamsGroupDescription};
use ottla_wire::ErrorCode;
use regex::Regex;

use super::plan::Internal;
use crate::group_offsets::{Wrong, error};
use crate::net::message;
use crate::tool::{Failure, Output};

const SUFFIXES: [&str; 4] =
    ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
const OF_FOREIGN_KEYS: &str = r"^.+-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-\d+-topic$";

/// Whether a topic is called as those are that Kafka Streams makes for the group.
pub(super) fn is_inferred(group: &str, topic: &str) -> bool {
    let Some(name) = topic.strip_prefix(group).filter(|name| name.starts_with('-')) else { return false };
    let is_of_foreign_keys = || Regex::new(OF_FOREIGN_KEYS).is_ok_and(|names| names.is_match(topic));
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) || is_of_foreign_keys()
}

/// The group's, as its topology has them. Who calls a topic of their own as the group's is told that it stays.
pub(super) fn of(group: &StreamsGroupDescription, output: &mut Output<'_>) -> Result<Vec<String>, Failure> {
    let all = group.internal_topics();
    inferred(&group.id, all.into_iter().map(str::to_owned).collect(), output)
}

fn inferred(group: &str, topics: BTreeSet<String>, output: &mut Output<'_>) -> Result<Vec<String>, Failure> {
    let (inferred, others): (Vec<String>, Vec<String>) =
        topics.into_iter().partition(|topic| is_inferred(group, topic));
    for topic in others {
        output.line(format_args!(
            "The internal topic '{topic}' is not inferred as internal and thus will not be deleted with the group '{group}'."
        ))?;
    }
    Ok(inferred)
}

/// Deletes those that were asked for. A topic that Kafka Streams has not made for the group is never deleted.
pub(super) async fn delete(
    admin: &Admin,
    group: &StreamsGroupDescription,
    wanted: &Internal,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let topics = match wanted {
        Internal::All => of(group, output)?,
        Internal::Named(names) => inferred(&group.id, names.iter().cloned().collect(), output)?,
    };
    let mut failures = Vec::new();
    for (_, result) in admin.delete_topics(&topics).await? {
        failures.extend(result.err());
    }
    let id = &group.id;
    match failures.first() {
        None => Ok(()),
        Some(_) if failures.iter().any(|why| why.code() == Some(ErrorCode::UnknownTopicOrPartition)) => {
            let text =
                format!("Deleting internal topics for group '{id}' failed because the topics do not exist.");
            Ok(error(text, output)?)
        }
        Some(why) => {
            let why = message(why);
            let text = format!("Deleting internal topics for group '{id}' failed due to {why}");
            Ok(error(text, output)?)
        }
    }
}

/// Deletes those of groups that are deleted; of which groups some are still there, and why.
pub(super) async fn delete_with_groups(
    admin: &Admin,
    topics: &BTreeMap<String, Vec<String>>,
    output: &mut Output<'_>,
) -> Result<BTreeMap<String, String>, Wrong> {
    let mut kept = BTreeMap::new();
    for (group, topics) in topics {
        for (topic, result) in admin.delete_topics(topics).await? {
            if let Err(why) = result {
                output.line(format_args!("Failed to delete internal topic: {topic}"))?;
                kept.insert(group.clone(), message(&why));
            }
        }
    }
    Ok(kept)
}

/// Tells of which groups' topics all are deleted, and of which not.
pub(super) fn tell_deleted(
    topics: &BTreeMap<String, Vec<String>>,
    kept: &BTreeMap<String, String>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let deleted: Vec<&str> =
        topics.keys().filter(|group| !kept.contains_key(*group)).map(String::as_str).collect();
    if !deleted.is_empty() {
        output.line(format_args!(
            "Deletion of associated internal topics of the streams groups ('{}') was successful.",
            deleted.join("', '")
        ))?;
    }
    if !kept.is_empty() {
        output.line("Deletion of some associated internal topics failed:")?;
    }
    for (group, why) in kept {
        output.line(format_args!(
            "* Internal topics of the streams group '{group}' could not be deleted due to: {why}"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_inferred;

    #[test]
    fn names_tell_what_kafka_streams_has_made() {
        for (topic, expected) in [
            ("app-counts-changelog", true),
            ("app-counts-repartition", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000014-topic", true),
            ("app-x-subscription-registration-topic", true),
            ("app-output", false),
            ("apple-changelog", false),
            ("other-counts-changelog", false),
            ("words-changelog", false),
        ] {
            assert_eq!(is_inferred("app", topic), expected, "{topic}");
        }
    }
}
