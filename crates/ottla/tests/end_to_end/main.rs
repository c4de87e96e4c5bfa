//! The real program, as its users meet it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod administering;
mod bad_input;
mod clients;
mod cluster;
mod crash;
mod damage;
mod deliveries;
mod dev;
mod disks;
mod faults;
mod groups;
mod life;
mod loggers;
mod many_partitions;
mod nearest;
mod network;
mod producing;
mod quorum;
mod replicated_transactions;
mod replication;
mod server_stop;
mod settings;
mod startup;
mod storage;
mod stress;
mod transactions;
mod upgrade_check;

use std::path::Path;

use ottla_testkit::Launch;

fn launch(dir: &Path) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_ottla"), dir)
}

/// Without a node's settings: for commands.
fn command(dir: &Path, arguments: &[&str]) -> Launch {
    arguments
        .iter()
        .fold(Launch::bare(env!("CARGO_BIN_EXE_ottla"), dir), |launch, argument| launch.argument(argument))
}
