//! Moves are begun, and ended before their time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_client::admin::{Admin, PartitionReassignment};
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use tokio::time::Instant;

use super::file::{Assignment, Moves, Replica, joined, json, name_of};
use super::plan::Execute;
use super::throttles;
use super::verify::{DirState, current_dirs, dir_states};
use super::{Wrong, assignment_of_topics, topics_of};
use crate::net::message;
use crate::tool::{Failure, Output};

const PAUSE: Duration = Duration::from_millis(100);

const NOT_BESIDE_OTHERS: &str = "Cannot execute because there is an existing partition assignment.  Use --additional to \
     override this and create a new partition assignment in addition to the existing one. The --additional flag can also be \
     used to change the throttle by resubmitting the current reassignment.";

const VERIFY_LATER: &str = "Warning: You must run --verify periodically, until the reassignment completes, to ensure the \
     throttle is removed.";

pub(super) async fn execute(
    admin: &Admin,
    wanted: &Execute,
    proposed: &Assignment,
    dirs: &BTreeMap<Replica, String>,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let under_way = admin.list_reassignments(None).await?;
    if !wanted.is_additional && !under_way.is_empty() {
        return Err(Wrong::Plain(NOT_BESIDE_OTHERS.to_owned()));
    }
    check_brokers(admin, proposed).await?;
    let current = current_of(admin, proposed).await?;
    output.line(format_args!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during \
         rollback",
        json(&current, &current_dirs(admin, &current).await)
    ))?;
    limit(admin, wanted, proposed, dirs, &under_way, &current, output).await?;
    begin(admin, wanted, proposed, output).await?;
    begin_dirs(admin, dirs, wanted.timeout_ms, output).await
}

async fn limit(
    admin: &Admin,
    wanted: &Execute,
    proposed: &Assignment,
    dirs: &BTreeMap<Replica, String>,
    under_way: &BTreeMap<TopicPartition, PartitionReassignment>,
    current: &Assignment,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    if wanted.throttle_bytes_per_s.is_some() || wanted.dirs_throttle_bytes_per_s.is_some() {
        output.line(VERIFY_LATER)?;
    }
    if let Some(bytes_per_s) = wanted.throttle_bytes_per_s {
        let moves = throttles::all_moves(under_way, proposed, current);
        throttles::limit_moves(admin, &moves, bytes_per_s, output).await?;
    }
    if let Some(bytes_per_s) = wanted.dirs_throttle_bytes_per_s {
        throttles::limit_dirs(admin, dirs, bytes_per_s, output).await?;
    }
    Ok(())
}

async fn check_brokers(admin: &Admin, proposed: &Assignment) -> Result<(), Wrong> {
    let nodes = admin.describe_cluster(false).await?.nodes;
    let named: BTreeSet<i32> = proposed.values().flatten().copied().collect();
    match named.into_iter().find(|id| nodes.iter().all(|node| node.id != *id)) {
        Some(unknown) => Err(Wrong::Error(format!("Unknown broker id {unknown}"))),
        None => Ok(()),
    }
}

/// Where the partitions are that are to move.
async fn current_of(admin: &Admin, proposed: &Assignment) -> Result<Assignment, Wrong> {
    let mut current = assignment_of_topics(admin, &topics_of(proposed.keys())).await?;
    current.retain(|at, _| proposed.contains_key(at));
    let missing: Vec<&TopicPartition> = proposed.keys().filter(|at| !current.contains_key(at)).collect();
    if missing.is_empty() {
        Ok(current)
    } else {
        Err(Wrong::Error(format!("Unable to find partition: {}", joined(missing, ", "))))
    }
}

async fn begin(
    admin: &Admin,
    wanted: &Execute,
    proposed: &Assignment,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let moves = proposed.iter().map(|(at, replicas)| (at.clone(), Some(replicas.clone()))).collect();
    let failed = alter(admin, &moves, wanted.allows_replication_factor_change).await?;
    if !failed.is_empty() {
        return Err(Wrong::Plain(format!("Error reassigning partition(s):\n{}", failed.join("\n"))));
    }
    let plural = if proposed.len() == 1 { "" } else { "s" };
    output.line(format_args!(
        "Successfully started partition reassignment{plural} for {}",
        joined(proposed.keys(), ",")
    ))?;
    Ok(())
}

