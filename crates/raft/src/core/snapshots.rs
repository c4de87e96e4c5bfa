//! Snapshots of the log's prefix (KIP-630): created here, or fetched from the leader piece by piece.

use ottla_types::{NodeId, Now};

use super::{Action, RaftCore};
use crate::control::ControlRecord;
use crate::messages::{FetchSnapshotRequest, FetchSnapshotResponse, RaftError, SnapshotBytes};
use crate::quorum_state::{FetchingSnapshot, Role};
use crate::replica::OffsetAndEpoch;

impl RaftCore {
    pub(super) fn handle_fetch_snapshot(
        &mut self,
        request: FetchSnapshotRequest,
        now: Now,
    ) -> FetchSnapshotResponse {
        let refused = |core: &RaftCore, error| FetchSnapshotResponse {
            error: Some(error),
            leader: core.leader_info(),
            snapshot_id: OffsetAndEpoch::new(-1, -1),
            size: 0,
            position: 0,
            bytes: SnapshotBytes::None,
        };
        if !self.has_valid_cluster_id(&request.cluster_id) {
            return refused(self, RaftError::InconsistentClusterId);
        }
        if let Some(error) = self.validate_leader_request(request.current_leader_epoch) {
            return refused(self, error);
        }
        let Some(size) = self.log.snapshot_size(request.snapshot_id) else {
            return refused(self, RaftError::SnapshotNotFound);
        };
        if request.position >= size {
            return refused(self, RaftError::PositionOutOfRange);
        }
        if let Role::Leader(leader) = &mut self.quorum.role {
            leader.note_fetching_voter(&request.replica, now.mono);
        }
        FetchSnapshotResponse {
            error: None,
            leader: self.leader_info(),
            snapshot_id: request.snapshot_id,
            size,
            position: request.position,
            bytes: SnapshotBytes::FromFile {
                max_bytes: request.max_bytes.clamp(1, self.config.fetch_snapshot_max_bytes),
            },
        }
    }

    pub(super) fn handle_fetch_snapshot_response(
        &mut self,
        from: NodeId,
        response: FetchSnapshotResponse,
        now: Now,
    ) -> bool {
        let gone =
            matches!(response.error, Some(RaftError::SnapshotNotFound | RaftError::PositionOutOfRange));
        let common = if gone { None } else { response.error };
        if let Some(handled) = self.handle_common_response(from, common, &response.leader, now) {
            return handled;
        }
        let fetch_timeout_ms = self.config.fetch_timeout_ms;
        let Role::Follower(follower) = &mut self.quorum.role else {
            return true;
        };
        let Some(fetching) = follower.fetching_snapshot else {
            return true;
        };
        follower.fetch_deadline = now.mono.plus_ms(fetch_timeout_ms);
        if gone || response.snapshot_id.offset.value() < 0 || response.snapshot_id.epoch.value() < 0 {
            // The leader has a newer one by now: an ordinary fetch learns which.
            follower.fetching_snapshot = None;
            return true;
        }
        let bytes = match response.bytes {
            SnapshotBytes::Bytes(bytes) => bytes,
            SnapshotBytes::None | SnapshotBytes::FromFile { .. } => bytes::Bytes::new(),
        };
        let expected = response.error.is_none()
            && response.snapshot_id == fetching.id
            && response.position == fetching.position
            && fetching.position + bytes.len() as u64 <= response.size
            && !bytes.is_empty();
        if !expected {
            tracing::error!(snapshot = %fetching.id, "unexpected piece of a snapshot; beginning anew");
            follower.fetching_snapshot = None;
            return false;
        }
        let position = fetching.position + bytes.len() as u64;
        follower.fetching_snapshot = Some(FetchingSnapshot { id: fetching.id, position });
        self.actions.push(Action::WriteSnapshot { id: fetching.id, position: fetching.position, bytes });
        if position == response.size {
            self.actions.push(Action::InstallSnapshot { id: fetching.id });
        }
        true
    }

    pub(super) fn fetch_snapshot_request(&self, fetching: FetchingSnapshot) -> FetchSnapshotRequest {
        FetchSnapshotRequest {
            cluster_id: Some(self.config.cluster_id.clone()),
            replica: self.local.key,
            current_leader_epoch: self.quorum.epoch,
            snapshot_id: fetching.id,
            position: fetching.position,
            max_bytes: self.config.fetch_snapshot_max_bytes,
        }
    }

    pub(super) fn snapshot_created(&mut self, id: OffsetAndEpoch, size: u64) {
        self.log.snapshot_added(id, size);
        self.voters.truncate_old(id.offset);
    }

    pub(super) fn snapshot_installed(
        &mut self,
        id: OffsetAndEpoch,
        size: u64,
        control: Vec<ControlRecord>,
        now: Now,
    ) {
        self.log.replaced_by(id, size);
        self.voters.clear();
        for record in control {
            self.apply_control(id.offset - 1, record);
        }
        if let Role::Follower(follower) = &mut self.quorum.role {
            follower.fetching_snapshot = None;
            follower.fetch_deadline = now.mono.plus_ms(self.config.fetch_timeout_ms);
        }
        // Only what is committed is ever in a snapshot.
        self.advance_high_watermark(id.offset);
    }

    /// Harm on the way, perhaps, or on the leader's disk: it is asked for again after a while.
    pub(super) fn snapshot_refused(&mut self, now: Now) {
        if let Role::Follower(follower) = &mut self.quorum.role {
            follower.fetching_snapshot = None;
            let leader = follower.leader_id;
            self.connections.back_off(leader, now.mono);
        }
    }
}
