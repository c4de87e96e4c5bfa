use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_log::OffsetMetadata;
use ottla_types::{BrokerEpoch, LeaderEpoch, MonoMs, NodeId, Offset};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::read::check_epoch;
use super::{Partition, Role, State};
use crate::assignment::Assignment;
use crate::follower_state::{FollowerFetch, FollowerId, FollowerState};
use crate::high_watermark::replicated_up_to;
use crate::news::FetchClock;

/// What a leader knows of its partition beyond the log.
#[derive(Debug)]
pub(super) struct Leading {
    /// Where the log ended when this node began to lead in this epoch.
    pub epoch_start_offset: Offset,
    /// Every replica but this one. Followers' fetches change it while appends go on.
    pub(super) followers: Mutex<BTreeMap<NodeId, FollowerState>>,
    /// The ISR that the controller was asked for, and has not answered about.
    proposed_isr: Option<Vec<NodeId>>,
}

/// An ISR for the controller to decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProposedIsr {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    /// With the broker epoch of the process that fetches; none where it isn't known, and for the leader itself.
    pub isr: Vec<(NodeId, Option<BrokerEpoch>)>,
}

/// What a follower's fetch has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FollowerProgress {
    pub has_advanced: bool,
    pub low_watermark_may_have_advanced: bool,
    /// The follower may be in sync, and is no member of the ISR.
    pub may_join: bool,
}

impl Leading {
    /// In an epoch that begins.
    pub fn new(assignment: &Assignment, local: NodeId, log_end: Offset, now: MonoMs) -> Leading {
        let state = |id: &NodeId| FollowerState::at_start_of_epoch(assignment.isr.contains(id), now);
        let others = assignment.replicas.iter().filter(|id| **id != local);
        Leading {
            epoch_start_offset: log_end,
            followers: Mutex::new(others.map(|id| (*id, state(id))).collect()),
            proposed_isr: None,
        }
    }

    /// In the same epoch, with other replicas perhaps: whatever was asked of the controller, this is what it decided.
    pub fn go_on(&mut self, assignment: &Assignment, local: NodeId, now: MonoMs) {
        let mut known = std::mem::take(self.followers.get_mut());
        let others = assignment.replicas.iter().filter(|id| **id != local);
        let mut state = |id: &NodeId| {
            let new = || FollowerState::at_start_of_epoch(assignment.isr.contains(id), now);
            known.remove(id).unwrap_or_else(new)
        };
        let followers = others.map(|id| (*id, state(id))).collect();
        *self.followers.get_mut() = followers;
        self.proposed_isr = None;
    }

    /// The ISR as it is, and as it may be by now for all that the leader knows: who may be elected must have what is
    /// acknowledged (KIP-497).
    fn is_in_maximal_isr(&self, assignment: &Assignment, id: NodeId) -> bool {
        assignment.isr.contains(&id) || self.proposed_isr.as_ref().is_some_and(|isr| isr.contains(&id))
    }

    pub fn maximal_isr_len(&self, assignment: &Assignment) -> usize {
        let proposed = self.proposed_isr.iter().flatten();
        assignment.isr.len() + proposed.filter(|id| !assignment.isr.contains(id)).count()
    }
}

impl Leading {
    /// The log is another one: where offsets were in the one before says nothing.
    pub(super) fn forget_places(&self) {
        for follower in self.followers.lock().values_mut() {
            follower.log_end_offset = OffsetMetadata::offset_only(follower.log_end_offset.message_offset);
        }
    }
}

impl Partition {
    pub(crate) fn has_other_replicas(&self) -> bool {
        self.state.read().assignment.replicas.len() > 1
    }

    /// What every replica has that counts: the members of the ISR, and those that could join it. The latter are waited for
    /// because a follower of a busy leader would else never have all below the high watermark.
    pub(super) fn replicated_up_to(
        &self,
        leading: &Leading,
        assignment: &Assignment,
        end: OffsetMetadata,
        now: MonoMs,
    ) -> Option<OffsetMetadata> {
        replicated_up_to(end, &leading.followers.lock(), |id, follower| {
            leading.is_in_maximal_isr(assignment, id)
                || (follower.is_caught_up(end.message_offset, self.rules.lag_time_max_ms, now)
                    && self.may_join(id, follower))
        })
    }

