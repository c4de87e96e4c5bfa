//! Elections of partitions' leaders.

use ottla_types::TopicPartition;
use ottla_wire::messages::{ElectLeadersRequest, elect_leaders_request};

use super::partitions::by_topic;
use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica, if it is in sync.
    Preferred = 0,
    /// Any replica, where there is no leader; records may be lost.
    Unclean = 1,
}

impl Admin {
    /// Elects leaders: of these partitions, or of all. Of all, only partitions whose leader changes are answered for, or where that
    /// fails.
    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Results<TopicPartition, ()>, ClientError> {
        let topics = partitions.map(|partitions| {
            let topic =
                |(name, partitions): (std::sync::Arc<str>, Vec<i32>)| elect_leaders_request::TopicPartition {
                    topic: name.to_string(),
                    partitions,
                    ..Default::default()
                };
            by_topic(partitions).into_iter().map(topic).collect()
        });
        let request = ElectLeadersRequest {
            election_type: election as i8,
            topic_partitions: topics,
            timeout_ms: self.request_timeout_ms(),
            ..Default::default()
        };
        let answer = self.ask(Target::Controller, &request, |answer| answer.error_code).await?;
        check(answer.error_code, None, || "electing leaders".to_owned())?;
        let mut results = Results::new();
        for topic in answer.replica_election_results {
            for partition in topic.partition_result {
                let at = TopicPartition::new(topic.topic.as_str(), partition.partition_id);
                let what = || format!("electing a leader of {at}");
                let result = check(partition.error_code, partition.error_message, what);
                results.insert(at, result);
            }
        }
        Ok(results)
    }
}
