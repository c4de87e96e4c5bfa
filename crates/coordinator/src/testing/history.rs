//! What the random histories of all coordinators share: a stream of choices, and what may become of a log while they go
//! on.

use std::collections::BTreeMap;

use ottla_types::Offset;

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
        let uncommitted = self.batches.iter().map(|batch| batch.last_offset.next());
        let uncommitted = uncommitted.filter(|end| *end > self.high_watermark);
        let ends: Vec<Offset> = std::iter::once(self.high_watermark).chain(uncommitted).collect();
        let left = self.truncated(ends[choices.below(ends.len())]);
        match choices.below(3) {
            0 => left.compacted(choices.one_in(2)),
            _ => left,
        }
    }

    /// Of what is committed the latest record of each key, but all of transactions. Tombstones go only where nothing can
    /// come before them any more.
    pub(crate) fn compacted(&self, keeps_tombstones: bool) -> MemoryLog {
        let is_plain =
            |batch: &&StoredBatch| batch.producer.is_none() && batch.last_offset < self.high_watermark;
        let mut latest: BTreeMap<Vec<u8>, Offset> = BTreeMap::new();
        for batch in self.batches.iter().filter(is_plain) {
            let StoredContent::Records(records) = &batch.content else { continue };
            for record in records {
                latest.insert(record.key.as_deref().unwrap_or_default().to_vec(), record.offset);
            }
        }
        let has_transactions = self.batches.iter().any(|batch| batch.producer.is_some());
        let keeps_tombstones = keeps_tombstones || has_transactions;
        let end = self.end();
        let mut left = self.clone();
        for batch in left.batches.iter_mut().filter(|batch| is_plain(&&**batch)) {
            let StoredContent::Records(records) = &mut batch.content else { continue };
            records.retain(|record| {
                let is_latest = latest.get(record.key.as_deref().unwrap_or_default()) == Some(&record.offset);
                is_latest && (keeps_tombstones || record.value.is_some())
            });
        }
        // The log's end is where it was.
        left.batches.retain(|batch| match &batch.content {
            StoredContent::Records(records) => !records.is_empty() || batch.last_offset.next() == end,
            StoredContent::EndTransaction { .. } | StoredContent::OtherControl => true,
        });
        left
    }
}
