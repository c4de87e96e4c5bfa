//! Log lines: to standard error, as much as `RUST_LOG` asks for.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Starts logging: `RUST_LOG` takes a level, or targets with levels, as in `info,ottla_log=debug`.
pub fn start() {
    let asked = std::env::var("RUST_LOG").ok();
    let parsed = asked.as_deref().map(str::parse::<Targets>).transpose();
    let (filter, error) = match parsed {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // Only one can be started; a second start changes nothing.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    if let Some(error) = error {
        tracing::warn!(%error, "RUST_LOG is not understood: logging from level info on");
    }
}
