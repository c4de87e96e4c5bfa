//! `ottla group lag`: how far groups are behind, in records and in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_client::admin::{Admin, GroupListing};
use ottla_client::consumer::{Consumer, ConsumerSettings, OffsetReset};
use ottla_client::types::{Offset, TopicPartition};
use ottla_client::{Scope, Settings};
use tokio::time::Instant;

use super::{LagArgs, all_groups, committed, existing, siblings, tell_uncommitted};
use crate::cluster_view::{Chosen, ends};
use crate::error::{Exit, Failure};
use crate::global::Context;
use crate::output::{Cell, Column, Listing, Tone, column, wide};

/// How far a group is in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    pub group: String,
    pub topic: String,
    /// `None` of a sum.
    pub partition: Option<i32>,
    pub committed: Option<i64>,
    pub start: i64,
    pub end: Option<i64>,
    pub records: Option<i64>,
    /// How long ago the first record was written that the group has not read; 0 where it has read all.
    pub age_ms: Option<i64>,
    pub member: Option<String>,
    pub host: Option<String>,
}

pub const COLUMNS: &[Column<Lag>] = &[
    column("group", |of| Cell::text(&of.group)),
    column("topic", |of| Cell::text(&of.topic)),
    column("partition", |of| Cell::maybe(of.partition, Cell::number)),
    column("committed", |of| Cell::maybe(of.committed, Cell::Number)),
    column("end", |of| Cell::maybe(of.end, Cell::Number)),
    column("lag", |of| {
        // What is deleted can't be read any more.
        let lost = of.committed.is_some_and(|committed| committed < of.start);
        Cell::maybe(of.records, Cell::Number).toned(lost.then_some(Tone::Bad))
    }),
    column("lag_seconds", |of| Cell::maybe(of.age_ms, Cell::DurationMs)),
    column("member", |of| Cell::maybe(of.member.as_ref(), Cell::text)),
    wide("host", |of| Cell::maybe(of.host.as_ref(), Cell::text)),
    wide("start", |of| Cell::Number(of.start)),
];

/// How many records are still to be read; `None` where nothing is committed. What was deleted meanwhile doesn't count.
pub fn lag_of(committed: i64, start: i64, end: i64) -> i64 {
    (end - committed.max(start)).max(0)
}

pub async fn run(args: &LagArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    let groups = match args.groups.is_empty() {
        false => existing(&admin, &args.groups).await?,
        true => all_groups(&admin, &[], &[]).await?.into_iter().filter(reads_topics).collect(),
    };
    let mut rows = Vec::new();
    let mut uncommitted = Vec::new();
    for group in &groups {
        let settings = context.settings(Scope::Consumer)?;
        if is_share_group(group) {
            rows.extend(share_lags(&admin, &settings, &group.id, &args.only.topics, context.now_ms).await?);
            continue;
        }
        let lags = lags(&admin, &settings, &group.id, &args.only.topics, context.now_ms).await?;
        uncommitted.push((&group.id, lags.iter().filter(|of| of.committed.is_none()).count()));
        rows.extend(lags);
    }
    if args.sum {
        rows = sums(rows);
    }
    context.printer.listing(&Listing::of(COLUMNS, &rows))?;
    uncommitted.into_iter().try_for_each(|(group, count)| tell_uncommitted(group, count, context))?;
    let limit = args.fail_above.unwrap_or(i64::MAX);
    match rows.iter().find(|row| row.records.is_some_and(|records| records > limit)) {
        Some(row) => {
            let at = row.partition.map(|partition| format!("-{partition}")).unwrap_or_default();
            Err(Failure::new(
                Exit::AboveLimit,
                format!(
                    "group {} is {} records behind in {}{at}",
                    row.group,
                    row.records.unwrap_or_default(),
                    row.topic
                ),
            ))
        }
        None => Ok(()),
    }
}

fn is_share_group(group: &GroupListing) -> bool {
    group.kind.eq_ignore_ascii_case("share")
}

