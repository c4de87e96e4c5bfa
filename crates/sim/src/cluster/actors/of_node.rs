//! A client of one node, whatever that leads: an operator's tool.

use ottla_types::{MonoMs, NodeId};

use super::silence::Silence;
use super::{Actor, Outside};
use crate::clients::{Client, Topics, World};
use crate::network::{Late, Link};
use crate::node::SteppedNode;

/// See the module.
#[derive(Debug)]
pub(in crate::cluster) struct OfNode {
    node: NodeId,
    link: Link,
    client: Box<dyn Client>,
    topics: Topics,
    silence: Silence,
}

impl OfNode {
    pub fn new(name: String, node: NodeId, client: Box<dyn Client>, latency_ms: u64) -> OfNode {
        let link = Link::new(name, latency_ms);
        OfNode { node, link, client, topics: Topics::default(), silence: Silence::default() }
    }
}

impl Actor for OfNode {
    fn client(&self) -> &dyn Client {
        &*self.client
    }

    fn client_mut(&mut self) -> &mut dyn Client {
        &mut *self.client
    }

    fn ways(&mut self) -> Vec<(&mut Link, Option<NodeId>)> {
        vec![(&mut self.link, Some(self.node))]
    }

    fn step(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now.mono;
        if self.silence.is_too_long(self.link.has_unanswered(), now) {
            self.link.cut(None, now);
        }
        let mut world = World {
            rng: outside.rng,
            now: outside.now,
            events: outside.events,
            topics: &mut self.topics,
            is_up: outside.listening.contains(&self.node),
            next_connection_id: outside.next_connection_id,
            hears_newest: true,
        };
        self.client.step(&mut self.link, &mut world);
    }

    fn is_finished(&self) -> bool {
        self.client.is_finished(&self.topics)
    }

    fn lose_connections<'a>(
        &mut self,
        node_at: &dyn Fn(Option<NodeId>) -> Option<&'a SteppedNode>,
        now: MonoMs,
        _: bool,
    ) -> Option<(NodeId, Late)> {
        self.link.cut(node_at(Some(self.node)), now);
        None
    }
}
