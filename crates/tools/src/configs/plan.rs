//! What the flags of kafka-configs say, and which don't go together.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::ResourceType;

use crate::flags::Parsed;
use crate::net::Connection;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) connection: Connection,
    pub(super) action: Action,
    /// Users and clients may be meant together, all others stand alone.
    pub(super) entities: Vec<Entity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Defaults too, or only what was set.
    Describe {
        all: bool,
    },
    Alter {
        add: BTreeMap<String, String>,
        file: Option<String>,
        delete: Vec<String>,
    },
}

/// Whose settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) kind: Kind,
    /// `None`: all; empty: the default of the type.
    pub(super) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Topic,
    Client,
    User,
    Broker,
    Ip,
    ClientMetrics,
    Group,
    BrokerLogger,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Topic,
        Kind::Client,
        Kind::User,
        Kind::Broker,
        Kind::Ip,
        Kind::ClientMetrics,
        Kind::Group,
        Kind::BrokerLogger,
    ];

    /// As `--entity-type` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Topic => "topics",
            Kind::Client => "clients",
            Kind::User => "users",
            Kind::Broker => "brokers",
            Kind::Ip => "ips",
            Kind::ClientMetrics => "client-metrics",
            Kind::Group => "groups",
            Kind::BrokerLogger => "broker-loggers",
        }
    }

    /// As texts have it: without the last letter, whatever that is.
    pub(super) fn singular(self) -> &'static str {
        let name = self.name();
        name.get(..name.len().saturating_sub(1)).unwrap_or(name)
    }

    /// What has settings as a resource; the others have quotas.
    pub(super) fn resource(self) -> Option<ResourceType> {
        match self {
            Kind::Topic => Some(ResourceType::Topic),
            Kind::Broker => Some(ResourceType::Broker),
            Kind::BrokerLogger => Some(ResourceType::BrokerLogger),
            Kind::ClientMetrics => Some(ResourceType::ClientMetrics),
            Kind::Group => Some(ResourceType::Group),
            Kind::Client | Kind::User | Kind::Ip => None,
        }
    }

    fn has_default(self) -> bool {
        matches!(self, Kind::User | Kind::Client | Kind::Broker | Kind::Ip)
    }
}

/// Flags that name an entity, and its type.
const NAMING: [(&str, Kind); 8] = [
    ("--topic", Kind::Topic),
    ("--client", Kind::Client),
    ("--user", Kind::User),
    ("--broker", Kind::Broker),
    ("--broker-logger", Kind::BrokerLogger),
    ("--ip", Kind::Ip),
    ("--client-metrics", Kind::ClientMetrics),
    ("--group", Kind::Group),
];
/// Flags that stand for the default of a type.
const DEFAULTS: [(&str, Kind); 4] = [
    ("--client-defaults", Kind::Client),
    ("--user-defaults", Kind::User),
    ("--broker-defaults", Kind::Broker),
    ("--ip-defaults", Kind::Ip),
];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let alters = parsed.has("--alter");
        if alters == parsed.has("--describe") {
            let text = "Command must include exactly one action: --describe, --alter";
            return Err(Failure::Usage(text.to_owned()));
        }
        parsed.refuse_beside("describe", &["alter", "add-config", "delete-config"])?;
        let kinds = kinds(parsed)?;
        let names = names(parsed);
        check_connection(parsed)?;
        check_names(parsed, &kinds, &names)?;
        let action = if alters { alteration(parsed)? } else { Action::Describe { all: parsed.has("--all") } };
        if alters && kinds.len() != names.len() {
            return Err(said("An entity name must be specified for every entity type"));
        }
        if names.len() > kinds.len() {
            return Err(said("More entity names specified than entity types"));
        }
        let mut names = names.into_iter();
        let entities = kinds.into_iter().map(|kind| Entity { kind, name: names.next() }).collect();
        Ok(Plan { connection: Connection::of(parsed)?, action, entities })
    }
}

fn kinds(parsed: &Parsed) -> Result<Vec<Kind>, Failure> {
    let named = parsed.values("--entity-type").iter().map(|text| {
        let known = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or(text.as_str())
    });
    let flagged = NAMING.iter().chain(&DEFAULTS).filter(|(flag, _)| parsed.has(flag)).map(|of| Ok(of.1));
    let kinds: Vec<Result<Kind, &str>> = named.chain(flagged).collect();
    let mut seen = BTreeSet::new();
    let name = |kind: &Result<Kind, &str>| kind.map_or_else(str::to_owned, |kind| kind.name().to_owned());
    let twice: Vec<String> = kinds.iter().map(name).filter(|name| !seen.insert(name.clone())).collect();
    if !twice.is_empty() {
        return Err(said(format_args!("Duplicate entity type(s) specified: {}", twice.join(","))));
    }
    if !parsed.has("--bootstrap-server") && !parsed.has("--bootstrap-controller") {
        return Err(said("Either --bootstrap-server or --bootstrap-controller must be specified."));
    }
    let kinds: Result<Vec<Kind>, &str> = kinds.into_iter().collect();
    let kinds = kinds.map_err(|unknown| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        said(format_args!(
            "Invalid entity type {unknown}, the entity type must be one of {known} with a --bootstrap-server or \
             --bootstrap-controller argument"
        ))
    })?;
    match kinds.as_slice() {
        [] => Err(said("At least one entity type must be specified")),
        [_] | [Kind::User, Kind::Client] | [Kind::Client, Kind::User] => Ok(kinds),
        _ => Err(said("Only 'users' and 'clients' entity types may be specified together")),
    }
}

