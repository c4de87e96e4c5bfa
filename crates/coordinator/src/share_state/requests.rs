//! The coordinator's APIs: each request is about one group and any number of its share partitions.

use std::sync::Arc;

use ottla_types::{Now, Uuid};
use ottla_wire::messages::{
    DeleteShareGroupStateRequest, DeleteShareGroupStateResponse, InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse, ReadShareGroupStateRequest, ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse, WriteShareGroupStateRequest,
    WriteShareGroupStateResponse, delete_share_group_state_response as deleted,
    initialize_share_group_state_response as initialized, read_share_group_state_response as read,
    read_share_group_state_summary_response as summary, write_share_group_state_request as write_request,
    write_share_group_state_response as written,
};

use super::batches::StateBatch;
use super::coordinator::ShareCoordinator;
use super::key::SharePartitionKey;
use super::outcome::{ShareStateError, WriteState};
use crate::gather::Gather;

impl ShareCoordinator {
    pub fn initialize_state(
        &self,
        request: InitializeShareGroupStateRequest,
        now: Now,
        reply: impl FnOnce(InitializeShareGroupStateResponse) + Send + 'static,
    ) {
        let topics = request.topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect();
        let finish = |results: Vec<(Uuid, Vec<initialized::Partition>)>| {
            let result = |(topic_id, partitions)| initialized::Result {
                topic_id,
                partitions,
                ..initialized::Result::default()
            };
            let results = results.into_iter().map(result).collect();
            reply(InitializeShareGroupStateResponse { results, ..Default::default() });
        };
        each(&request.group_id, topics, finish, |key, partition, done| {
            let (state_epoch, start_offset) = (partition.state_epoch, partition.start_offset);
            self.initialize(key, state_epoch, start_offset, now, move |outcome| {
                let (error_code, error_message) = error(outcome.err());
                done(initialized::Partition {
                    partition: partition.partition,
                    error_code,
                    error_message,
                    ..initialized::Partition::default()
                });
            });
        });
    }

    pub fn read_state(
        &self,
        request: ReadShareGroupStateRequest,
        now: Now,
        reply: impl FnOnce(ReadShareGroupStateResponse) + Send + 'static,
    ) {
        let topics = request.topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect();
        let finish = |results: Vec<(Uuid, Vec<read::Partition>)>| {
            let result =
                |(topic_id, partitions)| read::Result { topic_id, partitions, ..read::Result::default() };
            let results = results.into_iter().map(result).collect();
            reply(ReadShareGroupStateResponse { results, ..Default::default() });
        };
        each(&request.group_id, topics, finish, |key, asked, done| {
            self.read(key, asked.leader_epoch, now, move |outcome| {
                let mut partition =
                    read::Partition { partition: asked.partition, ..read::Partition::default() };
                match outcome {
                    Ok(state) => {
                        partition.state_epoch = state.state_epoch;
                        partition.start_offset = state.start_offset;
                        partition.state_batches = state.batches.iter().map(read_batch).collect();
                    }
                    Err(refusal) => {
                        (partition.error_code, partition.error_message) = error(Some(refusal));
                    }
                }
                done(partition);
            });
        });
    }

    pub fn write_state(
        &self,
        request: WriteShareGroupStateRequest,
        now: Now,
        reply: impl FnOnce(WriteShareGroupStateResponse) + Send + 'static,
    ) {
        let topics = request.topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect();
        let finish = |results: Vec<(Uuid, Vec<written::Partition>)>| {
            let result = |(topic_id, partitions)| written::Result {
                topic_id,
                partitions,
                ..written::Result::default()
            };
            let results = results.into_iter().map(result).collect();
            reply(WriteShareGroupStateResponse { results, ..Default::default() });
        };
        each(&request.group_id, topics, finish, |key, asked: write_request::Partition, done| {
            let data = WriteState {
                state_epoch: asked.state_epoch,
                leader_epoch: asked.leader_epoch,
                start_offset: asked.start_offset,
                delivery_complete_count: asked.delivery_complete_count,
                batches: asked.state_batches.iter().map(written_batch).collect(),
            };
            self.write(key, data, now, move |outcome| {
                let (error_code, error_message) = error(outcome.err());
                done(written::Partition {
                    partition: asked.partition,
                    error_code,
                    error_message,
                    ..written::Partition::default()
                });
            });
        });
    }

