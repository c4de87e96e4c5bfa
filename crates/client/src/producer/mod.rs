//! Writing records to topics.
//!
//! [`Producer`] is the shell around a pure core: what it does is in [`core`], when it does it is in `driver`.

pub(crate) mod core;
mod driver;
mod interceptors;
mod settings;
#[cfg(test)]
mod tests;
mod transactional;

use std::sync::Arc;
use std::time::Duration;

use ottla_types::Timestamp;
use ottla_wire::ErrorCode;
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use self::core::accumulator::{Accumulator, Appended, Refused};
use self::core::delivery::Delivery;
use self::core::partition_of_key;
use self::core::record::Record;
use crate::client::{Client, Topics, check_runtime};
use crate::clock::wall_clock;
use crate::cluster::Topic;
use crate::error::ClientError;
use crate::telemetry::{Kind, Reporter};
use driver::{Driver, Event, Transactional};
use interceptors::Interceptors;
pub use interceptors::{OutgoingRecord, ProducerInterceptor};
pub use settings::{Acks, ProducerSettings};
pub use transactional::{Transaction, TransactionOutcome, TransactionalProducer};

/// Writes records to topics. Threads and tasks share one freely; cloning copies a pointer.
///
/// A record goes through three steps: [`Producer::send`] waits for room and puts it into a batch; a task sends batches to the
/// partitions' leaders, again where that is of use; awaiting the [`Delivery`] gives what became of the record. With the
/// default settings a record that is acknowledged is in the log once, in the order of its partition.
///
/// Dropping the last clone sends what is left in the background; [`Producer::close`] waits for it.
///
/// ```no_run
/// use ottla_client::{Producer, ProducerSettings, Record};
///
/// # async fn example() -> Result<(), ottla_client::ClientError> {
/// let producer = Producer::start(ProducerSettings::new("localhost:9092"))?;
/// // Waiting for each record in turn is slow: keep what `send` gives, and await it later.
/// let mut deliveries = Vec::new();
/// for number in 0..1000 {
///     let value = format!("order {number}");
///     deliveries.push(producer.send(Record::to("orders").key("customer-7").value(&value)).await?);
/// }
/// for delivery in deliveries {
///     let written = delivery.await?;
///     println!("{}-{} at {}", written.topic, written.partition, written.offset);
/// }
/// producer.close(std::time::Duration::from_secs(30)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ProducerSettings,
    client: Client,
    accumulator: Arc<Accumulator>,
    wakeup: Arc<Notify>,
    driver: mpsc::UnboundedSender<Event>,
    interceptors: Option<Interceptors>,
    reporter: Option<Reporter>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.accumulator.close());
        self.wakeup.notify_one();
    }
}

/// Why [`Producer::try_send`] did not take a record, which it gives back.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct TrySendError<'a> {
    pub record: Record<'a>,
    pub reason: TrySendReason,
}

/// See [`TrySendError`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TrySendReason {
    /// `buffer.memory` is used up by records that wait to be sent or acknowledged; or interceptors have not been told yet of a
    /// million others.
    #[error("buffer.memory is used up")]
    Full,
    /// Nothing is known of the topic yet; it is asked for. With what a broker has answered last, if it was an error that may
    /// pass: of a topic that nobody makes it is `UNKNOWN_TOPIC_OR_PARTITION` each time.
    #[error("the topic's metadata are not there yet{}", .0.map(|last| format!(": {last}")).unwrap_or_default())]
    NoMetadata(Option<ErrorCode>),
    /// It would not be taken later either.
    #[error(transparent)]
    Error(#[from] ClientError),
}

impl Producer {
    /// Starts a producer with a client of its own. Returns at once: what is wrong with the cluster shows when records are
    /// sent. Needs a tokio runtime.
    pub fn start(settings: ProducerSettings) -> Result<Producer, ClientError> {
        settings.check()?;
        let client = Client::start(settings.client.clone())?;
        Producer::with_client(client, settings)
    }

