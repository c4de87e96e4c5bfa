//! `ottla share`: share groups, and records as one of their members reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use ottla_client::admin::{Admin, ShareGroupDescription};
use ottla_client::share::{
    AcknowledgeType, AcknowledgementMode, ShareConsumer, ShareConsumerSettings, ShareRecord,
};
use ottla_client::{ClientSettings, Scope};

use crate::cluster_view::{all_well, chosen_of, locate, sorted_out, topics};
use crate::completion;
use crate::error::{Exit, Failure};
use crate::expr::Place;
use crate::flags::{Chosens, Doing};
use crate::global::{Context, Global};
use crate::group::{Lag, MEMBERS, MOVES, Move, all_groups, existing, moves, share_lags, state};
use crate::output::{Cell, Column, Details, Listing, column};
use crate::patterns::Patterns;

#[derive(Args, Debug)]
pub struct ShareArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: ShareAction,
}

#[derive(Subcommand, Debug)]
enum ShareAction {
    /// List share groups
    List {
        /// Names, where * stands for anything
        #[arg(value_name = "PATTERN", add = ArgValueCompleter::new(completion::share_groups))]
        patterns: Vec<String>,
    },
    /// Show share groups with their members and how far they are
    Describe {
        #[arg(value_name = "GROUP", required = true, add = ArgValueCompleter::new(completion::share_groups))]
        groups: Vec<String>,
    },
    /// Read records as a member of a share group
    Consume(ConsumeArgs),
    /// Have a share group begin elsewhere
    Seek(SeekArgs),
    /// Delete share groups
    Delete {
        #[arg(value_name = "GROUP", required = true, add = ArgValueCompleter::new(completion::share_groups))]
        groups: Vec<String>,
        #[command(flatten)]
        doing: Doing,
    },
}

#[derive(Args, Debug)]
pub struct ConsumeArgs {
    #[arg(value_name = "TOPIC", required = true, add = ArgValueCompleter::new(completion::topics))]
    topics: Vec<String>,
    /// As a member of this share group
    #[arg(short, long, value_name = "GROUP", add = ArgValueCompleter::new(completion::share_groups))]
    group: String,
    /// End after so many records; else it goes on until Ctrl-C
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// What becomes of each record that was printed
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    acknowledge: How,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum How {
    /// It is done with
    #[default]
    Accept,
    /// It comes again, to any member
    Release,
    /// It is given up
    Reject,
}

impl How {
    fn kind(self) -> AcknowledgeType {
        match self {
            How::Accept => AcknowledgeType::Accept,
            How::Release => AcknowledgeType::Release,
            How::Reject => AcknowledgeType::Reject,
        }
    }
}

#[derive(Args, Debug)]
pub struct SeekArgs {
    #[arg(value_name = "GROUP", add = ArgValueCompleter::new(completion::share_groups))]
    group: String,
    /// Where it is to begin, in each partition that it has read, or that --topic names: start, end, an offset, -N, +N, @TIME
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: String,
    #[command(flatten)]
    only: Chosens,
    #[command(flatten)]
    doing: Doing,
}

const KIND: &str = "share";

struct Listed {
    group: String,
    state: String,
}

const LIST: &[Column<Listed>] =
    &[column("group", |of| Cell::text(&of.group)), column("state", |of| state(&of.state))];

const FIELDS: &[Column<ShareGroupDescription>] = &[
    column("group", |of| Cell::text(&of.id)),
    column("state", |of| state(&of.state)),
    column("coordinator", |of| Cell::number(of.coordinator.0)),
    column("members_count", |of| Cell::number(of.members.len())),
    column("epoch", |of| Cell::number(of.group_epoch)),
];

const OFFSETS: &[Column<Lag>] = &[
    column("topic", |of| Cell::text(&of.topic)),
    column("partition", |of| Cell::maybe(of.partition, Cell::number)),
    column("start", |of| Cell::maybe(of.committed, Cell::Number)),
    column("lag", |of| Cell::maybe(of.records, Cell::Number)),
    column("lag_seconds", |of| Cell::maybe(of.age_ms, Cell::DurationMs)),
];

const RECORDS: &[Column<ShareRecord>] = &[
    column("topic", |of| Cell::text(of.record.topic())),
    column("partition", |of| Cell::number(of.record.partition())),
    column("offset", |of| Cell::number(of.record.offset.value())),
    column("delivery", |of| Cell::number(of.delivery_count)),
    column("timestamp", |of| Cell::Time(of.record.timestamp.value())),
    column("key", |of| Cell::maybe(of.record.key.clone(), Cell::Content)),
    column("value", |of| Cell::maybe(of.record.value.clone(), Cell::Content)),
];
const WIDTHS: &[usize] = &[12, 9, 8, 8, 24, 12];

pub async fn run(args: &ShareArgs, context: &mut Context) -> Result<(), Failure> {
    if let ShareAction::Consume(args) = &args.action {
        return consume(args, context).await;
    }
    let admin = context.admin().await?;
    match &args.action {
        ShareAction::List { patterns } => {
            let patterns = Patterns::new(patterns)?;
            let groups = all_groups(&admin, &[], &[KIND.to_owned()]).await?;
            let listed: Vec<Listed> = groups
                .into_iter()
                .filter(|group| patterns.match_name(&group.id))
                .map(|group| Listed { group: group.id, state: group.state })
                .collect();
            context.printer.listing(&Listing::of(LIST, &listed))
        }
        ShareAction::Describe { groups } => {
            let details = describe(&admin, groups, context).await?;
            context.printer.details(&details)
        }
        ShareAction::Seek(args) => seek(&admin, args, context).await,
        ShareAction::Delete { groups, doing } => {
            let details = describe(&admin, groups, context).await?;
            context.printer.details(&details)?;
            if !doing.execute {
                return context.tell_preview(&admin);
            }
            context.printer.flush()?;
            let (deleted, errors) = sorted_out(admin.delete_groups(groups).await);
            for (group, ()) in deleted {
                context.tell(format_args!("Deleted share group {group}."))?;
            }
            all_well(errors)
        }
        ShareAction::Consume(_) => Ok(()),
    }
}

/// That they are share groups.
async fn check(admin: &Admin, groups: &[String]) -> Result<(), Failure> {
    for group in existing(admin, groups).await? {
        if !group.kind.eq_ignore_ascii_case(KIND) {
            return Err(Failure::new(
                Exit::NotFound,
                format!("'{}' is no share group: its type is {}", group.id, group.kind),
            )
            .hint("ottla group describe shows groups of consumers"));
        }
    }
    Ok(())
}

async fn describe(admin: &Admin, groups: &[String], context: &mut Context) -> Result<Vec<Details>, Failure> {
    check(admin, groups).await?;
    let settings = context.settings(Scope::Consumer)?;
    let mut details = Vec::new();
    for (name, described) in admin.describe_share_groups(groups).await {
        let described = described?;
        let standings = share_lags(admin, &settings, &name, &[], context.now_ms).await?;
        let of = Details::of(FIELDS, &described).section("members", Listing::of(MEMBERS, &described.members));
        details.push(of.section("offsets", Listing::of(OFFSETS, &standings)));
    }
    Ok(details)
}

async fn seek(admin: &Admin, args: &SeekArgs, context: &mut Context) -> Result<(), Failure> {
    let place = Place::parse(&args.to, context.now_ms).map_err(Failure::usage)?;
    if matches!(place, Place::Committed(_)) {
        return Err(Failure::usage("share groups commit nothing: 'committed' is for groups of consumers"));
    }
    check(admin, std::slice::from_ref(&args.group)).await?;
    let mut before = BTreeMap::new();
    let mut partitions = Vec::new();
    for (at, of) in admin.list_share_group_offsets(&args.group).await? {
        if let Some(of) = of? {
            before.insert(at.clone(), of.start_offset);
        }
        if args.only.topics.is_empty() {
            partitions.push(at);
        }
    }
    for chosen in &args.only.topics {
        for topic in topics(admin, std::slice::from_ref(&chosen.topic)).await? {
            partitions.extend(chosen_of(&topic, &chosen.partitions)?);
        }
    }
    if partitions.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("share group {} has read nothing", args.group))
            .hint("--topic TOPIC says where it is to begin"));
    }
    let located = locate(admin, &partitions, place, &BTreeMap::new(), false).await?;
    let moves: Vec<Move> = moves(&before, &located);
    context.printer.listing(&Listing::of(MOVES, &moves))?;
    if !args.doing.execute {
        return context.tell_preview(admin);
    }
    context.printer.flush()?;
    let offsets = moves.iter().map(|of| (of.at.clone(), of.after)).collect();
    all_well(sorted_out(admin.alter_share_group_offsets(&args.group, &offsets).await?).1)
}

