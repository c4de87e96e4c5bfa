//! The share coordinator as the group coordinator sees it.

use std::sync::Arc;

use ottla_coordinator::group::{ShareGroups, ShareStates};
use ottla_coordinator::share_state::{Outcome, SharePartitionKey, ShareStateError, StateSummary};
use ottla_types::{Now, Uuid};
use ottla_wire::ErrorCode;

use super::NodeLink;
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
    fn start<T: Send + 'static>(&self, call: RetriedCall<T>, now: Now) {
        match self.0.get() {
            Some(node) => call.start(&node, now),
            None => (call.done)(Err(ShareStateError::of(ErrorCode::CoordinatorNotAvailable)), now),
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
        let attempt = move |coordinator: &ottla_coordinator::share_state::ShareCoordinator,
                            key,
                            now,
                            reply: Box<dyn FnOnce(Outcome<()>) + Send>| {
            coordinator.initialize(key, state_epoch, start_offset, now, reply);
        };
        self.start(RetriedCall { key, attempt: Arc::new(attempt), done }, now);
    }

    fn delete(&self, key: SharePartitionKey, now: Now, done: Done<()>) {
        let attempt = |coordinator: &ottla_coordinator::share_state::ShareCoordinator,
                       key,
                       now,
                       reply: Box<dyn FnOnce(Outcome<()>) + Send>| {
            coordinator.delete(key, now, reply);
        };
        self.start(RetriedCall { key, attempt: Arc::new(attempt), done }, now);
    }

    fn summarize(&self, key: SharePartitionKey, now: Now, done: Done<StateSummary>) {
        let attempt = |coordinator: &ottla_coordinator::share_state::ShareCoordinator,
                       key,
                       now,
                       reply: Box<dyn FnOnce(Outcome<StateSummary>) + Send>| {
            coordinator.summarize(key, now, reply);
        };
        self.start(RetriedCall { key, attempt: Arc::new(attempt), done }, now);
    }

    fn latest_offset(&self, topic_id: Uuid, partition: i32) -> Option<i64> {
        let replica = self.0.get()?.replicas.partition_by_id(topic_id, partition)?;
        replica.is_leader().then(|| replica.log().high_watermark().value())
    }
}
