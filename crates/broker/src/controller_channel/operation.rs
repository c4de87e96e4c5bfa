//! One request to the controller: done here as an operation, or sent to where the controller is.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_controller::{Controller, Outcome};
use ottla_types::{MonoMs, Now};
use ottla_wire::messages::{EnvelopeRequest, EnvelopeResponse};
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, Request, RequestHeader, decode_response, encode_request};
use parking_lot::Mutex;

use super::{ControllerLink, Fate, Job, Release, UnderWay, Written};
use crate::peers::{Channel, PeerAnswer, PeerError, PeerRequest};
use crate::principal;

/// How a request reaches the controller of another node.
pub(crate) enum Way<R: Request> {
    /// Not at all: it came to this controller.
    Here,
    /// As this node's own. The function says whether the answer is that the node is not the controller.
    Own { channel: Channel, is_elsewhere: fn(&R::Response) -> bool },
    /// On behalf of a client (KIP-590).
    Envelope(Forwarded),
}

/// A client's request: what stood in front of it, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub header: RequestHeader,
    pub peer: IpAddr,
}

/// Who waits for an answer; nobody any more once it is taken.
pub(crate) type Waiting<T> = Arc<Mutex<Option<Box<dyn FnOnce(Result<T, ErrorCode>) + Send>>>>;

/// See the module.
pub(crate) struct Operation<R: Request, F> {
    pub request: R,
    pub way: Way<R>,
    /// What the controller of this node does.
    pub operation: F,
    /// No attempt is made from then on.
    pub due: MonoMs,
    pub waiting: Waiting<R::Response>,
}

impl<R, F> Job for Operation<R, F>
where
    R: Request,
    F: Fn(&mut Controller, &R, Now) -> Outcome<R::Response> + Send + 'static,
{
    fn run(self: Box<Self>, controller: &mut Controller, now: Now) -> Written {
        if self.is_abandoned() {
            return Written::for_nobody(Vec::new());
        }
        let Outcome { records, response } = (self.operation)(controller, &self.request, now);
        // Nodes learn from their own images what was decided.
        let awaits_effect = matches!(self.way, Way::Envelope(_));
        let release: Release = Box::new(move |fate| match fate {
            Fate::Committed => {
                self.finish(Ok(response));
                None
            }
            Fate::Lost if self.is_for_this_node() => {
                self.finish(Err(ErrorCode::NotController));
                None
            }
            Fate::Lost => Some(self),
            Fate::Refused(code) => {
                self.finish(Err(code));
                None
            }
        });
        Written { records, awaits_effect, release }
    }

    fn send(self: Box<Self>, link: &ControllerLink<'_>) {
        // What can't be answered in time any more would only end the connection for all others that wait on it.
        if self.due <= link.now.mono {
            return self.finish(Err(ErrorCode::RequestTimedOut));
        }
        let left_ms = i64::try_from(self.due.since_ms(link.now.mono)).unwrap_or(i64::MAX);
        let timeout_ms = link.timeout_ms.min(left_ms).max(1);
        match &self.way {
            Way::Here => self.finish(Err(ErrorCode::NotController)),
            Way::Own { channel, is_elsewhere } => {
                let (channel, is_elsewhere) = (*channel, *is_elsewhere);
                self.send_own(channel, is_elsewhere, timeout_ms, link);
            }
            Way::Envelope(forwarded) => match self.envelope(forwarded) {
                Ok(envelope) => self.send_envelope(envelope, timeout_ms, link),
                Err(code) => self.finish(Err(code)),
            },
        }
    }

    fn refuse(self: Box<Self>, code: ErrorCode) {
        self.finish(Err(code));
    }

    fn is_for_this_node(&self) -> bool {
        matches!(self.way, Way::Here)
    }

    fn is_abandoned(&self) -> bool {
        self.waiting.lock().is_none()
    }
}

