//! What transactions need of a node beside their coordinator: markers that reach the leaders of partitions, appends that
//! are confirmed by the coordinator first, and producer ids.

mod markers;
mod other_brokers;
mod verification;

pub(crate) use markers::MarkerDispatch;
pub use other_brokers::{Answered, BrokersOfCluster, OtherBrokers, ShareStateRequest, ShareStateResponse};
pub(crate) use verification::{Support, TransactionalAppend};

use std::sync::Weak;

use ottla_coordinator::transaction::ProducerIdSource;
use ottla_types::ProducerId;
use ottla_wire::ErrorCode;

use crate::node::Node;

/// The node's producer ids, for its coordinator.
pub(crate) struct NodeProducerIds(pub Weak<Node>);

impl ProducerIdSource for NodeProducerIds {
    fn next(&self, done: Box<dyn FnOnce(Result<ProducerId, ErrorCode>) + Send>) {
        match self.0.upgrade() {
            Some(node) => node.new_producer_id(done),
            None => done(Err(ErrorCode::CoordinatorNotAvailable)),
        }
    }
}
