//! The consumer as its owner sees it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use ottla_types::{Offset, Timestamp, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::asking;
use super::commits::{self, Commit, CommitLater, CommittedOffset, Offsets};
use super::core::assignors::{self, Assignor};
use super::core::classic::{ClassicMembership, ClassicSettings};
use super::core::fetching::{OffsetReset, Watermarks};
use super::core::machine::{ConsumerEvent, Membership, Work};
use super::core::membership::{GroupMetadata, MemberIdentity, OnClose};
use super::core::modern::{ModernMembership, ModernSettings, Wanted};
use super::core::record::{ConsumerRecord, Position};
use super::driver::{Driver, Shared};
use super::error::ConsumerError;
use super::pattern::NamePattern;
use super::settings::{ConsumerSettings, GroupProtocol};
use crate::telemetry::{Kind, Reporter};
use crate::{Client, Topics};

const LATEST_TIMESTAMP: i64 = -1;
const EARLIEST_TIMESTAMP: i64 = -2;

/// An offset found by time, and the timestamp of the record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    pub offset: Offset,
    pub timestamp: Timestamp,
}

/// Reads topics, alone or as a member of a group.
///
/// It has one owner: what changes it, borrows it mutably. The owner asks for events ([`Consumer::next`]) or for records
/// alone ([`Consumer::poll`]); asking says that everything handed out before is done with. Heartbeats, fetching ahead
/// and commits in intervals go on by themselves, in a task on the runtime in which the consumer was connected.
///
/// ```no_run
/// use ottla_client::ClientSettings;
/// use ottla_client::consumer::{Consumer, ConsumerError, ConsumerSettings};
///
/// # async fn example() -> Result<(), ConsumerError> {
/// let mut consumer = Consumer::connect(ConsumerSettings {
///     group_id: Some("billing".to_owned()),
///     enable_auto_commit: false,
///     ..ConsumerSettings::new(ClientSettings::new("localhost:9092"))
/// })
/// .await?;
/// consumer.subscribe(["orders"])?;
/// loop {
///     for record in consumer.poll(std::time::Duration::from_secs(1)).await? {
///         println!("{} {:?}", record.offset, record.value);
///     }
///     consumer.commit().await?;
/// }
/// # }
/// ```
///
/// Dropping it doesn't block, commits nothing and doesn't leave the group, which notices when the session times out:
/// [`Consumer::close`] does all that.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
    custom_assignors: Vec<Box<dyn Assignor>>,
    reporter: Option<Reporter>,
}

impl Consumer {
    /// Connects to the cluster. Needs a tokio runtime.
    pub async fn connect(settings: ConsumerSettings) -> Result<Consumer, ConsumerError> {
        settings.check()?;
        let client = Client::connect(settings.client.clone()).await?;
        Consumer::start(client, settings)
    }

    /// As [`Consumer::connect`], with strategies of assignment that are not among the built-in ones; they are preferred
    /// to those in the settings.
    pub async fn connect_with(
        settings: ConsumerSettings,
        assignors: Vec<Box<dyn Assignor>>,
    ) -> Result<Consumer, ConsumerError> {
        let mut consumer = Consumer::connect(settings).await?;
        consumer.custom_assignors = assignors;
        Ok(consumer)
    }

    fn start(client: Client, settings: ConsumerSettings) -> Result<Consumer, ConsumerError> {
        let reporter = Reporter::start(&client, Kind::Consumer);
        let (commits, queue) = commits::queue();
        let shared = Arc::new(Shared::new(client, settings, commits));
        let commits = tokio::spawn(commits::run(Arc::clone(&shared), queue));
        let driver = tokio::spawn(Driver::new(Arc::clone(&shared)).run());
        let tasks = [driver.abort_handle(), commits.abort_handle()];
        Ok(Consumer { shared, tasks, custom_assignors: Vec::new(), reporter })
    }

    pub fn settings(&self) -> &ConsumerSettings {
        &self.shared.settings
    }

