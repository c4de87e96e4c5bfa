//! What is asked of the share coordinator about one share partition: of the one in this node, or of another broker's with
//! a request about nothing else.

use ottla_coordinator::share_state::{
    Outcome, ReadState, ShareCoordinator, SharePartitionKey, ShareStateError, StateBatch, StateSummary,
    WriteState,
};
use ottla_types::Now;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    DeleteShareGroupStateRequest, InitializeShareGroupStateRequest, ReadShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest, WriteShareGroupStateRequest,
    delete_share_group_state_request as delete, initialize_share_group_state_request as initialize,
    read_share_group_state_request as read, read_share_group_state_summary_request as summary,
    write_share_group_state_request as write,
};

use crate::transactions::{ShareStateRequest, ShareStateResponse};

type Reply<T> = Box<dyn FnOnce(Outcome<T>) + Send>;

pub(super) trait StateOperation: Clone + Send + Sync + 'static {
    type Answer: Send + 'static;

    fn run(
        self,
        coordinator: &ShareCoordinator,
        key: SharePartitionKey,
        now: Now,
        reply: Reply<Self::Answer>,
    );

    fn request(self, key: &SharePartitionKey) -> ShareStateRequest;

    /// None for a response to something else.
    fn answer(response: ShareStateResponse) -> Option<Outcome<Self::Answer>>;
}

/// A group begins at `start_offset` from now on; -1: by its policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initialize {
    pub state_epoch: i32,
    pub start_offset: i64,
}

/// As the partition's leader in this epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub leader_epoch: i32,
}

#[derive(Clone, Debug)]
pub(super) struct Write(pub WriteState);

#[derive(Clone, Copy, Debug)]
pub(super) struct Delete;

#[derive(Clone, Copy, Debug)]
pub(super) struct Summarize;

/// A request of this kind about one share partition.
macro_rules! about {
    ($request:ident, $parts:ident, $key:expr, $partition:expr) => {
        $request {
            group_id: $key.group_id.to_string(),
            topics: vec![$parts::Topic {
                topic_id: $key.topic_id,
                partitions: vec![$parts::Partition { partition: $key.partition, ..$partition }],
                ..Default::default()
            }],
            ..Default::default()
        }
    };
}

/// What a response about one share partition says of it: a value, or its error.
macro_rules! outcome {
    ($response:expr, |$partition:pat_param| $value:expr) => {{
        let mut partitions = $response.results.into_iter().flat_map(|result| result.partitions);
        let mut partition = partitions.next()?;
        let message = partition.error_message.take();
        match refusal(partition.error_code, message) {
            Some(refusal) => Err(refusal),
            None => {
                let $partition = partition;
                Ok($value)
            }
        }
    }};
}

impl StateOperation for Initialize {
    type Answer = ();

    fn run(self, coordinator: &ShareCoordinator, key: SharePartitionKey, now: Now, reply: Reply<()>) {
        coordinator.initialize(key, self.state_epoch, self.start_offset, now, reply);
    }

    fn request(self, key: &SharePartitionKey) -> ShareStateRequest {
        let partition = initialize::Partition {
            state_epoch: self.state_epoch,
            start_offset: self.start_offset,
            ..Default::default()
        };
        ShareStateRequest::Initialize(about!(InitializeShareGroupStateRequest, initialize, key, partition))
    }

    fn answer(response: ShareStateResponse) -> Option<Outcome<()>> {
        let ShareStateResponse::Initialize(response) = response else { return None };
        Some(outcome!(response, |_| ()))
    }
}

impl StateOperation for Read {
    type Answer = ReadState;

    fn run(self, coordinator: &ShareCoordinator, key: SharePartitionKey, now: Now, reply: Reply<ReadState>) {
        coordinator.read(key, self.leader_epoch, now, reply);
    }

