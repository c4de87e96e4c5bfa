//! The batches of one partition in one answer, read batch by batch when their records are asked for.

use std::collections::{HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use ottla_record::{
    BATCH_HEADER_BYTES, Batch, BatchMut, Batches, Codec, ControlRecordType, LOG_OVERHEAD_BYTES, OwnedHeader,
    Record, RecordError, decompress,
};
use ottla_types::{LeaderEpoch, Offset, ProducerId, TopicPartition};

use super::{FetchSettings, IsolationLevel};
use crate::consumer::core::record::{ConsumerRecord, Position};

/// What a batch may expand to when it is decompressed. Producers don't make batches that come near.
const DECOMPRESSED_BATCH_BYTES_MAX: usize = 256 << 20;

/// An aborted transaction, as the leader named it in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbortedTransaction {
    pub producer: ProducerId,
    pub first_offset: Offset,
}

/// All records in an answer's batches, as far as they can be read; control records are not among them.
pub(crate) fn read_batches(
    bytes: &Bytes,
    partition: &TopicPartition,
    check_crcs: bool,
) -> (Vec<ConsumerRecord>, Option<RecordError>) {
    let settings = FetchSettings { check_crcs, ..FetchSettings::default() };
    let mut records = Vec::new();
    let mut chunk = match Chunk::new(bytes, Position::at(Offset(0)), Vec::new()) {
        Ok(Some(chunk)) => chunk,
        Ok(None) => return (records, None),
        Err(error) => return (records, Some(error)),
    };
    loop {
        match chunk.next(partition, Offset(0), &settings) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

#[derive(Debug)]
pub(super) struct Chunk {
    /// Complete batches.
    batches: Bytes,
    /// Where the next batch starts.
    at: usize,
    end: Position,
    /// Of the batch that is being handed out.
    records: VecDeque<ConsumerRecord>,
    /// Those that start later, in the order of their first offsets.
    aborted: VecDeque<AbortedTransaction>,
    /// Producers whose transactions at this place are aborted.
    aborting: HashSet<ProducerId>,
}

impl Chunk {
    /// Takes the complete batches in `bytes`; `None` if there is none. What is asked for starts at `from`.
    pub fn new(
        bytes: &Bytes,
        from: Position,
        mut aborted: Vec<AbortedTransaction>,
    ) -> Result<Option<Chunk>, RecordError> {
        let mut batches = Batches::new(bytes);
        let mut end = from;
        for batch in batches.by_ref() {
            let Ok(batch) = batch else { break };
            end = Position { offset: end.offset.max(batch.next_offset()), leader_epoch: epoch_of(&batch) };
        }
        let len = batches.position();
        if len == 0 {
            // A corrupt start is an error; the start of a batch that goes on elsewhere is nothing.
            return Batches::new(bytes).next().transpose().map(|_| None);
        }
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Ok(Some(Chunk {
            batches: bytes.slice(..len),
            at: 0,
            end,
            records: VecDeque::new(),
            aborted: aborted.into(),
            aborting: HashSet::new(),
        }))
    }

    pub fn bytes(&self) -> usize {
        self.batches.len()
    }

    /// Behind the last batch.
    pub fn end(&self) -> Position {
        self.end
    }

    /// The next record at or after `from`; `None` at the end.
    pub fn next(
        &mut self,
        partition: &TopicPartition,
        from: Offset,
        settings: &FetchSettings,
    ) -> Result<Option<ConsumerRecord>, RecordError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
            }
            let rest = self.batches.slice(self.at..);
            let Some(batch) = Batches::new(&rest).next().transpose()? else { return Ok(None) };
            if settings.check_crcs {
                batch.check_crc()?;
            }
            if self.is_for_owner(&batch, settings.isolation_level)? && batch.next_offset() > from {
                self.read(&rest, &batch, partition, from)?;
            }
            self.at += batch.size_in_bytes;
        }
    }

    fn is_for_owner(
        &mut self,
        batch: &Batch<'_>,
        isolation_level: IsolationLevel,
    ) -> Result<bool, RecordError> {
        if isolation_level == IsolationLevel::ReadCommitted && batch.has_producer_id() {
            while let Some(next) =
                self.aborted.front().filter(|next| next.first_offset <= batch.last_offset())
            {
                self.aborting.insert(next.producer);
                self.aborted.pop_front();
            }
            if batch.is_control() {
                if is_abort_marker(batch)? {
                    self.aborting.remove(&batch.producer_id);
                }
            } else if batch.is_transactional() && self.aborting.contains(&batch.producer_id) {
                return Ok(false);
            }
        }
        Ok(!batch.is_control())
    }

    /// Reads the records of the batch that `bytes` start with.
    fn read(
        &mut self,
        bytes: &Bytes,
        batch: &Batch<'_>,
        partition: &TopicPartition,
        from: Offset,
    ) -> Result<(), RecordError> {
        let leader_epoch = epoch_of(batch);
        let timestamp_type = batch.timestamp_type();
        let mut read = VecDeque::new();
        let mut take = |base: &Bytes, record: Record<'_>| {
            if record.offset < from {
                return Ok::<(), RecordError>(());
            }
            let share = |part: Option<&[u8]>| part.map(|part| share(base, part));
            let headers = record.headers.iter();
            let headers = headers
                .map(|header| OwnedHeader { key: self::share(base, header.key), value: share(header.value) });
            read.push_back(ConsumerRecord {
                topic_partition: partition.clone(),
                offset: record.offset,
                leader_epoch,
                timestamp: record.timestamp,
                timestamp_type,
                key: share(record.key),
                value: share(record.value),
                headers: headers.collect(),
            });
            Ok(())
        };
        if batch.is_compressed() && !batch.is_legacy() {
            let plain = decompressed(batch)?;
            Batch::parse(&plain)?
                .records(DECOMPRESSED_BATCH_BYTES_MAX)?
                .for_each(|record| take(&plain, record))?;
        } else {
            batch.records(DECOMPRESSED_BATCH_BYTES_MAX)?.for_each(|record| take(bytes, record))?;
        }
        self.records = read;
        Ok(())
    }
}

