//! `ottla topic`

mod alter;
mod create;
mod delete;
mod describe;
mod list;
pub(crate) mod plan;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use crate::completion;
use crate::connection::key_value;
use crate::error::Failure;
use crate::flags::Doing;
use crate::global::{Context, Global};

#[derive(Args, Debug)]
pub struct TopicArgs {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    action: TopicAction,
}

#[derive(Subcommand, Debug)]
enum TopicAction {
    /// List topics, or those that match patterns
    List(ListArgs),
    /// Show topics with their partitions and settings
    Describe(DescribeArgs),
    /// Create topics
    Create(CreateArgs),
    /// Change settings of topics, and add partitions
    Alter(AlterArgs),
    /// Delete records from the start of a topic on
    Truncate(TruncateArgs),
    /// Delete topics with all that is in them
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Names, where * stands for anything, as in 'orders*'
    #[arg(value_name = "PATTERN", add = ArgValueCompleter::new(completion::topics))]
    patterns: Vec<String>,
    /// Kafka's own topics too
    #[arg(long)]
    internal: bool,
    /// Only topics with a partition that has no leader, or fewer replicas in sync than it should
    #[arg(long)]
    unhealthy: bool,
}

#[derive(Args, Debug)]
pub struct DescribeArgs {
    #[arg(value_name = "TOPIC", required = true, add = ArgValueCompleter::new(completion::topics))]
    topics: Vec<String>,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// How many partitions; else as the cluster is set up (num.partitions)
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each; else as the cluster is set up (default.replication.factor)
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A setting of the topic, as in -c retention.ms=3600000; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// It is well if a topic is there already
    #[arg(long)]
    if_not_exists: bool,
    /// Only tell whether it could be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub struct AlterArgs {
    #[arg(value_name = "TOPIC", required = true, add = ArgValueCompleter::new(completion::topics))]
    topics: Vec<String>,
    /// A setting and its new value; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// A setting that is to have its default again; may be repeated
    #[arg(long = "reset", value_name = "KEY")]
    resets: Vec<String>,
    /// How many partitions there are to be; fewer than now is not possible
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Do it also where it can't be undone: where records may be deleted, or keys go to other partitions
    #[arg(long)]
    execute: bool,
    /// Only show what would change
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub struct TruncateArgs {
    #[arg(value_name = "TOPIC", add = ArgValueCompleter::new(completion::topics))]
    topic: String,
    /// The first record that stays: an offset, @TIME, -N (the last N), end
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    before: String,
    /// Of these partitions, as in 0,2,5-7; else of all
    #[arg(short, long, value_name = "LIST")]
    partitions: Option<String>,
    #[command(flatten)]
    doing: Doing,
}

#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[arg(value_name = "TOPIC", required = true, add = ArgValueCompleter::new(completion::topics))]
    topics: Vec<String>,
    #[command(flatten)]
    doing: Doing,
}

pub use list::sizes_of_leaders;

pub async fn run(args: &TopicArgs, context: &mut Context) -> Result<(), Failure> {
    match &args.action {
        TopicAction::List(args) => list::run(args, context).await,
        TopicAction::Describe(args) => describe::run(args, context).await,
        TopicAction::Create(args) => create::run(args, context).await,
        TopicAction::Alter(args) => alter::run(args, context).await,
        TopicAction::Truncate(args) => delete::truncate(args, context).await,
        TopicAction::Delete(args) => delete::run(args, context).await,
    }
}
