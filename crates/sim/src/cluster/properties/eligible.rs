//! Who is in sync or eligible to lead, as the newest metadata say, is a replica: if it comes back as one it begins with nothing.

use super::ClusterProperty;
use crate::cluster::observation::NodeSeen;

#[derive(Debug, Default)]
pub(super) struct Eligible {
    /// Up to where the metadata were judged.
    judged: i64,
}

impl ClusterProperty for Eligible {
    fn name(&self) -> &'static str {
        "who may lead is a replica"
    }

    fn observed(&mut self, nodes: &[NodeSeen]) -> Result<(), String> {
        for node in nodes.iter().filter(|node| node.metadata_offset > self.judged) {
            for topic in node.image.topics.iter() {
                for (number, partition) in &topic.partitions {
                    let mut may_lead = partition.isr.iter().chain(&partition.elr);
                    if let Some(id) = may_lead.find(|id| !partition.replicas.contains(id)) {
                        return Err(format!("{}-{number}: node {id} may lead: {partition:?}", topic.name));
                    }
                }
            }
        }
        let newest = nodes.iter().map(|node| node.metadata_offset).max();
        self.judged = newest.map_or(self.judged, |newest| newest.max(self.judged));
        Ok(())
    }
}
