//! Connections to other nodes of the cluster.
//!
//! Each conversation ([`Channel`]) with a node has one connection, made when there is something to send and kept until it is
//! idle. A request that can't be sent fails at once: whoever sends decides when to try again, while
//! connecting anew is held back more and more. Only `connection` knows the framing.

mod backoff;
mod connection;
mod conversation;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_broker::peers::{Channel, PeerAddress, PeerError, PeerRequest, Peers};
use ottla_config::{Config, keys};
use ottla_types::{NodeId, Now};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::network::NetworkThreads;

use conversation::Conversation;

/// Requests of one conversation that wait to be sent at most.
const QUEUED_MAX: usize = 1000;

/// What connections to other nodes go by.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Of this node.
    pub node_id: NodeId,
    /// `socket.connection.setup.timeout.ms` and `.max.ms`: the first attempt's, and what it grows to.
    pub setup_timeout: (Duration, Duration),
    /// Between attempts to connect: after the first that failed, and what it grows to. Kafka's nodes have no setting for it.
    pub reconnect_backoff: (Duration, Duration),
    /// `connections.max.idle.ms`; none if it is negative.
    pub idle_max: Option<Duration>,
    /// `num.replica.fetchers`
    pub fetcher_threads: usize,
}

impl PeerSettings {
    pub fn from_config(config: &Config) -> PeerSettings {
        let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let first = ms(config.get(keys::SOCKET_CONNECTION_SETUP_TIMEOUT_MS));
        let last = ms(config.get(keys::SOCKET_CONNECTION_SETUP_TIMEOUT_MAX_MS));
        let idle_ms = config.get(keys::CONNECTIONS_MAX_IDLE_MS);
        PeerSettings {
            node_id: NodeId(config.get(keys::NODE_ID)),
            setup_timeout: (first, last.max(first)),
            reconnect_backoff: (Duration::from_millis(50), Duration::from_millis(500)),
            idle_max: (idle_ms >= 0).then(|| ms(idle_ms)),
            fetcher_threads: usize::try_from(config.get(keys::NUM_REPLICA_FETCHERS)).unwrap_or(1),
        }
    }
}

/// Hears of a connection that the other side, or the network, has ended.
pub type LostConnection = Box<dyn Fn(&PeerAddress, Channel, Now) + Send + Sync>;

/// See the module.
pub struct PeerNetwork {
    shared: Arc<Shared>,
    conversations: Mutex<HashMap<(PeerAddress, Channel), mpsc::Sender<Sending>>>,
    /// Fetches, which bring much, hold up nothing else.
    fetchers: NetworkThreads,
    fetcher_threads: Mutex<usize>,
    others: NetworkThreads,
}

/// What all conversations share.
pub(crate) struct Shared {
    pub settings: PeerSettings,
    pub clock: Clock,
    pub lost: OnceLock<LostConnection>,
}

/// A request, and when it is too late for an answer.
pub(crate) struct Sending {
    pub request: PeerRequest,
    pub deadline: Instant,
}

impl PeerNetwork {
    pub fn start(settings: PeerSettings, clock: Clock) -> io::Result<PeerNetwork> {
        let fetcher_threads = Mutex::new(settings.fetcher_threads);
        let fetchers = NetworkThreads::named("fetcher", settings.fetcher_threads)?;
        let others = NetworkThreads::named("peers", 1)?;
        let shared = Arc::new(Shared { settings, clock, lost: OnceLock::new() });
        Ok(PeerNetwork { shared, conversations: Mutex::default(), fetchers, fetcher_threads, others })
    }

    /// Takes up settings that have changed. Threads that are no longer wanted stay, for conversations run on them.
    pub fn update(&self, config: &Config) {
        let wanted = usize::try_from(config.get(keys::NUM_REPLICA_FETCHERS)).unwrap_or(1);
        let mut most = self.fetcher_threads.lock();
        if wanted <= *most {
            return;
        }
        match self.fetchers.resize(wanted) {
            Ok(()) => *most = wanted,
            Err(error) => tracing::error!(%error, "threads for fetchers could not be started"),
        }
    }

    /// Tells of connections that are lost from now on; only the first call counts.
    pub fn on_lost(&self, lost: LostConnection) {
        let _ = self.shared.lost.set(lost);
    }

    /// Closes all connections. What is under way hears nothing any more.
    pub fn stop(&self) {
        self.conversations.lock().clear();
        self.others.stop();
        self.fetchers.stop();
    }

    fn threads(&self, channel: Channel) -> &NetworkThreads {
        if matches!(channel, Channel::Fetcher(_)) { &self.fetchers } else { &self.others }
    }

    fn begin(&self, to: &PeerAddress, channel: Channel) -> mpsc::Sender<Sending> {
        let (sender, requests) = mpsc::channel(QUEUED_MAX);
        let conversation = Conversation::new(to.clone(), channel, Arc::clone(&self.shared), requests);
        self.threads(channel).spawn(conversation.run());
        sender
    }
}

impl Peers for PeerNetwork {
    fn send(&self, to: &PeerAddress, channel: Channel, request: PeerRequest) {
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let sending = Sending { request, deadline: Instant::now() + timeout };
        let mut conversations = self.conversations.lock();
        let key = (to.clone(), channel);
        let sent = match conversations.get(&key) {
            Some(sender) => sender.try_send(sending),
            None => Err(TrySendError::Closed(sending)),
        };
        let refused = match sent {
            Ok(()) => return,
            Err(TrySendError::Full(sending)) => Some(sending),
            Err(TrySendError::Closed(sending)) => {
                conversations.retain(|_, sender| !sender.is_closed());
                let sender = self.begin(to, channel);
                let sent = sender.try_send(sending);
                conversations.insert(key, sender);
                sent.err().map(|error| match error {
                    TrySendError::Full(sending) | TrySendError::Closed(sending) => sending,
                })
            }
        };
        drop(conversations);
        if let Some(sending) = refused {
            let clock = self.shared.clock;
            self.others.spawn(async move { sending.request.failed(PeerError::Overloaded, clock.now()) });
        }
    }
}

impl fmt::Debug for PeerNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerNetwork").field("conversations", &self.conversations.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests;
