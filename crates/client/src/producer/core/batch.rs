//! Batches: open while records are appended, sealed once they are to be sent.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_record::{
    BATCH_HEADER_BYTES, Batch as StoredBatch, BatchBuilder, BatchMut, BatchOptions, BuildError, Compression,
    NewRecord, increment_sequence,
};
use ottla_types::{MonoMs, ProducerEpoch, ProducerId};

use super::delivery::{Deliveries, Delivery};
use super::queue::Queue;
use crate::error::ClientError;

/// Records of one partition that are gathered.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    pub builder: BatchBuilder,
    pub deliveries: Arc<Deliveries>,
    /// Among all batches of the producer, in the order in which they were begun.
    pub number: u64,
    pub created: MonoMs,
    /// What it has of `buffer.memory`.
    pub reserved_bytes: usize,
    /// Nothing is appended any more.
    pub is_full: bool,
}

/// Whose batch it is, and its place in that producer's sequence for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub first: i32,
}

/// A batch that is ready to go over the wire.
#[derive(Debug)]
pub(crate) struct Batch {
    pub deliveries: Arc<Deliveries>,
    pub number: u64,
    /// Where its first record stood in the batch that was split, if one was.
    pub first_record: i32,
    pub created: MonoMs,
    pub reserved_bytes: usize,
    pub bytes: Bytes,
    pub count: i32,
    /// Before compression.
    pub uncompressed_bytes: usize,
    pub sequenced: Option<Sequenced>,
    /// How often it was sent.
    pub attempts: u32,
    /// An attempt may have reached the broker without its answer having come back.
    pub is_possibly_written: bool,
    pub not_before: MonoMs,
    pub last_error: Option<ClientError>,
}

impl OpenBatch {
    pub fn begin(
        queue: &Queue,
        compression: Compression,
        bytes: usize,
        reserved_bytes: usize,
        number: u64,
        created: MonoMs,
    ) -> OpenBatch {
        let options = BatchOptions { compression, ..BatchOptions::default() };
        OpenBatch {
            builder: BatchBuilder::with_capacity(options, bytes),
            deliveries: Deliveries::new(Arc::clone(&queue.topic), queue.partition),
            number,
            created,
            reserved_bytes,
            is_full: false,
        }
    }

    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<Delivery, BuildError> {
        let index = u32::try_from(self.builder.record_count()).unwrap_or(0);
        self.builder.append(record)?;
        Ok(Delivery::new(Arc::clone(&self.deliveries), index, record.timestamp))
    }

    /// Compresses it, and says whose it is. What can't be sealed comes back without its bytes.
    pub fn seal(mut self, sequenced: Option<Sequenced>, is_transactional: bool) -> Result<Batch, Unsealed> {
        if let Some(Sequenced { producer_id, epoch, first }) = sequenced {
            self.builder.set_producer(producer_id, epoch, first, is_transactional);
        }
        let (count, uncompressed_bytes) = (self.builder.record_count(), self.builder.uncompressed_bytes());
        let OpenBatch { builder, deliveries, number, created, reserved_bytes, .. } = self;
        match builder.build() {
            Ok(bytes) => Ok(Batch {
                deliveries,
                number,
                first_record: 0,
                created,
                reserved_bytes,
                bytes: bytes.into(),
                count,
                uncompressed_bytes,
                sequenced,
                attempts: 0,
                is_possibly_written: false,
                not_before: MonoMs(0),
                last_error: None,
            }),
            Err(error) => Err(Unsealed { deliveries, number, reserved_bytes, error }),
        }
    }
}

/// What is left of a batch that could not be sealed.
#[derive(Debug)]
pub(crate) struct Unsealed {
    pub deliveries: Arc<Deliveries>,
    pub number: u64,
    pub reserved_bytes: usize,
    pub error: BuildError,
}

impl Batch {
    pub fn first_sequence(&self) -> Option<i32> {
        self.sequenced.map(|sequenced| sequenced.first)
    }

    /// How small compression made it: 1 is not at all.
    pub fn ratio(&self) -> f32 {
        let records = |bytes: usize| bytes.saturating_sub(BATCH_HEADER_BYTES).max(1) as f32;
        records(self.bytes.len()) / records(self.uncompressed_bytes)
    }

