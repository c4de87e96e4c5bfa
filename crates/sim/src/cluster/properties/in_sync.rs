//! Who is in sync, as the newest metadata say, has all that was ever said to be replicated: it may lead next.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_types::TopicPartition;

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;
use crate::event::Event;

#[derive(Debug, Default)]
pub(super) struct InSync {
    /// The highest of all high watermarks.
    replicated: BTreeMap<TopicPartition, i64>,
    /// The newest metadata, and up to which offset they go. Those who know them may be gone.
    newest: Option<(i64, Arc<MetadataImage>)>,
}

/// Whether a node's process is the one that the metadata know, and it takes part. One that has just begun may have lost what it had,
/// and is in sync in name only until it has registered.
fn takes_part(node: &NodeSeen, newest: &MetadataImage) -> bool {
    let registered = newest.brokers.get(&node.id);
    registered.is_some_and(|broker| broker.is_active() && Some(broker.epoch()) == node.broker_epoch)
}

fn is_in_sync(node: &NodeSeen, partition: &TopicPartition, newest: &MetadataImage) -> bool {
    let topic = newest.topics.by_name(&partition.topic);
    let registration = topic.and_then(|topic| topic.partitions.get(&partition.partition));
    registration.is_some_and(|registration| registration.isr.contains(&node.id))
}

impl ClusterProperty for InSync {
    fn name(&self) -> &'static str {
        "who is in sync has all that is replicated"
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        if let Event::MayHaveLost { partition } = event {
            self.replicated.remove(partition);
        }
        Ok(())
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        for (partition, seen) in nodes.iter().flat_map(|node| &node.replicas) {
            let replicated = self.replicated.entry(partition.clone()).or_default();
            *replicated = seen.high_watermark.max(*replicated);
        }
        for node in nodes {
            if self.newest.as_ref().is_none_or(|(offset, _)| *offset < node.metadata_offset) {
                self.newest = Some((node.metadata_offset, Arc::clone(&node.image)));
            }
        }
        let Some((_, newest)) = &self.newest else { return Ok(()) };
        for node in nodes.iter().filter(|node| takes_part(node, newest)) {
            for (partition, seen) in &node.replicas {
                let replicated = self.replicated.get(partition).copied().unwrap_or(0);
                if seen.log_end < replicated && is_in_sync(node, partition, newest) {
                    let (id, end) = (node.id, seen.log_end);
                    return Err(format!(
                        "{partition}: node {id} is in sync and ends at {end}, {replicated} was replicated"
                    ));
                }
            }
        }
        Ok(())
    }
}
