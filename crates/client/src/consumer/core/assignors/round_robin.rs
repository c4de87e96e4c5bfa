//! Partitions one by one to the members in turn.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ottla_types::TopicPartition;

use super::{Assignment, Assignor, GroupMember, TopicRacks, in_assignment_order, without_user_data};

/// All partitions of all topics, sorted, to the members in turn; a member that didn't subscribe to the topic is passed
/// over. Known as `roundrobin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(&self, topics: &TopicRacks, members: &[GroupMember]) -> BTreeMap<String, Assignment> {
        let members = in_assignment_order(members);
        let wanted: Vec<HashSet<&Arc<str>>> =
            members.iter().map(|member| member.subscription.topics.iter().collect()).collect();
        let subscribed: BTreeSet<&Arc<str>> = wanted.iter().flatten().copied().collect();
        let mut assigned = vec![Vec::new(); members.len()];
        let mut turn = 0;
        for (topic, partitions) in topics.iter().filter(|(topic, _)| subscribed.contains(topic)) {
            for partition in 0..partitions.len() {
                // Somebody subscribed to it, so this ends.
                while !wanted[turn].contains(topic) {
                    turn = (turn + 1) % members.len();
                }
                assigned[turn].push(TopicPartition::new(Arc::clone(topic), partition as i32));
                turn = (turn + 1) % members.len();
            }
        }
        without_user_data(members.iter().map(|member| member.member_id.clone()).zip(assigned))
    }
}
