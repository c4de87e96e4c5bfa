//! DeleteShareGroupOffsets (KIP-932): takes topics out of a share group without members.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse};

use super::call::Call;
use super::groups::request_context;
use super::share_groups;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DeleteShareGroupOffsetsRequest>) {
    let (context, request, answer) = call.into_parts();
    if !share_groups::is_enabled(node) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return answer.reply(&DeleteShareGroupOffsetsResponse { error_code, ..Default::default() });
    }
    let context = request_context(node, &context);
    node.share_groups().delete_offsets(context, request, move |response| answer.reply(&response));
}
