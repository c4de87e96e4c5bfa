//! Why nothing acts on a key yet.

use crate::table::Row;

/// Starts of names, and what is missing where they are not acted on: the first that fits counts.
const REASONS: &[(&str, &str)] = &[
    ("unstable.", "there is no API and no feature level here that is not finished"),
    ("allow.everyone.", ACCESS),
    ("authorizer.", ACCESS),
    ("early.start.listeners", "there is no authorizer whose loading a listener could wait for"),
    ("super.users", ACCESS),
    ("alter.config.policy", "policies are Java classes"),
    ("create.topic.policy", "policies are Java classes"),
    ("config.providers", "providers are Java classes"),
    ("client.quota.", QUOTAS),
    ("controller.quota.", QUOTAS),
    ("quota.", QUOTAS),
    ("consumer_byte_rate", QUOTAS),
    ("producer_byte_rate", QUOTAS),
    ("request_percentage", QUOTAS),
    ("controller_mutation_rate", QUOTAS),
    ("connection_creation_rate", QUOTAS),
    ("connection.failed.authentication.", AUTHENTICATION),
    ("connections.max.reauth.", AUTHENTICATION),
    ("delegation.token.", AUTHENTICATION),
    ("principal.builder.", AUTHENTICATION),
    ("sasl.", AUTHENTICATION),
    ("SCRAM-", AUTHENTICATION),
    ("security.", AUTHENTICATION),
    ("ssl.", "connections are not encrypted yet"),
    (
        "controller.quorum.append.linger.",
        "the controller's records are written together as they come: none waits for others",
    ),
    ("controller.performance.", METRICS),
    ("kafka.metrics.", METRICS),
    ("metric", METRICS),
    ("telemetry.", METRICS),
    ("interval.ms", METRICS),
    ("match", METRICS),
    ("controller.socket.", "requests to the controller go by request.timeout.ms"),
    ("follower.fetch.last.tiered.", REMOTE),
    ("local.retention.", REMOTE),
    ("log.local.retention.", REMOTE),
    ("remote.", REMOTE),
    ("rlmm.", REMOTE),
    ("rsm.", REMOTE),
    ("replica.socket.receive.buffer.", "the system chooses the receive buffers of followers' connections"),
    (
        "background.threads",
        "work in the background has one thread a kind, which waits for the disk and not for a processor",
    ),
    (
        "group.coordinator.threads",
        "groups are worked on by the network threads that bring their requests, and where these are many by those that wait for the disk (num.io.threads)",
    ),
    ("group.coordinator.cached.buffer.", BUFFERS),
    ("share.coordinator.cached.buffer.", BUFFERS),
    (
        "share.coordinator.threads",
        "states of share groups are worked on by the threads that bring their requests",
    ),
    ("group.share.assignors", "there is one assignor"),
    ("group.share.persister.", "persisters are Java classes"),
    ("group.streams.", STREAMS),
    ("streams.", STREAMS),
    ("internal.metadata.", "it is for tests of Kafka alone"),
    ("server.max.startup.time.ms", "a start is not given up because it takes long"),
];

const ACCESS: &str = "there are no access rules yet";
const AUTHENTICATION: &str = "clients are not authenticated yet";
const BUFFERS: &str = "buffers for writing are not kept";
const METRICS: &str = "metrics are not collected yet";
const QUOTAS: &str = "there are no quotas yet";
const REMOTE: &str = "there is no remote storage";
const STREAMS: &str = "there are no streams groups yet";

/// What is missing for a row that is not acted on.
pub(crate) fn why_not_acted_on(row: &Row) -> Option<&'static str> {
    REASONS.iter().find(|(start, _)| row.name.starts_with(start)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Neglect, Scope, Table};

    fn waiting() -> impl Iterator<Item = &'static Row> {
        let tables = [Table::Broker, Table::Topic, Table::Group, Table::Entity];
        tables.into_iter().flat_map(Table::rows).filter(|row| !row.acted_on)
    }

    #[test]
    fn every_key_that_nothing_acts_on_has_its_reason() {
        let without: Vec<_> =
            waiting().filter(|row| why_not_acted_on(row).is_none()).map(|row| row.name).collect();
        assert_eq!(without, Vec::<&str>::new());
    }

    /// Logs, offsets, classic groups, sockets, connections and topics are there in full: what is left of their names has to
    /// do with other things.
    #[test]
    fn what_is_there_is_acted_on() {
        const MAY_WAIT: [&str; 2] = [REMOTE, AUTHENTICATION];
        let of_what_is_there = |row: &&Row| {
            let starts = ["log.", "offset", "socket.", "connections.", "max.connection", "queued.max."];
            let is_classic = row.name.starts_with("group.")
                && !["group.coordinator.", "group.consumer.", "group.share.", "group.streams."]
                    .iter()
                    .any(|start| row.name.starts_with(start));
            row.scope == Scope::Topic || is_classic || starts.iter().any(|start| row.name.starts_with(start))
        };
        for row in waiting().filter(of_what_is_there) {
            let why = why_not_acted_on(row).unwrap_or_default();
            assert!(MAY_WAIT.contains(&why), "{} is not acted on: {why}", row.name);
        }
    }

    #[test]
    fn what_must_not_be_neglected_is_either_acted_on_or_refused() {
        for row in waiting().filter(|row| row.neglect == Neglect::Refuse) {
            assert_ne!(row.scope, Scope::Topic, "{}: topics can't refuse to start", row.name);
        }
    }
}
