//! What the leader knows of a follower: how far its log reaches, and when it had all there was.

use std::sync::Arc;

use ottla_log::OffsetMetadata;
use ottla_types::{BrokerEpoch, MonoMs, NodeId, Offset};

use crate::news::FetchClock;

/// Who fetches as a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerId {
    pub node: NodeId,
    /// Of the process that fetches; none from a follower that does not tell.
    pub broker_epoch: Option<BrokerEpoch>,
}

/// Where a follower stands by its fetch.
#[derive(Clone, Copy, Debug)]
pub struct FollowerFetch {
    /// It has all that is before.
    pub offset: OffsetMetadata,
    pub log_start_offset: Offset,
    /// Where the leader's log ended when it was read for this fetch.
    pub leader_end: Offset,
    /// Of the log in which `offset` has its place.
    pub log_generation: u32,
    pub at: MonoMs,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct FollowerState {
    /// Where the follower's log ends; [`Offset::UNKNOWN`] until its first fetch in this leader epoch.
    pub log_end_offset: OffsetMetadata,
    /// [`Offset::UNKNOWN`] likewise.
    pub log_start_offset: Offset,
    pub broker_epoch: Option<BrokerEpoch>,
    /// The last high watermark that it was told.
    pub told_high_watermark: Offset,
    /// The newest time at which it is known to have had all that the leader had; none if it never was.
    last_caught_up: Option<MonoMs>,
    /// When it fetched last, and where the leader's log ended then: a later fetch from there shows that it had all of that.
    last_fetch: Option<(MonoMs, Offset)>,
    /// Of the session in which it fetched here last, if that leaves out what is at rest.
    clock: Option<Arc<FetchClock>>,
    /// It has everything, and its session's fetches do not look here: when the last one was the clock tells.
    is_at_rest: bool,
}

impl FollowerState {
    /// Of a leader epoch that begins: members of the ISR have been caught up so far.
    pub fn at_start_of_epoch(is_in_sync: bool, now: MonoMs) -> FollowerState {
        FollowerState {
            log_end_offset: OffsetMetadata::offset_only(Offset::UNKNOWN),
            log_start_offset: Offset::UNKNOWN,
            broker_epoch: None,
            told_high_watermark: Offset::UNKNOWN,
            last_caught_up: is_in_sync.then_some(now),
            last_fetch: None,
            clock: None,
            is_at_rest: false,
        }
    }

    /// Whether a fetch comes from a process before the one that is known.
    pub fn is_superseded(&self, by: Option<BrokerEpoch>) -> bool {
        matches!((self.broker_epoch, by), (Some(known), Some(fetching)) if fetching < known)
    }

    /// `clock` is that of its session, if it has one.
    pub fn fetched(
        &mut self,
        fetch: &FollowerFetch,
        broker_epoch: Option<BrokerEpoch>,
        clock: Option<&Arc<FetchClock>>,
    ) {
        self.rests_no_more();
        self.clock = clock.cloned();
        let offset = fetch.offset.message_offset;
        if offset >= fetch.leader_end {
            self.caught_up(fetch.at);
        } else if let Some((at, leader_end)) = self.last_fetch
            && offset >= leader_end
        {
            self.caught_up(at);
        }
        self.log_end_offset = fetch.offset;
        self.log_start_offset = fetch.log_start_offset;
        self.last_fetch = Some((fetch.at, fetch.leader_end));
        self.broker_epoch = broker_epoch.or(self.broker_epoch);
    }

    /// Whether it fetched here last in the session with that clock.
    pub fn is_of(&self, clock: &Arc<FetchClock>) -> bool {
        self.clock.as_ref().is_some_and(|known| Arc::ptr_eq(known, clock))
    }

    /// The clock of the session in which it fetched here last, if it is another one.
    pub fn session_other_than(&self, clock: Option<&Arc<FetchClock>>) -> Option<&Arc<FetchClock>> {
        self.clock.as_ref().filter(|known| !clock.is_some_and(|clock| Arc::ptr_eq(known, clock)))
    }

    /// It has everything, and counts as fetching here whenever its session fetches.
    pub fn rests(&mut self) {
        self.is_at_rest = self.clock.is_some();
    }

    /// It may lack something from now on: until its session's last fetch it did not, as if that had looked here.
    pub fn rests_no_more(&mut self) {
        if let Some(clock) = self.clock.as_ref().filter(|_| self.is_at_rest) {
            let at = clock.last_fetch();
            self.last_fetch = Some((at, self.log_end_offset.message_offset));
            self.caught_up(at);
        }
        self.is_at_rest = false;
    }

    /// See `last_caught_up`, the field.
    pub fn last_caught_up(&self) -> Option<MonoMs> {
        let resting = self.clock.as_ref().filter(|_| self.is_at_rest);
        self.last_caught_up.max(resting.map(|clock| clock.last_fetch()))
    }

    fn caught_up(&mut self, at: MonoMs) {
        self.last_caught_up = self.last_caught_up.max(Some(at));
    }

    /// Whether it has all that the leader has, or had so within `lag_time_max_ms`.
    pub fn is_caught_up(&self, leader_end: Offset, lag_time_max_ms: i64, now: MonoMs) -> bool {
        self.log_end_offset.message_offset == leader_end
            || self.last_caught_up().is_some_and(|at| at.plus_ms(lag_time_max_ms) >= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(state: &mut FollowerState, offset: i64, leader_end: i64, at: u64) {
        let fetch = FollowerFetch {
            offset: OffsetMetadata::offset_only(Offset(offset)),
            log_start_offset: Offset::ZERO,
            leader_end: Offset(leader_end),
            log_generation: 0,
            at: MonoMs(at),
        };
        state.fetched(&fetch, None, None);
    }

    #[test]
    fn a_follower_that_never_reaches_the_end_of_a_busy_log_is_caught_up_all_the_same() {
        let mut state = FollowerState::at_start_of_epoch(false, MonoMs(0));
        let is_caught_up = |state: &FollowerState, end, at| state.is_caught_up(Offset(end), 100, MonoMs(at));
        assert!(!is_caught_up(&state, 10, 0));
        fetch(&mut state, 0, 10, 1_000);
        assert!(!is_caught_up(&state, 10, 1_000));
        // It has what there was at 1,000.
        fetch(&mut state, 10, 20, 1_050);
        assert!(is_caught_up(&state, 30, 1_100));
        assert!(!is_caught_up(&state, 30, 1_101));
        fetch(&mut state, 20, 30, 1_200);
        assert!(is_caught_up(&state, 40, 1_150), "since 1,050");
        assert!(!is_caught_up(&state, 40, 1_151));
        fetch(&mut state, 40, 40, 1_300);
        assert!(is_caught_up(&state, 40, 99_999), "it has all there is");
    }

    #[test]
    fn who_was_in_sync_is_given_its_time_from_the_start_of_an_epoch() {
        let state = FollowerState::at_start_of_epoch(true, MonoMs(500));
        assert!(state.is_caught_up(Offset(9), 100, MonoMs(600)));
        assert!(!state.is_caught_up(Offset(9), 100, MonoMs(601)));
    }

    #[test]
    fn a_former_process_is_told_from_the_one_that_is_known() {
        let mut state = FollowerState::at_start_of_epoch(true, MonoMs(0));
        assert!(!state.is_superseded(Some(BrokerEpoch(5))));
        state.broker_epoch = Some(BrokerEpoch(5));
        assert!(state.is_superseded(Some(BrokerEpoch(4))));
        assert!(!state.is_superseded(Some(BrokerEpoch(6))) && !state.is_superseded(None));
    }
}