    /// What it stands on: to ask the same cluster for something else.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Reads what its group assigns of these topics, from the next event on. Replaces what was subscribed to before.
    pub fn subscribe<T: AsRef<str>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), ConsumerError> {
        let topics: Vec<Arc<str>> = topics.into_iter().map(|topic| Arc::from(topic.as_ref())).collect();
        self.shared.set_pattern(None);
        topics.iter().for_each(|topic| self.shared.client.watch(topic));
        self.subscribe_to(Wanted { topics, regex: None })
    }

    /// Reads what its group assigns of the topics whose whole names match a regular expression. By the classic protocol it
    /// is matched here, every `metadata.max.age.ms`, in the syntax of the `regex` crate; by the consumer protocol the
    /// coordinator matches it, in RE2's.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ConsumerError> {
        if self.shared.settings.group_protocol == GroupProtocol::Consumer {
            self.shared.set_pattern(None);
            return self.subscribe_to(Wanted { topics: Vec::new(), regex: Some(pattern.to_owned()) });
        }
        let compiled = NamePattern::new(pattern)?;
        self.check_not_assigned()?;
        self.shared.group_id()?;
        let membership = self.membership()?;
        self.shared.change(|machine, _| machine.prepare(membership));
        // The driver asks for all topics and subscribes to those that match.
        self.shared.set_pattern(Some(compiled));
        Ok(())
    }

    fn subscribe_to(&mut self, wanted: Wanted) -> Result<(), ConsumerError> {
        self.check_not_assigned()?;
        self.shared.group_id()?;
        let membership = self.membership()?;
        self.shared.change(|machine, now| machine.subscribe(membership, wanted, now.mono));
        Ok(())
    }

    fn check_not_assigned(&self) -> Result<(), ConsumerError> {
        let machine = self.shared.machine.lock();
        if !machine.is_subscribed() && machine.fetcher().partitions().next().is_some() {
            return Err(ConsumerError::Misuse(
                "partitions were assigned by hand: unassign them before subscribing",
            ));
        }
        Ok(())
    }

    /// Leaves the group and reads nothing any more. Commits nothing.
    pub fn unsubscribe(&mut self) {
        self.shared.set_pattern(None);
        self.shared.change(|machine, _| {
            machine.unsubscribe(OnClose::AsConfigured, "the consumer unsubscribed from all topics");
        });
    }

    /// Reads exactly these partitions, without asking a group. With a `group.id`, offsets can be committed, and reading
    /// starts at committed offsets.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ConsumerError> {
        let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
        if self.shared.machine.lock().is_subscribed() {
            return Err(ConsumerError::Misuse(
                "it is subscribed: unsubscribe before assigning partitions by hand",
            ));
        }
        partitions.iter().for_each(|partition| self.shared.client.watch(&partition.topic));
        self.shared.change(|machine, _| machine.assign(&partitions));
        Ok(())
    }

    /// What is read.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.machine.lock().fetcher().partitions().cloned().collect()
    }

    /// As which member it commits; `None` while it is in no generation of its group.
    pub fn member(&self) -> Option<MemberIdentity> {
        let machine = self.shared.machine.lock();
        machine.is_subscribed().then(|| machine.identity()).flatten()
    }

    /// What a transaction needs that is to commit offsets for this consumer: see
    /// [`Transaction::send_offsets`](crate::Transaction::send_offsets).
    ///
    /// [`ConsumerError::NotAMember`] from when the group has given this consumer up until that was told as an event: what was
    /// handed out may be somebody else's by then, so a transaction that has it is to be aborted.
    pub fn group_metadata(&self) -> Result<GroupMetadata, ConsumerError> {
        let group_id = self.shared.group_id()?.to_owned();
        let machine = self.shared.machine.lock();
        if !machine.is_subscribed() {
            return Ok(GroupMetadata { group_id, member: None });
        }
        match machine.identity_of_owner() {
            Some(member) => Ok(GroupMetadata { group_id, member: Some(member) }),
            None => Err(ConsumerError::NotAMember(ErrorCode::UnknownMemberId)),
        }
    }

    /// Has the group rebalance, by the classic protocol.
    pub fn enforce_rebalance(&mut self) {
        self.shared.change(|machine, now| machine.enforce_rebalance(now.mono));
    }

    /// The next event. What was handed out before counts as done: it may be committed, and partitions that a
    /// [`ConsumerEvent::Revoked`] named are given up.
    ///
    /// Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Result<ConsumerEvent, ConsumerError> {
        let shared = Arc::clone(&self.shared);
        let _idle = shared.client.metrics().poll_idle.begin();
        let _waiting = Waiting(Arc::clone(&self.shared));
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// As [`Consumer::next`], for those who make their own futures. Every few seconds it wakes a task that waits, which is to ask
    /// again: one that doesn't is busy with something else, and `max.poll.interval.ms` goes by.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<ConsumerEvent, ConsumerError>> {
        // First the waker, then the question: nothing that happens in between is missed.
        self.shared.set_owner(Some(cx.waker().clone()));
        loop {
            let result = match self.shared.next() {
                Some(Ok(ConsumerEvent::Records(records))) => match self.intercept(records) {
                    // None of them is left.
                    None => continue,
                    Some(records) => Ok(ConsumerEvent::Records(records)),
                },
                Some(result) => result.map_err(ConsumerError::from),
                None => return Poll::Pending,
            };
            self.shared.set_owner(None);
            self.count(&result);
            return Poll::Ready(result);
        }
    }

    fn count(&self, result: &Result<ConsumerEvent, ConsumerError>) {
        let metrics = self.shared.client.metrics();
        match result {
            Ok(ConsumerEvent::Records(records)) => {
                metrics.records_consumed.add(u64::try_from(records.len()).unwrap_or(0));
            }
            Ok(_) => {
                let assigned = self.shared.machine.lock().fetcher().partitions().count();
                metrics.assigned_partitions.set(i64::try_from(assigned).unwrap_or(i64::MAX));
            }
            Err(_) => {}
        }
    }

    fn intercept(&self, mut records: Vec<ConsumerRecord>) -> Option<Vec<ConsumerRecord>> {
        for interceptor in &self.shared.settings.interceptors {
            interceptor.on_consume(&mut records);
        }
        (!records.is_empty()).then_some(records)
    }

    /// The next records, or none if there are none within `timeout`. Partitions come and go with rebalances without being
    /// asked about: what is read before and committed after another call of this may be somebody else's by then, and is to be
    /// told by [`Consumer::next`] where that matters, as in a transaction over several calls.
    ///
    /// Can be cancelled without losing anything.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ConsumerError> {
        let deadline = Instant::now() + timeout;
        loop {
            match tokio::time::timeout_at(deadline, self.next()).await {
                Ok(Ok(ConsumerEvent::Records(records))) => return Ok(records),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(Vec::new()),
            }
        }
    }

    /// Goes on reading at this offset.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), ConsumerError> {
        self.seek_to_position(partition, Position::at(offset))
    }

    /// Goes on reading at this position; with a leader epoch, it is checked first that the log still has what was before it.
    pub fn seek_to_position(
        &mut self,
        partition: &TopicPartition,
        position: Position,
    ) -> Result<(), ConsumerError> {
        self.of_assigned(partition, |machine| machine.fetcher_mut().seek(partition, position))
    }

    pub fn seek_to_beginning(&mut self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        self.of_assigned(partition, |machine| machine.fetcher_mut().seek_to(partition, OffsetReset::Earliest))
    }

    pub fn seek_to_end(&mut self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        self.of_assigned(partition, |machine| machine.fetcher_mut().seek_to(partition, OffsetReset::Latest))
    }

    /// Hands out nothing more of the partition until it is resumed; it stays with this consumer.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        self.of_assigned(partition, |machine| machine.fetcher_mut().pause(partition))
    }

    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), ConsumerError> {
        self.of_assigned(partition, |machine| machine.fetcher_mut().resume(partition))
    }

    pub fn paused(&self) -> Vec<TopicPartition> {
        self.shared.machine.lock().fetcher().paused().cloned().collect()
    }

    /// Where the next record to be handed out is; `None` while that isn't known, or if the partition isn't read here.
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.shared.machine.lock().fetcher().position(partition)
    }

    /// The ends of the partition's log, as the last answer to a fetch said.
    pub fn watermarks(&self, partition: &TopicPartition) -> Option<Watermarks> {
        self.shared.machine.lock().fetcher().watermarks(partition)
    }

    fn of_assigned(
        &self,
        partition: &TopicPartition,
        change: impl FnOnce(&mut super::core::machine::Machine) -> bool,
    ) -> Result<(), ConsumerError> {
        let is_assigned = self.shared.change(|machine, _| change(machine));
        if is_assigned { Ok(()) } else { Err(ConsumerError::NotAssigned(partition.clone())) }
    }

    /// Commits where all partitions are: after everything that was handed out so far. Tries again until
    /// `default.api.timeout.ms` are over.
    pub async fn commit(&mut self) -> Result<(), ConsumerError> {
        let offsets = self.positions();
        self.commit_offsets(offsets).await
    }

    /// Commits these offsets, each of the next record to be read. Tries again until `default.api.timeout.ms` are over.
    pub async fn commit_offsets(&mut self, offsets: Offsets) -> Result<(), ConsumerError> {
        let timeout = Duration::from_millis(self.shared.client.settings().default_api_timeout_ms);
        self.queue_commit(offsets, Some(Instant::now() + timeout))?.await
    }

    /// Commits where all partitions are without waiting for it; tries once. Later commits come after it.
    pub fn commit_later(&mut self) -> Result<CommitLater, ConsumerError> {
        let offsets = self.positions();
        self.queue_commit(offsets, None)
    }

    /// Commits these offsets without waiting for it; tries again until `default.api.timeout.ms` are over. Later commits come
    /// after it.
    pub fn commit_offsets_later(&mut self, offsets: Offsets) -> Result<CommitLater, ConsumerError> {
        let timeout = Duration::from_millis(self.shared.client.settings().default_api_timeout_ms);
        self.queue_commit(offsets, Some(Instant::now() + timeout))
    }

    /// Where all partitions are: after everything that was handed out so far. What a commit commits.
    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        let positions = self.shared.machine.lock().fetcher().positions();
        positions.into_iter().map(|(partition, position)| (partition, position.into())).collect()
    }

    fn queue_commit(
        &self,
        offsets: Offsets,
        deadline: Option<Instant>,
    ) -> Result<CommitLater, ConsumerError> {
        self.shared.group_id()?;
        let (done, result) = oneshot::channel();
        let ownership = self.shared.machine.lock().ownership(offsets.keys());
        let commit = Commit { offsets, ownership, deadline, done };
        let queued = self.shared.commits.try_send(commit);
        queued.map_err(|_| ConsumerError::Misuse("too many commits wait for their turn"))?;
        Ok(CommitLater(result))
    }

    /// What the group has committed of these partitions; those without a committed offset are missing.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ConsumerError> {
        let group_id = self.shared.group_id()?;
        let asked = partitions.into_iter().map(|partition| (partition, 0)).collect();
        let by_topic = super::core::fetching::by_topic(&asked);
        let timeout = Duration::from_millis(self.shared.client.settings().default_api_timeout_ms);
        let deadline = Instant::now() + timeout;
        let mut waits = self.shared.client.settings().retry_backoff();
        loop {
            let error = match asking::committed(&self.shared.client, group_id, None, &by_topic).await {
                Ok(committed) => return Ok(committed),
                Err(error) => error,
            };
            let wait = Duration::from_millis(waits.failed(rand::random()));
            if !error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(error.into());
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// For each partition the first record at or after a time; partitions without such a record are missing.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, Timestamp)>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndTimestamp>, ConsumerError> {
        let times = times.into_iter().map(|(partition, time)| (partition, time.value().max(0))).collect();
        let listed = self.list(times).await?;
        let found = listed.into_iter().map(|(partition, found)| {
            let offset = found.position.offset;
            (partition, OffsetAndTimestamp { offset, timestamp: Timestamp(found.timestamp) })
        });
        Ok(found.collect())
    }

    /// Where the partitions' logs start.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumerError> {
        self.ends(partitions, EARLIEST_TIMESTAMP).await
    }

    /// Where the partitions' logs end for this consumer: with `read_committed`, where the first open transaction starts.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumerError> {
        self.ends(partitions, LATEST_TIMESTAMP).await
    }

    async fn ends(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumerError> {
        let listed =
            self.list(partitions.into_iter().map(|partition| (partition, timestamp)).collect()).await?;
        Ok(listed.into_iter().map(|(partition, found)| (partition, found.position.offset)).collect())
    }

    async fn list(
        &self,
        timestamps: BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, asking::Listed>, ConsumerError> {
        asking::list_offsets(&self.shared.client, self.shared.settings.isolation_level, &timestamps).await
    }

    /// The partitions of a topic; an error if it doesn't exist.
    pub async fn partitions_for(&self, topic: &str) -> Result<Vec<TopicPartition>, ConsumerError> {
        let metadata = self.shared.client.refresh(Topics::Named(vec![topic.into()])).await?;
        match metadata.topic(topic) {
            Some(found) => {
                let name = |partition: &crate::Partition| {
                    TopicPartition::new(Arc::clone(&found.name), partition.index)
                };
                Ok(found.partitions.iter().map(name).collect())
            }
            None => {
                let code = metadata.topic_error(topic).unwrap_or(ErrorCode::UnknownTopicOrPartition);
                Err(crate::ClientError::broker(code, None, format!("asking for topic {topic}")).into())
            }
        }
    }

    /// Commits what was handed out (with `enable.auto.commit`), leaves the group (a static member stays) and closes the
    /// connections, unless somebody else has its [client](Consumer::client). Takes at most about `timeout`. The error is that of
    /// the commit; it is closed in any case.
    pub async fn close(self, timeout: Duration) -> Result<(), ConsumerError> {
        self.close_with(timeout, OnClose::AsConfigured).await
    }

    /// As [`Consumer::close`], and says whether it leaves the group.
    pub async fn close_with(mut self, timeout: Duration, on_close: OnClose) -> Result<(), ConsumerError> {
        let deadline = Instant::now() + timeout;
        let settings = &self.shared.settings;
        let commits = settings.enable_auto_commit && settings.group_id.is_some();
        let committed = if commits && self.shared.machine.lock().identity().is_some() {
            let offsets = self.positions();
            match tokio::time::timeout_at(deadline, self.commit_offsets(offsets)).await {
                Ok(result) => result,
                Err(_) => Err(ConsumerError::Client(crate::ClientError::TimedOut {
                    what: "committing offsets".into(),
                    timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                    is_sent: true,
                    last: None,
                })),
            }
        } else {
            Ok(())
        };
        self.tasks.iter().for_each(AbortHandle::abort);
        let (work, sessions) = {
            let mut machine = self.shared.machine.lock();
            let metadata = self.shared.client.metadata();
            machine.unsubscribe(on_close, "the consumer is being closed");
            let work = machine.work(&*metadata, self.shared.now());
            (work, machine.fetcher_mut().end_sessions())
        };
        let client = &self.shared.client;
        let farewell = async {
            for one in work {
                if let Work::Group { request, .. } = one {
                    asking::ask_coordinator(client, request, 0).await;
                }
            }
            for (node, request) in sessions {
                // The node forgets an idle session anyhow.
                let _ = client.send_long_poll(node, &request).await;
            }
        };
        let _ = tokio::time::timeout_at(deadline, farewell).await;
        client.metrics().assigned_partitions.set(0);
        if let Some(reporter) = self.reporter.take() {
            reporter.close(deadline).await;
        }
        client.close_unshared().await;
        committed
    }

    /// How a membership of its kind starts.
    fn membership(&mut self) -> Result<impl FnOnce() -> Membership + use<>, ConsumerError> {
        let settings = self.shared.settings.clone();
        let is_needed = self.shared.machine.lock().needs_membership();
        let custom = if is_needed { std::mem::take(&mut self.custom_assignors) } else { Vec::new() };
        let group_id = self.shared.group_id()?.to_owned();
        Ok(move || match settings.group_protocol {
            GroupProtocol::Classic => {
                let built_in = settings.partition_assignment_strategy.iter();
                let built_in = built_in.filter_map(|name| assignors::by_name(name));
                Membership::Classic(ClassicMembership::new(ClassicSettings {
                    group_id,
                    group_instance_id: settings.group_instance_id,
                    rack_id: Some(settings.client_rack).filter(|rack| !rack.is_empty()),
                    session_timeout_ms: settings.session_timeout_ms,
                    heartbeat_interval_ms: settings.heartbeat_interval_ms,
                    max_poll_interval_ms: settings.max_poll_interval_ms,
                    retry_backoff_ms: settings.client.retry_backoff_ms,
                    retry_backoff_max_ms: settings.client.retry_backoff_max_ms,
                    assignors: custom.into_iter().chain(built_in).collect(),
                }))
            }
            GroupProtocol::Consumer => Membership::Modern(ModernMembership::new(ModernSettings {
                group_id,
                member_id: Uuid(rand::random()).to_string(),
                group_instance_id: settings.group_instance_id,
                rack_id: Some(settings.client_rack).filter(|rack| !rack.is_empty()),
                server_assignor: settings.group_remote_assignor,
                max_poll_interval_ms: settings.max_poll_interval_ms,
                retry_backoff_ms: settings.client.retry_backoff_ms,
                retry_backoff_max_ms: settings.client.retry_backoff_max_ms,
            })),
        })
    }
}

/// Events, without an end: after an error, reading goes on with the next one.
impl Stream for Consumer {
    type Item = Result<ConsumerEvent, ConsumerError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx).map(Some)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Whoever doesn't wait any more, doesn't count as waiting.
struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set_owner(None);
    }
}
