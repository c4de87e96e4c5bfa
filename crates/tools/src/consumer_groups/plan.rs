//! What the flags of kafka-consumer-groups say, and which don't go together.

use ottla_config::parse_iso_duration_ms;

use crate::flags::Parsed;
use crate::group_flags::{self, View, chosen, usage};
use crate::net::Connection;
use crate::time;
use crate::tool::Failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) action: Action,
    /// `None` where nobody is asked.
    pub(super) connection: Option<Connection>,
    pub(super) groups: Groups,
    /// How long a request may take.
    pub(super) timeout_ms: u64,
}

/// Which groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    All,
    Named(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ids alone, or with types and states; only of these, if there are any.
    List {
        kinds: Option<Vec<String>>,
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
    ValidateRegex(String),
}

/// Which offsets are set anew, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    /// `topic` or `topic:1,2`; `None`: all that the group has offsets for.
    pub(super) topics: Option<Vec<String>>,
    pub(super) to: Position,
    pub(super) executes: bool,
    pub(super) exports: bool,
    /// It wasn't said whether to do it.
    pub(super) is_undecided: bool,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Offset(i64),
    Earliest,
    Latest,
    Current,
    ShiftBy(i64),
    /// In milliseconds.
    At(i64),
    /// So many milliseconds ago.
    Ago(i64),
    InFile(String),
}

const ACTIONS: [&str; 6] =
    ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];
pub(crate) const POSITIONS: [&str; 8] = [
    "to-offset",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "shift-by",
    "from-file",
];
const STATES: [&str; 7] =
    ["Assigning", "CompletingRebalance", "Dead", "Empty", "PreparingRebalance", "Reconciling", "Stable"];
const KINDS: [&str; 2] = ["Classic", "Consumer"];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        check_available(parsed)?;
        check_together(parsed)?;
        let has = |name: &str| parsed.has(&format!("--{name}"));
        if ACTIONS.into_iter().filter(|action| has(action)).count() != 1 {
            let actions = ACTIONS.map(|action| format!("--{action}")).join(", ");
            return usage(format!("Command must include exactly one action: {actions}"));
        }
        let action = match () {
            () if has("validate-regex") => {
                Action::ValidateRegex(parsed.value("--validate-regex").unwrap_or_default().to_owned())
            }
            () if has("list") => Action::List {
                kinds: chosen(parsed, "--type", &KINDS, "types list", "types")?,
                states: chosen(parsed, "--state", &STATES, "state list", "states")?,
            },
            () if has("describe") => Action::Describe { view: View::of(parsed), is_verbose: has("verbose") },
            () if has("delete") => Action::Delete,
            () if has("delete-offsets") => {
                Action::DeleteOffsets { topics: parsed.values("--topic").to_vec() }
            }
            () => Action::Reset(reset(parsed)?),
        };
        let asks = !matches!(action, Action::ValidateRegex(_));
        Ok(Plan {
            action,
            connection: if asks { Some(Connection::of(parsed)?) } else { None },
            groups: match has("all-groups") {
                true => Groups::All,
                false => Groups::Named(parsed.values("--group").to_vec()),
            },
            timeout_ms: parsed.number("--timeout").unwrap_or_default(),
        })
    }
}

/// Some are there for some actions only.
fn check_available(parsed: &Parsed) -> Result<(), Failure> {
    let flags: [(&str, &[&str]); 5] = [
        ("members", &["describe"]),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("type", &["list"]),
        ("verbose", &["describe"]),
    ];
    flags.into_iter().try_for_each(|(flag, with)| group_flags::check_available(parsed, flag, with))
}

fn check_together(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    let needs_groups = |action: &str| {
        if has(action) && !has("group") && !has("all-groups") {
            return usage(format!("Option [{action}] takes one of these options: [all-groups], [group]"));
        }
        Ok(())
    };
    if !has("validate-regex") && !has("bootstrap-server") {
        return usage("Missing required argument \"[bootstrap-server]\"");
    }
    needs_groups("describe")?;
    if has("describe") {
        group_flags::check_views(parsed)?;
    }
    needs_groups("delete")?;
    if has("delete") && has("topic") {
        return usage("The consumer does not support topic-specific offset deletion from a consumer group.");
    }
    if has("delete-offsets") && !(has("group") && has("topic")) {
        return usage("Option [delete-offsets] takes the following options: [topic], [group]");
    }
    if has("reset-offsets") {
        if has("dry-run") && has("execute") {
            return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
        }
        needs_groups("reset-offsets")?;
        group_flags::check_positions(parsed, &POSITIONS)?;
    }
    group_flags::check_named(parsed)
}

fn reset(parsed: &Parsed) -> Result<Reset, Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    if !has("all-topics") && !has("topic") && !has("from-file") {
        return usage("One of the reset scopes should be defined: --all-topics, --topic.");
    }
    Ok(Reset {
        topics: if has("all-topics") { None } else { Some(parsed.values("--topic").to_vec()) },
        to: position(parsed)?,
        executes: has("execute") && !has("dry-run"),
        exports: has("export"),
        is_undecided: !has("execute") && !has("dry-run"),
    })
}

/// What the flags say of where offsets are set to.
pub(crate) fn position(parsed: &Parsed) -> Result<Position, Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    let text = |name: &str| parsed.value(name).unwrap_or_default().to_owned();
    let number = |name: &str| parsed.number(name).unwrap_or_default();
    Ok(match () {
        () if has("to-offset") => Position::Offset(number("--to-offset")),
        () if has("to-earliest") => Position::Earliest,
        () if has("to-latest") => Position::Latest,
        () if has("shift-by") => Position::ShiftBy(number("--shift-by")),
        () if has("to-datetime") => {
            Position::At(time::parse_instant(&text("--to-datetime")).map_err(Failure::Usage)?)
        }
        () if has("by-duration") => Position::Ago(
            parse_iso_duration_ms(&text("--by-duration"))
                .ok_or_else(|| Failure::Usage("Text cannot be parsed to a Duration".to_owned()))?,
        ),
        () if has("from-file") => Position::InFile(text("--from-file")),
        () if has("to-current") => Position::Current,
        () => {
            let positions = POSITIONS.map(|position| format!("[{position}]")).join(", ");
            return usage(format!(
                "Option '[reset-offsets]' requires one of the following scenarios: {positions}"
            ));
        }
    })
}
