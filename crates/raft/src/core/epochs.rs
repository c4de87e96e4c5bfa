//! The beginning and the end of a leader's epoch, and resignation.

use ottla_types::{LeaderEpoch, NodeId, Now};

use super::RaftCore;
use crate::messages::{BeginQuorumEpochRequest, EndQuorumEpochRequest, EpochResponse, RaftError, Request};
use crate::quorum_state::Role;
use crate::replica::ReplicaKey;

/// Before the first successor of a leader that resigned stands.
const FIRST_SUCCESSOR_MS: i64 = 20;

impl RaftCore {
    pub(super) fn handle_begin_quorum_epoch(
        &mut self,
        request: BeginQuorumEpochRequest,
        now: Now,
    ) -> EpochResponse {
        if !self.has_valid_cluster_id(&request.cluster_id) {
            return self.epoch_response(Some(RaftError::InconsistentClusterId));
        }
        if let Some(error) = self.validate_epoch_request(request.leader_id, request.leader_epoch) {
            return self.epoch_response(Some(error));
        }
        let endpoints = self.endpoints_of(Some(request.leader_id), &request.leader_endpoints);
        if !self.maybe_transition(Some(request.leader_id), request.leader_epoch, endpoints, now) {
            return self.epoch_response(Some(RaftError::InvalidRequest));
        }
        if !self.is_meant(request.voter.as_ref()) {
            return self.epoch_response(Some(RaftError::InvalidVoterKey));
        }
        self.epoch_response(None)
    }

    pub(super) fn handle_begin_quorum_epoch_response(
        &mut self,
        from: NodeId,
        response: EpochResponse,
        now: Now,
    ) -> bool {
        self.handle_common_response(from, response.error, &response.leader, now)
            .unwrap_or(response.error.is_none())
    }

    pub(super) fn handle_end_quorum_epoch(
        &mut self,
        request: EndQuorumEpochRequest,
        now: Now,
    ) -> EpochResponse {
        if !self.has_valid_cluster_id(&request.cluster_id) {
            return self.epoch_response(Some(RaftError::InconsistentClusterId));
        }
        if let Some(error) = self.validate_epoch_request(request.leader_id, request.leader_epoch) {
            return self.epoch_response(Some(error));
        }
        let endpoints = self.endpoints_of(Some(request.leader_id), &request.leader_endpoints);
        if !self.maybe_transition(Some(request.leader_id), request.leader_epoch, endpoints, now) {
            return self.epoch_response(Some(RaftError::InvalidRequest));
        }
        let wait_ms = match request.preferred_candidates.as_slice() {
            // The process that led has ended, and the next one knows nobody's log: it is as if nobody listened there any more.
            [] => self.wait_after_gone_ms(request.leader_id),
            preferred => self.succession_backoff_ms(preferred),
        };
        if let Role::Follower(follower) = &mut self.quorum.role
            && follower.leader_id == request.leader_id
        {
            let deadline = now.mono.plus_ms(wait_ms);
            let is_restarted = request.preferred_candidates.is_empty();
            if !is_restarted || deadline < follower.fetch_deadline {
                follower.fetch_deadline = deadline;
                follower.why_over =
                    if is_restarted { "the leader's process has ended" } else { "the leader has resigned" };
            }
            // The leader itself says that it is gone, so others may be helped to take over.
            follower.has_fetched_from_leader = false;
            follower.has_leader_resigned = true;
        }
        self.epoch_response(None)
    }

    pub(super) fn handle_end_quorum_epoch_response(
        &mut self,
        from: NodeId,
        response: EpochResponse,
        now: Now,
    ) -> bool {
        if let Some(handled) = self.handle_common_response(from, response.error, &response.leader, now) {
            return handled;
        }
        if let Role::Resigned(state) = &mut self.quorum.role
            && response.error.is_none()
        {
            state.unacknowledged.remove(&from);
        }
        response.error.is_none()
    }

