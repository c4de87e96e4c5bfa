//! The records that a member has, and what is still to be said of them.
//!
//! What always holds: an acknowledgement belongs to the lending under which its record was handed out; it is under way once
//! at most, and its outcome is told once.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};
use ottla_wire::messages::{share_acknowledge_request, share_fetch_request};

use super::membership::IdPartition;
use super::record::{AcknowledgeType, Acknowledged, Lock, ShareRecord, lock_lost};
use crate::error::ClientError;

/// What the coordinator is told of an offset without a record.
const GAP: i8 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for its owner.
    Fetched,
    /// Its owner has it.
    Delivered,
    /// Its owner has had it renewed, and has it still.
    Renewed,
    /// Its owner has said so, and goes on with the next poll or commit only.
    Noted(i8),
    /// To go out.
    Said(i8),
    Sending(i8),
}

#[derive(Clone, Copy, Debug)]
struct Held {
    lock: Lock,
    state: State,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HeldRecords {
    partitions: BTreeMap<IdPartition, (TopicPartition, BTreeMap<i64, Held>)>,
    /// What was said of records that have been lent anew before it went out.
    too_late: Vec<(Acknowledged, Vec<(IdPartition, i64)>)>,
}

/// See [`HeldRecords::pending`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pending {
    pub is_any: bool,
    /// It is about records; what is said of offsets without a record has time until the next fetch.
    pub is_waited_for: bool,
    pub renews: bool,
}

/// Offsets in a row, with what is said of each: the protocol's form of it.
pub(super) type Batches = Vec<(i64, i64, Vec<i8>)>;

impl HeldRecords {
    pub fn fetched(&mut self, record: &ShareRecord) {
        let held = Held { lock: record.lock, state: State::Fetched };
        self.put(&record.record.topic_partition, record.record.offset.value(), held);
    }

    /// An offset was lent that has no record: that is said by itself.
    pub fn gap(&mut self, partition: &TopicPartition, offset: i64, lock: Lock) {
        self.put(partition, offset, Held { lock, state: State::Said(GAP) });
    }

    /// What can't be read is for others to try.
    pub fn unreadable(&mut self, partition: &TopicPartition, offset: i64, lock: Lock) {
        self.put(partition, offset, Held { lock, state: State::Said(AcknowledgeType::Release as i8) });
    }

    fn put(&mut self, partition: &TopicPartition, offset: i64, held: Held) {
        let key = (held.lock.topic_id, partition.partition);
        let (_, offsets) = self.partitions.entry(key).or_insert_with(|| (partition.clone(), BTreeMap::new()));
        let before = offsets.insert(offset, held);
        let was_said = |kind: i8| kind != GAP;
        if before.is_some_and(
            |before| matches!(before.state, State::Noted(kind) | State::Said(kind) if was_said(kind)),
        ) {
            let told = Acknowledged {
                partition: partition.clone(),
                offsets: vec![offset],
                result: Err(lock_lost()),
            };
            self.too_late.push((told, vec![(key, offset)]));
        }
    }

    /// Its time was over: what was said of it counts for nothing.
    pub fn take_too_late(&mut self) -> Vec<(Acknowledged, Vec<(IdPartition, i64)>)> {
        std::mem::take(&mut self.too_late)
    }

    fn of(&mut self, record: &ShareRecord) -> Option<&mut Held> {
        let key = (record.lock.topic_id, record.record.partition());
        let (_, offsets) = self.partitions.get_mut(&key)?;
        offsets.get_mut(&record.record.offset.value()).filter(|held| held.lock == record.lock)
    }

    /// Whether the record is still lent, and may be handed out.
    pub fn deliver(&mut self, record: &ShareRecord) -> bool {
        match self.of(record) {
            Some(held) if held.state == State::Fetched => {
                held.state = State::Delivered;
                true
            }
            _ => false,
        }
    }

    /// False: the record is not this member's any more. What was said last counts, until it goes out.
    pub fn acknowledge(&mut self, record: &ShareRecord, kind: AcknowledgeType) -> bool {
        match self.of(record) {
            Some(held) if matches!(held.state, State::Delivered | State::Renewed | State::Noted(_)) => {
                held.state = State::Noted(kind as i8);
                true
            }
            _ => false,
        }
    }

    /// What the owner has said so far is to go out.
    pub fn say_noted(&mut self) {
        for held in self.partitions.values_mut().flat_map(|(_, offsets)| offsets.values_mut()) {
            if let State::Noted(kind) = held.state {
                held.state = State::Said(kind);
            }
        }
    }

    /// What waits for its owner is for others.
    pub fn release_fetched(&mut self) {
        for held in self.partitions.values_mut().flat_map(|(_, offsets)| offsets.values_mut()) {
            if held.state == State::Fetched {
                held.state = State::Said(AcknowledgeType::Release as i8);
            }
        }
    }

    pub fn accept_delivered(&mut self) {
        for held in self.partitions.values_mut().flat_map(|(_, offsets)| offsets.values_mut()) {
            if matches!(held.state, State::Delivered | State::Renewed) {
                held.state = State::Said(AcknowledgeType::Accept as i8);
            }
        }
    }

    pub fn has_delivered(&self) -> bool {
        let mut all = self.partitions.values().flat_map(|(_, offsets)| offsets.values());
        all.any(|held| held.state == State::Delivered)
    }

    /// What is to be said to a node.
    pub fn pending(&self, node: NodeId) -> Pending {
        let all = self.partitions.values().flat_map(|(_, offsets)| offsets.values());
        let mut pending = Pending::default();
        for held in all.filter(|held| held.lock.node == node) {
            if let State::Said(kind) = held.state {
                pending.is_any = true;
                pending.is_waited_for |= kind != GAP;
                pending.renews |= kind == AcknowledgeType::Renew as i8;
            }
        }
        pending
    }

