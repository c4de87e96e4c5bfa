//! Replicas agree on what is replicated: below the high watermarks of two of them both have the same records. In the end they
//! have the same altogether, where nobody writes any more.

use std::collections::BTreeMap;

use ottla_types::{NodeId, TopicPartition};

use super::ClusterProperty;
use crate::cluster::observation::{Look, NodeSeen};
use crate::log_files::{LogFiles, Stored};

#[derive(Debug)]
pub(super) struct Agreement;

type Replica<'a> = (NodeId, i64, &'a [Stored]);

fn by_partition<'a>(
    nodes: &[NodeSeen],
    files: &'a BTreeMap<NodeId, Vec<LogFiles>>,
) -> BTreeMap<&'a TopicPartition, Vec<Replica<'a>>> {
    let mut all: BTreeMap<_, Vec<Replica<'a>>> = BTreeMap::new();
    for node in nodes {
        for log in files.get(&node.id).into_iter().flatten() {
            if let Some(seen) = node.replicas.get(&log.partition) {
                let replica = (node.id, seen.high_watermark, log.records.as_slice());
                all.entry(&log.partition).or_default().push(replica);
            }
        }
    }
    all
}

fn compare(partition: &TopicPartition, a: Replica<'_>, b: Replica<'_>, end: i64) -> Result<(), String> {
    let below = |records: &[Stored]| records.partition_point(|record| record.offset < end);
    let (of_a, of_b) = (&a.2[..below(a.2)], &b.2[..below(b.2)]);
    if of_a == of_b {
        return Ok(());
    }
    let differs = of_a.iter().zip(of_b).find(|(a, b)| a != b);
    Err(format!(
        "{partition}: below {end} nodes {} and {} have {} and {} records; first difference: {differs:?}",
        a.0,
        b.0,
        of_a.len(),
        of_b.len()
    ))
}

impl ClusterProperty for Agreement {
    fn name(&self) -> &'static str {
        "replicas agree on what is replicated"
    }

    fn looked_through(&mut self, look: &Look) -> Result<(), String> {
        for (partition, replicas) in by_partition(&look.nodes, &look.files) {
            for pair in replicas.windows(2) {
                compare(partition, pair[0], pair[1], pair[0].1.min(pair[1].1))?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        for (partition, replicas) in by_partition(&look.nodes, &look.files) {
            for pair in replicas.windows(2) {
                // Members of groups go on to say that they are there.
                let end = if partition.topic.starts_with("__") { pair[0].1.min(pair[1].1) } else { i64::MAX };
                compare(partition, pair[0], pair[1], end)?;
            }
        }
        Ok(())
    }
}
