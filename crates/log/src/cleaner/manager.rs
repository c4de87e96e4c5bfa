//! Which log is cleaned next, which may not be touched now, and how far each is clean.
//!
//! A cleaning runs in steps under a lock of its own. Whoever pauses a partition takes the cleaning away under that lock,
//! so it waits for one step at most, and no step follows. The lock of a cleaning is taken before the manager's, never
//! after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{MonoMs, Now, Offset, TopicPartition};
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::cleanable::{CleanableOffsets, LogToClean, cleanable_offsets, max_compaction_delay_ms};
use super::run::{CleanRun, CleanStep};
use super::stats::CleanerStats;
use super::{CleanError, CleanerConfig};
use crate::checkpoint::{CheckpointError, OffsetCheckpoint, OffsetCheckpointKind};
use crate::disk::Disk;
use crate::unified_log::UnifiedLog;

/// A log that is being cleaned. Dropping it without finishing leaves the partition in progress: end it with
/// [`CleanerManager::abort`].
#[derive(Clone, Debug)]
pub struct Cleaning {
    log: Arc<UnifiedLog>,
    run: Arc<Mutex<Option<CleanRun>>>,
}

/// A log with `compact,delete` whose old segments are to be removed.
#[derive(Debug)]
pub struct Deletion {
    log: Arc<UnifiedLog>,
    may_delete: Arc<Mutex<bool>>,
}

/// What [`CleanerManager::step`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CleanProgress {
    /// There is more to do, after the pause that the throttle wants for so many bytes.
    Worked {
        io_bytes: u64,
    },
    Finished(CleanerStats),
    /// It was paused by somebody, or failed; that was dealt with.
    Ended,
}

#[derive(Debug)]
enum InProgress {
    Cleaning(Arc<Mutex<Option<CleanRun>>>),
    Deleting(Arc<Mutex<bool>>),
    /// By so many.
    Paused(u32),
}

/// What one log directory's checkpoint says.
#[derive(Debug)]
struct CleanedOffsets {
    checkpoint: OffsetCheckpoint,
    offsets: BTreeMap<TopicPartition, Offset>,
}

#[derive(Debug, Default)]
struct State {
    in_progress: HashMap<TopicPartition, InProgress>,
    /// By log directory; one that failed is not here any more.
    dirs: BTreeMap<PathBuf, CleanedOffsets>,
    uncleanable: BTreeMap<PathBuf, BTreeSet<TopicPartition>>,
    metrics: CleanerMetrics,
}

/// What the cleaner's gauges show.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CleanerMetrics {
    /// The share of the dirtiest log that is dirty: 0 to 1.
    pub max_dirty_ratio: f64,
    /// By how much a record has exceeded `max.compaction.lag.ms`.
    pub max_compaction_delay_ms: i64,
    pub last_run: MonoMs,
    pub last: CleanerStats,
}

/// Chooses logs to clean and keeps their checkpoints.
#[derive(Debug)]
pub struct CleanerManager {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

impl CleanerManager {
    pub fn new(disk: Arc<dyn Disk>) -> CleanerManager {
        CleanerManager { disk, state: Mutex::default() }
    }

    /// Reads a log directory's checkpoint; from now on its logs can be cleaned.
    pub fn add_dir(&self, dir: &Path) -> Result<(), CheckpointError> {
        let checkpoint = OffsetCheckpoint::new(Arc::clone(&self.disk), dir, OffsetCheckpointKind::Cleaner);
        let offsets = checkpoint.read()?.into_iter().collect();
        self.state.lock().dirs.insert(dir.to_owned(), CleanedOffsets { checkpoint, offsets });
        Ok(())
    }

    /// A log directory went offline: nothing of it is cleaned any more.
    pub fn remove_dir(&self, dir: &Path) {
        let mut state = self.state.lock();
        state.dirs.remove(dir);
        state.uncleanable.remove(dir);
    }

