//! `ottla topic list`

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_client::admin::Admin;
use ottla_client::types::TopicPartition;
use ottla_client::{Topic, Topics};

use super::ListArgs;
use crate::cluster_view::{ends, led_partitions_of};
use crate::error::Failure;
use crate::global::Context;
use crate::output::{Cell, Column, Format, Listing, Tone, column, wide};
use crate::patterns::Patterns;

/// A topic in a list.
#[derive(Debug)]
pub(super) struct TopicRow {
    topic: Arc<Topic>,
    health: Health,
    records: Option<i64>,
    size_bytes: Option<i64>,
}

/// How many partitions are not as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    offline: usize,
    under_replicated: usize,
}

const COLUMNS: &[Column<TopicRow>] = &[
    column("topic", |row| Cell::text(&*row.topic.name)),
    column("partitions", |row| Cell::number(row.topic.partitions.len())),
    column("replicas", |row| Cell::number(replicas(&row.topic))),
    column("health", |row| row.health.cell()),
    wide("records", |row| Cell::maybe(row.records, Cell::Number)),
    wide("size", |row| Cell::maybe(row.size_bytes, Cell::Bytes)),
    wide("internal", |row| Cell::Flag(row.topic.is_internal)),
    wide("id", |row| Cell::text(row.topic.id.to_string())),
];

/// Of the partition with the fewest.
pub(super) fn replicas(topic: &Topic) -> usize {
    topic.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or_default()
}

impl Health {
    pub(super) fn of(topic: &Topic) -> Health {
        let offline = topic.partitions.iter().filter(|partition| partition.leader.is_none()).count();
        let lacks = |partition: &&ottla_client::Partition| {
            partition.leader.is_some() && partition.isr.len() < partition.replicas.len()
        };
        Health { offline, under_replicated: topic.partitions.iter().filter(lacks).count() }
    }

    fn is_well(self) -> bool {
        self == Health::default()
    }

    pub(super) fn cell(self) -> Cell {
        let Health { offline, under_replicated } = self;
        match (offline, under_replicated) {
            (0, 0) => Cell::text("ok").toned(Some(Tone::Good)),
            (0, under) => Cell::text(format!("{under} under-replicated")).toned(Some(Tone::Warning)),
            (offline, 0) => Cell::text(format!("{offline} offline")).toned(Some(Tone::Bad)),
            (offline, under) => {
                Cell::text(format!("{offline} offline, {under} under-replicated")).toned(Some(Tone::Bad))
            }
        }
    }
}

pub async fn run(args: &ListArgs, context: &mut Context) -> Result<(), Failure> {
    let patterns = Patterns::new(&args.patterns)?;
    let admin = context.admin().await?;
    let metadata = admin.client().refresh(Topics::Every).await?;
    // Whoever names one of Kafka's topics wants to see it.
    let is_meant = |topic: &Topic| {
        (args.internal || !args.patterns.is_empty() || !topic.is_internal) && patterns.match_name(&topic.name)
    };
    let mut topics: Vec<Arc<Topic>> = metadata.topics().filter(|topic| is_meant(topic)).cloned().collect();
    topics.retain(|topic| !args.unhealthy || !Health::of(topic).is_well());
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let is_costly = context.printer.format() != Format::Table;
    let (mut records, sizes) =
        if is_costly { amounts(&admin, &topics).await? } else { (BTreeMap::new(), BTreeMap::new()) };
    let rows: Vec<TopicRow> = topics
        .into_iter()
        .map(|topic| TopicRow {
            health: Health::of(&topic),
            records: records.remove(&topic.name),
            size_bytes: sizes.get(&topic.name).copied(),
            topic,
        })
        .collect();
    context.printer.listing(&Listing::of(COLUMNS, &rows))
}

type Amounts = BTreeMap<Arc<str>, i64>;

/// Records and bytes of topics; topics of which they aren't known are missing.
async fn amounts(admin: &Admin, topics: &[Arc<Topic>]) -> Result<(Amounts, Amounts), Failure> {
    let mut records = Amounts::new();
    for (at, ends) in ends(admin, topics.iter().flat_map(|topic| led_partitions_of(topic)), false).await? {
        if let Ok((start, end)) = ends {
            *records.entry(at.topic).or_default() += end - start;
        }
    }
    let mut sizes = Amounts::new();
    for (at, size_bytes) in sizes_of_leaders(admin, topics).await {
        *sizes.entry(at.topic).or_default() += size_bytes;
    }
    Ok((records, sizes))
}

/// How large partitions are on the disks of their leaders.
pub async fn sizes_of_leaders(admin: &Admin, topics: &[Arc<Topic>]) -> BTreeMap<TopicPartition, i64> {
    let leaders: BTreeMap<TopicPartition, i32> = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
        .filter_map(|(topic, partition)| {
            Some((TopicPartition::new(Arc::clone(&topic.name), partition.index), partition.leader?.0))
        })
        .collect();
    let brokers: Vec<i32> = admin.client().metadata().brokers().keys().map(|node| node.0).collect();
    let mut sizes = BTreeMap::new();
    // A broker that can't be asked leaves a gap; the command is about topics.
    for (node, dirs) in admin.describe_log_dirs(&brokers).await {
        for (at, replica) in dirs.into_iter().flatten().flat_map(|(_, dir)| dir.replicas) {
            if !replica.is_future && leaders.get(&at) == Some(&node.0) {
                sizes.insert(at, replica.size_bytes);
            }
        }
    }
    sizes
}
