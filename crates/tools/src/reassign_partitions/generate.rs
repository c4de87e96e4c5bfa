//! A proposal where partitions could go.

use std::collections::BTreeMap;

use ottla_client::admin::{Admin, Endpoint};
use ottla_metadata::placement::{Candidate, place};
use ottla_types::{NodeId, TopicPartition};

use super::file::{Assignment, json};
use super::verify::current_dirs;
use super::{Wrong, assignment_of_topics, topics_of};
use crate::tool::Output;

pub(super) async fn generate(
    admin: &Admin,
    topics: &[String],
    brokers: &[i32],
    is_rack_aware: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let current = assignment_of_topics(admin, topics).await?;
    let nodes = admin.describe_cluster(false).await?.nodes;
    let candidates = candidates(&nodes, brokers, is_rack_aware).map_err(Wrong::Error)?;
    let proposed = propose(&current, &candidates, rand::random).map_err(Wrong::Error)?;
    output.line(format_args!(
        "Current partition replica assignment\n{}\n",
        json(&current, &current_dirs(admin, &current).await)
    ))?;
    output.line(format_args!(
        "Proposed partition reassignment configuration\n{}",
        json(&proposed, &BTreeMap::new())
    ))?;
    Ok(())
}

/// Those of the brokers that there are.
fn candidates(nodes: &[Endpoint], brokers: &[i32], is_rack_aware: bool) -> Result<Vec<Candidate>, String> {
    let asked = nodes.iter().filter(|node| brokers.contains(&node.id));
    let candidates: Vec<Candidate> = asked
        .map(|node| Candidate {
            id: NodeId(node.id),
            rack: node.rack.clone().filter(|_| is_rack_aware),
            is_fenced: false,
        })
        .collect();
    let without_rack = candidates.iter().filter(|candidate| candidate.rack.is_none()).count();
    if is_rack_aware && without_rack != 0 && without_rack != candidates.len() {
        return Err("Not all brokers have rack information. Add --disable-rack-aware in command line to make replica \
                    assignment without rack information."
            .to_owned());
    }
    Ok(candidates)
}

/// As many replicas for each topic as its first partition has.
fn propose(
    current: &Assignment,
    candidates: &[Candidate],
    mut seed: impl FnMut() -> u64,
) -> Result<Assignment, String> {
    let mut proposed = Assignment::new();
    for topic in topics_of(current.keys()) {
        let of_topic: Vec<(&TopicPartition, &Vec<i32>)> =
            current.iter().filter(|(at, _)| *at.topic == *topic).collect();
        let replicas = of_topic.first().map_or(0, |(_, replicas)| replicas.len());
        let factor = i16::try_from(replicas).unwrap_or(i16::MAX);
        let placed = place(candidates, of_topic.len(), factor, seed()).map_err(|error| error.to_string())?;
        let placed = placed.into_iter().map(|nodes| nodes.into_iter().map(|node| node.0).collect());
        proposed
            .extend(of_topic.into_iter().map(|(at, _)| at.clone()).zip::<Vec<Vec<i32>>>(placed.collect()));
    }
    Ok(proposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: i32, rack: Option<&str>) -> Endpoint {
        let rack = rack.map(str::to_owned);
        Endpoint { id, host: "h".to_owned(), port: 1, rack, is_fenced: false }
    }

    #[test]
    fn only_brokers_that_were_named_and_are_there_get_replicas() {
        let nodes = [node(1, None), node(2, None), node(3, None)];
        let found = candidates(&nodes, &[3, 1, 9], true).unwrap();
        let current: Assignment = (0..4).map(|index| (TopicPartition::new("a", index), vec![2, 3])).collect();
        let proposed = propose(&current, &found, || 7).unwrap();
        assert_eq!(proposed.len(), 4);
        for replicas in proposed.values() {
            let mut sorted = replicas.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [1, 3]);
        }
        let few = candidates(&nodes, &[9, 1], true).unwrap();
        let error = propose(&current, &few, || 7).unwrap_err();
        assert!(
            error
                .starts_with("The target replication factor of 2 cannot be reached because only 1 broker(s)")
        );
    }

    #[test]
    fn racks_are_known_of_all_or_left_out() {
        let nodes = [node(1, Some("r")), node(2, None)];
        assert!(candidates(&nodes, &[1, 2], true).unwrap_err().contains("--disable-rack-aware"));
        assert!(candidates(&nodes, &[1], true).unwrap()[0].rack.is_some());
        assert!(candidates(&nodes, &[1, 2], false).unwrap().iter().all(|found| found.rack.is_none()));
    }
}
