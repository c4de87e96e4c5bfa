//! DescribeShareGroupOffsets (KIP-932): where share groups stand, and how much is left (KIP-1226).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_share_group_offsets_request::Group as AskedGroup;
use ottla_wire::messages::describe_share_group_offsets_response::Group;
use ottla_wire::messages::{DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse};

use super::bounds::keep_first_of_each;
use super::call::Call;
use super::groups::request_context;
use super::share_groups;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeShareGroupOffsetsRequest>) {
    let (context, mut request, answer) = call.into_parts();
    // Who asks for all that a group has needs to ask once.
    keep_first_of_each(&mut request.groups, |group| group.topics.is_none().then(|| group.group_id.clone()));
    if !share_groups::is_enabled(node) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        let refused = |group: AskedGroup| Group { group_id: group.group_id, error_code, ..Group::default() };
        let groups = request.groups.into_iter().map(refused).collect();
        return answer.reply(&DescribeShareGroupOffsetsResponse { groups, ..Default::default() });
    }
    let context = request_context(node, &context);
    node.share_groups().describe_offsets(context, request, move |response| answer.reply(&response));
}
