//! What a command line of kafka-reassign-partitions means.

use crate::flags::Parsed;
use crate::net::Connection;
use crate::tool::Failure;

const CLIENT_ID: &str = "reassign-partitions-tool";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) connection: Connection,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Generate { topics_file: String, brokers: String, is_rack_aware: bool },
    Execute(Execute),
    Verify { file: String, preserves_throttles: bool },
    Cancel { file: String, preserves_throttles: bool, timeout_ms: u64 },
    List,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Execute {
    pub(super) file: String,
    /// Beside moves that are under way.
    pub(super) is_additional: bool,
    /// Between brokers; `None`: as it is.
    pub(super) throttle_bytes_per_s: Option<i64>,
    /// Between directories of a broker; `None`: as it is.
    pub(super) dirs_throttle_bytes_per_s: Option<i64>,
    /// For as long it is tried to begin moves between directories.
    pub(super) timeout_ms: u64,
    pub(super) allows_replication_factor_change: bool,
}

/// An action with the flags that it needs, and those that may stand beside it.
struct Rule {
    action: &'static str,
    needs: &'static [&'static str],
    allows: &'static [&'static str],
    /// Controllers can be asked too.
    is_for_controllers: bool,
}

/// In the order in which Kafka's tool names them.
const RULES: [Rule; 5] = [
    Rule {
        action: "generate",
        needs: &["topics-to-move-json-file", "broker-list"],
        allows: &["disable-rack-aware"],
        is_for_controllers: false,
    },
    Rule {
        action: "execute",
        needs: &["reassignment-json-file"],
        allows: &[
            "additional",
            "throttle",
            "replica-alter-log-dirs-throttle",
            "timeout",
            "disallow-replication-factor-change",
        ],
        is_for_controllers: false,
    },
    Rule {
        action: "verify",
        needs: &["reassignment-json-file"],
        allows: &["preserve-throttles"],
        is_for_controllers: false,
    },
    Rule {
        action: "cancel",
        needs: &["reassignment-json-file"],
        allows: &["preserve-throttles", "timeout"],
        is_for_controllers: true,
    },
    Rule { action: "list", needs: &[], allows: &[], is_for_controllers: true },
];

const ALWAYS: [&str; 2] = ["bootstrap-server", "command-config"];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let rule = rule(parsed)?;
        let connection = connection(parsed)?;
        check_flags(parsed, &rule)?;
        let text = |flag: &str| parsed.value(flag).unwrap_or_default().to_owned();
        let file = text("--reassignment-json-file");
        let timeout_ms = parsed.number::<i64>("--timeout").and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
        let limit = |flag| parsed.number::<i64>(flag).filter(|bytes| *bytes >= 0);
        let preserves_throttles = parsed.has("--preserve-throttles");
        let action = match rule.action {
            "generate" => Action::Generate {
                topics_file: text("--topics-to-move-json-file"),
                brokers: text("--broker-list"),
                is_rack_aware: !parsed.has("--disable-rack-aware"),
            },
            "execute" => Action::Execute(Execute {
                file,
                is_additional: parsed.has("--additional"),
                throttle_bytes_per_s: limit("--throttle"),
                dirs_throttle_bytes_per_s: limit("--replica-alter-log-dirs-throttle"),
                timeout_ms,
                allows_replication_factor_change: !parsed.has("--disallow-replication-factor-change"),
            }),
            "verify" => Action::Verify { file, preserves_throttles },
            "cancel" => Action::Cancel { file, preserves_throttles, timeout_ms },
            _ => Action::List,
        };
        Ok(Plan { connection, action })
    }
}

fn rule(parsed: &Parsed) -> Result<Rule, Failure> {
    let is_given = |rule: &Rule| parsed.has(&format!("--{}", rule.action));
    let mut given = RULES.into_iter().filter(is_given);
    match (given.next(), given.next()) {
        (Some(rule), None) => Ok(rule),
        _ => {
            let names: Vec<String> = RULES.iter().map(|rule| format!("--{}", rule.action)).collect();
            let text = format!("Command must include exactly one action: {}", names.join(", "));
            Err(Failure::Usage(text))
        }
    }
}

fn connection(parsed: &Parsed) -> Result<Connection, Failure> {
    let text = match (parsed.has("--bootstrap-server"), parsed.has("--bootstrap-controller")) {
        (true, true) => "Please don't specify both --bootstrap-server and --bootstrap-controller",
        (false, false) => "Please specify either --bootstrap-server or --bootstrap-controller",
        _ => return Ok(Connection::of(parsed)?.named(CLIENT_ID)),
    };
    Err(Failure::Usage(text.to_owned()))
}

fn check_flags(parsed: &Parsed, rule: &Rule) -> Result<(), Failure> {
    if let Some(name) = rule.needs.iter().find(|name| !parsed.has(&format!("--{name}"))) {
        return Err(Failure::Usage(format!("Missing required argument \"[{name}]\"")));
    }
    let fits = |name: &&str| {
        *name == rule.action
            || (*name == "bootstrap-controller" && rule.is_for_controllers)
            || [rule.needs, rule.allows, &ALWAYS[..]].iter().any(|names| names.contains(name))
    };
    let given = parsed.order().iter().map(|flag| flag.trim_start_matches('-'));
    match given.into_iter().find(|name| !fits(name)) {
        Some(name) => Err(Failure::Usage(format!(
            "Option \"[{name}]\" can't be used with action \"[{}]\"",
            rule.action
        ))),
        None => Ok(()),
    }
}
