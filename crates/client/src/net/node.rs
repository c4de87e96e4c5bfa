//! A broker's address, and the connection to it while there is one.
//!
//! What always holds: at most one attempt to connect is under way, attempts that fail are held back more and more, and
//! whoever waits while an attempt fails hears of that failure instead of making another attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ottla_types::NodeId;
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
    connecting: Mutex<Connecting>,
}

#[derive(Debug)]
struct Connecting {
    reconnect: Backoff,
    setup: Backoff,
    not_before: Instant,
    last_error: Option<ClientError>,
}

impl Node {
    pub fn new(address: Address, name: Arc<str>, id: Option<NodeId>, settings: Arc<NetSettings>) -> Node {
        let connecting = Connecting {
            reconnect: Backoff::new(settings.reconnect_backoff_ms, settings.reconnect_backoff_max_ms),
            setup: Backoff::new(settings.setup_timeout_ms, settings.setup_timeout_max_ms),
            not_before: Instant::now(),
            last_error: None,
        };
        Node {
            address,
            name,
            id,
            settings,
            link: ArcSwapOption::empty(),
            failures: AtomicU64::new(0),
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
        self.connecting.try_lock().is_ok_and(|connecting| connecting.last_error.is_some())
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
            Err(_) => Err(self.disconnected("it could not be connected to in time")),
        }
    }

    async fn connect(&self, seen: u64) -> Result<Arc<Link>, ClientError> {
        let mut connecting = self.connecting.lock().await;
        if let Some(link) = self.link() {
            return Ok(link);
        }
        if self.failures.load(Ordering::Acquire) != seen
            && let Some(error) = &connecting.last_error
        {
            return Err(error.clone());
        }
        sleep_until(connecting.not_before).await;
        let setup_ms = connecting.setup.failed(rand::random());
        let dialing = self.settings.dialer.dial(&self.address);
        let why = match timeout(Duration::from_millis(setup_ms), dialing).await {
            Ok(Ok(dialed)) => {
                connecting.setup.reset();
                connecting.reconnect.reset();
                connecting.last_error = None;
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
        let error = self.disconnected(&why);
        if connecting.last_error.is_none() {
            tracing::info!(broker = %self.name, %why, "a broker can't be connected to");
        }
        connecting.last_error = Some(error.clone());
        self.failures.fetch_add(1, Ordering::Release);
        Err(error)
    }

    fn disconnected(&self, why: &str) -> ClientError {
        ClientError::Disconnected { node: Arc::clone(&self.name), why: why.into(), is_sent: false }
    }
}