const POLL: Duration = Duration::from_millis(500);
const CLOSING: Duration = Duration::from_secs(5);

async fn consume(args: &ConsumeArgs, context: &mut Context) -> Result<(), Failure> {
    context.said.singles.push(("group.id".to_owned(), args.group.clone()));
    let settings = context.settings(Scope::ShareConsumer)?;
    let mut client = ClientSettings::from_settings(&settings);
    // A misspelt topic must not come into being.
    client.allow_auto_create_topics = false;
    if !settings.is_set("client.id") {
        client.client_id = "ottla-cli".to_owned();
    }
    let mut consumer = ShareConsumer::connect(ShareConsumerSettings {
        client,
        acknowledgement_mode: AcknowledgementMode::Explicit,
        ..ShareConsumerSettings::from_settings(&settings)?
    })
    .await?;
    // A misspelt topic would be waited for.
    topics(&Admin::new(consumer.client().clone()), &args.topics).await?;
    consumer.subscribe(&args.topics)?;
    let mut stream = context.printer.stream(RECORDS, WIDTHS);
    context.printer.text(&stream.begin())?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let read = async {
        while left > 0 {
            for record in consumer.poll(POLL).await? {
                // What isn't printed goes back.
                let kind = if left > 0 { args.acknowledge.kind() } else { AcknowledgeType::Release };
                if left > 0 {
                    let row = stream.row(&record)?;
                    context.printer.text(&row)?;
                    left -= 1;
                }
                consumer.acknowledge(&record, kind)?;
            }
            // First printed, then acknowledged: what is lost in between comes again.
            context.printer.flush()?;
            for outcome in consumer.commit().await? {
                outcome.result?;
            }
        }
        Ok(())
    };
    let done: Result<(), Failure> = tokio::select! {
        done = read => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::Silent(Exit::Interrupted)),
    };
    let ended = context.printer.text(&stream.end());
    consumer.close(CLOSING).await?;
    ended.and(done)
}
