//! What is measured, and what two measurements tell of the time between them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_client::types::TopicPartition;

use crate::group::lag_of;
use crate::output::{Cell, Column, Tone, column};

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub at_ms: i64,
    pub cluster_id: String,
    pub brokers: usize,
    pub partitions: BTreeMap<TopicPartition, PartitionSample>,
    /// What groups have committed.
    pub groups: BTreeMap<String, BTreeMap<TopicPartition, i64>>,
}

/// A partition at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionSample {
    pub leader: Option<i32>,
    pub is_under_replicated: bool,
    pub start: i64,
    pub end: i64,
    pub size_bytes: i64,
}

/// What happened between two samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub cluster_id: String,
    pub brokers: usize,
    pub partitions_count: usize,
    pub offline: usize,
    pub under_replicated: usize,
    /// The fastest first.
    pub topics: Vec<TopicRate>,
    /// The hottest first.
    pub partitions: Vec<PartitionRate>,
    /// Those that are furthest behind first.
    pub groups: Vec<GroupRate>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopicRate {
    pub topic: Arc<str>,
    pub partitions: usize,
    pub records_per_second: f64,
    pub bytes_per_second: f64,
    pub records: i64,
    pub size_bytes: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PartitionRate {
    pub at: TopicPartition,
    pub leader: Option<i32>,
    pub records_per_second: f64,
    pub bytes_per_second: f64,
    /// How many times the topic's average partition it takes; 1 is fair.
    pub heat: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupRate {
    pub group: String,
    pub topics: usize,
    pub lag: i64,
    pub read_per_second: f64,
    /// In how many milliseconds nothing is left at this pace; `None` where it doesn't come closer.
    pub caught_up_in_ms: Option<i64>,
}

fn rate(value: f64) -> Cell {
    Cell::Fraction(value)
}

pub const TOPICS: &[Column<TopicRate>] = &[
    column("topic", |of| Cell::text(&*of.topic)),
    column("partitions", |of| Cell::number(of.partitions)),
    column("records_per_second", |of| rate(of.records_per_second)),
    column("bytes_per_second", |of| Cell::Bytes(of.bytes_per_second as i64)),
    column("records", |of| Cell::Number(of.records)),
    column("size", |of| Cell::Bytes(of.size_bytes)),
];

pub const PARTITIONS: &[Column<PartitionRate>] = &[
    column("topic", |of| Cell::text(&*of.at.topic)),
    column("partition", |of| Cell::number(of.at.partition)),
    column("leader", |of| match of.leader {
        Some(leader) => Cell::number(leader),
        None => Cell::text("none").toned(Some(Tone::Bad)),
    }),
    column("records_per_second", |of| rate(of.records_per_second)),
    column("bytes_per_second", |of| Cell::Bytes(of.bytes_per_second as i64)),
    column("heat", |of| rate(of.heat).toned((of.heat >= HOT).then_some(Tone::Warning))),
];

pub const GROUPS: &[Column<GroupRate>] = &[
    column("group", |of| Cell::text(&of.group)),
    column("topics", |of| Cell::number(of.topics)),
    column("lag", |of| {
        Cell::Number(of.lag).toned((of.lag > 0 && of.caught_up_in_ms.is_none()).then_some(Tone::Warning))
    }),
    column("read_per_second", |of| rate(of.read_per_second)),
    column("caught_up_in", |of| Cell::maybe(of.caught_up_in_ms, Cell::DurationMs)),
];

/// So many times the average is worth a look.
const HOT: f64 = 2.0;

/// Of two samples, the older first.
pub fn view(before: &Sample, now: &Sample) -> View {
    let seconds = ((now.at_ms - before.at_ms).max(1)) as f64 / 1000.0;
    let mut partitions: Vec<PartitionRate> = now
        .partitions
        .iter()
        .map(|(at, of)| {
            // What is new, or was made anew, has no past.
            let known = before.partitions.get(at).filter(|known| known.end <= of.end).unwrap_or(of);
            PartitionRate {
                at: at.clone(),
                leader: of.leader,
                records_per_second: (of.end - known.end) as f64 / seconds,
                // Deleting makes it smaller, which is no writing.
                bytes_per_second: (of.size_bytes - known.size_bytes).max(0) as f64 / seconds,
                heat: 0.0,
            }
        })
        .collect();
    let mut topics: BTreeMap<Arc<str>, TopicRate> = BTreeMap::new();
    for rate in &partitions {
        let topic = topics.entry(Arc::clone(&rate.at.topic)).or_insert_with(|| TopicRate {
            topic: Arc::clone(&rate.at.topic),
            partitions: 0,
            records_per_second: 0.0,
            bytes_per_second: 0.0,
            records: 0,
            size_bytes: 0,
        });
        topic.partitions += 1;
        topic.records_per_second += rate.records_per_second;
        topic.bytes_per_second += rate.bytes_per_second;
        if let Some(of) = now.partitions.get(&rate.at) {
            topic.records += of.end - of.start;
            topic.size_bytes += of.size_bytes;
        }
    }
    for rate in &mut partitions {
        if let Some(topic) = topics.get(&rate.at.topic).filter(|topic| topic.records_per_second > 0.0) {
            rate.heat = rate.records_per_second * topic.partitions as f64 / topic.records_per_second;
        }
    }
    let mut topics: Vec<TopicRate> = topics.into_values().collect();
    topics.sort_by(|a, b| b.records_per_second.total_cmp(&a.records_per_second));
    partitions.sort_by(|a, b| b.records_per_second.total_cmp(&a.records_per_second));
    let mut groups: Vec<GroupRate> = now
        .groups
        .iter()
        .map(|(group, committed)| group_rate(group, committed, before, now, seconds))
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.lag));
    View {
        cluster_id: now.cluster_id.clone(),
        brokers: now.brokers,
        partitions_count: now.partitions.len(),
        offline: now.partitions.values().filter(|of| of.leader.is_none()).count(),
        under_replicated: now.partitions.values().filter(|of| of.is_under_replicated).count(),
        topics,
        partitions,
        groups,
    }
}

