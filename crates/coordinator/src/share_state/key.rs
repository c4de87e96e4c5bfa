use std::fmt;
use std::sync::Arc;

use ottla_types::Uuid;

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
