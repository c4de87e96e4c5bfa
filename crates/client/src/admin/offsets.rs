//! Offsets of partitions at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::TopicPartition;
use ottla_wire::messages::{ListOffsetsRequest, list_offsets_request};

use super::partitions::by_topic;
use super::{Admin, Results, check};
use crate::error::ClientError;

/// Which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Of the first record at or after this time, in milliseconds.
    At(i64),
    /// The end.
    Latest,
    /// The start.
    Earliest,
    /// Of the record with the largest timestamp.
    MaxTimestamp,
    /// The start of what the broker itself has (KIP-405).
    EarliestLocal,
    /// The end of what is in remote storage (KIP-405).
    LatestTiered,
    /// The start of what is not in remote storage (KIP-1023).
    EarliestPendingUpload,
}

impl OffsetSpec {
    /// As ListOffsets has it.
    pub fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::At(timestamp) => timestamp,
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::EarliestLocal => -4,
            OffsetSpec::LatestTiered => -5,
            OffsetSpec::EarliestPendingUpload => -6,
        }
    }
}

/// An offset; -1 where there is no such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: i64,
    /// -1 where none was asked for.
    pub timestamp: i64,
    /// -1 where it isn't known.
    pub leader_epoch: i32,
}

impl Admin {
    /// The offset of each partition at its time; only committed records count where `is_committed`.
    pub async fn list_offsets(
        &self,
        specs: &BTreeMap<TopicPartition, OffsetSpec>,
        is_committed: bool,
    ) -> Result<Results<TopicPartition, ListedOffset>, ClientError> {
        let timeout_ms = self.request_timeout_ms();
        let request = |of: &[TopicPartition]| {
            let topic = |(name, partitions): (Arc<str>, Vec<i32>)| list_offsets_request::Topic {
                partitions: partitions
                    .into_iter()
                    .map(|index| list_offsets_request::Partition {
                        partition_index: index,
                        timestamp: specs
                            .get(&TopicPartition::new(Arc::clone(&name), index))
                            .map_or(-1, |spec| spec.timestamp()),
                        ..Default::default()
                    })
                    .collect(),
                name: name.to_string(),
                ..Default::default()
            };
            ListOffsetsRequest {
                replica_id: -1,
                isolation_level: i8::from(is_committed),
                topics: by_topic(of).into_iter().map(topic).collect(),
                timeout_ms,
                ..Default::default()
            }
        };
        self.ask_leaders(specs.keys().cloned(), request, |answer| {
            let mut results = Vec::new();
            for topic in answer.topics {
                for partition in topic.partitions {
                    let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    let result =
                        check(partition.error_code, None, || format!("asking for an offset of {at}"));
                    let listed = ListedOffset {
                        offset: partition.offset,
                        timestamp: partition.timestamp,
                        leader_epoch: partition.leader_epoch,
                    };
                    results.push((at, result.map(|()| listed)));
                }
            }
            results
        })
        .await
    }

    /// The same offset of several partitions.
    pub async fn list_offsets_at(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        spec: OffsetSpec,
    ) -> Result<Results<TopicPartition, ListedOffset>, ClientError> {
        self.list_offsets(&partitions.into_iter().map(|at| (at, spec)).collect(), false).await
    }
}