/// In the order of the flags; a default has no name.
fn names(parsed: &Parsed) -> Vec<String> {
    let mut named = parsed.values("--entity-name").iter();
    let in_order = parsed.order().iter().filter_map(|flag| match *flag {
        "--entity-name" => named.next().cloned(),
        "--entity-default" => Some(String::new()),
        _ => None,
    });
    let mut names: Vec<String> = in_order.collect();
    let flags = NAMING.iter().filter_map(|(flag, _)| parsed.value(flag).map(str::to_owned));
    names.extend(flags);
    names.extend(DEFAULTS.iter().filter(|(flag, _)| parsed.has(flag)).map(|_| String::new()));
    names
}

fn check_connection(parsed: &Parsed) -> Result<(), Failure> {
    let generic = ["--entity-name", "--entity-type", "--entity-default"];
    let is_generic = generic.into_iter().any(|flag| parsed.has(flag));
    if is_generic && NAMING.iter().chain(&DEFAULTS).any(|(flag, _)| parsed.has(flag)) {
        return Err(said(
            "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
        ));
    }
    if parsed.has("--bootstrap-server") && parsed.has("--bootstrap-controller") {
        return Err(said("Only one of --bootstrap-server or --bootstrap-controller can be specified"));
    }
    Ok(())
}

fn check_names(parsed: &Parsed, kinds: &[Kind], names: &[String]) -> Result<(), Failure> {
    let has = |kind: Kind| kinds.contains(&kind);
    let all = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
    let has_name = names.iter().any(|name| !name.is_empty());
    let has_default = names.iter().any(String::is_empty);
    if has(Kind::Broker) || has(Kind::BrokerLogger) {
        let wrong = names.iter().find(|name| !name.is_empty() && name.parse::<i32>().is_err());
        if let Some(name) = wrong {
            return Err(said(format_args!(
                "The entity name for {all} must be a valid integer broker id, but it is: {name}"
            )));
        }
    }
    if parsed.has("--describe") {
        if !kinds.iter().any(|kind| kind.has_default()) && parsed.has("--entity-default") {
            return Err(said(format_args!(
                "--entity-default must not be specified with --describe of {all}"
            )));
        }
        if has(Kind::BrokerLogger) && !has_name {
            return Err(said(format_args!("An entity name must be specified with --describe of {all}")));
        }
        return Ok(());
    }
    match kinds.iter().any(|kind| kind.has_default()) {
        true if !has_name && !has_default => Err(said(
            "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
        )),
        false if !has_name => {
            Err(said(format_args!("An entity name must be specified with --alter of {all}")))
        }
        _ => Ok(()),
    }
}

fn alteration(parsed: &Parsed) -> Result<Action, Failure> {
    let (adds, adds_file) = (parsed.value("--add-config"), parsed.value("--add-config-file"));
    if adds.is_some() && adds_file.is_some() {
        return Err(said("Only one of --add-config or --add-config-file must be specified"));
    }
    if adds.is_none() && adds_file.is_none() && !parsed.has("--delete-config") {
        return Err(said(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        ));
    }
    let add = adds.map(additions).transpose()?.unwrap_or_default();
    check_keys(&add)?;
    let delete = parsed.values("--delete-config").iter().flat_map(|list| list.split(','));
    Ok(Action::Alter {
        add,
        file: adds_file.map(str::to_owned),
        delete: delete.map(|key| key.trim().to_owned()).collect(),
    })
}

/// `k1=v1,k2=[v1,v2]`
fn additions(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut additions = BTreeMap::new();
    for pair in split_outside_brackets(text, ',') {
        let [key, value] = split_outside_brackets(pair, '=')[..] else {
            return Err(said(
                "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \
                 \"key=[val1,val2]\" to group values which contain commas.",
            ));
        };
        additions.insert(key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
    }
    Ok(additions)
}

/// At signs behind which no bracket is closed before one is opened.
fn split_outside_brackets(text: &str, sign: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(sign) {
        let rest = text.get(at..).unwrap_or_default();
        let is_outside = match (rest.find('['), rest.find(']')) {
            (_, None) => true,
            (Some(opened), Some(closed)) => opened < closed,
            (None, Some(_)) => false,
        };
        if is_outside {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + sign.len_utf8();
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    if sign == ',' {
        // What Java's split leaves out.
        while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    parts
}

/// What may be sent as the name of a setting.
pub(super) fn check_keys(settings: &BTreeMap<String, String>) -> Result<(), Failure> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "$._-".contains(letter);
    match settings.keys().find(|key| !key.chars().all(is_allowed)) {
        Some(key) => Err(said(format_args!("Invalid character found for config key: {key}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_group_values() {
        let read = |text: &str| additions(text).ok().map(|pairs| format!("{pairs:?}"));
        for (text, expected) in [
            ("a=1", Some(r#"{"a": "1"}"#)),
            ("a=1,b=[x,y],c=", Some(r#"{"a": "1", "b": "x,y", "c": ""}"#)),
            ("a = 1 , b = 2", Some(r#"{"a": "1", "b": "2"}"#)),
            ("a=[k=v,l=w]", Some(r#"{"a": "k=v,l=w"}"#)),
            ("a=1,", Some(r#"{"a": "1"}"#)),
            ("a", None),
            ("a=b=c", None),
            ("a=1,,b=2", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
