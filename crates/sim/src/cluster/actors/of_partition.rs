//! A client of one partition: it talks to the leader, asks some node who that is, and asks anew whenever its connection is
//! gone.

use ottla_types::{MonoMs, NodeId, TopicPartition, Uuid};
use ottla_wire::messages::metadata_request::Topic;
use ottla_wire::messages::{MetadataRequest, MetadataResponse};

use super::silence::Silence;
use super::{Actor, METADATA_VERSION, Outside, RETRY_MS};
use crate::clients::{Client, Topics, World};
use crate::network::{Heard, Late, Link, Ticket, decode};
use crate::node::SteppedNode;

/// See the module.
#[derive(Debug)]
pub(in crate::cluster) struct OfPartition {
    topic: String,
    link: Link,
    client: Box<dyn Client>,
    /// The node at the other end of the link.
    target: Option<NodeId>,
    /// The way to the node that is asked for the leader.
    finder: Link,
    asked: Option<NodeId>,
    ticket: Option<Ticket>,
    wait_until: MonoMs,
    topics: Topics,
    silence: Silence,
}

impl OfPartition {
    pub fn new(name: String, topic: &str, client: Box<dyn Client>, latency_ms: u64) -> OfPartition {
        OfPartition {
            topic: topic.to_owned(),
            finder: Link::new(format!("{name}'s search"), latency_ms),
            link: Link::new(name, latency_ms),
            client,
            target: None,
            asked: None,
            ticket: None,
            wait_until: MonoMs(0),
            topics: Topics::default(),
            silence: Silence::default(),
        }
    }

    /// Asks for the leader, and goes there.
    fn find(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now.mono;
        while let Some(heard) = self.finder.hear(now) {
            match heard {
                Heard::Closed => self.ticket = None,
                Heard::Answer { ticket, body } if self.ticket == Some(ticket) => {
                    self.ticket = None;
                    self.found(&decode(&body, METADATA_VERSION), now);
                    self.finder.abandon();
                }
                Heard::Answer { .. } => {}
            }
        }
        if self.target.is_some() || now < self.wait_until || self.ticket.is_some() {
            return;
        }
        if let Some(nearest) = self.topics.nearest {
            if outside.listening.contains(&nearest) {
                self.target = Some(nearest);
                return;
            }
            self.topics.nearest = None;
        }
        let Some(node) = outside.anybody() else { return };
        self.finder.connect(outside.next_connection());
        self.asked = Some(node);
        self.wait_until = now.plus_ms(RETRY_MS);
        let topic = Topic { name: Some(self.topic.clone()), topic_id: Uuid::ZERO, ..Topic::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.ticket = Some(self.finder.send(&request, METADATA_VERSION, now, outside.rng));
    }

    fn found(&mut self, response: &MetadataResponse, now: MonoMs) {
        self.wait_until = now.plus_ms(RETRY_MS);
        let Some(topic) = response.topics.first().filter(|topic| topic.error_code == 0) else { return };
        let Some(partition) = topic.partitions.first() else { return };
        self.topics.lasting.insert(self.topic.clone(), (topic.topic_id, 1));
        let named = TopicPartition::new(self.topic.as_str(), 0);
        if !self.topics.is_newest_leader(named, partition.leader_epoch) {
            return;
        }
        if partition.leader_id >= 0
            && response.brokers.iter().any(|broker| broker.node_id == partition.leader_id)
        {
            self.target = Some(NodeId(partition.leader_id));
        }
    }
}

impl Actor for OfPartition {
    fn client(&self) -> &dyn Client {
        &*self.client
    }

    fn client_mut(&mut self) -> &mut dyn Client {
        &mut *self.client
    }

    fn ways(&mut self) -> Vec<(&mut Link, Option<NodeId>)> {
        vec![(&mut self.link, self.target), (&mut self.finder, self.asked)]
    }

    fn step(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now.mono;
        if self.silence.is_too_long(self.link.has_unanswered(), now) {
            self.link.cut(None, now);
        }
        if !self.link.is_open() {
            self.find(outside);
        }
        let is_up = self.target.is_some_and(|target| outside.listening.contains(&target));
        let partition = TopicPartition::new(self.topic.as_str(), 0);
        let hears_newest = self.target.is_none_or(|target| outside.leads(target, &partition));
        let mut world = World {
            rng: outside.rng,
            now: outside.now,
            events: outside.events,
            topics: &mut self.topics,
            is_up,
            next_connection_id: outside.next_connection_id,
            hears_newest,
        };
        self.client.step(&mut self.link, &mut world);
        if !self.link.is_open() && !self.link.has_unanswered() {
            self.target = None;
        }
    }

    fn is_finished(&self) -> bool {
        !self.topics.lasting.is_empty() && self.client.is_finished(&self.topics)
    }

    fn lose_connections<'a>(
        &mut self,
        node_at: &dyn Fn(Option<NodeId>) -> Option<&'a SteppedNode>,
        now: MonoMs,
        arrives: bool,
    ) -> Option<(NodeId, Late)> {
        match self.target.filter(|_| arrives) {
            Some(target) => self.link.lose(now).map(|late| (target, late)),
            None => {
                self.link.cut(node_at(self.target), now);
                None
            }
        }
    }
}
