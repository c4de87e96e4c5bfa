//! Transactions: records of any partitions, and offsets of a consumer's group, that count together or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_types::TopicPartition;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::core::delivery::Delivery;
use super::core::record::Record;
use super::core::transactions::{Outcome, Phase, Status};
use super::driver::{Event, Transactional};
use super::settings::ProducerSettings;
use super::{Producer, TrySendError};
use crate::client::Client;
use crate::cluster::Topic;
use crate::consumer::{CommittedOffset, GroupMetadata};
use crate::error::ClientError;

/// Writes records within transactions, one at a time.
///
/// It is initialized when it is there: who had its `transactional.id` before is shut out, and what they had begun is at its
/// end. Outside of a [`Transaction`] there is nothing to send with.
///
/// An error of anything in a transaction says what is left to do. With [`ClientError::is_abortable`] the transaction comes
/// to nothing, and the next one may begin. With [`ClientError::is_fatal`] this producer can do nothing more; if
/// [`ClientError::is_fenced`] says so, because another one has its id.
///
/// ```no_run
/// use std::time::Duration;
///
/// use ottla_client::consumer::{Consumer, ConsumerSettings, IsolationLevel, OffsetReset};
/// use ottla_client::{ClientSettings, ProducerSettings, Record, TransactionalProducer};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut producer = TransactionalProducer::start(ProducerSettings {
///     transactional_id: Some("billing-1".to_owned()),
///     ..ProducerSettings::new("localhost:9092")
/// })
/// .await?;
/// let mut consumer = Consumer::connect(ConsumerSettings {
///     group_id: Some("billing".to_owned()),
///     enable_auto_commit: false,
///     isolation_level: IsolationLevel::ReadCommitted,
///     auto_offset_reset: OffsetReset::Earliest,
///     ..ConsumerSettings::new(ClientSettings::new("localhost:9092"))
/// })
/// .await?;
/// consumer.subscribe(["orders"])?;
/// loop {
///     let orders = consumer.poll(Duration::from_secs(1)).await?;
///     let transaction = producer.begin().await?;
///     for order in &orders {
///         // That the record is written is known when the commit is: its delivery need not be awaited.
///         let _ = transaction.send(Record::to("bills").value(&order.value.clone().unwrap_or_default())).await?;
///     }
///     // An early return (`?`) drops the transaction, which aborts it.
///     transaction.send_offsets(consumer.positions(), consumer.group_metadata()?).await?;
///     transaction.commit().await?;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct TransactionalProducer {
    producer: Producer,
    status: watch::Receiver<Status>,
    /// The number of the transaction that was begun last; 0: none was.
    begun: u64,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionOutcome {
    Committed,
    Aborted,
}

impl TransactionalProducer {
    /// Connects, and initializes the `transactional.id` of the settings: within `max.block.ms`. Needs a tokio runtime.
    pub async fn start(settings: ProducerSettings) -> Result<TransactionalProducer, ClientError> {
        settings.check()?;
        let client = Client::start(settings.client.clone())?;
        TransactionalProducer::with_client(client, settings).await
    }

    /// As [`TransactionalProducer::start`], with a client's connections and picture of the cluster. The client's own settings
    /// count where `settings.client` has others.
    pub async fn with_client(
        client: Client,
        settings: ProducerSettings,
    ) -> Result<TransactionalProducer, ClientError> {
        settings.check()?;
        let Some(id) = settings.transactional_id.as_deref().filter(|id| !id.is_empty()) else {
            return Err(ClientError::settings("transactions need a transactional.id"));
        };
        let nothing = Status { number: 0, phase: Phase::Initializing, last_error: None };
        let (told, status) = watch::channel(nothing);
        let transactional =
            Transactional { id: id.into(), timeout_ms: settings.transaction_timeout_ms, status: told };
        let producer = Producer::launch(client, settings, Some(transactional));
        let mut producer = TransactionalProducer { producer, status, begun: 0 };
        producer.settle().await?;
        Ok(producer)
    }

