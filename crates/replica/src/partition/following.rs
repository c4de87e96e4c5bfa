use bytes::Bytes;
use ottla_log::leader_epoch_cache::EpochEndOffset;
use ottla_log::log_manager::LogManager;
use ottla_log::{AppendError, DeleteRecordsError, OffsetMetadata, StorageError};
use ottla_types::{LeaderEpoch, NodeId, Now, Offset};
use thiserror::Error;

use super::{Partition, Role, State};

/// Why nothing of what a leader has sent was taken.
#[derive(Debug, Error)]
pub(crate) enum FollowError {
    #[error("this node does not follow in leader epoch {0}")]
    NotFollowing(LeaderEpoch),
    #[error("the log ends at {log_end}, not where records were asked for")]
    Moved { log_end: Offset },
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FollowError {
    /// The log directory is full.
    pub fn is_no_space(&self) -> bool {
        matches!(
            self,
            FollowError::Append(AppendError::Storage(StorageError::NoSpace { .. }))
                | FollowError::Storage(StorageError::NoSpace { .. })
        )
    }
}

/// What a leader says of a partition beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderOffsets {
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

/// What taking over from the leader has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    pub has_appended: bool,
    pub has_advanced: bool,
}

impl Partition {
    /// The broker to fetch from, and the epoch in which it leads; none if nobody else leads.
    pub(crate) fn leader_to_follow(&self) -> Option<(NodeId, LeaderEpoch)> {
        let state = self.state.read();
        let State { assignment, role: Role::Follower, .. } = &*state else { return None };
        (assignment.leader != NodeId::NONE).then_some((assignment.leader, assignment.leader_epoch))
    }

    /// Where a follower is to fetch from, and the leader epoch of the last record that it has.
    pub(crate) fn follower_position(&self) -> (Offset, Option<LeaderEpoch>) {
        let log = self.log();
        (log.log_end_offset(), log.latest_epoch())
    }

    /// Appends what the leader of `leader_epoch` has from `at` on, and takes over how far it is replicated and where the
    /// log starts. A role that changes meanwhile waits.
    pub(crate) fn append_from_leader(
        &self,
        leader_epoch: LeaderEpoch,
        at: Offset,
        records: &Bytes,
        leader: LeaderOffsets,
        now: Now,
    ) -> Result<Followed, FollowError> {
        let state = self.state.read();
        self.check_follows(&state, leader_epoch)?;
        let log = self.log();
        let log_end = log.log_end_offset();
        if log_end != at {
            return Err(FollowError::Moved { log_end });
        }
        if !records.is_empty() {
            log.append_as_follower(records, leader_epoch, now)?;
        }
        let has_appended = log.log_end_offset() > at;
        // What was known to be on all replicas stays so, though a new leader may have to find it out once more.
        let high_watermark = OffsetMetadata::offset_only(leader.high_watermark);
        let has_advanced = log.maybe_increment_high_watermark(high_watermark).is_some();
        match log.maybe_increment_log_start_offset(leader.log_start_offset, "as the leader's") {
            // It follows when the high watermark does.
            Ok(_) | Err(DeleteRecordsError::BeyondHighWatermark { .. }) => {}
            Err(DeleteRecordsError::Storage(error)) => return Err(error.into()),
        }
        Ok(Followed { has_appended, has_advanced })
    }

    /// Takes away what is not in the leader's log: its largest epoch up to the follower's own last one ends at `leader`.
    /// If the follower does not have that epoch the two logs may part before it: the next fetch tells.
    pub(crate) fn truncate_to_leader(
        &self,
        logs: &LogManager,
        leader_epoch: LeaderEpoch,
        leader: EpochEndOffset,
        now: Now,
    ) -> Result<(), FollowError> {
        let state = self.state.read();
        self.check_follows(&state, leader_epoch)?;
        let own = self.log().end_offset_for_epoch(leader.epoch);
        let common = if own == EpochEndOffset::UNKNOWN {
            leader.end_offset
        } else if own.epoch == leader.epoch {
            own.end_offset.min(leader.end_offset)
        } else {
            own.end_offset
        };
        self.truncate(logs, leader_epoch, common, "the leader's log parts from this one", now)
    }

    /// Takes away what is above the high watermark, in a log that knows no epochs to compare.
    pub(crate) fn truncate_to_high_watermark(
        &self,
        logs: &LogManager,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<(), FollowError> {
        let state = self.state.read();
        self.check_follows(&state, leader_epoch)?;
        let log = self.log();
        let high_watermark = log.high_watermark();
        if high_watermark < log.log_end_offset() {
            self.truncate(logs, leader_epoch, high_watermark, "its leader epochs are not known", now)?;
        }
        Ok(())
    }

    /// Takes away what is above the leader's end: fewer replicas than all had it when one that had not was elected.
    pub(crate) fn truncate_to_leader_end(
        &self,
        logs: &LogManager,
        leader_epoch: LeaderEpoch,
        leader_end: Offset,
        now: Now,
    ) -> Result<(), FollowError> {
        let state = self.state.read();
        self.check_follows(&state, leader_epoch)?;
        self.truncate(logs, leader_epoch, leader_end, "the leader's log ends there", now)
    }

    /// Begins anew where the leader's log starts, if that is beyond this one.
    pub(crate) fn start_where_leader_starts(
        &self,
        logs: &LogManager,
        leader_epoch: LeaderEpoch,
        leader_start: Offset,
        now: Now,
    ) -> Result<(), FollowError> {
        let state = self.state.read();
        self.check_follows(&state, leader_epoch)?;
        let log_end = self.log().log_end_offset();
        if leader_start > log_end {
            self.tell_truncation(
                leader_epoch,
                leader_start,
                "the leader's log starts beyond the end of this one",
            );
            logs.truncate_fully_and_start_at(&self.log(), leader_start, None, now)?;
        }
        Ok(())
    }

    fn truncate(
        &self,
        logs: &LogManager,
        leader_epoch: LeaderEpoch,
        offset: Offset,
        reason: &'static str,
        now: Now,
    ) -> Result<(), FollowError> {
        self.tell_truncation(leader_epoch, offset, reason);
        // Where no record goes, an epoch without any may: the leader does not know it.
        logs.truncate_to(&self.log(), offset, now)?;
        Ok(())
    }

    /// From which end and epoch of its last record to which. What is above the high watermark was never acknowledged by all.
    fn tell_truncation(&self, leader_epoch: LeaderEpoch, end_to: Offset, reason: &'static str) {
        let log = self.log();
        let epoch_before = |end: Offset| {
            log.leader_epochs().epoch_for_offset(Offset(end.0 - 1)).unwrap_or(LeaderEpoch::NONE)
        };
        let end = log.log_end_offset();
        tracing::info!(partition = %self.id.topic_partition, reason, leader_epoch = %leader_epoch, end = %end,
            end_to = %end_to, epoch = %epoch_before(end), epoch_to = %epoch_before(end_to),
            high_watermark = %log.high_watermark(), "truncates its log");
    }

    fn check_follows(&self, state: &State, leader_epoch: LeaderEpoch) -> Result<(), FollowError> {
        match state.role {
            Role::Follower if state.assignment.leader_epoch == leader_epoch => Ok(()),
            _ => Err(FollowError::NotFollowing(leader_epoch)),
        }
    }
}
