//! Topics and their partitions: creation, deletion, growth.
//!
//! A new partition is led by the first of its replicas that is active, and all active ones are in sync. What a request
//! says of several topics is judged topic by topic; all that is granted is written together.

mod create;
mod delete;
pub(crate) mod name;
mod partitions;

use ottla_metadata::image::{LeaderRecoveryState, PartitionRegistration, directory};
use ottla_metadata::placement::{Candidate, place};
use ottla_types::{LeaderEpoch, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::records::MetadataRecord;

use crate::controller::Controller;
use crate::error::ApiError;

/// So many partitions, and so many records, may one request make.
pub(crate) const MAX_PER_REQUEST: usize = 10_000;

impl Controller {
    /// Replica lists for new partitions.
    fn place(&mut self, partitions: usize, replication_factor: i16) -> Result<Vec<Vec<NodeId>>, ApiError> {
        let seed = self.new_seed();
        let usable = self.image.brokers.values().filter(|broker| broker.has_uncordoned_directory());
        let candidates: Vec<Candidate> = usable
            .map(|broker| Candidate {
                id: broker.id(),
                rack: broker.rack().map(str::to_owned),
                is_fenced: broker.is_fenced(),
            })
            .collect();
        Ok(place(&candidates, partitions, replication_factor, seed)?)
    }

    /// Who of the replicas is in sync at the start; the first leads. Empty where none can.
    fn first_isr(&self, replicas: &[NodeId]) -> Vec<NodeId> {
        replicas.iter().copied().filter(|id| self.is_active(*id)).collect()
    }

    fn partition_record(
        &self,
        topic: Uuid,
        partition: i32,
        replicas: Vec<NodeId>,
        isr: Vec<NodeId>,
    ) -> MetadataRecord {
        let registration = PartitionRegistration {
            directories: replicas.iter().map(|id| self.default_directory(*id)).collect(),
            replicas,
            leader: isr.first().copied().unwrap_or(NodeId::NONE),
            isr,
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader_recovery_state: LeaderRecoveryState::Recovered,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
        };
        let version = self.image.features.metadata_version().partition_record_version();
        MetadataRecord::Partition(registration.to_record(topic, partition, version))
    }

    pub(crate) fn default_directory(&self, broker: NodeId) -> Uuid {
        self.image.brokers.get(&broker).map_or(directory::UNASSIGNED, |broker| broker.default_directory())
    }

    /// `expected` is the length that the lists before had.
    pub(crate) fn check_assignment(&self, replicas: &[i32], expected: Option<usize>) -> Result<(), ApiError> {
        let refuse = |why: String| {
            let message = format!("The manual partition assignment includes {why}");
            Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message))
        };
        if replicas.is_empty() {
            return refuse("an empty replica list.".into());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        let mut previous = None;
        for id in sorted {
            if self.image.brokers.get(&NodeId(id)).is_none() {
                return refuse(format!("broker {id}, but no such broker is registered."));
            }
            if previous == Some(id) {
                return refuse(format!("the broker {id} more than once."));
            }
            previous = Some(id);
        }
        match expected {
            Some(expected) if expected != replicas.len() => refuse(format!(
                "a partition with {} replica(s), but this is not consistent with previous partitions, which have \
                 {expected} replica(s).",
                replicas.len()
            )),
            _ => Ok(()),
        }
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
