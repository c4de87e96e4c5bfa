//! ConsumerGroupDescribe: the state and the members of consumer groups (KIP-848, KIP-1099).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupDescribeRequest;
use ottla_wire::messages::consumer_group_describe_response::{ConsumerGroupDescribeResponse, Group};

use super::bounds::keep_first_of_each_name;
use super::call::Call;
use super::groups::{ALL_OPERATIONS, request_context, serves_consumer_groups};
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ConsumerGroupDescribeRequest>) {
    let (context, mut request, answer) = call.into_parts();
    keep_first_of_each_name(&mut request.group_ids);
    if !serves_consumer_groups(node) {
        let groups = request.group_ids.into_iter().map(|group_id| Group {
            group_id,
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..Group::default()
        });
        return answer.reply(&ConsumerGroupDescribeResponse {
            groups: groups.collect(),
            ..ConsumerGroupDescribeResponse::default()
        });
    }
    let wants_operations = request.include_authorized_operations;
    let context = request_context(node, &context);
    node.groups.consumer_group_describe(context, request, move |mut response| {
        if wants_operations {
            let known = response.groups.iter_mut().filter(|group| group.error_code == ErrorCode::None.code());
            known.for_each(|group| group.authorized_operations = ALL_OPERATIONS);
        }
        answer.reply(&response);
    });
}
