//! ShareGroupDescribe (KIP-932): the state and the members of share groups.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::share_group_describe_response::Group;
use ottla_wire::messages::{ShareGroupDescribeRequest, ShareGroupDescribeResponse};

use super::bounds::keep_first_of_each_name;
use super::call::Call;
use super::groups::{ALL_OPERATIONS, request_context};
use super::share_groups;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ShareGroupDescribeRequest>) {
    let (context, mut request, answer) = call.into_parts();
    keep_first_of_each_name(&mut request.group_ids);
    if !share_groups::is_enabled(node) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        let refused = |group_id| Group { group_id, error_code, ..Group::default() };
        let groups = request.group_ids.into_iter().map(refused).collect();
        return answer.reply(&ShareGroupDescribeResponse { groups, ..Default::default() });
    }
    let wants_operations = request.include_authorized_operations;
    let context = request_context(node, &context);
    node.share_groups().describe(context, request, move |mut response| {
        if wants_operations {
            let known = response.groups.iter_mut().filter(|group| group.error_code == ErrorCode::None.code());
            known.for_each(|group| group.authorized_operations = ALL_OPERATIONS);
        }
        answer.reply(&response);
    });
}
