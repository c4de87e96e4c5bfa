//! Where requests go, and which topics are asked for.

use std::sync::Arc;

use ottla_types::NodeId;

use crate::cluster::CoordinatorKind;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A broker of the cluster.
    Node(NodeId),
    /// Whichever has the least to do.
    AnyNode,
    /// Who changes the cluster. A broker that isn't it passes the request on.
    Controller,
    /// Who coordinates a group, a transactional id, or the shares of a partition.
    Coordinator(CoordinatorKind, Arc<str>),
}

impl Target {
    /// The coordinator of a group.
    pub fn group(id: &str) -> Target {
        Target::Coordinator(CoordinatorKind::Group, id.into())
    }

    /// The coordinator of a transactional id.
    pub fn transaction(id: &str) -> Target {
        Target::Coordinator(CoordinatorKind::Transaction, id.into())
    }
}

/// Which topics metadata is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// Brokers and controller only.
    Nothing,
    /// All that this client may see.
    Every,
    Named(Vec<Arc<str>>),
}
