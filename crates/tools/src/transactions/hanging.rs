//! kafka-transactions find-hanging: transactions that are open in a partition, and that no coordinator knows of.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{ActiveProducer, Admin, Results, TransactionDescription};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use super::plan::Search;
use super::{failed, now_ms};
use crate::table::print_tabbed;
use crate::tool::{Failure, Output};

/// Partitions of one answer about topics.
const PARTITIONS_OF_ANSWER: i32 = 2000;
const MS_OF_MINUTE: i64 = 60_000;

/// Open in a partition for longer than any transaction may be.
#[derive(Clone, Debug)]
struct Candidate {
    at: TopicPartition,
    producer: ActiveProducer,
}

pub(super) async fn find(admin: &Admin, search: &Search, output: &mut Output<'_>) -> Result<(), Failure> {
    let partitions = partitions(admin, search).await?;
    let now_ms = now_ms();
    let candidates = candidates(admin, search, &partitions, now_ms).await?;
    let known = if candidates.is_empty() { BTreeMap::new() } else { known(admin, &candidates).await? };
    let hanging = candidates.iter().filter(|of| {
        !known
            .get(&of.producer.producer_id)
            .is_some_and(|transaction| transaction.partitions.contains(&of.at))
    });
    let rows: Vec<Vec<String>> = hanging.map(|of| row(of, now_ms)).collect();
    let header = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    print_tabbed(&header, &rows, output)
}

fn row(of: &Candidate, now_ms: i64) -> Vec<String> {
    let producer = &of.producer;
    vec![
        of.at.topic.to_string(),
        of.at.partition.to_string(),
        producer.producer_id.to_string(),
        producer.producer_epoch.to_string(),
        producer.coordinator_epoch.to_string(),
        producer.current_txn_start_offset.unwrap_or(-1).to_string(),
        producer.last_timestamp.to_string(),
        (now_ms.saturating_sub(producer.last_timestamp) / MS_OF_MINUTE).to_string(),
    ]
}

/// Which the search is limited to.
async fn partitions(admin: &Admin, search: &Search) -> Result<Vec<TopicPartition>, Failure> {
    if let (Some(topic), Some(partition)) = (&search.topic, search.partition) {
        return Ok(vec![TopicPartition::new(topic.as_str(), partition)]);
    }
    let names: Vec<String> = match &search.topic {
        Some(topic) => vec![topic.clone()],
        None => {
            let topics =
                admin.list_topics().await.map_err(|error| failed("Failed to list topics", &error))?;
            topics.iter().map(|topic| topic.name.to_string()).collect()
        }
    };
    let what = format!("Failed to describe {} topics", names.len());
    let described =
        admin.describe_topics(&names, PARTITIONS_OF_ANSWER).await.map_err(|error| failed(&what, &error))?;
    let mut partitions = Vec::new();
    for (name, topic) in described {
        for partition in topic.map_err(|error| failed(&what, &error))?.partitions {
            if search.broker.is_none_or(|broker| partition.replicas.contains(&broker)) {
                partitions.push(TopicPartition::new(name.as_str(), partition.index));
            }
        }
    }
    Ok(partitions)
}

async fn candidates(
    admin: &Admin,
    search: &Search,
    partitions: &[TopicPartition],
    now_ms: i64,
) -> Result<Vec<Candidate>, Failure> {
    let whose = search.broker.map_or_else(String::new, |id| format!(" on broker {id}"));
    let what = format!("Failed to describe producers for {} partitions{whose}", partitions.len());
    let described: Results<TopicPartition, Vec<ActiveProducer>> =
        admin.describe_producers(partitions, search.broker).await.map_err(|error| failed(&what, &error))?;
    let timeout_ms = i64::from(search.timeout_max_minutes) * MS_OF_MINUTE;
    let mut candidates = Vec::new();
    for (at, producers) in described {
        for producer in producers.map_err(|error| failed(&what, &error))? {
            let is_old = now_ms.saturating_sub(producer.last_timestamp) > timeout_ms;
            if producer.current_txn_start_offset.is_some() && is_old {
                candidates.push(Candidate { at: at.clone(), producer });
            }
        }
    }
    Ok(candidates)
}

/// What coordinators know of these producers, by their ids.
async fn known(
    admin: &Admin,
    candidates: &[Candidate],
) -> Result<BTreeMap<i64, TransactionDescription>, Failure> {
    let ids: BTreeSet<i64> = candidates.iter().map(|of| of.producer.producer_id).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let what = format!("Failed to list transactions for {} producers", ids.len());
    let mut known = BTreeMap::new();
    for (_, listed) in admin.list_transactions(&[], &ids, -1, None).await {
        for of in listed.map_err(|error| failed(&what, &error))? {
            match admin.describe_transaction(&of.transactional_id).await {
                Ok(described) => drop(known.insert(described.producer_id, described)),
                Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
                Err(error) => {
                    let what = format!("Failed to describe {} transactions", ids.len());
                    return Err(failed(&what, &error));
                }
            }
        }
    }
    Ok(known)
}
