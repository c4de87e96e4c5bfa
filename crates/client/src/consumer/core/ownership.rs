//! Whose offsets are committed: those of the member that read them, or of nobody.

use std::collections::BTreeMap;

use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;

use super::machine::Machine;
use super::membership::MemberIdentity;

/// Under which assignments of their partitions offsets were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership(BTreeMap<TopicPartition, u64>);

impl Machine {
    /// Of partitions whose offsets are to be committed. Those that aren't read here count for nothing.
    pub fn ownership<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) -> Ownership {
        let stay = |partition: &TopicPartition| Some((partition.clone(), self.fetcher().stay(partition)?));
        Ownership(partitions.filter_map(stay).collect())
    }

    /// As what offsets are committed that were read under `ownership`; an error if that is over, and the partitions may have
    /// been read by somebody else since.
    pub fn identity_under(&self, ownership: &Ownership) -> Result<MemberIdentity, ErrorCode> {
        let lasts = |(partition, stay): (_, &u64)| self.fetcher().stay(partition) == Some(*stay);
        match self.identity() {
            None => Err(ErrorCode::UnknownMemberId),
            Some(_) if self.is_subscribed() && !ownership.0.iter().all(lasts) => {
                Err(ErrorCode::RebalanceInProgress)
            }
            Some(member) => Ok(member),
        }
    }
}
