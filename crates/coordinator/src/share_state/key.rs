use std::fmt;
use std::sync::Arc;

use ottla_types::{Uuid, java_string_hash};

/// One partition as one share group sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharePartitionKey {
    pub group_id: Arc<str>,
    pub topic_id: Uuid,
    pub partition: i32,
}

impl SharePartitionKey {
    pub fn new(group_id: impl Into<Arc<str>>, topic_id: Uuid, partition: i32) -> SharePartitionKey {
        SharePartitionKey { group_id: group_id.into(), topic_id, partition }
    }
}

/// As FindCoordinator names it, and as it is hashed.
impl fmt::Display for SharePartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.group_id, self.topic_id, self.partition)
    }
}

/// Kafka's `Utils.abs(key.hashCode()) % partitions`: the least int counts as 0.
pub fn partition_for_key(key: &str, partitions: i32) -> i32 {
    java_string_hash(key).checked_abs().unwrap_or(0) % partitions
}
