//! Working on many records at the same time, with commits of what is done only.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use ottla_types::{Offset, TopicPartition};
use thiserror::Error;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::commits::Offsets;
use super::committer::{Committer, Done};
use super::core::machine::ConsumerEvent;
use super::core::processing::{Begun, ProcessingOrder, Workload};
use super::core::record::ConsumerRecord;
use super::error::ConsumerError;
use super::owner::Consumer;

/// How records are worked on by [`Consumer::process`].
#[derive(Clone, Debug)]
pub struct Processing {
    pub order: ProcessingOrder,
    /// Records that are worked on at the same time.
    pub concurrency: usize,
    /// Records that were read and can't be committed yet: those that wait, those that are worked on, and those that are done
    /// while one before them isn't. With so many, nothing more is read, but for what a poll brings at once. It is what may
    /// be done twice after a crash.
    pub in_flight_max: usize,
    /// How often offsets are committed.
    pub commit_interval: Duration,
}

impl Default for Processing {
    fn default() -> Processing {
        Processing {
            order: ProcessingOrder::Key,
            concurrency: 16,
            in_flight_max: 1_000,
            commit_interval: Duration::from_secs(1),
        }
    }
}

/// Why processing has come to an end before it was asked to.
#[derive(Debug, Error)]
pub enum ProcessingError<E> {
    /// A record could not be worked on. It is not committed, and neither is what comes after it in its partition.
    #[error("the record at offset {offset} of {partition} was not done: {error}")]
    Handler { partition: TopicPartition, offset: Offset, error: E },
    /// Working on a record has panicked.
    #[error("working on the record at offset {offset} of {partition} has panicked")]
    Panicked { partition: TopicPartition, offset: Offset },
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
}

impl Consumer {
    /// Works on many records at the same time, for topics whose records take long: by default, those with the same key in the
    /// order of their partition, and all others beside each other. That is what topics are often given more partitions for
    /// than they need otherwise.
    ///
    /// What is committed lies before the first record of a partition that isn't done, so nothing is lost; after a crash some
    /// records are worked on again. When a partition goes to another member, what waits of it is dropped, what is being worked
    /// on is waited for (within `max.poll.interval.ms`, otherwise the group goes on without this member) and committed.
    ///
    /// It goes on until `stop` is ready, `handler` fails, or reading does. Then nothing more is begun, what was begun is
    /// waited for, and what is done is committed; afterwards the consumer goes on at the first record that isn't done. An error
    /// of a single record that must not stop everything is for `handler` to deal with: for example by sending the record to a
    /// dead-letter topic. Whoever drops this future cuts off what is being worked on, and the consumer goes on there.
    ///
    /// The consumer is subscribed already, and doesn't commit by itself (`enable.auto.commit=false`).
    ///
    /// ```no_run
    /// use ottla_client::consumer::{Consumer, ConsumerRecord, Processing, ProcessingError};
    ///
    /// async fn charge(order: ConsumerRecord) -> Result<(), std::io::Error> {
    ///     // Takes long, and has its result stored somewhere.
    /// #   let _ = order;
    ///     Ok(())
    /// }
    ///
    /// # async fn example(
    /// #     mut consumer: Consumer, stop: impl Future<Output = ()>,
    /// # ) -> Result<(), ProcessingError<std::io::Error>> {
    /// consumer.subscribe(["orders"])?;
    /// let processing = Processing { concurrency: 64, ..Processing::default() };
    /// consumer.process(processing, charge, stop).await?;
    /// consumer.close(std::time::Duration::from_secs(30)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn process<H, F, E>(
        &mut self,
        processing: Processing,
        handler: H,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ProcessingError<E>>
    where
        H: FnMut(ConsumerRecord) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Send + 'static,
    {
        self.check_commits_by_hand()?;
        let workload = Workload::new(processing.order, processing.concurrency, processing.in_flight_max);
        let mut run = Run {
            consumer: self,
            workload,
            handler,
            tasks: JoinSet::new(),
            begun: HashMap::new(),
            giving_up: None,
            commits: Committer::default(),
        };
        let result = run.until(stop, processing.commit_interval).await;
        let ended = run.end().await;
        result.and(ended)
    }

    /// Commits are made for what is done only.
    pub(super) fn check_commits_by_hand(&self) -> Result<(), ConsumerError> {
        let settings = self.settings();
        if settings.group_id.is_none() {
            return Err(ConsumerError::Misuse("this needs a group.id, and none is set"));
        }
        if settings.enable_auto_commit {
            return Err(ConsumerError::Misuse(
                "this commits what is done, and nothing else may: set enable.auto.commit to false",
            ));
        }
        Ok(())
    }
}

