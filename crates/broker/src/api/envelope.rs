//! Envelope (KIP-590): a broker passes on what a client asks of the controller, with who it is and where it came from.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use ottla_wire::messages::envelope_request::EnvelopeRequest;
use ottla_wire::messages::envelope_response::EnvelopeResponse;
use ottla_wire::{ApiKey, Decoder, ErrorCode, FRAME_LENGTH_BYTES, decode_request_header};
use parking_lot::Mutex;

use super::call::{Answer, Call};
use super::dispatch::dispatch;
use super::table::Api;
use crate::exchange::{Connection, Held, Part, Reply, ReplySink, ReplySlot, shown_host};
use crate::node::Node;
use crate::principal;

pub(super) fn handle(node: &Arc<Node>, call: Call<EnvelopeRequest>) {
    let (context, request, answer) = call.into_parts();
    let client = match client(&context.connection, &request) {
        Ok(client) => client,
        Err(code) => return answer.reply(&refused(code)),
    };
    let sink = Arc::new(Wrapping { answer: Mutex::new(Some(answer)), is_elsewhere: AtomicBool::new(false) });
    dispatch(node, &client, request.request_data, context.now, ReplySlot::new(sink, 0));
}

/// The connection that the request would have come on, if it may come in an envelope.
fn client(through: &Connection, request: &EnvelopeRequest) -> Result<Arc<Connection>, ErrorCode> {
    let header = decode_request_header(&mut Decoder::new(request.request_data.clone()))
        .map_err(|_| ErrorCode::InvalidRequest)?;
    let facts = header.api_key.facts();
    if !facts.is_forwarded || header.api_key == ApiKey::Envelope {
        return Err(ErrorCode::InvalidRequest);
    }
    let served = Api::find(header.api_key).and_then(|api| api.served(true));
    if !served.is_some_and(|versions| versions.contains(header.api_version)) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let is_known = request.request_principal.clone().is_some_and(principal::is_valid);
    if !is_known {
        return Err(ErrorCode::PrincipalDeserializationFailure);
    }
    let address = &request.client_host_address;
    let peer = match (<[u8; 4]>::try_from(&address[..]), <[u8; 16]>::try_from(&address[..])) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => IpAddr::from(v6),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    Ok(Arc::new(Connection {
        id: through.id,
        listener: Arc::clone(&through.listener),
        is_controller_listener: through.is_controller_listener,
        peer,
        host: shown_host(peer),
        software: Mutex::new(through.software.lock().clone()),
        held: Held::default(),
    }))
}

fn refused(code: ErrorCode) -> EnvelopeResponse {
    EnvelopeResponse { error_code: code.code(), ..EnvelopeResponse::default() }
}

/// Puts the client's answer into an envelope.
struct Wrapping {
    answer: Mutex<Option<Answer<EnvelopeRequest>>>,
    is_elsewhere: AtomicBool,
}

impl ReplySink for Wrapping {
    fn reply(&self, _: u64, reply: Reply) {
        let Some(answer) = self.answer.lock().take() else { return };
        if self.is_elsewhere.load(Ordering::Relaxed) {
            return answer.reply(&refused(ErrorCode::NotController));
        }
        let data = match reply {
            Reply::Send(frame) => in_memory(frame.parts),
            Reply::Nothing => None,
            Reply::Close(reason) => {
                tracing::warn!(reason, "a request in an envelope breaks the protocol");
                None
            }
        };
        match data {
            Some(data) => {
                answer.reply(&EnvelopeResponse { response_data: Some(data), ..EnvelopeResponse::default() })
            }
            None => answer.reply(&refused(ErrorCode::InvalidRequest)),
        }
    }

    fn is_elsewhere(&self) {
        self.is_elsewhere.store(true, Ordering::Relaxed);
    }
}

/// The response without its length. What the controller answers holds no records.
fn in_memory(parts: Vec<Part>) -> Option<Bytes> {
    let mut all = BytesMut::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => all.extend_from_slice(&bytes),
            Part::File(_) => return None,
        }
    }
    (all.len() >= FRAME_LENGTH_BYTES).then(|| all.freeze().slice(FRAME_LENGTH_BYTES..))
}