    /// Starts a producer that shares a client's connections and picture of the cluster. The client's own settings count
    /// where `settings.client` has others.
    pub fn with_client(client: Client, settings: ProducerSettings) -> Result<Producer, ClientError> {
        settings.check()?;
        check_runtime()?;
        if settings.transactional_id.is_some() {
            return Err(ClientError::settings(
                "transactional.id is set: start a TransactionalProducer, or leave the id out",
            ));
        }
        Ok(Producer::launch(client, settings, None))
    }

    fn launch(client: Client, settings: ProducerSettings, transactional: Option<Transactional>) -> Producer {
        if let Some(why) = settings.why_not_idempotent() {
            tracing::warn!("{why}");
        }
        let accumulator = Arc::new(Accumulator::new(settings.core(), rand::random()));
        let wakeup = Arc::new(Notify::new());
        let idle_ms = settings.metadata_max_idle_ms;
        let (driver, told) = Driver::new(
            client.clone(),
            Arc::clone(&accumulator),
            Arc::clone(&wakeup),
            idle_ms,
            transactional,
        );
        tokio::spawn(driver.run());
        let interceptors = Interceptors::start(&settings.interceptors);
        let reporter = Reporter::start(&client, Kind::Producer);
        let inner = Inner { settings, client, accumulator, wakeup, driver: told, interceptors, reporter };
        Producer { inner: Arc::new(inner) }
    }

    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Puts a record into a batch, once there is room for it and its topic is known: at most `max.block.ms`. What it
    /// gives is to be awaited for the broker's answer, or may be dropped.
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, ClientError> {
        let Some(interceptors) = &self.inner.interceptors else { return self.put(record).await };
        let room = interceptors.room().await?;
        let outgoing = interceptors.outgoing(&record);
        let sent = self.put(outgoing.record(&outgoing.headers())).await;
        interceptors.sent(&outgoing, room, sent.as_ref());
        sent
    }

    async fn put(&self, record: Record<'_>) -> Result<Delivery, ClientError> {
        let inner = &*self.inner;
        match self.append(&record, None) {
            Ok(appended) => return Ok(appended),
            Err(NotYet::Error(error)) => return Err(error),
            Err(_) => {}
        }
        let deadline = Instant::now() + Duration::from_millis(inner.settings.max_block_ms);
        let mut granted = None;
        loop {
            match self.append(&record, granted.take()) {
                Ok(delivery) => return Ok(delivery),
                Err(NotYet::Error(error)) => return Err(error),
                Err(NotYet::Memory(bytes)) => {
                    self.wait_for_memory(bytes, deadline).await?;
                    granted = Some(bytes);
                }
                Err(NotYet::Metadata) => self.wait_for_topic(&record, deadline).await?,
            }
        }
    }

