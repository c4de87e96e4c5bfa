//! The task beside a consumer: does what the state machine wants done, and hands it what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime};

use ottla_types::{MonoMs, NodeId, Now, Timestamp, TopicPartition};
use ottla_wire::messages::{FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asking;
use super::commits::{Commit, CommittedOffset, Offsets};
use super::core::fetching::{Question, by_topic};
use super::core::machine::{ConsumerEvent, Failure, GroupAnswer, Machine, Work};
use super::core::membership::{GroupError, GroupRequest, Rebalanced};
use super::core::record::Position;
use super::error::ConsumerError;
use super::pattern::NamePattern;
use super::settings::ConsumerSettings;
use crate::clock::Clock;
use crate::telemetry::{Activity, Metrics};
use crate::{Broker, Client, ClientError, CoordinatorKind, Metadata, Target, Topics};

/// What a consumer, its driver and its commits share.
#[derive(Debug)]
pub(super) struct Shared {
    pub client: Client,
    pub settings: ConsumerSettings,
    pub machine: Mutex<Machine>,
    /// Topics that the group's members want by a pattern that is matched here.
    pattern: Mutex<Option<Wanted>>,
    pub commits: mpsc::Sender<Commit>,
    clock: Clock,
    /// Something changed that the driver hasn't looked at.
    news: Notify,
    /// The owner waits for an event, or has before it did something else.
    owner: Mutex<Option<Owner>>,
}

#[derive(Debug)]
struct Wanted {
    pattern: NamePattern,
    /// Nothing has been matched with it yet.
    is_new: bool,
}

/// Who asked for an event, and got none yet.
#[derive(Debug)]
struct Owner {
    waker: Waker,
    asked: MonoMs,
}

/// Who was polled longer ago is woken, to show that it still waits: a task that went on with something else, and left its waker
/// here, can't be told from one that waits in any other way.
const ASKED_AGAIN_MS: u64 = 5_000;

impl Shared {
    pub fn new(client: Client, settings: ConsumerSettings, commits: mpsc::Sender<Commit>) -> Shared {
        let clock = Clock::start();
        let interval_ms = settings.enable_auto_commit.then_some(settings.auto_commit_interval_ms);
        let fetcher = super::core::fetching::Fetcher::new(settings.fetch_settings());
        let has_group_id = settings.group_id.is_some();
        let machine =
            Machine::new(fetcher, has_group_id, settings.max_poll_records, interval_ms, clock.mono());
        Shared {
            client,
            settings,
            machine: Mutex::new(machine),
            pattern: Mutex::new(None),
            commits,
            clock,
            news: Notify::new(),
            owner: Mutex::new(None),
        }
    }

    pub fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Now { wall, mono: self.clock.mono() }
    }

    /// Changes the machine, and has the driver look at it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Machine, Now) -> T) -> T {
        let result = change(&mut self.machine.lock(), self.now());
        self.news.notify_one();
        result
    }

    /// From now on topics that match this are wanted; the machine is prepared for it.
    pub fn set_pattern(&self, pattern: Option<NamePattern>) {
        *self.pattern.lock() = pattern.map(|pattern| Wanted { pattern, is_new: true });
        self.news.notify_one();
    }

    /// What comes next for the owner.
    pub fn next(&self) -> Option<Result<ConsumerEvent, Failure>> {
        let (next, is_for_driver) = {
            let mut machine = self.machine.lock();
            let next = machine.next(self.now().mono);
            let is_records = matches!(next, Some(Ok(ConsumerEvent::Records(_))));
            (next, !is_records || machine.has_work())
        };
        if is_for_driver {
            self.news.notify_one();
        }
        next
    }

    pub fn group_id(&self) -> Result<&str, ConsumerError> {
        self.settings
            .group_id
            .as_deref()
            .ok_or(ConsumerError::Misuse("this needs a group.id, and none is set"))
    }

    /// The owner waits; or doesn't any more.
    pub fn set_owner(&self, waker: Option<Waker>) {
        *self.owner.lock() = waker.map(|waker| Owner { waker, asked: self.clock.mono() });
    }

    fn wake_owner(&self) {
        let owner = self.owner.lock().take();
        if let Some(owner) = owner {
            owner.waker.wake();
        }
    }

    /// Until when the owner is believed to wait, if it does. Who isn't believed is woken: it comes back, or doesn't count any more.
    fn owner_waits_until(&self) -> Option<MonoMs> {
        let interval_ms = u64::try_from(self.settings.max_poll_interval_ms).unwrap_or(0);
        let believed_ms = i64::try_from(ASKED_AGAIN_MS.min(interval_ms / 4)).unwrap_or(i64::MAX);
        let until = self.owner.lock().as_ref().map(|owner| owner.asked.plus_ms(believed_ms))?;
        if self.clock.mono() < until {
            return Some(until);
        }
        self.wake_owner();
        None
    }

    fn after(&self, deadline: MonoMs) -> Option<Duration> {
        (deadline != MonoMs::NEVER)
            .then(|| Duration::from_millis(deadline.since_ms(self.clock.mono()).max(1)))
    }

    fn topics(&self) -> Vec<Arc<str>> {
        let machine = self.machine.lock();
        let mut topics = machine.fetcher().topics();
        topics.extend(machine.led_topics());
        topics.extend(machine.wanted_topics().iter().cloned());
        topics.into_iter().collect()
    }
}

