//! InitProducerId (KIP-98): gives idempotent producers their ids.

use std::sync::Arc;

use ottla_config::keys;
use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::messages::init_producer_id_response::InitProducerIdResponse;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<InitProducerIdRequest>) {
    if let Some(code) = refuse(node, &call.request) {
        return call.reply(&response(Err(code)));
    }
    let (_, _, answer) = call.into_parts();
    node.new_producer_id(move |id| answer.reply(&response(id)));
}

/// What keeps the producer from getting an id of its own. One with a transactional id gets its from the transaction's
/// coordinator, which this node is not.
fn refuse(node: &Node, request: &InitProducerIdRequest) -> Option<ErrorCode> {
    let has_id = request.producer_id != ProducerId::NONE.0;
    let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
    if has_id != has_epoch {
        return Some(ErrorCode::InvalidRequest);
    }
    let transactional_id = request.transactional_id.as_deref()?;
    let timeouts_ms = 1..=node.config.get(keys::TRANSACTION_MAX_TIMEOUT_MS);
    Some(match transactional_id {
        "" => ErrorCode::InvalidRequest,
        _ if !timeouts_ms.contains(&request.transaction_timeout_ms) => ErrorCode::InvalidTransactionTimeout,
        _ => ErrorCode::NotCoordinator,
    })
}

fn response(id: Result<ProducerId, ErrorCode>) -> InitProducerIdResponse {
    let (error, producer_id, producer_epoch) = match id {
        Ok(id) => (ErrorCode::None, id, ProducerEpoch(0)),
        Err(code) => (code, ProducerId::NONE, ProducerEpoch::NONE),
    };
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: producer_id.0,
        producer_epoch: producer_epoch.0,
        ..InitProducerIdResponse::default()
    }
}
