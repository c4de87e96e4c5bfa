//! A broker's address, and the connection to it while there is one.
//!
//! What always holds: at most one attempt to connect is under way, attempts that fail are held back more and more, and
//! whoever waits while an attempt fails hears of that failure instead of making another attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ottla_types::NodeId;
use parking_lot::Mutex as ShortMutex;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::link::Link;
use super::pool::{Address, NetSettings};
use crate::backoff::Backoff;
use crate::error::ClientError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    address: Address,
    name: Arc<str>,
    /// Of bootstrap servers it is not known who they are.
    id: Option<NodeId>,
    settings: Arc<NetSettings>,
    link: ArcSwapOption<Link>,
    /// Attempts to connect that have failed.
    failures: AtomicU64,
    /// Of the last one, until one succeeds.
    last_why: ShortMutex<Option<Arc<str>>>,
    connecting: Mutex<Connecting>,
}

#[derive(Debug)]
struct Connecting {
    reconnect: Backoff,
    setup: Backoff,
    not_before: Instant,
}

impl Node {
    pub fn new(address: Address, name: Arc<str>, id: Option<NodeId>, settings: Arc<NetSettings>) -> Node {
        let connecting = Connecting {
            reconnect: Backoff::new(settings.reconnect_backoff_ms, settings.reconnect_backoff_max_ms),
            setup: Backoff::new(settings.setup_timeout_ms, settings.setup_timeout_max_ms),
            not_before: Instant::now(),
        };
        Node {
            address,
            name,
            id,
            settings,
            link: ArcSwapOption::empty(),
            failures: AtomicU64::new(0),
            last_why: ShortMutex::default(),
            connecting: Mutex::new(connecting),
        }
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The connection, if there is one.
    pub fn link(&self) -> Option<Arc<Link>> {
        self.link.load_full().filter(|link| link.is_open())
    }

    /// Whether the last attempt to connect failed.
    pub fn is_failing(&self) -> bool {
        self.last_why.lock().is_some()
    }

    /// What errors call it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Why there is no connection to it yet.
    pub fn why_not(&self) -> Arc<str> {
        self.last_why.lock().clone().unwrap_or_else(|| "it could not be connected to in time".into())
    }

    pub fn close(&self) {
        self.link.store(None);
    }

    /// The connection, which is made if there is none.
    pub async fn connected(&self, deadline: Instant) -> Result<Arc<Link>, ClientError> {
        if let Some(link) = self.link() {
            return Ok(link);
        }
        let seen = self.failures.load(Ordering::Acquire);
        match timeout_at(deadline, self.connect(seen)).await {
            Ok(connected) => connected,
            Err(_) => Err(self.disconnected(self.why_not())),
        }
    }

    async fn connect(&self, seen: u64) -> Result<Arc<Link>, ClientError> {
        let mut connecting = self.connecting.lock().await;
        if let Some(link) = self.link() {
            return Ok(link);
        }
        if self.failures.load(Ordering::Acquire) != seen
            && let Some(why) = self.last_why.lock().clone()
        {
            return Err(self.disconnected(why));
        }
        sleep_until(connecting.not_before).await;
        let setup_ms = connecting.setup.failed(rand::random());
        let dialing = self.settings.dialer.dial(&self.address);
        let why = match timeout(Duration::from_millis(setup_ms), dialing).await {
            Ok(Ok(dialed)) => {
                connecting.setup.reset();
                connecting.reconnect.reset();
                *self.last_why.lock() = None;
                // A connection that is lost at once is not made again at once.
                let wait_ms = connecting.reconnect.after(0, rand::random());
                connecting.not_before = Instant::now() + Duration::from_millis(wait_ms);
                tracing::debug!(broker = %self.name, "connected");
                let (name, client_id) = (Arc::clone(&self.name), Arc::clone(&self.settings.dialer.client_id));
                let metrics = &self.settings.metrics;
                metrics.connections.add(1);
                let latency = self.id.map(|id| metrics.node_latency(id));
                let link = Link::start(name, client_id, dialed, self.settings.idle_max).timed(latency);
                let link = Arc::new(link);
                self.link.store(Some(Arc::clone(&link)));
                return Ok(link);
            }
            Ok(Err(ended)) => ended.to_string(),
            Err(_) => format!(
                "it could not be connected to within {setup_ms} ms (socket.connection.setup.timeout.ms)"
            ),
        };
        let wait_ms = connecting.reconnect.failed(rand::random());
        connecting.not_before = Instant::now() + Duration::from_millis(wait_ms);
        let why: Arc<str> = why.into();
        if self.last_why.lock().replace(Arc::clone(&why)).is_none() {
            tracing::info!(broker = %self.name, %why, "a broker can't be connected to");
        }
        self.failures.fetch_add(1, Ordering::Release);
        Err(self.disconnected(why))
    }

    fn disconnected(&self, why: Arc<str>) -> ClientError {
        ClientError::Disconnected { node: Arc::clone(&self.name), why, is_sent: false }
    }
}
