//! The task beside a share consumer: does what the state machine wants done, and hands it what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Uuid};
use ottla_wire::messages::{ShareAcknowledgeRequest, ShareGroupHeartbeatResponse};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::core::machine::{Answer, ShareMachine, View, Work};
use super::core::membership::{IdPartition, ShareMembership};
use super::core::record::Acknowledged;
use super::settings::ShareConsumerSettings;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::telemetry::Metrics;
use crate::{Broker, Client, ClientError, Metadata, Target, Topics};

impl View for Metadata {
    fn leader(&self, (topic_id, partition): &IdPartition) -> Option<NodeId> {
        let topic = self.topic_by_id(*topic_id)?;
        let leader = Metadata::leader(self, &topic.name, *partition)?;
        self.brokers().contains_key(&leader.node).then_some(leader.node)
    }

    fn name(&self, topic_id: Uuid) -> Option<Arc<str>> {
        self.topic_by_id(topic_id).map(|topic| Arc::clone(&topic.name))
    }
}

/// What a share consumer and its driver share.
#[derive(Debug)]
pub(super) struct Shared {
    pub client: Client,
    pub settings: ShareConsumerSettings,
    pub machine: Mutex<ShareMachine>,
    commits: Mutex<Commits>,
    clock: Clock,
    /// Something changed that the driver hasn't looked at.
    news: Notify,
    /// The owner waits for records.
    owner: Mutex<Option<Waker>>,
}

/// Who waits for the outcome of acknowledgements, by ticket.
#[derive(Debug, Default)]
struct Commits {
    tickets: u64,
    waiting: HashMap<u64, oneshot::Sender<Vec<Acknowledged>>>,
}

impl Shared {
    pub fn new(client: Client, settings: ShareConsumerSettings) -> Shared {
        let membership = ShareMembership::new(
            settings.group_id.clone(),
            Uuid(rand::random()).to_string(),
            Some(settings.client_rack.clone()).filter(|rack| !rack.is_empty()),
            i64::from(settings.max_poll_interval_ms),
            Backoff::new(settings.client.retry_backoff_ms, settings.client.retry_backoff_max_ms),
        );
        Shared {
            machine: Mutex::new(ShareMachine::new(settings.core(), membership)),
            client,
            settings,
            commits: Mutex::default(),
            clock: Clock::start(),
            news: Notify::new(),
            owner: Mutex::new(None),
        }
    }

    /// Changes the machine, and has the driver look at it.
    pub fn change<T>(&self, change: impl FnOnce(&mut ShareMachine, MonoMs) -> T) -> T {
        let result = change(&mut self.machine.lock(), self.clock.mono());
        self.news.notify_one();
        result
    }

    /// Has acknowledgements sent; what gives their outcome.
    pub fn commit(
        &self,
        commit: impl FnOnce(&mut ShareMachine, u64),
    ) -> oneshot::Receiver<Vec<Acknowledged>> {
        let (done, outcome) = oneshot::channel();
        let ticket = {
            let mut commits = self.commits.lock();
            commits.tickets += 1;
            let ticket = commits.tickets;
            commits.waiting.insert(ticket, done);
            ticket
        };
        self.change(|machine, _| commit(machine, ticket));
        outcome
    }

    /// The owner waits; or doesn't any more.
    pub fn set_owner(&self, waker: Option<Waker>) {
        *self.owner.lock() = waker;
    }

