//! InitProducerId (KIP-98, KIP-360): gives idempotent producers their ids, and transactional ones theirs from the
//! coordinator of their transactional id.

use std::sync::Arc;

use ottla_types::{ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_wire::messages::init_producer_id_response::InitProducerIdResponse;

use super::call::Call;
use crate::node::Node;

/// Since this version clients know PRODUCER_FENCED here.
const PRODUCER_FENCED_SINCE: i16 = 4;

pub(super) fn handle(node: &Arc<Node>, call: Call<InitProducerIdRequest>) {
    let (context, request, answer) = call.into_parts();
    let has_id = request.producer_id != ProducerId::NONE.0;
    let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
    if has_id != has_epoch {
        return answer.reply(&response(Err(ErrorCode::InvalidRequest)));
    }
    if request.transactional_id.is_none() {
        return node.new_producer_id(move |id| answer.reply(&response(id)));
    }
    let is_old = context.version() < PRODUCER_FENCED_SINCE;
    node.transactions.init_producer_id(request, context.now, move |mut response| {
        if is_old && response.error_code == ErrorCode::ProducerFenced.code() {
            response.error_code = ErrorCode::InvalidProducerEpoch.code();
        }
        answer.reply(&response);
    });
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
