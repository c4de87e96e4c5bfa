//! kafka-topics --describe.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{
    Admin, ConfigEntry, ConfigResource, ConfigSource, PartitionDescription, PartitionReassignment, Results,
    TopicDescription,
};
use ottla_types::{TopicPartition, Uuid};

use super::plan::{Description, Plan};
use super::{Wrong, check_exist, chosen};
use crate::tool::{Failure, Output};

type Moves = BTreeMap<TopicPartition, PartitionReassignment>;

pub(super) async fn describe(
    admin: &Admin,
    plan: &Plan,
    description: &Description,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let names = names(admin, plan, description).await?;
    if names.is_empty() {
        return Ok(());
    }
    let mut topics = Vec::new();
    for (_, topic) in admin.describe_topics(&names, description.partitions_max).await? {
        topics.push(topic?);
    }
    let resources: Vec<ConfigResource> = names.iter().map(ConfigResource::topic).collect();
    let mut configs: Results<ConfigResource, Vec<ConfigEntry>> =
        admin.describe_configs(&resources, false).await?;
    let partitions: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|of| TopicPartition::new(topic.name.as_str(), of.index))
        })
        .collect();
    // Brokers that don't tell of moves are taken for having none.
    let moves = admin.list_reassignments(Some(&partitions)).await.unwrap_or_default();
    let live: BTreeSet<i32> = admin.client().metadata().brokers().keys().map(|id| id.0).collect();
    for topic in &topics {
        let config = match configs.remove(&ConfigResource::topic(topic.name.as_str())) {
            Some(entries) => entries?,
            None => Vec::new(),
        };
        Shown { topic, config: &config, moves: &moves, live: &live, description }.print(output)?;
    }
    Ok(())
}

async fn names(admin: &Admin, plan: &Plan, description: &Description) -> Result<Vec<String>, Wrong> {
    let Some(text) = &description.topic_id else {
        let names = chosen(admin, plan).await?;
        check_exist(&names, plan)?;
        return Ok(names);
    };
    let id: Uuid =
        text.parse().map_err(|error: ottla_types::UuidParseError| Wrong::Topics(error.to_string()))?;
    if id.is_zero() {
        let names = chosen(admin, plan).await?;
        check_exist(&names, plan)?;
        return Ok(names);
    }
    let topics = admin.list_topics().await?;
    let found =
        topics.iter().filter(|topic| topic.id == id && !(plan.excludes_internal && topic.is_internal));
    let names: Vec<String> = found.map(|topic| topic.name.to_string()).collect();
    if names.is_empty() && !plan.if_exists {
        return Err(Wrong::Topics(format!("TopicId '{text}' does not exist as expected")));
    }
    Ok(names)
}

struct Shown<'a> {
    topic: &'a TopicDescription,
    config: &'a [ConfigEntry],
    moves: &'a Moves,
    live: &'a BTreeSet<i32>,
    description: &'a Description,
}

impl Shown<'_> {
    fn print(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let d = self.description;
        let reports = d.under_replicated || d.unavailable || d.under_min_isr || d.at_min_isr;
        if !reports && (!d.only_overridden || self.overridden().next().is_some()) {
            self.print_topic(output)?;
        }
        if d.only_overridden {
            return Ok(());
        }
        for partition in &self.topic.partitions {
            if !reports || self.is_reported(partition) {
                self.print_partition(partition, output)?;
            }
        }
        Ok(())
    }

    fn is_reported(&self, partition: &PartitionDescription) -> bool {
        let d = self.description;
        let leader = partition.leader.map(|leader| leader.0);
        let in_sync = partition.isr.len();
        d.under_replicated && self.replication_factor(partition) > in_sync
            || d.unavailable && leader.is_none_or(|leader| !self.live.contains(&leader))
            || d.under_min_isr && (leader.is_none() || in_sync < self.min_isr())
            || d.at_min_isr && in_sync == self.min_isr()
    }

    fn overridden(&self) -> impl Iterator<Item = &ConfigEntry> {
        self.config.iter().filter(|entry| entry.source != ConfigSource::Default)
    }

    fn min_isr(&self) -> usize {
        let entry = self.config.iter().find(|entry| entry.name == "min.insync.replicas");
        entry.and_then(|entry| entry.value.as_deref()?.parse().ok()).unwrap_or(1)
    }

    fn reassignment(&self, partition: &PartitionDescription) -> Option<&PartitionReassignment> {
        self.moves.get(&TopicPartition::new(self.topic.name.as_str(), partition.index))
    }

    /// Without replicas that are on their way in. A move that has just ended is none.
    fn replication_factor(&self, partition: &PartitionDescription) -> usize {
        let is_under_way = |of: &&PartitionReassignment| {
            of.adding.iter().chain(&of.removing).any(|id| partition.replicas.contains(id))
        };
        match self.reassignment(partition).filter(is_under_way) {
            Some(of) => of.replicas.len().saturating_sub(of.adding.len()),
            None => partition.replicas.len(),
        }
    }

    fn print_topic(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let id =
            if self.topic.id.is_zero() { String::new() } else { format!("\tTopicId: {}", self.topic.id) };
        let factor = self.topic.partitions.first().map_or(0, |first| self.replication_factor(first));
        let configs: Vec<String> = self
            .overridden()
            .map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null")))
            .collect();
        output.line(format_args!(
            "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
            self.topic.name,
            self.topic.partitions.len(),
            configs.join(","),
        ))
    }

    fn print_partition(
        &self,
        partition: &PartitionDescription,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let told = |list: &Option<Vec<i32>>| list.as_deref().map_or("N/A".to_owned(), ids);
        let moving = self.reassignment(partition).map(|of| {
            format!("\tAdding Replicas: {}\tRemoving Replicas: {}", ids(&of.adding), ids(&of.removing))
        });
        output.line(format_args!(
            "\tTopic: {}\tPartition: {}\tLeader: {}\tReplicas: {}\tIsr: {}{}\tElr: {}\tLastKnownElr: {}",
            self.topic.name,
            partition.index,
            partition.leader.map_or("none".to_owned(), |leader| leader.0.to_string()),
            ids(&partition.replicas),
            ids(&partition.isr),
            moving.unwrap_or_default(),
            told(&partition.elr),
            told(&partition.last_known_elr),
        ))
    }
}
