//! What the flags of kafka-share-groups say, and which don't go together.

use crate::flags::Parsed;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Offsets,
    Members,
    State,
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
            () if has("list") => Action::List { states: states(parsed)? },
            () if has("describe") => Action::Describe {
                view: match () {
                    () if has("members") => View::Members,
                    () if has("state") => View::State,
                    () => View::Offsets,
                },
                is_verbose: has("verbose"),
            },
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

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// Some are there for some actions only.
fn check_available(parsed: &Parsed) -> Result<(), Failure> {
    for (flag, with) in [
        ("members", ["describe", "describe"]),
        ("offsets", ["describe", "describe"]),
        ("state", ["describe", "list"]),
        ("verbose", ["describe", "describe"]),
    ] {
        let has = |name: &str| parsed.has(&format!("--{name}"));
        if has(flag) && !with.into_iter().any(has) {
            return usage(format!(
                "Option(s) [{flag}] are unavailable given other options on the command line"
            ));
        }
    }
    Ok(())
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
        if ["members", "offsets", "state"].into_iter().filter(|view| has(view)).count() > 1 {
            return usage(
                "Option [describe] takes at most one of these options: [members], [offsets], [state]",
            );
        }
        if parsed.value("--state").is_some() {
            return usage("Option [describe] does not take a value for [state]");
        }
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
    parsed.refuse_beside("group", &["all-groups"])?;
    parsed.refuse_beside("group", &["list"])?;
    parsed.refuse_beside("topic", &["list", "describe"])
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
    POSITIONS.into_iter().try_for_each(|position| {
        let others: Vec<&str> = POSITIONS.into_iter().filter(|other| *other != position).collect();
        parsed.refuse_beside(position, &others)
    })
}

/// As the broker writes them; `None` where the flag isn't there, none where it has no value.
fn states(parsed: &Parsed) -> Result<Option<Vec<String>>, Failure> {
    if !parsed.has("--state") {
        return Ok(None);
    }
    let list = parsed.value("--state").unwrap_or_default();
    let names = list.split(',').map(str::trim).filter(|_| !list.is_empty());
    let known =
        |name: &str| STATES.iter().find(|of| of.eq_ignore_ascii_case(name)).map(|of| (*of).to_owned());
    match names.map(known).collect() {
        Some(names) => Ok(Some(names)),
        None => usage(format!("Invalid state list '{list}'. Valid states are: {}", STATES.join(", "))),
    }
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