impl<R, F> Operation<R, F>
where
    R: Request,
    F: Fn(&mut Controller, &R, Now) -> Outcome<R::Response> + Send + 'static,
{
    fn finish(&self, result: Result<R::Response, ErrorCode>) {
        let done = self.waiting.lock().take();
        if let Some(done) = done {
            done(result);
        }
    }

    /// What a node asks for itself does no harm when it is asked twice: it is taken back when the leader changes.
    fn send_own(
        self: Box<Self>,
        channel: Channel,
        is_elsewhere: fn(&R::Response) -> bool,
        timeout_ms: i64,
        link: &ControllerLink<'_>,
    ) {
        let request = self.request.clone();
        let slot = Arc::new(Mutex::new(Some(self)));
        let id = link.channel.begin(Arc::clone(&slot) as Arc<dyn UnderWay>);
        let to = Arc::clone(link.channel);
        let done = move |answer: Result<PeerAnswer<R::Response>, PeerError>, now| {
            to.end(id);
            let this = slot.lock().take();
            let Some(this) = this else { return };
            match answer {
                Ok(answer) if is_elsewhere(&answer.response) => to.put_back_later(this, now),
                Ok(answer) => this.finish(Ok(answer.response)),
                Err(error) => this.failed(&error, &to, now),
            }
        };
        link.peers.send(link.to, channel, PeerRequest::new(request, timeout_ms, done));
    }

    fn send_envelope(self: Box<Self>, envelope: EnvelopeRequest, timeout_ms: i64, link: &ControllerLink<'_>) {
        let to = Arc::clone(link.channel);
        let done = move |answer: Result<PeerAnswer<EnvelopeResponse>, PeerError>, now| match answer {
            Ok(PeerAnswer { response, .. }) => match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::None) => {
                    let answer = self.unwrap(response);
                    self.finish(answer);
                }
                Some(ErrorCode::NotController) => to.put_back_later(self, now),
                code => self.finish(Err(code.unwrap_or(ErrorCode::UnknownServerError))),
            },
            Err(error) => self.failed(&error, &to, now),
        };
        let request = PeerRequest::new(envelope, timeout_ms, done);
        link.peers.send(link.to, Channel::Forwarding, request);
    }

    fn failed(self: Box<Self>, error: &PeerError, channel: &super::ControllerChannel, now: Now) {
        let api = R::API_KEY.name();
        match error {
            PeerError::Disconnected(_)
            | PeerError::Refused(_)
            | PeerError::TimedOut
            | PeerError::Overloaded => {
                tracing::debug!(api, %error, "the controller was not reached: trying again");
                channel.put_back_later(self, now);
            }
            PeerError::UnsupportedVersion => self.finish(Err(ErrorCode::UnsupportedVersion)),
            PeerError::Malformed(_) => {
                tracing::error!(api, %error, "the controller has answered something else");
                self.finish(Err(ErrorCode::UnknownServerError));
            }
        }
    }

    fn envelope(&self, forwarded: &Forwarded) -> Result<EnvelopeRequest, ErrorCode> {
        let unencodable = |error: &dyn std::fmt::Display| {
            tracing::error!(api = R::API_KEY.name(), %error, "a request can't be passed on");
            ErrorCode::UnknownServerError
        };
        let RequestHeader { api_version, correlation_id, client_id, .. } = &forwarded.header;
        let frame = encode_request(*correlation_id, client_id.as_deref(), &self.request, *api_version)
            .map_err(|error| unencodable(&error))?;
        let principal = principal::anonymous().map_err(|error| unencodable(&error))?;
        Ok(EnvelopeRequest {
            request_data: frame.bytes.slice(FRAME_LENGTH_BYTES..),
            request_principal: Some(principal),
            client_host_address: address_bytes(forwarded.peer),
            ..EnvelopeRequest::default()
        })
    }

    fn unwrap(&self, response: EnvelopeResponse) -> Result<R::Response, ErrorCode> {
        let version = match &self.way {
            Way::Envelope(forwarded) => forwarded.header.api_version,
            _ => return Err(ErrorCode::UnknownServerError),
        };
        let data = response.response_data.ok_or(ErrorCode::UnknownServerError)?;
        match decode_response::<R::Response>(data, version) {
            Ok((_, response)) => Ok(response),
            Err(error) => {
                tracing::error!(api = R::API_KEY.name(), %error, "the controller's answer can't be read");
                Err(ErrorCode::UnknownServerError)
            }
        }
    }
}

impl<R, F> UnderWay for Mutex<Option<Box<Operation<R, F>>>>
where
    R: Request,
    F: Fn(&mut Controller, &R, Now) -> Outcome<R::Response> + Send + 'static,
{
    fn take_back(&self) -> Option<Box<dyn Job>> {
        let job = self.lock().take()?;
        Some(job)
    }
}

fn address_bytes(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(address) => BytesMut::from(&address.octets()[..]).freeze(),
        IpAddr::V6(address) => BytesMut::from(&address.octets()[..]).freeze(),
    }
}