/// What failed, a line each.
async fn alter(
    admin: &Admin,
    moves: &BTreeMap<TopicPartition, Option<Vec<i32>>>,
    allows_replication_factor_change: bool,
) -> Result<Vec<String>, Wrong> {
    let results = admin.alter_reassignments(moves, allows_replication_factor_change).await?;
    let failed = results.iter().filter_map(|(at, result)| Some((at, result.as_ref().err()?)));
    Ok(failed.map(|(at, error)| format!("{at}: {}", message(error))).collect())
}

/// Asks until all have begun: a replica that is only on its way to a broker can't move between its directories yet.
async fn begin_dirs(
    admin: &Admin,
    dirs: &BTreeMap<Replica, String>,
    timeout_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let mut pending = dirs.clone();
    while !pending.is_empty() {
        for replica in alter_dirs(admin, &pending).await? {
            let Some(dir) = pending.remove(&replica) else { continue };
            let (broker, at) = &replica;
            output.line(format_args!(
                "Successfully started moving log directory to {dir} for replica {at} with broker {broker} "
            ))?;
        }
        if pending.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            let plural = if pending.len() == 1 { "" } else { "s" };
            return Err(Wrong::Plain(format!(
                "Timed out before log directory move{plural} could be started for: {}",
                joined(pending.keys().map(name_of), ",")
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Those that have begun to move.
async fn alter_dirs(admin: &Admin, dirs: &BTreeMap<Replica, String>) -> Result<Vec<Replica>, Wrong> {
    let mut of_brokers: BTreeMap<i32, BTreeMap<TopicPartition, String>> = BTreeMap::new();
    for ((broker, at), dir) in dirs {
        of_brokers.entry(*broker).or_default().insert(at.clone(), dir.clone());
    }
    let mut begun = Vec::new();
    for (broker, dirs) in of_brokers {
        for (at, result) in admin.alter_replica_log_dirs(broker, &dirs).await? {
            let replica = (broker, at);
            match result {
                Ok(()) => begun.push(replica),
                Err(error) if error.code() == Some(ErrorCode::ReplicaNotAvailable) => {}
                Err(_) => {
                    return Err(Wrong::Error(format!("Failed to alter dir for {}", name_of(&replica))));
                }
            }
        }
    }
    Ok(begun)
}

pub(super) async fn cancel(
    admin: &Admin,
    moves: &Moves,
    preserves_throttles: bool,
    timeout_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let partitions: BTreeSet<TopicPartition> = moves.partitions.iter().map(|(at, _)| at.clone()).collect();
    let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
    let under_way = admin.list_reassignments(Some(&partitions)).await?;
    cancel_moves(admin, under_way, output).await?;
    cancel_dirs(admin, moves, timeout_ms, output).await?;
    if preserves_throttles {
        return Ok(());
    }
    throttles::clear(admin, &moves.partitions, output).await
}

async fn cancel_moves(
    admin: &Admin,
    under_way: BTreeMap<TopicPartition, PartitionReassignment>,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let moves: BTreeMap<TopicPartition, Option<Vec<i32>>> =
        under_way.into_keys().map(|at| (at, None)).collect();
    if moves.is_empty() {
        return Ok(output.line("None of the specified partition reassignments are active.")?);
    }
    let failed = alter(admin, &moves, true).await?;
    if !failed.is_empty() {
        let plural = if failed.len() == 1 { "" } else { "s" };
        return Err(Wrong::Plain(format!(
            "Error cancelling partition reassignment{plural} for:\n{}",
            failed.join("\n")
        )));
    }
    let plural = if moves.len() == 1 { "" } else { "s" };
    Ok(output.line(format_args!(
        "Successfully cancelled partition reassignment{plural} for: {}",
        joined(moves.keys(), ",")
    ))?)
}

/// A replica stays where it is once it is told to move there.
async fn cancel_dirs(
    admin: &Admin,
    moves: &Moves,
    timeout_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let states = dir_states(admin, &moves.dirs).await?;
    let back = states.into_iter().filter_map(|(replica, state)| match state {
        DirState::Moving { from, .. } => Some((replica, from)),
        _ => None,
    });
    let back: BTreeMap<Replica, String> = back.collect();
    if back.is_empty() {
        // As in Kafka's tool, what is told next follows in the same line.
        return Ok(
            write!(output.out, "None of the specified partition moves are active.").map_err(Failure::from)?
        );
    }
    begin_dirs(admin, &back, timeout_ms, output).await
}
