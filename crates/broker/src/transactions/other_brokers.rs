use std::sync::{Arc, OnceLock, Weak};

use ottla_config::keys;
use ottla_types::{NodeId, Now};
use ottla_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, DeleteShareGroupStateRequest,
    DeleteShareGroupStateResponse, InitializeShareGroupStateRequest, InitializeShareGroupStateResponse,
    ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse, ReadShareGroupStateRequest,
    ReadShareGroupStateResponse, ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse,
    WriteShareGroupStateRequest, WriteShareGroupStateResponse, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};
use ottla_wire::{ApiKey, ErrorCode, Request, VersionRange};

use crate::node::Node;
use crate::peers::{Channel, PeerAnswer, PeerError, PeerRequest, code_of_failure, sent_versions};

/// Takes what another broker has answered, or why it has not.
pub type Answered<R> = Box<dyn FnOnce(Result<R, ErrorCode>) + Send>;

/// What is asked of a share coordinator (KIP-932).
#[derive(Clone, Debug, PartialEq)]
pub enum ShareStateRequest {
    Initialize(InitializeShareGroupStateRequest),
    Read(ReadShareGroupStateRequest),
    Write(WriteShareGroupStateRequest),
    Delete(DeleteShareGroupStateRequest),
    Summarize(ReadShareGroupStateSummaryRequest),
}

/// The answer to a [`ShareStateRequest`], of the same kind.
#[derive(Clone, Debug, PartialEq)]
pub enum ShareStateResponse {
    Initialize(InitializeShareGroupStateResponse),
    Read(ReadShareGroupStateResponse),
    Write(WriteShareGroupStateResponse),
    Delete(DeleteShareGroupStateResponse),
    Summarize(ReadShareGroupStateSummaryResponse),
}

/// Requests of a broker that go to another broker of the cluster. Each is answered once, from any thread; where no
/// answer comes, with NETWORK_EXCEPTION.
pub trait OtherBrokers: Send + Sync {
    /// Tells of the node that will ask, before it does.
    fn attach(&self, _: &Arc<Node>) {}

    fn write_txn_markers(
        &self,
        broker: NodeId,
        request: WriteTxnMarkersRequest,
        done: Answered<WriteTxnMarkersResponse>,
    );

    fn add_partitions_to_txn(
        &self,
        broker: NodeId,
        request: AddPartitionsToTxnRequest,
        done: Answered<AddPartitionsToTxnResponse>,
    );

    /// To the leader of a partition, for all in-sync replicas.
    fn produce(&self, _: NodeId, _: ProduceRequest, done: Answered<ProduceResponse>) {
        done(Err(ErrorCode::NetworkException));
    }

    /// To the leader of a partition.
    fn list_offsets(&self, _: NodeId, _: ListOffsetsRequest, done: Answered<ListOffsetsResponse>) {
        done(Err(ErrorCode::NetworkException));
    }

    /// To the broker that coordinates a share partition.
    fn share_state(&self, _: NodeId, _: ShareStateRequest, done: Answered<ShareStateResponse>) {
        done(Err(ErrorCode::NetworkException));
    }
}

/// The brokers that the metadata knows, reached over the node's own [`Peers`](crate::peers::Peers).
#[derive(Debug, Default)]
pub struct BrokersOfCluster(OnceLock<Weak<Node>>);

impl BrokersOfCluster {
    /// Sends the newest of `versions` that the broker serves.
    fn ask<R: Request>(
        &self,
        broker: NodeId,
        versions: VersionRange,
        request: R,
        done: Answered<R::Response>,
    ) {
        let Some(node) = self.0.get().and_then(Weak::upgrade) else {
            return done(Err(ErrorCode::NetworkException));
        };
        let timeout_ms = i64::from(node.config.get(keys::REQUEST_TIMEOUT_MS));
        let told = move |answer: Result<PeerAnswer<R::Response>, PeerError>, _: Now| {
            done(answer.map(|answer| answer.response).map_err(code_of_failure));
        };
        let request = PeerRequest::by_version(versions, move |_| request, timeout_ms, told);
        node.send_to_broker(broker, Channel::Coordinator, request);
    }
}

impl OtherBrokers for BrokersOfCluster {
    fn attach(&self, node: &Arc<Node>) {
        self.0.get_or_init(|| Arc::downgrade(node));
    }

    fn write_txn_markers(
        &self,
        broker: NodeId,
        request: WriteTxnMarkersRequest,
        done: Answered<WriteTxnMarkersResponse>,
    ) {
        self.ask(broker, sent_versions(ApiKey::WriteTxnMarkers), request, done);
    }

    fn add_partitions_to_txn(
        &self,
        broker: NodeId,
        request: AddPartitionsToTxnRequest,
        done: Answered<AddPartitionsToTxnResponse>,
    ) {
        // Before that there is none for several transactions.
        const BATCHED_SINCE: i16 = 4;
        let newest = sent_versions(ApiKey::AddPartitionsToTxn).max;
        self.ask(broker, VersionRange::new(BATCHED_SINCE, newest), request, done);
    }

    fn produce(&self, broker: NodeId, request: ProduceRequest, done: Answered<ProduceResponse>) {
        self.ask(broker, sent_versions(ApiKey::Produce), request, done);
    }

    fn list_offsets(&self, broker: NodeId, request: ListOffsetsRequest, done: Answered<ListOffsetsResponse>) {
        self.ask(broker, sent_versions(ApiKey::ListOffsets), request, done);
    }

    fn share_state(&self, broker: NodeId, request: ShareStateRequest, done: Answered<ShareStateResponse>) {
        use ShareStateRequest as Request;
        use ShareStateResponse as Response;
        macro_rules! ask {
            ($api:ident, $request:expr, $response:path) => {{
                let done = Box::new(move |answer: Result<_, ErrorCode>| done(answer.map($response)));
                self.ask(broker, sent_versions(ApiKey::$api), $request, done);
            }};
        }
        match request {
            Request::Initialize(request) => ask!(InitializeShareGroupState, request, Response::Initialize),
            Request::Read(request) => ask!(ReadShareGroupState, request, Response::Read),
            Request::Write(request) => ask!(WriteShareGroupState, request, Response::Write),
            Request::Delete(request) => ask!(DeleteShareGroupState, request, Response::Delete),
            Request::Summarize(request) => ask!(ReadShareGroupStateSummary, request, Response::Summarize),
        }
    }
}