    pub fn client(&self) -> &Client {
        self.producer.client()
    }

    /// The partitions of a topic, once they are known.
    pub async fn partitions(&self, topic: &str) -> Result<Arc<Topic>, ClientError> {
        self.producer.partitions(topic).await
    }

    /// Begins a transaction, once the last one is settled: within `max.block.ms`.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, ClientError> {
        self.settle().await?;
        self.begun += 1;
        let number = self.begun;
        self.tell(Event::Begin(number));
        let is_open = |status: &Status| match &status.phase {
            Phase::Fatal(cause) => Some(Err(fatal(cause))),
            Phase::Open | Phase::Failed(_) if status.number == number => Some(Ok(())),
            _ => None,
        };
        self.wait("beginning a transaction", is_open).await?;
        Ok(Transaction { producer: self, number, is_ended: false })
    }

    /// Waits, at most `max.block.ms`, until it is certain what became of the last transaction, and tells. To be asked after a
    /// commit whose answer did not come in time, or that was not waited for; [`TransactionalProducer::begin`] waits for the
    /// same. `None`: there was none.
    pub async fn settle(&mut self) -> Result<Option<TransactionOutcome>, ClientError> {
        let number = self.begun;
        // Who has given up what begins a transaction, has not ended it. Otherwise this changes nothing.
        self.tell(Event::End { number, commits: false });
        let outcome = |status: &Status| match &status.phase {
            Phase::Fatal(cause) => Some(Err(fatal(cause))),
            Phase::Ready(outcome) if status.number == number => Some(Ok(match outcome {
                None => None,
                Some(Outcome::Committed) => Some(TransactionOutcome::Committed),
                Some(Outcome::Aborted(_)) => Some(TransactionOutcome::Aborted),
            })),
            _ => None,
        };
        let what = if number == 0 { "initializing transactions" } else { "ending the last transaction" };
        self.wait(what, outcome).await
    }

    /// Has what is open aborted, waits until that is done, and ends. What isn't by then, the cluster aborts after
    /// `transaction.timeout.ms`.
    pub async fn close(mut self, patience: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + patience;
        let is_settled = match timeout_at(deadline, self.settle()).await {
            Ok(Ok(_)) => true,
            // Nothing more will come of it.
            Ok(Err(error)) => error.is_fatal(),
            Err(_) => false,
        };
        if !is_settled {
            self.tell(Event::GiveUp(ClientError::Closed));
        }
        let closed = self.producer.close(deadline.saturating_duration_since(Instant::now())).await;
        match is_settled {
            true => closed,
            false => Err(ClientError::TimedOut {
                what: "closing the producer".into(),
                timeout_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
                is_sent: true,
                last: None,
            }),
        }
    }

    fn tell(&self, event: Event) {
        // A driver that has gone has said why.
        let _ = self.producer.inner.driver.send(event);
    }

    async fn wait<T>(
        &mut self,
        what: &str,
        seen: impl Fn(&Status) -> Option<Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let timeout_ms = self.producer.inner.settings.max_block_ms;
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        loop {
            let last = {
                let status = self.status.borrow_and_update();
                if let Some(result) = seen(&status) {
                    return result;
                }
                status.last_error.clone()
            };
            match timeout_at(deadline, self.status.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ClientError::Closed),
                Err(_) => {
                    let last = last.map(Arc::new);
                    return Err(ClientError::TimedOut { what: what.into(), timeout_ms, is_sent: true, last });
                }
            }
        }
    }
}

impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        self.tell(Event::End { number: self.begun, commits: false });
    }
}

fn fatal(cause: &ClientError) -> ClientError {
    ClientError::Failed { is_fatal: true, cause: Arc::new(cause.clone()) }
}

fn aborted(cause: Option<&ClientError>) -> ClientError {
    match cause {
        Some(cause) => ClientError::Failed { is_fatal: false, cause: Arc::new(cause.clone()) },
        None => ClientError::TransactionAborted,
    }
}

