//! `ottla txn`: transactions that are open, and how to end those that hang.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use ottla_client::admin::{ActiveProducer, Admin, TransactionDescription, TransactionListing};
use ottla_client::types::TopicPartition;

use crate::cluster_view::{led_partitions_of, topics};
use crate::completion;
use crate::error::{Exit, Failure};
use crate::expr::parse_duration_ms;
use crate::flags::Doing;
use crate::global::{Context, Global};
use crate::output::{Cell, Column, Details, Listing, Tone, column, wide};
use crate::suggest;

#[derive(Args, Debug)]
pub struct TxnArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: TxnAction,
}

#[derive(Subcommand, Debug)]
enum TxnAction {
    /// List transactional ids
    List {
        /// Only those in this state, as in Ongoing or CompleteCommit; may be repeated
        #[arg(long, value_name = "STATE")]
        state: Vec<String>,
        /// Only transactions that have been open for longer, as in 10m
        #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
        longer_than: Option<i64>,
    },
    /// Show transactions with their partitions
    Describe {
        #[arg(value_name = "ID", required = true, add = ArgValueCompleter::new(completion::transactional_ids))]
        ids: Vec<String>,
    },
    /// Show the producers that write to topics, and where transactions are open
    Producers {
        #[arg(value_name = "TOPIC", required = true, add = ArgValueCompleter::new(completion::topics))]
        topics: Vec<String>,
        /// Only producers with an open transaction
        #[arg(long)]
        open: bool,
    },
    /// Abort the transaction of an id, and fence its producer
    Abort {
        #[arg(value_name = "ID", add = ArgValueCompleter::new(completion::transactional_ids))]
        id: String,
        #[command(flatten)]
        doing: Doing,
    },
}

struct Listed {
    listing: TransactionListing,
    coordinator: i32,
}

const LIST: &[Column<Listed>] = &[
    column("transactional_id", |of| Cell::text(&of.listing.transactional_id)),
    column("state", |of| state(&of.listing.state)),
    column("producer_id", |of| Cell::Number(of.listing.producer_id)),
    column("coordinator", |of| Cell::number(of.coordinator)),
];

fn state(state: &str) -> Cell {
    Cell::text(state).toned((state == "Ongoing").then_some(Tone::Warning))
}

struct Described {
    id: String,
    of: TransactionDescription,
    now_ms: i64,
}

const FIELDS: &[Column<Described>] = &[
    column("transactional_id", |of| Cell::text(&of.id)),
    column("state", |of| state(&of.of.state)),
    column("producer_id", |of| Cell::Number(of.of.producer_id)),
    column("producer_epoch", |of| Cell::number(of.of.producer_epoch)),
    column("coordinator", |of| Cell::number(of.of.coordinator.0)),
    column("timeout", |of| Cell::DurationMs(of.of.timeout_ms.into())),
    column("started", |of| Cell::maybe(of.of.start_time_ms, Cell::Time)),
    column("open_for", |of| Cell::maybe(open_since_ms(of), |start| Cell::DurationMs(of.now_ms - start))),
];

/// `None` where it is over: then `started` is of the last one.
fn open_since_ms(of: &Described) -> Option<i64> {
    let is_over = matches!(of.of.state.as_str(), "Empty" | "CompleteCommit" | "CompleteAbort" | "Dead");
    of.of.start_time_ms.filter(|_| !is_over)
}

const PARTITIONS: &[Column<TopicPartition>] =
    &[column("topic", |at| Cell::text(&*at.topic)), column("partition", |at| Cell::number(at.partition))];

struct Producing {
    at: TopicPartition,
    of: ActiveProducer,
    now_ms: i64,
}

const PRODUCERS: &[Column<Producing>] = &[
    column("topic", |of| Cell::text(&*of.at.topic)),
    column("partition", |of| Cell::number(of.at.partition)),
    column("producer_id", |of| Cell::Number(of.of.producer_id)),
    column("epoch", |of| Cell::number(of.of.producer_epoch)),
    column("last_sequence", |of| Cell::number(of.of.last_sequence)),
    column("last_write", |of| Cell::DurationMs((of.now_ms - of.of.last_timestamp).max(0))),
    column("open_since_offset", |of| {
        let start = of.of.current_txn_start_offset;
        Cell::maybe(start, Cell::Number).toned(start.map(|_| Tone::Warning))
    }),
    wide("coordinator_epoch", |of| Cell::number(of.of.coordinator_epoch)),
];

pub async fn run(args: &TxnArgs, context: &mut Context) -> Result<(), Failure> {
    let admin = context.admin().await?;
    match &args.action {
        TxnAction::List { state, longer_than } => {
            let listed = all(&admin, state, longer_than.unwrap_or(-1)).await?;
            context.printer.listing(&Listing::of(LIST, &listed))
        }
        TxnAction::Describe { ids } => {
            let mut details = Vec::new();
            for id in ids {
                details.push(describe(&admin, id, context.now_ms).await?);
            }
            context.printer.details(&details)
        }
        TxnAction::Producers { topics, open } => producers(&admin, topics, *open, context).await,
        TxnAction::Abort { id, doing } => {
            let details = describe(&admin, id, context.now_ms).await?;
            context.printer.details(&[details])?;
            if !doing.execute {
                return context.tell_preview(&admin);
            }
            context.printer.flush()?;
            admin.fence_producer(id).await?;
            context.tell(format_args!("Aborted what {id} had open; its producer is fenced."))
        }
    }
}

async fn all(admin: &Admin, states: &[String], longer_than_ms: i64) -> Result<Vec<Listed>, Failure> {
    let mut rows = Vec::new();
    for (node, listed) in admin.list_transactions(states, &[], longer_than_ms, None).await {
        rows.extend(listed?.into_iter().map(|listing| Listed { listing, coordinator: node.0 }));
    }
    rows.sort_by(|a, b| a.listing.transactional_id.cmp(&b.listing.transactional_id));
    Ok(rows)
}

async fn describe(admin: &Admin, id: &str, now_ms: i64) -> Result<Details, Failure> {
    let of = match admin.describe_transaction(id).await {
        Ok(of) => of,
        Err(error) => {
            let failure = Failure::from(error);
            if failure.exit() != Exit::NotFound {
                return Err(failure);
            }
            let known = all(admin, &[], -1).await?;
            let close = suggest::closest(id, known.iter().map(|of| of.listing.transactional_id.as_str()));
            return Err(match close {
                Some(close) => failure.hint(format!("did you mean '{close}'?")),
                None => failure,
            });
        }
    };
    let partitions = Listing::of(PARTITIONS, &of.partitions);
    let described = Described { id: id.to_owned(), of, now_ms };
    Ok(Details::of(FIELDS, &described).section("partitions", partitions))
}

async fn producers(
    admin: &Admin,
    names: &[String],
    only_open: bool,
    context: &mut Context,
) -> Result<(), Failure> {
    let topics = topics(admin, names).await?;
    let partitions: Vec<TopicPartition> = topics.iter().flat_map(|topic| led_partitions_of(topic)).collect();
    let mut rows = Vec::new();
    for (at, producers) in admin.describe_producers(&partitions, None).await? {
        let now_ms = context.now_ms;
        let row = |of: ActiveProducer| Producing { at: at.clone(), of, now_ms };
        rows.extend(producers?.into_iter().map(row));
    }
    rows.retain(|of: &Producing| !only_open || of.of.current_txn_start_offset.is_some());
    context.printer.listing(&Listing::of(PRODUCERS, &rows))
}
