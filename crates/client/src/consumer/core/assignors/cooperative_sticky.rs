//! The sticky assignment, reached in two steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::sticky::{Previous, assign_sticky};
use super::{Assignment, Assignor, GroupMember, RebalanceProtocol, TopicRacks, without_user_data};
use crate::consumer::core::protocol::{NO_GENERATION, Subscription};

/// Assigns like [`StickyAssignor`](super::StickyAssignor), but a partition that is to change hands is first given to
/// nobody: its owner gives it up, joins again, and the next rebalance gives it to its new owner (KIP-429). Known as
/// `cooperative-sticky`.
#[derive(Clone, Debug)]
pub struct CooperativeStickyAssignor {
    generation: i32,
}

impl Default for CooperativeStickyAssignor {
    fn default() -> CooperativeStickyAssignor {
        CooperativeStickyAssignor { generation: NO_GENERATION }
    }
}

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &str {
        "cooperative-sticky"
    }

    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    /// The generation alone, for leaders that don't read it from the subscription.
    fn subscription_user_data(&self, _: &[Arc<str>]) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.generation.to_be_bytes()))
    }

    fn assign(&self, topics: &TopicRacks, members: &[GroupMember]) -> BTreeMap<String, Assignment> {
        let sticky = assign_sticky(topics, members, |member| previous(&member.subscription));
        let mut assigned = sticky.assigned;
        for (partition, new_owner) in sticky.changing_hands {
            if let Some(partitions) = assigned.get_mut(&new_owner) {
                partitions.retain(|assigned| *assigned != partition);
            }
        }
        without_user_data(assigned)
    }

    fn on_assignment(&mut self, _: &Assignment, generation: i32) {
        self.generation = generation;
    }
}

fn previous(subscription: &Subscription) -> Previous {
    let generation = subscription.generation.or_else(|| {
        let user_data = subscription.user_data.as_ref()?;
        Some(user_data.first_chunk().map_or(NO_GENERATION, |bytes| i32::from_be_bytes(*bytes)))
    });
    Previous { partitions: subscription.owned_partitions.clone(), generation }
}
