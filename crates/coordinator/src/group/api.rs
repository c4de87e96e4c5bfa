//! The APIs of groups of any kind, as the rest of the broker sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_groups_response::Result as DeletedGroup;
use ottla_wire::messages::describe_groups_response::Group as DescribedGroup;
use ottla_wire::messages::list_groups_response::Group as ListedGroup;
use ottla_wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse,
};

use super::context::RequestContext;
use super::coordinator::{GroupCoordinator, responder};
use super::errors;
use super::listing::ListFilter;
use super::shard::{GroupShard, GroupTurn};
use crate::gather::Gather;
use crate::runtime::{Responder, partition_for_key};

/// A shard works on so many groups of one request before others have their turn.
const GROUPS_AT_ONCE: usize = 1_000;

impl GroupCoordinator {
    pub fn delete_groups(
        &self,
        context: RequestContext,
        request: DeleteGroupsRequest,
        reply: impl FnOnce(DeleteGroupsResponse) + Send + 'static,
    ) {
        let finish = move |results: Vec<DeletedGroup>| {
            reply(DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() });
        };
        let error = |group_id: String, code: ErrorCode| DeletedGroup {
            group_id,
            error_code: code.code(),
            ..DeletedGroup::default()
        };
        self.for_groups(
            &context,
            request.groups_names,
            error,
            finish,
            |shard, turn, group_ids, responder| {
                shard.delete_groups(turn, group_ids, responder);
            },
        );
    }

    pub fn describe_groups(
        &self,
        context: RequestContext,
        request: DescribeGroupsRequest,
        reply: impl FnOnce(DescribeGroupsResponse) + Send + 'static,
    ) {
        let api_version = context.api_version;
        let finish = move |groups: Vec<DescribedGroup>| {
            reply(DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() });
        };
        let error = |group_id: String, code: ErrorCode| DescribedGroup {
            group_id,
            error_code: code.code(),
            ..DescribedGroup::default()
        };
        self.for_groups(&context, request.groups, error, finish, move |shard, turn, group_ids, responder| {
            let described = shard.describe(turn, group_ids, api_version);
            turn.reply_at_once(responder, Ok(described));
        });
    }

    /// Lists the groups that this node coordinates.
    pub fn list_groups(
        &self,
        context: RequestContext,
        request: ListGroupsRequest,
        reply: impl FnOnce(ListGroupsResponse) + Send + 'static,
    ) {
        if self.runtime.topic_partitions().is_none() {
            let error_code = ErrorCode::CoordinatorNotAvailable.code();
            return reply(ListGroupsResponse { error_code, ..ListGroupsResponse::default() });
        }
        let filter = ListFilter::new(&request.states_filter, &request.types_filter);
        let partitions = self.runtime.partitions();
        let gather = Gather::new(partitions.len(), move |parts| reply(list_response(parts)));
        for (index, partition) in partitions.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let responder = Responder::new(move |listed| gather.put(index, listed));
            let filter = filter.clone();
            self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
                let listed = shard.list(turn, &filter);
                turn.reply_at_once(responder, Ok(listed));
            });
        }
    }

    /// Asks each shard for its part of the groups, so many at once that nobody else waits long for the shard, and answers
    /// when all have answered.
    pub(super) fn for_groups<T: Send + 'static>(
        &self,
        context: &RequestContext,
        group_ids: Vec<String>,
        error: impl Fn(String, ErrorCode) -> T + Copy + Send + 'static,
        finish: impl FnOnce(Vec<T>) + Send + 'static,
        operation: impl Fn(&mut GroupShard, &mut GroupTurn<'_>, Vec<String>, Responder<Vec<T>>)
        + Copy
        + Send
        + 'static,
    ) {
        let Some(partitions) = self.runtime.topic_partitions() else {
            let refused = |group_id| error(group_id, ErrorCode::CoordinatorNotAvailable);
            return finish(group_ids.into_iter().map(refused).collect());
        };
        let mut by_partition: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for group_id in group_ids {
            by_partition.entry(partition_for_key(&group_id, partitions)).or_default().push(group_id);
        }
        let asked: Vec<(i32, Vec<String>)> = by_partition
            .into_iter()
            .flat_map(|(partition, group_ids)| portions(group_ids).map(move |portion| (partition, portion)))
            .collect();
        let gather = Gather::new(asked.len(), |parts: Vec<Vec<T>>| {
            finish(parts.into_iter().flatten().collect());
        });
        for (index, (partition, group_ids)) in asked.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let of_error = group_ids.clone();
            let responder = responder(
                move |part| gather.put(index, part),
                move |code| of_error.into_iter().map(|group_id| error(group_id, code)).collect(),
            );
            self.runtime.submit(partition, context.now, responder, move |shard, turn, responder| {
                operation(shard, turn, group_ids, responder);
            });
        }
    }
}

fn portions(group_ids: Vec<String>) -> impl Iterator<Item = Vec<String>> {
    let mut left = group_ids.into_iter();
    std::iter::from_fn(move || {
        let portion: Vec<String> = left.by_ref().take(GROUPS_AT_ONCE).collect();
        (!portion.is_empty()).then_some(portion)
    })
}

/// Shards that were lost meanwhile have nothing to list; one that is loading makes the list incomplete, so there is none.
fn list_response(parts: Vec<Result<Vec<ListedGroup>, ErrorCode>>) -> ListGroupsResponse {
    let mut groups = Vec::new();
    for part in parts {
        match part {
            Ok(listed) => groups.extend(listed),
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => {
                let error_code = errors::of_operation(code).code();
                return ListGroupsResponse { error_code, ..ListGroupsResponse::default() };
            }
        }
    }
    ListGroupsResponse { groups, ..ListGroupsResponse::default() }
}
