//! What the flags of kafka-transactions say, and which don't go together.

use ottla_client::admin::MarkerToAbort;
use ottla_types::TopicPartition;

use crate::flags::Parsed;
use crate::net::Connection;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) connection: Connection,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A duration below 0 means all.
    List {
        longer_than_ms: i64,
        pattern: Option<String>,
    },
    Describe {
        id: String,
    },
    DescribeProducers {
        at: TopicPartition,
        broker: Option<i32>,
    },
    Abort {
        at: TopicPartition,
        by: Identified,
    },
    FindHanging(Search),
    Terminate {
        id: String,
    },
}

/// Which transaction is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identified {
    StartingAt(i64),
    By(MarkerToAbort),
}

/// Where hanging transactions are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) broker: Option<i32>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    /// Longer than any transaction may be open.
    pub(super) timeout_max_minutes: i32,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let text = |flag| parsed.value(flag).unwrap_or_default().to_owned();
        let at = || TopicPartition::new(text("--topic"), parsed.number("--partition").unwrap_or_default());
        let action = match parsed.command() {
            Some("describe") => Action::Describe { id: text("--transactional-id") },
            Some("describe-producers") => {
                Action::DescribeProducers { at: at(), broker: parsed.number("--broker-id") }
            }
            Some("abort") => Action::Abort { at: at(), by: identified(parsed)? },
            Some("find-hanging") => Action::FindHanging(search(parsed)?),
            Some("forceTerminateTransaction") => Action::Terminate { id: text("--transactionalId") },
            _ => Action::List {
                longer_than_ms: parsed.number("--duration-filter").unwrap_or(-1),
                pattern: parsed.value("--transactional-id-pattern").map(str::to_owned),
            },
        };
        Ok(Plan { connection: Connection::of(parsed)?, action })
    }
}

fn identified(parsed: &Parsed) -> Result<Identified, Failure> {
    if let Some(offset) = parsed.number("--start-offset") {
        return Ok(Identified::StartingAt(offset));
    }
    let producer_id = parsed.number("--producer-id").ok_or_else(|| {
        said(
            "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or \
             with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
        )
    })?;
    let missing = |flag: &str| said(format_args!("Missing required argument {flag}"));
    Ok(Identified::By(MarkerToAbort {
        producer_id,
        producer_epoch: parsed.number("--producer-epoch").ok_or_else(|| missing("--producer-epoch"))?,
        coordinator_epoch: parsed
            .number("--coordinator-epoch")
            .ok_or_else(|| missing("--coordinator-epoch"))?,
    }))
}

fn search(parsed: &Parsed) -> Result<Search, Failure> {
    let search = Search {
        broker: parsed.number("--broker-id"),
        topic: parsed.value("--topic").map(str::to_owned),
        partition: parsed.number("--partition"),
        timeout_max_minutes: parsed.number("--max-transaction-timeout").unwrap_or_default(),
    };
    if search.broker.is_none() && search.topic.is_none() {
        return Err(said(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    if search.topic.is_none() && search.partition.is_some() {
        return Err(said("The --partition argument requires --topic to be provided"));
    }
    Ok(search)
}
