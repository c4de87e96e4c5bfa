//! What the flags of kafka-share-groups say, and which don't go together.

use crate::flags::Parsed;
use crate::group_flags::{self, View, usage};
use crate::net::Connection;
use crate::time;
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
    Delete,
    DeleteOffsets {
        topics: Vec<String>,
    },
    Reset(Reset),
}

/// Which offsets are set anew, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    /// `topic` or `topic:1,2`; `None`: all that the group has offsets for.
    pub(super) topics: Option<Vec<String>>,
    pub(super) to: Position,
    pub(super) executes: bool,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Earliest,
    Latest,
    /// In milliseconds.
    At(i64),
}

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
const POSITIONS: [&str; 3] = ["to-datetime", "to-earliest", "to-latest"];
const STATES: [&str; 3] = ["Dead", "Empty", "Stable"];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        check_available(parsed)?;
        check_together(parsed)?;
        let has = |name: &str| parsed.has(&format!("--{name}"));
        if ACTIONS.into_iter().filter(|action| has(action)).count() != 1 {
            let actions = ACTIONS.map(|action| format!("--{action}")).join(", ");
            return usage(format!("Command must include exactly one action: {actions}."));
        }
        let action = match () {
            () if has("list") => Action::List {
                states: group_flags::chosen(parsed, "--state", &STATES, "state list", "states")?,
            },
            () if has("describe") => Action::Describe { view: View::of(parsed), is_verbose: has("verbose") },
            () if has("delete") => Action::Delete,
            () if has("delete-offsets") => {
                Action::DeleteOffsets { topics: parsed.values("--topic").to_vec() }
            }
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

/// Some are there for some actions only.
fn check_available(parsed: &Parsed) -> Result<(), Failure> {
    let flags: [(&str, &[&str]); 4] = [
        ("members", &["describe"]),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("verbose", &["describe"]),
    ];
    flags.into_iter().try_for_each(|(flag, with)| group_flags::check_available(parsed, flag, with))
}

fn check_together(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    let names_groups = has("group") || has("all-groups");
    if !has("bootstrap-server") {
        return usage("Missing required argument \"[bootstrap-server]\"");
    }
    if has("describe") {
        if !names_groups {
            return usage("Option [describe] takes one of these options: [all-groups], [group]");
        }
        group_flags::check_views(parsed)?;
    }
    if has("delete") {
        if !names_groups {
            return usage("Option [delete] takes the options [group] or [all-groups]");
        }
        if has("group") && has("all-groups") {
            return usage("Option [delete] takes either [group] or [all-groups], not both.");
        }
        if has("topic") {
            return usage("Option [delete] does not take the option: [topic]");
        }
    }
    if has("delete-offsets") && !(has("group") && has("topic")) {
        return usage("Option [delete-offsets] takes the following options: [group], [topic]");
    }
    if has("reset-offsets") {
        check_reset(parsed)?;
    }
    group_flags::check_named(parsed)
}

fn check_reset(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    if has("dry-run") && has("execute") {
        return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
    }
    if !has("dry-run") && !has("execute") {
        return usage("Option [reset-offsets] takes the option: [execute] or [dry-run]");
    }
    if !has("group") {
        return usage("Option [reset-offsets] takes the option: [group]");
    }
    if !has("topic") && !has("all-topics") {
        return usage("Option [reset-offsets] takes one of these options: [all-topics], [topic]");
    }
    if !POSITIONS.into_iter().any(has) {
        return usage(
            "Option [reset-offsets] takes one of these options: [to-datetime], [to-earliest], [to-latest]",
        );
    }
    group_flags::check_positions(parsed, &POSITIONS)
}

fn reset(parsed: &Parsed) -> Result<Reset, Failure> {
    let to = match parsed.value("--to-datetime") {
        Some(text) => Position::At(time::parse_instant(text).map_err(Failure::Usage)?),
        None if parsed.has("--to-latest") => Position::Latest,
        None => Position::Earliest,
    };
    let topics = parsed.values("--topic");
    Ok(Reset {
        topics: if topics.is_empty() { None } else { Some(topics.to_vec()) },
        to,
        executes: parsed.has("--execute"),
    })
}
