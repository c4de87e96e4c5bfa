//! What the flags of kafka-streams-groups say, and which don't go together.

use crate::consumer_groups::{POSITIONS, Position, position};
use crate::flags::Parsed;
use crate::group_flags::{self, View, chosen, usage};
use crate::net::Connection;
use crate::tool::Failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) action: Action,
    pub(super) connection: Connection,
    /// `None`: all.
    pub(super) groups: Option<Vec<String>>,
    /// How long a request may take.
    pub(super) timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ids alone, or with states; only of these, if there are any.
    List {
        states: Option<Vec<String>>,
    },
    Describe {
        view: View,
        is_verbose: bool,
    },
    Delete {
        internal_topics: bool,
    },
    DeleteOffsets {
        topics: Topics,
    },
    Reset(Reset),
}

/// Of which topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// All input topics that the group has offsets of.
    All,
    /// `topic` or `topic:1,2`.
    Named(Vec<String>),
}

/// Which offsets are set anew, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) topics: Topics,
    pub(super) to: Position,
    pub(super) executes: bool,
    pub(super) exports: bool,
    pub(super) internal_topics: Internal,
}

/// Which topics that Kafka Streams has made are deleted too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Internal {
    All,
    Named(Vec<String>),
}

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
const STATES: [&str; 6] = ["NotReady", "Assigning", "Dead", "Reconciling", "Stable", "Empty"];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        check_together(parsed)?;
        let has = |name: &str| parsed.has(&format!("--{name}"));
        if ACTIONS.into_iter().filter(|action| has(action)).count() != 1 {
            return usage(
                "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or --delete-offsets.",
            );
        }
        let action = match () {
            () if has("list") => {
                Action::List { states: chosen(parsed, "--state", &STATES, "state list", "states")? }
            }
            () if has("describe") => Action::Describe { view: View::of(parsed), is_verbose: has("verbose") },
            () if has("delete") => Action::Delete { internal_topics: has("delete-all-internal-topics") },
            () if has("delete-offsets") => Action::DeleteOffsets { topics: topics(parsed) },
            () => Action::Reset(reset(parsed)?),
        };
        Ok(Plan {
            action,
            connection: Connection::of(parsed)?,
            groups: if has("all-groups") { None } else { Some(parsed.values("--group").to_vec()) },
            timeout_ms: parsed.number("--timeout").unwrap_or_default(),
        })
    }
}

fn topics(parsed: &Parsed) -> Topics {
    if parsed.has("--all-input-topics") {
        Topics::All
    } else {
        Topics::Named(parsed.values("--input-topic").to_vec())
    }
}

fn check_together(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    let needs_groups = |action: &str| {
        if has(action) && !has("group") && !has("all-groups") {
            return usage(format!("Option [{action}] takes one of these options: [all-groups], [group]"));
        }
        Ok(())
    };
    for (flag, with) in [
        ("members", ["describe"].as_slice()),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("verbose", &["describe"]),
    ] {
        group_flags::check_available(parsed, flag, with)?;
    }
    if !ACTIONS.into_iter().any(has) {
        // It is said elsewhere.
        return Ok(());
    }
    if !has("bootstrap-server") {
        return usage("Missing required argument \"[bootstrap-server]\"");
    }
    needs_groups("describe")?;
    if has("describe") {
        group_flags::check_views(parsed)?;
    }
    needs_groups("delete")?;
    if has("delete") && (has("input-topic") || has("all-input-topics")) {
        return usage("Kafka Streams does not support topic-specific offset deletion from a streams group.");
    }
    if has("delete-offsets") && !(has("group") && (has("input-topic") || has("all-input-topics"))) {
        return usage(
            "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]",
        );
    }
    check_reset(parsed)?;
    needs_groups("reset-offsets")?;
    if has("reset-offsets") {
        group_flags::check_positions(parsed, &POSITIONS)?;
    }
    parsed.refuse_beside("group", &["all-groups"])?;
    parsed.refuse_beside("group", &["list"])?;
    parsed.refuse_beside("input-topic", &["list", "describe"])
}

fn check_reset(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    let decides = has("dry-run") || has("execute");
    if !has("reset-offsets") && decides {
        return usage("Only Option [reset-offsets] accepts [execute] or [dry-run]");
    }
    if has("reset-offsets") && has("dry-run") && has("execute") {
        return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
    }
    if has("reset-offsets") && !decides {
        return usage("Option [reset-offsets] takes the option: [execute] or [dry-run]");
    }
    if has("delete-internal-topic") && !(has("reset-offsets") && has("execute")) {
        return usage("Option [delete-internal-topic] takes [reset-offsets] when [execute] is used.");
    }
    if has("reset-offsets") && has("delete-all-internal-topics") && !has("execute") {
        return usage("Option [delete-all-internal-topics] takes [execute] when [reset-offsets] is used.");
    }
    Ok(())
}

fn reset(parsed: &Parsed) -> Result<Reset, Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    if !["all-input-topics", "input-topic", "from-file"].into_iter().any(has) {
        return usage("One of the reset scopes should be defined: --all-topics, --topic.");
    }
    if !POSITIONS.into_iter().any(has) {
        let positions = POSITIONS.map(|position| format!("[{position}]")).join(", ");
        return usage(format!(
            "Option '[reset-offsets]' requires one of the following scenarios: [{positions}]"
        ));
    }
    Ok(Reset {
        topics: topics(parsed),
        to: position(parsed)?,
        executes: has("execute"),
        exports: has("export"),
        internal_topics: match has("delete-all-internal-topics") {
            true => Internal::All,
            false => Internal::Named(parsed.values("--delete-internal-topic").to_vec()),
        },
    })
}
