//! Limits of how fast replicas may move: set on brokers, and on topics, where they name the replicas that are limited.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{Admin, AlterOp, ConfigResource, PartitionReassignment, ResourceType};
use ottla_types::TopicPartition;

use super::file::{Assignment, Replica, joined};
use super::{Wrong, topics_of};
use crate::tool::Output;

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const DIRS_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// From where to where a partition moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Move {
    sources: BTreeSet<i32>,
    destinations: BTreeSet<i32>,
}

/// All that moves: what is under way, with what is proposed.
pub(super) fn all_moves(
    under_way: &BTreeMap<TopicPartition, PartitionReassignment>,
    proposed: &Assignment,
    current: &Assignment,
) -> BTreeMap<TopicPartition, Move> {
    let mut moves: BTreeMap<TopicPartition, Move> = under_way
        .iter()
        .map(|(at, of)| {
            let destinations: BTreeSet<i32> = of.adding.iter().copied().collect();
            let sources = of.replicas.iter().copied().filter(|id| !destinations.contains(id)).collect();
            (at.clone(), Move { sources, destinations })
        })
        .collect();
    for (at, replicas) in proposed {
        let of_current = || current.get(at).into_iter().flatten().copied().collect();
        let sources: BTreeSet<i32> = match moves.remove(at) {
            Some(known) => known.sources,
            None => of_current(),
        };
        let destinations = replicas.iter().copied().filter(|id| !sources.contains(id)).collect();
        moves.insert(at.clone(), Move { sources, destinations });
    }
    moves
}

/// Limits what these moves take, on every broker that has to do with one.
pub(super) async fn limit_moves(
    admin: &Admin,
    moves: &BTreeMap<TopicPartition, Move>,
    bytes_per_s: i64,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let mut of_topics = Changes::new();
    for topic in topics_of(moves.keys()) {
        let leaders = limited(moves, &topic, |of| &of.sources);
        let followers = limited(moves, &topic, |of| &of.destinations);
        let changes = vec![set(LEADER_REPLICAS, leaders), set(FOLLOWER_REPLICAS, followers)];
        of_topics.insert(ConfigResource::topic(topic), changes);
    }
    change(admin, &of_topics).await?;
    let brokers = moves.values().flat_map(|of| of.sources.union(&of.destinations)).copied();
    let of_brokers =
        brokers.map(|id| (broker(id), vec![set(LEADER_RATE, bytes_per_s), set(FOLLOWER_RATE, bytes_per_s)]));
    change(admin, &of_brokers.collect()).await?;
    output.line(format_args!("The inter-broker throttle limit was set to {bytes_per_s} B/s"))?;
    Ok(())
}

/// Limits what moves between directories take.
pub(super) async fn limit_dirs(
    admin: &Admin,
    replicas: &BTreeMap<Replica, String>,
    bytes_per_s: i64,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let of_brokers = replicas.keys().map(|(id, _)| (broker(*id), vec![set(DIRS_RATE, bytes_per_s)]));
    change(admin, &of_brokers.collect()).await?;
    output.line(format_args!("The replica-alter-dir throttle limit was set to {bytes_per_s} B/s"))?;
    Ok(())
}

/// Takes back all limits: of every broker, as nobody knows any more which had to do with a move.
pub(super) async fn clear(
    admin: &Admin,
    partitions: &[(TopicPartition, Vec<i32>)],
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let nodes = admin.describe_cluster(false).await?.nodes;
    let targets = partitions.iter().flat_map(|(_, replicas)| replicas).copied();
    let brokers: BTreeSet<i32> = nodes.iter().map(|node| node.id).chain(targets).collect();
    let plural = if brokers.len() == 1 { "" } else { "s" };
    output
        .line(format_args!("Clearing broker-level throttles on broker{plural} {}", joined(&brokers, ",")))?;
    let of_brokers =
        brokers.into_iter().map(|id| (broker(id), deletions(&[LEADER_RATE, FOLLOWER_RATE, DIRS_RATE])));
    change(admin, &of_brokers.collect()).await?;
    let topics = topics_of(partitions.iter().map(|(at, _)| at));
    let plural = if topics.len() == 1 { "" } else { "s" };
    output.line(format_args!("Clearing topic-level throttles on topic{plural} {}", topics.join(",")))?;
    let of_topics = topics
        .into_iter()
        .map(|topic| (ConfigResource::topic(topic), deletions(&[LEADER_REPLICAS, FOLLOWER_REPLICAS])));
    change(admin, &of_topics.collect()).await
}

type Changes = BTreeMap<ConfigResource, Vec<(String, AlterOp)>>;

async fn change(admin: &Admin, changes: &Changes) -> Result<(), Wrong> {
    for (_, result) in admin.alter_configs(changes, false).await? {
        result?;
    }
    Ok(())
}

fn broker(id: i32) -> ConfigResource {
    ConfigResource::new(ResourceType::Broker, id.to_string())
}

fn set(name: &str, value: impl ToString) -> (String, AlterOp) {
    (name.to_owned(), AlterOp::Set(value.to_string()))
}

fn deletions(names: &[&str]) -> Vec<(String, AlterOp)> {
    names.iter().map(|name| ((*name).to_owned(), AlterOp::Delete)).collect()
}

/// `partition:broker` of each replica of a topic that is limited, ordered as texts.
fn limited(
    moves: &BTreeMap<TopicPartition, Move>,
    topic: &str,
    brokers: impl Fn(&Move) -> &BTreeSet<i32>,
) -> String {
    let of_topic = moves.iter().filter(|(at, _)| *at.topic == *topic);
    let entries: BTreeSet<String> = of_topic
        .flat_map(|(at, of)| {
            brokers(of).iter().map(|id| format!("{}:{id}", at.partition)).collect::<Vec<_>>()
        })
        .collect();
    joined(&entries, ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: i32) -> TopicPartition {
        TopicPartition::new("a", index)
    }

    #[test]
    fn sources_lead_and_destinations_follow() {
        let proposed = Assignment::from([(at(2), vec![2, 3]), (at(10), vec![4])]);
        let current = Assignment::from([(at(2), vec![1, 2]), (at(10), vec![1])]);
        let moves = all_moves(&BTreeMap::new(), &proposed, &current);
        assert_eq!(limited(&moves, "a", |of| &of.sources), "10:1,2:1,2:2");
        assert_eq!(limited(&moves, "a", |of| &of.destinations), "10:4,2:3");
        assert_eq!(limited(&moves, "b", |of| &of.sources), "");
    }

    #[test]
    fn what_is_under_way_knows_its_sources() {
        let under_way = PartitionReassignment { replicas: vec![3, 1, 2], adding: vec![3], removing: vec![1] };
        let under_way = BTreeMap::from([(at(0), under_way.clone()), (at(1), under_way)]);
        let proposed = Assignment::from([(at(0), vec![4, 2])]);
        let current = Assignment::from([(at(0), vec![3, 1, 2])]);
        let moves = all_moves(&under_way, &proposed, &current);
        assert_eq!(limited(&moves, "a", |of| &of.sources), "0:1,0:2,1:1,1:2");
        assert_eq!(limited(&moves, "a", |of| &of.destinations), "0:4,1:3");
    }
}
