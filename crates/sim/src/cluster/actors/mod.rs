//! Clients, and how each finds the nodes that it needs: by asking, as real clients do.

mod of_cluster;
mod of_node;
mod of_partition;
mod routes;
mod silence;

use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla_types::{MonoMs, NodeId, Now, TopicPartition};

use crate::clients::Client;
use crate::event::Event;
use crate::network::{Late, Link};
use crate::node::SteppedNode;
use crate::rng::Rng;

pub(super) use of_cluster::OfCluster;
pub(super) use of_node::OfNode;
pub(super) use of_partition::OfPartition;

const METADATA_VERSION: i16 = 12;
const RETRY_MS: i64 = 100;

/// What one may see of the cluster from outside.
pub(super) struct Outside<'a> {
    pub rng: &'a mut Rng,
    pub now: Now,
    pub events: &'a mut Vec<Event>,
    pub next_connection_id: &'a mut u64,
    /// Nodes that take connections.
    pub listening: &'a [NodeId],
    /// Who leads what, as far as anybody does, and in which epoch: what no client knows.
    pub leaders: &'a BTreeMap<TopicPartition, (i32, NodeId)>,
}

impl Outside<'_> {
    /// Any node that takes connections.
    fn anybody(&mut self) -> Option<NodeId> {
        let count = self.listening.len() as u64;
        if count == 0 { None } else { Some(self.listening[self.rng.below(count) as usize]) }
    }

    /// Whether nobody has taken over from a node.
    fn leads(&self, id: NodeId, partition: &TopicPartition) -> bool {
        self.leaders.get(partition).is_none_or(|(_, leader)| *leader == id)
    }

    fn next_connection(&mut self) -> u64 {
        *self.next_connection_id += 1;
        *self.next_connection_id
    }
}

/// A client with its ways to nodes.
pub(super) trait Actor: Debug {
    fn client(&self) -> &dyn Client;
    fn client_mut(&mut self) -> &mut dyn Client;

    /// Its connections, and the nodes at their other ends.
    fn ways(&mut self) -> Vec<(&mut Link, Option<NodeId>)>;

    fn step(&mut self, outside: &mut Outside<'_>);

    fn is_finished(&self) -> bool;

    /// Its connections are gone. Where it can be that what was sent still arrives, this is what.
    fn lose_connections<'a>(
        &mut self,
        node_at: &dyn Fn(Option<NodeId>) -> Option<&'a SteppedNode>,
        now: MonoMs,
        arrives: bool,
    ) -> Option<(NodeId, Late)>;

    /// A process has ended.
    fn process_ended(&mut self, id: NodeId, now: MonoMs) {
        for (link, to) in self.ways() {
            if to == Some(id) {
                link.cut(None, now);
            }
        }
    }

    fn deliver<'a>(&mut self, node_at: &dyn Fn(Option<NodeId>) -> Option<&'a SteppedNode>, now: MonoMs) {
        for (link, to) in self.ways() {
            if let Some(node) = node_at(to) {
                link.tell_abandoned(node);
                link.deliver(node, now);
            }
        }
    }

    fn collect<'a>(
        &mut self,
        node_at: &dyn Fn(Option<NodeId>) -> Option<&'a SteppedNode>,
        now: MonoMs,
        rng: &mut Rng,
    ) {
        for (link, to) in self.ways() {
            if let Some(node) = node_at(to) {
                link.collect(node, now, rng);
            }
        }
    }
}