    /// Partitions of which something is to be said to a node.
    pub fn pending_partitions(&self, node: NodeId) -> impl Iterator<Item = &IdPartition> {
        let is_pending = move |held: &Held| held.lock.node == node && matches!(held.state, State::Said(_));
        self.partitions
            .iter()
            .filter(move |(_, (_, offsets))| offsets.values().any(is_pending))
            .map(|(key, _)| key)
    }

    /// Every record of which something has been or is being said: what a commit waits for.
    pub fn unanswered(&self) -> BTreeMap<(IdPartition, i64), u64> {
        let is_open =
            |held: &Held| matches!(held.state, State::Said(kind) | State::Sending(kind) if kind != GAP);
        let of_partition = |(key, (_, offsets)): (&IdPartition, &(TopicPartition, BTreeMap<i64, Held>))| {
            let said = offsets.iter().filter(|(_, held)| is_open(held));
            said.map(|(offset, held)| ((*key, *offset), held.lock.number)).collect::<Vec<_>>()
        };
        self.partitions.iter().flat_map(of_partition).collect()
    }

    /// What is to be said to a node goes out now.
    pub fn send(&mut self, node: NodeId) -> BTreeMap<IdPartition, Batches> {
        let mut sent = BTreeMap::new();
        for (key, (_, offsets)) in &mut self.partitions {
            let mut batches: Batches = Vec::new();
            for (offset, held) in offsets.iter_mut().filter(|(_, held)| held.lock.node == node) {
                let State::Said(kind) = held.state else { continue };
                held.state = State::Sending(kind);
                match batches.last_mut() {
                    Some((_, last, kinds)) if *last + 1 == *offset => {
                        *last = *offset;
                        kinds.push(kind);
                    }
                    _ => batches.push((*offset, *offset, vec![kind])),
                }
            }
            if !batches.is_empty() {
                sent.insert(*key, batches);
            }
        }
        sent
    }

    /// The node's answer for what was under way in these partitions; in all of them, if none is named.
    pub fn answered(
        &mut self,
        node: NodeId,
        of: Option<IdPartition>,
        result: &Result<(), ClientError>,
    ) -> Vec<(Acknowledged, Vec<(IdPartition, i64)>)> {
        self.end(result, |key, held| {
            let is_meant = held.lock.node == node && of.is_none_or(|of| of == *key);
            is_meant && matches!(held.state, State::Sending(_))
        })
    }

    /// Nothing that a node lent is this member's any more.
    pub fn lost(
        &mut self,
        node: NodeId,
        error: &ClientError,
    ) -> Vec<(Acknowledged, Vec<(IdPartition, i64)>)> {
        let is_of_node = |held: &Held| held.lock.node == node;
        let told = self.end(&Err(error.clone()), |_, held| {
            is_of_node(held) && matches!(held.state, State::Noted(_) | State::Said(_) | State::Sending(_))
        });
        for (_, offsets) in self.partitions.values_mut() {
            offsets.retain(|_, held| !is_of_node(held));
        }
        self.partitions.retain(|_, (_, offsets)| !offsets.is_empty());
        told
    }

    fn end(
        &mut self,
        result: &Result<(), ClientError>,
        is_meant: impl Fn(&IdPartition, &Held) -> bool,
    ) -> Vec<(Acknowledged, Vec<(IdPartition, i64)>)> {
        let mut told = Vec::new();
        for (key, (partition, offsets)) in &mut self.partitions {
            let mut ended = Vec::new();
            let mut own = Vec::new();
            offsets.retain(|offset, held| {
                if !is_meant(key, held) {
                    return true;
                }
                ended.push((*key, *offset));
                let kind = match held.state {
                    State::Noted(kind) | State::Said(kind) | State::Sending(kind) => kind,
                    _ => GAP,
                };
                if kind != GAP {
                    own.push(*offset);
                }
                let stays = kind == AcknowledgeType::Renew as i8 && result.is_ok();
                held.state = State::Renewed;
                stays
            });
            if !ended.is_empty() {
                let told_of =
                    Acknowledged { partition: partition.clone(), offsets: own, result: result.clone() };
                told.push((told_of, ended));
            }
        }
        self.partitions.retain(|_, (_, offsets)| !offsets.is_empty());
        told
    }
}

pub(super) fn for_fetch(batches: Batches) -> Vec<share_fetch_request::AcknowledgementBatch> {
    let batches = batches.into_iter();
    let batch = |(first_offset, last_offset, acknowledge_types)| share_fetch_request::AcknowledgementBatch {
        first_offset,
        last_offset,
        acknowledge_types,
        ..Default::default()
    };
    batches.map(batch).collect()
}

pub(super) fn for_acknowledge(sent: BTreeMap<IdPartition, Batches>) -> Vec<share_acknowledge_request::Topic> {
    let mut topics: Vec<share_acknowledge_request::Topic> = Vec::new();
    for ((topic_id, partition_index), batches) in sent {
        if topics.last().is_none_or(|last| last.topic_id != topic_id) {
            topics.push(share_acknowledge_request::Topic { topic_id, ..Default::default() });
        }
        let batch = |(first_offset, last_offset, acknowledge_types)| {
            share_acknowledge_request::AcknowledgementBatch {
                first_offset,
                last_offset,
                acknowledge_types,
                ..Default::default()
            }
        };
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(share_acknowledge_request::Partition {
                partition_index,
                acknowledgement_batches: batches.into_iter().map(batch).collect(),
                ..Default::default()
            });
        }
    }
    topics
}
