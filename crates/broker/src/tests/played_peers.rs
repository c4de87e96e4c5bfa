//! Other nodes, which the test plays: it sees what they are asked, and answers.

use ottla_types::{NodeId, Now};
use ottla_wire::{
    ApiKey, Decoder, FRAME_LENGTH_BYTES, Request, Response, decode_request_header, encode_response,
};
use parking_lot::Mutex;

use crate::peers::{Channel, PeerAddress, PeerError, PeerRequest, Peers};

/// What was sent, until the test answers it.
#[derive(Debug, Default)]
pub(crate) struct PlayedPeers(Mutex<Vec<(NodeId, Channel, PeerRequest)>>);

impl Peers for PlayedPeers {
    fn send(&self, to: &PeerAddress, channel: Channel, request: PeerRequest) {
        self.0.lock().push((to.node, channel, request));
    }
}

/// A request that a node was sent.
#[derive(Debug)]
pub(crate) struct Asked<R> {
    pub to: (NodeId, Channel),
    pub body: R,
    version: i16,
    request: PeerRequest,
}

impl<R: Request> Asked<R> {
    pub fn answer(self, response: &R::Response, now: Now) {
        assert_eq!(<R::Response as Response>::API_KEY, R::API_KEY);
        let frame = encode_response(1, response, self.version).expect("it encodes");
        self.request.answered(frame.bytes.slice(FRAME_LENGTH_BYTES..), now);
    }

    pub fn fail(self, error: PeerError, now: Now) {
        self.request.failed(error, now);
    }
}

impl PlayedPeers {
    /// The oldest request of this API that is not answered, in the newest version that it can have.
    pub fn take<R: Request>(&self) -> Option<Asked<R>> {
        let mut sent = self.0.lock();
        let index = sent.iter().position(|(.., request)| request.api_key() == R::API_KEY)?;
        let (node, channel, mut request) = sent.remove(index);
        drop(sent);
        let served = crate::peers::sent_versions(R::API_KEY);
        let version = request.choose_version(Some(served)).expect("it can be sent");
        let frame = request.encode(1, "node", version).expect("it encodes");
        let mut d = Decoder::new(frame.slice(FRAME_LENGTH_BYTES..));
        let header = decode_request_header(&mut d).expect("it is whole");
        assert_eq!((header.api_key, header.api_version), (R::API_KEY, version));
        let body = R::decode(&mut d, version).expect("it is whole");
        Some(Asked { to: (node, channel), body, version, request })
    }

    /// The APIs of all that is not answered.
    pub fn waiting(&self) -> Vec<ApiKey> {
        self.0.lock().iter().map(|(.., request)| request.api_key()).collect()
    }
}
