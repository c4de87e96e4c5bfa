//! A cluster's client: what producer, consumer and administration stand on.

mod call;
mod refresher;
mod settings;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_types::{LeaderEpoch, NodeId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::cluster::{Broker, CoordinatorKind, Coordinators, Leader, Metadata};
use crate::error::ClientError;
use crate::net::{Lane, Link, Pool, ServedVersions};
use crate::telemetry::Metrics;
pub use call::{Answer, SendOptions};
use refresher::{Command, Refresher};
pub use settings::ClientSettings;
pub use target::{Target, Topics};

/// A connection to a cluster: it knows the brokers, keeps its picture of them fresh, and sends requests to any of them.
///
/// Cloning copies a pointer; all clones are one client with one connection to each broker. The last one that is dropped
/// closes the connections.
///
/// ```no_run
/// use ottla_client::{Client, ClientSettings, Target};
/// use ottla_client::wire::messages::DescribeClusterRequest;
///
/// # async fn example() -> Result<(), ottla_client::ClientError> {
/// let client = Client::connect(ClientSettings::new("localhost:9092")).await?;
/// println!("{} brokers", client.metadata().brokers().len());
/// let answer = client.send(Target::AnyNode, &DescribeClusterRequest::default()).await?;
/// println!("cluster {}", answer.cluster_id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    /// What the refresher doesn't hold: when the last client goes, so does the refresher.
    commands: mpsc::Sender<Command>,
}

/// Shared with the task that refreshes metadata.
#[derive(Debug)]
pub(crate) struct Inner {
    settings: ClientSettings,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Somebody tells them to the cluster.
    is_reported: AtomicBool,
    pool: Pool,
    metadata: ArcSwap<Metadata>,
    /// Only one thread makes a new picture of the old one at a time.
    merging: Mutex<()>,
    changed: watch::Sender<u64>,
    coordinators: Mutex<Coordinators>,
}

/// Requests for metadata that wait for the refresher.
const COMMANDS_MAX: usize = 1000;

/// That there is a tokio runtime, whose tasks do what a client does beside its caller.
pub(crate) fn check_runtime() -> Result<(), ClientError> {
    let current = tokio::runtime::Handle::try_current();
    current
        .map(drop)
        .map_err(|_| ClientError::misuse("a client needs a tokio runtime, and this thread has none"))
}

impl Client {
    /// Connects to one of the bootstrap servers and learns who the brokers are. Tries again until `default.api.timeout.ms`
    /// are over. Needs a tokio runtime.
    pub async fn connect(settings: ClientSettings) -> Result<Client, ClientError> {
        let client = Client::start(settings)?;
        client.refresh(Topics::Nothing).await?;
        Ok(client)
    }

    /// Without waiting for anything: the picture is empty until a broker has answered.
    pub(crate) fn start(settings: ClientSettings) -> Result<Client, ClientError> {
        check_runtime()?;
        let bootstrap = settings.bootstrap_addresses()?;
        let net = settings.net_settings();
        let metrics = Arc::clone(&net.metrics);
        let pool = Pool::new(net, bootstrap);
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let inner = Arc::new(Inner {
            settings,
            clock: Clock::start(),
            metrics,
            is_reported: AtomicBool::new(false),
            pool,
            metadata: ArcSwap::default(),
            merging: Mutex::new(()),
            changed: watch::Sender::new(0),
            coordinators: Mutex::default(),
        });
        tokio::spawn(Refresher::new(Arc::clone(&inner), received).run());
        Ok(Client { inner, commands })
    }

    pub fn settings(&self) -> &ClientSettings {
        &self.inner.settings
    }

    pub(crate) fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// What this client counts and measures of itself.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Whether it is for the caller to tell the cluster of them: of those who share a client, for the first one.
    pub(crate) fn is_to_be_reported(&self) -> bool {
        !self.inner.is_reported.swap(true, Ordering::Relaxed)
    }

    /// The latest picture, for a short look at it: cheaper than to share it.
    pub(crate) fn look(&self) -> arc_swap::Guard<Arc<Metadata>> {
        self.inner.metadata.load()
    }