    fn wake_owner(&self) {
        let waker = self.owner.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn tell(&self, done: Vec<(u64, Vec<Acknowledged>)>) {
        let mut commits = self.commits.lock();
        for (ticket, outcome) in done {
            if let Some(waiting) = commits.waiting.remove(&ticket) {
                // Whoever asked may not want to know any more.
                let _ = waiting.send(outcome);
            }
        }
    }
}

/// The leaders that an answer names. Both kinds of answers name them in the same fields, of types of their own.
macro_rules! hints {
    ($answer:expr) => {{
        let endpoints = $answer.node_endpoints.iter();
        let brokers: Vec<Broker> =
            endpoints.filter_map(|of| broker(of.node_id, &of.host, of.port, of.rack.as_deref())).collect();
        let mut hints = Vec::new();
        for topic in &$answer.responses {
            for partition in &topic.partitions {
                let led = &partition.current_leader;
                let place = (topic.topic_id, partition.partition_index);
                hints.extend(hint(place, led.leader_id, led.leader_epoch, &brokers));
            }
        }
        hints
    }};
}

/// What a request says of offsets. Both kinds of requests say it in the same fields, of types of their own.
macro_rules! batches {
    ($request:expr) => {
        $request.topics.iter().flat_map(|of| &of.partitions).flat_map(|of| &of.acknowledgement_batches)
    };
}

/// How many offsets a member says something of.
pub(super) fn count_acknowledgements(metrics: &Metrics, request: &ShareAcknowledgeRequest) {
    let said = batches!(request).map(|batch| offsets(batch.first_offset, batch.last_offset)).sum();
    metrics.acknowledgements_sent.add(said);
}

fn offsets(first: i64, last: i64) -> u64 {
    u64::try_from(last - first + 1).unwrap_or(0)
}

/// What came of something that was asked.
enum Outcome {
    Heartbeat(u64, Result<ShareGroupHeartbeatResponse, ClientError>),
    Node(NodeId, Answer),
    Refreshed,
}

/// The task.
pub(super) struct Driver {
    shared: Arc<Shared>,
    outcomes: JoinSet<Outcome>,
    is_refreshing: bool,
}

impl Driver {
    pub fn new(shared: Arc<Shared>) -> Driver {
        Driver { shared, outcomes: JoinSet::new(), is_refreshing: false }
    }