fn epoch_of(batch: &Batch<'_>) -> Option<LeaderEpoch> {
    Some(batch.partition_leader_epoch).filter(|epoch| *epoch >= LeaderEpoch(0))
}

fn is_abort_marker(batch: &Batch<'_>) -> Result<bool, RecordError> {
    let mut records = batch.records(DECOMPRESSED_BATCH_BYTES_MAX)?;
    let Some(record) = records.next()? else { return Ok(false) };
    Ok(ControlRecordType::parse(record.key.unwrap_or_default())? == ControlRecordType::Abort)
}

/// The batch with its records decompressed, so that records can be slices of it. Its checksum is not that of its bytes.
fn decompressed(batch: &Batch<'_>) -> Result<Bytes, RecordError> {
    let codec = Codec::from_id(batch.attributes.codec_id())?;
    let records = decompress(codec, batch.body(), DECOMPRESSED_BATCH_BYTES_MAX)?;
    let mut bytes = BytesMut::with_capacity(BATCH_HEADER_BYTES + records.len());
    let header = batch.bytes().get(..BATCH_HEADER_BYTES);
    bytes.extend_from_slice(header.unwrap_or_default());
    bytes.extend_from_slice(&records);
    // The length stands behind the base offset, and doesn't count either.
    let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
    if let Some(place) = bytes.get_mut(size_of::<i64>()..LOG_OVERHEAD_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    BatchMut::parse(&mut bytes)?.set_attributes(batch.attributes.with_codec_id(Codec::None.id()));
    Ok(bytes.freeze())
}

/// `part` without a copy, if it lies in `base`.
fn share(base: &Bytes, part: &[u8]) -> Bytes {
    let lies_within = base.as_ptr_range().contains(&part.as_ptr())
        && part.as_ptr() as usize - base.as_ptr() as usize + part.len() <= base.len();
    if part.is_empty() || !lies_within { Bytes::copy_from_slice(part) } else { base.slice_ref(part) }
}
