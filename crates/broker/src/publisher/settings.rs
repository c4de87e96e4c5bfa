//! Dynamic settings of the broker and of topics (KIP-226).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::{ConfigResource, ResourceType};
use ottla_metadata::loader::Publication;
use ottla_types::Now;

use super::log_config;
use super::throttles::Throttles;
use crate::node::Node;

/// Takes up changed settings. A change of the broker's own changes the defaults of every topic.
pub(super) fn apply(node: &Node, publication: &Publication, now: Now) {
    let image = &publication.image;
    let own_name = node.identity.node_id.to_string();
    let concerns_broker = |resource: &ConfigResource| {
        resource.kind == ResourceType::Broker && (resource.name.is_empty() || *resource.name == *own_name)
    };
    if publication.changes.configs.iter().any(concerns_broker) {
        let of = |name: &str| overrides(image, ResourceType::Broker, name);
        node.set_dynamic_config(of(""), of(&own_name), now);
        let topics: BTreeSet<_> =
            node.replicas.partitions().iter().map(|p| Arc::clone(&p.topic_partition().topic)).collect();
        topics.iter().for_each(|topic| apply_topic(node, image, topic));
        return;
    }
    for resource in publication.changes.configs.iter().filter(|r| r.kind == ResourceType::Topic) {
        apply_topic(node, image, &resource.name);
    }
}

fn apply_topic(node: &Node, image: &MetadataImage, topic: &str) {
    let config = node.topic_config(image, topic);
    node.logs.update_topic_config(topic, &Arc::new(log_config(&config)));
    let min_insync_replicas = usize::try_from(config.min_insync_replicas).unwrap_or(1);
    let throttles = Throttles::new(&config, node.identity.node_id);
    for partition in node.replicas.partitions_of(topic) {
        partition.set_min_insync_replicas(min_insync_replicas);
        partition.set_throttled(throttles.of(partition.topic_partition().partition));
    }
}

/// What somebody set for one resource.
pub(crate) fn overrides(image: &MetadataImage, kind: ResourceType, name: &str) -> BTreeMap<String, String> {
    let resource = ConfigResource::new(kind, name);
    image.configs.of(&resource).map(|settings| (**settings).clone()).unwrap_or_default()
}
