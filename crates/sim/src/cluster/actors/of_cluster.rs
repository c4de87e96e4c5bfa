//! A client that needs several nodes: coordinators and the leaders of some partitions. It sends as if there were one node;
//! here each request goes its way, on a connection to each node, and the answers come back.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_types::{MonoMs, NodeId, TopicPartition, Uuid};
use ottla_wire::ApiKey;
use ottla_wire::messages::metadata_request::Topic;
use ottla_wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse,
};

use super::routes::{Destination, Routed, route};
use super::silence::Silence;
use super::{Actor, METADATA_VERSION, Outside, RETRY_MS};
use crate::clients::{Client, Topics, World};
use crate::network::{Heard, Late, Link, Ticket, decode};
use crate::node::SteppedNode;

const FIND_VERSION: i16 = 6;

/// What some node is asked for.
#[derive(Clone, Debug)]
enum Search {
    Leaders,
    Coordinator { key_type: i8, key: String },
}

/// See the module.
#[derive(Debug)]
pub(in crate::cluster) struct OfCluster {
    client: Box<dyn Client>,
    /// What the client sends on and hears from; no node is at its other end.
    line: Link,
    ways: BTreeMap<NodeId, Link>,
    latency_ms: u64,
    wanted: Vec<String>,
    topics: Topics,
    leaders: BTreeMap<TopicPartition, NodeId>,
    coordinators: BTreeMap<(i8, String), NodeId>,
    /// Taken over, and not sent on yet.
    held: Option<(Ticket, Bytes, Routed)>,
    /// By the node and its connection's ticket: what they are to the client.
    under_way: BTreeMap<(NodeId, Ticket), (Ticket, Routed)>,
    finder: Link,
    asked: Option<NodeId>,
    search: Option<(Ticket, Search)>,
    /// The leaders may be others by now.
    must_search: bool,
    wait_until: MonoMs,
    silence: Silence,
}

impl OfCluster {
    /// `wanted` are the topics that the client knows of.
    pub fn new(name: &str, wanted: &[&str], client: Box<dyn Client>, latency_ms: u64) -> OfCluster {
        OfCluster {
            client,
            line: Link::new(name.to_owned(), 0),
            ways: BTreeMap::new(),
            latency_ms,
            wanted: wanted.iter().map(|topic| (*topic).to_owned()).collect(),
            topics: Topics::default(),
            leaders: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            held: None,
            under_way: BTreeMap::new(),
            finder: Link::new(format!("{name}'s search"), latency_ms),
            asked: None,
            search: None,
            must_search: true,
            wait_until: MonoMs(0),
            silence: Silence::default(),
        }
    }

    /// The client hears that its connection is gone: something of it is.
    fn break_off(&mut self, now: MonoMs) {
        self.held = None;
        self.under_way.clear();
        self.silence.end();
        for link in self.ways.values_mut() {
            link.abandon();
        }
        self.line.cut(None, now);
    }

    fn give_up_if_silent(&mut self, now: MonoMs) {
        let waits = !self.under_way.is_empty() || self.held.is_some() || self.search.is_some();
        if self.silence.is_too_long(waits, now) {
            self.forget_where(now);
            self.search = None;
            self.finder.abandon();
        }
    }

    /// Whoever was asked is not there: somebody else may be by now.
    fn forget_where(&mut self, now: MonoMs) {
        self.coordinators.clear();
        self.must_search = true;
        self.break_off(now);
    }

    /// Whether all answers are of nodes that nobody has taken over from.
    fn hear(&mut self, outside: &Outside<'_>) -> bool {
        let now = outside.now.mono;
        let mut answers = Vec::new();
        let mut is_cut = false;
        for (id, link) in &mut self.ways {
            while let Some(heard) = link.hear(now) {
                match heard {
                    Heard::Answer { ticket, body } => answers.push((*id, ticket, body)),
                    Heard::Closed => is_cut = true,
                }
            }
        }
        let mut hears_newest = true;
        for (id, ticket, body) in answers {
            let Some((ticket, routed)) = self.under_way.remove(&(id, ticket)) else { continue };
            self.silence.end();
            hears_newest &= routed.to.partition().is_none_or(|partition| outside.leads(id, &partition));
            self.must_search |= routed.says_elsewhere(&body);
            if routed.api_key == ApiKey::FindCoordinator {
                self.found_coordinators(&decode(&body, routed.version), None);
            }
            self.line.bring(ticket, body, now);
        }
        if is_cut {
            self.forget_where(now);
        }
        hears_newest
    }

    /// Sends on what the client has sent, or asks first where to.
    fn send_on(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now.mono;
        if self.held.is_none() {
            self.held = self.line.take_over(now).map(|(ticket, frame)| {
                let routed = route(&frame, &self.topics);
                (ticket, frame, routed)
            });
        }
        let Some((_, _, routed)) = &self.held else { return };
        let to = match &routed.to {
            Destination::Anybody => outside.anybody(),
            Destination::Coordinator { key_type, key } => {
                self.coordinators.get(&(*key_type, key.clone())).copied()
            }
            Destination::Leader(_) if self.must_search => None,
            Destination::Leader(partition) => self.leaders.get(partition).copied(),
        };
        let Some(to) = to else {
            let search = match &routed.to {
                Destination::Coordinator { key_type, key } => {
                    Search::Coordinator { key_type: *key_type, key: key.clone() }
                }
                _ => Search::Leaders,
            };
            return self.search_for(search, outside);
        };
        if !outside.listening.contains(&to) {
            return self.forget_where(now);
        }
        let Some((ticket, frame, routed)) = self.held.take() else { return };
        let name = self.line.name().to_owned();
        let latency_ms = self.latency_ms;
        let link = self.ways.entry(to).or_insert_with(|| Link::new(name, latency_ms));
        if !link.is_open() {
            link.connect(outside.next_connection());
        }
        let sent = link.send_frame(frame, now, outside.rng);
        self.under_way.insert((to, sent), (ticket, routed));
    }

