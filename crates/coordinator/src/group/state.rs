//! What a shard keeps in the log: which groups there are, the last generation that each classic one has completed, and
//! the committed offsets. Changed by [`GroupState::replay`] alone.

use std::sync::Arc;

use ottla_types::Offset;
use ottla_wire::records::GroupMetadataValue;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::consumer::{ConsumerGroup, ConsumerRecord};
use super::offsets::Offsets;
use super::record::{ForeignKind, ForeignRecord, ForeignSubject, GroupRecord};
use super::share::{ShareGroup, ShareRecord};
use crate::runtime::Producer;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupState {
    pub(crate) groups: RedBlackTreeMapSync<Arc<str>, StoredGroup>,
    pub(crate) offsets: Offsets,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StoredGroup {
    /// Known only by its offsets: nobody ever joined it.
    Simple,
    Classic(Arc<GroupMetadataValue>),
    Consumer(Arc<ConsumerGroup>),
    Share(Arc<ShareGroup>),
    Foreign(ForeignGroup),
}

/// A group of a kind that this coordinator doesn't serve. It is listed, and otherwise left to those who do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForeignGroup {
    pub(crate) kind: ForeignKind,
    pub(crate) members: RedBlackTreeSetSync<Arc<str>>,
}

impl GroupState {
    pub(crate) fn replay(&mut self, offset: Offset, producer: Option<Producer>, record: GroupRecord) {
        match record {
            GroupRecord::OffsetCommit { group_id, partition, value } => {
                if value.is_some() && !self.groups.contains_key(&group_id) {
                    self.groups.insert_mut(Arc::clone(&group_id), StoredGroup::Simple);
                }
                self.offsets.replay(offset, producer, group_id, partition, value);
            }
            GroupRecord::GroupMetadata { group_id, value } => match value {
                Some(value) => {
                    self.groups.insert_mut(Arc::from(group_id), StoredGroup::Classic(Arc::new(value)));
                }
                // What remains in the log of a group that is of another kind by now takes nothing from that.
                None if matches!(
                    self.groups.get(group_id.as_str()),
                    Some(StoredGroup::Simple | StoredGroup::Classic(_))
                ) =>
                {
                    self.remove_group(Arc::from(group_id));
                }
                None => {}
            },
            GroupRecord::Consumer(record) => self.replay_consumer(record),
            GroupRecord::Share(record) => self.replay_share(record),
            GroupRecord::Foreign(record) => self.replay_foreign(record),
        }
    }

    /// Offsets outlive the group that they are of, if the log has nothing of its next kind: then it is one of offsets alone,
    /// with which they expire. Who deletes a group takes its offsets out first.
    fn remove_group(&mut self, group_id: Arc<str>) {
        if self.offsets.has_any_of(&group_id) {
            self.groups.insert_mut(group_id, StoredGroup::Simple);
        } else {
            self.groups.remove_mut(&group_id);
        }
    }

    fn replay_consumer(&mut self, record: ConsumerRecord) {
        let ConsumerRecord { group_id, content } = record;
        let is_gone = content.is_tombstone_of_group();
        match self.groups.get_mut(&group_id) {
            Some(StoredGroup::Consumer(_)) if is_gone => self.remove_group(group_id),
            Some(StoredGroup::Consumer(group)) => Arc::make_mut(group).replay(content),
            // It is of another kind by now, or gone.
            _ if content.is_tombstone() => {}
            _ => {
                let mut group = ConsumerGroup::default();
                group.replay(content);
                self.groups.insert_mut(group_id, StoredGroup::Consumer(Arc::new(group)));
            }
        }
    }

    fn replay_share(&mut self, record: ShareRecord) {
        let ShareRecord { group_id, content } = record;
        let is_gone = content.is_tombstone_of_group();
        match self.groups.get_mut(&group_id) {
            Some(StoredGroup::Share(_)) if is_gone => {
                self.groups.remove_mut(&group_id);
            }
            Some(StoredGroup::Share(group)) => Arc::make_mut(group).replay(content),
            // It is of another kind by now, or gone.
            _ if content.is_tombstone() => {}
            _ => {
                let mut group = ShareGroup::default();
                group.replay(content);
                self.groups.insert_mut(group_id, StoredGroup::Share(Arc::new(group)));
            }
        }
    }

    fn replay_foreign(&mut self, record: ForeignRecord) {
        let ForeignRecord { group_id, kind, subject, is_tombstone } = record;
        let stored = match self.groups.get(&group_id) {
            Some(StoredGroup::Foreign(group)) if group.kind == kind => Some(group.clone()),
            _ => None,
        };
        if is_tombstone && (stored.is_none() || subject == ForeignSubject::Group) {
            if stored.is_some() {
                self.remove_group(group_id);
            }
            return;
        }
        let mut group = stored.unwrap_or(ForeignGroup { kind, members: RedBlackTreeSetSync::default() });
        if let ForeignSubject::Member(member_id) = subject {
            if is_tombstone {
                group.members.remove_mut(&member_id);
            } else {
                group.members.insert_mut(member_id);
            }
        }
        self.groups.insert_mut(group_id, StoredGroup::Foreign(group));
    }
}
