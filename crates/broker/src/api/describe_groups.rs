//! DescribeGroups: the state and the members of classic groups.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::DescribeGroupsRequest;

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

const AUTHORIZED_OPERATIONS_SINCE: i16 = 3;
/// All that can be done to a group, a bit for each operation's code: read (3), delete (6), describe (8), describe configs
/// (10), alter configs (11).
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeGroupsRequest>) {
    let (context, request, answer) = call.into_parts();
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