    /// Chooses the dirtiest log that is due, if there is one.
    pub fn grab_filthiest<'a>(
        &self,
        logs: impl IntoIterator<Item = &'a Arc<UnifiedLog>>,
        config: &CleanerConfig,
        now: Now,
    ) -> Option<Cleaning> {
        let mut state = self.state.lock();
        state.metrics.last_run = now.mono;
        state.metrics.max_compaction_delay_ms = 0;
        let mut dirty = Vec::new();
        for log in logs {
            if log.config().cleanup_policy.compact && state.is_free(log) {
                match state.look_at(log, now) {
                    Ok(to_clean) => dirty.push(to_clean),
                    Err(error) => state.failed(log, error),
                }
            }
        }
        let by_ratio = |a: &LogToClean, b: &LogToClean| a.cleanable_ratio().total_cmp(&b.cleanable_ratio());
        let dirtiest = dirty.iter().map(LogToClean::cleanable_ratio).fold(0.0, f64::max);
        state.metrics.max_dirty_ratio = dirtiest;
        let filthiest =
            dirty.into_iter().filter(|log| log.total_bytes() > 0 && log.is_due()).max_by(by_ratio)?;
        let log = Arc::clone(&filthiest.log);
        info!(partition = %log.partition(), from = %filthiest.first_dirty_offset, to = %filthiest.first_uncleanable_offset, "cleaning");
        match CleanRun::new(filthiest, config, now) {
            Ok(run) => {
                let run = Arc::new(Mutex::new(Some(run)));
                let in_progress = InProgress::Cleaning(Arc::clone(&run));
                state.in_progress.insert(log.partition().clone(), in_progress);
                Some(Cleaning { log, run })
            }
            Err(error) => {
                state.failed(&log, error);
                None
            }
        }
    }

    /// Does the next piece of a cleaning.
    pub fn step(&self, cleaning: &Cleaning, now: Now) -> CleanProgress {
        let mut slot = cleaning.run.lock();
        let Some(run) = &mut *slot else { return CleanProgress::Ended };
        match run.step(now) {
            Ok(CleanStep::Worked { io_bytes }) => CleanProgress::Worked { io_bytes },
            Ok(CleanStep::Finished { clean_up_to, stats }) => {
                *slot = None;
                self.finish(&cleaning.log, clean_up_to, &stats);
                CleanProgress::Finished(stats)
            }
            Err(error) => {
                discard(slot.take());
                let mut state = self.state.lock();
                state.release(cleaning.log.partition());
                state.failed(&cleaning.log, error);
                CleanProgress::Ended
            }
        }
    }

    fn finish(&self, log: &UnifiedLog, clean_up_to: Offset, stats: &CleanerStats) {
        let mut state = self.state.lock();
        state.metrics.last = *stats;
        // A pause that came during the last step counts: what was cleaned may be about to be truncated. So does the log's end:
        // another one may have its name by now.
        if state.release(log.partition()) && !log.is_closed() {
            state.set_clean_up_to(&log.log_dir(), log.partition(), Some(clean_up_to));
            info!(
                partition = %log.partition(), %clean_up_to, stats.bytes_read, stats.bytes_written,
                stats.records_read, stats.records_written, "cleaned"
            );
        }
        if stats.invalid_records > 0 {
            warn!(partition = %log.partition(), stats.invalid_records, "records without a key were removed");
        }
    }

