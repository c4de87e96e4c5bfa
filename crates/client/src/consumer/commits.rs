//! Commits, one after another: a later one is never overtaken by an earlier one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_commit_request::{Partition, Topic};
use ottla_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::asking::OFFSETS_BY_NAME_VERSION_MAX;
use super::core::machine::Ownership;
use super::core::membership::MemberIdentity;
use super::core::record::Position;
use super::driver::Shared;
use super::error::ConsumerError;
use crate::{ClientError, SendOptions, Target};

/// How many commits may wait for their turn.
const COMMITS_MAX: usize = 1_000;

/// Where a group goes on in a partition, and what whoever committed that wrote beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub position: Position,
    pub metadata: String,
}

impl From<Position> for CommittedOffset {
    fn from(position: Position) -> CommittedOffset {
        CommittedOffset { position, metadata: String::new() }
    }
}

pub(super) type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

#[derive(Debug)]
pub(super) struct Commit {
    pub offsets: Offsets,
    /// When it was asked for: another assignment may have begun before its turn comes.
    pub ownership: Ownership,
    /// Tries again until then; `None`: tries once.
    pub deadline: Option<Instant>,
    pub done: oneshot::Sender<Result<(), ConsumerError>>,
}

/// Where commits wait.
pub(super) fn queue() -> (mpsc::Sender<Commit>, mpsc::Receiver<Commit>) {
    mpsc::channel(COMMITS_MAX)
}

/// A commit that goes on by itself. To wait for it says what came of it.
#[derive(Debug)]
pub struct CommitLater(pub(super) oneshot::Receiver<Result<(), ConsumerError>>);

impl Future for CommitLater {
    type Output = Result<(), ConsumerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|done| done.unwrap_or(Err(ConsumerError::Closed)))
    }
}

/// Sends what waits in the queue.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Commit>) {
    while let Some(commit) = queue.recv().await {
        let result = commit_until(&shared, &commit).await;
        // Nobody may wait for it.
        let _ = commit.done.send(result);
    }
}

async fn commit_until(shared: &Shared, commit: &Commit) -> Result<(), ConsumerError> {
    let Commit { offsets, ownership, deadline, .. } = commit;
    if offsets.is_empty() {
        return Ok(());
    }
    let mut waits = shared.client.settings().retry_backoff();
    loop {
        let error = match commit_once(shared, offsets, ownership).await {
            Ok(()) => {
                shared.settings.interceptors.iter().for_each(|one| one.on_commit(offsets));
                return Ok(());
            }
            Err(error) => error,
        };
        let may_retry = match &error {
            ConsumerError::Client(error) => error.is_retriable(),
            ConsumerError::NotCommitted { code, .. } => code.is_retriable(),
            // The epoch has changed while the commit was on its way.
            ConsumerError::NotAMember(code) => *code == ErrorCode::StaleMemberEpoch,
            _ => false,
        };
        let wait = Duration::from_millis(waits.failed(rand::random()));
        if !may_retry || deadline.is_none_or(|deadline| Instant::now() + wait >= deadline) {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
}

async fn commit_once(shared: &Shared, offsets: &Offsets, ownership: &Ownership) -> Result<(), ConsumerError> {
    let group_id = shared.group_id()?;
    let member = shared.machine.lock().identity_under(ownership).map_err(ConsumerError::NotAMember)?;
    let generation = member.generation_or_epoch;
    let target = Target::group(group_id);
    let options = SendOptions { version_max: Some(OFFSETS_BY_NAME_VERSION_MAX), ..SendOptions::default() };
    let began = Instant::now();
    let answer =
        shared.client.send_with(target.clone(), options, |_| request(group_id, member, offsets)).await;
    shared.client.metrics().commits.note_since(began);
    let result = match answer {
        Ok(answer) => read(answer.response),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = &result {
        match error {
            ConsumerError::Client(error) => shared.client.learn_from(&target, error),
            ConsumerError::NotAMember(code) => {
                shared.change(|machine, now| machine.commit_refused(generation, *code, now.mono));
            }
            _ => {}
        }
    }
    result
}

fn request(group_id: &str, member: MemberIdentity, offsets: &Offsets) -> OffsetCommitRequest {
    let mut topics: Vec<Topic> = Vec::new();
    for (partition, offset) in offsets {
        if topics.last().is_none_or(|last| *last.name != *partition.topic) {
            topics.push(Topic { name: partition.topic.to_string(), ..Topic::default() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(Partition {
                partition_index: partition.partition,
                committed_offset: offset.position.offset.value(),
                committed_leader_epoch: offset.position.leader_epoch.map_or(-1, |epoch| epoch.value()),
                committed_metadata: Some(offset.metadata.clone()),
                ..Partition::default()
            });
        }
    }
    OffsetCommitRequest {
        group_id: group_id.to_owned(),
        generation_id_or_member_epoch: member.generation_or_epoch,
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        topics,
        ..OffsetCommitRequest::default()
    }
}

fn read(answer: OffsetCommitResponse) -> Result<(), ConsumerError> {
    for topic in answer.topics {
        for partition in topic.partitions {
            let code = ErrorCode::from_answer(partition.error_code);
            let key = || TopicPartition::new(topic.name.as_str(), partition.partition_index);
            match code {
                ErrorCode::None => {}
                ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::RebalanceInProgress
                | ErrorCode::StaleMemberEpoch
                | ErrorCode::FencedInstanceId => return Err(ConsumerError::NotAMember(code)),
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::RequestTimedOut => {
                    return Err(ClientError::broker(code, None, "committing offsets").into());
                }
                code => return Err(ConsumerError::NotCommitted { partition: key(), code }),
            }
        }
    }
    Ok(())
}
