//! What has to be done from time to time.

use ottla_types::{MonoMs, Now};
use tracing::{debug, info};

use super::{DirFailed, LogManager, LogManagerConfig};

/// What happened during a tick that others must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogManagerEvents {
    pub failed_dirs: Vec<DirFailed>,
}

/// When each kind of work is due next.
#[derive(Debug)]
pub(super) struct Schedule {
    flush: MonoMs,
    recovery_points: MonoMs,
    log_start_offsets: MonoMs,
    high_watermarks: MonoMs,
    retention: MonoMs,
    producer_expiration: MonoMs,
}

impl Schedule {
    pub fn starting(config: &LogManagerConfig, now: Now) -> Schedule {
        let first = now.mono.plus_ms(config.initial_task_delay_ms);
        Schedule {
            flush: first,
            recovery_points: first,
            log_start_offsets: first,
            high_watermarks: now.mono.plus_ms(config.high_watermark_checkpoint_ms),
            retention: first,
            producer_expiration: now.mono.plus_ms(config.producer_expiration_check_ms),
        }
    }
}

/// Whether work is due; if so it is again in `interval_ms`.
fn is_due(due: &mut MonoMs, interval_ms: i64, now: Now) -> bool {
    let is_due = *due <= now.mono;
    if is_due {
        *due = now.mono.plus_ms(interval_ms.max(1));
    }
    is_due
}

impl LogManager {
    /// Does what is due. It waits for the disk.
    pub fn tick(&self, now: Now) -> LogManagerEvents {
        self.context.deferred.run_due(now);
        self.remove_deleted(now);
        let config = self.config.read().clone();
        let due = |field: fn(&mut Schedule) -> &mut MonoMs, interval_ms| {
            is_due(field(&mut self.schedule.lock()), interval_ms, now)
        };
        if due(|schedule| &mut schedule.flush, config.flush_check_ms) {
            self.flush_dirty_logs(now);
        }
        if due(|schedule| &mut schedule.recovery_points, config.recovery_point_checkpoint_ms) {
            self.checkpoint_recovery_points();
        }
        if due(|schedule| &mut schedule.log_start_offsets, config.log_start_offset_checkpoint_ms) {
            self.checkpoint_log_start_offsets();
        }
        if due(|schedule| &mut schedule.high_watermarks, config.high_watermark_checkpoint_ms) {
            self.checkpoint_high_watermarks();
        }
        if due(|schedule| &mut schedule.retention, config.retention_check_ms) {
            self.delete_old_segments(now);
        }
        if due(|schedule| &mut schedule.producer_expiration, config.producer_expiration_check_ms) {
            self.remove_expired_producers(now);
        }
        LogManagerEvents { failed_dirs: self.take_failed_dirs_offline() }
    }

    /// When the next tick has something to do, as far as is known now.
    pub fn next_tick(&self) -> MonoMs {
        let schedule = self.schedule.lock();
        let periodic = [
            schedule.flush,
            schedule.recovery_points,
            schedule.log_start_offsets,
            schedule.high_watermarks,
            schedule.retention,
            schedule.producer_expiration,
        ];
        let deferred = self.context.deferred.next_due();
        let failures = (!self.context.failures.to_act_on().is_empty()).then_some(MonoMs(0));
        let others = deferred.into_iter().chain(failures).chain(self.next_removal());
        periodic.into_iter().chain(others).min().unwrap_or(MonoMs::NEVER)
    }

    /// Flushes the logs whose `flush.ms` is over.
    pub fn flush_dirty_logs(&self, now: Now) {
        for log in self.all_logs() {
            let flush_ms = log.config().flush_ms;
            if log.unflushed_records() > 0 && log.last_flush().plus_ms(flush_ms) <= now.mono {
                // What goes wrong has been reported.
                let _ = log.flush(now);
            }
        }
    }

    /// Removes old segments of the logs that are not compacted; those of the others are the cleaner's. Returns how many.
    pub fn delete_old_segments(&self, now: Now) -> usize {
        let paused = self.cleaner.pause_not_compacted(&self.logs());
        let mut future = self.future_logs();
        future.retain(|log| !log.config().cleanup_policy.compact);
        let mut deleted = 0;
        for log in paused.iter().chain(&future) {
            match log.delete_old_segments(now) {
                Ok(segments) => deleted += segments,
                Err(error) => debug!(partition = %log.partition(), "retention: {error}"),
            }
        }
        for log in paused {
            self.cleaner.resume(log.partition());
        }
        if deleted > 0 {
            info!(segments = deleted, "retention is done");
        }
        deleted
    }

    pub fn remove_expired_producers(&self, now: Now) {
        for log in self.all_logs() {
            log.remove_expired_producers(now);
        }
    }
}
