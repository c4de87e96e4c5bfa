//! A stream for each partition, each with its own owner and its own speed.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use ottla_types::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use super::commits::Offsets;
use super::committer::{Committer, Done};
use super::core::machine::ConsumerEvent;
use super::core::record::{ConsumerRecord, Position};
use super::error::ConsumerError;
use super::owner::Consumer;
use crate::ClientError;

/// A stream for each partition that a consumer reads: they can be given to tasks of their own, and one that is slow holds up no
/// other. See [`Consumer::into_partition_streams`].
///
/// Dropping it ends the streams and the consumer, commits nothing and doesn't leave the group:
/// [`PartitionStreams::close`] does all that.
#[derive(Debug)]
pub struct PartitionStreams {
    streams: mpsc::UnboundedReceiver<Result<PartitionRecords, ConsumerError>>,
    stop: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<Result<(), ConsumerError>>,
}

/// The records of one partition, in order, until it goes to another member or everything is stopped. See
/// [`Consumer::into_partition_streams`]. Whoever drops it has nothing more of the partition read, as long as it is this
/// consumer's.
#[derive(Debug)]
pub struct PartitionRecords {
    partition: TopicPartition,
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// For who fills it: there is something to be looked at.
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<ConsumerRecord>,
    /// Behind the record that its owner has.
    given: Option<Position>,
    /// Behind what its owner is done with.
    done: Option<Position>,
    /// Nothing more comes.
    is_ended: bool,
    /// Nobody asks any more.
    is_dropped: bool,
    is_paused: bool,
    owner: Option<Waker>,
}

impl Consumer {
    /// Makes a stream for each partition that is read from now on, also of those that come with later rebalances. A task
    /// keeps `waiting_max` records of each partition at hand (and what a poll brings beyond that), pauses those whose
    /// owners don't keep up, and commits what they are done with every `commit_interval`.
    ///
    /// Asking a stream for a record says that the one before it is done with. When a partition goes to another member its
    /// stream ends: what waits there is dropped, and the rebalance waits (within `max.poll.interval.ms`) until the owner has
    /// asked once more or has dropped the stream, in which case the record that it had is not committed.
    ///
    /// The consumer is subscribed (or assigned) already, and doesn't commit by itself (`enable.auto.commit=false`).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// # use ottla_client::consumer::{Consumer, ConsumerError, ConsumerRecord};
    /// # async fn work_on(record: ConsumerRecord) {}
    /// # async fn example(consumer: Consumer, stop: impl Future<Output = ()>) -> Result<(), ConsumerError> {
    /// let mut streams = consumer.into_partition_streams(1_000, Duration::from_secs(5))?;
    /// tokio::pin!(stop);
    /// loop {
    ///     let mut records = tokio::select! {
    ///         Some(records) = streams.next() => records?,
    ///         () = &mut stop => break,
    ///         else => break,
    ///     };
    ///     tokio::spawn(async move {
    ///         while let Some(record) = records.record().await {
    ///             work_on(record).await;
    ///         }
    ///     });
    /// }
    /// streams.close(Duration::from_secs(30)).await
    /// # }
    /// ```
    pub fn into_partition_streams(
        self,
        waiting_max: usize,
        commit_interval: Duration,
    ) -> Result<PartitionStreams, ConsumerError> {
        self.check_commits_by_hand()?;
        let (told, streams) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let pump = Pump {
            consumer: self,
            queues: Queues::default(),
            news: Arc::default(),
            waiting_max: waiting_max.max(1),
            told,
            giving_up: None,
            commits: Committer::default(),
        };
        let task = tokio::spawn(pump.run(commit_interval.max(Duration::from_millis(1)), stopped));
        Ok(PartitionStreams { streams, stop: Some(stop), task })
    }
}

impl PartitionStreams {
    /// The stream of the next partition that is read. An error of a single partition doesn't end the others; after any other
    /// error there is nothing more, which `None` says.
    ///
    /// Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<Result<PartitionRecords, ConsumerError>> {
        self.streams.recv().await
    }

    /// Ends all streams, waits until their owners are done with what they have, commits that, leaves the group and closes the
    /// connections. Takes at most about `timeout`. The error is what had ended reading before, or that of the commit; it is
    /// closed in any case.
    pub async fn close(mut self, timeout: Duration) -> Result<(), ConsumerError> {
        if let Some(stop) = self.stop.take() {
            // It waits for this also when it has ended by itself.
            let _ = stop.send(timeout);
        }
        (&mut self.task).await.unwrap_or(Err(ConsumerError::Closed))
    }
}

