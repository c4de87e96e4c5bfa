//! The cluster at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_client::admin::Admin;
use ottla_client::types::TopicPartition;
use ottla_client::{Topic, Topics};

use super::model::{PartitionSample, Sample};
use crate::cluster_view::{ends, led_partitions_of};
use crate::error::Failure;
use crate::global::now_ms;
use crate::group::all_groups;
use crate::topic::sizes_of_leaders;

pub async fn sample(admin: &Admin, internal: bool) -> Result<Sample, Failure> {
    let metadata = admin.client().refresh(Topics::Every).await?;
    let topics: Vec<Arc<Topic>> =
        metadata.topics().filter(|topic| internal || !topic.is_internal).cloned().collect();
    let (ends, sizes) = tokio::join!(
        ends(admin, topics.iter().flat_map(|topic| led_partitions_of(topic)), false),
        sizes_of_leaders(admin, &topics)
    );
    let ends = ends?;
    let at_ms = now_ms();
    let mut partitions = BTreeMap::new();
    for topic in &topics {
        for partition in &topic.partitions {
            let at = TopicPartition::new(Arc::clone(&topic.name), partition.index);
            let known = ends.get(&at).and_then(|ends| ends.as_ref().ok()).copied();
            let (start, end) = known.unwrap_or_default();
            let of = PartitionSample {
                leader: partition.leader.map(|leader| leader.0),
                is_under_replicated: partition.isr.len() < partition.replicas.len(),
                start,
                end,
                size_bytes: sizes.get(&at).copied().unwrap_or_default(),
            };
            partitions.insert(at, of);
        }
    }
    Ok(Sample {
        at_ms,
        cluster_id: metadata.cluster_id().unwrap_or_default().to_owned(),
        brokers: metadata.brokers().len(),
        partitions,
        groups: groups(admin).await?,
    })
}

/// What groups of consumers have committed. A group that can't be asked, or is deleted meanwhile, is left out.
async fn groups(admin: &Admin) -> Result<BTreeMap<String, BTreeMap<TopicPartition, i64>>, Failure> {
    let mut groups = BTreeMap::new();
    for group in all_groups(admin, &[], &[]).await? {
        if !matches!(group.protocol.as_str(), "consumer" | "") {
            continue;
        }
        if let Ok(offsets) = admin.list_group_offsets(&group.id, None).await {
            let committed = offsets.into_iter().filter_map(|(at, offset)| Some((at, offset.ok()?.offset)));
            groups.insert(group.id, committed.collect());
        }
    }
    Ok(groups)
}
