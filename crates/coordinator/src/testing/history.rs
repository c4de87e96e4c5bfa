//! What the random histories of all coordinators share: a stream of choices, and what may become of a log while they go
//! on.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{Offset, ProducerId};

use super::{MemoryLog, MemoryLogs};
use crate::runtime::{StoredBatch, StoredContent};

/// A reproducible stream of choices (xorshift64*).
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Choices {
        Choices(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

impl MemoryLogs {
    /// Commits what was written up to one of the last batches; answers how far that is.
    pub(crate) fn commit_some(&self, partition: i32, choices: &mut Choices) -> Option<Offset> {
        let behind = choices.below(3);
        let log = self.log(partition);
        let last = log.batches.iter().rev().nth(behind)?;
        self.commit_to(partition, last.last_offset.next());
        Some(self.log(partition).high_watermark)
    }
}

impl MemoryLog {
    /// What the next leader may find: all that is committed, and of the rest what lies in front of any batch; now and then
    /// with what is committed compacted.
    pub(crate) fn survivor(&self, choices: &mut Choices) -> MemoryLog {
        let left = self.truncated_somewhere(choices);
        match choices.below(3) {
            0 => left.compacted(choices.one_in(2)),
            _ => left,
        }
    }

    /// [`MemoryLog::survivor`] of a log that nobody compacts.
    pub(crate) fn truncated_somewhere(&self, choices: &mut Choices) -> MemoryLog {
        let uncommitted = self.batches.iter().map(|batch| batch.last_offset.next());
        let uncommitted = uncommitted.filter(|end| *end > self.high_watermark);
        let ends: Vec<Offset> = std::iter::once(self.high_watermark).chain(uncommitted).collect();
        self.truncated(ends[choices.below(ends.len())])
    }

    /// Of what is committed, and in front of all transactions that are open, the latest record of each key; none of
    /// transactions that were aborted. Tombstones go where there may be nothing before them any more, and markers where
    /// nothing is left of their transaction.
    pub(crate) fn compacted(&self, keeps_tombstones: bool) -> MemoryLog {
        let Transactions { first_open, aborted } = Transactions::of(self);
        let bound = first_open.unwrap_or(self.high_watermark);
        let is_cleaned = |batch: &StoredBatch| batch.last_offset < bound;
        let is_aborted = |batch: &StoredBatch| aborted.contains(&batch.base_offset);
        let mut latest: BTreeMap<Vec<u8>, Offset> = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| is_cleaned(batch) && !is_aborted(batch)) {
            let StoredContent::Records(records) = &batch.content else { continue };
            for record in records {
                latest.insert(record.key.as_deref().unwrap_or_default().to_vec(), record.offset);
            }
        }
        let end = self.end();
        let mut left = MemoryLog { batches: Vec::new(), high_watermark: self.high_watermark };
        // Of the transactions so far, those of which something is left.
        let mut producers_left: BTreeSet<ProducerId> = BTreeSet::new();
        for batch in &self.batches {
            let mut batch = batch.clone();
            let (cleaned, aborted) = (is_cleaned(&batch), is_aborted(&batch));
            let producer = batch.producer.map(|producer| producer.id);
            let stays = match &mut batch.content {
                StoredContent::Records(records) => {
                    records.retain(|record| {
                        let newest = latest.get(record.key.as_deref().unwrap_or_default());
                        let is_latest = !aborted && newest == Some(&record.offset);
                        !cleaned || is_latest && (keeps_tombstones || record.value.is_some())
                    });
                    if !records.is_empty() {
                        producers_left.extend(producer);
                    }
                    !records.is_empty()
                }
                StoredContent::EndTransaction { .. } => {
                    let has_something = producer.is_some_and(|id| producers_left.remove(&id));
                    !cleaned || has_something || keeps_tombstones
                }
                StoredContent::OtherControl => true,
            };
            // The log's end is where it was.
            if stays || batch.last_offset.next() == end {
                left.batches.push(batch);
            }
        }
        left
    }
}

/// What became of the transactions in the committed part of a log.
struct Transactions {
    /// Where the first begins that has no end.
    first_open: Option<Offset>,
    /// Where the batches begin of those that were aborted.
    aborted: BTreeSet<Offset>,
}

impl Transactions {
    fn of(log: &MemoryLog) -> Transactions {
        let mut open: BTreeMap<ProducerId, Vec<Offset>> = BTreeMap::new();
        let mut aborted = BTreeSet::new();
        for batch in log.batches.iter().filter(|batch| batch.last_offset < log.high_watermark) {
            let Some(producer) = batch.producer else { continue };
            match batch.content {
                StoredContent::Records(_) => open.entry(producer.id).or_default().push(batch.base_offset),
                StoredContent::EndTransaction { committed } => {
                    let ended = open.remove(&producer.id).unwrap_or_default();
                    aborted.extend(ended.into_iter().filter(|_| !committed));
                }
                StoredContent::OtherControl => {}
            }
        }
        Transactions { first_open: open.into_values().flatten().min(), aborted }
    }
}
