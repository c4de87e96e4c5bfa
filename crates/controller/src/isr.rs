//! AlterPartition (KIP-497, KIP-903): a leader says who is in sync.

use std::collections::BTreeSet;

use ottla_metadata::image::{LeaderRecoveryState, PartitionRegistration, TopicImage};
use ottla_types::{BrokerEpoch, NodeId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_request::{AlterPartitionRequest, Partition};
use ottla_wire::messages::alter_partition_response::{self as response, AlterPartitionResponse};
use ottla_wire::records::MetadataRecord;

use crate::controller::Controller;
use crate::outcome::{Outcome, Records};
use crate::partition_change::Election;

/// "Any epoch": of a leader that doesn't know its followers' broker epochs.
const ANY_EPOCH: i64 = -1;

impl Controller {
    pub fn alter_partition(&self, request: &AlterPartitionRequest) -> Outcome<AlterPartitionResponse> {
        let broker = NodeId(request.broker_id);
        if let Err(error) = self.registered(broker, BrokerEpoch(request.broker_epoch)) {
            tracing::info!(%broker, %error, "refusing to change partitions");
            let error_code = error.code.code();
            return Outcome::answer(AlterPartitionResponse {
                error_code,
                ..AlterPartitionResponse::default()
            });
        }
        let mut records = self.records();
        let topics = request.topics.iter().map(|asked| {
            let topic = self.image.topics.by_id(asked.topic_id);
            let partitions = asked.partitions.iter().map(|partition| {
                let altered = match topic {
                    Some(topic) => self.alter_isr(broker, topic, partition, &mut records),
                    None => Err(ErrorCode::UnknownTopicId),
                };
                answer(partition.partition_index, altered)
            });
            response::Topic {
                topic_id: asked.topic_id,
                partitions: partitions.collect(),
                ..response::Topic::default()
            }
        });
        let topics = topics.collect();
        records.with(AlterPartitionResponse { topics, ..AlterPartitionResponse::default() })
    }

    /// Yields the partition as it will be.
    fn alter_isr(
        &self,
        broker: NodeId,
        topic: &TopicImage,
        asked: &Partition,
        records: &mut Records,
    ) -> Result<PartitionRegistration, ErrorCode> {
        let index = asked.partition_index;
        let current = topic.partitions.get(&index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let isr = wanted_isr(asked);
        let recovery = self.check_alteration(broker, current, asked, &isr).inspect_err(|code| {
            tracing::info!(topic = %topic.name, partition = index, %broker, code = code.name(), isr = ?isr,
                leader_epoch = asked.leader_epoch, partition_epoch = asked.partition_epoch, current = ?current,
                "refusing to change a partition");
        })?;
        let mut change = self.change(topic, index, current);
        if change.is_unclean_election_enabled() {
            change.election = Election::Unclean;
        }
        change.isr = isr.into_iter().map(|(id, _)| id).collect();
        change.recovery = recovery;
        let Some(record) = change.build("leader's word", |id| self.is_active(id)) else {
            return Ok((**current).clone());
        };
        let mut altered = (**current).clone();
        let mut names_another = false;
        if let MetadataRecord::PartitionChange(change) = &record {
            altered.apply(change);
            names_another = altered.leader != broker;
        }
        records.push(record);
        // The change ended a reassignment that this leader has no part in: it has to look at the metadata again.
        if names_another { Err(ErrorCode::NewLeaderElected) } else { Ok(altered) }
    }

    fn check_alteration(
        &self,
        broker: NodeId,
        current: &PartitionRegistration,
        asked: &Partition,
        isr: &[(NodeId, i64)],
    ) -> Result<LeaderRecoveryState, ErrorCode> {
        // Who knows more than this controller has met a newer one.
        if asked.leader_epoch > current.leader_epoch.0 || asked.partition_epoch > current.partition_epoch {
            return Err(ErrorCode::NotController);
        }
        if asked.leader_epoch < current.leader_epoch.0 {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if broker != current.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if asked.partition_epoch < current.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let ids: BTreeSet<NodeId> = isr.iter().map(|(id, _)| *id).collect();
        let is_valid = ids.len() == isr.len()
            && ids.iter().all(|id| current.replicas.contains(id))
            && ids.contains(&current.leader);
        let recovery = match asked.leader_recovery_state {
            0 => LeaderRecoveryState::Recovered,
            1 => LeaderRecoveryState::Recovering,
            _ => return Err(ErrorCode::InvalidRequest),
        };
        let is_recovering = recovery == LeaderRecoveryState::Recovering;
        let was_recovered = current.leader_recovery_state == LeaderRecoveryState::Recovered;
        if !is_valid || is_recovering && (isr.len() > 1 || was_recovered) {
            return Err(ErrorCode::InvalidRequest);
        }
        if !isr.iter().all(|(id, epoch)| self.may_join(*id, *epoch)) {
            return Err(ErrorCode::IneligibleReplica);
        }
        Ok(recovery)
    }

    /// A replica may be in sync only as the incarnation of its broker that the leader has seen.
    fn may_join(&self, id: NodeId, epoch: i64) -> bool {
        self.image.brokers.get(&id).is_some_and(|broker| {
            broker.is_active() && (epoch == ANY_EPOCH || epoch == broker.epoch().value())
        })
    }
}

/// Ids and broker epochs; from version 3 on with epochs.
fn wanted_isr(asked: &Partition) -> Vec<(NodeId, i64)> {
    if asked.new_isr_with_epochs.is_empty() {
        return asked.new_isr.iter().map(|id| (NodeId(*id), ANY_EPOCH)).collect();
    }
    asked
        .new_isr_with_epochs
        .iter()
        .map(|replica| (NodeId(replica.broker_id), replica.broker_epoch))
        .collect()
}

fn answer(partition_index: i32, altered: Result<PartitionRegistration, ErrorCode>) -> response::Partition {
    match altered {
        Ok(partition) => response::Partition {
            partition_index,
            leader_id: partition.leader.0,
            leader_epoch: partition.leader_epoch.0,
            isr: partition.isr.iter().map(|id| id.0).collect(),
            leader_recovery_state: partition.leader_recovery_state as i8,
            partition_epoch: partition.partition_epoch,
            ..response::Partition::default()
        },
        Err(code) => {
            response::Partition { partition_index, error_code: code.code(), ..response::Partition::default() }
        }
    }
}
