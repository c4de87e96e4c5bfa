//! ElectLeaders (KIP-183, KIP-460).

use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_wire::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::{Outcome, Records};
use crate::partition_change::{Election, partition_change};

impl Controller {
    /// Without partitions: elects for all, and answers only where an election was needed.
    pub fn elect_leaders(&self, request: &ElectLeadersRequest) -> Outcome<ElectLeadersResponse> {
        let election = match request.election_type {
            0 => Election::Preferred,
            1 => Election::Unclean,
            _ => {
                let error_code = ErrorCode::InvalidRequest.code();
                return Outcome::answer(ElectLeadersResponse {
                    error_code,
                    ..ElectLeadersResponse::default()
                });
            }
        };
        let mut records = self.records();
        let asked: Vec<(String, Vec<i32>)> = match &request.topic_partitions {
            Some(topics) => {
                topics.iter().map(|topic| (topic.topic.clone(), topic.partitions.clone())).collect()
            }
            None => self
                .image
                .topics
                .iter()
                .map(|topic| (topic.name.to_string(), topic.partitions.keys().copied().collect()))
                .collect(),
        };
        let answers_all = request.topic_partitions.is_some();
        let replica_election_results = asked
            .into_iter()
            .map(|(topic, partitions)| ReplicaElectionResult {
                partition_result: partitions
                    .into_iter()
                    .map(|partition| (partition, self.elect(&topic, partition, election, &mut records)))
                    .filter(|(_, result)| {
                        answers_all || !matches!(result, Err(e) if e.code == ErrorCode::ElectionNotNeeded)
                    })
                    .map(|(partition, result)| partition_result(partition, result))
                    .collect(),
                topic,
                ..ReplicaElectionResult::default()
            })
            .filter(|topic| answers_all || !topic.partition_result.is_empty())
            .collect();
        records.with(ElectLeadersResponse { replica_election_results, ..ElectLeadersResponse::default() })
    }

    fn elect(
        &self,
        topic: &str,
        partition: i32,
        election: Election,
        records: &mut Records,
    ) -> Result<(), ApiError> {
        let unknown = |message: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, message);
        let image =
            self.image.topics.by_name(topic).ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
        let registration = image
            .partitions
            .get(&partition)
            .ok_or_else(|| unknown(format!("No such partition as {topic}-{partition}")))?;
        let is_led = registration.leader != NodeId::NONE;
        let is_fine = match election {
            Election::Preferred => Some(registration.leader) == registration.preferred_leader(),
            _ => is_led,
        };
        if is_fine {
            return Err(ApiError::of(ErrorCode::ElectionNotNeeded));
        }
        match partition_change(image, partition, registration, election, |id| self.is_active(id)) {
            Some(change) => {
                records.push(change);
                Ok(())
            }
            None if election == Election::Preferred => {
                Err(ApiError::of(ErrorCode::PreferredLeaderNotAvailable))
            }
            None => Err(ApiError::of(ErrorCode::EligibleLeadersNotAvailable)),
        }
    }
}

fn partition_result(partition_id: i32, result: Result<(), ApiError>) -> PartitionResult {
    let (code, error_message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error.code, error.message),
    };
    PartitionResult { partition_id, error_code: code.code(), error_message, ..PartitionResult::default() }
}
