//! Changes of role: what is written, who is told, which waits end.

use std::collections::BTreeSet;

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, Uuid};

use super::{Action, RaftCore};
use crate::accumulator::Accumulator;
use crate::control::{ControlRecord, LeaderChange};
use crate::election::{ElectionState, EpochElection};
use crate::messages::{FetchResponse, FetchedRecords, RaftError, Response};
use crate::quorum_state::{
    Candidate, Follower, LEADER_IS_SILENT, LeaderAndEpoch, Prospective, Resigned, Role, Unattached,
};
use crate::replica::{Endpoints, ReplicaKey};
use crate::replication::LeaderState;
use crate::voter_set::VoterNode;

impl RaftCore {
    /// The role to start in: the one of before, except that a leader starts as one that has resigned.
    pub(super) fn initialize(&mut self, election: Option<ElectionState>, now: Now) {
        let voters = self.voters.latest().clone();
        let election =
            election.unwrap_or_else(|| ElectionState::unknown_leader(LeaderEpoch(0), voters.ids()));
        let local = self.local.key;
        let deadline = match self.may_stand() {
            true => self.random_election_deadline(now),
            false => MonoMs::NEVER,
        };
        let log_epoch = self.log.last_epoch();
        let unattached =
            |leader_id, voted| Role::Unattached(Unattached { leader_id, voted, election_deadline: deadline });
        self.quorum.epoch = election.epoch.max(log_epoch);
        self.quorum.role = if election.epoch < log_epoch {
            tracing::warn!(
                file_epoch = election.epoch.value(),
                log_epoch = log_epoch.value(),
                "the quorum-state file is older than the log"
            );
            unattached(None, None)
        } else if election.leader_id == Some(local.id) {
            Role::Resigned(Resigned {
                unacknowledged: voters.ids().into_iter().filter(|id| *id != local.id).collect(),
                preferred_successors: Vec::new(),
                // Also of one that was removed while it led: it waits for nobody to take it back.
                election_deadline: self.random_election_deadline(now),
            })
        } else if election.leader_id.is_none() && election.has_voted_for(&local) && self.may_stand() {
            let election = own_vote(EpochElection::new(&voters), local.id);
            Role::Candidate(Candidate { election, election_deadline: deadline })
        } else if let Some(leader_id) = election.leader_id {
            let leader_endpoints = voters.endpoints(leader_id);
            if leader_endpoints.get(&self.config.controller_listener).is_none() {
                unattached(Some(leader_id), election.voted_key)
            } else {
                Role::Follower(self.new_follower(leader_id, leader_endpoints, election.voted_key, now))
            }
        } else {
            unattached(None, election.voted_key)
        };
        self.persist();
        if matches!(self.quorum.role, Role::Candidate(_)) {
            self.maybe_win(now);
        }
        if voters.is_only_voter(&local) && !matches!(self.quorum.role, Role::Leader(_)) {
            // Nobody else can lead or object: no need to wait for a timeout.
            self.become_prospective("it is the only voter", now);
        }
    }

    pub(super) fn become_unattached(
        &mut self,
        epoch: LeaderEpoch,
        leader_id: Option<NodeId>,
        why: &'static str,
        now: Now,
    ) {
        let same_epoch = epoch == self.quorum.epoch;
        let voted = if same_epoch { self.quorum.voted(&self.local.key) } else { None };
        let election_deadline = if !self.may_stand() {
            MonoMs::NEVER
        } else {
            match self.quorum.remaining_election_deadline() {
                Some(deadline) => deadline,
                None => self.random_election_deadline(now),
            }
        };
        let role = Role::Unattached(Unattached { leader_id, voted, election_deadline });
        self.change_role(epoch, role, why);
    }

