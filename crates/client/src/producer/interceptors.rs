//! What sees every record on its way out, and what became of it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use ottla_record::{Header, OwnedHeader};
use ottla_types::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::core::delivery::{Delivery, RecordMetadata};
use super::core::record::Record;
use crate::error::ClientError;

/// Sees every record that a producer sends, and may change it; and hears what became of it. For tracing, measuring and the
/// like: given as [`ProducerSettings::interceptors`](crate::ProducerSettings::interceptors), called in their order.
///
/// It is called where records are sent and answered, and holds up whatever comes next there.
pub trait ProducerInterceptor: Debug + Send + Sync {
    /// Before the record's partition is chosen. Called again where [`Producer::try_send`](crate::Producer::try_send) is.
    fn on_send(&self, record: &mut OutgoingRecord) {
        let _ = record;
    }

    /// The record was acknowledged, or has failed. Records of a partition are told of in the order in which they were sent.
    fn on_acknowledgement(
        &self,
        topic: &str,
        partition: Option<i32>,
        result: Result<&RecordMetadata, &ClientError>,
    ) {
        let _ = (topic, partition, result);
    }
}

/// A record that is about to be sent: see [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRecord {
    pub topic: String,
    pub partition: Option<i32>,
    pub timestamp: Option<Timestamp>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<OwnedHeader>,
}

impl OutgoingRecord {
    fn of(record: &Record<'_>) -> OutgoingRecord {
        let header = |header: &Header<'_>| OwnedHeader {
            key: Bytes::copy_from_slice(header.key),
            value: header.value.map(Bytes::copy_from_slice),
        };
        OutgoingRecord {
            topic: record.topic.to_owned(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: record.headers.iter().map(header).collect(),
        }
    }

    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        self.headers
            .iter()
            .map(|header| Header { key: &header.key, value: header.value.as_deref() })
            .collect()
    }

    pub(super) fn record<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

/// A producer's interceptors, and the task that tells them what became of records.
#[derive(Debug)]
pub(super) struct Interceptors {
    all: Vec<Arc<dyn ProducerInterceptor>>,
    /// What is sent and not told of.
    sent: mpsc::UnboundedSender<Delivery>,
    /// For that: it is bounded, also where interceptors take longer than brokers.
    room: Arc<Semaphore>,
}

/// So many records may be sent and not told of.
const UNTOLD_MAX: usize = 1 << 20;

/// That a record may be sent. Given back where it isn't.
pub(super) type Room = OwnedSemaphorePermit;

impl Interceptors {
    /// `None`, if there are none. The task ends when all that was sent is answered, after this is dropped.
    pub fn start(all: &[Arc<dyn ProducerInterceptor>]) -> Option<Interceptors> {
        (!all.is_empty()).then(|| Interceptors::with_room(all, UNTOLD_MAX))
    }

    fn with_room(all: &[Arc<dyn ProducerInterceptor>], records_max: usize) -> Interceptors {
        let (sent, waiting) = mpsc::unbounded_channel::<Delivery>();
        let room = Arc::new(Semaphore::new(records_max));
        tokio::spawn(tell(all.to_vec(), waiting, Arc::clone(&room)));
        Interceptors { all: all.to_vec(), sent, room }
    }

    /// Waits until interceptors have been told of so many records that there may be another one.
    pub async fn room(&self) -> Result<Room, ClientError> {
        Arc::clone(&self.room).acquire_owned().await.map_err(|_| ClientError::Closed)
    }

    /// `None`: there is none now.
    pub fn room_now(&self) -> Option<Room> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    pub fn outgoing(&self, record: &Record<'_>) -> OutgoingRecord {
        let mut outgoing = OutgoingRecord::of(record);
        self.all.iter().for_each(|one| one.on_send(&mut outgoing));
        outgoing
    }

    /// The record is on its way; or never will be.
    pub fn sent(&self, record: &OutgoingRecord, room: Room, result: Result<&Delivery, &ClientError>) {
        match result {
            Ok(delivery) => {
                // It is given back once the record is told of.
                room.forget();
                drop(self.sent.send(delivery.another()));
            }
            Err(error) => {
                let tell = |one: &Arc<dyn ProducerInterceptor>| {
                    one.on_acknowledgement(&record.topic, record.partition, Err(error));
                };
                self.all.iter().for_each(tell);
            }
        }
    }
}

/// Tells of records as they are answered: a partition whose leader is away holds up no other.
async fn tell(
    told: Vec<Arc<dyn ProducerInterceptor>>,
    mut waiting: mpsc::UnboundedReceiver<Delivery>,
    room: Arc<Semaphore>,
) {
    let mut partitions: BTreeMap<(Arc<str>, i32), VecDeque<Delivery>> = BTreeMap::new();
    std::future::poll_fn(|cx| {
        let is_over = loop {
            match waiting.poll_recv(cx) {
                Poll::Ready(Some(delivery)) => {
                    partitions.entry(delivery.place()).or_default().push_back(delivery);
                }
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        partitions.retain(|(topic, partition), deliveries| {
            while let Some(first) = deliveries.front_mut() {
                let Poll::Ready(result) = Pin::new(first).poll(cx) else { return true };
                deliveries.pop_front();
                told.iter().for_each(|one| one.on_acknowledgement(topic, Some(*partition), result.as_ref()));
                room.add_permits(1);
            }
            false
        });
        if is_over && partitions.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use ottla_types::Offset;
    use parking_lot::Mutex;

    use super::super::core::delivery::{Deliveries, Outcome};
    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(i32, i64)>>);

    impl ProducerInterceptor for Heard {
        fn on_acknowledgement(
            &self,
            _: &str,
            partition: Option<i32>,
            result: Result<&RecordMetadata, &ClientError>,
        ) {
            self.0.lock().push((partition.unwrap(), result.unwrap().offset.0));
        }
    }

    #[tokio::test]
    async fn records_are_told_of_as_they_are_answered_and_hold_a_bounded_room() {
        let heard = Arc::new(Heard::default());
        let interceptors = Interceptors::with_room(&[Arc::clone(&heard) as Arc<dyn ProducerInterceptor>], 4);
        let batches = [0, 1].map(|partition| Deliveries::new("t".into(), partition));
        let outgoing = interceptors.outgoing(&Record::to("t"));
        for batch in &batches {
            for index in 0..2 {
                let delivery = Delivery::new(Arc::clone(batch), index, Timestamp(1));
                interceptors.sent(&outgoing, interceptors.room_now().unwrap(), Ok(&delivery));
            }
        }
        assert!(interceptors.room_now().is_none(), "four are not told of");
        // The leader of the first one is away.
        batches[1].complete(Outcome::Written { base_offset: Offset(10), log_append_time: None });
        drop(interceptors.room().await.unwrap());
        drop(interceptors.room().await.unwrap());
        assert_eq!(*heard.0.lock(), [(1, 10), (1, 11)]);
        batches[0].complete(Outcome::Written { base_offset: Offset(5), log_append_time: None });
        while interceptors.room.available_permits() < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(heard.0.lock()[2..], [(0, 5), (0, 6)]);
        // What was not sent needs no room.
        drop(interceptors.room_now().unwrap());
        assert_eq!(interceptors.room.available_permits(), 4);
    }
}