/// What came of something that was asked.
enum Outcome {
    Group { life: u64, answer: GroupAnswer, error: Option<ClientError> },
    Topics { life: u64, topics: Vec<Arc<str>>, metadata: Option<Arc<Metadata>> },
    Fetched(NodeId, Result<FetchResponse, ClientError>),
    Listed(NodeId, Question, Result<ListOffsetsResponse, ClientError>),
    Validated(NodeId, Question, Result<OffsetForLeaderEpochResponse, ClientError>),
    Committed(Question, Result<Offsets, ClientError>),
    CommitDone(Result<(), ConsumerError>),
    Refreshed(Result<Arc<Metadata>, ClientError>),
}

/// Metadata is asked for once at a time, and not more often than that.
#[derive(Debug)]
struct Refreshing {
    in_flight: bool,
    wanted: bool,
    every: bool,
    not_before: Instant,
    /// When topics are matched with the pattern again.
    matched_again: Option<Instant>,
}

/// The task.
pub(super) struct Driver {
    shared: Arc<Shared>,
    outcomes: JoinSet<Outcome>,
    refreshing: Refreshing,
}

impl Driver {
    pub fn new(shared: Arc<Shared>) -> Driver {
        let refreshing = Refreshing {
            in_flight: false,
            wanted: false,
            every: false,
            not_before: Instant::now(),
            matched_again: None,
        };
        Driver { shared, outcomes: JoinSet::new(), refreshing }
    }