    /// Notes a vote for another replica, in the current epoch.
    pub(super) fn add_vote(&mut self, candidate: ReplicaKey, now: Now) {
        // The candidate has at least as good a chance as this replica: let it try first.
        let deadline = self.random_election_deadline(now);
        match &mut self.quorum.role {
            Role::Unattached(state) => {
                state.voted = Some(candidate);
                state.election_deadline = deadline;
            }
            Role::Prospective(state) => {
                state.voted = Some(candidate);
                state.election_deadline = deadline;
            }
            _ => return,
        }
        self.persist();
    }

    pub(super) fn become_prospective(&mut self, why: &'static str, now: Now) {
        let local = self.local.key;
        let election = own_vote(EpochElection::new(self.voters.latest()), local.id);
        let role = Role::Prospective(Prospective {
            leader_id: self.quorum.leader_id(local.id),
            leader_endpoints: self.leader_endpoints(),
            voted: self.quorum.voted(&local),
            election,
            election_deadline: self.random_election_deadline(now),
        });
        self.change_role(self.quorum.epoch, role, why);
        self.maybe_win(now);
    }

    fn become_candidate(&mut self, now: Now) {
        let Some(epoch) = self.next_epoch() else { return self.epochs_are_used_up() };
        let election = own_vote(EpochElection::new(self.voters.latest()), self.local.id());
        let election_deadline = self.random_election_deadline(now);
        let role = Role::Candidate(Candidate { election, election_deadline });
        self.change_role(epoch, role, "a majority would vote for it");
        self.maybe_win(now);
    }

    /// From Prospective to Candidate, or from Candidate to Leader, once the votes allow.
    pub(super) fn maybe_win(&mut self, now: Now) {
        match &self.quorum.role {
            Role::Prospective(state) if state.election.is_granted() => self.become_candidate(now),
            Role::Candidate(state) if state.election.is_granted() => {
                let election = state.election.clone();
                self.become_leader(&election, now);
            }
            _ => {}
        }
    }

    fn become_leader(&mut self, election: &EpochElection, now: Now) {
        let epoch = self.quorum.epoch;
        let accumulator = Accumulator::new(
            epoch,
            self.log.end_offset(),
            self.config.append_linger_ms,
            self.config.max_batch_size_bytes,
            self.config.max_pending_bytes,
        );
        let mut leader = LeaderState::new(
            self.local.key,
            accumulator,
            &self.log,
            self.voters.latest(),
            self.config.fetch_timeout_ms,
            now.mono,
        );
        if let Some(told) = leader.told_voters.with_updated_node(self.local_voter()) {
            leader.told_voters = told;
        }
        // Nothing commits before a record of this epoch does, so the first one is written at once.
        leader.accumulator.append_control(self.start_of_epoch_records(election), now);
        self.change_role(epoch, Role::Leader(Box::new(leader)), "a majority voted for it");
    }

    /// The records that begin an epoch; under `kraft.version` 1 also the voters, if they were never written to the log or
    /// this replica's own endpoints changed.
    fn start_of_epoch_records(&self, election: &EpochElection) -> Vec<ControlRecord> {
        let voters = self.voters.latest();
        let kraft_version = self.voters.latest_kraft_version();
        // Kafka doesn't write the directory ids that version 1 of the record has room for.
        let without_directories =
            |ids: BTreeSet<NodeId>| ids.into_iter().map(|id| (id, Uuid::ZERO)).collect();
        let mut records = vec![ControlRecord::LeaderChange(LeaderChange {
            version: 0,
            leader_id: self.local.id(),
            voters: without_directories(voters.ids()),
            granting_voters: without_directories(election.granting()),
        })];
        if kraft_version >= 1 {
            let local = self.local_voter();
            let never_logged = self.voters.latest_offset().is_none_or(|offset| offset.value() < 0);
            if never_logged || voters.needs_update(&local) {
                records.push(ControlRecord::KRaftVersion(kraft_version));
                let updated = voters.with_updated_voter(local).unwrap_or_else(|| voters.clone());
                records.push(ControlRecord::Voters(updated));
            }
        }
        records
    }

