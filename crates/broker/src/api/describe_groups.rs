//! DescribeGroups: the state and the members of classic groups.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::DescribeGroupsRequest;

use super::bounds::keep_first_of_each_name;
use super::call::Call;
use super::groups::{ALL_OPERATIONS, request_context};
use crate::node::Node;

const AUTHORIZED_OPERATIONS_SINCE: i16 = 3;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeGroupsRequest>) {
    let (context, mut request, answer) = call.into_parts();
    keep_first_of_each_name(&mut request.groups);
    let wants_operations =
        context.version() >= AUTHORIZED_OPERATIONS_SINCE && request.include_authorized_operations;
    let context = request_context(node, &context);
    node.groups.describe_groups(context, request, move |mut response| {
        if wants_operations {
            let known = response.groups.iter_mut().filter(|group| group.error_code == ErrorCode::None.code());
            known.for_each(|group| group.authorized_operations = ALL_OPERATIONS);
        }
        answer.reply(&response);
    });
}