    /// Gives it another place. No attempt is under way, so in general nobody else has the bytes.
    pub fn resequence(&mut self, sequenced: Sequenced) {
        if self.sequenced == Some(sequenced) {
            return;
        }
        let mut bytes = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(own) => own,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        if let Ok(mut batch) = BatchMut::parse(&mut bytes) {
            batch.set_producer(sequenced.producer_id, sequenced.epoch, sequenced.first);
        }
        self.bytes = bytes.freeze();
        self.sequenced = Some(sequenced);
    }

    /// Several batches in its place, each with so many bytes before compression, and at least one record. They take over its
    /// number and its memory, and continue one another's sequence.
    pub fn split(
        self,
        topic: &Arc<str>,
        partition: i32,
        bytes_max: usize,
        compression: Compression,
    ) -> Result<Vec<Batch>, Box<(ClientError, Batch)>> {
        let parts = self.parts(topic, partition, bytes_max, compression);
        match parts.and_then(|parts| self.take_apart(parts)) {
            Ok((batches, followers)) => {
                self.deliveries.split(followers);
                Ok(batches)
            }
            Err(why) => Err(Box::new((ClientError::misuse(format!("a batch can't be split: {why}")), self))),
        }
    }

    fn parts(
        &self,
        topic: &Arc<str>,
        partition: i32,
        bytes_max: usize,
        compression: Compression,
    ) -> Result<Vec<(BatchBuilder, Arc<Deliveries>)>, String> {
        let stored = StoredBatch::parse(&self.bytes).map_err(|error| error.to_string())?;
        let options = stored.options(compression);
        let mut records = stored.records(self.uncompressed_bytes).map_err(|error| error.to_string())?;
        let mut parts: Vec<(BatchBuilder, Arc<Deliveries>)> = Vec::new();
        while let Some(record) = records.next().map_err(|error| error.to_string())? {
            let has_room = parts
                .last()
                .is_some_and(|(builder, _)| builder.uncompressed_bytes() + record.size_in_bytes <= bytes_max);
            if !has_room {
                let deliveries = Deliveries::new(Arc::clone(topic), partition);
                parts.push((BatchBuilder::with_capacity(options, bytes_max.min(1 << 20)), deliveries));
            }
            if let Some((builder, _)) = parts.last_mut() {
                let offset = builder.next_offset();
                builder.append_copy(offset, &record).map_err(|error| error.to_string())?;
            }
        }
        Ok(parts)
    }

    /// The batches, and the first record of each with where its answer will be.
    #[expect(clippy::type_complexity, reason = "both are made in one go")]
    fn take_apart(
        &self,
        parts: Vec<(BatchBuilder, Arc<Deliveries>)>,
    ) -> Result<(Vec<Batch>, Vec<(u32, Arc<Deliveries>)>), String> {
        let whole = StoredBatch::parse(&self.bytes).map_err(|error| error.to_string())?;
        let is_transactional = whole.is_transactional();
        let mut batches = Vec::with_capacity(parts.len());
        let mut followers = Vec::with_capacity(parts.len());
        let mut before = 0;
        // The first one keeps all the memory: what the parts need together is not more.
        let mut reserved_bytes = self.reserved_bytes;
        for (mut builder, deliveries) in parts {
            let (count, uncompressed_bytes) = (builder.record_count(), builder.uncompressed_bytes());
            let first = |whole: Sequenced| increment_sequence(whole.first, before);
            let sequenced = self.sequenced.map(|whole| Sequenced { first: first(whole), ..whole });
            if let Some(Sequenced { producer_id, epoch, first }) = sequenced {
                builder.set_producer(producer_id, epoch, first, is_transactional);
            }
            followers.push((u32::try_from(before).unwrap_or(0), Arc::clone(&deliveries)));
            let first_record = self.first_record.saturating_add(before);
            before += count;
            batches.push(Batch {
                deliveries,
                number: self.number,
                first_record,
                created: self.created,
                reserved_bytes: std::mem::take(&mut reserved_bytes),
                bytes: builder.build().map_err(|error| error.to_string())?.into(),
                count,
                uncompressed_bytes,
                sequenced,
                attempts: self.attempts,
                is_possibly_written: self.is_possibly_written,
                not_before: MonoMs(0),
                last_error: self.last_error.clone(),
            });
        }
        Ok((batches, followers))
    }
}