    /// Puts a record into a batch if that is possible at once; else gives it back. For callers that must not wait, and for
    /// threads without a runtime.
    #[expect(clippy::result_large_err, reason = "it is the record that is given back")]
    pub fn try_send<'a>(&self, record: Record<'a>) -> Result<Delivery, TrySendError<'a>> {
        let tried = match &self.inner.interceptors {
            None => self.try_put(&record),
            Some(interceptors) => self.try_put_intercepted(&record, interceptors),
        };
        tried.map_err(|reason| TrySendError { record, reason })
    }

    fn try_put_intercepted(
        &self,
        record: &Record<'_>,
        interceptors: &Interceptors,
    ) -> Result<Delivery, TrySendReason> {
        let room = interceptors.room_now().ok_or(TrySendReason::Full)?;
        let outgoing = interceptors.outgoing(record);
        let tried = self.try_put(&outgoing.record(&outgoing.headers()));
        match &tried {
            Ok(delivery) => interceptors.sent(&outgoing, room, Ok(delivery)),
            Err(TrySendReason::Error(error)) => interceptors.sent(&outgoing, room, Err(error)),
            Err(_) => {}
        }
        tried
    }

    fn try_put(&self, record: &Record<'_>) -> Result<Delivery, TrySendReason> {
        match self.append(record, None) {
            Ok(delivery) => Ok(delivery),
            Err(NotYet::Error(error)) => Err(TrySendReason::Error(error)),
            Err(NotYet::Memory(_)) => Err(TrySendReason::Full),
            Err(NotYet::Metadata) => {
                let last = self.inner.client.look().topic_error(record.topic);
                if let Some(code) = last.filter(|code| !code.is_retriable()) {
                    return Err(TrySendReason::Error(no_metadata(code, record.topic)));
                }
                self.inner.client.watch(record.topic);
                self.inner.client.refresh_soon();
                Err(TrySendReason::NoMetadata(last))
            }
        }
    }

    /// Sends everything that was put into batches so far without waiting for `linger.ms`, and waits until it is answered. What
    /// became of single records is for their [`Delivery`] to say.
    pub async fn flush(&self) {
        let answered = self.inner.accumulator.flush();
        self.inner.wakeup.notify_one();
        answered.await;
    }

    /// Takes no more records, sends what is there, and waits until it is answered. What isn't after `patience` fails with
    /// [`ClientError::Closed`], or with [`ClientError::Unconfirmed`] where it may have been written.
    pub async fn close(&self, patience: Duration) -> Result<(), ClientError> {
        let answered = self.inner.accumulator.close();
        self.inner.wakeup.notify_one();
        let deadline = Instant::now() + patience;
        if timeout_at(deadline, answered).await.is_ok() {
            if let Some(reporter) = &self.inner.reporter {
                reporter.close(deadline).await;
            }
            return Ok(());
        }
        let _ = self.inner.driver.send(Event::GiveUp(ClientError::Closed));
        self.inner.accumulator.close().await;
        Err(ClientError::TimedOut {
            what: "closing the producer".into(),
            timeout_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            is_sent: true,
            last: None,
        })
    }

    /// The partitions of a topic, once they are known.
    pub async fn partitions(&self, topic: &str) -> Result<Arc<Topic>, ClientError> {
        let deadline = Instant::now() + Duration::from_millis(self.inner.settings.max_block_ms);
        loop {
            if let Some(known) = self.inner.client.look().topic(topic) {
                return Ok(Arc::clone(known));
            }
            self.wait_for_topic(&Record::to(topic), deadline).await?;
        }
    }

    fn append(&self, record: &Record<'_>, granted: Option<usize>) -> Result<Delivery, NotYet> {
        let inner = &*self.inner;
        let give_back = |error| {
            if let Some(granted) = granted {
                inner.accumulator.memory.give_back(granted);
            }
            error
        };
        if record.partition.is_some_and(|partition| partition < 0) {
            let error = ClientError::misuse("a record names a negative partition");
            return Err(give_back(NotYet::Error(error)));
        }
        let metadata = inner.client.look();
        let Some(topic) = metadata.topic(record.topic) else { return Err(give_back(NotYet::Metadata)) };
        let partition = match self.partition(record, topic) {
            Ok(partition) => partition,
            Err(not_yet) => return Err(give_back(not_yet)),
        };
        let encodable = record.encodable(record.timestamp.unwrap_or_else(wall_clock));
        if let Err(error) = check(&inner.accumulator, &encodable) {
            return Err(give_back(NotYet::Error(error)));
        }
        let queues = inner.accumulator.topic(topic);
        let now = inner.client.clock().mono();
        let appended = match partition {
            Some(partition) => inner.accumulator.append(&queues, partition, &encodable, granted, now),
            None => inner.accumulator.append_anywhere(topic, &queues, &encodable, granted, now),
        };
        match appended {
            Ok(Appended { delivery, wakes, .. }) => {
                if wakes {
                    inner.wakeup.notify_one();
                }
                Ok(delivery)
            }
            Err(Refused::NeedsMemory { bytes, wakes }) => {
                if wakes {
                    inner.wakeup.notify_one();
                }
                Err(NotYet::Memory(bytes))
            }
            // Only for those that ask for it.
            Err(Refused::BatchFull) => Err(NotYet::Metadata),
            Err(Refused::Error(error)) => Err(NotYet::Error(error)),
        }
    }

    /// `None`: any.
    fn partition(&self, record: &Record<'_>, topic: &Topic) -> Result<Option<i32>, NotYet> {
        let settings = &self.inner.settings;
        let has = |partition: i32| usize::try_from(partition).is_ok_and(|p| p < topic.partitions.len());
        if let Some(partition) = record.partition {
            // It may have been added since.
            return if has(partition) { Ok(Some(partition)) } else { Err(NotYet::Metadata) };
        }
        if let Some(partitioner) = &settings.partitioner {
            let partition = partitioner.partition(record, topic);
            if !has(partition) {
                let why = format!("the partitioner chose {partition}, which {} does not have", topic.name);
                return Err(NotYet::Error(ClientError::misuse(why)));
            }
            return Ok(Some(partition));
        }
        let key = record.key.filter(|_| !settings.ignore_keys);
        Ok(key.map(|key| partition_of_key(key, topic.partitions.len())))
    }

    async fn wait_for_memory(&self, bytes: usize, deadline: Instant) -> Result<(), ClientError> {
        let taking = self.inner.accumulator.memory.take(bytes);
        tokio::pin!(taking);
        tokio::select! {
            biased;
            () = &mut taking => return Ok(()),
            () = std::future::ready(()) => {}
        }
        // Now that somebody waits, nothing lingers.
        self.inner.wakeup.notify_one();
        timeout_at(deadline, taking).await.map_err(|_| self.blocked("buffer.memory was not freed", None))
    }

    async fn wait_for_topic(&self, record: &Record<'_>, deadline: Instant) -> Result<(), ClientError> {
        let client = &self.inner.client;
        let name: Arc<str> = record.topic.into();
        client.watch(record.topic);
        let mut waits = client.settings().retry_backoff();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let what = format!("metadata of {} did not come", record.topic);
            let refreshed = client.refresh_within(Topics::Named(vec![Arc::clone(&name)]), left_ms).await;
            let metadata = match refreshed {
                Ok(metadata) => metadata,
                Err(error) if error.is_retriable() => return Err(self.blocked(&what, Some(error))),
                Err(error) => return Err(error),
            };
            let is_there = |topic: &Arc<Topic>| {
                let wanted = record.partition.unwrap_or(0);
                usize::try_from(wanted).is_ok_and(|wanted| wanted < topic.partitions.len())
            };
            if metadata.topic(record.topic).is_some_and(is_there) {
                return Ok(());
            }
            let last = match (metadata.topic_error(record.topic), metadata.topic(record.topic)) {
                (Some(code), _) => {
                    let error = no_metadata(code, record.topic);
                    if !error.is_retriable() {
                        return Err(error);
                    }
                    Some(error)
                }
                (None, Some(topic)) => {
                    let (count, wanted) = (topic.partitions.len(), record.partition.unwrap_or(0));
                    Some(ClientError::misuse(format!("it has {count} partitions, and no partition {wanted}")))
                }
                (None, None) => None,
            };
            let wait = Duration::from_millis(waits.failed(rand::random()));
            if Instant::now() + wait >= deadline {
                return Err(self.blocked(&what, last));
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn blocked(&self, what: &str, last: Option<ClientError>) -> ClientError {
        let max_block_ms = self.inner.settings.max_block_ms;
        ClientError::Blocked { what: what.into(), max_block_ms, last: last.map(Arc::new) }
    }
}

fn no_metadata(code: ErrorCode, topic: &str) -> ClientError {
    ClientError::broker(code, None, format!("metadata of {topic}"))
}

/// Why a record is not taken at once.
enum NotYet {
    Metadata,
    /// So many bytes are needed.
    Memory(usize),
    Error(ClientError),
}

fn check(accumulator: &Accumulator, encodable: &ottla_record::NewRecord<'_>) -> Result<(), ClientError> {
    if encodable.timestamp < Timestamp(0) {
        return Err(ClientError::misuse(format!(
            "a record has the negative timestamp {}",
            encodable.timestamp
        )));
    }
    accumulator.check_size(encodable)
}
