//! AlterShareGroupOffsets (KIP-932): has a share group without members begin elsewhere.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse};

use super::call::Call;
use super::groups::request_context;
use super::share_groups;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<AlterShareGroupOffsetsRequest>) {
    let (context, request, answer) = call.into_parts();
    if !share_groups::is_enabled(node) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return answer.reply(&AlterShareGroupOffsetsResponse { error_code, ..Default::default() });
    }
    let context = request_context(node, &context);
    node.share_groups().alter_offsets(context, request, move |response| answer.reply(&response));
}