    /// Whether the controller would take it into the ISR, as far as this node knows. That it takes also what is in a failed
    /// directory is of no use to anybody.
    fn may_join(&self, id: NodeId, follower: &FollowerState) -> bool {
        let brokers = &self.rules.brokers;
        let registered = brokers.active_epoch(id);
        registered.is_some()
            && (follower.broker_epoch.is_none() || follower.broker_epoch == registered)
            && !brokers.is_lost(id, self.topic_id(), self.id.topic_partition.partition)
    }

    /// Whether `follower` may fetch here. A node that is no replica knows newer metadata than this one, or none.
    pub(super) fn check_follower(
        &self,
        state: &State,
        follower: FollowerId,
        client_epoch: LeaderEpoch,
    ) -> Result<(), ErrorCode> {
        let Role::Leader(leading) = &state.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        match leading.followers.lock().get(&follower.node) {
            None if client_epoch != LeaderEpoch::NONE => Err(ErrorCode::UnknownLeaderEpoch),
            None => Err(ErrorCode::NotLeaderOrFollower),
            Some(known) if known.is_superseded(follower.broker_epoch) => Err(ErrorCode::NotLeaderOrFollower),
            Some(_) => Ok(()),
        }
    }

    /// Takes note of where a follower stands. Nothing if that was in another leader epoch. `clock` is that of its session.
    pub(crate) fn follower_fetched(
        &self,
        follower: FollowerId,
        client_epoch: LeaderEpoch,
        fetch: &FollowerFetch,
        clock: Option<&Arc<FetchClock>>,
    ) -> FollowerProgress {
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else { return FollowerProgress::default() };
        if check_epoch(&state, client_epoch).is_err() {
            return FollowerProgress::default();
        }
        let mut followers = leading.followers.lock();
        let Some(known) =
            followers.get_mut(&follower.node).filter(|known| !known.is_superseded(follower.broker_epoch))
        else {
            return FollowerProgress::default();
        };
        let before = known.clone();
        let mut fetch = *fetch;
        if fetch.log_generation != self.log_generation() {
            fetch.offset = OffsetMetadata::offset_only(fetch.offset.message_offset);
        }
        known.fetched(&fetch, follower.broker_epoch, clock);
        let now_is = known.clone();
        drop(followers);
        if let Some(other) = before.session_other_than(clock) {
            // It has to look anew: where this follower stands may not be what it knows there.
            self.subscribers.tell_session(other);
        }
        FollowerProgress {
            has_advanced: self.advance_high_watermark(&state, fetch.at),
            low_watermark_may_have_advanced: before.log_start_offset != now_is.log_start_offset,
            may_join: self.is_to_join(&state, leading, follower.node, &now_is),
        }
    }

    fn is_to_join(&self, state: &State, leading: &Leading, id: NodeId, follower: &FollowerState) -> bool {
        let end = follower.log_end_offset.message_offset;
        leading.proposed_isr.is_none()
            && !state.assignment.isr.contains(&id)
            && end >= self.log().high_watermark()
            && end >= leading.epoch_start_offset
            && self.may_join(id, follower)
    }

    /// A larger ISR, if `id` is to join it. From now on the high watermark waits for it.
    pub(crate) fn propose_to_join(&self, id: NodeId) -> Option<ProposedIsr> {
        // Nothing is appended and no high watermark moves between the look at the follower and its counting.
        let mut state = self.change_state();
        let Role::Leader(leading) = &state.role else { return None };
        let follower = leading.followers.lock().get(&id)?.clone();
        if !self.is_to_join(&state, leading, id, &follower) {
            return None;
        }
        let isr: Vec<_> = state.assignment.isr.iter().copied().chain([id]).collect();
        tracing::info!(partition = %self.id.topic_partition, from = ?state.assignment.isr, to = ?isr,
            replica = %id, at = %follower.log_end_offset, "asks for a larger ISR: a replica has caught up");
        self.propose(&mut state, isr)
    }

    /// A smaller ISR, if members have not been caught up for too long. Until the controller has decided, the high watermark
    /// waits for them.
    pub(crate) fn propose_without_the_lagging(&self, now: MonoMs) -> Option<ProposedIsr> {
        if !self.has_lagging(&self.state.read(), now) {
            return None;
        }
        let mut state = self.change_state();
        let Role::Leader(leading) = &state.role else { return None };
        let lagging = self.lagging(&state.assignment, leading, now);
        if lagging.is_empty() || leading.proposed_isr.is_some() {
            return None;
        }
        let isr: Vec<_> = state.assignment.isr.iter().copied().filter(|id| !lagging.contains(id)).collect();
        tracing::info!(partition = %self.id.topic_partition, from = ?state.assignment.isr, to = ?isr,
            high_watermark = %self.log().high_watermark(), end = %self.log().log_end_offset(),
            "asks for a smaller ISR: replicas have fallen behind");
        self.propose(&mut state, isr)
    }

