//! Whose offsets are committed: those of the member that read them, or of nobody.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use super::super::membership::MemberIdentity;
use super::super::protocol::NO_GENERATION;
use super::{ConsumerEvent, Machine};

/// Under which assignments of their partitions offsets were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership(BTreeMap<TopicPartition, u64>);

impl Machine {
    /// As what the consumer commits: `None` while it is subscribed but in no generation. Without a subscription, it is
    /// nobody in particular.
    pub fn identity(&self) -> Option<MemberIdentity> {
        match &self.group {
            Some(group) => group.identity(),
            None => Some(MemberIdentity {
                member_id: String::new(),
                group_instance_id: None,
                generation_or_epoch: NO_GENERATION,
            }),
        }
    }

    /// As what its owner's work is committed: `None` also while the owner has not been told that it lost what it works on.
    pub fn identity_of_owner(&self) -> Option<MemberIdentity> {
        let is_told = !self.events.iter().any(|event| matches!(event, ConsumerEvent::Lost(_)));
        self.identity().filter(|_| is_told)
    }

    /// Of partitions whose offsets are to be committed. Those that aren't read here count for nothing.
    pub fn ownership<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) -> Ownership {
        let stay = |partition: &TopicPartition| Some((partition.clone(), self.fetcher().stay(partition)?));
        Ownership(partitions.filter_map(stay).collect())
    }

    /// As what offsets are committed that were read under `ownership`; an error if that is over, and the partitions may have
    /// been read by somebody else since.
    pub fn identity_under(&self, ownership: &Ownership) -> Result<MemberIdentity, ErrorCode> {
        let lasts = |(partition, stay): (_, &u64)| self.fetcher().stay(partition) == Some(*stay);
        match self.identity_of_owner() {
            None => Err(ErrorCode::UnknownMemberId),
            Some(_) if self.is_subscribed() && !ownership.0.iter().all(lasts) => {
                Err(ErrorCode::RebalanceInProgress)
            }
            Some(member) => Ok(member),
        }
    }
}
