//! Who of a classic group reads which partitions: the assignors that a group's leader runs.
//!
//! They come to what Apache Kafka's Java client comes to on the same input, whichever member leads: a group may have
//! members of both. An assignor keeps no state of the group; what has to be remembered of the last assignment travels
//! in the subscriptions.
#![expect(
    clippy::indexing_slicing,
    reason = "indices of members, topics and partitions in tables that are made here"
)]

mod cooperative_sticky;
#[cfg(test)]
mod golden;
mod java_order;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::TopicPartition;

use super::protocol::Subscription;
pub use cooperative_sticky::CooperativeStickyAssignor;
pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::StickyAssignor;

/// How a group gets from one assignment to the next (KIP-429).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RebalanceProtocol {
    /// Members give up everything before they join.
    Eager,
    /// Members keep what they have and give up only what another member is to get; a second rebalance hands it over.
    Cooperative,
}

/// A member of the group, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<String>,
    pub subscription: Subscription,
}

/// Partitions of the topics that somebody subscribed to and that exist, by topic. The index in the list is the
/// partition's number; each partition has the known racks of its replicas.
pub type TopicRacks = BTreeMap<Arc<str>, Vec<Vec<String>>>;

/// What a member is to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    pub partitions: Vec<TopicPartition>,
    pub user_data: Option<Bytes>,
}

/// A strategy of assignment. Every member of a group must know at least one that all others know too.
pub trait Assignor: Send + std::fmt::Debug {
    /// Goes over the wire; all members that use the strategy say the same.
    fn name(&self) -> &str;

    /// The most careful protocol that the strategy can do.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// What a member's own assignor tells the leader's when it joins.
    fn subscription_user_data(&self, _topics: &[Arc<str>]) -> Option<Bytes> {
        None
    }

    /// The leader's part. `members` are in the order in which the coordinator named them. The answer has an entry for each
    /// member.
    fn assign(&self, topics: &TopicRacks, members: &[GroupMember]) -> BTreeMap<String, Assignment>;

    /// Every member's part, when it got its assignment in this generation.
    fn on_assignment(&mut self, _assignment: &Assignment, _generation: i32) {}
}

/// The built-in assignor of this name, as in `partition.assignment.strategy`: its own name or the name of Java's class.
pub fn by_name(name: &str) -> Option<Box<dyn Assignor>> {
    match name.strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(name) {
        "range" | "RangeAssignor" => Some(Box::new(RangeAssignor)),
        "roundrobin" | "RoundRobinAssignor" => Some(Box::new(RoundRobinAssignor)),
        "sticky" | "StickyAssignor" => Some(Box::<StickyAssignor>::default()),
        "cooperative-sticky" | "CooperativeStickyAssignor" => {
            Some(Box::<CooperativeStickyAssignor>::default())
        }
        _ => None,
    }
}

/// Members in the order that range and round-robin go by: static ones by their instance, then the others by their id.
fn in_assignment_order(members: &[GroupMember]) -> Vec<&GroupMember> {
    let mut sorted: Vec<&GroupMember> = members.iter().collect();
    sorted.sort_by_key(|member| match &member.group_instance_id {
        Some(instance) => (0, instance),
        None => (1, &member.member_id),
    });
    sorted
}

/// Does it make a difference which rack reads? Only if consumers and replicas share racks, and some partition is not on
/// every rack that has any (KIP-881).
fn racks_matter<'a>(
    consumer_racks: impl IntoIterator<Item = &'a str>,
    partitions: impl Iterator<Item = &'a [String]> + Clone,
) -> bool {
    let all: std::collections::BTreeSet<&str> = partitions.clone().flatten().map(String::as_str).collect();
    let shared = consumer_racks.into_iter().any(|rack| all.contains(rack));
    shared && !partitions.into_iter().all(|racks| all.iter().all(|rack| racks.iter().any(|r| r == rack)))
}

fn rack_of(subscription: &Subscription) -> Option<&str> {
    subscription.rack_id.as_deref().filter(|rack| !rack.is_empty())
}

fn without_user_data(
    assigned: impl IntoIterator<Item = (String, Vec<TopicPartition>)>,
) -> BTreeMap<String, Assignment> {
    let with = |partitions| Assignment { partitions, user_data: None };
    assigned.into_iter().map(|(member, partitions)| (member, with(partitions))).collect()
}
