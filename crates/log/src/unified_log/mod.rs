//! The log of one partition.
//!
//! What always holds: one writer at a time (the lock around the producer state is the writer's); readers never take that
//! lock, they go by the published offsets and the list of segments, and a read ends at the place of the high
//! watermark or last stable offset. All that changes the log happens before it is published: a reader never sees half
//! of an append. A failed append leaves nothing behind.

mod append;
mod deletion;
mod flush;
mod high_watermark;
mod offset_lookup;
mod offsets;
mod producers;
mod read;
mod recall;
mod replace;
mod roll;
mod tail;
#[cfg(test)]
mod tests;
mod truncate;
mod unreplicated;

pub use append::LeaderAppend;
pub use offset_lookup::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP, MAX_TIMESTAMP, TimestampAndOffset,
};
pub use offsets::{LogOffsetSnapshot, OffsetsObserver};
pub use producers::ActiveProducer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, TopicPartition, Uuid};
use parking_lot::{Mutex, MutexGuard, RwLock};

use self::offsets::{Offsets, PublishedOffsets};
use self::tail::Tail;
use crate::context::LogContext;
use crate::error::{OpenError, StorageError};
use crate::leader_epoch_cache::{EpochEndOffset, LeaderEpochCache};
use crate::log_config::LogConfig;
use crate::offset_metadata::OffsetMetadata;
use crate::partition_dir::PartitionDir;
use crate::partition_metadata::{self, PartitionMetadataError};
use crate::producer_state::ProducerStateManager;
use crate::recovery::{self, LoadParams};
use crate::segment::{Segment, SegmentError};
use crate::segments::Segments;
use crate::unflushed_ends::UnflushedEnds;

/// What is needed to open a log.
#[derive(Clone, Debug)]
pub struct OpenLog {
    pub context: Arc<LogContext>,
    /// The partition's own directory, which exists.
    pub dir: PathBuf,
    pub partition: TopicPartition,
    pub config: Arc<LogConfig>,
    /// From the checkpoint; zero if it has none.
    pub log_start_offset: Offset,
    /// From the checkpoint: all before it is on disk. Zero if it has none.
    pub recovery_point: Offset,
    /// The log was closed before: it is taken as it is.
    pub had_clean_shutdown: bool,
    /// Written into a directory that has none; compared with what is there.
    pub topic_id: Option<Uuid>,
}

/// The log of one partition on this broker.
#[derive(Debug)]
pub struct UnifiedLog {
    me: Weak<UnifiedLog>,
    partition: TopicPartition,
    dir: Arc<PartitionDir>,
    context: Arc<LogContext>,
    config: ArcSwap<LogConfig>,
    topic_id: RwLock<Option<Uuid>>,
    segments: ArcSwap<Segments>,
    /// Locked for the copy of some words.
    offsets: PublishedOffsets,
    tail: Tail,
    leader_epochs: LeaderEpochCache,
    /// All before it is on disk. It may lie before the log's start: what was flushed behind a gap would not survive.
    recovery_point: AtomicI64,
    /// What the checkpoint said when the log was loaded, and may say still.
    loaded_recovery_point: Offset,
    last_flush: AtomicU64,
    /// Counts the times that something was taken away from the log, once as it begins and once as it ends: a reader that
    /// finds what makes no sense looks whether that is why.
    removals: AtomicU64,
    /// Counts likewise those of the log's end: offsets have other records from then on, at other places.
    truncations: AtomicU64,
    is_closed: AtomicBool,
    /// The last append was refused for want of room.
    lacks_room: AtomicBool,
    /// Of a compacted log.
    unflushed_ends: UnflushedEnds,
    /// The writer's lock.
    writer: Mutex<ProducerStateManager>,
}