    fn search_for(&mut self, search: Search, outside: &mut Outside<'_>) {
        let now = outside.now.mono;
        if self.search.is_some() || now < self.wait_until {
            return;
        }
        let Some(node) = outside.anybody() else { return };
        self.wait_until = now.plus_ms(RETRY_MS);
        self.finder.connect(outside.next_connection());
        self.asked = Some(node);
        let ticket = match &search {
            Search::Leaders => {
                let topic = |name: &String| Topic {
                    name: Some(name.clone()),
                    topic_id: Uuid::ZERO,
                    ..Topic::default()
                };
                let request = MetadataRequest {
                    topics: Some(self.wanted.iter().map(topic).collect()),
                    allow_auto_topic_creation: false,
                    ..MetadataRequest::default()
                };
                self.finder.send(&request, METADATA_VERSION, now, outside.rng)
            }
            Search::Coordinator { key_type, key } => {
                let request = FindCoordinatorRequest {
                    key_type: *key_type,
                    coordinator_keys: vec![key.clone()],
                    ..FindCoordinatorRequest::default()
                };
                self.finder.send(&request, FIND_VERSION, now, outside.rng)
            }
        };
        self.search = Some((ticket, search));
    }

    fn hear_of_search(&mut self, now: MonoMs) {
        while let Some(heard) = self.finder.hear(now) {
            let Some((expected, search)) = self.search.take() else { continue };
            match heard {
                Heard::Answer { ticket, body } if ticket == expected => {
                    match search {
                        Search::Leaders => self.found_leaders(&decode(&body, METADATA_VERSION)),
                        Search::Coordinator { key_type, .. } => {
                            self.found_coordinators(&decode(&body, FIND_VERSION), Some(key_type));
                        }
                    }
                    self.finder.abandon();
                }
                Heard::Answer { .. } => self.search = Some((expected, search)),
                Heard::Closed => {}
            }
        }
    }

    /// A client that asks itself has a kind in mind; groups' and transactions' keys differ.
    fn found_coordinators(&mut self, response: &FindCoordinatorResponse, key_type: Option<i8>) {
        for found in response.coordinators.iter().filter(|found| found.error_code == 0) {
            for kind in key_type.map_or(vec![0, 1], |kind| vec![kind]) {
                let known = (kind, found.key.clone());
                if key_type.is_some() || self.coordinators.contains_key(&known) {
                    self.coordinators.insert(known, NodeId(found.node_id));
                }
            }
        }
    }

    fn found_leaders(&mut self, response: &MetadataResponse) {
        if response.topics.iter().any(|topic| topic.error_code != 0) {
            return;
        }
        self.must_search = false;
        for topic in &response.topics {
            let Some(name) = topic.name.clone() else { continue };
            let count = topic.partitions.len() as i32;
            self.topics.lasting.insert(name.clone(), (topic.topic_id, count));
            for partition in &topic.partitions {
                let named = TopicPartition::new(name.clone(), partition.partition_index);
                if self.topics.is_newest_leader(named.clone(), partition.leader_epoch) {
                    self.leaders.insert(named, NodeId(partition.leader_id));
                } else {
                    self.must_search = true;
                }
            }
        }
    }
}

impl Actor for OfCluster {
    fn client(&self) -> &dyn Client {
        &*self.client
    }

    fn client_mut(&mut self) -> &mut dyn Client {
        &mut *self.client
    }

    fn ways(&mut self) -> Vec<(&mut Link, Option<NodeId>)> {
        let ways = self.ways.iter_mut().map(|(id, link)| (link, Some(*id)));
        ways.chain([(&mut self.finder, self.asked)]).collect()
    }

    fn step(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now.mono;
        self.give_up_if_silent(now);
        self.hear_of_search(now);
        let hears_newest = self.hear(outside);
        if self.topics.lasting.is_empty() {
            self.search_for(Search::Leaders, outside);
        }
        let mut world = World {
            rng: outside.rng,
            now: outside.now,
            events: outside.events,
            topics: &mut self.topics,
            is_up: !outside.listening.is_empty(),
            next_connection_id: outside.next_connection_id,
            hears_newest,
        };
        let was_open = self.line.is_open();
        self.client.step(&mut self.line, &mut world);
        if was_open && !self.line.is_open() {
            // It is somebody else from now on, who has no connections yet.
            self.under_way.clear();
            self.held = None;
            self.ways.values_mut().for_each(Link::abandon);
        }
        self.send_on(outside);
    }

    fn is_finished(&self) -> bool {
        !self.topics.lasting.is_empty() && self.client.is_finished(&self.topics)
    }

    fn lose_connections<'a>(
        &mut self,
        node_at: &dyn Fn(Option<NodeId>) -> Option<&'a SteppedNode>,
        now: MonoMs,
        _: bool,
    ) -> Option<(NodeId, Late)> {
        for (id, link) in &mut self.ways {
            link.cut(node_at(Some(*id)), now);
        }
        None
    }
}
