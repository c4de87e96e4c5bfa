//! Which partition a record goes to that doesn't say so.
//!
//! Records with a key go where Java's producer puts them. Others stay with one partition until a batch is full, and then go on
//! to one that is drawn by lot, the sooner the less waits there (KIP-480, KIP-794).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use super::queue::Queue;
use super::record::Record;
use crate::cluster::Topic;

/// A rule of one's own.
pub trait Partitioner: fmt::Debug + Send + Sync {
    /// The partition that a record goes to, which has to be one of the topic's.
    fn partition(&self, record: &Record<'_>, topic: &Topic) -> i32;
}

/// One partition after the other, whatever the key.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl Partitioner for RoundRobin {
    fn partition(&self, _record: &Record<'_>, topic: &Topic) -> i32 {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let led = || topic.partitions.iter().filter(|partition| partition.leader.is_some());
        let count = led().count();
        let chosen = match count {
            0 => topic.partitions.get(next.checked_rem(topic.partitions.len()).unwrap_or(0)),
            count => led().nth(next % count),
        };
        chosen.map_or(0, |partition| partition.index)
    }
}

/// Where records of a topic without key go at the moment.
#[derive(Debug)]
pub(crate) struct Sticky {
    current: AtomicI32,
    /// Bytes since the partition was chosen.
    produced: AtomicUsize,
    random: AtomicU64,
}

const NONE: i32 = -1;

impl Sticky {
    pub fn new(seed: u64) -> Sticky {
        Sticky {
            current: AtomicI32::new(NONE),
            produced: AtomicUsize::new(0),
            random: AtomicU64::new(seed | 1),
        }
    }

    pub fn current(&self, topic: &Topic, queues: &[Arc<Queue>], is_adaptive: bool) -> i32 {
        match self.current.load(Ordering::Relaxed) {
            NONE => self.choose(NONE, topic, queues, is_adaptive),
            current => current,
        }
    }

    /// Counts what was appended to `partition`, and goes on to another one once it got `enough` bytes.
    pub fn appended(
        &self,
        partition: i32,
        bytes: usize,
        enough: usize,
        topic: &Topic,
        queues: &[Arc<Queue>],
        is_adaptive: bool,
    ) {
        let produced = self.produced.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if produced >= enough.max(1) {
            self.choose(partition, topic, queues, is_adaptive);
        }
    }

    fn choose(&self, from: i32, topic: &Topic, queues: &[Arc<Queue>], is_adaptive: bool) -> i32 {
        let chosen = draw(topic, queues, is_adaptive, self.random());
        let changed = self.current.compare_exchange(from, chosen, Ordering::Relaxed, Ordering::Relaxed);
        match changed {
            Ok(_) => {
                self.produced.store(0, Ordering::Relaxed);
                chosen
            }
            // Another thread has chosen meanwhile.
            Err(current) => current,
        }
    }

    fn random(&self) -> u64 {
        let mut x = self.random.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.store(x, Ordering::Relaxed);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

/// A partition by lot: of those with a leader, if there is one, and the likelier the less waits for it.
fn draw(topic: &Topic, queues: &[Arc<Queue>], is_adaptive: bool, random: u64) -> i32 {
    let has_leader = topic.partitions.iter().any(|partition| partition.leader.is_some());
    let candidates = || {
        topic.partitions.iter().filter(|partition| !has_leader || partition.leader.is_some()).map(
            |partition| {
                let queue = usize::try_from(partition.index).ok().and_then(|place| queues.get(place));
                let backlog = queue.map_or(0, |queue| queue.backlog.load(Ordering::Relaxed));
                (partition.index, if is_adaptive { backlog } else { 0 })
            },
        )
    };
    let most = candidates().map(|(_, backlog)| backlog).max().unwrap_or(0);
    let weight = |backlog: usize| (most + 1 - backlog) as u64;
    let total: u64 = candidates().map(|(_, backlog)| weight(backlog)).sum();
    let Some(mut lot) = random.checked_rem(total) else { return 0 };
    for (index, backlog) in candidates() {
        match lot.checked_sub(weight(backlog)) {
            Some(rest) => lot = rest,
            None => return index,
        }
    }
    0
}
