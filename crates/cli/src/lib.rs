//! Commands for people: topics, records, groups and clusters at a glance.
//!
//! What always holds: data go to standard output and all else to standard error; rows are made once and printed in any format
//! (`output`); what destroys is shown first and done with `--execute`; what is reckoned (places in partitions, plans of changes,
//! lag) is pure. docs/cli.md says the rest: exit codes, formats, offset expressions, profiles.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod cluster;
mod cluster_view;
mod completion;
mod config;
mod connection;
mod error;
mod errors;
mod expr;
mod flags;
mod global;
mod group;
mod output;
mod patterns;
mod profile;
mod progress;
mod records;
mod remedies;
mod setting_names;
mod share;
mod suggest;
#[cfg(test)]
mod tests;
mod top;
mod topic;
mod txn;

use std::io::{self, Write};

use clap::Subcommand;

pub use bench::BenchArgs;
pub use cluster::ClusterArgs;
pub use completion::{CompletionArgs, VARIABLE as COMPLETION_VARIABLE};
pub use config::ConfigArgs;
pub use errors::ErrorsArgs;
pub use group::GroupArgs;
pub use profile::ProfileArgs;
pub use records::consume::ConsumeArgs;
pub use records::produce::ProduceArgs;
pub use share::ShareArgs;
pub use top::TopArgs;
pub use topic::TopicArgs;
pub use txn::TxnArgs;

use error::{Exit, Failure};
use global::{Context, Global};

/// The commands; each is its own module.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Topics: list, describe, create, alter, truncate, delete
    Topic(TopicArgs),
    /// Write records: from arguments, lines, JSON or a file
    Produce(Box<ProduceArgs>),
    /// Read records: all, a range by offset or time, the last ones, or as they come
    Consume(Box<ConsumeArgs>),
    /// Groups of consumers: list, describe, lag, seek, clone, delete
    Group(GroupArgs),
    /// Share groups: list, describe, consume, seek, delete
    Share(ShareArgs),
    /// Transactions: list, describe, producers, abort
    Txn(TxnArgs),
    /// Settings of topics, brokers and groups: show, set, reset, explain
    Config(ConfigArgs),
    /// The cluster: overview, brokers, quorum, features
    Cluster(ClusterArgs),
    /// Write and read records, and tell how fast that went
    Bench(Box<BenchArgs>),
    /// Throughput, hot partitions and lag, as they are now
    Top(TopArgs),
    /// Settings of connections, stored by name
    Profile(ProfileArgs),
    /// What an error code means, and how to mend what it says
    Errors(ErrorsArgs),
    /// Print what a shell is to read to complete commands, with names that the cluster has
    Completion(CompletionArgs),
}

impl Command {
    fn global(&self) -> &Global {
        match self {
            Command::Topic(args) => &args.global,
            Command::Produce(args) => &args.global,
            Command::Consume(args) => &args.global,
            Command::Group(args) => &args.global,
            Command::Share(args) => &args.global,
            Command::Txn(args) => &args.global,
            Command::Config(args) => &args.global,
            Command::Cluster(args) => &args.global,
            Command::Bench(args) => &args.global,
            Command::Top(args) => &args.global,
            Command::Profile(args) => &args.global,
            Command::Errors(args) => &args.global,
            Command::Completion(args) => &args.global,
        }
    }
}

/// Does what a command says; returns the exit code. `program` is how shells are to call this program.
pub fn run(command: &Command, program: &str) -> u8 {
    let mut context = match Context::new(command.global()) {
        Ok(context) => context,
        Err(failure) => return explain(failure),
    };
    let done = run_in(command, program, &mut context);
    match done.and_then(|()| context.printer.flush()) {
        Ok(()) => 0,
        // Whoever reads has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            // What was found before the failure is worth reading.
            let _ = context.printer.flush();
            explain(failure)
        }
    }
}

fn run_in(command: &Command, program: &str, context: &mut Context) -> Result<(), Failure> {
    match command {
        Command::Profile(args) => return profile::run(args, context),
        Command::Errors(args) => return errors::run(args, context),
        Command::Completion(args) => return completion::run(args, program, context),
        _ => {}
    }
    let runtime = match command {
        // The client goes on beside what makes or takes its records.
        Command::Produce(_) | Command::Consume(_) | Command::Share(_) | Command::Bench(_) => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?
        }
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    let done = runtime.block_on(async {
        match command {
            Command::Topic(args) => topic::run(args, context).await,
            Command::Produce(args) => records::produce::run(args, context).await,
            Command::Consume(args) => records::consume::run(args, context).await,
            Command::Group(args) => group::run(args, context).await,
            Command::Share(args) => share::run(args, context).await,
            Command::Txn(args) => txn::run(args, context).await,
            Command::Config(args) => config::run(args, context).await,
            Command::Cluster(args) => cluster::run(args, context).await,
            Command::Bench(args) => bench::run(args, context).await,
            Command::Top(args) => top::run(args, context).await,
            Command::Profile(_) | Command::Errors(_) | Command::Completion(_) => Ok(()),
        }
    });
    // A thread that waits for standard input doesn't end by itself.
    runtime.shutdown_background();
    done
}

fn explain(failure: Failure) -> u8 {
    let exit = failure.exit();
    match failure {
        Failure::Said(problem) => say(&problem.shown()),
        Failure::Silent(_) => {}
        Failure::Output(error) => say(&format!("error: can't write: {error}\n")),
    }
    exit as u8
}

/// Where standard error is gone, nobody is left to tell.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The exit code of a command line that makes no sense.
pub const USAGE_EXIT_CODE: u8 = Exit::Usage as u8;