    /// Goes on until it is aborted.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut changed = shared.client.metadata_changed();
        loop {
            let sleep = self.work();
            let wake = tokio::time::sleep(sleep);
            tokio::select! {
                Some(outcome) = self.outcomes.join_next() => {
                    self.take(outcome);
                    while let Some(outcome) = self.outcomes.try_join_next() {
                        self.take(outcome);
                    }
                }
                () = shared.news.notified() => {}
                Ok(()) = changed.changed() => self.metadata_changed(),
                () = wake => {}
            }
        }
    }

    /// Starts what is to be done. How long to sleep if nothing happens.
    fn work(&mut self) -> Duration {
        let shared = Arc::clone(&self.shared);
        let metadata = shared.client.metadata();
        let now = shared.now();
        let waits_until = shared.owner_waits_until();
        let (work, deadline, has_news) = {
            let mut machine = shared.machine.lock();
            if waits_until.is_some() {
                machine.owner_waits(now.mono);
            }
            let work = machine.work(&*metadata, now);
            count(shared.client.metrics(), &machine.take_rebalances());
            let deadline = machine.deadline(now.mono).min(waits_until.unwrap_or(MonoMs::NEVER));
            (work, deadline, machine.has_news())
        };
        for one in work {
            self.start(one);
        }
        self.refresh();
        if has_news {
            shared.wake_owner();
        }
        const AT_MOST: Duration = Duration::from_secs(60);
        let wait = shared.after(deadline).unwrap_or(AT_MOST).min(AT_MOST);
        let refreshing = &self.refreshing;
        let refresh_at = (refreshing.wanted && !refreshing.in_flight).then_some(refreshing.not_before);
        let next = refresh_at.into_iter().chain(refreshing.matched_again).min();
        next.map_or(wait, |at| {
            wait.min(at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
        })
    }

    fn start(&mut self, work: Work) {
        let client = self.shared.client.clone();
        match work {
            Work::Group { life, request } => {
                let max_poll_interval_ms =
                    u64::try_from(self.shared.settings.max_poll_interval_ms).unwrap_or(0);
                self.outcomes.spawn(async move {
                    let began = Instant::now();
                    if matches!(request, GroupRequest::Heartbeat(_) | GroupRequest::ConsumerHeartbeat(_)) {
                        client.metrics().heartbeat_sent.is_now();
                    }
                    let (answer, error) =
                        asking::ask_coordinator(&client, request, max_poll_interval_ms).await;
                    if let Some(activity) = activity(client.metrics(), &answer) {
                        activity.note_since(began);
                    }
                    Outcome::Group { life, answer, error }
                });
            }
            Work::ForgetCoordinator => {
                if let Some(group_id) = &self.shared.settings.group_id {
                    client.forget_coordinator(CoordinatorKind::Group, &Arc::from(group_id.as_str()));
                }
            }
            Work::NeedTopics { life, topics } => {
                self.outcomes.spawn(async move {
                    let metadata = client.refresh(Topics::Named(topics.clone())).await;
                    let metadata =
                        metadata.inspect_err(|error| tracing::warn!(%error, "no metadata to assign by"));
                    Outcome::Topics { life, topics, metadata: metadata.ok() }
                });
            }
            Work::NeedNames => {
                self.refreshing.wanted = true;
                self.refreshing.every = true;
            }
            Work::RefreshMetadata => self.refreshing.wanted = true,
            Work::Fetch(node, request) => {
                self.outcomes.spawn(async move {
                    let began = Instant::now();
                    let answer = client.send_long_poll(node, &request).await;
                    let metrics = client.metrics();
                    metrics.fetches.note_since(began);
                    if let Ok(answer) = &answer {
                        metrics.fetch_throttle_time.note(u64::try_from(answer.throttle_time_ms).unwrap_or(0));
                    }
                    Outcome::Fetched(node, answer)
                });
            }
            Work::ListOffsets(node, request, question) => {
                self.outcomes.spawn(async move {
                    let answer = client.send(Target::Node(node), &request).await;
                    Outcome::Listed(node, question, answer)
                });
            }
            Work::Validate(node, request, question) => {
                self.outcomes.spawn(async move {
                    let answer = client.send(Target::Node(node), &request).await;
                    Outcome::Validated(node, question, answer)
                });
            }
            Work::FetchCommitted(question) => {
                let shared = Arc::clone(&self.shared);
                self.outcomes.spawn(async move {
                    let committed = committed(&shared, &question).await;
                    Outcome::Committed(question, committed)
                });
            }
            Work::Commit(offsets) => self.commit(offsets),
        }
    }

    fn commit(&mut self, offsets: BTreeMap<TopicPartition, Position>) {
        let ownership = self.shared.machine.lock().ownership(offsets.keys());
        let offsets = offsets.into_iter().map(|(partition, position)| (partition, position.into())).collect();
        let timeout = Duration::from_millis(self.shared.client.settings().request_timeout_ms);
        let (done, result) = oneshot::channel();
        let commit = Commit { offsets, ownership, deadline: Some(Instant::now() + timeout), done };
        let commits = self.shared.commits.clone();
        self.outcomes.spawn(async move {
            if commits.send(commit).await.is_err() {
                return Outcome::CommitDone(Err(ConsumerError::Closed));
            }
            Outcome::CommitDone(result.await.unwrap_or(Err(ConsumerError::Closed)))
        });
    }

    fn take(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        // Tasks are only cancelled together with this one.
        let Ok(outcome) = outcome else { return };
        let shared = Arc::clone(&self.shared);
        let now = shared.now().mono;
        let mut machine = shared.machine.lock();
        match outcome {
            Outcome::Group { life, answer, error } => {
                if let Some(error) = error.filter(|error| !error.is_retriable()) {
                    machine.fail(GroupError::NoCoordinator(error.to_string()));
                }
                machine.group_answered(life, answer, now);
            }
            Outcome::Topics { life, topics, metadata } => {
                let metadata = metadata.unwrap_or_else(|| shared.client.metadata());
                machine.topics_known(life, asking::racks(&metadata, &topics));
                topics.iter().for_each(|topic| shared.client.watch(topic));
            }
            Outcome::Fetched(node, Ok(answer)) => {
                let brokers: Vec<Broker> = answer.node_endpoints.iter().filter_map(broker).collect();
                for hint in machine.fetched(node, answer, now) {
                    let address = brokers.iter().find(|broker| broker.id == hint.leader).cloned();
                    let name = &hint.partition;
                    shared.client.learn_leader(&name.topic, name.partition, hint.leader, hint.epoch, address);
                }
            }
            Outcome::Fetched(node, Err(error)) => {
                tracing::debug!(%node, %error, "fetching failed");
                shared.client.learn_from(&Target::Node(node), &error);
                machine.fetch_failed(node, now);
            }
            Outcome::Listed(_, question, Ok(answer)) => {
                machine.fetcher_mut().offsets_listed(&question, &answer, now);
            }
            Outcome::Validated(_, question, Ok(answer)) => {
                machine.fetcher_mut().validated(&question, &answer, now);
            }
            Outcome::Listed(node, question, Err(error)) | Outcome::Validated(node, question, Err(error)) => {
                shared.client.learn_from(&Target::Node(node), &error);
                machine.fetcher_mut().question_failed(&question, now);
                self.refreshing.wanted = true;
            }
            Outcome::Committed(question, Ok(committed)) => {
                let position = |(partition, committed): (TopicPartition, CommittedOffset)| {
                    (partition, committed.position)
                };
                let committed = committed.into_iter().map(position).collect();
                machine.committed_known(&question, Some(&committed), now);
            }
            Outcome::Committed(question, Err(error)) => {
                if !error.is_retriable() && !is_about_epoch(&error) {
                    machine.fail(GroupError::NoCoordinator(error.to_string()));
                }
                machine.committed_known(&question, None, now);
            }
            Outcome::CommitDone(result) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "offsets were not committed");
                }
                machine.committed(now);
            }
            Outcome::Refreshed(result) => {
                self.refreshing.in_flight = false;
                if let Err(error) = &result {
                    tracing::debug!(%error, "metadata was not refreshed");
                }
                drop(machine);
                if result.is_ok() {
                    self.match_pattern();
                }
            }
        }
    }

    /// Asks for metadata if that is wanted and due.
    fn refresh(&mut self) {
        let now = Instant::now();
        let shared = Arc::clone(&self.shared);
        let is_due = |wanted: &mut Wanted| {
            std::mem::take(&mut wanted.is_new) || self.refreshing.matched_again.is_none_or(|at| now >= at)
        };
        if shared.pattern.lock().as_mut().is_some_and(is_due) {
            let age = Duration::from_millis(shared.client.settings().metadata_max_age_ms);
            self.refreshing.matched_again = Some(now + age);
            self.refreshing.wanted = true;
            self.refreshing.every = true;
        }
        if !self.refreshing.wanted || self.refreshing.in_flight || now < self.refreshing.not_before {
            return;
        }
        let backoff = Duration::from_millis(shared.client.settings().retry_backoff_ms);
        let every = std::mem::take(&mut self.refreshing.every);
        let topics = if every { Topics::Every } else { Topics::Named(shared.topics()) };
        self.refreshing = Refreshing {
            in_flight: true,
            wanted: false,
            every: false,
            not_before: now + backoff,
            matched_again: self.refreshing.matched_again,
        };
        self.outcomes.spawn(async move { Outcome::Refreshed(shared.client.refresh(topics).await) });
    }

    fn metadata_changed(&mut self) {
        let metadata = self.shared.client.metadata();
        let names = metadata.topics().map(|topic| (topic.id, Arc::clone(&topic.name))).collect::<Vec<_>>();
        let now = self.shared.now().mono;
        let mut machine = self.shared.machine.lock();
        let led = machine.led_topics();
        machine.metadata_changed(&asking::racks(&metadata, &led), names, now);
    }

    /// Subscribes to the topics that match by now.
    fn match_pattern(&mut self) {
        let wanted = self.shared.pattern.lock();
        let Some(Wanted { pattern, .. }) = wanted.as_ref() else { return };
        let metadata = self.shared.client.metadata();
        let excludes = self.shared.settings.exclude_internal_topics;
        let candidates = metadata.topics().filter(|topic| !(excludes && topic.is_internal));
        let matching =
            candidates.filter(|topic| pattern.matches(&topic.name)).map(|topic| Arc::clone(&topic.name));
        let matching: Vec<Arc<str>> = matching.collect();
        matching.iter().for_each(|topic| self.shared.client.watch(topic));
        self.shared.change(|machine, now| machine.topics_matched(matching, now.mono));
    }
}