impl UnifiedLog {
    /// Opens the log that lies in a directory, recovering it first if it was not closed; an empty directory holds an
    /// empty log.
    pub fn open(params: OpenLog, now: Now) -> Result<Arc<UnifiedLog>, OpenError> {
        let dir = PartitionDir::new(Arc::clone(&params.context.disk), params.dir.as_path());
        let failed =
            |doing, error: std::io::Error| params.context.storage_error(log_dir(&params.dir), doing, error);
        let topic_id = open_topic_id(&dir, &params).map_err(|error| match error {
            TopicIdError::Inconsistent(found, expected) => {
                OpenError::InconsistentTopicId { partition: params.partition.clone(), expected, found }
            }
            TopicIdError::Metadata(error) => failed("reading partition.metadata", metadata_io(error)).into(),
        })?;
        let loaded = recovery::load(
            &LoadParams {
                dir: &dir,
                context: &params.context,
                partition: &params.partition,
                config: &params.config,
                had_clean_shutdown: params.had_clean_shutdown,
                log_start_offset: params.log_start_offset,
                recovery_point: params.recovery_point,
            },
            now,
        )
        .map_err(|error| failed("loading a log", error.into_io()))?;
        let offsets = Offsets {
            log_start: loaded.log_start_offset,
            log_end: loaded.log_end_offset,
            high_watermark: OffsetMetadata::offset_only(loaded.log_start_offset),
            first_unstable: loaded.producers.first_unstable_offset().map(OffsetMetadata::offset_only),
        };
        Ok(Arc::new_cyclic(|me| UnifiedLog {
            me: me.clone(),
            partition: params.partition,
            dir,
            context: params.context,
            config: ArcSwap::new(params.config),
            topic_id: RwLock::new(topic_id),
            segments: ArcSwap::from_pointee(loaded.segments),
            offsets: PublishedOffsets::new(offsets),
            tail: Tail::default(),
            leader_epochs: loaded.leader_epochs,
            recovery_point: AtomicI64::new(loaded.recovery_point.0),
            loaded_recovery_point: params.recovery_point,
            last_flush: AtomicU64::new(now.mono.0),
            removals: AtomicU64::new(0),
            truncations: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            lacks_room: AtomicBool::new(false),
            unflushed_ends: loaded.unflushed_ends,
            writer: Mutex::new(loaded.producers),
        }))
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The partition's own directory.
    pub fn dir(&self) -> Arc<Path> {
        self.dir.path()
    }

    /// The log directory that holds it.
    pub fn log_dir(&self) -> PathBuf {
        log_dir(&self.dir.path()).to_owned()
    }

    pub fn topic_id(&self) -> Option<Uuid> {
        *self.topic_id.read()
    }

    /// Gives the log its topic's id, which it keeps.
    pub fn assign_topic_id(&self, topic_id: Uuid) -> Result<(), OpenError> {
        let mut current = self.topic_id.write();
        match *current {
            Some(found) if found != topic_id => Err(OpenError::InconsistentTopicId {
                partition: self.partition.clone(),
                expected: topic_id,
                found,
            }),
            Some(_) => Ok(()),
            None => {
                partition_metadata::write(&self.dir, topic_id)
                    .map_err(|error| self.failed("writing partition.metadata", metadata_io(error)))?;
                *current = Some(topic_id);
                Ok(())
            }
        }
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// From now on the log acts on these settings; returns those that it acted on.
    pub fn update_config(&self, config: Arc<LogConfig>) -> Arc<LogConfig> {
        self.config.swap(config)
    }

    /// From now on `observer` hears of each change of the published offsets, and nobody else.
    pub fn set_observer(&self, observer: Option<Arc<dyn OffsetsObserver>>) {
        self.offsets.set_observer(observer);
    }

    pub fn log_start_offset(&self) -> Offset {
        self.offsets.get().log_start
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        self.offsets.get().log_end.message_offset
    }

    pub fn log_end_offset_metadata(&self) -> OffsetMetadata {
        self.offsets.get().log_end
    }

    /// All before it is on disk.
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point.load(Ordering::Acquire))
    }

    pub fn last_flush(&self) -> MonoMs {
        MonoMs(self.last_flush.load(Ordering::Relaxed))
    }

    /// Bytes of batches in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments().size_bytes()
    }

    /// The segments as they are now.
    pub fn segments(&self) -> Guard<Arc<Segments>> {
        self.segments.load()
    }

    /// The base offset of the segment that is appended to.
    pub fn active_segment_base_offset(&self) -> Offset {
        self.segments().last().map_or(Offset::ZERO, |segment| segment.base_offset())
    }

    pub fn leader_epochs(&self) -> &LeaderEpochCache {
        &self.leader_epochs
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epochs.latest_epoch()
    }

    /// Where an epoch ends in this log (KIP-101).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> EpochEndOffset {
        self.leader_epochs.end_offset_for(epoch, self.log_end_offset())
    }

    /// A leader's epoch starts at `offset`, before anything is written in it.
    pub fn assign_epoch_start_offset(&self, epoch: LeaderEpoch, offset: Offset) {
        self.leader_epochs.assign(epoch, offset);
    }

    /// The settings and what else is common to the broker's logs.
    pub fn context(&self) -> &Arc<LogContext> {
        &self.context
    }

    /// Where the files are, whatever the directory is named.
    pub fn partition_dir(&self) -> &Arc<PartitionDir> {
        &self.dir
    }

    /// Whether it was closed, deleted or abandoned.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Takes the writer's lock, unless the log is closed.
    fn lock_writer(&self) -> Result<MutexGuard<'_, ProducerStateManager>, StorageError> {
        let writer = self.writer.lock();
        if self.is_closed() {
            return Err(StorageError::Closed { partition: self.partition.clone() });
        }
        Ok(writer)
    }

    fn active_segment(&self) -> Result<Arc<Segment>, StorageError> {
        self.segments()
            .last()
            .map(Arc::clone)
            .ok_or_else(|| StorageError::Closed { partition: self.partition.clone() })
    }

    /// What fails in a log that was closed, deleted or abandoned is nobody's loss.
    pub(crate) fn failed(&self, doing: &'static str, error: std::io::Error) -> StorageError {
        if self.is_closed() {
            return StorageError::Closed { partition: self.partition.clone() };
        }
        self.context.storage_error(&self.log_dir(), doing, error)
    }

    fn segment_failed(&self, doing: &'static str, error: SegmentError) -> StorageError {
        self.failed(doing, error.into_io())
    }
}

/// The log directory that a partition's directory lies in.
fn log_dir(dir: &Path) -> &Path {
    dir.parent().unwrap_or(dir)
}

enum TopicIdError {
    /// Found, expected.
    Inconsistent(Uuid, Uuid),
    Metadata(PartitionMetadataError),
}

fn open_topic_id(dir: &PartitionDir, params: &OpenLog) -> Result<Option<Uuid>, TopicIdError> {
    match (partition_metadata::read(dir).map_err(TopicIdError::Metadata)?, params.topic_id) {
        (Some(found), Some(expected)) if found != expected => {
            Err(TopicIdError::Inconsistent(found, expected))
        }
        (None, Some(expected)) => {
            partition_metadata::write_new(dir, expected).map_err(TopicIdError::Metadata)?;
            Ok(Some(expected))
        }
        (found, _) => Ok(found),
    }
}

fn metadata_io(error: PartitionMetadataError) -> std::io::Error {
    match error {
        PartitionMetadataError::Io { ref source, .. } => std::io::Error::new(source.kind(), error),
        PartitionMetadataError::Corrupt { .. } => std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    }
}