/// An open transaction: to be committed or aborted.
///
/// Dropping it aborts it in the background, and the next one begins when that is done. (An early return from what fills
/// it is the usual way in which a transaction fails, and there is nobody who could wait there. Nothing is at risk meanwhile:
/// nothing can be sent before the abort is through, and should the process end before, the cluster aborts it.)
///
/// A record's [`Delivery`] tells that it is in its partition's log. It counts once [`Transaction::commit`] has succeeded.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    producer: &'a mut TransactionalProducer,
    number: u64,
    is_ended: bool,
}

impl Transaction<'_> {
    /// As [`Producer::send`].
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, ClientError> {
        self.producer.producer.send(record).await
    }

    /// As [`Producer::try_send`].
    #[expect(clippy::result_large_err, reason = "it is the record that is given back")]
    pub fn try_send<'r>(&self, record: Record<'r>) -> Result<Delivery, TrySendError<'r>> {
        self.producer.producer.try_send(record)
    }

    /// As [`Producer::flush`].
    pub async fn flush(&self) {
        self.producer.producer.flush().await;
    }

    /// Commits offsets of a consumer's group with this transaction: within `max.block.ms`. What the offsets stand for then
    /// counts as read if, and only if, what is written here counts as written. A member that its group knows no more is refused.
    ///
    /// The offsets are to be of everything that this transaction was made of. [`Consumer::positions`](crate::consumer::Consumer::positions)
    /// has the partitions that are read now: one that was given up since the transaction began is missing, and another member
    /// writes again what came of it. So a transaction ends before the next [`Consumer::poll`](crate::consumer::Consumer::poll), or goes
    /// by [`Consumer::next`](crate::consumer::Consumer::next), is committed at `Revoked` and aborted at `Lost`.
    pub async fn send_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
        group: GroupMetadata,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let (done, result) = oneshot::channel();
        self.producer.tell(Event::CommitOffsets { number: self.number, group, offsets, done });
        let timeout_ms = self.producer.producer.inner.settings.max_block_ms;
        match timeout(Duration::from_millis(timeout_ms), result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ClientError::Closed),
            Err(_) => {
                let last = self.producer.status.borrow().last_error.clone().map(Arc::new);
                let what = "committing offsets in the transaction".into();
                Err(ClientError::TimedOut { what, timeout_ms, is_sent: true, last })
            }
        }
    }

    /// Sends what is left, waits for all of it, and has the transaction count: within `max.block.ms`.
    ///
    /// If anything in it has failed it is aborted, and the error is [abortable](ClientError::is_abortable). After an error that
    /// [may have been written](ClientError::is_possibly_written), committing goes on in the background, as it does if nobody
    /// waits for this: what comes of it is told by [`TransactionalProducer::settle`].
    pub async fn commit(mut self) -> Result<(), ClientError> {
        let number = self.number;
        self.end(true);
        let committed = |status: &Status| match &status.phase {
            Phase::Fatal(cause) => Some(Err(fatal(cause))),
            _ if status.number != number => None,
            Phase::Ready(Some(Outcome::Committed)) => Some(Ok(())),
            Phase::Ready(Some(Outcome::Aborted(cause))) | Phase::Aborting(cause) => {
                Some(Err(aborted(cause.as_ref())))
            }
            _ => None,
        };
        self.producer.wait("committing the transaction", committed).await
    }

    /// Has nothing of the transaction count, and waits until that is so: within `max.block.ms`. It goes on in the background
    /// if nobody waits for it.
    pub async fn abort(mut self) -> Result<(), ClientError> {
        let number = self.number;
        self.end(false);
        let is_aborted = |status: &Status| match &status.phase {
            Phase::Fatal(cause) => Some(Err(fatal(cause))),
            Phase::Ready(Some(Outcome::Aborted(_))) if status.number == number => Some(Ok(())),
            _ => None,
        };
        self.producer.wait("aborting the transaction", is_aborted).await
    }

    fn end(&mut self, commits: bool) {
        self.is_ended = true;
        self.producer.tell(Event::End { number: self.number, commits });
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end(false);
        }
    }
}
