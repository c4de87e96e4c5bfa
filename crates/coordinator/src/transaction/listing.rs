//! Which transactions there are, and how they stand (KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Timestamp;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_transactions_response::{Topic, TransactionState as Described};
use ottla_wire::messages::list_transactions_response::TransactionState as Listed;
use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};

use super::metadata::{Status, TransactionMetadata};
use super::shard::{TransactionShard, TransactionTurn};
use super::state::TransactionState;
use crate::pattern::{Effort, NamePattern};

/// States that Kafka has names for and keeps none of for longer than a moment.
const PASSING_STATES: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// What ListTransactions asks for.
#[derive(Clone, Debug)]
pub(super) struct ListFilter {
    /// `None`: any.
    states: Option<Vec<Status>>,
    producer_ids: Vec<i64>,
    /// Transactions that began longer ago than this; negative: any.
    duration_ms: i64,
    pattern: Option<Arc<NamePattern>>,
}

impl ListFilter {
    /// The filter, and the names of states that there are not.
    pub(super) fn new(request: ListTransactionsRequest) -> Result<(ListFilter, Vec<String>), ErrorCode> {
        let pattern = request.transactional_id_pattern.filter(|pattern| !pattern.is_empty());
        let pattern = pattern.map(|pattern| NamePattern::new(&pattern, &mut Effort::default())).transpose();
        let pattern = pattern.map_err(|_| ErrorCode::InvalidRegularExpression)?.map(Arc::new);
        let states = request.state_filters.iter().filter_map(|name| Status::from_name(name)).collect();
        let is_any_state = request.state_filters.is_empty();
        let is_unknown =
            |name: &String| Status::from_name(name).is_none() && !PASSING_STATES.contains(&name.as_str());
        let filter = ListFilter {
            states: (!is_any_state).then_some(states),
            producer_ids: request.producer_id_filters,
            duration_ms: request.duration_filter,
            pattern,
        };
        Ok((filter, request.state_filters.into_iter().filter(is_unknown).collect()))
    }

    fn accepts(&self, metadata: &TransactionMetadata, now: Timestamp) -> bool {
        let lasts_ms = now.0.saturating_sub(metadata.start.0);
        (self.producer_ids.is_empty() || self.producer_ids.contains(&metadata.producer.id.0))
            && self.states.as_ref().is_none_or(|states| states.contains(&metadata.status))
            && (self.duration_ms < 0 || lasts_ms > self.duration_ms)
    }

    /// Fails where the pattern takes too much work.
    pub(super) fn list(&self, state: &TransactionState, now: Timestamp) -> Result<Vec<Listed>, ErrorCode> {
        let mut matcher = self.pattern.as_ref().map(|pattern| pattern.matcher());
        let mut effort = Effort::default();
        effort.allow_names(state.by_id.iter().map(|(id, _)| id.len()).sum());
        let mut listed = Vec::new();
        for (id, metadata) in state.by_id.iter().filter(|(_, metadata)| self.accepts(metadata, now)) {
            let matches = matcher.as_mut().map_or(Ok(true), |matcher| matcher.matches(id, &mut effort));
            if matches.map_err(|_| ErrorCode::InvalidRegularExpression)? {
                listed.push(Listed {
                    transactional_id: id.to_string(),
                    producer_id: metadata.producer.id.0,
                    transaction_state: metadata.status.name().to_owned(),
                    ..Listed::default()
                });
            }
        }
        Ok(listed)
    }
}

impl TransactionShard {
    /// A transaction that is being ended has the partitions that still wait for their marker.
    pub(super) fn describe(&self, turn: &TransactionTurn<'_>, transactional_id: String) -> Described {
        let Some(metadata) = turn.committed.get(&transactional_id) else {
            return described_error(transactional_id, ErrorCode::TransactionalIdNotFound);
        };
        let ending =
            self.ending.get(transactional_id.as_str()).filter(|_| metadata.status.prepared().is_some());
        let partitions = ending.map_or(&*metadata.partitions, |ending| &ending.remaining);
        let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().push(partition.partition);
        }
        let topic = |(topic, partitions): (&Arc<str>, Vec<i32>)| Topic {
            topic: topic.to_string(),
            partitions,
            ..Topic::default()
        };
        Described {
            transactional_id,
            transaction_state: metadata.status.name().to_owned(),
            transaction_timeout_ms: metadata.timeout_ms,
            transaction_start_time_ms: metadata.start.0,
            producer_id: metadata.producer.id.0,
            producer_epoch: metadata.producer.epoch.0,
            topics: topics.into_iter().map(topic).collect(),
            ..Described::default()
        }
    }
}

pub(super) fn described_error(transactional_id: String, code: ErrorCode) -> Described {
    Described { error_code: code.code(), transactional_id, ..Described::default() }
}

pub(super) fn list_error(code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse { error_code: code.code(), ..ListTransactionsResponse::default() }
}
