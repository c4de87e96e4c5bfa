//! What sees every record on its way out, and what became of it.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use ottla_record::{Header, OwnedHeader};
use ottla_types::Timestamp;
use tokio::sync::mpsc;

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

    /// The record was acknowledged, or has failed. Records are told of in the order in which they were sent.
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
    /// What is sent and not answered: no more than `buffer.memory` holds.
    sent: mpsc::UnboundedSender<Delivery>,
}

impl Interceptors {
    /// `None`, if there are none. The task ends when all that was sent is answered, after this is dropped.
    pub fn start(all: &[Arc<dyn ProducerInterceptor>]) -> Option<Interceptors> {
        if all.is_empty() {
            return None;
        }
        let (sent, mut waiting) = mpsc::unbounded_channel::<Delivery>();
        let told = all.to_vec();
        tokio::spawn(async move {
            while let Some(delivery) = waiting.recv().await {
                let (topic, partition) = delivery.place();
                let result = delivery.await;
                told.iter().for_each(|one| one.on_acknowledgement(&topic, Some(partition), result.as_ref()));
            }
        });
        Some(Interceptors { all: all.to_vec(), sent })
    }

    pub fn outgoing(&self, record: &Record<'_>) -> OutgoingRecord {
        let mut outgoing = OutgoingRecord::of(record);
        self.all.iter().for_each(|one| one.on_send(&mut outgoing));
        outgoing
    }

    /// The record is on its way; or never will be.
    pub fn sent(&self, record: &OutgoingRecord, result: Result<&Delivery, &ClientError>) {
        match result {
            Ok(delivery) => drop(self.sent.send(delivery.another())),
            Err(error) => {
                let tell = |one: &Arc<dyn ProducerInterceptor>| {
                    one.on_acknowledgement(&record.topic, record.partition, Err(error));
                };
                self.all.iter().for_each(tell);
            }
        }
    }
}
