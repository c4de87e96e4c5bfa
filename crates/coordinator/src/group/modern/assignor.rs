//! What assignors work on: who is in a group, what each subscribes to, and what each is to have so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;

/// Partitions by topic. No topic is without partitions.
pub type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member as an assignor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSpec {
    /// Set for a static member, whose id changes with each of its lives while this does not.
    pub instance_id: Option<String>,
    /// Members that subscribe to the same share this.
    pub subscribed: Arc<BTreeSet<Uuid>>,
    /// What the member is to have so far.
    pub assigned: Arc<Assignment>,
}

/// A group as an assignor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// By member id.
    pub members: BTreeMap<Arc<str>, MemberSpec>,
    /// How many partitions each topic has. A topic that is not here does not exist.
    pub partitions: BTreeMap<Uuid, i32>,
}
