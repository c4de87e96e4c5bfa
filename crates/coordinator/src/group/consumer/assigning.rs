//! Who makes targets, and where. That of a small group is made at once. That of a large one is made outside of the shard,
//! so that no other group waits for it; the heartbeat that has asked for it is answered when it is there, and until then
//! the rest of the group goes by the old one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tracing::{debug, info};

use super::assignor::Assignor;
use super::draft::Draft;
use super::group::ConsumerGroup;
use crate::group::modern::assignor::{Assignment, GroupSpec};
use crate::group::shard::{GroupShard, GroupTurn};

/// A target that is to be made outside of the shard.
#[derive(Debug)]
pub(super) struct TargetJob {
    epoch: i32,
    assignor: Assignor,
    spec: GroupSpec,
    token: Arc<()>,
}

/// A target that is made and not written.
#[derive(Debug)]
pub(super) struct MadeTarget {
    /// The group's, for which it was made.
    epoch: i32,
    assignor: Assignor,
    /// The group as it was.
    spec: GroupSpec,
    assignments: BTreeMap<Arc<str>, Assignment>,
    /// While it lives, nobody else makes one.
    _token: Arc<()>,
}

/// The groups that something is being done for outside of the shard.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(BTreeMap<Arc<str>, Weak<()>>);

impl TargetJob {
    pub(super) fn run(self) -> MadeTarget {
        let TargetJob { epoch, assignor, spec, token } = self;
        let assignments = assignor.assign(&spec);
        MadeTarget { epoch, assignor, spec, assignments, _token: token }
    }
}

impl UnderWay {
    pub(super) fn contains(&self, group_id: &str) -> bool {
        self.0.get(group_id).is_some_and(|token| token.strong_count() > 0)
    }

    /// Until the token is let go of.
    pub(super) fn begin(&mut self, group_id: &Arc<str>) -> Arc<()> {
        self.0.retain(|_, token| token.strong_count() > 0);
        let token = Arc::new(());
        self.0.insert(Arc::clone(group_id), Arc::downgrade(&token));
        token
    }
}

impl GroupShard {
    /// Makes the target that the group is due, if it is; or answers what is to be done outside of the shard for it.
    pub(super) fn make_target(&mut self, turn: &GroupTurn<'_>, draft: &mut Draft) -> Option<TargetJob> {
        let (group, group_id) = (draft.group(), &draft.group_id);
        if !self.may_make_target(turn, group_id, group) || self.assigning.contains(group_id) {
            return None;
        }
        let (epoch, assignor, spec) = (group.epoch, self.assignor_of(group), self.group_spec(group));
        let partitions = spec.partitions.values().filter_map(|count| usize::try_from(*count).ok());
        if spec.members.len() + partitions.sum::<usize>() < self.config.consumer.assigned_elsewhere_from {
            write(turn, draft, epoch, assignor, &assignor.assign(&spec));
            return None;
        }
        debug!(group = %group_id, epoch, assignor = assignor.name(), "a target is being made elsewhere");
        let token = self.assigning.begin(&draft.group_id);
        Some(TargetJob { epoch, assignor, spec, token })
    }

    /// Takes up a target that was made elsewhere, unless the group has become another meanwhile: then the next heartbeat
    /// has one made again.
    pub(super) fn take_up(&self, turn: &GroupTurn<'_>, draft: &mut Draft, made: &MadeTarget) {
        if self.fits(draft.group(), made) {
            write(turn, draft, made.epoch, made.assignor, &made.assignments);
        } else {
            info!(group = %draft.group_id, epoch = made.epoch, "the group has changed while its target was made");
        }
    }

    /// Whether the group may go by a target that was made for how it was a while ago. Where the group is at a later epoch
    /// another target follows, so that members who have left or come since do no harm. But a member that has taken an
    /// earlier one's place is to have what that was to have.
    fn fits(&self, group: &ConsumerGroup, made: &MadeTarget) -> bool {
        let is_known = |member_id: &str| made.spec.members.contains_key(member_id);
        made.epoch > group.target.epoch
            && match made.epoch.cmp(&group.epoch) {
                Ordering::Less => {
                    let member_ids = group.members().map(|member| &*member.member_id);
                    member_ids.filter(|id| !is_known(id)).all(|id| group.target.of(id).is_empty())
                }
                Ordering::Equal => self.group_spec(group) == made.spec,
                Ordering::Greater => false,
            }
    }
}

/// Writes what of a target is new.
fn write(
    turn: &GroupTurn<'_>,
    draft: &mut Draft,
    epoch: i32,
    assignor: Assignor,
    assignments: &BTreeMap<Arc<str>, Assignment>,
) {
    let group = draft.group();
    let changed: Vec<(Arc<str>, Assignment)> = group
        .target
        .changed_by(assignments)
        .filter(|(member_id, _)| group.member(member_id).is_some())
        .map(|(member_id, assignment)| (Arc::clone(member_id), assignment.clone()))
        .collect();
    info!(
        group = %draft.group_id, epoch, assignor = assignor.name(), changed = changed.len(), "a new target is made"
    );
    for (member_id, assignment) in changed {
        draft.write_target_of(&member_id, &assignment);
    }
    draft.write_target(epoch, turn.now.wall.value());
}
