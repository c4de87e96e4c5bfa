//! What a command line of kafka-delegation-tokens means.

use std::fmt;

use crate::flags::Parsed;
use crate::group_flags::usage;
use crate::net::Connection;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) action: Action,
    pub(super) connection: Connection,
}

/// `User:alice`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) kind: String,
    pub(super) name: String,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Periods of -1 leave it to the broker, or expire at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create { owner: Option<Principal>, renewers: Vec<Principal>, life_ms: i64 },
    Renew { hmac: String, period_ms: i64 },
    Expire { hmac: String, period_ms: i64 },
    Describe { owners: Vec<Principal> },
}

const ACTIONS: [&str; 4] = ["create", "renew", "expire", "describe"];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let has = |name: &str| parsed.has(&format!("--{name}"));
        if ACTIONS.into_iter().filter(|action| has(action)).count() != 1 {
            return usage(
                "Command must include exactly one action: --create, --renew, --expire or --describe",
            );
        }
        check(parsed)?;
        let hmac = || parsed.value("--hmac").unwrap_or_default().to_owned();
        let period_ms = |flag| parsed.number(flag).unwrap_or(-1);
        let action = match () {
            () if has("create") => Action::Create {
                owner: principals(parsed, "--owner-principal")?.into_iter().next(),
                renewers: principals(parsed, "--renewer-principal")?,
                life_ms: period_ms("--max-life-time-period"),
            },
            () if has("renew") => Action::Renew { hmac: hmac(), period_ms: period_ms("--renew-time-period") },
            () if has("expire") => {
                Action::Expire { hmac: hmac(), period_ms: period_ms("--expiry-time-period") }
            }
            () => Action::Describe { owners: principals(parsed, "--owner-principal")? },
        };
        Ok(Plan { action, connection: Connection::of(parsed)? })
    }
}

fn check(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    let required = |names: &[&str]| match names.iter().find(|name| !has(name)) {
        Some(name) => usage(format!("Missing required argument \"[{name}]\"")),
        None => Ok(()),
    };
    required(&["bootstrap-server", "command-config"])?;
    if has("create") {
        required(&["max-life-time-period"])?;
    }
    if has("renew") {
        required(&["hmac", "renew-time-period"])?;
    }
    if has("expire") {
        required(&["hmac", "expiry-time-period"])?;
    }
    let excluded: [(&str, &[&str]); 4] = [
        ("create", &["hmac", "renew-time-period", "expiry-time-period"]),
        ("renew", &["renewer-principal", "max-life-time-period", "expiry-time-period", "owner-principal"]),
        ("expire", &["renewer-principal", "max-life-time-period", "renew-time-period", "owner-principal"]),
        (
            "describe",
            &["renewer-principal", "max-life-time-period", "hmac", "renew-time-period", "expiry-time-period"],
        ),
    ];
    excluded.into_iter().try_for_each(|(flag, others)| parsed.refuse_beside(flag, others))
}

fn principals(parsed: &Parsed, flag: &str) -> Result<Vec<Principal>, Failure> {
    let principal = |text: &String| {
        let text = text.trim();
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() => {
                Ok(Principal { kind: kind.to_owned(), name: name.to_owned() })
            }
            _ => Err(said(format_args!(
                "expected a string in format principalType:principalName but got {text}"
            ))),
        }
    };
    parsed.values(flag).iter().map(principal).collect()
}