struct Run<'a, H, E> {
    consumer: &'a mut Consumer,
    workload: Workload,
    handler: H,
    tasks: JoinSet<Result<(), E>>,
    begun: HashMap<Id, Begun>,
    /// Partitions that go to somebody else once nothing of them is worked on any more.
    giving_up: Option<Vec<TopicPartition>>,
    commits: Committer,
}

type Ended<E> = Result<(Id, Result<(), E>), JoinError>;

impl<H, F, E> Run<'_, H, E>
where
    H: FnMut(ConsumerRecord) -> F,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    async fn until(
        &mut self,
        stop: impl Future<Output = ()>,
        commit_interval: Duration,
    ) -> Result<(), ProcessingError<E>> {
        tokio::pin!(stop);
        let commit_interval = commit_interval.max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + commit_interval, commit_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin();
            self.keep_up();
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended)?,
                event = self.consumer.next(), if self.giving_up.is_none() => self.follow(event?),
                result = self.commits.end() => self.commits.ended(result, &mut self.workload)?,
                _ = ticks.tick() => self.commits.begin(self.consumer, &mut self.workload),
                () = &mut stop => return Ok(()),
            }
            self.give_up().await;
        }
    }

    fn begin(&mut self) {
        while let Some((begun, record)) = self.workload.begin() {
            let task = self.tasks.spawn((self.handler)(record));
            self.begun.insert(task.id(), begun);
        }
    }

    fn ended(&mut self, ended: Ended<E>) -> Result<(), ProcessingError<E>> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        let Some(begun) = self.begun.remove(&id) else { return Ok(()) };
        let (partition, offset) = (begun.partition().clone(), begun.offset());
        self.workload.end(begun, matches!(result, Some(Ok(()))));
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(ProcessingError::Handler { partition, offset, error }),
            None => Err(ProcessingError::Panicked { partition, offset }),
        }
    }

    fn follow(&mut self, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Records(records) => self.workload.take(records),
            ConsumerEvent::Assigned(_) => {}
            ConsumerEvent::Revoked(partitions) => {
                self.workload.stop(|partition| partitions.contains(partition));
                self.giving_up = Some(partitions);
            }
            ConsumerEvent::Lost(partitions) => self.workload.remove(&partitions),
        }
    }

    /// The partitions' next reader finds committed what was done here.
    async fn give_up(&mut self) {
        let Some(partitions) = self.giving_up.take_if(|partitions| self.workload.is_idle(partitions)) else {
            return;
        };
        if let Err(error) = self.commits.finish(self.consumer, &mut self.workload).await {
            tracing::warn!(%error, "offsets of partitions that go to another member were not committed");
        }
        self.workload.remove(&partitions);
    }

    /// Has no more read than can be worked on.
    fn keep_up(&mut self) {
        let flow = self.workload.flow();
        // What is not this consumer's any more is neither paused nor resumed.
        for partition in &flow.pause {
            let _ = self.consumer.pause(partition);
        }
        for partition in &flow.resume {
            let _ = self.consumer.resume(partition);
        }
    }

    /// Waits for what was begun, and commits what is done.
    async fn end(mut self) -> Result<(), ProcessingError<E>> {
        self.workload.stop_all();
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            result = result.and(self.ended(ended));
        }
        let committed = self.commits.finish(self.consumer, &mut self.workload).await;
        result.and(committed.map_err(ProcessingError::from))
    }
}

/// Whether it came to its end or was cut off: the consumer goes on at the first record that isn't done.
impl<H, E> Drop for Run<'_, H, E> {
    fn drop(&mut self) {
        // What is not this consumer's any more is neither sought nor resumed.
        for (partition, offset) in self.workload.unfinished() {
            let _ = self.consumer.seek(&partition, offset);
        }
        for partition in self.workload.paused() {
            let _ = self.consumer.resume(partition);
        }
    }
}

impl Done for Workload {
    fn take(&mut self) -> Offsets {
        self.take_done().into_iter().map(|(partition, position)| (partition, position.into())).collect()
    }

    fn take_back(&mut self) {
        Workload::take_back(self);
    }
}

impl<H, E> fmt::Debug for Run<'_, H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("workload", &self.workload).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