/// What it counts as that a coordinator has answered so.
fn activity<'a>(metrics: &'a Metrics, answer: &GroupAnswer) -> Option<&'a Activity> {
    match answer {
        GroupAnswer::Join(Some(answer)) if answer.error_code == 0 => Some(&metrics.joins),
        GroupAnswer::Sync(Some(answer)) if answer.error_code == 0 => Some(&metrics.syncs),
        GroupAnswer::Heartbeat(_, Some(_)) | GroupAnswer::ConsumerHeartbeat(_, Some(_)) => {
            Some(&metrics.heartbeats)
        }
        _ => None,
    }
}

fn count(metrics: &Metrics, rebalanced: &Rebalanced) {
    rebalanced.took_ms.iter().for_each(|took_ms| metrics.rebalances.note(*took_ms));
    metrics.rebalances.note_failed(rebalanced.failed);
}

async fn committed(shared: &Shared, question: &Question) -> Result<Offsets, ClientError> {
    let Some(group_id) = shared.settings.group_id.as_deref() else { return Ok(Offsets::new()) };
    let member = {
        let machine = shared.machine.lock();
        // Classic members are not named: their generation may be over while they still read.
        machine.identity().filter(|_| machine.is_modern())
    };
    asking::committed(&shared.client, group_id, member.as_ref(), &by_topic(question)).await
}

/// The member's epoch has changed while the request was on its way.
fn is_about_epoch(error: &ClientError) -> bool {
    use ottla_wire::ErrorCode as E;
    matches!(
        error.code(),
        Some(E::StaleMemberEpoch | E::UnknownMemberId | E::FencedMemberEpoch | E::UnstableOffsetCommit)
    )
}

fn broker(endpoint: &ottla_wire::messages::fetch_response::NodeEndpoint) -> Option<Broker> {
    Some(Broker {
        id: NodeId(endpoint.node_id),
        host: endpoint.host.as_str().into(),
        port: u16::try_from(endpoint.port).ok()?,
        rack: endpoint.rack.as_deref().map(Arc::from),
    })
}
