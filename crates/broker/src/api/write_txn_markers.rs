//! WriteTxnMarkers: a transaction ends in the partitions that this node leads (KIP-98). Coordinators send it, and
//! administrators, to abort a transaction that hangs (KIP-664).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_coordinator::Gather;
use ottla_coordinator::runtime::TransactionMarker;
use ottla_types::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::write_txn_markers_request::{Marker as AskedMarker, WriteTxnMarkersRequest};
use ottla_wire::messages::write_txn_markers_response::{Marker, Partition, Topic, WriteTxnMarkersResponse};

use super::call::Call;
use super::transactions::producer;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<WriteTxnMarkersRequest>) {
    let (context, request, answer) = call.into_parts();
    let gather = Gather::new(request.markers.len(), move |markers| {
        answer.reply(&WriteTxnMarkersResponse { markers, ..WriteTxnMarkersResponse::default() });
    });
    for (index, asked) in request.markers.into_iter().enumerate() {
        let marker = TransactionMarker {
            producer: producer(asked.producer_id, asked.producer_epoch),
            committed: asked.transaction_result,
            coordinator_epoch: asked.coordinator_epoch,
            transaction_version: asked.transaction_version.into(),
        };
        let gather = Arc::clone(&gather);
        node.write_markers(marker, partitions(&asked), context.now, move |results| {
            gather.put(index, answered(asked.producer_id, results));
        });
    }
}

fn partitions(marker: &AskedMarker) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for topic in &marker.topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        partitions.extend(topic.partition_indexes.iter().map(|n| TopicPartition::new(Arc::clone(&name), *n)));
    }
    partitions
}

fn answered(producer_id: i64, results: Vec<(TopicPartition, ErrorCode)>) -> Marker {
    let mut by_topic: BTreeMap<Arc<str>, Vec<Partition>> = BTreeMap::new();
    for (partition, code) in results {
        by_topic.entry(partition.topic).or_default().push(Partition {
            partition_index: partition.partition,
            error_code: code.code(),
            ..Partition::default()
        });
    }
    let topic = |(name, partitions): (Arc<str>, Vec<Partition>)| Topic {
        name: name.to_string(),
        partitions,
        ..Topic::default()
    };
    Marker { producer_id, topics: by_topic.into_iter().map(topic).collect(), ..Marker::default() }
}