    /// The latest picture of the cluster.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.load_full()
    }

    /// Tells of every new picture: its version.
    pub fn metadata_changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Asks for metadata now, and again until `default.api.timeout.ms` are over. Many who ask at once share a request.
    /// Errors of single topics are no error here: see [`Metadata::topic_error`].
    pub async fn refresh(&self, topics: Topics) -> Result<Arc<Metadata>, ClientError> {
        self.refresh_within(topics, self.inner.settings.default_api_timeout_ms).await
    }

    pub(crate) async fn refresh_within(
        &self,
        topics: Topics,
        timeout_ms: u64,
    ) -> Result<Arc<Metadata>, ClientError> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let mut waits = self.inner.settings.retry_backoff();
        let mut last = None;
        let timed_out = |last: Option<ClientError>| ClientError::TimedOut {
            what: "asking for metadata".into(),
            timeout_ms,
            is_sent: false,
            last: last.map(Arc::new),
        };
        loop {
            let (done, answered) = oneshot::channel();
            let command = Command::Refresh { topics: topics.clone(), done };
            let asking = async {
                self.commands.send(command).await.map_err(|_| ClientError::Closed)?;
                answered.await.unwrap_or(Err(ClientError::Closed))
            };
            let error = match tokio::time::timeout_at(deadline, asking).await {
                Ok(Ok(metadata)) => return Ok(metadata),
                Ok(Err(error)) if !error.is_retriable() => return Err(error),
                Ok(Err(error)) => error,
                // That attempt goes on for those who have more time.
                Err(_) => return Err(timed_out(last.or_else(|| self.inner.pool.unreached(&self.look())))),
            };
            let wait = Duration::from_millis(waits.failed(rand::random()));
            if Instant::now() + wait >= deadline {
                return Err(timed_out(Some(error)));
            }
            last = Some(error);
            tokio::time::sleep(wait).await;
        }
    }

    /// Has the picture of all watched topics refreshed soon, and doesn't wait for it.
    pub(crate) fn refresh_soon(&self) {
        // When so many wait, a refresh is under way.
        let _ = self.commands.try_send(Command::Soon);
    }

    /// From now on the topic is refreshed with all others, every `metadata.max.age.ms` and when a leader has changed.
    pub fn watch(&self, topic: &str) {
        self.tell(Command::Watch(topic.into()));
    }

    /// Takes back [`Client::watch`], and forgets what is known of the topic.
    pub fn unwatch(&self, topic: &str) {
        self.tell(Command::Unwatch(topic.into()));
    }

    fn tell(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            let commands = self.commands.clone();
            tokio::spawn(async move { commands.send(command).await });
        }
    }

    /// Takes up a leader that a Fetch or Produce answer told of (KIP-951), if it is news.
    pub fn learn_leader(
        &self,
        topic: &str,
        partition: i32,
        node: NodeId,
        epoch: LeaderEpoch,
        address: Option<Broker>,
    ) {
        self.inner
            .publish(|metadata| metadata.with_leader(topic, partition, Leader { node, epoch }, address));
    }

    /// Which broker coordinates a group, a transactional id or shares: as it was found last, or found now.
    pub async fn coordinator(&self, kind: CoordinatorKind, key: &Arc<str>) -> Result<NodeId, ClientError> {
        let timeout_ms = self.inner.settings.request_timeout_ms;
        self.find_coordinator(kind, key, Instant::now() + Duration::from_millis(timeout_ms)).await
    }

    /// The coordinator has changed, or isn't one.
    pub fn forget_coordinator(&self, kind: CoordinatorKind, key: &Arc<str>) {
        self.inner.coordinators.lock().forget(kind, key);
    }

    /// What a broker serves, if there is a connection to it.
    pub fn versions(&self, node: NodeId) -> Option<Arc<ServedVersions>> {
        let link = self.link_now(node)?;
        Some(Arc::clone(link.served()))
    }

    pub(crate) fn link_now(&self, node: NodeId) -> Option<Arc<Link>> {
        self.inner.pool.link(node, Lane::Main)
    }

    /// Closes all connections; what is under way fails. All clones are closed with it.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }
}

impl Client {
    /// Closes it if nobody else has a clone; else the last one does.
    pub(crate) async fn close_unshared(&self) {
        // Who has been counted and goes at this moment, goes as the last one.
        if self.commands.strong_count() == 1 {
            self.close().await;
        }
    }
}

impl Inner {
    /// Replaces the picture, unless there is nothing new.
    fn publish(&self, change: impl FnOnce(&Metadata) -> Option<Metadata>) -> Arc<Metadata> {
        let _one = self.merging.lock();
        let before = self.metadata.load_full();
        let Some(next) = change(&before) else { return before };
        let next = Arc::new(next);
        self.metadata.store(Arc::clone(&next));
        self.changed.send_replace(next.version());
        next
    }
}

#[cfg(test)]
mod tests;
