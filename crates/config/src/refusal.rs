//! Settings that must not be neglected: a node that doesn't act on them doesn't start with them.

use std::fmt;

use crate::config::{Config, Source};
use crate::dynamic::behind_listener_prefix;
use crate::endpoint::SecurityProtocol;
use crate::load::Warning;
use crate::table::{BROKER, Neglect, Row, Table, keys};
use crate::validate;

/// The `replica.selector.class` that sends consumers to replicas in their rack (KIP-392).
pub const RACK_AWARE_REPLICA_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What the program that asks can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supported {
    pub protocols: Vec<SecurityProtocol>,
}

impl Supported {
    /// A node without encryption or authentication.
    pub fn plaintext_node() -> Supported {
        Supported { protocols: vec![SecurityProtocol::Plaintext] }
    }
}

/// A setting that can't be followed, and what neglecting it would mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub name: String,
    /// Hidden if it is sensitive.
    pub value: String,
    pub source: Source,
    pub why: String,
    pub what_to_do: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { name, value, source, why, what_to_do } = self;
        write!(f, "{name}={value} ({source}) is refused: {why}. {what_to_do}.")
    }
}

/// Every setting of `config` that a program which can do `supported` must refuse.
pub fn refusals(config: &Config, supported: &Supported) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> =
        BROKER.iter().filter(|row| neglected(config, row)).map(|row| of_row(config, row.name, row)).collect();
    refusals.extend(of_listeners(config));
    refusals.extend(of_protocols(config, &supported.protocols));
    refusals.extend(of_replica_selector(config));
    refusals
}

/// What to tell about a configuration that isn't refused: internal topics whose replicas nobody has numbered can't be created
/// by a node that stays alone.
pub fn cautions(config: &Config) -> Vec<Warning> {
    let too_many = |row: &&Row| {
        row.acted_on
            && row.name.ends_with(".replication.factor")
            && !config.is_set(row.name)
            && config.value(row).and_then(|value| value.as_i64()).is_some_and(|number| number > 1)
    };
    if !may_be_alone(config) {
        return Vec::new();
    }
    let caution = |row: &Row| Warning::Doubtful {
        text: format!(
            "{} isn't set and is {number} by default: that topic can't be created before there are {number} brokers. Set it to 1 \
             if this is to be the only one",
            row.name,
            number = config.shown(row.name)
        ),
    };
    BROKER.iter().filter(too_many).map(caution).collect()
}

/// No other node is named.
fn may_be_alone(config: &Config) -> bool {
    let roles = config.roles();
    let is_combined = roles.broker && roles.controller;
    is_combined && config.quorum_voters().len() <= 1 && config.quorum_bootstrap_servers().len() <= 1
}

fn neglected(config: &Config, row: &Row) -> bool {
    must_be_acted_on(row) && !config.is_default(row)
}

/// Nothing acts on it, and it must not be neglected.
pub(crate) fn must_be_acted_on(row: &Row) -> bool {
    row.neglect == Neglect::Refuse && !row.acted_on
}

/// What is set for one of the node's listeners alone.
fn of_listeners(config: &Config) -> Vec<Refusal> {
    let Ok(listeners) = config.listeners() else { return Vec::new() };
    let prefixes: Vec<String> = listeners
        .iter()
        .map(|endpoint| format!("listener.name.{}.", endpoint.listener.to_lowercase()))
        .collect();
    let refused = config.settings().filter_map(|(name, setting)| {
        let row = Table::Broker.find(behind_listener_prefix(name)?)?;
        let is_here = prefixes.iter().any(|prefix| name.starts_with(prefix));
        let is_default = validate::parse(row, &setting.text).ok() == row.default_value();
        (is_here && must_be_acted_on(row) && !is_default).then(|| of_row(config, name, row))
    });
    refused.collect()
}

fn of_row(config: &Config, name: &str, row: &Row) -> Refusal {
    let default = row.default_text().unwrap_or("unset");
    refusal(
        config,
        name,
        what_neglect_would_mean(row),
        &format!(
            "Remove it, or set it to its default ({})",
            if default.is_empty() { "empty" } else { default }
        ),
    )
}

/// Why a row that must be acted on, and is not, can't be passed over.
pub(crate) fn what_neglect_would_mean(row: &Row) -> &'static str {
    match row.name {
        "authorizer.class.name" | "super.users" | "allow.everyone.if.no.acl.found" => {
            "there are no access rules yet, so everybody could do everything"
        }
        "principal.builder.class"
        | "security.inter.broker.protocol"
        | "connections.max.reauth.ms"
        | "delegation.token.secret.key" => {
            "nobody is authenticated yet, so everybody could pass for everybody"
        }
        "security.providers" => "security providers are Java classes, which can't be run here",
        "alter.config.policy.class.name" | "create.topic.policy.class.name" => {
            "policies are Java classes, which can't be run here, so what it forbids would be allowed"
        }
        "client.quota.callback.class" => "there are no quotas yet, so clients would not be held to theirs",
        "config.providers" => {
            "providers are Java classes, which can't be run here, so placeholders would be taken for values"
        }
        "remote.log.storage.system.enable" => {
            "there is no remote storage, so segments would be deleted that are to be kept there"
        }
        _ => "nothing acts on it yet, and to neglect it would weaken security or lose data",
    }
}

fn of_protocols(config: &Config, supported: &[SecurityProtocol]) -> Vec<Refusal> {
    let Ok(listeners) = config.listeners() else { return Vec::new() };
    let refused = listeners.into_iter().filter(|endpoint| !supported.contains(&endpoint.protocol));
    refused
        .map(|endpoint| {
            refusal(
                config,
                keys::LISTENERS.name(),
                &format!(
                    "listener {} asks for {}, which isn't served yet, and to serve it without would be insecure",
                    endpoint.listener, endpoint.protocol
                ),
                "Give the listener another protocol (listener.security.protocol.map), or leave it out",
            )
        })
        .collect()
}

/// Of the classes that choose replicas for consumers, the one that Kafka has is known.
fn of_replica_selector(config: &Config) -> Option<Refusal> {
    let class = config.get(keys::REPLICA_SELECTOR_CLASS)?;
    (class != RACK_AWARE_REPLICA_SELECTOR).then(|| {
        refusal(
            config,
            keys::REPLICA_SELECTOR_CLASS.name(),
            "selectors are Java classes, which can't be run here",
            &format!(
                "Remove it, so that consumers fetch from leaders, or set it to {RACK_AWARE_REPLICA_SELECTOR}"
            ),
        )
    })
}

fn refusal(config: &Config, name: &str, why: &str, what_to_do: &str) -> Refusal {
    Refusal {
        name: name.to_owned(),
        value: config.shown(name),
        source: config.source(name).clone(),
        why: why.to_owned(),
        what_to_do: what_to_do.to_owned(),
    }
}

#[cfg(test)]
mod tests;
