//! A replica's log in another directory takes the place of the one that it was copied from.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_log::UnifiedLog;
use ottla_log::log_manager::LogManager;
use ottla_types::{Now, Uuid};

use super::{Partition, Role};
use crate::moves::{MoveError, copy_some, is_behind};

impl Partition {
    /// Puts `future` in the log's place if it has everything; what has come since it had is copied first. False: that is too
    /// much to keep everybody waiting. Nothing is appended, truncated or read for a reader meanwhile. `unique` is random.
    pub(crate) fn replace_log(
        &self,
        logs: &LogManager,
        future: &Arc<UnifiedLog>,
        unique: Uuid,
        now: Now,
    ) -> Result<bool, MoveError> {
        let state = self.change_state();
        let current = self.log();
        copy_some(logs, &current, future, now)?;
        if is_behind(&current, future) {
            return Ok(false);
        }
        // An epoch in which nothing was written is in no batch.
        if let Some(epoch) = current.latest_epoch().filter(|epoch| future.latest_epoch() != Some(*epoch)) {
            future.assign_epoch_start_offset(epoch, future.log_end_offset());
        }
        future.flush(now)?;
        // It may have been made just before the topic's settings changed.
        future.update_config(current.config());
        let id = self.topic_partition();
        let replaced = logs.replace_current_with_future(id, unique, now);
        // The old directory may have failed when it was to be deleted.
        if logs.log(id).is_some_and(|log| Arc::ptr_eq(&log, future)) {
            future.take_over_verifications(&current);
            current.set_observer(None);
            future.set_observer(Some(Arc::clone(&self.subscribers) as _));
            self.log.store(Arc::clone(future));
            self.log_generation.fetch_add(1, Ordering::AcqRel);
            if let Role::Leader(leading) = &state.role {
                leading.forget_places();
            }
            return Ok(true);
        }
        replaced?;
        Ok(false)
    }
}
