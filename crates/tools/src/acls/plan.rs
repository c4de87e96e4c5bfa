//! What a command line of kafka-acls means.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{ANY, Entry, LITERAL, PREFIXED, Resource, operation};
use crate::acl_words::{OPERATIONS, PATTERN_TYPES, PERMISSIONS, RESOURCE_TYPES, code, name};
use crate::flags::Parsed;
use crate::group_flags::usage;
use crate::net::Connection;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) action: Action,
    pub(super) connection: Connection,
}

/// Rules by what they are about.
pub(super) type Rules = BTreeMap<Resource, BTreeSet<Entry>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    List(Chosen),
    Add(Rules),
    Remove {
        /// Without rules all those of the resources.
        rules: Rules,
        asks: bool,
    },
}

/// Which rules are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// None: all.
    pub(super) resources: BTreeSet<Resource>,
    /// None: all.
    pub(super) principals: BTreeSet<String>,
}

/// Flags that name resources, and of which type.
const NAMED: [(&str, &str); 5] = [
    ("--topic", "TOPIC"),
    ("--group", "GROUP"),
    ("--transactional-id", "TRANSACTIONAL_ID"),
    ("--delegation-token", "DELEGATION_TOKEN"),
    ("--user-principal", "USER"),
];

/// What can be done with resources of a type, beside everything.
const POSSIBLE: [(&str, &[&str]); 6] = [
    (
        "TOPIC",
        &["READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"],
    ),
    ("GROUP", &["READ", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"]),
    (
        "CLUSTER",
        &[
            "CREATE",
            "ALTER",
            "DESCRIBE",
            "CLUSTER_ACTION",
            "DESCRIBE_CONFIGS",
            "ALTER_CONFIGS",
            "IDEMPOTENT_WRITE",
        ],
    ),
    ("TRANSACTIONAL_ID", &["WRITE", "DESCRIBE", "TWO_PHASE_COMMIT"]),
    ("DELEGATION_TOKEN", &["DESCRIBE"]),
    ("USER", &["CREATE_TOKENS", "DESCRIBE_TOKENS"]),
];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        check(parsed)?;
        let pattern = pattern(parsed)?;
        let chosen = Chosen {
            resources: resources(parsed, pattern),
            principals: principals(parsed, "--principal")?.into_iter().collect(),
        };
        let action = match () {
            () if parsed.has("--list") => Action::List(chosen),
            () if parsed.has("--add") => {
                if ![LITERAL, PREFIXED].contains(&pattern) {
                    return usage(format!(
                        "A '--resource-pattern-type' value of '{}' is not valid when adding acls.",
                        name(PATTERN_TYPES, pattern)
                    ));
                }
                let rules = rules(parsed, pattern)?;
                if rules.values().any(BTreeSet::is_empty) {
                    return usage(
                        "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.",
                    );
                }
                Action::Add(rules)
            }
            () => Action::Remove { rules: rules(parsed, pattern)?, asks: !parsed.has("--force") },
        };
        Ok(Plan { action, connection: Connection::of(parsed)? })
    }
}

/// What must be there, and what doesn't go together.
fn check(parsed: &Parsed) -> Result<(), Failure> {
    let has = |name: &str| parsed.has(&format!("--{name}"));
    match (has("bootstrap-server"), has("bootstrap-controller")) {
        (true, true) => {
            return usage("Only one of --bootstrap-server or --bootstrap-controller must be specified");
        }
        (false, false) => {
            return usage("One of --bootstrap-server or --bootstrap-controller must be specified");
        }
        _ => {}
    }
    if ["add", "remove", "list"].into_iter().filter(|action| has(action)).count() != 1 {
        return usage("Command must include exactly one action: --list, --add, --remove. ");
    }
    let excluded: [(&str, &[&str]); 3] = [
        ("list", &["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"]),
        ("producer", &["operation", "deny-principal", "deny-host"]),
        ("consumer", &["operation", "deny-principal", "deny-host"]),
    ];
    excluded.into_iter().try_for_each(|(flag, others)| parsed.refuse_beside(flag, others))?;
    if has("principal") && !has("list") {
        return usage("The --principal option is only available if --list is set");
    }
    if has("producer") && !has("topic") {
        return usage("With --producer you must specify a --topic");
    }
    if has("idempotent") && !has("producer") {
        return usage("The --idempotent option is only available if --producer is set");
    }
    let is_mixed = !has("producer") && (has("cluster") || has("transactional-id"));
    if has("consumer") && (!has("topic") || !has("group") || is_mixed) {
        return usage(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be \
             specified.",
        );
    }
    Ok(())
}

fn pattern(parsed: &Parsed) -> Result<i8, Failure> {
    let text = parsed.value("--resource-pattern-type").unwrap_or_default();
    match code(PATTERN_TYPES, text) {
        Some(code) => Ok(code),
        None => Err(said(format_args!(
            "Cannot parse argument '{text}' of option resource-pattern-type\n\
             It must be any, match, literal or prefixed."
        ))),
    }
}

