//! Loads the coordinators of any Kafka broker, and prints as JSON what they did and how long clients waited:
//!
//! - `commits`: members of `groups` groups with `members` each commit the offsets of `partitions` partitions,
//!   `rate` times a second in all (0: each as soon as its last commit is answered)
//! - `heartbeats`: members of groups of the consumer protocol heartbeat, likewise
//! - `joins`: `members` members join a group of the `protocol` (classic, consumer) at the same moment, until the
//!   `partitions` partitions of a topic are spread over all of them
//! - `transactions`: `producers` producers write a record into each of `partitions` partitions and commit, one transaction
//!   after another; `version` 2 adds partitions by writing to them, 1 asks before
//! - `share`: `members` members of a share group take `records` records and acknowledge them; with a `rate` the records
//!   are written at that pace meanwhile, and it is measured from a record's writing to its acknowledgement
//!
//! Usage: `cargo run --release -p ottla-server --example coordinators -- HOST:PORT CASE [KEY=VALUE...]`. `seconds` is how long
//! to go on, `pid` the broker's process, of which the CPU time is to be told.
//!
//! Every answer is checked: an error, or a partition that nobody or two members hold, ends the run with a failure and
//! no figures.

#![allow(clippy::print_stdout)]

mod classic;
mod client;
mod commits;
mod consumer;
mod figures;
mod heartbeats;
mod joins;
mod options;
mod pace;
mod setup;
mod share;
mod transactions;

use tokio::task::LocalSet;

/// Why a run says nothing.
type Failure = Box<dyn std::error::Error>;
type Outcome<T> = Result<T, Failure>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(case)) = (arguments.next(), arguments.next()) else {
        return Err("usage: coordinators HOST:PORT CASE [KEY=VALUE...]".into());
    };
    let options = options::Options::parse(address, arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = LocalSet::new().block_on(&runtime, async {
        match case.as_str() {
            "commits" => commits::run(&options).await,
            "heartbeats" => heartbeats::run(&options).await,
            "joins" => joins::run(&options).await,
            "transactions" => transactions::run(&options).await,
            "share" => share::run(&options).await,
            other => Err(format!("no case is named {other}").into()),
        }
    })?;
    options.check_all_used()?;
    println!("{}", figures.json());
    Ok(())
}
