use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

/// Takes what another broker has answered, or why it has not.
pub type Answered<R> = Box<dyn FnOnce(Result<R, ErrorCode>) + Send>;

/// Requests of a transaction that go to another broker of the cluster. Each is answered once, from any thread; where no
/// answer comes, with NETWORK_EXCEPTION.
pub trait OtherBrokers: Send + Sync {
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
}

/// Of a cluster with one broker.
#[derive(Clone, Copy, Debug)]
pub struct NoOtherBrokers;

impl OtherBrokers for NoOtherBrokers {
    fn write_txn_markers(
        &self,
        _: NodeId,
        _: WriteTxnMarkersRequest,
        done: Answered<WriteTxnMarkersResponse>,
    ) {
        done(Err(ErrorCode::NetworkException));
    }

    fn add_partitions_to_txn(
        &self,
        _: NodeId,
        _: AddPartitionsToTxnRequest,
        done: Answered<AddPartitionsToTxnResponse>,
    ) {
        done(Err(ErrorCode::NetworkException));
    }
}
