//! The share consumer as its owner sees it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use ottla_wire::ApiKey;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::core::machine::Work;
use super::core::record::{AcknowledgeType, Acknowledged, ShareRecord};
use super::driver::{Driver, Shared, count_acknowledgements};
use super::settings::ShareConsumerSettings;
use crate::telemetry::{Kind, Reporter};
use crate::{Client, ClientError, Target};

/// The first version of ShareAcknowledge that can renew.
const RENEWING_VERSION: i16 = 2;

/// Reads topics as a member of a share group: any number of members read the same partitions, each record is lent to one of
/// them for a while (`share.record.lock.duration.ms` of the group), and what is not accepted comes again, to anybody.
///
/// It has one owner: what changes it, borrows it mutably. With implicit acknowledgement, the default, asking for more records
/// accepts those from before; with explicit acknowledgement each record is [acknowledged](ShareConsumer::acknowledge) by
/// itself: accepted, released for another try, or rejected for good. Heartbeats go on by themselves, in a task on the runtime
/// in which the consumer was connected; records are only fetched while the owner waits for them, for their time runs from then.
///
/// ```no_run
/// use std::time::Duration;
/// use ottla_client::{ClientError, ClientSettings};
/// use ottla_client::share::{AcknowledgeType, AcknowledgementMode, ShareConsumer, ShareConsumerSettings};
///
/// # fn work_on(_: &ottla_client::consumer::ConsumerRecord) -> Result<(), bool> { Ok(()) }
/// # async fn example() -> Result<(), ClientError> {
/// let mut consumer = ShareConsumer::connect(ShareConsumerSettings {
///     acknowledgement_mode: AcknowledgementMode::Explicit,
///     ..ShareConsumerSettings::new(ClientSettings::new("localhost:9092"), "thumbnails")
/// })
/// .await?;
/// consumer.subscribe(["images"])?;
/// loop {
///     for record in consumer.poll(Duration::from_secs(1)).await? {
///         let kind = match work_on(&record.record) {
///             Ok(()) => AcknowledgeType::Accept,
///             Err(may_succeed_later) if may_succeed_later && record.delivery_count < 5 => AcknowledgeType::Release,
///             Err(_) => AcknowledgeType::Reject,
///         };
///         consumer.acknowledge(&record, kind)?;
///     }
///     for outcome in consumer.commit().await? {
///         outcome.result?;
///     }
/// }
/// # }
/// ```
///
/// Dropping it doesn't block. What it had comes again to others once its connections are closed.
#[derive(Debug)]
pub struct ShareConsumer {
    shared: Arc<Shared>,
    task: AbortHandle,
    reporter: Option<Reporter>,
}

impl ShareConsumer {
    /// Connects to the cluster. Needs a tokio runtime.
    pub async fn connect(settings: ShareConsumerSettings) -> Result<ShareConsumer, ClientError> {
        settings.check()?;
        let client = Client::connect(settings.client.clone()).await?;
        let reporter = Reporter::start(&client, Kind::ShareConsumer);
        let shared = Arc::new(Shared::new(client, settings));
        let task = tokio::spawn(Driver::new(Arc::clone(&shared)).run()).abort_handle();
        Ok(ShareConsumer { shared, task, reporter })
    }

    pub fn settings(&self) -> &ShareConsumerSettings {
        &self.shared.settings
    }