impl Drop for PartitionStreams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream for PartitionStreams {
    type Item = Result<PartitionRecords, ConsumerError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().streams.poll_recv(cx)
    }
}

impl PartitionRecords {
    /// Whose records these are.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The next record; `None` when no more come. The one before it counts as done. Can be cancelled without losing
    /// anything.
    pub async fn record(&mut self) -> Option<ConsumerRecord> {
        std::future::poll_fn(|cx| self.poll_record(cx)).await
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<ConsumerRecord>> {
        let mut state = self.queue.state.lock();
        let was_busy = state.given.is_some();
        state.done = state.given.take().or(state.done);
        if state.is_ended {
            if was_busy {
                self.queue.news.notify_one();
            }
            return Poll::Ready(None);
        }
        match state.waiting.pop_front() {
            Some(record) => {
                state.given = Some(record.next_position());
                if state.is_paused {
                    self.queue.news.notify_one();
                }
                Poll::Ready(Some(record))
            }
            None => {
                state.owner = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for PartitionRecords {
    type Item = ConsumerRecord;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConsumerRecord>> {
        self.get_mut().poll_record(cx)
    }
}

impl Drop for PartitionRecords {
    fn drop(&mut self) {
        self.queue.state.lock().is_dropped = true;
        self.queue.news.notify_one();
    }
}

impl Queue {
    fn end(&self) {
        let owner = {
            let mut state = self.state.lock();
            state.is_ended = true;
            state.owner.take()
        };
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// Whether its owner works on nothing any more.
    fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.given.is_none() || state.is_dropped
    }
}

/// Those that are open. When this goes, they end.
#[derive(Debug, Default)]
struct Queues {
    open: BTreeMap<TopicPartition, Arc<Queue>>,
    /// What was taken to be committed last.
    taken: BTreeMap<TopicPartition, Position>,
}

impl Queues {
    fn end(&self) {
        self.open.values().for_each(|queue| queue.end());
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.end();
    }
}

impl Done for Queues {
    fn take(&mut self) -> Offsets {
        let mut offsets = Offsets::new();
        for (partition, queue) in &self.open {
            let done = queue.state.lock().done;
            if let Some(done) = done.filter(|done| self.taken.get(partition) != Some(done)) {
                self.taken.insert(partition.clone(), done);
                offsets.insert(partition.clone(), done.into());
            }
        }
        offsets
    }

    fn take_back(&mut self) {
        self.taken.clear();
    }
}

/// What fills the streams.
struct Pump {
    consumer: Consumer,
    queues: Queues,
    news: Arc<Notify>,
    waiting_max: usize,
    told: mpsc::UnboundedSender<Result<PartitionRecords, ConsumerError>>,
    giving_up: Option<Vec<TopicPartition>>,
    commits: Committer,
}

impl Pump {
    async fn run(
        mut self,
        commit_interval: Duration,
        mut stopped: oneshot::Receiver<Duration>,
    ) -> Result<(), ConsumerError> {
        let mut ticks = interval_at(Instant::now() + commit_interval, commit_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let news = Arc::clone(&self.news);
        let (result, timeout) = loop {
            tokio::select! {
                event = self.consumer.next(), if self.giving_up.is_none() => match event {
                    Ok(event) => self.follow(event),
                    Err(error @ ConsumerError::Fetch(_)) => drop(self.told.send(Err(error))),
                    Err(error) => break (Err(error), None),
                },
                () = news.notified() => self.resume(),
                result = self.commits.end() => if let Err(error) = self.commits.ended(result, &mut self.queues) {
                    break (Err(error), None);
                },
                _ = ticks.tick() => self.commits.begin(&mut self.consumer, &mut self.queues),
                timeout = &mut stopped => break (Ok(()), Some(timeout.unwrap_or_default())),
            }
            self.give_up().await;
        };
        self.queues.end();
        if let Err(error) = &result {
            let _ = self.told.send(Err(error.clone()));
        }
        // Nothing more comes there.
        self.told = mpsc::unbounded_channel().0;
        let timeout = match timeout {
            Some(timeout) => timeout,
            None => stopped.await.unwrap_or_default(),
        };
        result.and(self.end(timeout).await)
    }

    fn follow(&mut self, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Records(records) => self.fill(records),
            ConsumerEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.open(&partition);
                }
            }
            ConsumerEvent::Revoked(partitions) => {
                self.close(&partitions);
                self.giving_up = Some(partitions);
            }
            ConsumerEvent::Lost(partitions) => {
                self.close(&partitions);
                self.forget(&partitions);
            }
        }
    }

    fn open(&mut self, partition: &TopicPartition) -> Arc<Queue> {
        if let Some(queue) = self.queues.open.get(partition) {
            return Arc::clone(queue);
        }
        let queue = Arc::new(Queue { state: Mutex::default(), news: Arc::clone(&self.news) });
        self.queues.open.insert(partition.clone(), Arc::clone(&queue));
        // Dropped unasked, it says so.
        let _ =
            self.told.send(Ok(PartitionRecords { partition: partition.clone(), queue: Arc::clone(&queue) }));
        queue
    }

    fn fill(&mut self, records: Vec<ConsumerRecord>) {
        let mut records = records.into_iter().peekable();
        while let Some(first) = records.next() {
            let partition = first.topic_partition.clone();
            let queue = self.open(&partition);
            let mut state = queue.state.lock();
            state.waiting.push_back(first);
            while let Some(next) = records.next_if(|next| next.topic_partition == partition) {
                state.waiting.push_back(next);
            }
            if !state.is_paused && (state.waiting.len() >= self.waiting_max || state.is_dropped) {
                state.is_paused = self.consumer.pause(&partition).is_ok();
            }
            let owner = state.owner.take();
            drop(state);
            if let Some(owner) = owner {
                owner.wake();
            }
        }
    }

    /// Reads those again whose owners have caught up.
    fn resume(&mut self) {
        for (partition, queue) in &self.queues.open {
            let mut state = queue.state.lock();
            if state.is_paused && !state.is_dropped && state.waiting.len() <= self.waiting_max / 2 {
                state.is_paused = self.consumer.resume(partition).is_err();
            }
        }
    }

    fn close(&mut self, partitions: &[TopicPartition]) {
        partitions
            .iter()
            .filter_map(|partition| self.queues.open.get(partition))
            .for_each(|queue| queue.end());
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.queues.open.remove(partition);
            self.queues.taken.remove(partition);
        }
    }

    /// The partitions' next reader finds committed what was done here.
    async fn give_up(&mut self) {
        let queues = &self.queues.open;
        let is_idle = |partition: &TopicPartition| queues.get(partition).is_none_or(|queue| queue.is_idle());
        let Some(partitions) = self.giving_up.take_if(|partitions| partitions.iter().all(is_idle)) else {
            return;
        };
        if let Err(error) = self.commits.finish(&mut self.consumer, &mut self.queues).await {
            tracing::warn!(%error, "offsets of partitions that go to another member were not committed");
        }
        self.forget(&partitions);
    }

    /// Waits for the streams' owners, and commits what they have done.
    async fn end(mut self, timeout: Duration) -> Result<(), ConsumerError> {
        let deadline = Instant::now() + timeout;
        let idle = async {
            while !self.queues.open.values().all(|queue| queue.is_idle()) {
                self.news.notified().await;
            }
        };
        // Who takes longer, does in vain what it does.
        let _ = timeout_at(deadline, idle).await;
        let commit = self.commits.finish(&mut self.consumer, &mut self.queues);
        let committed = timeout_at(deadline, commit).await.unwrap_or_else(|_| {
            Err(ConsumerError::Client(ClientError::TimedOut {
                what: "committing offsets".into(),
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                is_sent: true,
                last: None,
            }))
        });
        let closed = self.consumer.close(deadline.saturating_duration_since(Instant::now())).await;
        committed.and(closed)
    }
}
