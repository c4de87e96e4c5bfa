//! The share coordinator as the group coordinator sees it.

use std::sync::Arc;

use ottla_coordinator::group::{ShareGroups, ShareStates};
use ottla_coordinator::share_state::{Outcome, SharePartitionKey, ShareStateError, StateSummary};
use ottla_types::{NodeId, Now, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{ListOffsetsRequest, ListOffsetsResponse, list_offsets_request};

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

/// Where a partition ends for consumers that read what is not committed.
fn latest_of(topic: &str, partition: i32) -> ListOffsetsRequest {
    const LATEST: i64 = -1;
    let partition = list_offsets_request::Partition {
        partition_index: partition,
        current_leader_epoch: -1,
        timestamp: LATEST,
        ..Default::default()
    };
    let topic = list_offsets_request::Topic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() }
}

fn latest_in(response: &ListOffsetsResponse) -> Option<i64> {
    let partition = response.topics.iter().flat_map(|topic| &topic.partitions).next()?;
    (partition.error_code == ErrorCode::None.code()).then_some(partition.offset)
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

    fn latest_offset(&self, topic_id: Uuid, partition: i32, done: Box<dyn FnOnce(Option<i64>) + Send>) {
        let Some(node) = self.0.get() else { return done(None) };
        let replica = node.replicas.partition_by_id(topic_id, partition);
        if let Some(leader) = replica.filter(|replica| replica.is_leader()) {
            return done(Some(leader.log().high_watermark().value()));
        }
        let image = node.metadata.image();
        let topic = image.topics.by_id(topic_id);
        let known = topic.and_then(|topic| Some((topic, topic.partitions.get(&partition)?.leader)));
        match known {
            Some((topic, leader)) if leader != NodeId::NONE && leader != node.identity.node_id => {
                let request = latest_of(&topic.name, partition);
                let told = Box::new(move |answer: Result<ListOffsetsResponse, ErrorCode>| {
                    done(answer.ok().and_then(|response| latest_in(&response)));
                });
                node.hooks.brokers.list_offsets(leader, request, told);
            }
            _ => done(None),
        }
    }
}
