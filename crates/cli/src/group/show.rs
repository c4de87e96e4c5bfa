//! `ottla group list` and `ottla group describe`

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{ConsumerGroupDescription, GroupListing, GroupMemberDescription};
use ottla_client::types::TopicPartition;

use super::{DescribeArgs, ListArgs, all_groups, committed, existing, lag_of, siblings, tell_uncommitted};
use crate::cluster_view::ends;
use crate::error::Failure;
use crate::global::Context;
use crate::output::{Cell, Column, Details, Listing, Tone, column, wide};
use crate::patterns::Patterns;

const GROUPS: &[Column<GroupListing>] = &[
    column("group", |of| Cell::text(&of.id)),
    column("type", |of| Cell::text(of.kind.to_lowercase())),
    column("protocol", |of| Cell::text(&of.protocol)),
    column("state", |of| state(&of.state)),
];

/// Nobody reads, or it is being changed who does.
pub fn state(state: &str) -> Cell {
    let tone = match state {
        "Stable" => Some(Tone::Good),
        "Dead" => Some(Tone::Bad),
        "Empty" => None,
        _ => Some(Tone::Warning),
    };
    Cell::text(state).toned(tone)
}

pub async fn list(args: &ListArgs, context: &mut Context) -> Result<(), Failure> {
    let patterns = Patterns::new(&args.patterns)?;
    let admin = context.admin().await?;
    let mut groups = all_groups(&admin, &args.state, &args.kind).await?;
    groups.retain(|group| patterns.match_name(&group.id));
    context.printer.listing(&Listing::of(GROUPS, &groups))
}

struct Whole {
    group: ConsumerGroupDescription,
    lag: i64,
}

const FIELDS: &[Column<Whole>] = &[
    column("group", |of| Cell::text(&of.group.id)),
    column("state", |of| state(&of.group.state)),
    column("assignor", |of| Cell::text(&of.group.assignor)),
    column("coordinator", |of| Cell::number(of.group.coordinator.0)),
    column("members_count", |of| Cell::number(of.group.members.len())),
    column("lag", |of| Cell::Number(of.lag)),
    column("epoch", |of| Cell::maybe(of.group.epochs, |epochs| Cell::number(epochs.group))),
];

pub const MEMBERS: &[Column<GroupMemberDescription>] = &[
    column("member", |of| Cell::text(&of.client_id)),
    column("host", |of| Cell::text(&of.host)),
    column("instance", |of| Cell::maybe(of.instance_id.as_ref(), Cell::text)),
    column("partitions", |of| Cell::Texts(of.assignment.iter().map(TopicPartition::to_string).collect())),
    wide("epoch", |of| Cell::maybe(of.epoch, Cell::number)),
    wide("id", |of| Cell::text(&of.id)),
];

struct Standing {
    at: TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
}

const OFFSETS: &[Column<Standing>] = &[
    column("topic", |of| Cell::text(&*of.at.topic)),
    column("partition", |of| Cell::number(of.at.partition)),
    column("committed", |of| Cell::maybe(of.committed, Cell::Number)),
    column("end", |of| Cell::maybe(of.end, Cell::Number)),
    column("lag", |of| Cell::maybe(of.lag, Cell::Number)),
];

pub async fn describe(args: &DescribeArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    existing(&admin, &args.groups).await?;
    let mut shown = Vec::new();
    let mut uncommitted = Vec::new();
    for name in &args.groups {
        let mut described = admin.describe_consumer_groups(std::slice::from_ref(name)).await;
        let Some(group) = described.remove(name) else { continue };
        let group = group?;
        let committed = committed(&admin, name, &[]).await?;
        let mut partitions: BTreeSet<TopicPartition> = committed.keys().cloned().collect();
        partitions.extend(group.members.iter().flat_map(|member| &member.assignment).cloned());
        partitions.extend(siblings(&admin, &partitions, &[]).await?);
        let ends: BTreeMap<_, _> = ends(&admin, partitions.iter().cloned(), false).await?;
        let standing = |at: TopicPartition| {
            let known = ends.get(&at).and_then(|ends| ends.as_ref().ok()).copied();
            let committed = committed.get(&at).copied();
            let lag = committed.zip(known).map(|(committed, (start, end))| lag_of(committed, start, end));
            Standing { committed, end: known.map(|(_, end)| end), lag, at }
        };
        let standings: Vec<Standing> = partitions.into_iter().map(standing).collect();
        uncommitted.push((name, standings.iter().filter(|of| of.committed.is_none()).count()));
        let members = Listing::of(MEMBERS, &group.members);
        let whole = Whole { lag: standings.iter().filter_map(|of| of.lag).sum(), group };
        let details = Details::of(FIELDS, &whole).section("members", members);
        shown.push(details.section("offsets", Listing::of(OFFSETS, &standings)));
    }
    context.printer.details(&shown)?;
    uncommitted.into_iter().try_for_each(|(group, count)| tell_uncommitted(group, count, context))
}
