//! DescribeProducers (KIP-664): which idempotent and transactional producers a partition remembers.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_types::Offset;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_producers_request::{DescribeProducersRequest, Topic as AskedTopic};
use ottla_wire::messages::describe_producers_response::{
    ActiveProducer, DescribeProducersResponse, Partition, Topic,
};

use super::call::Call;
use super::partitions;
use crate::node::Node;
use ottla_types::topic_name;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeProducersRequest>) {
    let (_, mut request, answer) = call.into_parts();
    let mut seen = HashSet::new();
    for topic in &mut request.topics {
        topic.partition_indexes.retain(|index| seen.insert((topic.name.clone(), *index)));
    }
    let topics = request.topics.iter().map(|topic| describe(node, topic)).collect();
    answer.reply(&DescribeProducersResponse { topics, ..DescribeProducersResponse::default() });
}

fn describe(node: &Node, topic: &AskedTopic) -> Topic {
    // As in Kafka, what is wrong with a topic is explained, and what is wrong with a partition is not.
    let is_known = node.metadata.image().topics.by_name(&topic.name).is_some();
    let partition = |partition_index: &i32| {
        let replica = match topic_name::is_valid(&topic.name) {
            true => partitions::by_name(node, &topic.name, *partition_index),
            false => Err(ErrorCode::InvalidTopicException),
        };
        let nothing = Partition { partition_index: *partition_index, ..Partition::default() };
        match replica {
            Ok(replica) => Partition {
                active_producers: replica.log().active_producers().iter().map(active_producer).collect(),
                ..nothing
            },
            Err(code) => Partition {
                error_code: code.code(),
                error_message: (!is_known).then(|| code.description().to_owned()),
                ..nothing
            },
        }
    };
    let partitions = topic.partition_indexes.iter().map(partition).collect();
    Topic { name: topic.name.clone(), partitions, ..Topic::default() }
}

fn active_producer(producer: &ottla_log::ActiveProducer) -> ActiveProducer {
    ActiveProducer {
        producer_id: producer.producer_id.0,
        producer_epoch: i32::from(producer.producer_epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_first_offset.unwrap_or(Offset::UNKNOWN).0,
        ..ActiveProducer::default()
    }
}
