//! Markers on their way from a transaction's coordinator to the leaders of its partitions.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use ottla_config::keys;
use ottla_coordinator::Gather;
use ottla_coordinator::runtime::TransactionMarker;
use ottla_coordinator::transaction::{MarkerSender, MarkersToWrite};
use ottla_replica::{ProduceEntry, ProduceParams};
use ottla_types::{CONSUMER_OFFSETS_TOPIC, NodeId, Now, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::write_txn_markers_request::{Marker, Topic, WriteTxnMarkersRequest};
use ottla_wire::messages::write_txn_markers_response::WriteTxnMarkersResponse;

use crate::coordinator_storage::marker_batch;
use crate::node::Node;

/// What became of a marker in each partition.
pub(crate) type MarkerResults = Vec<(TopicPartition, ErrorCode)>;

/// Finds the leaders of partitions, and writes there.
pub(crate) struct MarkerDispatch(pub Weak<Node>);

impl MarkerSender for MarkerDispatch {
    fn send(&self, markers: MarkersToWrite, now: Now) {
        if let Some(node) = self.0.upgrade() {
            node.send_markers(markers, now);
        }
    }
}

impl Node {
    fn send_markers(self: &Arc<Self>, markers: MarkersToWrite, now: Now) {
        let MarkersToWrite { ticket, marker, partitions } = markers;
        let (known, by_leader) = self.by_leader(partitions);
        let node = Arc::clone(self);
        let gather = Gather::new(1 + by_leader.len(), move |results: Vec<MarkerResults>| {
            node.transactions.markers_written(ticket, results.into_iter().flatten().collect(), now);
        });
        gather.put(0, known);
        for (index, (leader, partitions)) in by_leader.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            let done = move |results| gather.put(1 + index, results);
            if leader == self.identity.node_id {
                self.write_markers(marker, partitions, now, done);
            } else {
                self.pass_on(leader, marker, partitions, done);
            }
        }
    }

    /// Partitions of which it is known without asking what becomes of the marker, and the others by their leaders. One
    /// that is not there any more has nothing left of the transaction.
    fn by_leader(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> (MarkerResults, BTreeMap<NodeId, Vec<TopicPartition>>) {
        let image = self.metadata.image();
        let mut known = Vec::new();
        let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            let topic = image.topics.by_name(&partition.topic);
            match topic.and_then(|topic| topic.partitions.get(&partition.partition)) {
                None => known.push((partition, ErrorCode::None)),
                Some(registration) if registration.leader == NodeId::NONE => {
                    known.push((partition, ErrorCode::NotLeaderOrFollower));
                }
                Some(registration) => by_leader.entry(registration.leader).or_default().push(partition),
            }
        }
        (known, by_leader)
    }

    fn pass_on(
        self: &Arc<Self>,
        leader: NodeId,
        marker: TransactionMarker,
        partitions: Vec<TopicPartition>,
        done: impl FnOnce(MarkerResults) + Send + 'static,
    ) {
        let request = request(&marker, &partitions);
        self.hooks.brokers.write_txn_markers(
            leader,
            request,
            Box::new(move |answer| done(results(&partitions, &answer))),
        );
    }

    /// Writes a marker in partitions that this node leads, and tells what became of it when all in-sync replicas have it.
    pub(crate) fn write_markers(
        self: &Arc<Self>,
        marker: TransactionMarker,
        partitions: Vec<TopicPartition>,
        now: Now,
        done: impl FnOnce(MarkerResults) + Send + 'static,
    ) {
        let is_coordinated = |partition: &TopicPartition| *partition.topic == *CONSUMER_OFFSETS_TOPIC;
        let (offsets, data): (Vec<_>, Vec<_>) = partitions.into_iter().partition(is_coordinated);
        let gather = Gather::new(1 + offsets.len(), move |results: Vec<MarkerResults>| {
            done(results.into_iter().flatten().collect());
        });
        for (index, partition) in offsets.into_iter().enumerate() {
            let gather = Arc::clone(&gather);
            self.write_marker_of_offsets(marker, partition, now, move |result| {
                gather.put(1 + index, vec![result]);
            });
        }
        let records = match marker_batch(&marker, now) {
            Ok(records) => records,
            Err(code) => {
                return gather.put(0, data.into_iter().map(|partition| (partition, code)).collect());
            }
        };
        let entry = |id: &TopicPartition| {
            let partition = self.replicas.partition(&id.topic, id.partition);
            ProduceEntry::new(partition.ok_or(ErrorCode::UnknownTopicOrPartition), records.clone())
        };
        let entries = data.iter().map(entry).collect();
        let timeout_ms = self.config.get(keys::REQUEST_TIMEOUT_MS);
        let params = ProduceParams::of_markers(marker.transaction_version, timeout_ms);
        self.replicas.produce(params, entries, now, move |results| {
            let code = |refusal: Option<ottla_replica::errors::AppendRefusal>| {
                refusal.map_or(ErrorCode::None, |refusal| refusal.code)
            };
            let results = data.into_iter().zip(results);
            gather.put(0, results.map(|(partition, result)| (partition, code(result.refusal))).collect());
        });
    }

    /// The group coordinator writes the marker, since it decides on the offsets that the transaction has committed.
    fn write_marker_of_offsets(
        &self,
        marker: TransactionMarker,
        partition: TopicPartition,
        now: Now,
        done: impl FnOnce((TopicPartition, ErrorCode)) + Send + 'static,
    ) {
        if self.replicas.partition(&partition.topic, partition.partition).is_none() {
            return done((partition, ErrorCode::UnknownTopicOrPartition));
        }
        self.groups.end_transaction(partition.partition, marker, now, move |result| {
            let code = match result {
                Ok(()) => ErrorCode::None,
                Err(
                    ErrorCode::CoordinatorLoadInProgress
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotCoordinator,
                ) => ErrorCode::NotLeaderOrFollower,
                Err(code) => code,
            };
            done((partition, code));
        });
    }
}