fn code_of(kind: &str) -> i8 {
    code(RESOURCE_TYPES, kind).unwrap_or_default()
}

fn resources(parsed: &Parsed, pattern: i8) -> BTreeSet<Resource> {
    let mut resources = BTreeSet::new();
    for (flag, kind) in NAMED {
        let of =
            |name: &String| Resource { kind: code_of(kind), name: Some(name.trim().to_owned()), pattern };
        resources.extend(parsed.values(flag).iter().map(of));
    }
    if pattern == LITERAL && (parsed.has("--cluster") || parsed.has("--idempotent")) {
        resources.insert(Resource::cluster());
    }
    resources
}

/// With a type in front of each.
fn principals(parsed: &Parsed, flag: &str) -> Result<Vec<String>, Failure> {
    let principal = |text: &String| {
        let text = text.trim();
        match text.split_once(':') {
            Some((kind, _)) if !kind.is_empty() => Ok(text.to_owned()),
            _ => Err(said(format_args!(
                "expected a string in format principalType:principalName but got {text}"
            ))),
        }
    };
    parsed.values(flag).iter().map(principal).collect()
}

/// For each of those who are allowed or denied something, from each host, each operation.
fn entries(parsed: &Parsed, operations: &[i8]) -> Result<BTreeSet<Entry>, Failure> {
    let mut entries = BTreeSet::new();
    for (kind, permission) in [("allow", "ALLOW"), ("deny", "DENY")] {
        let (principals_flag, hosts_flag) = (format!("--{kind}-principal"), format!("--{kind}-host"));
        let principals = principals(parsed, &principals_flag)?;
        let hosts: Vec<&str> = match parsed.values(&hosts_flag) {
            [] => vec!["*"],
            hosts => hosts.iter().map(|host| host.trim()).collect(),
        };
        for (principal, host) in principals.iter().flat_map(|of| hosts.iter().map(move |host| (of, host))) {
            let entry = |operation: &i8| Entry {
                principal: principal.clone(),
                host: (*host).to_owned(),
                operation: *operation,
                permission: code(PERMISSIONS, permission).unwrap_or_default(),
            };
            entries.extend(operations.iter().map(entry));
        }
    }
    Ok(entries)
}

fn rules(parsed: &Parsed, pattern: i8) -> Result<Rules, Failure> {
    let resources = resources(parsed, pattern);
    if resources.is_empty() {
        return usage(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token \
             <Delegation Token ID>",
        );
    }
    let mut rules = Rules::new();
    let mut grant = |kinds: &[(&str, &[&str])]| -> Result<(), Failure> {
        for (kind, operations) in kinds {
            let operations: Vec<i8> = operations.iter().filter_map(|name| operation(name)).collect();
            let entries = entries(parsed, &operations)?;
            for resource in resources.iter().filter(|resource| resource.kind == code_of(kind)) {
                rules.entry(resource.clone()).or_default().extend(entries.clone());
            }
        }
        Ok(())
    };
    if parsed.has("--producer") {
        grant(&[("TOPIC", &["WRITE", "DESCRIBE", "CREATE"]), ("TRANSACTIONAL_ID", &["WRITE", "DESCRIBE"])])?;
        if parsed.has("--idempotent") {
            grant(&[("CLUSTER", &["IDEMPOTENT_WRITE"])])?;
        }
    }
    if parsed.has("--consumer") {
        grant(&[("TOPIC", &["READ", "DESCRIBE"]), ("GROUP", &["READ"])])?;
    }
    if !parsed.has("--producer") && !parsed.has("--consumer") {
        let entries = entries(parsed, &operations(parsed))?;
        rules = resources.into_iter().map(|resource| (resource, entries.clone())).collect();
    }
    check_possible(&rules)?;
    Ok(rules)
}

fn operations(parsed: &Parsed) -> Vec<i8> {
    let named = match parsed.values("--operation") {
        [] => vec!["All".to_owned()],
        named => named.to_vec(),
    };
    // What isn't known is possible nowhere.
    named.iter().map(|name| operation(name.trim()).unwrap_or_default()).collect()
}

fn check_possible(rules: &Rules) -> Result<(), Failure> {
    let all = operation("ALL").unwrap_or(ANY);
    for (resource, entries) in rules {
        let kind = name(RESOURCE_TYPES, resource.kind);
        let possible = POSSIBLE.iter().find(|(of, _)| *of == kind).map(|(_, possible)| *possible);
        let possible: Vec<&str> = possible.unwrap_or_default().iter().copied().chain(["ALL"]).collect();
        let is_possible =
            |entry: &Entry| entry.operation == all || possible.contains(&name(OPERATIONS, entry.operation));
        if !entries.iter().all(is_possible) {
            return usage(format!("ResourceType {kind} only supports operations [{}]", possible.join(", ")));
        }
    }
    Ok(())
}
