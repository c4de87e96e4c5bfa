//! What went wrong: what failed, why, and how to mend it; and the exit code that says it to scripts.

use std::io;

use ottla_client::ClientError;
use ottla_client::consumer::ConsumerError;
use ottla_client::wire::ErrorCode;

use crate::remedies;

/// Exit codes: documented in docs/cli.md, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something that was asked for was refused, or failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No broker answers, or not in time.
    Unreachable = 3,
    /// There is no topic, group or the like of that name.
    NotFound = 4,
    /// What was measured is above the limit that was given.
    AboveLimit = 5,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Why a command ends with something else than 0.
#[derive(Debug)]
pub enum Failure {
    Said(Box<Problem>),
    /// Everything is said.
    Silent(Exit),
    /// What was to be printed could not be.
    Output(io::Error),
}

/// In words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub exit: Exit,
    /// What failed, and why.
    pub text: String,
    /// How to mend it.
    pub hints: Vec<String>,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure::Said(Box::new(Problem { exit, text: text.into(), hints: Vec::new() }))
    }

    pub fn failed(text: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, text)
    }

    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, text)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        if let Failure::Said(problem) = &mut self {
            problem.hints.push(hint.into());
        }
        self
    }

    pub fn exit(&self) -> Exit {
        match self {
            Failure::Said(problem) => problem.exit,
            Failure::Silent(exit) => *exit,
            Failure::Output(_) => Exit::Failed,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Said(Box::new(problem(&error)))
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Failure {
        match error {
            ConsumerError::Client(error) => error.into(),
            other => Failure::failed(other.to_string()),
        }
    }
}

/// What an error means for whoever typed the command.
pub fn problem(error: &ClientError) -> Problem {
    let exit = match error {
        ClientError::Disconnected { .. }
        | ClientError::TimedOut { .. }
        | ClientError::UnknownNode(_)
        | ClientError::Blocked { .. }
        | ClientError::DeliveryTimedOut { .. } => Exit::Unreachable,
        ClientError::Settings(_) | ClientError::Misuse(_) => Exit::Usage,
        _ => match error.code() {
            Some(code) if is_absence(code) => Exit::NotFound,
            _ => Exit::Failed,
        },
    };
    let mut hints: Vec<String> = error.code().and_then(remedies::of).map(str::to_owned).into_iter().collect();
    if exit == Exit::Unreachable {
        hints.push(
            "is the broker running, and does it listen there? Brokers are named by -b HOST:PORT, OTTLA_BOOTSTRAP_SERVER or a \
             profile (ottla profile list); --timeout waits longer"
                .to_owned(),
        );
    }
    Problem { exit, text: error.to_string(), hints }
}

fn is_absence(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::GroupIdNotFound
            | ErrorCode::TransactionalIdNotFound
            | ErrorCode::ResourceNotFound
    )
}

impl Problem {
    /// As the user reads it.
    pub fn shown(&self) -> String {
        let hints = self.hints.iter().map(|hint| format!("  hint: {hint}\n"));
        format!("error: {}\n{}", self.text, hints.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_why_and_how_to_mend_it() {
        let error = ClientError::broker(ErrorCode::UnknownTopicOrPartition, None, "describing topic a");
        let problem = problem(&error);
        assert_eq!(problem.exit, Exit::NotFound);
        let shown = problem.shown();
        assert!(shown.starts_with("error: describing topic a: UNKNOWN_TOPIC_OR_PARTITION: "), "{shown}");
        assert!(shown.contains("\n  hint: "), "{shown}");
    }

    #[test]
    fn exit_codes_tell_kinds_apart() {
        let gone = ClientError::Disconnected { node: "a:1".into(), why: "refused".into(), is_sent: false };
        for (error, exit) in [
            (gone, Exit::Unreachable),
            (ClientError::broker(ErrorCode::PolicyViolation, None, "a"), Exit::Failed),
            (ClientError::broker(ErrorCode::GroupIdNotFound, None, "a"), Exit::NotFound),
            (ClientError::Misuse("a".into()), Exit::Usage),
        ] {
            assert_eq!(problem(&error).exit, exit, "{error}");
        }
    }
}
