//! Metadata: brokers, topics and their partitions; creates topics that are asked for and missing, where that is allowed.

use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::TopicImage;
use ottla_types::{Uuid, is_internal_topic};
use ottla_wire::ErrorCode;
use ottla_wire::messages::metadata_request::{self, MetadataRequest};
use ottla_wire::messages::metadata_response::{Broker, MetadataResponse, Partition, Topic};

use super::authorized_operations::{NOT_ASKED, ON_CLUSTER, ON_TOPIC};
use super::call::{Call, Context};
use crate::metadata_cache::{PartitionView, alive_endpoints, controller_for_clients, partitions, raw_ids};
use crate::node::Node;
use ottla_types::topic_name;

pub(super) fn handle(node: &Arc<Node>, call: Call<MetadataRequest>) {
    let image = node.metadata.image();
    let topics = asked_topics(&image, &call.context, &call.request);
    if call.request.allow_auto_topic_creation {
        let missing: Vec<String> = topics.iter().filter_map(Asked::missing).collect();
        node.create_missing_topics(&missing, call.context.now);
    }
    let asked = |is_asked, operations| if is_asked { operations } else { NOT_ASKED };
    let of_topics = asked(call.request.include_topic_authorized_operations, ON_TOPIC);
    let listener = &call.context.connection.listener;
    let response = MetadataResponse {
        brokers: brokers(&image, listener),
        cluster_id: Some(node.identity.cluster_id.clone()),
        controller_id: controller_for_clients(&image, node.identity.node_id, listener).0,
        topics: topics.into_iter().map(|asked| answer(&image, &call.context, asked, of_topics)).collect(),
        cluster_authorized_operations: asked(call.request.include_cluster_authorized_operations, ON_CLUSTER),
        ..MetadataResponse::default()
    };
    call.reply(&response);
}

/// A topic of the request, as far as the image has it.
enum Asked {
    Known(Arc<TopicImage>),
    UnknownName(String),
    InvalidName(String),
    UnknownId(Uuid),
}

impl Asked {
    fn missing(&self) -> Option<String> {
        match self {
            Asked::UnknownName(name) => Some(name.clone()),
            _ => None,
        }
    }
}

fn asked_topics(image: &MetadataImage, context: &Context, request: &MetadataRequest) -> Vec<Asked> {
    match &request.topics {
        // Before version 1 there was no null: empty meant all.
        Some(topics) if !topics.is_empty() || context.version() >= 1 => {
            let mut seen = std::collections::HashSet::new();
            topics
                .iter()
                .filter(|topic| seen.insert((topic.topic_id, topic.name.as_deref())))
                .map(|topic| asked(image, topic))
                .collect()
        }
        _ => image.topics.iter().cloned().map(Asked::Known).collect(),
    }
}

fn asked(image: &MetadataImage, topic: &metadata_request::Topic) -> Asked {
    // Java's client sends an empty name, not null, beside an id.
    let Some(name) = topic.name.as_deref().filter(|_| topic.topic_id.is_zero()) else {
        return match image.topics.by_id(topic.topic_id) {
            Some(known) => Asked::Known(Arc::clone(known)),
            None => Asked::UnknownId(topic.topic_id),
        };
    };
    match image.topics.by_name(name) {
        Some(known) => Asked::Known(Arc::clone(known)),
        None if topic_name::is_valid(name) => Asked::UnknownName(name.to_owned()),
        None => Asked::InvalidName(name.to_owned()),
    }
}

fn answer(image: &MetadataImage, context: &Context, asked: Asked, operations: i32) -> Topic {
    let failed = |error: ErrorCode, name: Option<String>, topic_id: Uuid| Topic {
        error_code: error.code(),
        is_internal: name.as_deref().is_some_and(is_internal_topic),
        name,
        topic_id,
        ..Topic::default()
    };
    match asked {
        Asked::Known(topic) => {
            Topic { topic_authorized_operations: operations, ..known(image, context, &topic) }
        }
        Asked::UnknownName(name) => failed(ErrorCode::UnknownTopicOrPartition, Some(name), Uuid::ZERO),
        Asked::InvalidName(name) => failed(ErrorCode::InvalidTopicException, Some(name), Uuid::ZERO),
        // Before version 12 a name can't be null.
        Asked::UnknownId(id) => {
            let name = (context.version() < 12).then(String::new);
            failed(ErrorCode::UnknownTopicId, name, id)
        }
    }
}

fn known(image: &MetadataImage, context: &Context, topic: &TopicImage) -> Topic {
    let version = context.version();
    let listener = &context.connection.listener;
    Topic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions(image, topic, listener, 0).map(|view| partition(view, version)).collect(),
        ..Topic::default()
    }
}

fn partition(view: PartitionView<'_>, version: i16) -> Partition {
    let error = match view.error {
        // Clients before version 6 don't know that a leader may lack their listener.
        ErrorCode::ListenerNotFound if version < 6 => ErrorCode::LeaderNotAvailable,
        error => error,
    };
    Partition {
        error_code: error.code(),
        partition_index: view.partition,
        leader_id: view.leader.map_or(-1, |leader| leader.0),
        leader_epoch: view.registration.leader_epoch.0,
        replica_nodes: raw_ids(&view.registration.replicas),
        isr_nodes: raw_ids(&view.registration.isr),
        offline_replicas: raw_ids(&view.offline_replicas),
        ..Partition::default()
    }
}

fn brokers(image: &MetadataImage, listener: &str) -> Vec<Broker> {
    alive_endpoints(image, listener)
        .into_iter()
        .map(|endpoint| Broker {
            node_id: endpoint.id.0,
            host: endpoint.host,
            port: i32::from(endpoint.port),
            rack: endpoint.rack,
            ..Broker::default()
        })
        .collect()
}
