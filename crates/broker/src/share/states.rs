//! The share coordinator as the group coordinator sees it.

use std::sync::Arc;

use ottla_coordinator::group::{ShareGroups, ShareStates};
use ottla_coordinator::share_state::{Outcome, SharePartitionKey, ShareStateError, StateSummary};
use ottla_types::{Now, Uuid};
use ottla_wire::ErrorCode;

use super::NodeLink;
use super::operation::{Delete, Initialize, StateOperation, Summarize};
use super::persister::RetriedCall;
use crate::node::Node;

impl Node {
    /// What serves the APIs of share groups.
    pub(crate) fn share_groups(&self) -> ShareGroups {
        let states = Arc::new(NodeShareStates(Arc::clone(&self.share.link)));
        ShareGroups { groups: Arc::clone(&self.groups), states }
    }
}

struct NodeShareStates(Arc<NodeLink>);

type Done<T> = Box<dyn FnOnce(Outcome<T>, Now) + Send>;

impl NodeShareStates {
    fn start<O: StateOperation>(
        &self,
        key: SharePartitionKey,
        operation: O,
        now: Now,
        done: Done<O::Answer>,
    ) {
        match self.0.get() {
            Some(node) => RetriedCall { key, operation, done }.start(&node, now),
            None => done(Err(ShareStateError::of(ErrorCode::CoordinatorNotAvailable)), now),
        }
    }
}

impl ShareStates for NodeShareStates {
    fn initialize(
        &self,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        now: Now,
        done: Done<()>,
    ) {
        self.start(key, Initialize { state_epoch, start_offset }, now, done);
    }

    fn delete(&self, key: SharePartitionKey, now: Now, done: Done<()>) {
        self.start(key, Delete, now, done);
    }

    fn summarize(&self, key: SharePartitionKey, now: Now, done: Done<StateSummary>) {
        self.start(key, Summarize, now, done);
    }

    fn latest_offset(&self, topic_id: Uuid, partition: i32) -> Option<i64> {
        let replica = self.0.get()?.replicas.partition_by_id(topic_id, partition)?;
        replica.is_leader().then(|| replica.log().high_watermark().value())
    }
}
