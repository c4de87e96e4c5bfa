//! What becomes of a partition's leader and ISR when brokers come and go.

use ottla_metadata::image::{LeaderRecoveryState, MetadataImage, PartitionRegistration, TopicImage};
use ottla_types::NodeId;
use ottla_wire::records::{MetadataRecord, PartitionChangeRecord};

/// How a leader may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// Only where there is no leader that can lead.
    IfNeeded,
    /// The first replica, if it is in sync.
    Preferred,
    /// Also a replica that may lack records, where no other can lead.
    Unclean,
}

const NO_CHANGE: i32 = -2;
const NO_RECOVERY_CHANGE: i8 = -1;

/// The record that puts a partition right, or none if it is.
///
/// `is_eligible` says who may lead or stay in the ISR.
pub(crate) fn partition_change(
    topic: &TopicImage,
    partition: i32,
    registration: &PartitionRegistration,
    election: Election,
    is_eligible: impl Fn(NodeId) -> bool,
) -> Option<MetadataRecord> {
    let isr = kept_in_sync(registration, &is_eligible);
    let current = Some(registration.leader).filter(|leader| isr.contains(leader) && is_eligible(*leader));
    let preferred = registration.preferred_leader().filter(|id| isr.contains(id) && is_eligible(*id));
    let in_sync = || registration.replicas.iter().find(|id| isr.contains(id) && is_eligible(**id)).copied();
    let any_alive = || registration.replicas.iter().find(|id| is_eligible(**id)).copied();
    let (leader, is_unclean) = match election {
        Election::Preferred => (preferred.or(current).or_else(in_sync), false),
        Election::IfNeeded => (current.or_else(in_sync), false),
        Election::Unclean => match current.or_else(in_sync) {
            Some(leader) => (Some(leader), false),
            None => (any_alive(), true),
        },
    };
    let leader = leader.unwrap_or(NodeId::NONE);
    let isr = if is_unclean && leader != NodeId::NONE { vec![leader] } else { isr };

    let mut change = PartitionChangeRecord {
        partition_id: partition,
        topic_id: topic.id,
        leader: NO_CHANGE,
        leader_recovery_state: NO_RECOVERY_CHANGE,
        ..PartitionChangeRecord::default()
    };
    if leader != registration.leader {
        change.leader = leader.0;
    }
    if isr != registration.isr {
        change.isr = Some(isr.iter().map(|id| id.0).collect());
    }
    if is_unclean && leader != NodeId::NONE {
        change.leader_recovery_state = LeaderRecoveryState::Recovering as i8;
    }
    let changes_something = change.leader != NO_CHANGE || change.isr.is_some();
    changes_something.then(|| {
        tracing::info!(topic = %topic.name, partition, from = %registration.leader, to = %leader,
            epoch = registration.leader_epoch.0, isr_from = ?registration.isr, isr_to = ?isr, ?election,
            is_unclean, "partition changed");
        MetadataRecord::PartitionChange(change)
    })
}

/// The ISR without who may not stay in it; its last members stay, so that a clean leader can be found when one of
/// them comes back.
fn kept_in_sync(registration: &PartitionRegistration, is_eligible: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
    let kept: Vec<_> = registration.isr.iter().copied().filter(|id| is_eligible(*id)).collect();
    if kept.is_empty() { registration.isr.clone() } else { kept }
}

/// The changes of all partitions that have a replica on `broker`.
pub(crate) fn changes_for_broker(
    image: &MetadataImage,
    broker: NodeId,
    is_eligible: impl Fn(NodeId) -> bool,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics.iter() {
        for (partition, registration) in &topic.partitions {
            if registration.replicas.contains(&broker) {
                records.extend(partition_change(
                    topic,
                    *partition,
                    registration,
                    Election::IfNeeded,
                    &is_eligible,
                ));
            }
        }
    }
    records
}