    pub(super) fn local_voter(&self) -> VoterNode {
        VoterNode {
            key: self.local.key,
            listeners: self.local.listeners.clone(),
            supported_kraft_version: self.local.supported_kraft_version,
        }
    }

    pub(super) fn become_resigned(&mut self, why: &'static str, now: Now) {
        let Role::Leader(leader) = &self.quorum.role else {
            return;
        };
        let preferred_successors = leader.preferred_successors();
        let local = self.local.id();
        let role = Role::Resigned(Resigned {
            unacknowledged: self.voters.latest().ids().into_iter().filter(|id| *id != local).collect(),
            preferred_successors,
            election_deadline: self.random_election_deadline(now),
        });
        self.change_role(self.quorum.epoch, role, why);
    }

    pub(super) fn become_follower(
        &mut self,
        epoch: LeaderEpoch,
        leader_id: NodeId,
        endpoints: Endpoints,
        why: &'static str,
        now: Now,
    ) {
        let voted = if epoch == self.quorum.epoch { self.quorum.voted(&self.local.key) } else { None };
        let follower = self.new_follower(leader_id, endpoints, voted, now);
        self.change_role(epoch, Role::Follower(follower), why);
    }

    fn new_follower(
        &self,
        leader_id: NodeId,
        leader_endpoints: Endpoints,
        voted: Option<ReplicaKey>,
        now: Now,
    ) -> Follower {
        Follower {
            leader_id,
            leader_endpoints,
            voted,
            fetch_deadline: now.mono.plus_ms(self.config.fetch_timeout_ms),
            why_over: LEADER_IS_SILENT,
            has_fetched_from_leader: false,
            has_leader_resigned: false,
            fetching_snapshot: None,
            update_voter_at: now.mono.plus_ms(self.config.fetch_timeout_ms),
            is_known_to_leader: false,
        }
    }

    /// Follows what a message says about leader and epoch. Returns whether it could be true.
    pub(super) fn maybe_transition(
        &mut self,
        leader_id: Option<NodeId>,
        epoch: LeaderEpoch,
        endpoints: Endpoints,
        now: Now,
    ) -> bool {
        if !self.is_consistent_leader(leader_id, epoch) {
            tracing::error!(
                ?leader_id,
                epoch = epoch.value(),
                known = ?self.leader_and_epoch(),
                "a message names another leader for the same epoch"
            );
            return false;
        }
        let reachable = endpoints.get(&self.config.controller_listener).is_some();
        if epoch > self.quorum.epoch {
            match leader_id {
                Some(leader_id) if reachable => {
                    self.become_follower(epoch, leader_id, endpoints, "another leads a later epoch", now);
                }
                leader_id => self.become_unattached(epoch, leader_id, "a later epoch has begun", now),
            }
        } else if epoch == self.quorum.epoch
            && let Some(leader_id) = leader_id
            && reachable
            && leader_id != self.local.id()
        {
            let known = self.quorum.leader_id(self.local.id()).is_some();
            let more = endpoints.len() > self.leader_endpoints().len();
            if !known || more {
                let why =
                    if known { "the leader tells more of its endpoints" } else { "the leader is known now" };
                self.become_follower(epoch, leader_id, endpoints, why, now);
            }
        }
        true
    }

    fn is_consistent_leader(&self, leader_id: Option<NodeId>, epoch: LeaderEpoch) -> bool {
        let Some(leader_id) = leader_id else {
            return true;
        };
        let local = self.local.id();
        if leader_id == local {
            return epoch <= self.quorum.epoch
                && (epoch < self.quorum.epoch || self.quorum.leader_id(local) == Some(local));
        }
        epoch != self.quorum.epoch || self.quorum.leader_id(local).is_none_or(|known| known == leader_id)
    }

