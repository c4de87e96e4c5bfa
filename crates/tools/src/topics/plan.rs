//! What the flags of kafka-topics say, and which don't go together.

use std::collections::{BTreeMap, BTreeSet};

use crate::flags::Parsed;
use crate::net::Connection;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) connection: Connection,
    pub(super) action: Action,
    /// A pattern, but for a topic to be created.
    pub(super) topic: Option<String>,
    pub(super) if_exists: bool,
    pub(super) excludes_internal: bool,
    pub(super) warnings: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Describe(Description),
    Create(Creation),
    Alter { partitions: i32, assignment: String },
    Delete,
}

/// Which partitions are described, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) topic_id: Option<String>,
    pub(super) under_replicated: bool,
    pub(super) unavailable: bool,
    pub(super) under_min_isr: bool,
    pub(super) at_min_isr: bool,
    pub(super) only_overridden: bool,
    pub(super) partitions_max: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Creation {
    pub(super) topic: String,
    pub(super) partitions: Option<i32>,
    pub(super) replication_factor: Option<i32>,
    assignment: String,
    configs: Vec<String>,
    pub(super) if_not_exists: bool,
}

const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];
const INSTEAD: &str = " (To alter topic configurations, the kafka-configs tool can be used.)";
const DELETE_CONFIG: &str = "delete-config option is no longer supported and deprecated since version 4.0. The config will be \
                             fully removed in future releases.";

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if ACTIONS.iter().filter(|action| parsed.has(&format!("--{action}"))).count() != 1 {
            return usage(
                "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
            );
        }
        if !parsed.has("--bootstrap-server") {
            return Err(said("--bootstrap-server must be specified"));
        }
        let (describes, alters) = (parsed.has("--describe"), parsed.has("--alter"));
        if describes && parsed.has("--if-exists") && !parsed.has("--topic") && !parsed.has("--topic-id") {
            return usage("--topic or --topic-id is required to describe a topic");
        }
        if !describes && !parsed.has("--list") && !parsed.has("--topic") {
            return usage("Missing required argument \"[topic]\"");
        }
        if alters {
            if parsed.has("--config") {
                return usage(&format!(
                    "Option combination \"[[config], [bootstrap-server]]\" can't be used with option \"[alter]\"{INSTEAD}"
                ));
            }
            if !parsed.has("--partitions") {
                return usage("Missing required argument \"[partitions]\"");
            }
        }
        check_together(parsed)?;
        let text = |flag| parsed.value(flag).map(str::to_owned);
        Ok(Plan {
            connection: Connection::of(parsed)?,
            action: action(parsed),
            topic: text("--topic"),
            if_exists: parsed.has("--if-exists"),
            excludes_internal: parsed.has("--exclude-internal"),
            warnings: parsed.has("--delete-config").then_some(DELETE_CONFIG).into_iter().collect(),
        })
    }
}

fn action(parsed: &Parsed) -> Action {
    let assignment = parsed.value("--replica-assignment").unwrap_or_default().to_owned();
    if parsed.has("--list") {
        Action::List
    } else if parsed.has("--delete") {
        Action::Delete
    } else if parsed.has("--alter") {
        Action::Alter { partitions: parsed.number("--partitions").unwrap_or_default(), assignment }
    } else if parsed.has("--create") {
        Action::Create(Creation {
            topic: parsed.value("--topic").unwrap_or_default().to_owned(),
            partitions: parsed.number("--partitions"),
            replication_factor: parsed.number("--replication-factor"),
            assignment,
            configs: parsed.values("--config").to_vec(),
            if_not_exists: parsed.has("--if-not-exists"),
        })
    } else {
        /// As the Java client's own.
        const PARTITIONS_MAX: i32 = 2000;
        Action::Describe(Description {
            topic_id: parsed.value("--topic-id").map(str::to_owned),
            under_replicated: parsed.has("--under-replicated-partitions"),
            unavailable: parsed.has("--unavailable-partitions"),
            under_min_isr: parsed.has("--under-min-isr-partitions"),
            at_min_isr: parsed.has("--at-min-isr-partitions"),
            only_overridden: parsed.has("--topics-with-overrides"),
            partitions_max: parsed.number("--partition-size-limit-per-response").unwrap_or(PARTITIONS_MAX),
        })
    }
}

