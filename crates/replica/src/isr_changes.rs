//! The changes of ISRs that leaders here ask the controller for: one request at a time, with all that has come together.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{BrokerEpoch, LeaderEpoch, MonoMs, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_request::{NewIsrWithEpoch, Partition as Asked, Topic};
use ottla_wire::messages::alter_partition_response::Partition as Answered;
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

use crate::partition::{Partition, ProposedIsr};

/// Between two attempts.
const RETRY_MS: i64 = 50;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct IsrChanges {
    waiting: BTreeMap<Key, Change>,
    /// What the request under way asks for.
    asked: Option<BTreeMap<Key, Change>>,
    /// After a failure nothing is asked before.
    retry_at: MonoMs,
}

type Key = (Uuid, i32);

#[derive(Clone, Debug)]
struct Change {
    partition: Arc<Partition>,
    proposed: ProposedIsr,
}

impl IsrChanges {
    pub fn add(&mut self, partition: &Arc<Partition>, proposed: ProposedIsr) {
        let key = (partition.topic_id(), partition.topic_partition().partition);
        self.waiting.insert(key, Change { partition: Arc::clone(partition), proposed });
    }

    pub fn next_deadline(&self) -> MonoMs {
        if self.asked.is_some() || self.waiting.is_empty() { MonoMs::NEVER } else { self.retry_at }
    }

    /// The next request. What something else has settled meanwhile is not asked for.
    pub fn request(
        &mut self,
        local: NodeId,
        broker_epoch: BrokerEpoch,
        now: MonoMs,
    ) -> Option<AlterPartitionRequest> {
        if self.next_deadline() > now {
            return None;
        }
        self.waiting.retain(|_, change| change.partition.is_proposed(&change.proposed));
        if self.waiting.is_empty() {
            return None;
        }
        let asked = std::mem::take(&mut self.waiting);
        let mut topics: Vec<Topic> = Vec::new();
        for ((topic_id, index), change) in &asked {
            let partition = change.proposed.request(*index, local, broker_epoch);
            match topics.last_mut().filter(|topic| topic.topic_id == *topic_id) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(Topic {
                    topic_id: *topic_id,
                    partitions: vec![partition],
                    ..Topic::default()
                }),
            }
        }
        self.asked = Some(asked);
        Some(AlterPartitionRequest {
            broker_id: local.value(),
            broker_epoch: broker_epoch.value(),
            topics,
            ..AlterPartitionRequest::default()
        })
    }

    /// Takes the answer to the request under way. Returns the partitions whose high watermark moved.
    pub fn answered(
        &mut self,
        answer: Result<AlterPartitionResponse, ErrorCode>,
        now: MonoMs,
    ) -> Vec<Arc<Partition>> {
        let Some(mut asked) = self.asked.take() else { return Vec::new() };
        let response = match answer {
            Ok(response) if response.error_code == ErrorCode::None.code() => response,
            other => {
                let code = other.map_or_else(|code| code.code(), |response| response.error_code);
                tracing::warn!(code, "the controller was not asked about ISRs: again later");
                self.ask_again(asked, now);
                return Vec::new();
            }
        };
        let mut moved = Vec::new();
        for topic in response.topics {
            for answered in topic.partitions {
                let key = (topic.topic_id, answered.partition_index);
                let Some(change) = asked.remove(&key) else { continue };
                if self.settle(key, &change, answered, now) {
                    moved.push(change.partition);
                }
            }
        }
        // What was not answered.
        self.ask_again(asked, now);
        moved
    }

    fn settle(&mut self, key: Key, change: &Change, answered: Answered, now: MonoMs) -> bool {
        let Change { partition, proposed } = change;
        match ErrorCode::from_code(answered.error_code) {
            Some(ErrorCode::None) => {
                let isr = answered.isr.into_iter().map(NodeId).collect();
                let leader_epoch = LeaderEpoch(answered.leader_epoch);
                return partition.isr_altered(proposed, leader_epoch, answered.partition_epoch, isr, now);
            }
            // A broker that has gone, or come back as another process: it has to fetch again before it may join.
            Some(code @ (ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted)) => {
                tracing::info!(partition = %partition.topic_partition(), isr = ?proposed.isr,
                    code = code.name(), "the controller refuses an ISR");
                return partition.isr_refused(proposed, now);
            }
            // The controller knows something newer of the partition, which the metadata will tell.
            Some(
                code @ (ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::NewLeaderElected
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::InvalidRequest),
            ) => tracing::info!(partition = %partition.topic_partition(), isr = ?proposed.isr,
                code = code.name(), "the controller refuses an ISR: newer metadata will come"),
            code => {
                tracing::warn!(partition = %partition.topic_partition(), ?code,
                    "an ISR is asked for again later");
                self.ask_again([(key, change.clone())], now);
            }
        }
        false
    }

    /// What was proposed anew meanwhile stays.
    fn ask_again(&mut self, changes: impl IntoIterator<Item = (Key, Change)>, now: MonoMs) {
        for (key, change) in changes {
            self.waiting.entry(key).or_insert(change);
            self.retry_at = now.plus_ms(RETRY_MS);
        }
    }
}

impl ProposedIsr {
    fn request(&self, partition_index: i32, local: NodeId, broker_epoch: BrokerEpoch) -> Asked {
        let member = |(id, epoch): &(NodeId, Option<BrokerEpoch>)| NewIsrWithEpoch {
            broker_id: id.value(),
            broker_epoch: if *id == local { broker_epoch } else { epoch.unwrap_or(BrokerEpoch::NONE) }
                .value(),
            ..NewIsrWithEpoch::default()
        };
        Asked {
            partition_index,
            leader_epoch: self.leader_epoch.value(),
            new_isr_with_epochs: self.isr.iter().map(member).collect(),
            partition_epoch: self.partition_epoch,
            ..Asked::default()
        }
    }
}
