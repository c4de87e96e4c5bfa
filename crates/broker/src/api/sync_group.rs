//! SyncGroup: a group's leader brings the assignment, and every member takes its part.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::call::Call;
use super::groups::request_context;
use crate::node::Node;

/// Since this version a member must name the protocol that it takes part in (KIP-559).
const PROTOCOL_SINCE: i16 = 5;

pub(super) fn handle(node: &Arc<Node>, call: Call<SyncGroupRequest>) {
    let (context, request, answer) = call.into_parts();
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.version() >= PROTOCOL_SINCE && !names_protocol {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        return answer.reply(&SyncGroupResponse { error_code, ..SyncGroupResponse::default() });
    }
    let context = request_context(node, &context);
    node.groups.sync_group(context, request, move |response| answer.reply(&response));
}
