//! `ottla dev`: a cluster of several nodes on this machine, in one command.
//!
//! Each node is a process of its own with a server.properties of its own, so that whatever can be done to a node of a real
//! cluster can be done to it.

mod layout;
mod nodes;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ottla_server::process::{Signals, StopRequests};

use crate::output::tell_line;
use layout::Layout;
use nodes::Nodes;

#[derive(Args, Debug)]
pub struct DevArgs {
    /// How many nodes, each of them broker and controller; 3 for a new cluster
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: Option<u16>,

    /// Where the nodes' settings, data and logs are; made when it isn't there
    #[arg(long, value_name = "DIR", default_value = "./ottla-dev")]
    dir: PathBuf,

    /// The first node's port for clients; each node takes two in a row, the second one for controllers
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    port: u16,

    /// One setting for every node, stronger than its file; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Returns when the cluster has been stopped.
pub fn run(args: &DevArgs) -> Result<bool, String> {
    let layout = Layout::prepare(&args.dir, args.nodes, args.port)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("can't wait for processes: {error}"))?;
    runtime.block_on(serve(&layout, &args.overrides)).map(|()| true)
}

async fn serve(layout: &Layout, overrides: &[String]) -> Result<(), String> {
    let began = Instant::now();
    let mut signals = Signals::listen().map_err(|error| format!("can't listen to signals: {error}"))?;
    let mut nodes = Nodes::start(layout, overrides)?;
    let ready = tokio::select! {
        ready = nodes.ready() => Some(ready),
        () = signals.next() => None,
    };
    let result = match ready {
        None => Ok(()),
        Some(Err(why)) => Err(why),
        Some(Ok(())) => {
            tell_ready(layout, &nodes, began);
            tokio::select! {
                failed = nodes.keep() => Err(failed),
                () = signals.next() => Ok(()),
            }
        }
    };
    let stopped = tokio::select! {
        stopped = nodes.stop() => stopped,
        // Whoever asks twice does not want to wait.
        () = signals.next() => nodes.kill().await,
    };
    result.and(stopped)
}

fn tell_ready(layout: &Layout, nodes: &Nodes, began: Instant) {
    tell_line(&format!(
        "A cluster of {} is ready after {} ms.\n  bootstrap  {}\n  data       {}\n  cluster    {}",
        layout.count(),
        began.elapsed().as_millis(),
        layout.bootstrap(),
        layout.dir().display(),
        layout.cluster_id(),
    ));
    for node in nodes.told() {
        tell_line(&node);
    }
    tell_line("Ctrl-C stops it. A node that is killed is started again after a moment.");
}
