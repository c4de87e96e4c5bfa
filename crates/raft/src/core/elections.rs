//! Votes and pre-votes (KIP-595, KIP-996).

use ottla_types::{NodeId, Now};

use super::RaftCore;
use crate::messages::{RaftError, Request, VoteRequest, VoteResponse};
use crate::quorum_state::Role;
use crate::replica::ReplicaKey;

/// The voters that notice the end of a leader do not all stand at once, which would split the votes and cost an election
/// timeout: each waits so long for each voter before it, and a little by chance.
const GONE_LEADER_TURN_MS: i64 = 150;
const GONE_LEADER_JITTER_MS: i64 = 20;

impl RaftCore {
    pub(super) fn handle_vote(&mut self, request: VoteRequest, now: Now) -> VoteResponse {
        if !self.has_valid_cluster_id(&request.cluster_id) {
            return self.vote_response(Some(RaftError::InconsistentClusterId), false);
        }
        let VoteRequest { replica, replica_epoch, last_offset, pre_vote, .. } = request;
        // A candidate can't have records of the epoch that it only begins.
        let impossible =
            if pre_vote { last_offset.epoch > replica_epoch } else { last_offset.epoch >= replica_epoch };
        if impossible || last_offset.offset.value() < 0 || last_offset.epoch.value() < 0 {
            return self.vote_response(Some(RaftError::InvalidRequest), false);
        }
        if let Some(error) = self.validate_epoch_request(replica.id, replica_epoch) {
            return self.vote_response(Some(error), false);
        }
        if replica_epoch > self.quorum.epoch {
            self.become_unattached(replica_epoch, None, "another begins an epoch", now);
        }
        if !self.is_meant(request.voter.as_ref()) {
            return self.vote_response(Some(RaftError::InvalidVoterKey), false);
        }
        let up_to_date = last_offset >= self.log.end();
        let granted = self.quorum.can_grant_vote(&replica, up_to_date, pre_vote);
        if granted && !pre_vote && self.quorum.voted(&self.local.key).is_none() {
            self.add_vote(replica, now);
        }
        tracing::info!(
            node = self.local.id().value(),
            candidate = %replica,
            epoch = replica_epoch.value(),
            pre_vote,
            granted,
            candidate_end = %last_offset,
            own_end = %self.log.end(),
            "vote request"
        );
        self.vote_response(None, granted)
    }

    pub(super) fn handle_vote_response(&mut self, from: NodeId, response: VoteResponse, now: Now) -> bool {
        if response.error == Some(RaftError::UnsupportedVersion) {
            // A voter that doesn't know pre-votes can't object to one.
            if let Role::Prospective(state) = &mut self.quorum.role {
                state.election.record(from, true);
                self.maybe_win(now);
                return true;
            }
            return false;
        }
        if let Some(handled) = self.handle_common_response(from, response.error, &response.leader, now) {
            return handled;
        }
        if response.error.is_some() {
            return false;
        }
        let election = match &mut self.quorum.role {
            Role::Prospective(state) => &mut state.election,
            Role::Candidate(state) => &mut state.election,
            _ => return true,
        };
        if !election.record(from, response.vote_granted) {
            return true;
        }
        if response.vote_granted {
            self.maybe_win(now);
        } else if election.is_rejected() {
            tracing::info!(rejecting = ?election.rejecting(), "the election can't be won");
            // A candidate waits for its timeout; a pre-vote cost nothing and ends here.
            if matches!(self.quorum.role, Role::Prospective(_)) {
                self.prospective_lost("no majority would vote for it", now);
            }
        }
        true
    }

    /// The leader's process has ended: there is no need to wait for its silence. This only lets a pre-vote come sooner, which
    /// those refuse who still hear of the leader.
    pub(super) fn process_is_gone(&mut self, node: NodeId, now: Now) {
        let may_stand = self.may_stand();
        let wait_ms = self.wait_after_gone_ms(node);
        if let Role::Follower(follower) = &mut self.quorum.role
            && follower.leader_id == node
            && may_stand
        {
            let deadline = now.mono.plus_ms(wait_ms);
            if deadline < follower.fetch_deadline {
                follower.fetch_deadline = deadline;
                follower.why_over = "the leader's process has ended";
            }
            follower.has_fetched_from_leader = false;
        }
    }

    /// Each voter in its turn, since nobody knows whose log is the longest.
    pub(super) fn wait_after_gone_ms(&mut self, leader: NodeId) -> i64 {
        let before = self.voters.latest().iter().map(|voter| voter.key.id);
        let before = before.filter(|id| *id != leader && *id < self.local.id()).count();
        let turn_ms = GONE_LEADER_TURN_MS * i64::try_from(before).unwrap_or(0);
        turn_ms + self.jitter.below(GONE_LEADER_JITTER_MS)
    }

    /// Back to the leader that was known before, or to waiting.
    pub(super) fn prospective_lost(&mut self, why: &'static str, now: Now) {
        let Role::Prospective(state) = &self.quorum.role else {
            return;
        };
        let (leader_id, endpoints) = (state.leader_id, state.leader_endpoints.clone());
        let epoch = self.quorum.epoch;
        match leader_id {
            Some(id)
                if id != self.local.id() && endpoints.get(&self.config.controller_listener).is_some() =>
            {
                self.become_follower(epoch, id, endpoints, why, now);
            }
            leader_id => self.become_unattached(epoch, leader_id, why, now),
        }
    }

    /// Asks the voters that haven't answered yet, as long as it can still be won.
    pub(super) fn send_vote_requests(&mut self, now: Now) {
        let (election, pre_vote) = match &self.quorum.role {
            Role::Prospective(state) => (&state.election, true),
            Role::Candidate(state) => (&state.election, false),
            _ => return,
        };
        if election.is_rejected() {
            return;
        }
        let unrecorded: Vec<ReplicaKey> = election.unrecorded().collect();
        for voter in unrecorded {
            let Some(node) = self.voters.latest().node(voter.id, &self.config.controller_listener) else {
                continue;
            };
            if !self.connections.is_ready(node.id, now.mono) {
                continue;
            }
            let request = VoteRequest {
                cluster_id: Some(self.config.cluster_id.clone()),
                voter: Some(voter),
                replica: self.local.key,
                replica_epoch: self.quorum.epoch,
                last_offset: self.log.end(),
                pre_vote,
            };
            self.send(node, Request::Vote(request), now);
        }
    }

    fn vote_response(&self, error: Option<RaftError>, vote_granted: bool) -> VoteResponse {
        VoteResponse { error, leader: self.leader_info(), vote_granted }
    }

    /// Whether a request that names a voter means this replica.
    pub(super) fn is_meant(&self, voter: Option<&ReplicaKey>) -> bool {
        voter.is_none_or(|voter| voter.names(&self.local.key))
    }
}
