//! `ottla group`

mod lag;
mod seek;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use ottla_client::Topics;
use ottla_client::admin::{Admin, GroupListing};
use ottla_client::types::TopicPartition;

use crate::cluster_view::{Chosen, all_well, partitions_of, sorted_out};
use crate::error::{Exit, Failure};
use crate::flags::{Chosens, Doing};
use crate::global::{Context, Global};
use crate::output::{Cell, Column, Listing, column};
use crate::{completion, suggest};

pub use lag::{Lag, lag_of, share_lags};
pub use seek::{COLUMNS as MOVES, Move, moves};
pub use show::{MEMBERS, state};

#[derive(Args, Debug)]
pub struct GroupArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: GroupAction,
}

#[derive(Subcommand, Debug)]
enum GroupAction {
    /// List groups of all kinds
    List(ListArgs),
    /// Show groups with their members and how far they are
    Describe(DescribeArgs),
    /// Show how far groups are behind, in records and in time
    Lag(LagArgs),
    /// Have a group go on elsewhere
    Seek(SeekArgs),
    /// Give a group the offsets of another one
    Clone(CloneArgs),
    /// Delete groups, or what they have committed of some topics
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Names, where * stands for anything
    #[arg(value_name = "PATTERN", add = ArgValueCompleter::new(completion::groups))]
    patterns: Vec<String>,
    /// Only those in this state, as in stable or empty; may be repeated
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Only those of this type: classic, consumer, share or streams; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    kind: Vec<String>,
}

#[derive(Args, Debug)]
pub struct DescribeArgs {
    #[arg(value_name = "GROUP", required = true, add = ArgValueCompleter::new(completion::groups))]
    groups: Vec<String>,
}

#[derive(Args, Debug)]
pub struct LagArgs {
    /// Groups; all groups of consumers and share groups where none is named
    #[arg(value_name = "GROUP", add = ArgValueCompleter::new(completion::groups))]
    groups: Vec<String>,
    #[command(flatten)]
    only: Chosens,
    /// A line for each group and topic instead of each partition
    #[arg(short, long)]
    sum: bool,
    /// End with exit code 5 where a partition, or a sum, is more records behind
    #[arg(long, value_name = "RECORDS")]
    fail_above: Option<i64>,
}

#[derive(Args, Debug)]
#[command(
    after_help = "PLACE: start, end, 42, -100 (before the end), +100 (after the start), @-1h, @2026-11-01T10:00, committed-100"
)]
pub struct SeekArgs {
    #[arg(value_name = "GROUP", add = ArgValueCompleter::new(completion::groups))]
    group: String,
    /// Where it is to go on, in each partition of which it has committed something, or that --topic names
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: String,
    #[command(flatten)]
    only: Chosens,
    #[command(flatten)]
    doing: Doing,
}

#[derive(Args, Debug)]
pub struct CloneArgs {
    #[arg(value_name = "GROUP", add = ArgValueCompleter::new(completion::groups))]
    from: String,
    /// A group that is there, or a new one
    #[arg(value_name = "NEW-GROUP", add = ArgValueCompleter::new(completion::groups))]
    to: String,
    #[command(flatten)]
    only: Chosens,
    #[command(flatten)]
    doing: Doing,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[arg(value_name = "GROUP", required = true, add = ArgValueCompleter::new(completion::groups))]
    groups: Vec<String>,
    #[command(flatten)]
    only: Chosens,
    #[command(flatten)]
    doing: Doing,
}

pub async fn run(args: &GroupArgs, context: &mut Context) -> Result<(), Failure> {
    match &args.action {
        GroupAction::List(args) => show::list(args, context).await,
        GroupAction::Describe(args) => show::describe(args, context).await,
        GroupAction::Lag(args) => lag::run(args, context).await,
        GroupAction::Seek(args) => seek::seek(args, context).await,
        GroupAction::Clone(args) => seek::clone(args, context).await,
        GroupAction::Delete(args) => delete(args, context).await,
    }
}

