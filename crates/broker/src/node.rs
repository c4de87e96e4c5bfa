//! One node: what its request handlers work on.

use std::sync::Arc;

use bytes::Bytes;
use ottla_config::Config;
use ottla_coordinator::group::GroupCoordinator;
use ottla_replica::ReplicaManager;
use ottla_replica::fetch_session::FetchSessions;
use ottla_types::{NodeId, Now};

use crate::api::dispatch::dispatch;
use crate::exchange::{Connection, Handler, ReplySlot};
use crate::metadata_cache::MetadataCache;

/// Who this node is; it never changes.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: NodeId,
    /// As in meta.properties.
    pub cluster_id: String,
}

/// A broker, a controller, or both, without sockets and threads.
#[derive(Debug)]
pub struct Node {
    pub(crate) identity: Identity,
    /// The static configuration.
    pub(crate) config: Arc<Config>,
    pub(crate) metadata: MetadataCache,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) fetch_sessions: FetchSessions,
    #[cfg_attr(not(test), expect(dead_code, reason = "the handlers of groups read it"))]
    pub(crate) groups: Arc<GroupCoordinator>,
}

/// The node as connections see it.
#[derive(Debug)]
pub struct NodeHandler(pub Arc<Node>);

impl Handler for NodeHandler {
    fn handle(&self, connection: &Arc<Connection>, frame: Bytes, now: Now, reply: ReplySlot) {
        dispatch(&self.0, connection, frame, now, reply);
    }

    fn closed(&self, _: &Connection) {}
}
