//! The loggers of the process, which BROKER_LOGGER resources show and change (KIP-412). Their levels are nobody's settings: a
//! restart forgets them.

use std::fmt;

use ottla_config::alter::AlterOp;
use ottla_wire::ErrorCode;

/// The logger whose level all others have that have none of their own.
pub const ROOT_LOGGER: &str = "root";

/// From the fewest log lines to the most. `Fatal` is none at all: nothing is logged that ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// In the order in which messages name them.
const LEVELS: [LogLevel; 6] =
    [LogLevel::Debug, LogLevel::Error, LogLevel::Fatal, LogLevel::Info, LogLevel::Trace, LogLevel::Warn];

impl LogLevel {
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Fatal => "FATAL",
            LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
            LogLevel::Debug => "DEBUG",
            LogLevel::Trace => "TRACE",
        }
    }

    pub fn of_name(name: &str) -> Option<LogLevel> {
        LEVELS.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A logger, and the level that it is to have; `None` takes its own away.
pub type LevelChange = (String, Option<LogLevel>);

/// What a process logs. Whoever runs the node has them.
pub trait Loggers: Send + Sync {
    /// Names and levels, in order.
    fn levels(&self) -> Vec<(String, LogLevel)>;
    /// Whether a logger of that name can have a level.
    fn has(&self, name: &str) -> bool;
    fn change(&self, changes: &[LevelChange]);
}

/// For a node whose log lines nobody steers.
#[derive(Clone, Copy, Debug)]
pub struct NoLoggers;

impl Loggers for NoLoggers {
    fn levels(&self) -> Vec<(String, LogLevel)> {
        Vec::new()
    }

    fn has(&self, _: &str) -> bool {
        false
    }

    fn change(&self, _: &[LevelChange]) {}
}

/// What alterations (name, operation's code, value) come to, if all of them are allowed.
pub(crate) fn changes(
    loggers: &dyn Loggers,
    alterations: &[(&str, i8, Option<&str>)],
) -> Result<Vec<LevelChange>, (ErrorCode, String)> {
    alterations.iter().map(|alteration| change(loggers, *alteration)).collect()
}

fn change(
    loggers: &dyn Loggers,
    (name, op, value): (&str, i8, Option<&str>),
) -> Result<LevelChange, (ErrorCode, String)> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    let not_allowed =
        |op: &str| invalid(format!("{op} operation is not allowed for the BROKER_LOGGER resource"));
    let exists = || match loggers.has(name) {
        true => Ok(()),
        false => Err((ErrorCode::InvalidConfig, format!("Logger {name} does not exist!"))),
    };
    match AlterOp::of_id(op) {
        Some(AlterOp::Set) => {
            exists()?;
            let text = value.unwrap_or_default();
            match LogLevel::of_name(text) {
                Some(level) => Ok((name.to_owned(), Some(level))),
                None => Err((
                    ErrorCode::InvalidConfig,
                    format!(
                        "Cannot set the log level of {name} to {text} as it is not a supported log level. Valid log levels \
                         are {}",
                        LEVELS.map(LogLevel::name).join(", ")
                    ),
                )),
            }
        }
        Some(AlterOp::Delete) => {
            exists()?;
            if name == ROOT_LOGGER {
                return invalid("Removing the log level of the root logger is not allowed".to_owned());
            }
            Ok((name.to_owned(), None))
        }
        Some(AlterOp::Append) => not_allowed("APPEND"),
        Some(AlterOp::Subtract) => not_allowed("SUBTRACT"),
        None => invalid(format!("Unknown operation type {op} is not allowed for the BROKER_LOGGER resource")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Loggers for One {
        fn levels(&self) -> Vec<(String, LogLevel)> {
            vec![(ROOT_LOGGER.to_owned(), LogLevel::Info)]
        }

        fn has(&self, name: &str) -> bool {
            name == ROOT_LOGGER || name == "a"
        }

        fn change(&self, _: &[LevelChange]) {}
    }

    #[test]
    fn changes_are_allowed_as_kafka_allows_them() {
        let check = |name: &str,
                     op: i8,
                     value: Option<&str>,
                     expected: Result<Option<LogLevel>, (ErrorCode, &str)>| {
            let found = changes(&One, &[("a", 0, Some("INFO")), (name, op, value)]);
            match (found, expected) {
                (Ok(changes), Ok(level)) => assert_eq!(changes[1], (name.to_owned(), level)),
                (Err((code, message)), Err((expected, text))) => {
                    assert_eq!(code, expected, "{message}");
                    assert!(message.contains(text), "{message}");
                }
                (found, expected) => panic!("{name} {op} {value:?}: {found:?}, not {expected:?}"),
            }
        };
        let (invalid, config) = (ErrorCode::InvalidRequest, ErrorCode::InvalidConfig);
        for level in LEVELS {
            check("a", 0, Some(level.name()), Ok(Some(level)));
        }
        check("root", 0, Some("WARN"), Ok(Some(LogLevel::Warn)));
        check("a", 1, None, Ok(None));
        check("root", 1, None, Err((invalid, "Removing the log level of the root logger is not allowed")));
        check("b", 0, Some("INFO"), Err((config, "Logger b does not exist!")));
        check("", 1, None, Err((config, "Logger  does not exist!")));
        check(
            "a",
            0,
            Some("info"),
            Err((config, "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN")),
        );
        check(
            "a",
            2,
            Some("INFO"),
            Err((invalid, "APPEND operation is not allowed for the BROKER_LOGGER resource")),
        );
        check("a", 3, Some("INFO"), Err((invalid, "SUBTRACT operation is not allowed")));
        check("a", 9, Some("INFO"), Err((invalid, "Unknown operation type 9 is not allowed")));
    }
}
