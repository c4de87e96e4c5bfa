//! A client of one node, whatever that leads: an operator's tool.

use ottla_types::{MonoMs, NodeId};

use super::{Actor, Outside, REQUEST_TIMEOUT_MS};
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
    silent_since: Option<MonoMs>,
}

impl OfNode {
    pub fn new(name: String, node: NodeId, client: Box<dyn Client>, latency_ms: u64) -> OfNode {
        let link = Link::new(name, latency_ms);
        OfNode { node, link, client, topics: Topics::default(), silent_since: None }
    }

    /// An answer that does not come for long will not come.
    fn give_up_if_silent(&mut self, now: MonoMs) {
        if !self.link.has_unanswered() {
            self.silent_since = None;
            return;
        }
        let since = *self.silent_since.get_or_insert(now);
        if now.since_ms(since) > REQUEST_TIMEOUT_MS {
            self.silent_since = None;
            self.link.cut(None, now);
        }
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
        self.give_up_if_silent(outside.now.mono);
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
