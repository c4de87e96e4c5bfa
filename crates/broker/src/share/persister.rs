//! From share partitions, and the group coordinator, to the share coordinator, wherever it is. What fails because the
//! coordinator is not there yet is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_coordinator::share_state::{
    Outcome, ReadState, SharePartitionKey, ShareStateError, StateBatch, WriteState,
};
use ottla_replica::share::{
    Persisted, PersistedBatch, PersistedState, Persister, RecordState, SharePartitionId, StateWrite,
};
use ottla_types::{NodeId, Now, Offset, SHARE_GROUP_STATE_TOPIC};
use ottla_wire::ErrorCode;

use super::NodeLink;
use super::operation::{Read, StateOperation, Write};
use crate::node::Node;
use crate::transactions::ShareStateResponse;

/// About 25 s together.
const ATTEMPTS: u32 = 8;
const FIRST_BACKOFF_MS: i64 = 100;

/// Asks the share coordinator something about one share partition.
pub(super) struct RetriedCall<O: StateOperation> {
    pub key: SharePartitionKey,
    pub operation: O,
    pub done: Box<dyn FnOnce(Outcome<O::Answer>, Now) + Send>,
}

impl<O: StateOperation> RetriedCall<O> {
    pub fn start(self, node: &Arc<Node>, now: Now) {
        self.run(node, now, 1);
    }

    fn run(self, node: &Arc<Node>, now: Now, attempt: u32) {
        let leader = match find_coordinator(node, &self.key, now) {
            Ok(leader) => leader,
            Err(code) => return self.finish(node, Err(ShareStateError::of(code)), now, attempt),
        };
        let (operation, key, asked_of) = (self.operation.clone(), self.key.clone(), Arc::clone(node));
        let is_here = leader == node.identity.node_id;
        // Another broker takes its time, and what has to be committed first is answered when that is done, long after this was asked.
        let is_now = Arc::new(AtomicBool::new(is_here));
        let is_still_now = Arc::clone(&is_now);
        let answered = move |outcome| {
            if is_still_now.load(Ordering::Acquire) {
                return self.finish(&asked_of, outcome, now, attempt);
            }
            let node = Arc::clone(&asked_of);
            asked_of.at_next_tick(move |now| self.finish(&node, outcome, now, attempt));
        };
        if is_here {
            operation.run(&node.share.coordinator, key, now, Box::new(answered));
        } else {
            let understood = move |response: Result<ShareStateResponse, ErrorCode>| {
                let outcome =
                    response.and_then(|response| O::answer(response).ok_or(ErrorCode::UnknownServerError));
                answered(outcome.unwrap_or_else(|code| Err(ShareStateError::of(code))));
            };
            node.hooks.brokers.share_state(leader, operation.request(&key), Box::new(understood));
        }
        is_now.store(false, Ordering::Release);
    }

    fn finish(self, node: &Arc<Node>, outcome: Outcome<O::Answer>, now: Now, attempt: u32) {
        match outcome {
            Err(error) if attempt < ATTEMPTS && is_passing(error.code) => {
                let due = now.mono.plus_ms(FIRST_BACKOFF_MS << (attempt - 1));
                let again = Arc::clone(node);
                node.deadlines.add(due, move |now| self.run(&again, now, attempt + 1));
                (node.hooks.wake_at)(due);
            }
            outcome => (self.done)(outcome, now),
        }
    }
}

/// Whether the coordinator may answer otherwise in a moment.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NetworkException
    )
}

/// The broker that coordinates the key. The coordinator's topic is made by the first who asks.
fn find_coordinator(node: &Arc<Node>, key: &SharePartitionKey, now: Now) -> Result<NodeId, ErrorCode> {
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    let partition = node.share.coordinator.partition_for(&key.to_string()).ok_or(unavailable)?;
    let image = node.metadata.image();
    let Some(topic) = image.topics.by_name(SHARE_GROUP_STATE_TOPIC) else {
        node.create_internal_topic(SHARE_GROUP_STATE_TOPIC, now);
        return Err(unavailable);
    };
    let registration = topic.partitions.get(&partition).ok_or(unavailable)?;
    if registration.leader == NodeId::NONE { Err(unavailable) } else { Ok(registration.leader) }
}

/// The share coordinator as share partitions see it.
pub(super) struct NodePersister(pub Arc<NodeLink>);

impl Persister for NodePersister {
    fn read(&self, id: &SharePartitionId, leader_epoch: i32, now: Now, done: Persisted<PersistedState>) {
        let Some(node) = self.0.get() else { return done(Err(ErrorCode::CoordinatorNotAvailable), now) };
        let call = RetriedCall {
            key: key(id),
            operation: Read { leader_epoch },
            done: Box::new(move |outcome: Outcome<ReadState>, now| {
                let state = outcome.map_err(|error| error.code).and_then(|state| {
                    let batches = state.batches.iter().map(read_batch).collect::<Option<Vec<_>>>();
                    Ok(PersistedState {
                        state_epoch: state.state_epoch,
                        start_offset: start_offset(state.start_offset),
                        batches: batches.ok_or(ErrorCode::UnknownServerError)?,
                    })
                });
                done(state, now);
            }),
        };
        call.start(&node, now);
    }

    fn write(&self, id: &SharePartitionId, write: StateWrite, now: Now, done: Persisted<()>) {
        let Some(node) = self.0.get() else { return done(Err(ErrorCode::CoordinatorNotAvailable), now) };
        let data = WriteState {
            state_epoch: write.state_epoch,
            leader_epoch: write.leader_epoch,
            start_offset: write.start_offset.value(),
            delivery_complete_count: write.delivery_complete_count,
            batches: write.batches.iter().map(written_batch).collect(),
        };
        let call = RetriedCall {
            key: key(id),
            operation: Write(data),
            done: Box::new(move |outcome: Outcome<()>, now| done(outcome.map_err(|error| error.code), now)),
        };
        call.start(&node, now);
    }
}

fn key(id: &SharePartitionId) -> SharePartitionKey {
    SharePartitionKey { group_id: Arc::clone(&id.group_id), topic_id: id.topic_id, partition: id.partition }
}

/// None if none was set. One that an admin set below that is before the log's start wherever that is, as in Apache Kafka.
fn start_offset(stored: i64) -> Option<Offset> {
    (stored != Offset::UNKNOWN.0).then_some(Offset(stored.max(0)))
}

/// None for a state that there is not.
fn read_batch(batch: &StateBatch) -> Option<PersistedBatch> {
    Some(PersistedBatch {
        first_offset: Offset(batch.first_offset),
        last_offset: Offset(batch.last_offset),
        state: RecordState::from_code(batch.delivery_state)?,
        delivery_count: batch.delivery_count,
    })
}

fn written_batch(batch: &PersistedBatch) -> StateBatch {
    StateBatch {
        first_offset: batch.first_offset.value(),
        last_offset: batch.last_offset.value(),
        delivery_state: batch.state.code(),
        delivery_count: batch.delivery_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_alone_means_that_no_start_was_set() {
        let read = [-5, -1, 0, 7].map(start_offset);
        assert_eq!(read, [Some(Offset(0)), None, Some(Offset(0)), Some(Offset(7))]);
    }
}
