//! EndTxn: a transaction is committed or aborted (KIP-98). From version 5 on with a bump of the producer's epoch (KIP-890).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::end_txn_request::EndTxnRequest;

use super::call::Call;
use super::transactions::of_version;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<EndTxnRequest>) {
    let (context, request, answer) = call.into_parts();
    let version = context.version();
    node.transactions.end_transaction(request, version, context.now, move |mut response| {
        if let Some(code) = ErrorCode::from_code(response.error_code) {
            response.error_code = of_version(code, version).code();
        }
        answer.reply(&response);
    });
}