    pub fn delete_state(
        &self,
        request: DeleteShareGroupStateRequest,
        now: Now,
        reply: impl FnOnce(DeleteShareGroupStateResponse) + Send + 'static,
    ) {
        let topics = request.topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect();
        let finish = |results: Vec<(Uuid, Vec<deleted::Partition>)>| {
            let result = |(topic_id, partitions)| deleted::Result {
                topic_id,
                partitions,
                ..deleted::Result::default()
            };
            let results = results.into_iter().map(result).collect();
            reply(DeleteShareGroupStateResponse { results, ..Default::default() });
        };
        each(&request.group_id, topics, finish, |key, asked, done| {
            self.delete(key, now, move |outcome| {
                let (error_code, error_message) = error(outcome.err());
                done(deleted::Partition {
                    partition: asked.partition,
                    error_code,
                    error_message,
                    ..deleted::Partition::default()
                });
            });
        });
    }

    /// Versions before 1 have no room for the count of records that are done with.
    pub fn read_state_summary(
        &self,
        api_version: i16,
        request: ReadShareGroupStateSummaryRequest,
        now: Now,
        reply: impl FnOnce(ReadShareGroupStateSummaryResponse) + Send + 'static,
    ) {
        let topics = request.topics.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect();
        let finish = |results: Vec<(Uuid, Vec<summary::Partition>)>| {
            let result = |(topic_id, partitions)| summary::Result {
                topic_id,
                partitions,
                ..summary::Result::default()
            };
            let results = results.into_iter().map(result).collect();
            reply(ReadShareGroupStateSummaryResponse { results, ..Default::default() });
        };
        each(&request.group_id, topics, finish, |key, asked, done| {
            self.summarize(key, now, move |outcome| {
                let mut partition =
                    summary::Partition { partition: asked.partition, ..summary::Partition::default() };
                match outcome {
                    Ok(state) => {
                        partition.state_epoch = state.state_epoch;
                        partition.leader_epoch = state.leader_epoch;
                        partition.start_offset = state.start_offset;
                        if api_version >= 1 {
                            partition.delivery_complete_count = state.delivery_complete_count;
                        }
                    }
                    Err(refusal) => {
                        (partition.error_code, partition.error_message) = error(Some(refusal));
                    }
                }
                done(partition);
            });
        });
    }
}

/// What takes the answer for one share partition.
type Done<R> = Box<dyn FnOnce(R) + Send>;

/// A request's partition, as far as it names the share partition.
trait Numbered {
    fn number(&self) -> i32;
}

macro_rules! numbered {
    ($($request:ident),*) => {$(
        impl Numbered for ottla_wire::messages::$request::Partition {
            fn number(&self) -> i32 {
                self.partition
            }
        }
    )*};
}

numbered!(
    initialize_share_group_state_request,
    read_share_group_state_request,
    write_share_group_state_request,
    delete_share_group_state_request,
    read_share_group_state_summary_request
);

/// Runs `operation` for each partition and hands the answers over in the order of the request. One without a group or
/// without topics is answered with nothing, as Kafka does.
fn each<P: Numbered, R: Send + 'static>(
    group_id: &str,
    topics: Vec<(Uuid, Vec<P>)>,
    finish: impl FnOnce(Vec<(Uuid, Vec<R>)>) + Send + 'static,
    operation: impl Fn(SharePartitionKey, P, Done<R>),
) {
    if group_id.is_empty() || topics.is_empty() {
        return finish(Vec::new());
    }
    let group_id: Arc<str> = Arc::from(group_id);
    let shape: Vec<(Uuid, usize)> = topics.iter().map(|(id, partitions)| (*id, partitions.len())).collect();
    let count = shape.iter().map(|(_, partitions)| partitions).sum();
    let gather = Gather::new(count, move |answers: Vec<R>| {
        let mut answers = answers.into_iter();
        let of_topic = |(id, partitions)| (id, answers.by_ref().take(partitions).collect());
        finish(shape.into_iter().map(of_topic).collect());
    });
    let all = topics.into_iter().flat_map(|(id, partitions)| partitions.into_iter().map(move |p| (id, p)));
    for (index, (topic_id, partition)) in all.enumerate() {
        let key = SharePartitionKey::new(Arc::clone(&group_id), topic_id, partition.number());
        let gather = Arc::clone(&gather);
        operation(key, partition, Box::new(move |answer| gather.put(index, answer)));
    }
}

fn error(refusal: Option<ShareStateError>) -> (i16, Option<String>) {
    refusal.map_or((0, None), |refusal| (refusal.code.code(), Some(refusal.message)))
}

fn read_batch(batch: &StateBatch) -> read::StateBatch {
    read::StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
        ..read::StateBatch::default()
    }
}

fn written_batch(batch: &write_request::StateBatch) -> StateBatch {
    StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.delivery_state,
        delivery_count: batch.delivery_count,
    }
}
