//! The task that keeps the picture of the cluster fresh: on demand, when it is old, and from the bootstrap servers anew
//! when nothing else helps (KIP-1102).
//!
//! One request is under way at a time; who asks meanwhile waits for the next one, which all of them share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse,
    describe_cluster_response, metadata_request, metadata_response,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{Inner, Topics};
use crate::cluster::{Asked, Attempt, Metadata, Recovery};
use crate::error::ClientError;

/// Where somebody waits for a new picture.
type Done = oneshot::Sender<Result<Arc<Metadata>, ClientError>>;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Ask now.
    Refresh {
        topics: Topics,
        done: oneshot::Sender<Result<Arc<Metadata>, ClientError>>,
    },
    /// Something has changed: ask for all watched topics, but not more often than `retry.backoff.ms`.
    Soon,
    Watch(Arc<str>),
    Unwatch(Arc<str>),
    Close {
        done: oneshot::Sender<()>,
    },
}

/// See the module.
pub(super) struct Refresher {
    inner: Arc<Inner>,
    commands: mpsc::Receiver<Command>,
    recovery: Recovery,
    rebootstraps: bool,
    watched: BTreeSet<Arc<str>>,
    /// When all watched topics are asked for without anybody's asking.
    due: Instant,
    last_attempt: Option<Instant>,
    waiting: Vec<(Topics, Done)>,
}

/// The first version in which no topic at all can be asked for.
const NO_TOPICS_SINCE: i16 = 1;

impl Refresher {
    pub fn new(inner: Arc<Inner>, commands: mpsc::Receiver<Command>) -> Refresher {
        let settings = &inner.settings;
        let recovery = Recovery::new(settings.recovery_strategy, settings.rebootstrap_trigger_ms);
        let due = Instant::now() + Duration::from_millis(settings.metadata_max_age_ms);
        Refresher {
            inner,
            commands,
            recovery,
            rebootstraps: false,
            watched: BTreeSet::new(),
            due,
            last_attempt: None,
            waiting: Vec::new(),
        }
    }