fn request(marker: &TransactionMarker, partitions: &[TopicPartition]) -> WriteTxnMarkersRequest {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        by_topic.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topics = by_topic.into_iter().map(|(name, partition_indexes)| Topic {
        name: name.to_owned(),
        partition_indexes,
        ..Topic::default()
    });
    let marker = Marker {
        producer_id: marker.producer.id.0,
        producer_epoch: marker.producer.epoch.0,
        transaction_result: marker.committed,
        topics: topics.collect(),
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: i8::try_from(marker.transaction_version).unwrap_or(0),
        ..Marker::default()
    };
    WriteTxnMarkersRequest { markers: vec![marker], ..WriteTxnMarkersRequest::default() }
}

/// A partition that the answer says nothing of has to be asked for again.
fn results(
    partitions: &[TopicPartition],
    answer: &Result<WriteTxnMarkersResponse, ErrorCode>,
) -> MarkerResults {
    let code_of = |wanted: &TopicPartition| {
        let response = answer.as_ref().map_err(|code| *code)?;
        let topics = response.markers.iter().flat_map(|marker| &marker.topics);
        let of_topic = topics.filter(|topic| topic.name == *wanted.topic).flat_map(|topic| &topic.partitions);
        let found = of_topic.into_iter().find(|partition| partition.partition_index == wanted.partition);
        let code = found.map(|partition| ErrorCode::from_code(partition.error_code));
        Ok::<_, ErrorCode>(code.flatten().unwrap_or(ErrorCode::NetworkException))
    };
    let result = |wanted: &TopicPartition| (wanted.clone(), code_of(wanted).unwrap_or_else(|code| code));
    partitions.iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use ottla_coordinator::runtime::Producer;
    use ottla_types::{ProducerEpoch, ProducerId};
    use ottla_wire::messages::write_txn_markers_response as response;

    use super::*;

    #[test]
    fn an_answer_is_read_by_partition() {
        let partitions = [("a", 0), ("a", 1), ("b", 0)].map(|(topic, n)| TopicPartition::new(topic, n));
        let marker = TransactionMarker {
            producer: Producer { id: ProducerId(7), epoch: ProducerEpoch(1) },
            committed: true,
            coordinator_epoch: 3,
            transaction_version: 2,
        };
        let sent = request(&marker, &partitions).markers.remove(0);
        let named: Vec<_> =
            sent.topics.iter().map(|t| (t.name.as_str(), t.partition_indexes.clone())).collect();
        assert_eq!(named, [("a", vec![0, 1]), ("b", vec![0])]);
        assert_eq!((sent.producer_id, sent.transaction_version, sent.coordinator_epoch), (7, 2, 3));
        let partition = |partition_index, code: ErrorCode| response::Partition {
            partition_index,
            error_code: code.code(),
            ..response::Partition::default()
        };
        let answered = response::Topic {
            name: "a".to_owned(),
            partitions: vec![partition(1, ErrorCode::None), partition(0, ErrorCode::NotEnoughReplicas)],
            ..response::Topic::default()
        };
        let answer = WriteTxnMarkersResponse {
            markers: vec![response::Marker { topics: vec![answered], ..response::Marker::default() }],
            ..WriteTxnMarkersResponse::default()
        };
        let codes =
            |answer| results(&partitions, &answer).into_iter().map(|(_, code)| code).collect::<Vec<_>>();
        let expected = [ErrorCode::NotEnoughReplicas, ErrorCode::None, ErrorCode::NetworkException];
        assert_eq!(codes(Ok(answer)), expected);
        assert_eq!(codes(Err(ErrorCode::RequestTimedOut)), [ErrorCode::RequestTimedOut; 3]);
    }
}
