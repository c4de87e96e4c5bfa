//! What a follower tells the leader of itself (KIP-853): a voter whose endpoints or versions are not those of the record, a
//! controller that wants to be a voter.

use ottla_types::{NodeId, Now};

use super::RaftCore;
use crate::messages::{
    AddRaftVoterRequest, EpochResponse, RaftError, RemoveRaftVoterRequest, Request, UpdateRaftVoterRequest,
    VoterChangeResponse,
};
use crate::quorum_state::Role;

impl RaftCore {
    /// Looks every now and then whether the leader is to be told something. Whether it was: the next fetch then waits for
    /// the answer.
    pub(super) fn maybe_tell_leader_of_itself(&mut self, now: Now) -> bool {
        let Role::Follower(follower) = &self.quorum.role else { return false };
        if self.shutdown.is_some() || follower.update_voter_at > now.mono {
            return false;
        }
        let request = self.membership_request();
        let node = self.leader_node();
        let is_ready = node.as_ref().is_some_and(|node| self.connections.is_ready(node.id, now.mono));
        if request.is_some() && !is_ready {
            return false;
        }
        let next = now.mono.plus_ms(self.config.fetch_timeout_ms);
        if let Role::Follower(follower) = &mut self.quorum.role {
            follower.update_voter_at = next;
        }
        let (Some(request), Some(node)) = (request, node) else { return false };
        tracing::info!(
            node = self.local.id().value(),
            epoch = self.quorum.epoch.value(),
            leader = node.id.value(),
            request = ?request.api(),
            "telling the leader of this replica"
        );
        self.send(node, request, now);
        true
    }

    fn membership_request(&self) -> Option<Request> {
        let Role::Follower(follower) = &self.quorum.role else { return None };
        let voters = self.voters.latest();
        let is_dynamic = self.voters.latest_kraft_version() >= 1;
        let cluster_id = Some(self.config.cluster_id.clone());
        if self.is_voter() {
            let voter = self.local_voter();
            let is_due = match is_dynamic {
                true => voters.needs_update(&voter),
                // So that the leader can raise kraft.version.
                false => !follower.is_known_to_leader && voter.key.directory_id.is_some(),
            };
            let current_leader_epoch = self.quorum.epoch;
            let request = UpdateRaftVoterRequest { cluster_id, current_leader_epoch, voter };
            return is_due.then_some(Request::UpdateRaftVoter(request));
        }
        let may_vote = !self.local.listeners.is_empty();
        if !self.config.auto_join || !is_dynamic || !may_vote {
            return None;
        }
        Some(match voters.get(self.local.id()) {
            // This node's id with the directory that it had before.
            Some(old) => Request::RemoveRaftVoter(RemoveRaftVoterRequest { cluster_id, voter: old.key }),
            None => Request::AddRaftVoter(AddRaftVoterRequest {
                cluster_id,
                voter: self.local.key,
                listeners: self.local.listeners.clone(),
                ack_when_committed: false,
                timeout_ms: i32::try_from(self.config.request_timeout_ms).unwrap_or(i32::MAX),
            }),
        })
    }

    pub(super) fn handle_update_raft_voter_response(
        &mut self,
        from: NodeId,
        response: EpochResponse,
        now: Now,
    ) -> bool {
        if let Some(handled) = self.handle_common_response(from, response.error, &response.leader, now) {
            return handled;
        }
        match response.error {
            None => {
                if let Role::Follower(follower) = &mut self.quorum.role {
                    follower.is_known_to_leader = true;
                }
            }
            Some(error) => self.not_told(from, error, None),
        }
        true
    }

    /// The leader's answer to what this replica asked for itself. It asks again after a while, as long as it is needed.
    pub(super) fn handle_voter_change_response(&self, from: NodeId, response: VoterChangeResponse) -> bool {
        if let Some(error) = response.error {
            self.not_told(from, error, response.message);
        }
        true
    }

    fn not_told(&self, leader: NodeId, error: RaftError, why: Option<String>) {
        tracing::info!(
            node = self.local.id().value(),
            epoch = self.quorum.epoch.value(),
            leader = leader.value(),
            ?error,
            why,
            "the leader does not change the voters for this replica"
        );
    }
}
