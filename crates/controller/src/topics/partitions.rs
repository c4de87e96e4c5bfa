//! CreatePartitions (KIP-195): more partitions for a topic.

use std::collections::BTreeSet;

use ottla_metadata::image::TopicImage;
use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::create_partitions_request::{self as request, CreatePartitionsRequest};
use ottla_wire::messages::create_partitions_response::{self as response, CreatePartitionsResponse};
use ottla_wire::records::MetadataRecord;

use super::{MAX_PER_REQUEST, nodes};
use crate::controller::Controller;
use crate::error::{ApiError, error_fields};
use crate::outcome::Outcome;

impl Controller {
    /// Adds what can be added; answers for each name once.
    pub fn create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
    ) -> Outcome<CreatePartitionsResponse> {
        let mut seen = BTreeSet::new();
        let duplicates: BTreeSet<&str> = request
            .topics
            .iter()
            .map(|topic| topic.name.as_str())
            .filter(|name| !seen.insert(*name))
            .collect();
        let mut records = self.records();
        let mut results: Vec<response::Result> = Vec::new();
        let mut room = MAX_PER_REQUEST;
        for name in &duplicates {
            let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            results.push(result::<()>(name, &Err(error)));
        }
        for topic in request.topics.iter().filter(|topic| !duplicates.contains(topic.name.as_str())) {
            let added = self.added_partitions(topic, room);
            results.push(result(&topic.name, &added));
            match added {
                Ok(added) if !request.validate_only => {
                    room -= added.len();
                    tracing::info!(topic = %topic.name, added = added.len(), to = topic.count, "adding partitions");
                    records.extend(added);
                }
                Ok(added) => room -= added.len(),
                Err(error) => tracing::info!(topic = %topic.name, %error, "refusing to add partitions"),
            }
        }
        records.with(CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() })
    }

    /// `room` is how many partitions the request may still add.
    fn added_partitions(
        &mut self,
        topic: &request::Topic,
        room: usize,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let Some(image) = self.image.topics.by_name(&topic.name).cloned() else {
            return Err(ApiError::bare(ErrorCode::UnknownTopicOrPartition));
        };
        let additional = additional(topic, &image)?;
        if additional > room {
            let message = "Excessively large number of partitions per request.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, message));
        }
        let replication_factor = image.partitions.values().next().map_or(0, |first| first.replicas.len());
        let start = i32::try_from(image.partitions.len()).unwrap_or(i32::MAX);
        let lists = match &topic.assignments {
            Some(assignments) => self.assigned(assignments, start, replication_factor)?,
            None => self.place(additional, i16::try_from(replication_factor).unwrap_or(i16::MAX))?,
        };
        (start..)
            .zip(lists)
            .map(|(partition, replicas)| match self.first_isr(&replicas) {
                isr if isr.is_empty() => {
                    let message = format!(
                        "Unable to replicate the partition {replication_factor} time(s): All brokers are currently fenced \
                         or in controlled shutdown."
                    );
                    Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message))
                }
                isr => Ok(self.partition_record(image.id, partition, replicas, isr)),
            })
            .collect()
    }

    fn assigned(
        &self,
        assignments: &[request::Assignment],
        start: i32,
        replication_factor: usize,
    ) -> Result<Vec<Vec<NodeId>>, ApiError> {
        (start..)
            .zip(assignments)
            .map(|(partition, assignment)| {
                self.check_assignment(&assignment.broker_ids, Some(replication_factor))?;
                let replicas = nodes(&assignment.broker_ids);
                if self.first_isr(&replicas).is_empty() {
                    let message = format!(
                        "All brokers specified in the manual partition assignment for partition {partition} are fenced or \
                         in controlled shutdown."
                    );
                    return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
                }
                Ok(replicas)
            })
            .collect()
    }
}

/// How many partitions are to come to those that the topic has.
fn additional(topic: &request::Topic, image: &TopicImage) -> Result<usize, ApiError> {
    let current = image.partitions.len();
    let wanted = i64::from(topic.count);
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidPartitions, message));
    let additional = match usize::try_from(wanted) {
        Ok(wanted) if wanted == current => {
            return refuse(format!("Topic already has {current} partition(s)."));
        }
        Ok(wanted) if wanted > current => wanted - current,
        _ => {
            return refuse(format!(
                "The topic {} currently has {current} partition(s); {wanted} would not be an increase.",
                topic.name
            ));
        }
    };
    match &topic.assignments {
        Some(assignments) if assignments.len() != additional => {
            let message = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message))
        }
        _ => Ok(additional),
    }
}

fn result<T>(name: &str, outcome: &Result<T, ApiError>) -> response::Result {
    let (error_code, error_message) = error_fields(outcome);
    response::Result { name: name.to_owned(), error_code, error_message, ..response::Result::default() }
}
