//! What is due: timeouts, requests to be sent, batches to be appended.

use ottla_types::{MonoMs, Now};

use super::{Action, RaftCore};
use crate::log::BatchRecords;
use crate::quorum_state::Role;

/// A role can change several times at one moment (a single voter goes from Unattached to Leader), but not for ever.
const MAX_ROLE_CHANGES: usize = 8;

impl RaftCore {
    /// When [`RaftCore::tick`] must be called at the latest, if nothing happens before.
    pub fn next_deadline(&self, now: Now) -> MonoMs {
        if self.halted {
            return MonoMs::NEVER;
        }
        let shutdown = match self.shutdown {
            Some(shutdown) if !shutdown.complete => shutdown.deadline,
            _ => MonoMs::NEVER,
        };
        self.role_deadline(now).min(self.parked_deadline()).min(shutdown)
    }

    pub(super) fn poll(&mut self, now: Now) {
        if self.maybe_complete_shutdown(now) {
            return;
        }
        for _ in 0..MAX_ROLE_CHANGES {
            let before = (self.quorum.epoch, self.quorum.role_name());
            self.poll_role(now);
            if self.halted || before == (self.quorum.epoch, self.quorum.role_name()) {
                break;
            }
        }
        self.complete_parked_fetches(now);
    }

    fn poll_role(&mut self, now: Now) {
        let running = self.shutdown.is_none();
        match &self.quorum.role {
            Role::Unattached(state) => {
                if running && self.may_stand() && state.election_deadline <= now.mono {
                    self.become_prospective("no leader was heard of in time", now);
                } else if running {
                    self.send_fetch_to_any_bootstrap(now);
                }
            }
            Role::Prospective(state) => {
                if running && state.election_deadline <= now.mono {
                    self.prospective_lost("no majority would vote for it in time", now);
                } else {
                    self.send_vote_requests(now);
                }
            }
            Role::Candidate(state) => {
                if running && state.election_deadline <= now.mono {
                    self.become_prospective("no majority voted in time", now);
                } else {
                    self.send_vote_requests(now);
                }
            }
            Role::Leader(_) => self.poll_leader(now),
            Role::Follower(_) => self.poll_follower(now),
            Role::Resigned(state) => {
                if running && state.election_deadline <= now.mono {
                    // In the next epoch, so that nobody still takes this replica for the leader.
                    let Some(epoch) = self.next_epoch() else { return self.epochs_are_used_up() };
                    self.become_unattached(epoch, None, "nobody else has come to lead", now);
                } else {
                    self.send_end_quorum_epoch(now);
                }
            }
        }
    }

    fn poll_leader(&mut self, now: Now) {
        let Role::Leader(leader) = &self.quorum.role else {
            return;
        };
        let lost = leader.check_quorum_deadline() <= now.mono;
        let why = if self.shutdown.is_some() {
            Some("it shuts down")
        } else {
            leader.resign_requested.or(lost.then_some("no majority of the voters fetches"))
        };
        if let Some(why) = why {
            return self.become_resigned(why, now);
        }
        self.expire_voter_change(now);
        self.drain_accumulator(now);
        self.send_begin_quorum_epoch(now);
    }

    /// Appends what has lingered long enough.
    fn drain_accumulator(&mut self, now: Now) {
        let Role::Leader(leader) = &mut self.quorum.role else {
            return;
        };
        if leader.accumulator.drain_at() > now.mono {
            return;
        }
        let batches = leader.accumulator.drain();
        let voters_before = self.voters.latest_offset();
        for batch in &batches {
            self.log.appended(batch.base_offset, batch.last_offset(), batch.leader_epoch);
            if let BatchRecords::Control(records) = &batch.records {
                for (i, record) in records.iter().enumerate() {
                    self.apply_control(batch.base_offset + i as i64, record.clone());
                }
            }
        }
        if let Role::Leader(leader) = &mut self.quorum.role
            && self.voters.latest_offset() != voters_before
        {
            // Voters count from the moment that their record is in the log.
            leader.set_voters(self.voters.latest(), now.mono);
        }
        if !batches.is_empty() {
            self.actions.push(Action::AppendAsLeader(batches));
            // Followers may have the records before they are durable here.
            self.complete_parked_fetches(now);
            self.actions.push(Action::FlushLog);
        }
    }

    fn poll_follower(&mut self, now: Now) {
        let Role::Follower(follower) = &self.quorum.role else {
            return;
        };
        let (leader_id, timed_out) = (follower.leader_id, follower.fetch_deadline <= now.mono);
        let why_over = follower.why_over;
        if self.may_stand() {
            if timed_out && self.shutdown.is_none() {
                self.become_prospective(why_over, now);
            } else if !self.maybe_tell_leader_of_itself(now) {
                self.send_fetch_to_leader(now);
            }
        } else if timed_out
            || self.connections.take_timed_out(leader_id, now.mono)
            || self.connections.is_backing_off(leader_id, now.mono)
        {
            self.send_fetch_to_any_bootstrap(now);
        } else if !self.connections.any_in_flight(now.mono) && !self.maybe_tell_leader_of_itself(now) {
            self.send_fetch_to_leader(now);
        }
    }

    fn role_deadline(&self, now: Now) -> MonoMs {
        match &self.quorum.role {
            Role::Unattached(state) => {
                let asks_at = self.connections.bootstrap_ready_at(now.mono);
                // While a request can be sent now, a poll has just sent it: there is nobody to ask.
                let asks_at = if asks_at > now.mono { asks_at } else { MonoMs::NEVER };
                if self.may_stand() { asks_at.min(state.election_deadline) } else { asks_at }
            }
            Role::Prospective(state) => self.voters_ready_at(now).min(state.election_deadline),
            Role::Candidate(state) => self.voters_ready_at(now).min(state.election_deadline),
            Role::Leader(leader) => {
                // Nobody is to be told anything when there is one voter only.
                let begin_epoch_at =
                    if self.voters.latest().len() > 1 { leader.begin_epoch_at } else { MonoMs::NEVER };
                let change = leader.voter_change.as_ref().map_or(MonoMs::NEVER, |change| change.deadline);
                let drain_at = leader.accumulator.drain_at();
                drain_at.min(leader.check_quorum_deadline()).min(begin_epoch_at).min(change)
            }
            Role::Follower(state) => {
                let busy = self.connections.bootstrap_ready_at(now.mono);
                let busy = if busy > now.mono { busy } else { MonoMs::NEVER };
                if state.fetch_deadline > now.mono { busy.min(state.fetch_deadline) } else { busy }
            }
            Role::Resigned(state) => self.voters_ready_at(now).min(state.election_deadline),
        }
    }

    /// When the next voter that is being waited for may be asked again.
    fn voters_ready_at(&self, now: Now) -> MonoMs {
        let voters = self.voters.latest();
        voters
            .iter()
            .map(|voter| self.connections.busy_until(voter.key.id))
            .filter(|until| *until > now.mono)
            .min()
            .unwrap_or(MonoMs::NEVER)
    }

    fn maybe_complete_shutdown(&mut self, now: Now) -> bool {
        let Some(shutdown) = self.shutdown else {
            return false;
        };
        if shutdown.complete {
            return true;
        }
        let timed_out = shutdown.deadline <= now.mono;
        let voters = self.voters.latest();
        let leaderless = !voters.is_voter(&self.local.key) || voters.is_only_voter(&self.local.key);
        if timed_out || leaderless || self.leader_is_remote() {
            self.shutdown = Some(super::ShuttingDown { complete: true, ..shutdown });
            self.actions.push(Action::ShutdownComplete { timed_out });
            return true;
        }
        false
    }
}