/// Others (Kafka Connect's, say) share something else out among their members.
fn reads_topics(group: &GroupListing) -> bool {
    is_share_group(group) || matches!(group.protocol.as_str(), "consumer" | "")
}

/// Of each partition that a share group has begun to read: `committed` is where it begins, and the first record there is one
/// that is not done with. What lies behind it may be done with: the broker counts.
pub async fn share_lags(
    admin: &Admin,
    settings: &Settings,
    group: &str,
    topics: &[Chosen],
    now_ms: i64,
) -> Result<Vec<Lag>, Failure> {
    let mut known = BTreeMap::new();
    for (at, of) in admin.list_share_group_offsets(group).await? {
        if topics.is_empty() || topics.iter().any(|chosen| chosen.has(&at)) {
            known.insert(at, of?);
        }
    }
    let ends = ends(admin, known.keys().cloned(), false).await?;
    let mut unread = BTreeMap::new();
    let rows = known.into_iter().map(|(at, of)| {
        let bounds = ends.get(&at).and_then(|ends| ends.as_ref().ok()).copied();
        let records = of.and_then(|of| of.lag);
        if let (Some(of), Some((start, _)), Some(1..)) = (of, bounds, records) {
            unread.insert(at.clone(), of.start_offset.max(start));
        }
        Lag {
            group: group.to_owned(),
            topic: at.topic.to_string(),
            partition: Some(at.partition),
            committed: of.map(|of| of.start_offset),
            start: bounds.map_or(0, |(start, _)| start),
            end: bounds.map(|(_, end)| end),
            records,
            age_ms: records.filter(|records| *records == 0),
            ..Lag::default()
        }
    });
    let rows: Vec<Lag> = rows.collect();
    with_ages(rows, settings, &unread, now_ms).await
}

/// Of each partition of the topics of which the group has committed something, or has a member.
async fn lags(
    admin: &Admin,
    settings: &Settings,
    group: &str,
    topics: &[Chosen],
    now_ms: i64,
) -> Result<Vec<Lag>, Failure> {
    let mut described = admin.describe_consumer_groups(&[group.to_owned()]).await;
    let described = described.remove(group).transpose()?;
    let committed = committed(admin, group, topics).await?;
    let owners: BTreeMap<&TopicPartition, _> = described
        .iter()
        .flat_map(|group| &group.members)
        .flat_map(|member| member.assignment.iter().map(move |at| (at, member)))
        .filter(|(at, _)| topics.is_empty() || topics.iter().any(|chosen| chosen.has(at)))
        .collect();
    let mut partitions: BTreeSet<TopicPartition> =
        committed.keys().chain(owners.keys().copied()).cloned().collect();
    partitions.extend(siblings(admin, &partitions, topics).await?);
    let ends = ends(admin, partitions.iter().cloned(), false).await?;
    let mut rows = Vec::new();
    let mut unread = BTreeMap::new();
    for at in &partitions {
        // A topic that was deleted, or a partition without a leader: the rest is worth knowing.
        let known = ends.get(at).and_then(|ends| ends.as_ref().ok()).copied();
        let committed = committed.get(at).copied();
        let records = committed.zip(known).map(|(committed, (start, end))| lag_of(committed, start, end));
        if let (Some(committed), Some((start, _)), Some(1..)) = (committed, known, records) {
            unread.insert(at.clone(), committed.max(start));
        }
        let owner = owners.get(at);
        rows.push(Lag {
            group: group.to_owned(),
            topic: at.topic.to_string(),
            partition: Some(at.partition),
            committed,
            start: known.map_or(0, |(start, _)| start),
            end: known.map(|(_, end)| end),
            records,
            age_ms: records.filter(|records| *records == 0),
            member: owner.map(|member| member.client_id.clone()),
            host: owner.map(|member| member.host.clone()),
        });
    }
    with_ages(rows, settings, &unread, now_ms).await
}

