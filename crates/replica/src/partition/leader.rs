use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_log::producer_state::VerificationGuard;
use ottla_log::{AppendError, DeleteRecordsError, LeaderAppend, LogAppendInfo};
use ottla_types::{LeaderEpoch, NodeId, Now, Offset, ProducerEpoch, ProducerId};
use ottla_wire::ErrorCode;

use super::{Partition, Reader, Role, State};
use crate::assignment::Assignment;
use crate::errors;
use crate::produce::ProduceParams;

/// A batch that is in the leader's log.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    pub info: LogAppendInfo,
    /// The leader epoch of its records, by which they are known again. Another than that of the append where they had been
    /// appended before; none if that is not known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The high watermark reached further with it.
    pub has_advanced: bool,
}

/// Why nothing was appended.
#[derive(Debug)]
pub enum LeaderAppendError {
    /// This node is not the one to ask, or too few replicas are in sync.
    Refused(ErrorCode),
    Log(AppendError),
}

impl Partition {
    /// Appends a batch if this node leads. Where all replicas are to have it, the ISR must be as large as the topic demands.
    pub(crate) fn append(
        &self,
        records: &Bytes,
        params: &ProduceParams,
        verification_guard: VerificationGuard,
        now: Now,
    ) -> Result<Appended, LeaderAppendError> {
        let state = self.state.read();
        let assignment = &state.assignment;
        self.check_takes(&state, params).map_err(|code| {
            self.held_back.refused(records, now.mono);
            LeaderAppendError::Refused(code)
        })?;
        let log = self.log();
        if self.held_back.is_behind(records, now.mono, |producer| log.knows_producer(producer)) {
            return Err(LeaderAppendError::Refused(ErrorCode::NotEnoughReplicas));
        }
        let append = LeaderAppend {
            verification_guard,
            transaction_version: params.transaction_version,
            ..LeaderAppend::new(assignment.leader_epoch, params.origin)
        };
        let info = log.append_as_leader(records, &append, now).map_err(|error| {
            // Smaller ones may have room.
            if matches!(error, AppendError::Storage(_)) {
                self.held_back.refused(records, now.mono);
            }
            LeaderAppendError::Log(error)
        })?;
        self.held_back.appended(records);
        let leader_epoch = match info.is_duplicate {
            true => log.leader_epochs().epoch_for_offset(info.last_offset),
            false => Some(assignment.leader_epoch),
        };
        Ok(Appended { info, leader_epoch, has_advanced: self.advance_high_watermark(&state, now.mono) })
    }

    fn check_takes(&self, state: &State, params: &ProduceParams) -> Result<(), ErrorCode> {
        self.check_leads(state)?;
        if params.required_acks == -1 && !self.has_enough_in_sync(&state.assignment) {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        Ok(())
    }

    /// Before a transactional batch is appended: whether the transaction's coordinator has to be asked, and what the append
    /// must bring (KIP-890). `supports_epoch_bump`: the client bumps its epoch with each transaction.
    pub fn start_verification(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: i32,
        supports_epoch_bump: bool,
        now: Now,
    ) -> Result<VerificationGuard, ErrorCode> {
        let state = self.state.read();
        self.check_leads(&state)?;
        self.log()
            .start_verification(producer_id, epoch, sequence, supports_epoch_bump, now)
            .map_err(|error| errors::of_producer_state(&error))
    }

    pub(super) fn check_serves(
        &self,
        state: &State,
        reader: &Reader,
        knows: LeaderEpoch,
    ) -> Result<(), ErrorCode> {
        match state.role {
            // One that follows nobody may have led, in this very epoch, with more in its log than it has now.
            Role::Follower
                if state.assignment.leader != NodeId::NONE && reader.may_read_from_followers(knows) =>
            {
                Ok(())
            }
            _ => self.check_leads(state),
        }
    }

    pub(super) fn check_leads(&self, state: &State) -> Result<(), ErrorCode> {
        match state.role {
            Role::Leader(_) => Ok(()),
            Role::Follower => Err(ErrorCode::NotLeaderOrFollower),
            Role::Gone(code) => Err(code),
        }
    }

    /// Whether everything below `offset` is on as many replicas as acks=all asks for. An error if this node no longer
    /// leads, if what was appended there in `written_in` has been cut off since, or if too few replicas are in sync by the time
    /// that it is.
    pub(crate) fn is_replicated_up_to(
        &self,
        offset: Offset,
        written_in: Option<LeaderEpoch>,
    ) -> Result<bool, ErrorCode> {
        let state = self.state.read();
        self.check_leads(&state)?;
        if let Some(written_in) = written_in
            && written_in != state.assignment.leader_epoch
            && let Some(there) = self.log().leader_epochs().epoch_for_offset(offset - 1)
            && there != written_in
        {
            // Another has led meanwhile, who did not have it.
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if self.log().high_watermark() < offset {
            return Ok(false);
        }
        let in_sync = match &state.role {
            Role::Leader(leading) => leading.maximal_isr_len(&state.assignment),
            Role::Follower | Role::Gone(_) => 0,
        };
        if in_sync < self.min_in_sync(&state.assignment) {
            return Err(ErrorCode::NotEnoughReplicasAfterAppend);
        }
        Ok(true)
    }

    pub(super) fn has_enough_in_sync(&self, assignment: &Assignment) -> bool {
        assignment.isr.len() >= self.min_in_sync(assignment)
    }

    /// A topic with fewer replicas than `min.insync.replicas` needs all of them.
    fn min_in_sync(&self, assignment: &Assignment) -> usize {
        self.min_insync_replicas.load(Ordering::Relaxed).min(assignment.replicas.len())
    }

    /// Moves the log start offset to `offset`, or with -1 to the high watermark. Returns where it is then.
    pub(crate) fn delete_records(&self, offset: Offset) -> Result<Offset, ErrorCode> {
        let state = self.state.read();
        self.check_leads(&state)?;
        let config = self.log().config();
        if !config.cleanup_policy.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let target = if offset == Offset::UNKNOWN { self.log().high_watermark() } else { offset };
        if target < Offset::ZERO {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        match self.log().maybe_increment_log_start_offset(target, "records were deleted by request") {
            Ok(_) => Ok(target),
            Err(error @ DeleteRecordsError::BeyondHighWatermark { .. }) => {
                tracing::debug!(partition = %self.id.topic_partition, %error, "records were not deleted");
                Err(ErrorCode::OffsetOutOfRange)
            }
            Err(DeleteRecordsError::Storage(error)) => Err(crate::errors::of_storage(&error)),
        }
    }
}
