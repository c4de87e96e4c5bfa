//! How soon a member is to be heard of again. A member goes one step to its target with each heartbeat, and takes the time
//! to the next from the answer (`HeartbeatIntervalMs`, KIP-848); so while a group settles, answers ask for heartbeats when
//! there is something to say, and the group's interval is for groups at rest.

use super::target::TargetAssignment;

/// How often members come while their group settles, in milliseconds, where the next target says nothing else.
const SETTLING_MS: i64 = 1_000;

/// The shortest time that a member is told to wait for what others do, in milliseconds.
const WAITING_MS_MIN: i64 = 100;

/// How many heartbeats of members who wait there are a millisecond, at most.
const WAITING_PER_MS: usize = 4;

/// A group as one of its members finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace<'a> {
    /// The group's, in milliseconds: no member is told more.
    pub(crate) heartbeat_interval_ms: i32,
    pub(crate) assignment_interval_ms: i32,
    pub(crate) group_epoch: i32,
    pub(crate) member_count: usize,
    /// The member has partitions, which the next target may give to others.
    pub(crate) has_partitions: bool,
    pub(crate) target: &'a TargetAssignment,
    /// Some of what the member shall have, somebody has yet to give up.
    pub(crate) waits_for_others: bool,
}

impl Pace<'_> {
    /// In how many milliseconds the member shall send its next heartbeat. `now_ms` is wall-clock time, as that of the
    /// target.
    pub(crate) fn next_beat_ms(&self, now_ms: i64) -> i32 {
        let interval = i64::from(self.heartbeat_interval_ms);
        let soonest = [
            self.until_next_target(now_ms),
            self.waiting_ms(now_ms),
            self.is_settling(now_ms).then_some(SETTLING_MS),
        ];
        let next = soonest.into_iter().flatten().fold(interval, i64::min);
        i32::try_from(next.max(1)).unwrap_or(self.heartbeat_interval_ms)
    }

    /// Those who come soon after a target, as members who are started together do, share the next one: by then everybody
    /// is there to give up for it what others shall have.
    fn until_next_target(&self, now_ms: i64) -> Option<i64> {
        self.target.next_in_ms(self.assignment_interval_ms, now_ms)
    }

    /// For a member that waits for what may be there at any moment. All who wait for others come four thousand times a second
    /// together, at most. Those for whom others will wait, once there is a target, come sooner: that is soon.
    fn waiting_ms(&self, now_ms: i64) -> Option<i64> {
        let is_target_due = self.group_epoch > self.target.epoch && self.until_next_target(now_ms).is_none();
        if is_target_due && self.has_partitions {
            return Some(WAITING_MS_MIN);
        }
        let all = i64::try_from(self.member_count / WAITING_PER_MS).unwrap_or(i64::MAX);
        (self.waits_for_others || is_target_due).then_some(all.max(WAITING_MS_MIN))
    }

    /// The target is so new that some member, going by the interval of a group at rest, may not have heard of it.
    fn is_settling(&self, now_ms: i64) -> bool {
        self.target.age_ms(now_ms).is_some_and(|age| age < i64::from(self.heartbeat_interval_ms))
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::Timestamp;

    use super::*;

    const MADE_AT: i64 = 50_000;

    /// A member of a group of ten, with an interval of 5 s, `age` ms after the target was made.
    fn next(age: i64, change: impl FnOnce(&mut Pace<'_>)) -> i32 {
        let mut target = TargetAssignment::default();
        (target.epoch, target.made_at) = (7, Timestamp(MADE_AT));
        let mut pace = Pace {
            heartbeat_interval_ms: 5_000,
            assignment_interval_ms: 1_500,
            group_epoch: 7,
            member_count: 10,
            has_partitions: false,
            target: &target,
            waits_for_others: false,
        };
        change(&mut pace);
        pace.next_beat_ms(MADE_AT + age)
    }

    #[test]
    fn a_group_at_rest_goes_by_its_interval() {
        assert_eq!(next(5_000, |_| {}), 5_000);
        assert_eq!(next(1_000_000, |pace| pace.heartbeat_interval_ms = 15_000), 15_000);
    }

    #[test]
    fn after_a_target_members_come_when_the_next_may_be_made() {
        assert_eq!(next(0, |pace| pace.assignment_interval_ms = 600), 600);
        assert_eq!(next(1_400, |_| {}), 100);
        assert_eq!(next(1_499, |pace| pace.group_epoch = 8), 1);
        // Nobody is told to wait longer than at rest.
        assert_eq!(next(0, |pace| pace.assignment_interval_ms = 15_000), SETTLING_MS as i32);
        assert_eq!(next(0, |pace| pace.heartbeat_interval_ms = 500), 500);
    }

    #[test]
    fn while_a_group_settles_members_come_every_second() {
        assert_eq!(next(1_500, |_| {}), 1_000);
        assert_eq!(next(4_999, |_| {}), 1_000);
        assert_eq!(next(0, |pace| pace.assignment_interval_ms = 0), 1_000);
    }

    #[test]
    fn who_waits_for_others_asks_again_soon() {
        assert_eq!(next(60_000, |pace| pace.waits_for_others = true), 100);
        let of_many = |pace: &mut Pace<'_>| (pace.waits_for_others, pace.member_count) = (true, 8_000);
        assert_eq!(next(60_000, of_many), 2_000);
        let of_very_many = |pace: &mut Pace<'_>| (pace.waits_for_others, pace.member_count) = (true, 90_000);
        assert_eq!(next(60_000, of_very_many), 5_000);
    }

    #[test]
    fn a_target_that_is_being_made_is_asked_for_soon() {
        assert_eq!(next(60_000, |pace| pace.group_epoch = 8), 100);
        let of_many = |pace: &mut Pace<'_>| (pace.group_epoch, pace.member_count) = (8, 2_000);
        assert_eq!(next(60_000, of_many), 500);
    }

    #[test]
    fn who_may_have_to_give_up_asks_sooner_for_a_target_that_is_being_made() {
        let of_many = |pace: &mut Pace<'_>| {
            (pace.member_count, pace.has_partitions) = (2_000, true);
        };
        let is_due = |pace: &mut Pace<'_>| {
            of_many(pace);
            pace.group_epoch = 8;
        };
        assert_eq!(next(60_000, is_due), 100);
        assert_eq!(next(60_000, of_many), 5_000);
    }

    #[test]
    fn a_target_of_no_known_time_or_of_the_future_is_as_an_old_one() {
        assert_eq!(next(-1, |_| {}), 5_000);
        let unknown = TargetAssignment::default();
        let pace = Pace {
            heartbeat_interval_ms: 5_000,
            assignment_interval_ms: 1_000,
            group_epoch: unknown.epoch,
            member_count: 1,
            has_partitions: false,
            target: &unknown,
            waits_for_others: false,
        };
        assert_eq!(pace.next_beat_ms(10), 5_000);
    }
}
