use std::fmt::Debug;

use ottla_types::{BrokerEpoch, NodeId, Uuid};

/// What the metadata say of the cluster's brokers.
pub trait Brokers: Send + Sync + Debug {
    /// The epoch under which a broker is registered, while it is neither fenced nor leaving: only such a one may become
    /// in sync (KIP-903).
    fn active_epoch(&self, broker: NodeId) -> Option<BrokerEpoch>;

    /// The log directory in which a broker's replica of a partition is (KIP-858); none if that is not told.
    fn directory(&self, broker: NodeId, topic_id: Uuid, partition: i32) -> Option<Uuid>;

    /// Whether a broker's replica of a partition is in a directory that has failed, or was given up for want of room: it can't
    /// be in sync before it is in another one.
    fn is_lost(&self, broker: NodeId, topic_id: Uuid, partition: i32) -> bool;

    /// Where a broker stands that is not fenced and has this listener.
    fn rack(&self, broker: NodeId, listener: &str) -> Option<String>;
}

/// Of a cluster with one broker.
#[derive(Clone, Copy, Debug)]
pub struct NoOtherBrokers;

impl Brokers for NoOtherBrokers {
    fn active_epoch(&self, _: NodeId) -> Option<BrokerEpoch> {
        None
    }

    fn directory(&self, _: NodeId, _: Uuid, _: i32) -> Option<Uuid> {
        None
    }

    fn is_lost(&self, _: NodeId, _: Uuid, _: i32) -> bool {
        false
    }

    fn rack(&self, _: NodeId, _: &str) -> Option<String> {
        None
    }
}
