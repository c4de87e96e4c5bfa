//! `ottla topic delete` and `ottla topic truncate`: shown first, done with `--execute`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_client::Topic;
use ottla_client::types::TopicPartition;

use super::list::sizes_of_leaders;
use super::{DeleteArgs, TruncateArgs};
use crate::cluster_view::{
    all_well, chosen_of, ends, led_partitions_of, locate, parse_partitions, sorted_out, topics,
};
use crate::error::Failure;
use crate::expr::Place;
use crate::global::Context;
use crate::output::{Cell, Column, Listing, column};

struct Doomed {
    topic: Arc<Topic>,
    records: i64,
    size_bytes: Option<i64>,
}

const COLUMNS: &[Column<Doomed>] = &[
    column("topic", |of| Cell::text(&*of.topic.name)),
    column("partitions", |of| Cell::number(of.topic.partitions.len())),
    column("records", |of| Cell::Number(of.records)),
    column("size", |of| Cell::maybe(of.size_bytes, Cell::Bytes)),
];

pub async fn run(args: &DeleteArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    let topics = topics(&admin, &args.topics).await?;
    let ends = ends(&admin, topics.iter().flat_map(|topic| led_partitions_of(topic)), false).await?;
    let sizes = sizes_of_leaders(&admin, &topics).await;
    let doomed: Vec<Doomed> = topics
        .iter()
        .map(|topic| Doomed {
            records: ends
                .iter()
                .filter(|(at, _)| at.topic == topic.name)
                .filter_map(|(_, ends)| ends.as_ref().ok())
                .map(|(start, end)| end - start)
                .sum(),
            size_bytes: Some(
                sizes.iter().filter(|(at, _)| at.topic == topic.name).map(|(_, size)| size).sum(),
            ),
            topic: Arc::clone(topic),
        })
        .collect();
    context.printer.listing(&Listing::of(COLUMNS, &doomed))?;
    if !args.doing.execute {
        return context.tell_preview(&admin);
    }
    context.printer.flush()?;
    let names: Vec<String> = topics.iter().map(|topic| topic.name.to_string()).collect();
    let (deleted, errors) = sorted_out(admin.delete_topics(&names).await?);
    for (name, ()) in deleted {
        context.tell(format_args!("Deleted topic {name}."))?;
    }
    all_well(errors)
}

struct Cut {
    at: TopicPartition,
    start: i64,
    new_start: i64,
}

const CUTS: &[Column<Cut>] = &[
    column("topic", |of| Cell::text(&*of.at.topic)),
    column("partition", |of| Cell::number(of.at.partition)),
    column("start", |of| Cell::Number(of.start)),
    column("new_start", |of| Cell::Number(of.new_start)),
    column("deleted", |of| Cell::Number(of.new_start - of.start)),
];

pub async fn truncate(args: &TruncateArgs, context: &mut Context) -> Result<(), Failure> {
    let place = Place::parse(&args.before, context.now_ms).map_err(Failure::usage)?;
    if matches!(place, Place::Committed(_)) {
        return Err(Failure::usage("a topic has committed nothing: 'committed' is for groups"));
    }
    let partitions = args.partitions.as_deref().map(parse_partitions).transpose().map_err(Failure::usage)?;
    let admin = context.admin().await?;
    let topics = topics(&admin, std::slice::from_ref(&args.topic)).await?;
    let Some(topic) = topics.first() else { return Ok(()) };
    let partitions = chosen_of(topic, &partitions.unwrap_or_default())?;
    let located = locate(&admin, &partitions, place, &BTreeMap::new(), false).await?;
    let cuts: Vec<Cut> = located
        .into_iter()
        .map(|(at, located)| Cut { at, start: located.known.start, new_start: located.found.offset })
        .collect();
    context.printer.listing(&Listing::of(CUTS, &cuts))?;
    if !args.doing.execute {
        return context.tell_preview(&admin);
    }
    context.printer.flush()?;
    let before = cuts.iter().filter(|cut| cut.new_start > cut.start);
    let before: BTreeMap<TopicPartition, i64> = before.map(|cut| (cut.at.clone(), cut.new_start)).collect();
    let (cut, errors) = sorted_out(admin.delete_records(&before).await?);
    for (at, start) in cut {
        context.tell(format_args!("{at} starts at {start}."))?;
    }
    all_well(errors)
}