    fn change_role(&mut self, epoch: LeaderEpoch, role: Role, why: &'static str) {
        let (from, from_epoch, from_leader) =
            (self.role(), self.quorum.epoch, self.quorum.leader_id(self.local.id()));
        if let Role::Leader(leader) = &mut self.quorum.role
            && let Some(change) = leader.voter_change.take()
        {
            // Its record may still be committed, by the next leader.
            self.end_voter_change(change, Some((RaftError::NotLeaderOrFollower, None)));
        }
        self.quorum.epoch = epoch;
        self.quorum.role = role;
        self.why_role = why;
        tracing::info!(
            node = self.local.id().value(),
            ?from,
            to = ?self.role(),
            from_epoch = from_epoch.value(),
            epoch = epoch.value(),
            from_leader = from_leader.map(NodeId::value),
            leader = self.quorum.leader_id(self.local.id()).map(NodeId::value),
            voters = %self.voters.latest(),
            log_end = %self.log.end(),
            why,
            "quorum role changed"
        );
        self.persist();
        self.connections.reset_all();
        self.refuse_parked_fetches();
        self.announce_leader();
    }

    /// Writes the election state down when it changed.
    fn persist(&mut self) {
        let election = self.quorum.election(&self.local.key, self.voters.latest());
        let kraft_version = self.voters.latest_kraft_version();
        let current = Some((election, kraft_version));
        if self.written != current {
            if let Some((election, kraft_version)) = current.clone() {
                self.drop_superseded_write();
                self.actions.push(Action::WriteQuorumState { election, kraft_version });
            }
            self.written = current;
        }
    }

    /// A state that nobody was told of needs no write of its own when a later one is written in the same step.
    fn drop_superseded_write(&mut self) {
        let silent =
            |action: &Action| matches!(action, Action::LeaderChanged { .. } | Action::HighWatermark(_));
        if let Some(last) = self.actions.iter().rposition(|action| !silent(action))
            && matches!(self.actions.get(last), Some(Action::WriteQuorumState { .. }))
        {
            self.actions.remove(last);
        }
    }

    fn announce_leader(&mut self) {
        let leader = self.leader_and_epoch();
        let epoch_start_offset = match &self.quorum.role {
            Role::Leader(state) => Some(state.epoch_start_offset),
            // A leader that has resigned takes no more records, and who follows isn't known.
            Role::Resigned(_) => {
                let leader = LeaderAndEpoch { leader_id: None, epoch: leader.epoch };
                return self.announce(leader, None);
            }
            _ if leader.leader_id == Some(self.local.id()) => return,
            _ => None,
        };
        self.announce(leader, epoch_start_offset);
    }

    fn announce(&mut self, leader: LeaderAndEpoch, epoch_start_offset: Option<Offset>) {
        if self.announced != Some(leader) {
            self.announced = Some(leader);
            // Only what a step ends with is of interest.
            self.actions.retain(|action| !matches!(action, Action::LeaderChanged { .. }));
            self.actions.push(Action::LeaderChanged { leader, epoch_start_offset });
        }
    }

    /// Fetches that waited for this replica as leader are sent back, so that they go to the next one.
    fn refuse_parked_fetches(&mut self) {
        if matches!(self.quorum.role, Role::Leader(_)) {
            return;
        }
        for parked in std::mem::take(&mut self.parked) {
            let response = self.refused_fetch(RaftError::NotLeaderOrFollower);
            self.actions.push(Action::Reply { id: parked.id, response: Response::Fetch(response) });
        }
    }

    pub(super) fn refused_fetch(&self, error: RaftError) -> FetchResponse {
        FetchResponse {
            error: Some(error),
            leader: self.leader_info(),
            high_watermark: None,
            log_start_offset: self.log.start_offset(),
            diverging: None,
            snapshot_id: None,
            records: FetchedRecords::None,
        }
    }
}

fn own_vote(mut election: EpochElection, local: NodeId) -> EpochElection {
    election.record(local, true);
    election
}
