//! Elections that somebody asks for (KIP-183, KIP-460), or that are due from time to time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ottla_metadata::image::{PartitionRegistration, TopicImage};
use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_wire::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_wire::records::MetadataRecord;

use crate::change_log::{LINES_AN_EVENT, tell_many};
use crate::controller::Controller;
use crate::error::{ApiError, error_fields};
use crate::outcome::{Outcome, Records};
use crate::partition_change::{Election, PartitionChange};
use crate::partition_index::PartitionKey;
use crate::topic_rules::TopicRules;

/// Elections that are made at once when they are due; the rest follow in the next batch.
pub(crate) const MAX_ELECTIONS_AT_ONCE: usize = 1000;

impl Controller {
    /// Without partitions: elects for all, and does not answer where no election was needed.
    pub fn elect_leaders(&self, request: &ElectLeadersRequest) -> Outcome<ElectLeadersResponse> {
        let election = match request.election_type {
            0 => Ok(Election::Preferred),
            1 => Ok(Election::Unclean),
            other => Err(ApiError::new(ErrorCode::InvalidRequest, format!("Unknown election type {other}"))),
        };
        let mut records = self.records();
        let asked: Vec<(String, Vec<i32>)> = match &request.topic_partitions {
            Some(topics) => {
                topics.iter().map(|topic| (topic.topic.clone(), topic.partitions.clone())).collect()
            }
            None if election.is_err() => Vec::new(),
            None => {
                let all = |topic: &std::sync::Arc<TopicImage>| {
                    (topic.name.to_string(), topic.partitions.keys().copied().collect())
                };
                self.image.topics.iter().map(all).collect()
            }
        };
        let answers_all = request.topic_partitions.is_some();
        let is_told = |result: &Result<(), ApiError>| {
            answers_all || !matches!(result, Err(error) if error.code == ErrorCode::ElectionNotNeeded)
        };
        let mut elect =
            |topic: &str, partition: i32| self.elect(topic, partition, election.clone()?, &mut records);
        let replica_election_results = asked
            .into_iter()
            .map(|(topic, partitions)| ReplicaElectionResult {
                partition_result: partitions
                    .into_iter()
                    .map(|partition| (partition, elect(&topic, partition)))
                    .filter(|(_, result)| is_told(result))
                    .map(|(partition, result)| partition_result(partition, &result))
                    .collect(),
                topic,
                ..ReplicaElectionResult::default()
            })
            .collect();
        let error_code = election.err().map_or(ErrorCode::None, |error| error.code).code();
        records.with(ElectLeadersResponse {
            error_code,
            replica_election_results,
            ..ElectLeadersResponse::default()
        })
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
        let current = image
            .partitions
            .get(&partition)
            .ok_or_else(|| unknown(format!("No such partition as {topic}-{partition}")))?;
        let is_fine = match election {
            Election::Preferred => has_preferred_leader(current),
            Election::Online | Election::Unclean => current.leader != NodeId::NONE,
        };
        if is_fine {
            return Err(ApiError::of(ErrorCode::ElectionNotNeeded));
        }
        let mut change = self.change(image, partition, current);
        change.election = election;
        let record = change.build("asked for", |id| self.is_active(id));
        records.push(record.ok_or_else(|| match election {
            Election::Preferred => ApiError::of(ErrorCode::PreferredLeaderNotAvailable),
            Election::Online | Election::Unclean => ApiError::of(ErrorCode::EligibleLeadersNotAvailable),
        })?);
        Ok(())
    }

    /// Preferred replicas that may lead, and don't (`auto.leader.rebalance.enable`).
    pub(crate) fn preferred_elections(&self) -> Vec<MetadataRecord> {
        self.due_elections(self.index.imbalanced(), Election::Preferred, "preferred leader", |_| true)
    }

    /// Leaders for partitions without one, of topics that would rather lose records than wait.
    pub(crate) fn unclean_elections(&self) -> Vec<MetadataRecord> {
        self.due_elections(self.index.leaderless(), Election::Unclean, "no leader", |rules| {
            rules.is_unclean_election_enabled
        })
    }

    /// What a controller may have begun and not come to the end of, as it is more than one batch: partitions with a leader
    /// or an ISR in which there is a broker that is leaving or fenced, or without a leader although somebody could lead.
    pub(crate) fn left_undone(&self) -> Vec<MetadataRecord> {
        let gone = self.image.brokers.values().filter(|broker| !broker.is_active());
        let hosted_by_gone = gone.flat_map(|broker| self.index.hosted(broker.id()));
        let keys: BTreeSet<PartitionKey> = hosted_by_gone.chain(self.index.leaderless()).collect();
        let mut records = Vec::new();
        self.for_each_partition(keys.into_iter(), |topic, rules, partition, current| {
            let mut change = PartitionChange::new(self, topic, partition, current, rules);
            if current.leader != NodeId::NONE {
                change.isr.retain(|id| self.is_active(*id));
            }
            change.is_quiet = records.len() >= LINES_AN_EVENT;
            records.extend(change.build("new controller", |id| self.is_active(id)));
            ControlFlow::Continue(())
        });
        tell_many("new controller", records.len());
        records
    }

    fn due_elections(
        &self,
        keys: impl Iterator<Item = PartitionKey>,
        election: Election,
        reason: &str,
        is_due: impl Fn(TopicRules) -> bool,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        self.for_each_partition(keys, |topic, rules, partition, current| {
            if is_due(rules) {
                let mut change = PartitionChange::new(self, topic, partition, current, rules);
                change.election = election;
                records.extend(change.build(reason, |id| self.is_active(id)));
            }
            if records.len() < MAX_ELECTIONS_AT_ONCE {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        records
    }
}

fn has_preferred_leader(partition: &PartitionRegistration) -> bool {
    Some(partition.leader) == partition.preferred_leader()
}

fn partition_result(partition_id: i32, result: &Result<(), ApiError>) -> PartitionResult {
    let (error_code, error_message) = error_fields(result);
    PartitionResult { partition_id, error_code, error_message, ..PartitionResult::default() }
}