    /// Goes on until it is aborted.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut changed = shared.client.metadata_changed();
        loop {
            let wait = self.work();
            tokio::select! {
                Some(outcome) = self.outcomes.join_next() => {
                    self.take(outcome);
                    while let Some(outcome) = self.outcomes.try_join_next() {
                        self.take(outcome);
                    }
                }
                () = shared.news.notified() => {}
                Ok(()) = changed.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts what is to be done. How long to sleep if nothing happens.
    fn work(&mut self) -> Duration {
        let shared = Arc::clone(&self.shared);
        let metadata = shared.client.metadata();
        let now = shared.clock.mono();
        let (work, done, counts, deadline, has_news) = {
            let mut machine = shared.machine.lock();
            let work = machine.work(&*metadata, now);
            (work, machine.take_done(), machine.take_counts(), machine.deadline(now), machine.has_news())
        };
        let metrics = shared.client.metrics();
        (0..counts.rebalances).for_each(|_| metrics.rebalances.note(0));
        metrics.acknowledgement_errors.add(counts.not_acknowledged);
        work.into_iter().for_each(|one| self.start(one));
        shared.tell(done);
        if has_news {
            shared.wake_owner();
        }
        const AT_MOST_MS: u64 = 60_000;
        Duration::from_millis(deadline.since_ms(now).clamp(1, AT_MOST_MS))
    }

    fn start(&mut self, work: Work) {
        let client = self.shared.client.clone();
        match work {
            Work::Heartbeat(life, request) => {
                let target = Target::group(&self.shared.settings.group_id);
                self.outcomes.spawn(async move {
                    let began = Instant::now();
                    client.metrics().heartbeat_sent.is_now();
                    let answer = client.send(target.clone(), &request).await;
                    match &answer {
                        Ok(_) => client.metrics().heartbeats.note_since(began),
                        Err(error) => {
                            tracing::debug!(group_id = request.group_id, %error, "no answer from the group's coordinator");
                            client.learn_from(&target, error);
                        }
                    }
                    Outcome::Heartbeat(life, answer)
                });
            }
            Work::Fetch(node, request) => {
                let said =
                    batches!(request).map(|batch| offsets(batch.first_offset, batch.last_offset)).sum();
                client.metrics().acknowledgements_sent.add(said);
                self.outcomes.spawn(async move {
                    let began = Instant::now();
                    let answer = client.send_long_poll(node, &request).await;
                    let metrics = client.metrics();
                    metrics.fetches.note_since(began);
                    if let Ok(answer) = &answer {
                        metrics.fetch_throttle_time.note(u64::try_from(answer.throttle_time_ms).unwrap_or(0));
                    }
                    Outcome::Node(node, Answer::Fetched(answer))
                });
            }
            Work::Acknowledge(node, request) => {
                count_acknowledgements(client.metrics(), &request);
                self.outcomes.spawn(async move {
                    // One session has one order: after the fetches before it.
                    let answer = client.send_long_poll(node, &request).await;
                    Outcome::Node(node, Answer::Acknowledged(answer))
                });
            }
            Work::Refresh if self.is_refreshing => {}
            Work::Refresh => {
                self.is_refreshing = true;
                let topics: Vec<Arc<str>> = self.shared.machine.lock().topics().iter().cloned().collect();
                self.outcomes.spawn(async move {
                    if let Err(error) = client.refresh(Topics::Named(topics)).await {
                        tracing::debug!(%error, "metadata was not refreshed");
                    }
                    Outcome::Refreshed
                });
            }
        }
    }

    fn take(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        // Tasks are only cancelled together with this one.
        let Ok(outcome) = outcome else { return };
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.mono();
        match outcome {
            Outcome::Heartbeat(life, answer) => {
                if let Ok(answer) = &answer
                    && answer.error_code != 0
                {
                    let code = ottla_wire::ErrorCode::from_answer(answer.error_code);
                    let error = ClientError::broker(code, None, "a heartbeat");
                    shared.client.learn_from(&Target::group(&shared.settings.group_id), &error);
                }
                shared.machine.lock().heartbeat_answered(life, answer, rand::random(), now);
            }
            Outcome::Node(node, answer) => {
                self.learn(node, &answer);
                let metadata = shared.client.metadata();
                let needs_metadata =
                    shared.machine.lock().answered(node, answer, &*metadata, rand::random(), now);
                if needs_metadata {
                    shared.client.refresh_soon();
                }
            }
            Outcome::Refreshed => self.is_refreshing = false,
        }
    }

    /// What an answer says of the cluster.
    fn learn(&self, node: NodeId, answer: &Answer) {
        let client = &self.shared.client;
        let hints = match answer {
            Answer::Fetched(Ok(answer)) => hints!(answer),
            Answer::Acknowledged(Ok(answer)) => hints!(answer),
            Answer::Fetched(Err(error)) | Answer::Acknowledged(Err(error)) => {
                tracing::debug!(%node, %error, "no answer to a share consumer");
                client.learn_from(&Target::Node(node), error);
                return;
            }
        };
        let metadata = client.metadata();
        for hint in hints {
            if let Some(topic) = metadata.topic_by_id(hint.topic_id) {
                client.learn_leader(&topic.name, hint.partition, hint.leader, hint.epoch, hint.address);
            }
        }
    }
}

/// A leader that an answer named (KIP-951).
struct Hint {
    topic_id: Uuid,
    partition: i32,
    leader: NodeId,
    epoch: LeaderEpoch,
    address: Option<Broker>,
}

fn broker(id: i32, host: &str, port: i32, rack: Option<&str>) -> Option<Broker> {
    let port = u16::try_from(port).ok()?;
    Some(Broker { id: NodeId(id), host: host.into(), port, rack: rack.map(Arc::from) })
}

fn hint((topic_id, partition): IdPartition, leader: i32, epoch: i32, brokers: &[Broker]) -> Option<Hint> {
    let address = brokers.iter().find(|broker| broker.id == NodeId(leader))?.clone();
    (leader >= 0 && epoch >= 0).then_some(Hint {
        topic_id,
        partition,
        leader: NodeId(leader),
        epoch: LeaderEpoch(epoch),
        address: Some(address),
    })
}
