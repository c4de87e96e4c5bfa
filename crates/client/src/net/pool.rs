//! All brokers that a client has to do with, and the connections to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_types::NodeId;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::Lane;
use super::dial::Dialer;
use super::link::Link;
use super::node::Node;
use crate::cluster::Metadata;
use crate::error::ClientError;
use crate::telemetry::Metrics;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub host: Arc<str>,
    pub port: u16,
}

/// What connections go by.
#[derive(Debug)]
pub(crate) struct NetSettings {
    pub dialer: Dialer,
    pub reconnect_backoff_ms: u64,
    pub reconnect_backoff_max_ms: u64,
    pub setup_timeout_ms: u64,
    pub setup_timeout_max_ms: u64,
    pub idle_max: Option<Duration>,
    /// What is counted of connections and requests.
    pub metrics: Arc<Metrics>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: Arc<NetSettings>,
    bootstrap: Vec<Arc<Node>>,
    nodes: Mutex<HashMap<(NodeId, Lane), Arc<Node>>>,
}

impl Pool {
    pub fn new(settings: NetSettings, bootstrap: Vec<Address>) -> Pool {
        let settings = Arc::new(settings);
        let node = |address: Address| {
            let name = format!("{}:{}", address.host, address.port).into();
            Arc::new(Node::new(address, name, None, Arc::clone(&settings)))
        };
        let bootstrap = bootstrap.into_iter().map(node).collect();
        Pool { bootstrap, nodes: Mutex::default(), settings }
    }

    /// A broker of the cluster. One that has moved is connected to anew.
    pub fn node(&self, metadata: &Metadata, id: NodeId, lane: Lane) -> Result<Arc<Node>, ClientError> {
        let broker = metadata.brokers().get(&id).ok_or(ClientError::UnknownNode(id))?;
        let address = Address { host: Arc::clone(&broker.host), port: broker.port };
        let mut nodes = self.nodes.lock();
        if let Some(node) = nodes.get(&(id, lane)).filter(|node| *node.address() == address) {
            return Ok(Arc::clone(node));
        }
        let name = format!("broker {id} ({}:{})", address.host, address.port).into();
        let node = Arc::new(Node::new(address, name, Some(id), Arc::clone(&self.settings)));
        nodes.insert((id, lane), Arc::clone(&node));
        Ok(node)
    }

    /// The connection to a broker, if there is one.
    pub fn link(&self, id: NodeId, lane: Lane) -> Option<Arc<Link>> {
        self.nodes.lock().get(&(id, lane))?.link()
    }

    /// Any broker: the one with the least to do of those that are connected, else one that can be connected to, else one that
    /// wants nothing to be sent for now.
    /// `rebootstraps`: only the bootstrap servers are asked.
    pub async fn any(
        &self,
        metadata: &Metadata,
        rebootstraps: bool,
        deadline: Instant,
    ) -> Result<(Option<NodeId>, Arc<Link>), ClientError> {
        let mut candidates = self.candidates(metadata, rebootstraps);
        candidates.shuffle(&mut rand::rng());
        candidates.sort_by_cached_key(|(_, node)| {
            let link = node.link();
            turn(link.as_ref().map(|link| (link.load(), link.is_held_back())), node.is_failing())
        });
        let mut last = ClientError::misuse("there are no bootstrap servers");
        for (id, node) in candidates {
            match node.connected(deadline).await {
                Ok(link) => return Ok((id, link)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn candidates(&self, metadata: &Metadata, rebootstraps: bool) -> Vec<(Option<NodeId>, Arc<Node>)> {
        let ids = metadata.brokers().keys().copied().filter(|_| !rebootstraps);
        let known = ids.filter_map(|id| Some((Some(id), self.node(metadata, id, Lane::Main).ok()?)));
        let known: Vec<(Option<NodeId>, Arc<Node>)> = known.collect();
        if known.is_empty() {
            return self.bootstrap.iter().map(|node| (None, Arc::clone(node))).collect();
        }
        known
    }

    /// Why nobody can be asked, if nobody is connected to: of the first few.
    pub fn unreached(&self, metadata: &Metadata) -> Option<ClientError> {
        const NAMED_MAX: usize = 3;
        let candidates = self.candidates(metadata, false);
        if candidates.iter().any(|(_, node)| node.link().is_some()) {
            return None;
        }
        let (mut names, mut whys) = (Vec::new(), Vec::new());
        for (_, node) in candidates.iter().take(NAMED_MAX) {
            names.push(node.name().to_string());
            let why = node.why_not();
            if !whys.contains(&why) {
                whys.push(why);
            }
        }
        let (node, why) = (names.join(", ").into(), whys.join("; ").into());
        Some(ClientError::Disconnected { node, why, is_sent: false })
    }

    /// Forgets brokers that are not part of the cluster any more.
    pub fn retain(&self, metadata: &Metadata) {
        self.nodes.lock().retain(|(id, _), _| metadata.brokers().contains_key(id));
    }

    pub fn close(&self) {
        for node in self.bootstrap.iter().chain(self.nodes.lock().values()) {
            node.close();
        }
        self.nodes.lock().clear();
    }
}

/// Lower is asked first: of a broker, with what waits for it and whether it throttles if there is a connection.
fn turn(connected: Option<(usize, bool)>, is_failing: bool) -> (u8, usize) {
    match connected {
        Some((load, false)) => (0, load),
        None if !is_failing => (1, 0),
        Some((load, true)) => (2, load),
        None => (3, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::turn;

    #[test]
    fn brokers_that_throttle_are_asked_last_of_those_that_answer() {
        let free = turn(Some((3, false)), false);
        let unconnected = turn(None, false);
        let throttling = turn(Some((0, true)), false);
        let failing = turn(None, true);
        assert!(
            [turn(Some((2, false)), false), free, unconnected, throttling, failing]
                .is_sorted_by(|a, b| a < b)
        );
    }
}
