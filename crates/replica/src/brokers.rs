use std::fmt::Debug;

use ottla_types::{BrokerEpoch, NodeId};

/// What the metadata say of the cluster's brokers.
pub trait Brokers: Send + Sync + Debug {
    /// The epoch under which a broker is registered, while it is neither fenced nor leaving: only such a one may become
    /// in sync (KIP-903).
    fn active_epoch(&self, broker: NodeId) -> Option<BrokerEpoch>;
}

/// Of a cluster with one broker.
#[derive(Clone, Copy, Debug)]
pub struct NoOtherBrokers;

impl Brokers for NoOtherBrokers {
    fn active_epoch(&self, _: NodeId) -> Option<BrokerEpoch> {
        None
    }
}