/// Flags, and the actions that they go with.
const ONLY_WITH: &[(&str, &[&str])] = &[
    ("config", &["alter", "create"]),
    ("partitions", &["alter", "create"]),
    ("replication-factor", &["create"]),
    ("replica-assignment", &["alter", "create"]),
];

/// The same, of flags that are looked at after the replicas of a new topic.
const THEN_ONLY_WITH: &[(&str, &[&str])] = &[
    ("under-replicated-partitions", &["describe"]),
    ("under-min-isr-partitions", &["describe"]),
    ("at-min-isr-partitions", &["describe"]),
    ("unavailable-partitions", &["describe"]),
    ("topics-with-overrides", &["describe"]),
    ("if-exists", &["alter", "delete", "describe"]),
    ("if-not-exists", &["create"]),
    ("exclude-internal", &["list", "describe"]),
];

fn check_together(parsed: &Parsed) -> Result<(), Failure> {
    let check = |(flag, with): &(&'static str, &[&'static str])| {
        let others: Vec<&str> = ACTIONS.into_iter().filter(|action| !with.contains(action)).collect();
        parsed.refuse_beside(flag, &others)
    };
    ONLY_WITH.iter().try_for_each(check)?;
    if parsed.has("--create") {
        parsed.refuse_beside("replica-assignment", &["partitions", "replication-factor"])?;
    }
    THEN_ONLY_WITH.iter().try_for_each(check)?;
    let reports = [
        "under-replicated-partitions",
        "under-min-isr-partitions",
        "at-min-isr-partitions",
        "unavailable-partitions",
    ];
    reports.into_iter().try_for_each(|report| parsed.refuse_beside(report, &["topics-with-overrides"]))
}

impl Creation {
    /// Settings as `key=value`.
    pub(super) fn configs(&self) -> Result<BTreeMap<String, String>, String> {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            (!value.is_empty() && !value.contains('=')).then(|| (key.to_owned(), value.to_owned()))
        };
        self.configs.iter().map(pair).collect::<Option<_>>().ok_or_else(|| {
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".".to_owned()
        })
    }

    pub(super) fn assignments(&self) -> Result<Vec<Vec<i32>>, String> {
        assignments(&self.assignment)
    }

    pub(super) fn check_numbers(&self) -> Result<(), String> {
        if self.replication_factor.is_some_and(|factor| !(1..=i32::from(i16::MAX)).contains(&factor)) {
            return Err(format!("The replication factor must be between 1 and {} inclusive", i16::MAX));
        }
        if self.partitions.is_some_and(|partitions| partitions < 1) {
            return Err("The partitions must be greater than 0".to_owned());
        }
        Ok(())
    }
}

/// The brokers of each partition: `1:2,2:3`.
pub(super) fn assignments(text: &str) -> Result<Vec<Vec<i32>>, String> {
    let mut assignments: Vec<Vec<i32>> = Vec::new();
    for (index, list) in text.split(',').filter(|list| !text.is_empty() || !list.is_empty()).enumerate() {
        let id = |id: &str| id.trim().parse().map_err(|_| format!("For input string: \"{}\"", id.trim()));
        let ids: Vec<i32> = list.split(':').map(id).collect::<Result<_, String>>()?;
        let mut seen = BTreeSet::new();
        let mut twice: Vec<String> = ids.iter().filter(|id| !seen.insert(**id)).map(i32::to_string).collect();
        twice.dedup();
        if !twice.is_empty() {
            return Err(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                twice.join(",")
            ));
        }
        if assignments.first().is_some_and(|first| first.len() != ids.len()) {
            return Err(format!("Partition {index} has different replication factor: {ids:?}"));
        }
        assignments.push(ids);
    }
    Ok(assignments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read() {
        assert_eq!(assignments(""), Ok(vec![]));
        assert_eq!(assignments("1:2, 2:1"), Ok(vec![vec![1, 2], vec![2, 1]]));
        for (text, expected) in [
            ("1:1", "Partition replica lists may not contain duplicate entries: 1"),
            ("1,2:1", "Partition 1 has different replication factor: [2, 1]"),
            ("1,x", "For input string: \"x\""),
        ] {
            assert_eq!(assignments(text), Err(expected.to_owned()));
        }
    }
}
