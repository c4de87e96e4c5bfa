//! Which replicas of a topic are throttled (KIP-73).

use std::collections::BTreeSet;

use ottla_config::TopicConfig;
use ottla_replica::Throttled;
use ottla_types::NodeId;

/// All of a topic's replicas on this broker.
const ALL: &str = "*";

/// Of one topic, on one broker.
#[derive(Debug)]
pub(super) struct Throttles {
    leader: Replicas,
    follower: Replicas,
}

#[derive(Debug)]
enum Replicas {
    All,
    Some(BTreeSet<i32>),
}

impl Throttles {
    pub fn new(config: &TopicConfig, local: NodeId) -> Throttles {
        Throttles {
            leader: replicas(&config.leader_replication_throttled_replicas, local),
            follower: replicas(&config.follower_replication_throttled_replicas, local),
        }
    }

    pub fn of(&self, partition: i32) -> Throttled {
        Throttled { leader: self.leader.contains(partition), follower: self.follower.contains(partition) }
    }
}

impl Replicas {
    fn contains(&self, partition: i32) -> bool {
        match self {
            Replicas::All => true,
            Replicas::Some(partitions) => partitions.contains(&partition),
        }
    }
}

/// From entries of the form `partition:broker`.
fn replicas(entries: &[String], local: NodeId) -> Replicas {
    if entries.iter().any(|entry| entry == ALL) {
        return Replicas::All;
    }
    let here = entries.iter().filter_map(|entry| {
        let (partition, broker) = entry.split_once(':')?;
        (broker.parse() == Ok(local.value())).then(|| partition.parse().ok())?
    });
    Replicas::Some(here.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entries: &[&str], expected: &[i32]) {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        let replicas = replicas(&entries, NodeId(2));
        let found: Vec<i32> = (0..4).filter(|partition| replicas.contains(*partition)).collect();
        assert_eq!(found, expected, "{entries:?}");
    }

    #[test]
    fn the_replicas_of_this_broker_are_named_by_partition() {
        check(&[], &[]);
        check(&[""], &[]);
        check(&["0:2", "1:1", "3:2"], &[0, 3]);
        check(&["0:22", "2:0"], &[]);
        check(&["*"], &[0, 1, 2, 3]);
    }
}
