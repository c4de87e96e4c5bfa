//! `ottla group seek` and `ottla group clone`: offsets of groups, planned first, set with `--execute`.

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, GroupOffset};
use ottla_client::types::TopicPartition;

use super::{CloneArgs, SeekArgs, committed, existing};
use crate::cluster_view::{Chosen, Located, all_well, chosen_of, locate, sorted_out, topics};
use crate::error::{Exit, Failure};
use crate::expr::Place;
use crate::global::Context;
use crate::output::{Cell, Column, Listing, Tone, column};

/// What becomes of the offset of a group in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub at: TopicPartition,
    pub before: Option<i64>,
    pub after: i64,
    /// Records that will be read again; below 0, records that will not be read.
    pub again: Option<i64>,
    pub note: Option<&'static str>,
}

pub const COLUMNS: &[Column<Move>] = &[
    column("topic", |of| Cell::text(&*of.at.topic)),
    column("partition", |of| Cell::number(of.at.partition)),
    column("before", |of| Cell::maybe(of.before, Cell::Number)),
    column("after", |of| Cell::Number(of.after)),
    column("read_again", |of| Cell::maybe(of.again.filter(|again| *again >= 0), Cell::Number)),
    column("left_out", |of| {
        let left_out = of.again.filter(|again| *again < 0);
        Cell::maybe(left_out, |again| Cell::Number(-again)).toned(left_out.map(|_| Tone::Warning))
    }),
    column("note", |of| Cell::maybe(of.note, Cell::text)),
];

const CLAMPED: &str = "the log has no such offset";

/// Where a group goes from where it is.
pub fn moves(
    committed: &BTreeMap<TopicPartition, i64>,
    located: &BTreeMap<TopicPartition, Located>,
) -> Vec<Move> {
    let one = |(at, located): (&TopicPartition, &Located)| {
        let before = committed.get(at).copied();
        let after = located.found.offset;
        // What the log has lost is read by nobody.
        let from = before
            .map(|before| before.clamp(located.known.start, located.known.end.max(located.known.start)));
        Move {
            at: at.clone(),
            before,
            after,
            again: from.map(|from| from - after),
            note: located.found.is_clamped.then_some(CLAMPED),
        }
    };
    located.iter().map(one).collect()
}

pub async fn seek(args: &SeekArgs, context: &mut Context) -> Result<(), Failure> {
    let place = Place::parse(&args.to, context.now_ms).map_err(Failure::usage)?;
    let admin = context.admin().await?;
    let committed = match args.only.topics.is_empty() {
        true => {
            existing(&admin, std::slice::from_ref(&args.group)).await?;
            committed(&admin, &args.group, &[]).await?
        }
        // The group may be new.
        false => committed(&admin, &args.group, &args.only.topics).await.unwrap_or_default(),
    };
    let partitions = match args.only.topics.is_empty() {
        true => committed.keys().cloned().collect(),
        false => partitions(&admin, &args.only.topics).await?,
    };
    if partitions.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("group {} has committed nothing", args.group))
            .hint("--topic TOPIC says where it is to begin"));
    }
    let located = locate(&admin, &partitions, place, &committed, false).await?;
    let moves = moves(&committed, &located);
    carry_out(&admin, &args.group, &moves, args.doing.execute, context).await
}

async fn partitions(admin: &Admin, chosen: &[Chosen]) -> Result<Vec<TopicPartition>, Failure> {
    let mut partitions = Vec::new();
    for chosen in chosen {
        for topic in topics(admin, std::slice::from_ref(&chosen.topic)).await? {
            partitions.extend(chosen_of(&topic, &chosen.partitions)?);
        }
    }
    Ok(partitions)
}

pub async fn clone(args: &CloneArgs, context: &mut Context) -> Result<(), Failure> {
    if args.from == args.to {
        return Err(Failure::usage("a group is no clone of itself: name another one"));
    }
    let admin = context.admin().await?;
    existing(&admin, std::slice::from_ref(&args.from)).await?;
    let source = committed(&admin, &args.from, &args.only.topics).await?;
    if source.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("group {} has committed nothing there", args.from)));
    }
    let target = committed(&admin, &args.to, &args.only.topics).await.unwrap_or_default();
    let moves: Vec<Move> = source
        .iter()
        .map(|(at, &after)| {
            let before = target.get(at).copied();
            Move { at: at.clone(), before, after, again: before.map(|before| before - after), note: None }
        })
        .collect();
    carry_out(&admin, &args.to, &moves, args.doing.execute, context).await
}

async fn carry_out(
    admin: &Admin,
    group: &str,
    moves: &[Move],
    execute: bool,
    context: &mut Context,
) -> Result<(), Failure> {
    context.printer.listing(&Listing::of(COLUMNS, moves))?;
    if !execute {
        return context.tell_preview(admin);
    }
    context.printer.flush()?;
    let offsets = moves.iter().map(|of| (of.at.clone(), GroupOffset::at(of.after))).collect();
    all_well(sorted_out(admin.alter_group_offsets(group, &offsets).await?).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Found, Known};

    #[test]
    fn moves_say_what_is_read_again_and_what_is_left_out() {
        let at = |partition| TopicPartition::new("t", partition);
        let located = |offset, is_clamped| Located {
            known: Known { start: 10, end: 100, at_time: None, committed: None },
            found: Found { offset, is_clamped },
        };
        let committed = BTreeMap::from([(at(0), 50), (at(1), 50), (at(2), 3)]);
        let places = BTreeMap::from([
            (at(0), located(20, false)),
            (at(1), located(100, true)),
            (at(2), located(10, false)),
            (at(3), located(100, false)),
        ]);
        let shown: Vec<_> = moves(&committed, &places)
            .into_iter()
            .map(|of| (of.before, of.after, of.again, of.note))
            .collect();
        assert_eq!(
            shown,
            [
                (Some(50), 20, Some(30), None),
                (Some(50), 100, Some(-50), Some(CLAMPED)),
                (Some(3), 10, Some(0), None),
                (None, 100, None, None),
            ]
        );
    }
}
