//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455): moving replicas.
//!
//! New replicas are added to the list first; when all of them are in sync, those that are to go are taken out. Whatever
//! can be done at once, is.

use ottla_metadata::image::{MetadataImage, PartitionRegistration, TopicImage};
use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, Partition,
};
use ottla_wire::messages::alter_partition_reassignments_response::{
    self as altered, AlterPartitionReassignmentsResponse,
};
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_wire::messages::list_partition_reassignments_response::{
    self as listed, ListPartitionReassignmentsResponse,
};
use ottla_wire::records::MetadataRecord;

use crate::controller::Controller;
use crate::error::{ApiError, error_fields};
use crate::outcome::Outcome;
use crate::partition_change::{Election, PartitionChange};

impl Controller {
    pub fn alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Outcome<AlterPartitionReassignmentsResponse> {
        let mut records = self.records();
        let may_change_factor = request.allow_replication_factor_change;
        let responses = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let result = self
                    .reassign(&topic.name, partition, may_change_factor)
                    .map(|change| records.extend(change));
                if let Err(error) = &result {
                    tracing::info!(topic = %topic.name, partition = partition.partition_index, %error,
                        "refusing to move a partition");
                }
                let (error_code, error_message) = error_fields(&result);
                altered::Partition {
                    partition_index: partition.partition_index,
                    error_code,
                    error_message,
                    ..altered::Partition::default()
                }
            });
            altered::Response {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..altered::Response::default()
            }
        });
        let responses = responses.collect();
        records.with(AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: may_change_factor,
            responses,
            error_message: None,
            ..AlterPartitionReassignmentsResponse::default()
        })
    }

    fn reassign(
        &self,
        name: &str,
        asked: &Partition,
        may_change_factor: bool,
    ) -> Result<Option<MetadataRecord>, ApiError> {
        let unknown = |message: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, message);
        let index = asked.partition_index;
        let topic = self
            .image
            .topics
            .by_name(name)
            .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let current = topic
            .partitions
            .get(&index)
            .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
        let change = self.change(topic, index, current);
        let (change, reason) = match &asked.replicas {
            Some(replicas) => {
                (self.begin_move(change, current, replicas, may_change_factor)?, "reassignment")
            }
            None => (self.cancel_move(change, topic, index, current)?, "reassignment cancelled"),
        };
        Ok(change.build(reason, |id| self.is_active(id)))
    }

    fn begin_move<'a>(
        &self,
        mut change: PartitionChange<'a>,
        current: &PartitionRegistration,
        replicas: &[i32],
        may_change_factor: bool,
    ) -> Result<PartitionChange<'a>, ApiError> {
        self.check_assignment(replicas, None)?;
        let factor = replication_factor(current);
        if !may_change_factor && factor != replicas.len() {
            let message = format!("The replication factor is changed from {factor} to {}", replicas.len());
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
        }
        let wanted: Vec<NodeId> = replicas.iter().copied().map(NodeId).collect();
        // Replicas that an earlier move is still adding are no part of what there was.
        let was_there = |id: &NodeId| current.replicas.contains(id) && !current.adding_replicas.contains(id);
        let mut adding: Vec<NodeId> = wanted.iter().copied().filter(|id| !was_there(id)).collect();
        let mut removing: Vec<NodeId> =
            current.replicas.iter().copied().filter(|id| !wanted.contains(id)).collect();
        adding.sort_unstable();
        removing.sort_unstable();
        change.replicas = wanted.into_iter().chain(removing.iter().copied()).collect();
        (change.adding, change.removing) = (adding, removing);
        Ok(change)
    }

    fn cancel_move<'a>(
        &self,
        mut change: PartitionChange<'a>,
        topic: &TopicImage,
        partition: i32,
        current: &PartitionRegistration,
    ) -> Result<PartitionChange<'a>, ApiError> {
        if !current.is_reassigning() {
            return Err(ApiError::bare(ErrorCode::NoReassignmentInProgress));
        }
        let is_unclean_allowed = change.is_unclean_election_enabled();
        change.replicas.retain(|id| !current.adding_replicas.contains(id));
        change.isr.retain(|id| !current.adding_replicas.contains(id));
        change.adding.clear();
        change.removing.clear();
        let invalid = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
        // Where nobody was in sync before either, those that are eligible have all records.
        let clean = if current.isr.is_empty() { &current.elr } else { &current.isr };
        if !clean.is_empty() && !clean.iter().any(|id| change.replicas.contains(id)) {
            let Some(first) = change.replicas.first().copied() else {
                return invalid("Invalid replica assignment: addingReplicas contains all replicas.".into());
            };
            if !is_unclean_allowed {
                return invalid(format!(
                    "Unable to revert partition assignment for {}:{partition} because it would require an unclean leader \
                     election.",
                    topic.name
                ));
            }
            change.isr = vec![first];
        }
        if is_unclean_allowed {
            change.election = Election::Unclean;
        }
        Ok(change)
    }
}

/// How many replicas there are to be when all moves have ended.
fn replication_factor(current: &PartitionRegistration) -> usize {
    current.replicas.iter().filter(|id| !current.removing_replicas.contains(id)).count()
}

/// The moves that are under way, of all topics or of those that the request names.
pub fn list_partition_reassignments(
    image: &MetadataImage,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let of_topic = |topic: &TopicImage, partitions: &mut dyn Iterator<Item = i32>| {
        let partitions: Vec<_> =
            partitions.filter_map(|index| ongoing(index, topic.partitions.get(&index)?)).collect();
        let name = topic.name.to_string();
        (!partitions.is_empty()).then(|| listed::Topic { name, partitions, ..listed::Topic::default() })
    };
    let topics = match &request.topics {
        Some(asked) => asked
            .iter()
            .filter_map(|asked| {
                of_topic(image.topics.by_name(&asked.name)?, &mut asked.partition_indexes.iter().copied())
            })
            .collect(),
        None => {
            let all = image.topics.iter();
            all.filter_map(|topic| of_topic(topic, &mut topic.partitions.keys().copied())).collect()
        }
    };
    ListPartitionReassignmentsResponse {
        topics,
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}

fn ongoing(partition_index: i32, partition: &PartitionRegistration) -> Option<listed::Partition> {
    let ids = |list: &[NodeId]| list.iter().map(|id| id.0).collect::<Vec<i32>>();
    partition.is_reassigning().then(|| listed::Partition {
        partition_index,
        replicas: ids(&partition.replicas),
        adding_replicas: ids(&partition.adding_replicas),
        removing_replicas: ids(&partition.removing_replicas),
        ..listed::Partition::default()
    })
}
