//! `ottla topic describe`

use std::sync::Arc;

use ottla_client::admin::{ConfigEntry, ConfigResource, ConfigSource};
use ottla_client::types::TopicPartition;
use ottla_client::{Partition, Topic};

use super::DescribeArgs;
use super::list::{Health, replicas, sizes_of_leaders};
use crate::cluster_view::{ends, led_partitions_of, topics};
use crate::error::Failure;
use crate::global::Context;
use crate::output::{Cell, Column, Details, Listing, Tone, column, wide};

struct Whole {
    topic: Arc<Topic>,
    records: i64,
    size_bytes: Option<i64>,
}

const FIELDS: &[Column<Whole>] = &[
    column("topic", |of| Cell::text(&*of.topic.name)),
    column("id", |of| Cell::text(of.topic.id.to_string())),
    column("partitions_count", |of| Cell::number(of.topic.partitions.len())),
    column("replicas", |of| Cell::number(replicas(&of.topic))),
    column("health", |of| Health::of(&of.topic).cell()),
    column("records", |of| Cell::Number(of.records)),
    column("size", |of| Cell::maybe(of.size_bytes, Cell::Bytes)),
    column("internal", |of| Cell::Flag(of.topic.is_internal)),
];

struct Part {
    partition: Partition,
    ends: Option<(i64, i64)>,
    size_bytes: Option<i64>,
}

const PARTITIONS: &[Column<Part>] = &[
    column("partition", |of| Cell::number(of.partition.index)),
    column("leader", |of| match of.partition.leader {
        Some(leader) => Cell::number(leader.0),
        None => Cell::text("none").toned(Some(Tone::Bad)),
    }),
    wide("leader_epoch", |of| Cell::number(of.partition.leader_epoch.0)),
    column("replicas", |of| Cell::Numbers(of.partition.replicas.iter().map(|node| node.0).collect())),
    column("in_sync", |of| {
        let lacks = of.partition.isr.len() < of.partition.replicas.len();
        let isr = of.partition.isr.iter().map(|node| node.0).collect();
        Cell::Numbers(isr).toned(lacks.then_some(Tone::Warning))
    }),
    wide("offline", |of| Cell::Numbers(of.partition.offline.iter().map(|node| node.0).collect())),
    column("start", |of| Cell::maybe(of.ends, |(start, _)| Cell::Number(start))),
    column("end", |of| Cell::maybe(of.ends, |(_, end)| Cell::Number(end))),
    column("records", |of| Cell::maybe(of.ends, |(start, end)| Cell::Number(end - start))),
    column("size", |of| Cell::maybe(of.size_bytes, Cell::Bytes)),
];

const SETTINGS: &[Column<ConfigEntry>] = &[
    column("setting", |of| Cell::text(&of.name)),
    column("value", |of| Cell::maybe(of.value.as_ref(), Cell::text)),
];

pub async fn run(args: &DescribeArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    let topics = topics(&admin, &args.topics).await?;
    let mut ends = ends(&admin, topics.iter().flat_map(|topic| led_partitions_of(topic)), false).await?;
    let mut sizes = sizes_of_leaders(&admin, &topics).await;
    let resources: Vec<ConfigResource> =
        topics.iter().map(|topic| ConfigResource::topic(&*topic.name)).collect();
    let mut configs = admin.describe_configs(&resources, false).await?;
    let mut shown = Vec::new();
    for topic in topics {
        let part = |partition: &Partition| {
            let at = TopicPartition::new(Arc::clone(&topic.name), partition.index);
            let ends = ends.remove(&at).and_then(Result::ok);
            Part { partition: partition.clone(), ends, size_bytes: sizes.remove(&at) }
        };
        let parts: Vec<Part> = topic.partitions.iter().map(part).collect();
        let settings = configs.remove(&ConfigResource::topic(&*topic.name)).transpose()?.unwrap_or_default();
        let own: Vec<&ConfigEntry> =
            settings.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic).collect();
        let whole = Whole {
            records: parts.iter().filter_map(|part| part.ends).map(|(start, end)| end - start).sum(),
            size_bytes: parts.iter().map(|part| part.size_bytes).sum(),
            topic,
        };
        let details = Details::of(FIELDS, &whole).section("partitions", Listing::of(PARTITIONS, &parts));
        shown.push(details.section("settings", Listing::of(SETTINGS, own)));
    }
    context.printer.details(&shown)
}