    fn request(self, key: &SharePartitionKey) -> ShareStateRequest {
        let partition = read::Partition { leader_epoch: self.leader_epoch, ..Default::default() };
        ShareStateRequest::Read(about!(ReadShareGroupStateRequest, read, key, partition))
    }

    fn answer(response: ShareStateResponse) -> Option<Outcome<ReadState>> {
        let ShareStateResponse::Read(response) = response else { return None };
        Some(outcome!(response, |partition| ReadState {
            state_epoch: partition.state_epoch,
            start_offset: partition.start_offset,
            batches: partition
                .state_batches
                .iter()
                .map(|batch| StateBatch {
                    first_offset: batch.first_offset,
                    last_offset: batch.last_offset,
                    delivery_state: batch.delivery_state,
                    delivery_count: batch.delivery_count,
                })
                .collect(),
        }))
    }
}

impl StateOperation for Write {
    type Answer = ();

    fn run(self, coordinator: &ShareCoordinator, key: SharePartitionKey, now: Now, reply: Reply<()>) {
        coordinator.write(key, self.0, now, reply);
    }

    fn request(self, key: &SharePartitionKey) -> ShareStateRequest {
        let batch = |batch: StateBatch| write::StateBatch {
            first_offset: batch.first_offset,
            last_offset: batch.last_offset,
            delivery_state: batch.delivery_state,
            delivery_count: batch.delivery_count,
            ..Default::default()
        };
        let partition = write::Partition {
            state_epoch: self.0.state_epoch,
            leader_epoch: self.0.leader_epoch,
            start_offset: self.0.start_offset,
            delivery_complete_count: self.0.delivery_complete_count,
            state_batches: self.0.batches.into_iter().map(batch).collect(),
            ..Default::default()
        };
        ShareStateRequest::Write(about!(WriteShareGroupStateRequest, write, key, partition))
    }

    fn answer(response: ShareStateResponse) -> Option<Outcome<()>> {
        let ShareStateResponse::Write(response) = response else { return None };
        Some(outcome!(response, |_| ()))
    }
}

impl StateOperation for Delete {
    type Answer = ();

    fn run(self, coordinator: &ShareCoordinator, key: SharePartitionKey, now: Now, reply: Reply<()>) {
        coordinator.delete(key, now, reply);
    }

    fn request(self, key: &SharePartitionKey) -> ShareStateRequest {
        let partition = delete::Partition::default();
        ShareStateRequest::Delete(about!(DeleteShareGroupStateRequest, delete, key, partition))
    }

    fn answer(response: ShareStateResponse) -> Option<Outcome<()>> {
        let ShareStateResponse::Delete(response) = response else { return None };
        Some(outcome!(response, |_| ()))
    }
}

impl StateOperation for Summarize {
    type Answer = StateSummary;

    fn run(
        self,
        coordinator: &ShareCoordinator,
        key: SharePartitionKey,
        now: Now,
        reply: Reply<StateSummary>,
    ) {
        coordinator.summarize(key, now, reply);
    }

    fn request(self, key: &SharePartitionKey) -> ShareStateRequest {
        let partition = summary::Partition { leader_epoch: -1, ..Default::default() };
        ShareStateRequest::Summarize(about!(ReadShareGroupStateSummaryRequest, summary, key, partition))
    }

    fn answer(response: ShareStateResponse) -> Option<Outcome<StateSummary>> {
        let ShareStateResponse::Summarize(response) = response else { return None };
        Some(outcome!(response, |partition| StateSummary {
            state_epoch: partition.state_epoch,
            leader_epoch: partition.leader_epoch,
            start_offset: partition.start_offset,
            delivery_complete_count: partition.delivery_complete_count,
        }))
    }
}

fn refusal(error_code: i16, message: Option<String>) -> Option<ShareStateError> {
    if error_code == ErrorCode::None.code() {
        return None;
    }
    let code = ErrorCode::from_answer(error_code);
    Some(ShareStateError { code, message: message.unwrap_or_else(|| code.description().to_owned()) })
}

#[cfg(test)]
mod tests;
