//! What the nodes' own log lines are, for who replays a seed: `SIM_LOG=info` or `SIM_LOG=debug` prints them between what the
//! simulator tells, each with its node.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use ottla_types::NodeId;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static NODE: Cell<NodeId> = const { Cell::new(NodeId::NONE) };
}

/// This thread does a node's work from now on.
pub(crate) fn speaks(node: NodeId) {
    NODE.set(node);
}

/// Prints lines from now on, if that is asked for.
pub(crate) fn listen() {
    let level = std::env::var("SIM_LOG").ok().and_then(|level| level.parse::<Level>().ok());
    if let Some(level) = level {
        // One is set already where several seeds are replayed.
        let _ = tracing::subscriber::set_global_default(Printer(level));
    }
}

struct Printer(Level);

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= &self.0
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        eprintln!("    node {}: {} {}:{}", NODE.get(), event.metadata().target(), line.message, line.fields);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string takes everything");
    }
}