/// Groups of all kinds, by name. A coordinator that can't be asked is an error: its groups would be missing.
pub async fn all_groups(
    admin: &Admin,
    states: &[String],
    kinds: &[String],
) -> Result<Vec<GroupListing>, Failure> {
    let mut groups = Vec::new();
    for listed in admin.list_groups(states, kinds).await.into_values() {
        groups.extend(listed?);
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

/// That groups are there.
///
/// # Errors
/// One of them isn't; with the name that may have been meant.
pub async fn existing(admin: &Admin, names: &[String]) -> Result<Vec<GroupListing>, Failure> {
    let groups = all_groups(admin, &[], &[]).await?;
    let find = |name: &String| match groups.iter().find(|group| group.id == *name) {
        Some(group) => Ok(group.clone()),
        None => {
            let failure = Failure::new(Exit::NotFound, format!("there is no group '{name}'"));
            Err(match suggest::closest(name, groups.iter().map(|group| group.id.as_str())) {
                Some(close) => failure.hint(format!("did you mean '{close}'?")),
                None => failure.hint("ottla group list shows those that there are"),
            })
        }
    };
    names.iter().map(find).collect()
}

/// What a group has committed, of these topics or all.
pub async fn committed(
    admin: &Admin,
    group: &str,
    topics: &[Chosen],
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut offsets = BTreeMap::new();
    for (at, offset) in admin.list_group_offsets(group, None).await? {
        if topics.is_empty() || topics.iter().any(|chosen| chosen.has(&at)) {
            offsets.insert(at, offset?.offset);
        }
    }
    Ok(offsets)
}

/// Partitions of the same topics as these: of one that a group reads it may never have committed anything. What was deleted, or can't
/// be told of, has none.
pub async fn siblings(
    admin: &Admin,
    known: &BTreeSet<TopicPartition>,
    topics: &[Chosen],
) -> Result<Vec<TopicPartition>, Failure> {
    let names: BTreeSet<Arc<str>> = known.iter().map(|at| Arc::clone(&at.topic)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let metadata = admin.client().refresh(Topics::Named(names.iter().cloned().collect())).await?;
    let all = names.iter().filter_map(|name| metadata.topic(name)).flat_map(|topic| partitions_of(topic));
    let is_chosen = |at: &TopicPartition| topics.is_empty() || topics.iter().any(|chosen| chosen.has(at));
    Ok(all.filter(is_chosen).filter(|at| !known.contains(at)).collect())
}

/// Says that there are partitions which a group reads, maybe, but has never committed.
pub fn tell_uncommitted(group: &str, count: usize, context: &mut Context) -> Result<(), Failure> {
    if count == 0 {
        return Ok(());
    }
    let partitions = if count == 1 { "1 partition" } else { &format!("{count} partitions") };
    context.tell(format_args!(
        "Of {partitions} group {group} has committed nothing: its members' auto.offset.reset says where it begins there."
    ))
}

struct Doomed {
    group: String,
    state: String,
    at: Option<TopicPartition>,
    committed: Option<i64>,
}

const DOOMED: &[Column<Doomed>] = &[
    column("group", |of| Cell::text(&of.group)),
    column("state", |of| Cell::text(&of.state)),
    column("topic", |of| Cell::maybe(of.at.as_ref(), |at| Cell::text(&*at.topic))),
    column("partition", |of| Cell::maybe(of.at.as_ref(), |at| Cell::number(at.partition))),
    column("committed", |of| Cell::maybe(of.committed, Cell::Number)),
];

async fn delete(args: &DeleteArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    let mut doomed = Vec::new();
    for group in existing(&admin, &args.groups).await? {
        // Share groups have no offsets of this kind.
        let offsets = match group.kind.eq_ignore_ascii_case("share") {
            true => BTreeMap::new(),
            false => committed(&admin, &group.id, &args.only.topics).await?,
        };
        if offsets.is_empty() && args.only.topics.is_empty() {
            doomed.push(Doomed {
                group: group.id.clone(),
                state: group.state.clone(),
                at: None,
                committed: None,
            });
        }
        let row = |(at, committed)| Doomed {
            group: group.id.clone(),
            state: group.state.clone(),
            at: Some(at),
            committed: Some(committed),
        };
        doomed.extend(offsets.into_iter().map(row));
    }
    context.printer.listing(&Listing::of(DOOMED, &doomed))?;
    if !args.doing.execute {
        return context.tell_preview(&admin);
    }
    context.printer.flush()?;
    if args.only.topics.is_empty() {
        let (deleted, errors) = sorted_out(admin.delete_groups(&args.groups).await);
        for (group, ()) in deleted {
            context.tell(format_args!("Deleted group {group}."))?;
        }
        return all_well(errors);
    }
    let mut errors = Vec::new();
    for group in &args.groups {
        let of = doomed.iter().filter(|of| of.group == *group).filter_map(|of| of.at.clone());
        let partitions: Vec<TopicPartition> = of.collect();
        if !partitions.is_empty() {
            errors.extend(sorted_out(admin.delete_group_offsets(group, &partitions).await?).1);
        }
    }
    all_well(errors)
}
