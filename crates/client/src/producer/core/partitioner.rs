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
    let candidates = topic.partitions.iter().filter(|partition| !has_leader || partition.leader.is_some());
    // Read once: others append meanwhile.
    let backlogs: Vec<(i32, usize)> = candidates
        .map(|partition| {
            let queue = usize::try_from(partition.index).ok().and_then(|place| queues.get(place));
            let backlog =
                queue.filter(|_| is_adaptive).map_or(0, |queue| queue.backlog.load(Ordering::Relaxed));
            (partition.index, backlog)
        })
        .collect();
    let most = backlogs.iter().map(|(_, backlog)| *backlog).max().unwrap_or(0);
    let weight = |backlog: usize| (most - backlog + 1) as u64;
    let total: u64 = backlogs.iter().map(|(_, backlog)| weight(*backlog)).sum();
    let Some(mut lot) = random.checked_rem(total) else { return 0 };
    for (index, backlog) in backlogs {
        match lot.checked_sub(weight(backlog)) {
            Some(rest) => lot = rest,
            None => return index,
        }
    }
    0
}

#[cfg(test)]
pub(super) mod tests {
    use ottla_types::{LeaderEpoch, NodeId, Uuid};
    use ottla_wire::ErrorCode;
    use parking_lot::Mutex;

    use super::*;
    use crate::cluster::Partition;

    /// Partitions with these leaders.
    pub fn topic(leaders: &[Option<i32>]) -> Topic {
        let partition = |(index, leader): (i32, &Option<i32>)| Partition {
            index,
            leader: leader.map(NodeId),
            leader_epoch: LeaderEpoch(0),
            replicas: Vec::new(),
            isr: Vec::new(),
            offline: Vec::new(),
            error: ErrorCode::None,
        };
        let partitions = (0..).zip(leaders).map(partition).collect();
        Topic { name: "t".into(), id: Uuid::ZERO, is_internal: false, partitions }
    }

    fn queues(backlogs: &[usize]) -> Vec<Arc<Queue>> {
        let queue = |(partition, backlog): (i32, &usize)| {
            Arc::new(Queue {
                topic: "t".into(),
                partition,
                id: 0,
                backlog: AtomicUsize::new(*backlog),
                state: Mutex::default(),
            })
        };
        (0..).zip(backlogs).map(queue).collect()
    }

    fn drawn(leaders: &[Option<i32>], backlogs: &[usize], is_adaptive: bool) -> Vec<usize> {
        let (topic, queues) = (topic(leaders), queues(backlogs));
        let mut counts = vec![0; leaders.len()];
        for random in 0..1_200 {
            counts[usize::try_from(draw(&topic, &queues, is_adaptive, random)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_less_waits_somewhere_the_more_goes_there() {
        let led = [Some(1), Some(2), Some(1)];
        assert_eq!(drawn(&led, &[0, 0, 0], true), [400, 400, 400]);
        assert_eq!(drawn(&led, &[0, 2, 2], true), [720, 240, 240]);
        assert_eq!(drawn(&led, &[0, 2, 2], false), [400, 400, 400]);
        assert_eq!(drawn(&[Some(1), None, Some(2)], &[0, 0, 0], true), [600, 0, 600]);
        assert_eq!(drawn(&[None, None], &[0, 0], true), [600, 600]);
        assert_eq!(draw(&topic(&[]), &[], true, 5), 0);
    }

    #[test]
    fn a_partition_is_left_once_it_got_enough() {
        let (topic, queues) = (topic(&[Some(1), Some(1)]), queues(&[0, 0]));
        let sticky = Sticky::new(3);
        let first = sticky.current(&topic, &queues, true);
        sticky.appended(first, 99, 100, &topic, &queues, true);
        assert_eq!(sticky.current(&topic, &queues, true), first);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let current = sticky.current(&topic, &queues, true);
            seen.insert(current);
            sticky.appended(current, 100, 100, &topic, &queues, true);
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn in_turn_means_every_partition_with_a_leader() {
        let topic = topic(&[Some(1), None, Some(2)]);
        let in_turn = RoundRobin::default();
        let chosen: Vec<i32> = (0..4).map(|_| in_turn.partition(&Record::to("t"), &topic)).collect();
        assert_eq!(chosen, [0, 2, 0, 2]);
    }
}
