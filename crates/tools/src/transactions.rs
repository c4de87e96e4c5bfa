//! kafka-transactions: transactions as their coordinators and partitions know them, and those that hang.

mod hanging;
mod plan;

use ottla_client::ClientError;
use ottla_client::admin::{ActiveProducer, Admin, MarkerToAbort};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use crate::flags::Parsed;
use crate::net::message;
use crate::table::print_tabbed;
use crate::time::now_ms;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;
use plan::{Action, Identified};

pub const TOOL: Tool = Tool { name: "kafka-transactions", run: Run::Flags(run) };

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| match &plan.action {
        Action::List { longer_than_ms, pattern } => {
            list(admin, *longer_than_ms, pattern.as_deref(), output).await
        }
        Action::Describe { id } => describe(admin, id, output).await,
        Action::DescribeProducers { at, broker } => describe_producers(admin, at, *broker, output).await,
        Action::Abort { at, by } => abort(admin, at, *by).await,
        Action::FindHanging(search) => hanging::find(admin, search, output).await,
        Action::Terminate { id } => admin
            .fence_producer(id)
            .await
            .map_err(|error| failed(&format!("Failed to force terminate transactionalId `{id}`"), &error)),
    })
}

fn failed(what: &str, error: &ClientError) -> Failure {
    said(format_args!("{what}: {}. Enable debug logging for additional detail.", message(error)))
}

async fn list(
    admin: &Admin,
    longer_than_ms: i64,
    pattern: Option<&str>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (coordinator, listed) in admin.list_transactions(&[], &[], longer_than_ms, pattern).await {
        for of in listed.map_err(|error| failed("Failed to list transactions", &error))? {
            rows.push(vec![
                of.transactional_id,
                coordinator.to_string(),
                of.producer_id.to_string(),
                of.state,
            ]);
        }
    }
    print_tabbed(&["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], &rows, output)
}

async fn describe(admin: &Admin, id: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let described = admin.describe_transaction(id).await.map_err(|error| {
        let unknown = format!(
            "DescribeTransactions request for transactionalId `{id}` failed because the ID could not be found"
        );
        let error = match error.code() {
            Some(code @ ErrorCode::TransactionalIdNotFound) => ClientError::broker(code, Some(unknown), id),
            _ => error,
        };
        failed(&format!("Failed to describe transaction state of transactional-id `{id}`"), &error)
    })?;
    let none = || "None".to_owned();
    let partitions: Vec<String> = described.partitions.iter().map(ToString::to_string).collect();
    let row = vec![
        described.coordinator.to_string(),
        id.to_owned(),
        described.producer_id.to_string(),
        described.producer_epoch.to_string(),
        described.state.clone(),
        described.timeout_ms.to_string(),
        described.start_time_ms.map_or_else(none, |time| time.to_string()),
        described.start_time_ms.map_or_else(none, |time| (now_ms() - time).to_string()),
        partitions.join(","),
    ];
    let header = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    print_tabbed(&header, &[row], output)
}

async fn producers(
    admin: &Admin,
    at: &TopicPartition,
    broker: Option<i32>,
    what: &str,
) -> Result<Vec<ActiveProducer>, Failure> {
    let mut described = admin
        .describe_producers(std::slice::from_ref(at), broker)
        .await
        .map_err(|error| failed(what, &error))?;
    described.remove(at).unwrap_or(Ok(Vec::new())).map_err(|error| failed(what, &error))
}

async fn describe_producers(
    admin: &Admin,
    at: &TopicPartition,
    broker: Option<i32>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let whose = broker.map_or_else(|| "leader".to_owned(), |id| format!("broker {id}"));
    let what = format!("Failed to describe producers for partition {at} on {whose}");
    let rows: Vec<Vec<String>> = producers(admin, at, broker, &what)
        .await?
        .iter()
        .map(|of| {
            vec![
                of.producer_id.to_string(),
                of.producer_epoch.to_string(),
                of.coordinator_epoch.to_string(),
                of.last_sequence.to_string(),
                of.last_timestamp.to_string(),
                of.current_txn_start_offset.map_or_else(|| "None".to_owned(), |offset| offset.to_string()),
            ]
        })
        .collect();
    let header = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    print_tabbed(&header, &rows, output)
}

async fn abort(admin: &Admin, at: &TopicPartition, by: Identified) -> Result<(), Failure> {
    let marker = match by {
        Identified::By(marker) => marker,
        Identified::StartingAt(offset) => {
            let what = format!("Failed to validate producer state for partition {at}");
            let open = producers(admin, at, None, &what).await?;
            let found =
                open.iter().find(|of| of.current_txn_start_offset == Some(offset)).ok_or_else(|| {
                    said(format_args!(
                        "Could not find any open transactions starting at offset {offset} on partition {at}"
                    ))
                })?;
            MarkerToAbort {
                producer_id: found.producer_id,
                producer_epoch: i16::try_from(found.producer_epoch).unwrap_or(i16::MAX),
                coordinator_epoch: found.coordinator_epoch.max(0),
            }
        }
    };
    admin.abort_transaction(at, marker).await.map_err(|error| {
        failed(
            &format!(
                "Failed to abort transaction AbortTransactionSpec(topicPartition={at}, producerId={}, producerEpoch={}, \
                 coordinatorEpoch={})",
                marker.producer_id, marker.producer_epoch, marker.coordinator_epoch
            ),
            &error,
        )
    })
}