/// With the ages of what is still to be read, by the places of the first such records.
async fn with_ages(
    mut rows: Vec<Lag>,
    settings: &Settings,
    unread: &BTreeMap<TopicPartition, i64>,
    now_ms: i64,
) -> Result<Vec<Lag>, Failure> {
    let ages = age_of_first_unread(settings, unread, now_ms).await?;
    for row in &mut rows {
        let at = row.partition.map(|partition| TopicPartition::new(row.topic.as_str(), partition));
        row.age_ms = row.age_ms.or_else(|| ages.get(&at?).copied());
    }
    Ok(rows)
}

/// One of each group and topic: records in all, and the greatest age.
fn sums(rows: Vec<Lag>) -> Vec<Lag> {
    let mut sums: BTreeMap<(String, String), Lag> = BTreeMap::new();
    for row in rows {
        let key = (row.group.clone(), row.topic.clone());
        let sum = sums.entry(key).or_insert_with(|| Lag {
            group: row.group.clone(),
            topic: row.topic.clone(),
            ..Lag::default()
        });
        let add = |sum: Option<i64>, value: Option<i64>| match (sum, value) {
            (Some(sum), Some(value)) => Some(sum + value),
            (sum, value) => sum.or(value),
        };
        sum.committed = add(sum.committed, row.committed);
        // Beside what is committed and what is still to be read, the end makes sense of the same partitions alone.
        sum.end = add(sum.end, row.end.filter(|_| row.committed.is_some()));
        sum.records = add(sum.records, row.records);
        sum.start += row.start;
        sum.age_ms = sum.age_ms.max(row.age_ms);
    }
    sums.into_values().collect()
}

/// How long a record is waited for whose time is wanted.
const PATIENCE: Duration = Duration::from_secs(5);
const ONE_RECORD: i32 = 1;

/// How long ago the records at these offsets were written. One of each partition is read; where none comes in time, its age is
/// missing.
async fn age_of_first_unread(
    settings: &Settings,
    unread: &BTreeMap<TopicPartition, i64>,
    now_ms: i64,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut ages = BTreeMap::new();
    if unread.is_empty() {
        return Ok(ages);
    }
    let mut consumer = Consumer::connect(ConsumerSettings {
        group_id: None,
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        // A batch comes whole, and no more of it.
        max_partition_fetch_bytes: ONE_RECORD,
        ..ConsumerSettings::from_settings(settings)?
    })
    .await?;
    consumer.assign(unread.keys().cloned())?;
    for (at, offset) in unread {
        consumer.seek(at, Offset(*offset))?;
    }
    let deadline = Instant::now() + PATIENCE;
    while ages.len() < unread.len() && Instant::now() < deadline {
        for record in consumer.poll(Duration::from_millis(100)).await? {
            let at = record.topic_partition.clone();
            if ages.insert(at.clone(), (now_ms - record.timestamp.value()).max(0)).is_none() {
                consumer.pause(&at)?;
            }
        }
    }
    consumer.close(Duration::from_secs(1)).await?;
    Ok(ages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_can_still_be_read() {
        for (committed, start, end, expected) in
            [(5, 0, 10, 5), (0, 7, 10, 3), (10, 0, 10, 0), (12, 0, 10, 0)]
        {
            assert_eq!(lag_of(committed, start, end), expected);
        }
    }

    #[test]
    fn sums_are_of_topics() {
        let row = |topic: &str, records, age_ms| Lag {
            group: "g".to_owned(),
            topic: topic.to_owned(),
            partition: Some(0),
            records,
            age_ms,
            ..Lag::default()
        };
        let summed =
            sums(vec![row("a", Some(1), Some(500)), row("b", None, None), row("a", Some(2), Some(100))]);
        let shown: Vec<_> =
            summed.iter().map(|sum| (sum.topic.as_str(), sum.partition, sum.records, sum.age_ms)).collect();
        assert_eq!(shown, [("a", None, Some(3), Some(500)), ("b", None, None, None)]);
    }
}