    /// Goes on until the client is closed, or nobody has it any more.
    pub async fn run(mut self) {
        loop {
            let next = tokio::select! {
                next = self.commands.recv() => next,
                () = sleep_until(self.due) => Some(Command::Soon),
            };
            let mut next = next;
            loop {
                match next {
                    None => return self.inner.pool.close(),
                    Some(Command::Close { done }) => {
                        self.commands.close();
                        self.inner.pool.close();
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.take(command),
                }
                match self.commands.try_recv() {
                    Ok(command) => next = Some(command),
                    Err(_) => break,
                }
            }
            if !self.waiting.is_empty() || Instant::now() >= self.due {
                self.refresh().await;
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Refresh { topics, done } => self.waiting.push((topics, done)),
            Command::Soon => {
                let wait = Duration::from_millis(self.inner.settings.retry_backoff_ms);
                let soonest = self.last_attempt.map_or(Instant::now(), |last| last + wait);
                self.due = self.due.min(soonest);
            }
            Command::Watch(topic) => {
                self.watched.insert(topic);
            }
            Command::Unwatch(topic) => {
                if self.watched.remove(&topic) {
                    self.inner.publish(|metadata| Some(metadata.without(&[topic])));
                }
            }
            Command::Close { .. } => {}
        }
    }

    async fn refresh(&mut self) {
        let is_due = Instant::now() >= self.due;
        let waiting = std::mem::take(&mut self.waiting);
        let topics = self.topics_to_ask_for(&waiting, is_due);
        self.last_attempt = Some(Instant::now());
        let result = self.ask(&topics).await;
        let wait_ms = match result {
            Ok(_) => self.inner.settings.metadata_max_age_ms,
            Err(_) => self.inner.settings.retry_backoff_ms.max(1),
        };
        if is_due {
            self.due = Instant::now() + Duration::from_millis(wait_ms);
        }
        for (_, done) in waiting {
            let _ = done.send(result.clone());
        }
    }

    fn topics_to_ask_for(&self, waiting: &[(Topics, Done)], is_due: bool) -> Topics {
        if waiting.iter().any(|(topics, _)| *topics == Topics::Every) {
            return Topics::Every;
        }
        let mut names = if is_due { self.watched.clone() } else { BTreeSet::new() };
        for (topics, _) in waiting {
            if let Topics::Named(named) = topics {
                names.extend(named.iter().cloned());
            }
        }
        if names.is_empty() { Topics::Nothing } else { Topics::Named(names.into_iter().collect()) }
    }

    async fn ask(&mut self, topics: &Topics) -> Result<Arc<Metadata>, ClientError> {
        let asked = self.ask_somebody(topics).await;
        let (attempt, result) = match asked {
            Ok(answer) => {
                let code = ErrorCode::from_answer(answer.error_code);
                if code.is_error() {
                    let is_told = code == ErrorCode::RebootstrapRequired;
                    let attempt = if is_told { Attempt::ToldToRebootstrap } else { Attempt::Refused };
                    (attempt, Err(ClientError::broker(code, None, "asking for metadata")))
                } else if answer.brokers.is_empty() {
                    // A broker that has just begun knows of none, not even of itself.
                    let code = ErrorCode::BrokerNotAvailable;
                    (Attempt::Refused, Err(ClientError::broker(code, None, "asking for metadata")))
                } else {
                    (Attempt::Succeeded, Ok(self.take_up(&answer, topics)))
                }
            }
            Err((attempt, error)) => (attempt, Err(error)),
        };
        let rebootstraps = self.recovery.after(attempt, self.inner.clock.mono());
        if rebootstraps && !self.rebootstraps && self.inner.metadata.load().version() > 0 {
            tracing::info!(reason = ?attempt, "asking the bootstrap servers who the brokers are");
        }
        self.rebootstraps = rebootstraps || (self.rebootstraps && attempt != Attempt::Succeeded);
        result.map_err(retriable)
    }

    async fn ask_somebody(&self, topics: &Topics) -> Result<MetadataResponse, (Attempt, ClientError)> {
        let timeout = Duration::from_millis(self.inner.settings.request_timeout_ms);
        let deadline = Instant::now() + timeout;
        let metadata = self.inner.metadata.load_full();
        let reached = self.inner.pool.any(&metadata, self.rebootstraps, deadline).await;
        let (_, link) = reached.map_err(|error| (Attempt::NobodyReached, error))?;
        let refused = |error| (Attempt::Refused, error);
        if self.inner.settings.is_of_controllers {
            let version = link.choose::<DescribeClusterRequest>(None).map_err(refused)?;
            let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
            return link.ask(&request, version, timeout).await.map(metadata_of_controllers).map_err(refused);
        }
        let version = link.choose::<MetadataRequest>(None).map_err(refused)?;
        let request = request(topics, version, self.inner.settings.allow_auto_create_topics);
        link.ask(&request, version, timeout).await.map_err(refused)
    }

    fn take_up(&self, answer: &MetadataResponse, topics: &Topics) -> Arc<Metadata> {
        let metadata = self.inner.publish(|metadata| {
            let asked = match topics {
                Topics::Every => Asked::Every,
                Topics::Named(names) => Asked::Named(names),
                Topics::Nothing => Asked::Named(&[]),
            };
            Some(metadata.merge(answer, asked))
        });
        self.inner.pool.retain(&metadata);
        metadata
    }
}

/// What DescribeCluster calls them.
const CONTROLLERS: i8 = 2;

/// Controllers don't serve Metadata: what they tell of each other, as if they did.
fn metadata_of_controllers(answer: DescribeClusterResponse) -> MetadataResponse {
    let node = |node: describe_cluster_response::Broker| metadata_response::Broker {
        node_id: node.broker_id,
        host: node.host,
        port: node.port,
        rack: node.rack,
        ..Default::default()
    };
    MetadataResponse {
        error_code: answer.error_code,
        cluster_id: Some(answer.cluster_id),
        controller_id: answer.controller_id,
        brokers: answer.brokers.into_iter().map(node).collect(),
        ..Default::default()
    }
}

/// A broker that has just begun is one that will know more soon, though the code's facts don't say so.
fn retriable(error: ClientError) -> ClientError {
    match error.code() {
        Some(ErrorCode::BrokerNotAvailable | ErrorCode::RebootstrapRequired) => ClientError::Disconnected {
            node: "the cluster".into(),
            why: error.to_string().into(),
            is_sent: false,
        },
        _ => error,
    }
}

fn request(topics: &Topics, version: i16, allow_auto_topic_creation: bool) -> MetadataRequest {
    let named = |names: &[Arc<str>]| {
        let topic = |name: &Arc<str>| metadata_request::Topic {
            name: Some(name.to_string()),
            ..metadata_request::Topic::default()
        };
        Some(names.iter().map(topic).collect())
    };
    let topics = match topics {
        Topics::Named(names) => named(names),
        // Without names the oldest version means all topics.
        Topics::Every if version < NO_TOPICS_SINCE => named(&[]),
        Topics::Every => None,
        Topics::Nothing => named(&[]),
    };
    MetadataRequest {
        topics,
        // Versions before 4 can't say that they don't want it.
        allow_auto_topic_creation: allow_auto_topic_creation || version < 4,
        ..MetadataRequest::default()
    }
}