    /// The logs with `cleanup.policy` `compact,delete`, or with a log start offset to be acted on, that nothing else is
    /// done with. Each is in progress until [`CleanerManager::delete`].
    pub fn grab_deletable<'a>(&self, logs: impl IntoIterator<Item = &'a Arc<UnifiedLog>>) -> Vec<Deletion> {
        let mut state = self.state.lock();
        let mut deletions = Vec::new();
        for log in logs {
            if log.config().cleanup_policy.compact && state.is_free(log) {
                let may_delete = Arc::new(Mutex::new(true));
                state
                    .in_progress
                    .insert(log.partition().clone(), InProgress::Deleting(Arc::clone(&may_delete)));
                deletions.push(Deletion { log: Arc::clone(log), may_delete });
            }
        }
        deletions
    }

    /// Removes the segments that retention lets go, unless the partition was paused meanwhile.
    pub fn delete(&self, deletion: &Deletion, now: Now) {
        let mut may_delete = deletion.may_delete.lock();
        if !std::mem::replace(&mut *may_delete, false) {
            return;
        }
        let result = deletion.log.delete_old_segments(now);
        let mut state = self.state.lock();
        state.release(deletion.log.partition());
        if let Err(error) = result {
            state.failed(&deletion.log, error.into());
        }
    }

    /// Keeps logs that are not compacted from being compacted while their old segments are removed: their policy may
    /// change meanwhile. Returns those that nothing else is done with; the caller resumes them.
    pub fn pause_not_compacted<'a>(
        &self,
        logs: impl IntoIterator<Item = &'a Arc<UnifiedLog>>,
    ) -> Vec<Arc<UnifiedLog>> {
        let mut state = self.state.lock();
        let mut paused = Vec::new();
        for log in logs {
            if !log.config().cleanup_policy.compact && !state.in_progress.contains_key(log.partition()) {
                state.in_progress.insert(log.partition().clone(), InProgress::Paused(1));
                paused.push(Arc::clone(log));
            }
        }
        paused
    }

    /// Ends what is being done with a partition and lets nothing be done until it is resumed as often as it was paused.
    /// When the call returns, no cleaning touches the log.
    pub fn abort_and_pause(&self, partition: &TopicPartition) {
        let interrupted = {
            let mut state = self.state.lock();
            let paused_by = match state.in_progress.get(partition) {
                Some(InProgress::Paused(by)) => by + 1,
                _ => 1,
            };
            state.in_progress.insert(partition.clone(), InProgress::Paused(paused_by))
        };
        match interrupted {
            Some(InProgress::Cleaning(run)) => discard(run.lock().take()),
            Some(InProgress::Deleting(may_delete)) => *may_delete.lock() = false,
            Some(InProgress::Paused(_)) | None => {}
        }
    }

    /// Takes back one pause. False if the partition was not paused.
    pub fn resume(&self, partition: &TopicPartition) -> bool {
        let mut state = self.state.lock();
        match state.in_progress.get_mut(partition) {
            Some(InProgress::Paused(by)) if *by > 1 => {
                *by -= 1;
                true
            }
            Some(InProgress::Paused(_)) => state.in_progress.remove(partition).is_some(),
            _ => false,
        }
    }

    /// Ends what is being done with a partition.
    pub fn abort(&self, partition: &TopicPartition) {
        self.abort_and_pause(partition);
        self.resume(partition);
    }

    /// A log was truncated: nothing from `offset` on is clean.
    pub fn truncate_clean_offset(&self, dir: &Path, partition: &TopicPartition, offset: Offset) {
        let mut state = self.state.lock();
        if state.clean_up_to(dir, partition).is_some_and(|clean_up_to| clean_up_to > offset) {
            state.set_clean_up_to(dir, partition, Some(offset));
        }
    }

    /// A partition has left a log directory.
    pub fn forget(&self, dir: &Path, partition: &TopicPartition) {
        let mut state = self.state.lock();
        if let Some(uncleanable) = state.uncleanable.get_mut(dir) {
            uncleanable.remove(partition);
        }
        if state.clean_up_to(dir, partition).is_some() {
            state.set_clean_up_to(dir, partition, None);
        }
    }

    /// Forgets the partitions of a directory that are not among `logs`: they went while the cleaner could not see it.
    pub fn forget_absent(&self, dir: &Path, logs: &BTreeSet<TopicPartition>) {
        let mut state = self.state.lock();
        let Some(cleaned) = state.dirs.get_mut(dir) else { return };
        let known = cleaned.offsets.len();
        cleaned.offsets.retain(|partition, _| logs.contains(partition));
        if cleaned.offsets.len() < known {
            cleaned.write();
        }
    }

    /// A partition has moved to another log directory (KIP-113).
    pub fn move_dir(&self, partition: &TopicPartition, from: &Path, to: &Path) {
        let mut state = self.state.lock();
        if let Some(offset) = state.clean_up_to(from, partition) {
            state.set_clean_up_to(from, partition, None);
            state.set_clean_up_to(to, partition, Some(offset));
        }
        let was_uncleanable = state.uncleanable.get_mut(from).is_some_and(|dir| dir.remove(partition));
        if was_uncleanable {
            state.uncleanable.entry(to.to_owned()).or_default().insert(partition.clone());
        }
    }

    /// Up to where a partition has been cleaned.
    pub fn clean_up_to(&self, dir: &Path, partition: &TopicPartition) -> Option<Offset> {
        self.state.lock().clean_up_to(dir, partition)
    }

    /// Partitions of a directory that are not cleaned any more, since cleaning them failed.
    pub fn uncleanable(&self, dir: &Path) -> Vec<TopicPartition> {
        self.state.lock().uncleanable.get(dir).into_iter().flatten().cloned().collect()
    }

    /// Bytes of those partitions that would be cleaned if they could be.
    pub fn uncleanable_bytes<'a>(
        &self,
        dir: &Path,
        logs: impl IntoIterator<Item = &'a Arc<UnifiedLog>>,
        now: Now,
    ) -> u64 {
        let state = self.state.lock();
        let Some(uncleanable) = state.uncleanable.get(dir) else { return 0 };
        let bytes_of = |log: &Arc<UnifiedLog>| {
            let clean_up_to = state.clean_up_to(dir, log.partition());
            let offsets = cleanable_offsets(log, clean_up_to, now.wall).ok()?;
            Some(LogToClean::new(log, offsets, false).cleanable_bytes)
        };
        let logs =
            logs.into_iter().filter(|log| log.log_dir() == dir && uncleanable.contains(log.partition()));
        logs.filter_map(bytes_of).sum()
    }

    pub fn metrics(&self) -> CleanerMetrics {
        self.state.lock().metrics
    }
}