    /// How long to wait before trying to follow a leader that resigned: the one with the longest log tries as soon as the others
    /// should have heard of it, which would not help it before, and they after it, each waiting twice as long as the one before.
    fn succession_backoff_ms(&self, preferred: &[ReplicaKey]) -> i64 {
        let max = self.config.election_backoff_max_ms;
        match preferred.iter().position(|candidate| candidate.names(&self.local.key)) {
            Some(0) => FIRST_SUCCESSOR_MS.min(max),
            Some(position) => {
                let base = max >> (preferred.len() - 1).min(62);
                base.saturating_mul(1 << (position - 1).min(30)).min(max)
            }
            None => max,
        }
    }

    /// Tells the voters that haven't fetched lately who leads.
    pub(super) fn send_begin_quorum_epoch(&mut self, now: Now) {
        let Role::Leader(leader) = &mut self.quorum.role else {
            return;
        };
        if now.mono < leader.begin_epoch_at {
            return;
        }
        leader.notified(now.mono);
        let voters = leader.voters_to_notify(now.mono);
        for voter in voters {
            let Some(node) = self.voters.latest().node(voter.id, &self.config.controller_listener) else {
                continue;
            };
            if !self.connections.is_ready(node.id, now.mono) {
                continue;
            }
            let request = BeginQuorumEpochRequest {
                cluster_id: Some(self.config.cluster_id.clone()),
                voter: Some(voter),
                leader_id: self.local.id(),
                leader_epoch: self.quorum.epoch,
                leader_endpoints: self.local.listeners.clone(),
            };
            self.send(node, Request::BeginQuorumEpoch(request), now);
        }
    }

    /// Tells the voters that this replica leads no more.
    pub(super) fn send_end_quorum_epoch(&mut self, now: Now) {
        let Role::Resigned(state) = &self.quorum.role else {
            return;
        };
        let unacknowledged: Vec<NodeId> = state.unacknowledged.iter().copied().collect();
        let preferred_candidates = state.preferred_successors.clone();
        for voter in unacknowledged {
            let Some(node) = self.voters.latest().node(voter, &self.config.controller_listener) else {
                continue;
            };
            if !self.connections.is_ready(node.id, now.mono) {
                continue;
            }
            let request = EndQuorumEpochRequest {
                cluster_id: Some(self.config.cluster_id.clone()),
                leader_id: self.local.id(),
                leader_epoch: self.quorum.epoch,
                preferred_candidates: preferred_candidates.clone(),
                leader_endpoints: self.local.listeners.clone(),
            };
            self.send(node, Request::EndQuorumEpoch(request), now);
        }
    }

    /// What Vote, BeginQuorumEpoch and EndQuorumEpoch have in common.
    pub(super) fn validate_epoch_request(&self, remote: NodeId, epoch: LeaderEpoch) -> Option<RaftError> {
        if epoch < self.quorum.epoch {
            Some(RaftError::FencedLeaderEpoch)
        } else if remote.value() < 0 {
            Some(RaftError::InvalidRequest)
        } else {
            None
        }
    }

    /// What Fetch and FetchSnapshot have in common.
    pub(super) fn validate_leader_request(&self, epoch: LeaderEpoch) -> Option<RaftError> {
        if epoch < self.quorum.epoch {
            Some(RaftError::FencedLeaderEpoch)
        } else if epoch > self.quorum.epoch {
            Some(RaftError::UnknownLeaderEpoch)
        } else if !matches!(self.quorum.role, Role::Leader(_)) {
            Some(RaftError::NotLeaderOrFollower)
        } else if self.shutdown.is_some() {
            Some(RaftError::BrokerNotAvailable)
        } else {
            None
        }
    }

    /// None if there are no more.
    pub(super) fn next_epoch(&self) -> Option<LeaderEpoch> {
        self.quorum.epoch.value().checked_add(1).map(LeaderEpoch)
    }

    pub(super) fn epochs_are_used_up(&mut self) {
        self.halt(format!(
            "the quorum is in epoch {}, behind which there are none: no leader can be elected any more. What the topics hold can be \
             taken over into a new cluster",
            self.quorum.epoch.value()
        ));
    }

    fn epoch_response(&self, error: Option<RaftError>) -> EpochResponse {
        EpochResponse { error, leader: self.leader_info() }
    }
}
