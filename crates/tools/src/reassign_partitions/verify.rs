//! How far moves are.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::ClientError;
use ottla_client::admin::{Admin, LogDirDescription, TopicDescription};
use ottla_types::{NodeId, TopicPartition};
use ottla_wire::ErrorCode;

use super::file::{Assignment, Moves, Replica, joined, name_of};
use super::{Wrong, throttles, topics_of};
use crate::tool::Output;

/// Tells how far the moves are. When all are done, limits are taken back.
pub(super) async fn verify(
    admin: &Admin,
    moves: &Moves,
    preserves_throttles: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let under_way = admin.list_reassignments(None).await?;
    let at_rest = moves.partitions.iter().map(|(at, _)| at).filter(|at| !under_way.contains_key(at));
    let topics = admin.describe_topics(&topics_of(at_rest), i32::MAX).await?;
    let mut lines = BTreeMap::new();
    for (at, target) in &moves.partitions {
        let current = match under_way.contains_key(at) {
            true => None,
            false => Some(replicas(topics.get(&*at.topic), at.partition)?),
        };
        lines.insert(at.clone(), shown(at, current.as_deref(), target));
    }
    output.line("Status of partition reassignment:")?;
    lines.values().try_for_each(|line| output.line(line))?;

    let states = dir_states(admin, &moves.dirs).await?;
    let told: Vec<String> = states.iter().map(|(replica, state)| state.shown(replica)).collect();
    output.line(told.join("\n"))?;
    let are_dirs_moving = states.values().any(|state| matches!(state, DirState::Moving { .. }));
    if under_way.is_empty() && !are_dirs_moving && !preserves_throttles {
        throttles::clear(admin, &moves.partitions, output).await?;
    }
    Ok(())
}

/// None where the topic or the partition is gone.
fn replicas(topic: Option<&Result<TopicDescription, ClientError>>, index: i32) -> Result<Vec<i32>, Wrong> {
    match topic {
        Some(Err(error)) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => {
            Err(error.clone().into())
        }
        Some(Ok(topic)) => {
            let found = topic.partitions.iter().find(|of| of.index == index);
            Ok(found.map(|of| of.replicas.clone()).unwrap_or_default())
        }
        _ => Ok(Vec::new()),
    }
}

/// Without `current` it is still moving.
fn shown(at: &TopicPartition, current: Option<&[i32]>, target: &[i32]) -> String {
    match current {
        None => format!("Reassignment of partition {at} is still in progress."),
        Some(current) if current == target => format!("Reassignment of partition {at} is completed."),
        Some(current) => format!(
            "There is no active reassignment of partition {at}, but replica set is {} rather than {}.",
            joined(current, ","),
            joined(target, ",")
        ),
    }
}

/// Where a replica is that was to be in a certain directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirState {
    /// In no directory that is in use.
    Missing,
    Moving {
        from: String,
        to: String,
        target: String,
    },
    Elsewhere {
        at: String,
        target: String,
    },
    Done,
}

impl DirState {
    fn shown(&self, replica: &Replica) -> String {
        let (broker, at) = replica;
        match self {
            DirState::Missing => format!(
                "Partition {at} is not found in any live log dir on broker {broker}. There is likely an offline log \
                 directory on the broker."
            ),
            DirState::Moving { to, target, .. } if to == target => {
                format!("Reassignment of replica {} is still in progress.", name_of(replica))
            }
            DirState::Moving { to, target, .. } => format!(
                "Partition {at} on broker {broker} is being moved to log dir {to} instead of {target}."
            ),
            DirState::Elsewhere { at: dir, target } => format!(
                "Partition {at} on broker {broker} is not being moved from log dir {dir} to {target}."
            ),
            DirState::Done => format!("Reassignment of replica {} completed successfully.", name_of(replica)),
        }
    }

