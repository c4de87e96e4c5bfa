use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;

use crate::group::modern::assignor::{Assignment, GroupSpec};

type Partition = (Uuid, i32);

/// What a member is to have so far, by member id.
type Kept<'a> = BTreeMap<&'a Arc<str>, BTreeSet<Partition>>;

/// The `simple` assignor: every partition is somebody's, every member has something, and nobody has more than one more than
/// another who subscribes to the same. Where there are more members than partitions they share them evenly. Nobody loses
/// a partition that need not go.
///
/// Where members subscribe to different topics this holds for each topic by itself.
pub fn simple(group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
    let mut assigned: Kept<'_> = group.members.keys().map(|id| (id, BTreeSet::new())).collect();
    let mut subscriptions = group.members.values().map(|member| &member.subscribed);
    let first = subscriptions.next();
    let is_homogeneous = subscriptions.all(|subscribed| Some(subscribed) == first);
    let partitions_of = |topic_id: &Uuid| {
        let count = group.partitions.get(topic_id).copied().unwrap_or(0);
        (0..count).map(|partition| (*topic_id, partition)).collect::<Vec<Partition>>()
    };
    if is_homogeneous {
        let partitions = first.into_iter().flat_map(|topics| topics.iter()).flat_map(partitions_of).collect();
        share_out(group, group.members.keys().collect(), partitions, &mut assigned);
    } else {
        for topic_id in group.partitions.keys() {
            let subscribes = |id: &&Arc<str>| {
                group.members.get(*id).is_some_and(|member| member.subscribed.contains(topic_id))
            };
            let members = group.members.keys().filter(subscribes).collect();
            share_out(group, members, partitions_of(topic_id), &mut assigned);
        }
    }
    assigned
        .into_iter()
        .map(|(member_id, partitions)| {
            let mut assignment = Assignment::new();
            for (topic_id, partition) in partitions {
                assignment.entry(topic_id).or_default().insert(partition);
            }
            (Arc::clone(member_id), assignment)
        })
        .collect()
}

/// Gives these partitions to these members.
fn share_out<'a>(
    group: &'a GroupSpec,
    members: Vec<&'a Arc<str>>,
    partitions: Vec<Partition>,
    assigned: &mut Kept<'a>,
) {
    if members.is_empty() || partitions.is_empty() {
        return;
    }
    let wanted: BTreeSet<Partition> = partitions.iter().copied().collect();
    let before = |member_id: &Arc<str>| -> Vec<Partition> {
        let assigned = group.members.get(member_id).map(|member| &member.assigned);
        let topics = assigned.into_iter().flat_map(|assigned| assigned.iter());
        let all = topics.flat_map(|(id, partitions)| partitions.iter().map(|partition| (*id, *partition)));
        all.filter(|partition| wanted.contains(partition)).collect()
    };
    if members.len() > partitions.len() {
        one_each(&members, &partitions, before, assigned);
    } else {
        each_once(&members, &partitions, before, assigned);
    }
}

/// At least as many partitions as members: each partition goes to one member.
fn each_once<'a>(
    members: &[&'a Arc<str>],
    partitions: &[Partition],
    before: impl Fn(&Arc<str>) -> Vec<Partition>,
    assigned: &mut Kept<'a>,
) {
    let (least, with_more) = (partitions.len() / members.len(), partitions.len() % members.len());
    let mut owner: BTreeMap<Partition, &'a Arc<str>> = BTreeMap::new();
    let mut kept: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    let mut more_left = with_more;
    for member_id in members {
        let mut count = 0;
        for partition in before(member_id) {
            if owner.contains_key(&partition) || count > least || (count == least && more_left == 0) {
                continue;
            }
            if count == least {
                more_left -= 1;
            }
            owner.insert(partition, member_id);
            count += 1;
        }
        kept.insert(member_id, count);
    }
    let mut free = partitions.iter().filter(|partition| !owner.contains_key(*partition)).copied();
    let mut given: Vec<(Partition, &'a Arc<str>)> = Vec::new();
    for member_id in members {
        let count = kept.entry(member_id).or_default();
        while *count < least {
            let Some(partition) = free.next() else { break };
            given.push((partition, member_id));
            *count += 1;
        }
    }
    for member_id in members {
        if kept.get(member_id) == Some(&least) && more_left > 0 {
            let Some(partition) = free.next() else { break };
            given.push((partition, member_id));
            more_left -= 1;
        }
    }
    for (partition, member_id) in owner.into_iter().chain(given) {
        assigned.entry(member_id).or_default().insert(partition);
    }
}

/// More members than partitions: each member has one, and the partitions have about as many members each.
fn one_each<'a>(
    members: &[&'a Arc<str>],
    partitions: &[Partition],
    before: impl Fn(&Arc<str>) -> Vec<Partition>,
    assigned: &mut Kept<'a>,
) {
    let (least, mut more_left) = (members.len() / partitions.len(), members.len() % partitions.len());
    let mut shared: BTreeMap<Partition, usize> = partitions.iter().map(|partition| (*partition, 0)).collect();
    let mut without = Vec::new();
    for member_id in members {
        let kept = before(member_id).into_iter().find(|partition| {
            shared.get(partition).is_some_and(|count| *count < least || (*count == least && more_left > 0))
        });
        let Some(partition) = kept else {
            without.push(*member_id);
            continue;
        };
        let count = shared.entry(partition).or_default();
        if *count == least {
            more_left -= 1;
        }
        *count += 1;
        assigned.entry(member_id).or_default().insert(partition);
    }
    for member_id in without {
        let Some((partition, count)) = shared.iter_mut().min_by_key(|(_, count)| **count) else { return };
        *count += 1;
        assigned.entry(member_id).or_default().insert(*partition);
    }
}