fn group_rate(
    group: &str,
    committed: &BTreeMap<TopicPartition, i64>,
    before: &Sample,
    now: &Sample,
    seconds: f64,
) -> GroupRate {
    let lag_in = |sample: &Sample, at: &TopicPartition, committed: i64| {
        sample.partitions.get(at).map_or(0, |of| lag_of(committed, of.start, of.end))
    };
    let known = before.groups.get(group);
    let (mut lag, mut lag_before, mut read) = (0, 0, 0);
    for (at, &offset) in committed {
        lag += lag_in(now, at, offset);
        let offset_before = known.and_then(|known| known.get(at)).copied().unwrap_or(offset);
        lag_before += lag_in(before, at, offset_before);
        read += (offset - offset_before).max(0);
    }
    let closer_per_second = (lag_before - lag) as f64 / seconds;
    let caught_up_in_ms = match lag {
        0 => Some(0),
        lag if closer_per_second > 0.0 => Some((lag as f64 / closer_per_second * 1000.0) as i64),
        _ => None,
    };
    let mut topics: Vec<&Arc<str>> = committed.keys().map(|at| &at.topic).collect();
    topics.dedup();
    GroupRate {
        group: group.to_owned(),
        topics: topics.len(),
        lag,
        read_per_second: read as f64 / seconds,
        caught_up_in_ms,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Ends of two partitions of `orders` and what `billing` has committed of them.
    pub fn sample(at_ms: i64, ends: [i64; 2], committed: [i64; 2]) -> Sample {
        let at = |partition| TopicPartition::new("orders", partition);
        let partition = |end| PartitionSample {
            leader: Some(1),
            is_under_replicated: false,
            start: 0,
            end,
            size_bytes: end * 100,
        };
        Sample {
            at_ms,
            cluster_id: "c".to_owned(),
            brokers: 1,
            partitions: ends.iter().zip(0..).map(|(end, index)| (at(index), partition(*end))).collect(),
            groups: BTreeMap::from([(
                "billing".to_owned(),
                committed.iter().zip(0..).map(|(offset, index)| (at(index), *offset)).collect(),
            )]),
        }
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let view = view(&sample(0, [100, 100], [0, 100]), &sample(2000, [700, 300], [600, 300]));
        assert_eq!((view.topics[0].records_per_second, view.topics[0].bytes_per_second), (400.0, 40_000.0));
        assert_eq!((view.topics[0].records, view.topics[0].partitions), (1000, 2));
        let hottest = &view.partitions[0];
        assert_eq!((hottest.at.partition, hottest.records_per_second, hottest.heat), (0, 300.0, 1.5));
        let group = &view.groups[0];
        assert_eq!((group.lag, group.read_per_second, group.topics), (100, 400.0, 1));
        assert_eq!(group.caught_up_in_ms, None);
    }

    #[test]
    fn a_group_that_comes_closer_will_be_there() {
        let view = view(&sample(0, [100, 100], [0, 0]), &sample(1000, [100, 100], [50, 0]));
        assert_eq!((view.groups[0].lag, view.groups[0].caught_up_in_ms), (150, Some(3000)));
    }

    #[test]
    fn a_topic_made_anew_has_no_past() {
        let view = view(&sample(0, [100, 100], [0, 0]), &sample(1000, [10, 100], [0, 0]));
        assert_eq!(view.topics[0].records_per_second, 0.0);
        assert_eq!(view.topics[0].bytes_per_second, 0.0);
    }
}
