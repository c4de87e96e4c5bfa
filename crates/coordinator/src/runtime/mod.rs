//! The runtime that all coordinators share. A coordinator is a set of shards, one for each partition of its internal
//! topic, and each shard is a state machine that knows nothing of logs, replication, threads or clocks.
//!
//! What always holds:
//! - [`Shard::replay`] alone changes a shard's durable state, whether the record was just written or is read back while
//!   loading. So a shard that was loaded from the log equals the one that wrote it.
//! - An operation sees everything that was written before it, committed or not. Its own response leaves only when all
//!   of that, and its own records, lie below the high watermark.
//! - Where an append fails, the state returns to what it was before the batch, and every operation of the batch fails.
//! - Every request is answered exactly once, also when the shard is unloaded.
//! - One thread at a time runs a shard. Others leave their operation in its queue and go on; what gathers there while
//!   a batch is being appended makes up the next batch.
//! - What takes long is done outside of the shard ([`Turn::in_background`]), and comes back as an operation of its own.

mod active;
mod cell;
mod codec;
mod load;
mod responder;
mod shards;
mod storage;
mod timers;
mod turn;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::hash::Hash;

use bytes::Bytes;
use ottla_types::Offset;
use ottla_wire::ErrorCode;
use thiserror::Error;

pub use cell::Outside;
pub use load::{LoadProgress, LoadTask};
pub use responder::Responder;
pub(crate) use shards::partition_for_key;
pub use shards::{Runtime, RuntimeConfig};
pub use storage::{
    BATCH_HEADER_BYTES, EncodedRecord, LogChunk, Membership, PartitionReader, PartitionWriter, Producer,
    StoredBatch, StoredContent, StoredRecord, TransactionMarker, WriteBatch,
};
pub use turn::Turn;

/// A stored record that can't be understood.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("record type {record_type} can't be decoded: {reason}")]
pub struct DecodeError {
    pub record_type: i16,
    pub reason: String,
}

/// One kind of coordinator, as a state machine over one partition.
///
/// The value itself is what may be lost: sessions, requests that wait, caches. What must survive is in `State`.
pub trait Shard: Sized + Send + 'static {
    /// Rebuilt from the log. Clones are taken for every batch, so they must cost no more than a few pointers.
    type State: Clone + Default + Send;
    type Record: Send;
    type Timer: Clone + Ord + Hash + Debug + Send;
    /// What an operation wants to be reminded of when its records are committed or have failed.
    type Completion: Send;

    /// The base sequence of the shard's batches, which no producer numbers: as Kafka's coordinator of this kind has it.
    const BASE_SEQUENCE: i32;

    /// Fails for a record that Kafka's format has no room for; the operation fails with it.
    fn encode(record: &Self::Record) -> Result<EncodedRecord, ErrorCode>;

    /// All records of an operation, in their order: for kinds of which there are so many that they share a buffer.
    fn encode_all(records: &[Self::Record]) -> Result<Vec<EncodedRecord>, ErrorCode> {
        records.iter().map(Self::encode).collect()
    }

    /// `None` for a record of a kind that is unknown here: it is left in the log and otherwise ignored.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, DecodeError>;

    /// Applies a record that lies, or is about to lie, at `offset`; `producer` is set for a record that counts only
    /// once its producer's transaction is committed.
    fn replay(state: &mut Self::State, offset: Offset, producer: Option<Producer>, record: Self::Record);

    /// Applies the end of a transaction.
    fn replay_end_transaction(state: &mut Self::State, producer: Producer, committed: bool);

    /// The state is loaded and requests follow.
    fn loaded(&mut self, turn: &mut Turn<'_, Self>);

    fn timer_fired(&mut self, turn: &mut Turn<'_, Self>, timer: Self::Timer);

    fn completed(
        &mut self,
        turn: &mut Turn<'_, Self>,
        completion: Self::Completion,
        result: Result<(), ErrorCode>,
    );
}