    fn has_lagging(&self, state: &State, now: MonoMs) -> bool {
        match &state.role {
            Role::Leader(leading) if state.assignment.isr.len() > 1 && leading.proposed_isr.is_none() => {
                !self.lagging(&state.assignment, leading, now).is_empty()
            }
            _ => false,
        }
    }

    fn lagging(&self, assignment: &Assignment, leading: &Leading, now: MonoMs) -> Vec<NodeId> {
        let end = self.log().log_end_offset();
        let followers = leading.followers.lock();
        let is_lagging = |id: &NodeId| {
            let follower = followers.get(id);
            follower.is_some_and(|follower| !follower.is_caught_up(end, self.rules.lag_time_max_ms, now))
        };
        assignment.isr.iter().copied().filter(is_lagging).collect()
    }

    fn propose(&self, state: &mut State, isr: Vec<NodeId>) -> Option<ProposedIsr> {
        let State { assignment, role, .. } = state;
        let Role::Leader(leading) = role else { return None };
        let followers = leading.followers.get_mut();
        let epoch_of = |id: &NodeId| followers.get(id).and_then(|follower| follower.broker_epoch);
        let proposed = ProposedIsr {
            leader_epoch: assignment.leader_epoch,
            partition_epoch: assignment.partition_epoch,
            isr: isr.iter().map(|id| (*id, epoch_of(id))).collect(),
        };
        leading.proposed_isr = Some(isr);
        Some(proposed)
    }

    /// Whether a proposal is still to be decided on: nothing that came after has settled it.
    pub(crate) fn is_proposed(&self, proposed: &ProposedIsr) -> bool {
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else { return false };
        leading.proposed_isr.is_some()
            && state.assignment.leader_epoch == proposed.leader_epoch
            && state.assignment.partition_epoch == proposed.partition_epoch
    }

    /// The controller won't have it: the ISR stays as it is.
    pub(crate) fn isr_refused(&self, proposed: &ProposedIsr, now: MonoMs) -> bool {
        let mut state = self.change_state();
        let is_of_now = state.assignment.leader_epoch == proposed.leader_epoch
            && state.assignment.partition_epoch == proposed.partition_epoch;
        let Role::Leader(leading) = &mut state.role else { return false };
        if !is_of_now {
            return false;
        }
        leading.proposed_isr = None;
        self.advance_high_watermark(&state, now)
    }

    /// The controller has decided on a proposal. Returns whether the high watermark moved.
    pub(crate) fn isr_altered(
        &self,
        proposed: &ProposedIsr,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        isr: Vec<NodeId>,
        now: MonoMs,
    ) -> bool {
        let mut state = self.change_state();
        let State { assignment, role, .. } = &mut *state;
        let Role::Leader(leading) = role else { return false };
        // The metadata may have told of it before, and more since; another proposal may wait by now. With the epoch
        // unchanged it was so already.
        let is_unchanged =
            partition_epoch == assignment.partition_epoch && partition_epoch == proposed.partition_epoch;
        let is_news = partition_epoch > assignment.partition_epoch;
        if assignment.leader_epoch != leader_epoch || !(is_news || is_unchanged) {
            return false;
        }
        tracing::info!(partition = %self.id.topic_partition, from = ?assignment.isr, to = ?isr,
            partition_epoch, "the ISR has changed");
        assignment.isr = isr;
        assignment.partition_epoch = partition_epoch;
        leading.proposed_isr = None;
        self.advance_high_watermark(&state, now)
    }

    /// The lowest log start offset over all replicas that are alive.
    pub(crate) fn low_watermark(&self) -> Result<Offset, ErrorCode> {
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else {
            return Err(self.check_leads(&state).err().unwrap_or(ErrorCode::NotLeaderOrFollower));
        };
        let followers = leading.followers.lock();
        let alive = followers.iter().filter(|(id, _)| self.rules.brokers.active_epoch(**id).is_some());
        let starts = alive.map(|(_, follower)| follower.log_start_offset);
        Ok(starts.fold(self.log().log_start_offset(), Ord::min))
    }
}