    /// What it stands on: to ask the same cluster for something else.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Reads these topics, from the next poll on. Replaces what was subscribed to before.
    pub fn subscribe<T: AsRef<str>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), ClientError> {
        let topics: BTreeSet<Arc<str>> = topics.into_iter().map(|topic| Arc::from(topic.as_ref())).collect();
        if topics.is_empty() {
            self.unsubscribe();
            return Ok(());
        }
        if topics.iter().any(|topic| topic.is_empty()) {
            return Err(ClientError::misuse("a topic to subscribe to has no name"));
        }
        topics.iter().for_each(|topic| self.shared.client.watch(topic));
        self.shared.change(|machine, now| machine.subscribe(topics, now));
        Ok(())
    }

    /// What it is subscribed to.
    pub fn subscription(&self) -> BTreeSet<Arc<str>> {
        self.shared.machine.lock().topics().clone()
    }

    /// Leaves the group. Records that were handed out may still be acknowledged.
    pub fn unsubscribe(&mut self) {
        self.shared.change(|machine, _| machine.unsubscribe());
    }

    /// The next records; never none. With implicit acknowledgement, those from before are accepted; with explicit
    /// acknowledgement it is an error if there are some about which nothing was said.
    ///
    /// Can be cancelled without losing anything; what comes in afterwards is handed out next, and its time runs.
    pub async fn next(&mut self) -> Result<Vec<ShareRecord>, ClientError> {
        let shared = Arc::clone(&self.shared);
        let _idle = shared.client.metrics().poll_idle.begin();
        let _waiting = Waiting(Arc::clone(&self.shared));
        std::future::poll_fn(|cx| self.poll_records(cx)).await
    }

    /// As [`ShareConsumer::next`], for those who make their own futures.
    pub fn poll_records(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<ShareRecord>, ClientError>> {
        // First the waker, then the question: nothing that happens in between is missed.
        self.shared.set_owner(Some(cx.waker().clone()));
        let taken = self.shared.change(|machine, now| {
            if let Err(error) = machine.begin_poll(now) {
                return Some(Err(error));
            }
            match machine.take() {
                None if !machine.is_subscribed() => {
                    machine.end_poll();
                    Some(Err(ClientError::misuse("it is not subscribed to anything")))
                }
                taken => taken,
            }
        });
        match taken {
            Some(result) => {
                self.shared.set_owner(None);
                if let Ok(records) = &result {
                    let count = u64::try_from(records.len()).unwrap_or(0);
                    self.shared.client.metrics().records_consumed.add(count);
                }
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }

    /// The next records, or none if there are none within `timeout`: otherwise as [`ShareConsumer::next`].
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ShareRecord>, ClientError> {
        tokio::time::timeout(timeout, self.next()).await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    /// Says what is to become of a record, with explicit acknowledgement. It goes out with the next poll or commit; until then
    /// what was said last counts. An error if the record is not this member's any more, as far as is known here: whether
    /// its time was over is told by the outcome of the commit.
    pub fn acknowledge(&mut self, record: &ShareRecord, kind: AcknowledgeType) -> Result<(), ClientError> {
        if kind == AcknowledgeType::Renew {
            self.check_renewal(record)?;
        }
        self.shared.machine.lock().acknowledge(record, kind)
    }

    fn check_renewal(&self, record: &ShareRecord) -> Result<(), ClientError> {
        let node = record.lock.node;
        // Without a connection there is no session either, in which the record could be renewed.
        let served =
            self.shared.client.versions(node).and_then(|served| served.of_api(ApiKey::ShareAcknowledge));
        if served.is_some_and(|served| served.max < RENEWING_VERSION) {
            let node = format!("broker {node}").into();
            return Err(ClientError::Unsupported {
                api: "renewal of a record's time (ShareAcknowledge 2)",
                node,
            });
        }
        Ok(())
    }

    /// Sends what was acknowledged so far (with implicit acknowledgement: everything that was handed out is accepted) and
    /// waits for the brokers' words about it; one for each partition and answer, none if there was nothing to be said. Takes at
    /// most `default.api.timeout.ms`.
    pub async fn commit(&mut self) -> Result<Vec<Acknowledged>, ClientError> {
        let timeout_ms = self.shared.client.settings().default_api_timeout_ms;
        let outcome = self.commit_later();
        match tokio::time::timeout(Duration::from_millis(timeout_ms), outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::TimedOut {
                what: "acknowledging records".into(),
                timeout_ms,
                is_sent: true,
                last: None,
            }),
        }
    }

    /// As [`ShareConsumer::commit`], without waiting: what it gives may be awaited or dropped.
    pub fn commit_later(&mut self) -> CommitOutcome {
        CommitOutcome(self.shared.commit(|machine, ticket| machine.commit(ticket)))
    }

    /// What became of acknowledgements that no commit waited for, since this was last asked; of the last thousand at most.
    pub fn outcomes(&mut self) -> Vec<Acknowledged> {
        self.shared.machine.lock().take_outcomes()
    }

    /// For how long records are lent, in milliseconds; `None` before a broker has said so.
    pub fn lock_timeout_ms(&self) -> Option<i32> {
        self.shared.machine.lock().lock_timeout_ms()
    }

    /// Sends what was acknowledged, gives back everything else, leaves the group and closes the connections, unless somebody else
    /// has its client. Takes at most about `timeout`. The error is the first one of an acknowledgement; it is closed in any case.
    pub async fn close(mut self, timeout: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + timeout;
        let outcome = CommitOutcome(self.shared.commit(|machine, ticket| {
            machine.end_poll();
            machine.flush(ticket);
        }));
        let flushed = match tokio::time::timeout_at(deadline, outcome).await {
            Ok(Ok(outcomes)) => outcomes.into_iter().try_for_each(|outcome| outcome.result),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::TimedOut {
                what: "acknowledging records".into(),
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                is_sent: true,
                last: None,
            }),
        };
        self.task.abort();
        let work = self.shared.machine.lock().leave();
        let client = &self.shared.client;
        let group = Target::group(&self.shared.settings.group_id);
        let farewell = async {
            for one in work {
                // Who doesn't hear of it notices that the connection is closed, or misses the heartbeats.
                match one {
                    Work::Acknowledge(node, request) => {
                        count_acknowledgements(client.metrics(), &request);
                        drop(client.send_long_poll(node, &request).await);
                    }
                    Work::Heartbeat(_, request) => drop(client.send(group.clone(), &request).await),
                    Work::Fetch(..) | Work::Refresh => {}
                }
            }
        };
        let _ = tokio::time::timeout_at(deadline, farewell).await;
        if let Some(reporter) = self.reporter.take() {
            reporter.close(deadline).await;
        }
        client.close_unshared().await;
        flushed
    }
}

/// Records, without an end: after an error, reading goes on with the next ones.
impl Stream for ShareConsumer {
    type Item = Result<Vec<ShareRecord>, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_records(cx).map(Some)
    }
}

impl Drop for ShareConsumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What brokers say of acknowledgements, to be awaited; it may be dropped.
#[derive(Debug)]
#[must_use = "whether the acknowledgements were taken is known only when this has been awaited"]
pub struct CommitOutcome(oneshot::Receiver<Vec<Acknowledged>>);

impl Future for CommitOutcome {
    type Output = Result<Vec<Acknowledged>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.map_err(|_| ClientError::Closed))
    }
}

/// Whoever doesn't wait any more, doesn't count as waiting.
struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set_owner(None);
        self.0.machine.lock().end_poll();
    }
}
