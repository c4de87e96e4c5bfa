//! Log lines: to standard error, as much as `RUST_LOG` asks for, and as clients ask for while the node runs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use ottla_server::loggers::{LevelChange, LogLevel, Loggers, NoLoggers, ROOT_LOGGER};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

/// The parts of the program that log. What stands below them, as in `ottla_log::cleaner`, may have a level of its own.
const PARTS: [&str; 11] = [
    "ottla",
    "ottla_broker",
    "ottla_config",
    "ottla_controller",
    "ottla_coordinator",
    "ottla_log",
    "ottla_metadata",
    "ottla_raft",
    "ottla_record",
    "ottla_replica",
    "ottla_server",
];

/// Starts logging: `RUST_LOG` takes a level, or targets with levels, as in `info,ottla_log=debug`. Returns what can change
/// that.
pub fn start() -> Arc<dyn Loggers> {
    let asked = std::env::var("RUST_LOG").ok();
    let parsed = asked.as_deref().map(str::parse::<Targets>).transpose();
    let (filter, error) = match parsed {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    let levels = Levels::of(&filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)));
    let (filter, handle) = reload::Layer::new(levels.filter());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    if let Some(error) = error {
        tracing::warn!(%error, "RUST_LOG is not understood: logging from level info on");
    }
    let put = Box::new(move |filter| {
        if let Err(error) = handle.reload(filter) {
            tracing::error!(%error, "the levels of loggers stay as they are");
        }
    });
    match started {
        Ok(()) => Arc::new(Changeable { levels: Mutex::new(levels), put }),
        // Only one can be started; a second start changes nothing.
        Err(_) => Arc::new(NoLoggers),
    }
}

/// What is logged now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Levels {
    root: LevelFilter,
    /// Of those that have a level of their own.
    own: BTreeMap<String, LevelFilter>,
}

impl Levels {
    fn of(filter: &Targets) -> Levels {
        let own = filter.iter().map(|(target, level)| (target.to_owned(), level)).collect();
        Levels { root: filter.default_level().unwrap_or(LevelFilter::OFF), own }
    }

    fn filter(&self) -> Targets {
        let own = self.own.iter().map(|(target, level)| (target.clone(), *level));
        Targets::new().with_default(self.root).with_targets(own)
    }

    fn of_logger(&self, name: &str) -> LevelFilter {
        let above = self.own.iter().filter(|(target, _)| name.starts_with(target.as_str()));
        above.max_by_key(|(target, _)| target.len()).map_or(self.root, |(_, level)| *level)
    }

    fn described(&self) -> Vec<(String, LogLevel)> {
        let named = PARTS.iter().copied().chain(self.own.keys().map(String::as_str));
        let mut all: BTreeMap<String, LogLevel> =
            named.map(|name| (name.to_owned(), level(self.of_logger(name)))).collect();
        all.insert(ROOT_LOGGER.to_owned(), level(self.root));
        all.into_iter().collect()
    }

    fn change(&mut self, changes: &[LevelChange]) {
        for (name, wanted) in changes {
            match wanted {
                Some(wanted) if name == ROOT_LOGGER => self.root = filter(*wanted),
                Some(wanted) => drop(self.own.insert(name.clone(), filter(*wanted))),
                None => drop(self.own.remove(name)),
            }
        }
    }
}

struct Changeable {
    levels: Mutex<Levels>,
    put: Box<dyn Fn(Targets) + Send + Sync>,
}

impl Loggers for Changeable {
    fn levels(&self) -> Vec<(String, LogLevel)> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).described()
    }

    fn has(&self, name: &str) -> bool {
        let is_part = |part: &&str| {
            name.strip_prefix(*part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        name == ROOT_LOGGER
            || PARTS.iter().any(is_part)
            || self.levels.lock().unwrap_or_else(PoisonError::into_inner).own.contains_key(name)
    }

    fn change(&self, changes: &[LevelChange]) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.change(changes);
        (self.put)(levels.filter());
    }
}

fn level(filter: LevelFilter) -> LogLevel {
    match filter.into_level() {
        None => LogLevel::Fatal,
        Some(tracing::Level::ERROR) => LogLevel::Error,
        Some(tracing::Level::WARN) => LogLevel::Warn,
        Some(tracing::Level::INFO) => LogLevel::Info,
        Some(tracing::Level::DEBUG) => LogLevel::Debug,
        Some(tracing::Level::TRACE) => LogLevel::Trace,
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Fatal => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_has_the_level_of_the_closest_above_it() {
        let targets: Targets = "warn,ottla_log=debug,ottla_log::cleaner=off".parse().unwrap();
        let changeable = Changeable { levels: Mutex::new(Levels::of(&targets)), put: Box::new(|_| {}) };
        let level = |name: &str| {
            let levels = changeable.levels();
            levels.into_iter().find(|(logger, _)| logger == name).map(|(_, level)| level.name())
        };
        assert_eq!((level("root"), level("ottla_raft")), (Some("WARN"), Some("WARN")));
        assert_eq!((level("ottla_log"), level("ottla_log::cleaner")), (Some("DEBUG"), Some("FATAL")));
        assert!(changeable.has("ottla_raft::core") && changeable.has("ottla_log"));
        assert!(!changeable.has("ottla_raftcore") && !changeable.has("") && !changeable.has("kafka.log"));
        let set = |name: &str, level| changeable.change(&[(name.to_owned(), level)]);
        set("root", Some(LogLevel::Error));
        set("ottla_raft::core", Some(LogLevel::Trace));
        set("ottla_log", None);
        assert_eq!((level("ottla_raft"), level("ottla_raft::core")), (Some("ERROR"), Some("TRACE")));
        assert_eq!((level("ottla_log"), level("ottla_log::cleaner")), (Some("ERROR"), Some("FATAL")));
        let filter = changeable.levels.lock().unwrap().filter();
        assert!(filter.would_enable("ottla_raft::core::elections", &tracing::Level::TRACE));
        assert!(!filter.would_enable("ottla_log", &tracing::Level::WARN));
    }

    #[test]
    fn levels_have_names_both_ways() {
        for filter_level in [LevelFilter::OFF, LevelFilter::ERROR, LevelFilter::INFO, LevelFilter::TRACE] {
            assert_eq!(filter(level(filter_level)), filter_level);
        }
    }
}
