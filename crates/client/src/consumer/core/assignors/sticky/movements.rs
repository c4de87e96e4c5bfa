//! Which partitions moved between which members while balancing, so that two partitions of a topic don't swap owners.

use std::collections::HashMap;

use super::{JavaHashSet, Partition};

type Pair = (usize, usize);

/// Movements so far, each from the first owner to the latest.
#[derive(Debug, Default)]
pub(super) struct Movements {
    pairs: HashMap<Partition, Pair>,
    partitions: HashMap<(usize, Pair), JavaHashSet<Partition>>,
}

impl Movements {
    pub fn record(&mut self, partition: Partition, hash_code: i32, from: usize, to: usize) {
        let first = match self.pairs.remove(&partition) {
            Some(pair) => {
                self.forget(partition, pair);
                pair.0
            }
            None => from,
        };
        if first != to {
            self.pairs.insert(partition, (first, to));
            self.partitions.entry((partition.0, (first, to))).or_default().insert(hash_code, partition);
        }
    }

    /// Which partition of the topic to move so that `partition`'s owner gives one to `to`: one that came from there goes
    /// back rather than another one there.
    pub fn instead_of(&self, partition: Partition, from: usize, to: usize) -> Partition {
        let first = self.pairs.get(&partition).map_or(from, |pair| pair.0);
        let came_from_there = self.partitions.get(&(partition.0, (to, first)));
        came_from_there.and_then(JavaHashSet::first).copied().unwrap_or(partition)
    }

    fn forget(&mut self, partition: Partition, pair: Pair) {
        let key = (partition.0, pair);
        if let Some(partitions) = self.partitions.get_mut(&key) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.partitions.remove(&key);
            }
        }
    }
}
