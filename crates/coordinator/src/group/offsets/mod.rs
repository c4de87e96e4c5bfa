//! Committed offsets of the groups of one shard, and those that wait for the end of a transaction.

mod api;
mod by_partition;
mod commit;
mod delete;
mod expiry;
mod fetch;
mod txn_commit;

use std::sync::Arc;

use ottla_types::{LeaderEpoch, Offset, ProducerId, Timestamp, TopicPartition, Uuid};
use ottla_wire::records::OffsetCommitValue;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use by_partition::GroupOffsets;
pub(crate) use fetch::fetch_offsets;

use super::record::GroupRecord;
use crate::runtime::Producer;

/// One committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: String,
    pub(crate) commit_timestamp: Timestamp,
    /// Set where the commit itself said how long it lives (OffsetCommit v2 to v4).
    pub(crate) expire_timestamp: Option<Timestamp>,
    /// Zero where the commit named no topic id.
    pub(crate) topic_id: Uuid,
    /// Where the commit lies in the log: of two, the later one counts.
    pub(crate) record_offset: Offset,
}

type OffsetsByGroup = RedBlackTreeMapSync<Arc<str>, GroupOffsets>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offsets {
    committed: OffsetsByGroup,
    /// Offsets in open transactions, of which nobody may hear unless they are committed.
    pending: RedBlackTreeMapSync<ProducerId, OffsetsByGroup>,
    /// The transactions that are open in a group.
    open_transactions: RedBlackTreeMapSync<Arc<str>, RedBlackTreeSetSync<ProducerId>>,
}

impl Offsets {
    pub(crate) fn of_group(&self, group_id: &str) -> Option<&GroupOffsets> {
        self.committed.get(group_id)
    }

    /// Whether the group has offsets, committed or in open transactions.
    pub(crate) fn has_any_of(&self, group_id: &str) -> bool {
        self.committed.contains_key(group_id) || self.has_open_transactions(group_id)
    }

    pub(crate) fn has_open_transactions(&self, group_id: &str) -> bool {
        self.open_transactions.contains_key(group_id)
    }

    pub(crate) fn has_pending(&self, group_id: &str, topic: &str, partition: i32) -> bool {
        self.pending_of_group(group_id).any(|offsets| offsets.get(topic, partition).is_some())
    }

    /// The offsets of each transaction that is open in the group.
    fn pending_of_group<'a>(&'a self, group_id: &'a str) -> impl Iterator<Item = &'a GroupOffsets> {
        let producers = self.open_transactions.get(group_id).into_iter().flatten();
        producers.filter_map(move |producer| self.pending.get(producer)?.get(group_id))
    }

    pub(crate) fn replay(
        &mut self,
        record_offset: Offset,
        producer: Option<Producer>,
        group_id: Arc<str>,
        partition: TopicPartition,
        value: Option<OffsetCommitValue>,
    ) {
        match (value, producer) {
            (Some(value), None) => {
                put(&mut self.committed, group_id, partition, committed(record_offset, value));
            }
            (Some(value), Some(producer)) => {
                self.put_pending(producer.id, group_id, partition, committed(record_offset, value));
            }
            (None, _) => {
                remove(&mut self.committed, &group_id, &partition);
                self.remove_pending(&group_id, &partition);
            }
        }
    }

    pub(crate) fn replay_end_transaction(&mut self, producer: Producer, is_committed: bool) {
        let Some(offsets_by_group) = self.pending.get(&producer.id).cloned() else { return };
        self.pending.remove_mut(&producer.id);
        for (group_id, offsets) in &offsets_by_group {
            self.close_transaction(group_id, producer.id);
            if !is_committed {
                continue;
            }
            for (topic, partition, pending) in offsets.iter() {
                let current = self.committed.get(group_id).and_then(|offsets| offsets.get(topic, partition));
                // What was committed outside of the transaction, but after it in the log, stays.
                if current.is_none_or(|current| current.record_offset < pending.record_offset) {
                    let partition = TopicPartition::new(Arc::clone(topic), partition);
                    put(&mut self.committed, Arc::clone(group_id), partition, pending.clone());
                }
            }
        }
    }

    fn put_pending(
        &mut self,
        producer: ProducerId,
        group_id: Arc<str>,
        partition: TopicPartition,
        offset: CommittedOffset,
    ) {
        let mut offsets = self.pending.get(&producer).cloned().unwrap_or_default();
        put(&mut offsets, Arc::clone(&group_id), partition, offset);
        self.pending.insert_mut(producer, offsets);
        let mut open = self.open_transactions.get(&group_id).cloned().unwrap_or_default();
        open.insert_mut(producer);
        self.open_transactions.insert_mut(group_id, open);
    }

    /// A transaction that has no offset of the group left is none of the group's any more.
    fn remove_pending(&mut self, group_id: &Arc<str>, partition: &TopicPartition) {
        let Some(producers) = self.open_transactions.get(group_id).cloned() else { return };
        for producer in &producers {
            let Some(offsets) = self.pending.get_mut(producer) else { continue };
            remove(offsets, group_id, partition);
            if offsets.contains_key(group_id) {
                continue;
            }
            if offsets.is_empty() {
                self.pending.remove_mut(producer);
            }
            self.close_transaction(group_id, *producer);
        }
    }

    fn close_transaction(&mut self, group_id: &Arc<str>, producer: ProducerId) {
        if let Some(open) = self.open_transactions.get_mut(group_id) {
            open.remove_mut(&producer);
            if open.is_empty() {
                self.open_transactions.remove_mut(group_id);
            }
        }
    }
}

fn put(offsets: &mut OffsetsByGroup, group_id: Arc<str>, partition: TopicPartition, offset: CommittedOffset) {
    if let Some(of_group) = offsets.get_mut(&group_id) {
        of_group.put(partition, offset);
        return;
    }
    let mut of_group = GroupOffsets::default();
    of_group.put(partition, offset);
    offsets.insert_mut(group_id, of_group);
}

fn remove(offsets: &mut OffsetsByGroup, group_id: &Arc<str>, partition: &TopicPartition) {
    if let Some(of_group) = offsets.get_mut(group_id) {
        of_group.remove(partition);
        if of_group.is_empty() {
            offsets.remove_mut(group_id);
        }
    }
}

fn committed(record_offset: Offset, value: OffsetCommitValue) -> CommittedOffset {
    CommittedOffset {
        offset: value.offset,
        leader_epoch: LeaderEpoch(value.leader_epoch.max(-1)),
        metadata: value.metadata,
        commit_timestamp: Timestamp(value.commit_timestamp),
        expire_timestamp: (value.expire_timestamp != -1).then_some(Timestamp(value.expire_timestamp)),
        topic_id: value.topic_id,
        record_offset,
    }
}

fn tombstone(group_id: &str, partition: &TopicPartition) -> GroupRecord {
    GroupRecord::OffsetCommit { group_id: Arc::from(group_id), partition: partition.clone(), value: None }
}