    fn of(dirs: &BTreeMap<String, LogDirDescription>, at: &TopicPartition, target: &str) -> DirState {
        let dir = |is_future: bool| {
            let holds = |dir: &LogDirDescription| {
                dir.replicas.get(at).is_some_and(|replica| replica.is_future == is_future)
            };
            dirs.iter().find(|(_, dir)| holds(dir)).map(|(path, _)| path.clone())
        };
        match (dir(false), dir(true)) {
            (None, _) => DirState::Missing,
            (Some(from), Some(to)) => DirState::Moving { from, to, target: target.to_owned() },
            (Some(current), None) if current == target => DirState::Done,
            (Some(current), None) => DirState::Elsewhere { at: current, target: target.to_owned() },
        }
    }
}

/// Where each of these replicas is.
pub(super) async fn dir_states(
    admin: &Admin,
    targets: &BTreeMap<Replica, String>,
) -> Result<BTreeMap<Replica, DirState>, Wrong> {
    let brokers: BTreeSet<i32> = targets.keys().map(|(broker, _)| *broker).collect();
    let brokers: Vec<i32> = brokers.into_iter().collect();
    let described = admin.describe_log_dirs(&brokers).await;
    let mut states = BTreeMap::new();
    for (replica, target) in targets {
        let (broker, at) = replica;
        let state = match described.get(&NodeId(*broker)) {
            Some(Ok(dirs)) => DirState::of(dirs, at, target),
            Some(Err(error)) => return Err(error.clone().into()),
            None => DirState::Missing,
        };
        states.insert(replica.clone(), state);
    }
    Ok(states)
}

/// In which directories replicas are now; those of brokers that don't answer are missing.
pub(super) async fn current_dirs(admin: &Admin, assignment: &Assignment) -> BTreeMap<Replica, String> {
    let brokers: BTreeSet<i32> = assignment.values().flatten().copied().collect();
    let brokers: Vec<i32> = brokers.into_iter().collect();
    let mut found = BTreeMap::new();
    for (broker, dirs) in admin.describe_log_dirs(&brokers).await {
        for (path, dir) in dirs.unwrap_or_default() {
            let here =
                dir.replicas.into_iter().filter(|(at, of)| !of.is_future && assignment.contains_key(at));
            found.extend(here.map(|(at, _)| ((broker.0, at), path.clone())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use ottla_client::admin::ReplicaInfo;

    use super::*;

    fn dirs(of: &[(&str, bool)]) -> BTreeMap<String, LogDirDescription> {
        let dir = |is_future| LogDirDescription {
            error: None,
            replicas: BTreeMap::from([(
                TopicPartition::new("a", 1),
                ReplicaInfo { size_bytes: 0, offset_lag: 0, is_future },
            )]),
            total_bytes: -1,
            usable_bytes: -1,
            is_cordoned: false,
        };
        of.iter().map(|(path, is_future)| ((*path).to_owned(), dir(*is_future))).collect()
    }

    #[test]
    fn replicas_are_where_they_should_be_or_not() {
        let replica = (3, TopicPartition::new("a", 1));
        for (found, expected) in [
            (
                &[][..],
                "Partition a-1 is not found in any live log dir on broker 3. There is likely an offline log directory on the broker.",
            ),
            (&[("/t", false)], "Reassignment of replica a-1-3 completed successfully."),
            (&[("/o", false)], "Partition a-1 on broker 3 is not being moved from log dir /o to /t."),
            (&[("/o", false), ("/t", true)], "Reassignment of replica a-1-3 is still in progress."),
            (
                &[("/o", false), ("/x", true)],
                "Partition a-1 on broker 3 is being moved to log dir /x instead of /t.",
            ),
        ] {
            assert_eq!(DirState::of(&dirs(found), &replica.1, "/t").shown(&replica), expected);
        }
    }

    #[test]
    fn partitions_are_moving_there_or_elsewhere() {
        let at = TopicPartition::new("a", 1);
        assert_eq!(shown(&at, None, &[1]), "Reassignment of partition a-1 is still in progress.");
        assert_eq!(shown(&at, Some(&[1, 2]), &[1, 2]), "Reassignment of partition a-1 is completed.");
        assert_eq!(
            shown(&at, Some(&[2, 1]), &[1, 2]),
            "There is no active reassignment of partition a-1, but replica set is 2,1 rather than 1,2."
        );
    }
}
