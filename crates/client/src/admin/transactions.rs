//! Transactions: listed, described, and aborted where they hang.

use ottla_types::{NodeId, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest, describe_producers_request, describe_producers_response,
    write_txn_markers_request,
};

use super::partitions::by_topic;
use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// A transaction, as its coordinator lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: String,
}

/// A transaction, as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    pub coordinator: NodeId,
    pub state: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub timeout_ms: i32,
    /// `None` where none is open.
    pub start_time_ms: Option<i64>,
    pub partitions: Vec<TopicPartition>,
}

/// A producer that a partition knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i32,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    /// -1 where no transaction has ended.
    pub coordinator_epoch: i32,
    /// `None` where no transaction is open.
    pub current_txn_start_offset: Option<i64>,
}

/// Whose transaction in a partition is to be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerToAbort {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
}

impl Admin {
    /// Transactions of every coordinator, by broker. A duration below 0 and no pattern mean all.
    pub async fn list_transactions(
        &self,
        states: &[String],
        producer_ids: &[i64],
        longer_than_ms: i64,
        id_pattern: Option<&str>,
    ) -> Results<NodeId, Vec<TransactionListing>> {
        let request = ListTransactionsRequest {
            state_filters: states.to_vec(),
            producer_id_filters: producer_ids.to_vec(),
            duration_filter: longer_than_ms,
            transactional_id_pattern: id_pattern.map(str::to_owned),
            ..Default::default()
        };
        let requests = self.nodes().into_iter().map(|node| (node, request.clone()));
        let answers = self.ask_nodes(requests, |answer| answer.error_code).await;
        let read = |(node, answer): (
            NodeId,
            Result<ottla_wire::messages::ListTransactionsResponse, ClientError>,
        )| {
            let listings = answer.and_then(|answer| {
                check(answer.error_code, None, || format!("listing transactions of broker {node}"))?;
                let listing = |state: ottla_wire::messages::list_transactions_response::TransactionState| {
                    TransactionListing {
                        transactional_id: state.transactional_id,
                        producer_id: state.producer_id,
                        state: state.transaction_state,
                    }
                };
                Ok(answer.transaction_states.into_iter().map(listing).collect())
            });
            (node, listings)
        };
        answers.into_iter().map(read).collect()
    }

    pub async fn describe_transaction(
        &self,
        transactional_id: &str,
    ) -> Result<TransactionDescription, ClientError> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![transactional_id.to_owned()],
            ..Default::default()
        };
        let made = |_| request.clone();
        let answer = self
            .client
            .call(Target::transaction(transactional_id), self.timeout_ms, made, |answer| {
                ErrorCode::from_answer(answer.transaction_states.first().map_or(0, |state| state.error_code))
            })
            .await?;
        let state = answer.response.transaction_states.into_iter().next().unwrap_or_default();
        check(state.error_code, None, || format!("describing transactional id {transactional_id}"))?;
        let partitions = state.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|&index| TopicPartition::new(topic.topic.as_str(), index))
        });
        Ok(TransactionDescription {
            coordinator: answer.node.unwrap_or(NodeId::NONE),
            partitions: partitions.collect(),
            state: state.transaction_state,
            producer_id: state.producer_id,
            producer_epoch: state.producer_epoch,
            timeout_ms: state.transaction_timeout_ms,
            start_time_ms: Some(state.transaction_start_time_ms).filter(|&time| time >= 0),
        })
    }

    /// The producers that partitions know: as their leaders see it, or as one broker does.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
        broker: Option<i32>,
    ) -> Result<Results<TopicPartition, Vec<ActiveProducer>>, ClientError> {
        let Some(broker) = broker else {
            return self.ask_leaders(partitions.iter().cloned(), producers_request, producers_of).await;
        };
        let request = producers_request(partitions);
        let answer = self.ask(Target::Node(NodeId(broker)), &request, |_| 0).await?;
        Ok(producers_of(answer).into_iter().collect())
    }

    /// Writes the marker that aborts a transaction in a partition.
    pub async fn abort_transaction(
        &self,
        at: &TopicPartition,
        marker: MarkerToAbort,
    ) -> Result<(), ClientError> {
        let request = |of: &[TopicPartition]| WriteTxnMarkersRequest {
            markers: vec![write_txn_markers_request::Marker {
                producer_id: marker.producer_id,
                producer_epoch: marker.producer_epoch,
                transaction_result: false,
                topics: by_topic(of)
                    .into_iter()
                    .map(|(name, indexes)| write_txn_markers_request::Topic {
                        name: name.to_string(),
                        partition_indexes: indexes,
                        ..Default::default()
                    })
                    .collect(),
                coordinator_epoch: marker.coordinator_epoch,
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut results = self
            .ask_leaders([at.clone()], request, |answer| {
                let mut results = Vec::new();
                for topic in answer.markers.into_iter().flat_map(|marker| marker.topics) {
                    for partition in topic.partitions {
                        let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                        let result =
                            check(partition.error_code, None, || format!("aborting a transaction in {at}"));
                        results.push((at, result));
                    }
                }
                results
            })
            .await?;
        results.remove(at).unwrap_or(Ok(()))
    }

    /// Aborts the transaction of a transactional id by taking its producer's place.
    pub async fn fence_producer(&self, transactional_id: &str) -> Result<(), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.to_owned()),
            // The next producer says its own.
            transaction_timeout_ms: 1,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let target = Target::transaction(transactional_id);
        let answer = self.ask(target, &request, |answer| answer.error_code).await?;
        check(answer.error_code, None, || format!("fencing the producer of {transactional_id}"))
    }
}

fn producers_request(of: &[TopicPartition]) -> DescribeProducersRequest {
    let topic = |(name, indexes): (std::sync::Arc<str>, Vec<i32>)| describe_producers_request::Topic {
        name: name.to_string(),
        partition_indexes: indexes,
        ..Default::default()
    };
    DescribeProducersRequest { topics: by_topic(of).into_iter().map(topic).collect(), ..Default::default() }
}

type ProducersOf = Vec<(TopicPartition, Result<Vec<ActiveProducer>, ClientError>)>;

fn producers_of(answer: ottla_wire::messages::DescribeProducersResponse) -> ProducersOf {
    let mut results = Vec::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
            let what = || format!("describing producers of {at}");
            let result = check(partition.error_code, partition.error_message, what);
            let producers = partition.active_producers.into_iter().map(producer).collect();
            results.push((at, result.map(|()| producers)));
        }
    }
    results
}

fn producer(of: describe_producers_response::ActiveProducer) -> ActiveProducer {
    ActiveProducer {
        producer_id: of.producer_id,
        producer_epoch: of.producer_epoch,
        last_sequence: of.last_sequence,
        last_timestamp: of.last_timestamp,
        coordinator_epoch: of.coordinator_epoch,
        current_txn_start_offset: Some(of.current_txn_start_offset).filter(|&offset| offset >= 0),
    }
}
