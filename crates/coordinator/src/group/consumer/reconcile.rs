//! From what a member has to what it shall have. A partition is given to nobody before its former owner has said that it
//! has given it up: so no two members ever have it in one epoch.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartition;

use super::member::{CurrentAssignment, MemberState, Owned};
use crate::group::modern::assignor::Assignment;

/// All that decides about a member's next step.
pub(crate) struct Reconciliation<'a> {
    pub(crate) current: &'a CurrentAssignment,
    pub(crate) target_epoch: i32,
    pub(crate) target: &'a Assignment,
    /// What the member subscribes to, of what exists. It keeps nothing else, whatever its target says.
    pub(crate) subscribed: &'a BTreeSet<Uuid>,
    /// The member has just changed what it subscribes to.
    pub(crate) has_subscription_changed: bool,
    /// What the member says that it has; `None` if it doesn't say.
    pub(crate) owned: Option<&'a [TopicPartition]>,
    /// Whether anybody has the partition, or has yet to give it up.
    pub(crate) is_taken: &'a dyn Fn(Uuid, i32) -> bool,
}

impl Reconciliation<'_> {
    /// What the member has after this step, which may be what it had.
    pub(crate) fn step(&self) -> Result<CurrentAssignment, ErrorCode> {
        let current = self.current;
        match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => Ok(self.keep_to_subscription()),
            MemberState::UnrevokedPartitions if self.still_owns(&current.pending_revocation) => {
                Ok(self.keep_to_subscription())
            }
            MemberState::Stable | MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.approach_target(current.epoch))
            }
            // Only a member that begins anew can be known to have nothing that isn't known here.
            MemberState::Unknown(_) if self.owned.is_some_and(<[TopicPartition]>::is_empty) => {
                Ok(self.approach_target(self.target_epoch))
            }
            MemberState::Unknown(_) => Err(ErrorCode::FencedMemberEpoch),
        }
    }

    /// A member that doesn't say what it has is taken to have all of them.
    fn still_owns(&self, partitions: &Owned) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|topic| {
            let of_topic = partitions.get(&topic.topic_id);
            of_topic.is_some_and(|of_topic| topic.partitions.iter().any(|p| of_topic.contains_key(p)))
        })
    }

    /// Takes away the topics that the member no longer subscribes to. All else stays as it is.
    fn keep_to_subscription(&self) -> CurrentAssignment {
        let mut next = self.current.clone();
        if !self.has_subscription_changed {
            return next;
        }
        next.assigned.retain(|topic_id, _| self.subscribed.contains(topic_id));
        if next.assigned == self.current.assigned {
            return next;
        }
        let mut pending = self.current.pending_revocation.clone();
        for (topic_id, partitions) in &self.current.assigned {
            if !next.assigned.contains_key(topic_id) {
                pending.entry(*topic_id).or_default().extend(partitions);
            }
        }
        next.previous_epoch = self.current.epoch;
        if self.still_owns(&pending) {
            next.state = MemberState::UnrevokedPartitions;
            next.pending_revocation = pending;
        }
        next
    }

    fn approach_target(&self, epoch: i32) -> CurrentAssignment {
        let mut assigned = Owned::new();
        let mut to_give_up = Owned::new();
        for (topic_id, partitions) in &self.current.assigned {
            let target = self.target_of(*topic_id);
            let (kept, given_up): (BTreeMap<i32, i32>, BTreeMap<i32, i32>) = partitions
                .iter()
                .partition(|(partition, _)| target.is_some_and(|target| target.contains(*partition)));
            if !kept.is_empty() {
                assigned.insert(*topic_id, kept);
            }
            if !given_up.is_empty() {
                to_give_up.insert(*topic_id, given_up);
            }
        }
        if !to_give_up.is_empty() && self.still_owns(&to_give_up) {
            return CurrentAssignment {
                epoch,
                previous_epoch: self.current.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned,
                pending_revocation: to_give_up,
            };
        }
        let has_unreleased = self.take_what_is_free(&mut assigned);
        CurrentAssignment {
            epoch: self.target_epoch,
            previous_epoch: self.current.epoch,
            state: if has_unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable },
            assigned,
            pending_revocation: Owned::new(),
        }
    }

    /// Adds what the member shall have and nobody has; true if somebody has some of it.
    fn take_what_is_free(&self, assigned: &mut Owned) -> bool {
        let mut has_unreleased = false;
        for topic_id in self.target.keys() {
            for partition in self.target_of(*topic_id).into_iter().flatten() {
                if assigned.get(topic_id).is_some_and(|of_topic| of_topic.contains_key(partition)) {
                    continue;
                }
                let is_own = |owned: &Owned| owned.get(topic_id).is_some_and(|o| o.contains_key(partition));
                if (self.is_taken)(*topic_id, *partition) && !is_own(&self.current.pending_revocation) {
                    has_unreleased = true;
                } else {
                    assigned.entry(*topic_id).or_default().insert(*partition, self.target_epoch);
                }
            }
        }
        has_unreleased
    }

    fn target_of(&self, topic_id: Uuid) -> Option<&BTreeSet<i32>> {
        self.target.get(&topic_id).filter(|_| self.subscribed.contains(&topic_id))
    }
}
