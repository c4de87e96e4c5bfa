//! The APIs of committed offsets, as the rest of the broker sees them.

use std::sync::Arc;

use ottla_types::Now;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_commit_response::{
    Partition as CommittedPartition, Topic as CommittedTopic,
};
use ottla_wire::messages::offset_fetch_request::{Group as FetchGroup, GroupTopic as FetchTopic};
use ottla_wire::messages::offset_fetch_response::{
    Group as FetchedGroup, GroupTopic as FetchedTopic, GroupTopicPartition as FetchedPartition, Topic,
    TopicPartition,
};
use ottla_wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::fetch_offsets;
use crate::gather::Gather;
use crate::group::context::RequestContext;
use crate::group::coordinator::GroupCoordinator;
use crate::group::errors;
use crate::runtime::{Responder, TransactionMarker};

impl GroupCoordinator {
    /// Topics must come with their names, and with their ids where the request has them: whoever knows the metadata has
    /// resolved and answered for what is unknown.
    pub fn offset_commit(
        &self,
        context: RequestContext,
        request: OffsetCommitRequest,
        reply: impl FnOnce(OffsetCommitResponse) + Send + 'static,
    ) {
        let template = request.topics.clone();
        let error = move |code: ErrorCode| {
            let topics = template.into_iter().map(|topic| {
                let partitions = topic.partitions.into_iter().map(|partition| CommittedPartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                    ..CommittedPartition::default()
                });
                CommittedTopic {
                    name: topic.name,
                    topic_id: topic.topic_id,
                    partitions: partitions.collect(),
                    ..CommittedTopic::default()
                }
            });
            OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
        };
        let partition = self.partition_for(&request.group_id).ok_or(ErrorCode::CoordinatorNotAvailable);
        self.submit(partition, context.now, reply, error, move |shard, turn, responder| {
            shard.commit_offsets(turn, &context, request, responder);
        });
    }

    /// Topics of version 10 must come with names and ids, as in [`GroupCoordinator::offset_commit`].
    pub fn offset_fetch(
        &self,
        context: RequestContext,
        request: OffsetFetchRequest,
        reply: impl FnOnce(OffsetFetchResponse) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let require_stable = request.require_stable;
        let groups = groups_of_fetch(request, api_version);
        let gather = Gather::new(groups.len(), move |groups| reply(fetch_response(groups, api_version)));
        for (index, group) in groups.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            self.fetch_group(&context, group, require_stable, move |group| gather.put(index, group));
        }
    }

    fn fetch_group(
        &self,
        context: &RequestContext,
        group: FetchGroup,
        require_stable: bool,
        reply: impl FnOnce(FetchedGroup) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let template = group.clone();
        let partition = self.partition_for(&group.group_id);
        let responder = Responder::new(move |result: Result<FetchedGroup, ErrorCode>| {
            let error = |code| fetch_error(template, errors::of_offset_fetch(code), api_version);
            reply(result.unwrap_or_else(error));
        });
        let Some(partition) = partition else {
            responder.answer(Err(ErrorCode::CoordinatorNotAvailable));
            return;
        };
        self.runtime.submit(partition, context.now, responder, move |_, turn, responder| {
            // What an open transaction may still change is answered from all that is written, once that is safe. So is what a
            // coordinator before this one may have answered already: positions never go back.
            let waits = require_stable || !turn.knows_what_was_promised;
            let state = if waits { turn.state } else { turn.committed };
            match fetch_offsets(state, group, require_stable) {
                Ok(fetched) if waits => turn.reply(responder, fetched),
                result => turn.reply_at_once(responder, result),
            }
        });
    }

    /// Commits as part of a transaction: nobody hears of the offsets unless it is committed. `verification` is the number
    /// that the log has given for the transaction, where one was needed. Topics that are unknown must be answered for
    /// before.
    pub fn txn_offset_commit(
        &self,
        context: RequestContext,
        request: TxnOffsetCommitRequest,
        verification: Option<u64>,
        reply: impl FnOnce(TxnOffsetCommitResponse) + Send + 'static,
    ) {
        let template = request.topics.clone();
        let error = move |code: ErrorCode| errors::txn_offset_commit(template, code);
        let partition = self.partition_of_named(&request.group_id);
        self.submit(partition, context.now, reply, error, move |shard, turn, responder| {
            shard.commit_transactional_offsets(turn, request, verification, responder);
        });
    }

    /// Ends a transaction that may have committed offsets in `partition` of `__consumer_offsets`: appends the marker, and
    /// answers when it is committed.
    pub fn end_transaction(
        &self,
        partition: i32,
        marker: TransactionMarker,
        now: Now,
        reply: impl FnOnce(Result<(), ErrorCode>) + Send + 'static,
    ) {
        self.runtime.end_transaction(partition, now, marker, Responder::new(reply));
    }

    pub fn offset_delete(
        &self,
        context: RequestContext,
        request: OffsetDeleteRequest,
        reply: impl FnOnce(OffsetDeleteResponse) + Send + 'static,
    ) {
        let error = |code: ErrorCode| OffsetDeleteResponse {
            error_code: code.code(),
            ..OffsetDeleteResponse::default()
        };
        let partition = self.partition_of_named(&request.group_id);
        self.submit(partition, context.now, reply, error, move |shard, turn, responder| {
            shard.delete_offsets(turn, request, responder);
        });
    }
}

/// Before version 8 a request is for one group.
fn groups_of_fetch(request: OffsetFetchRequest, api_version: i16) -> Vec<FetchGroup> {
    if api_version >= 8 {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topic = |topic: ottla_wire::messages::offset_fetch_request::Topic| FetchTopic {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..FetchTopic::default()
        };
        topics.into_iter().map(topic).collect()
    });
    vec![FetchGroup { group_id: request.group_id, topics, ..FetchGroup::default() }]
}

fn fetch_response(mut groups: Vec<FetchedGroup>, api_version: i16) -> OffsetFetchResponse {
    if api_version >= 8 {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let partition = |partition: FetchedPartition| TopicPartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..TopicPartition::default()
    };
    let topic = |topic: FetchedTopic| Topic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Topic::default()
    };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

/// Version 1 has room for errors with the partitions alone.
fn fetch_error(group: FetchGroup, code: ErrorCode, api_version: i16) -> FetchedGroup {
    if api_version >= 2 {
        return FetchedGroup { group_id: group.group_id, error_code: code.code(), ..FetchedGroup::default() };
    }
    let topic = |topic: FetchTopic| FetchedTopic {
        name: topic.name,
        partitions: topic
            .partition_indexes
            .into_iter()
            .map(|partition_index| FetchedPartition {
                partition_index,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(String::new()),
                error_code: code.code(),
                ..FetchedPartition::default()
            })
            .collect(),
        ..FetchedTopic::default()
    };
    let topics = group.topics.unwrap_or_default().into_iter().map(topic).collect();
    FetchedGroup { group_id: group.group_id, topics, ..FetchedGroup::default() }
}
