//! The APIs of consumer groups, as the rest of the broker sees them.

use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_describe_response::Group as DescribedGroup;
use ottla_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
};

use super::heartbeat::{refused, validate};
use crate::group::context::RequestContext;
use crate::group::coordinator::{GroupCoordinator, responder};

impl GroupCoordinator {
    pub fn consumer_group_heartbeat(
        &self,
        context: RequestContext,
        request: ConsumerGroupHeartbeatRequest,
        reply: impl FnOnce(ConsumerGroupHeartbeatResponse) + Send + 'static,
    ) {
        let error = |code: ErrorCode| ConsumerGroupHeartbeatResponse {
            error_code: code.code(),
            ..ConsumerGroupHeartbeatResponse::default()
        };
        let Some(partition) = self.partition_for(&request.group_id) else {
            return reply(error(ErrorCode::CoordinatorNotAvailable));
        };
        if let Err(refusal) = validate(&request, context.api_version, &self.config.consumer.assignors) {
            return reply(refused(refusal));
        }
        let now = context.now;
        self.runtime.submit(partition, now, responder(reply, error), move |shard, turn, responder| {
            shard.consumer_heartbeat(turn, context, request, responder);
        });
    }

    pub fn consumer_group_describe(
        &self,
        context: RequestContext,
        request: ConsumerGroupDescribeRequest,
        reply: impl FnOnce(ConsumerGroupDescribeResponse) + Send + 'static,
    ) {
        let finish = move |groups: Vec<DescribedGroup>| {
            reply(ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() });
        };
        let error = |group_id: String, code: ErrorCode| DescribedGroup {
            group_id,
            error_code: code.code(),
            ..DescribedGroup::default()
        };
        self.for_groups(&context, request.group_ids, error, finish, |shard, turn, group_ids, responder| {
            let described = shard.describe_consumer_groups(turn, group_ids);
            turn.reply_at_once(responder, Ok(described));
        });
    }

    /// `group.consumer.assignment.interval.ms` is this from now on, in milliseconds.
    pub fn set_consumer_assignment_interval_ms(&self, interval_ms: i32) {
        self.metadata.set_consumer_assignment_interval_ms(interval_ms);
    }
}