impl Cleaning {
    pub fn log(&self) -> &Arc<UnifiedLog> {
        &self.log
    }
}

impl Deletion {
    pub fn log(&self) -> &Arc<UnifiedLog> {
        &self.log
    }
}

impl State {
    /// Who lists logs may look at one that has been deleted since.
    fn is_free(&self, log: &UnifiedLog) -> bool {
        let (partition, dir) = (log.partition(), log.log_dir());
        !log.is_closed()
            && !self.in_progress.contains_key(partition)
            && self.dirs.contains_key(&dir)
            && !self.uncleanable.get(&dir).is_some_and(|uncleanable| uncleanable.contains(partition))
    }

    fn look_at(&mut self, log: &Arc<UnifiedLog>, now: Now) -> Result<LogToClean, CleanError> {
        let dir = log.log_dir();
        let offsets: CleanableOffsets =
            cleanable_offsets(log, self.clean_up_to(&dir, log.partition()), now.wall)?;
        if offsets.is_reset {
            self.set_clean_up_to(&dir, log.partition(), Some(offsets.first_dirty));
        }
        let delay_ms = max_compaction_delay_ms(log, offsets.first_dirty, now.wall)?;
        self.metrics.max_compaction_delay_ms = self.metrics.max_compaction_delay_ms.max(delay_ms);
        Ok(LogToClean::new(log, offsets, delay_ms > 0))
    }

    /// Ends work on a partition, unless that was paused meanwhile. Says whether it was still in progress.
    fn release(&mut self, partition: &TopicPartition) -> bool {
        let is_in_progress = matches!(
            self.in_progress.get(partition),
            Some(InProgress::Cleaning(_) | InProgress::Deleting(_))
        );
        if is_in_progress {
            self.in_progress.remove(partition);
        }
        is_in_progress
    }

    /// A failing disk and a log that is gone are dealt with elsewhere; a log that cannot be cleaned is left alone.
    fn failed(&mut self, log: &UnifiedLog, failure: CleanError) {
        let partition = log.partition();
        match failure.into_storage(log) {
            Ok(storage) => warn!(%partition, "cleaning ended: {storage}"),
            Err(failure) => {
                error!(%partition, "cannot be cleaned, and will not be until the next start: {failure}");
                self.uncleanable.entry(log.log_dir()).or_default().insert(partition.clone());
            }
        }
    }

    fn clean_up_to(&self, dir: &Path, partition: &TopicPartition) -> Option<Offset> {
        self.dirs.get(dir)?.offsets.get(partition).copied()
    }

    fn set_clean_up_to(&mut self, dir: &Path, partition: &TopicPartition, offset: Option<Offset>) {
        let Some(cleaned) = self.dirs.get_mut(dir) else { return };
        match offset {
            Some(offset) => cleaned.offsets.insert(partition.clone(), offset),
            None => cleaned.offsets.remove(partition),
        };
        cleaned.write();
    }
}

impl CleanedOffsets {
    fn write(&self) {
        let entries: Vec<_> = self.offsets.iter().map(|(partition, offset)| (partition, *offset)).collect();
        if let Err(failure) = self.checkpoint.write(entries) {
            // What is cleaned again is not harmed by it.
            error!("cannot write the cleaner's checkpoint: {failure}");
        }
    }
}

fn discard(run: Option<CleanRun>) {
    if let Some(Err(failure)) = run.map(CleanRun::discard) {
        // Left-over files are removed when the log is loaded, or when it is cleaned again.
        warn!("cannot remove a half-cleaned segment: {failure}");
    }
}
