//! ShareGroupHeartbeat (KIP-932): a member of a share group joins, stays and leaves.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};

use super::call::Call;
use super::groups::request_context;
use super::share_groups;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ShareGroupHeartbeatRequest>) {
    let (context, request, answer) = call.into_parts();
    if !share_groups::is_enabled(node) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return answer.reply(&ShareGroupHeartbeatResponse { error_code, ..Default::default() });
    }
    let context = request_context(node, &context);
    node.share_groups().heartbeat(context, request, move |response| answer.reply(&response));
}
