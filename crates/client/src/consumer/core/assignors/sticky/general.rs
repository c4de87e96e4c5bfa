//! Members subscribed to different topics: partitions move from fuller to emptier members while that helps.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::movements::Movements;
use super::{Partition, Problem};
use crate::consumer::core::protocol::NO_GENERATION;

/// For each member its partitions.
pub(super) fn assign(problem: &Problem<'_>) -> Vec<Vec<Partition>> {
    let mut balancing = Balancing::new(problem);
    let before = balancing.earlier_owners();
    let (unassigned, revoked) = balancing.keep_owned();
    balancing.assign(&unassigned);
    balancing.balance(&before, unassigned, revoked);
    balancing.assigned
}

struct Balancing<'a> {
    problem: &'a Problem<'a>,
    assigned: Vec<Vec<Partition>>,
    owners: HashMap<Partition, usize>,
    /// Of each topic, the members that subscribed to it.
    consumers: Vec<Vec<usize>>,
    /// All that can be assigned, those that few members may get first.
    partitions: Vec<Partition>,
    /// Members that take part, by their number of partitions, then by id. Changes with `assigned`.
    by_count: BTreeSet<(usize, usize)>,
    by_rank: Vec<usize>,
    nothing_kept: bool,
    movements: Movements,
}

impl<'a> Balancing<'a> {
    fn new(problem: &'a Problem<'a>) -> Balancing<'a> {
        let members = 0..problem.members.len();
        let of_topic =
            |topic: usize| members.clone().filter(|m| problem.members[*m].topics.contains(&topic)).collect();
        let consumers: Vec<Vec<usize>> = (0..problem.topics.len()).map(of_topic).collect();
        let mut topics: Vec<usize> = (0..problem.topics.len()).collect();
        topics.sort_by_key(|topic| consumers[*topic].len());
        let mut by_rank: Vec<usize> = members.collect();
        by_rank.sort_by_key(|member| problem.members[*member].rank);
        Balancing {
            problem,
            assigned: vec![Vec::new(); problem.members.len()],
            owners: HashMap::new(),
            partitions: topics.into_iter().flat_map(|topic| problem.partitions_of(topic)).collect(),
            consumers,
            by_count: BTreeSet::new(),
            by_rank,
            nothing_kept: false,
            movements: Movements::default(),
        }
    }

    /// Who had a partition in an earlier generation than the latest that anybody speaks of.
    fn earlier_owners(&self) -> HashMap<Partition, usize> {
        let mut owners: HashMap<Partition, (usize, i32)> = HashMap::new();
        for (index, member) in self.problem.members.iter().enumerate() {
            let generation = member.generation.unwrap_or(NO_GENERATION);
            if generation >= self.problem.ownership.max_generation {
                continue;
            }
            for partition in &member.claimed {
                let owner = owners.entry(*partition).or_insert((index, generation));
                if generation > owner.1 {
                    *owner = (index, generation);
                }
            }
        }
        owners.into_iter().map(|(partition, (owner, _))| (partition, owner)).collect()
    }

    /// What isn't kept, and whether a member must give up something that it owns.
    fn keep_owned(&mut self) -> (Vec<Partition>, bool) {
        let mut revoked = false;
        for (index, member) in self.problem.members.iter().enumerate() {
            for partition in &self.problem.ownership.owned[index] {
                if member.topics.contains(&partition.0) && !self.problem.racks.is_far(index, *partition) {
                    self.assigned[index].push(*partition);
                    self.owners.insert(*partition, index);
                } else {
                    revoked = true;
                }
            }
        }
        self.by_count = (0..self.assigned.len()).map(|member| self.place(member)).collect();
        self.nothing_kept = self.owners.is_empty();
        (self.partitions.iter().filter(|p| !self.owners.contains_key(p)).copied().collect(), revoked)
    }

    fn place(&self, member: usize) -> (usize, usize) {
        (self.assigned[member].len(), self.problem.members[member].rank)
    }

    fn emptiest_first(&self) -> impl Iterator<Item = usize> {
        self.by_count.iter().map(|(_, rank)| self.by_rank[*rank])
    }

    /// Each to the emptiest member that may have it, first of all to one that is near.
    fn assign(&mut self, unassigned: &[Partition]) {
        if self.problem.racks.matter() {
            for partition in unassigned {
                self.give(*partition, |balancing, member| {
                    !balancing.problem.racks.is_far(member, *partition)
                });
            }
        }
        for partition in unassigned {
            if !self.owners.contains_key(partition) {
                self.give(*partition, |_, _| true);
            }
        }
    }

    fn give(&mut self, partition: Partition, may: impl Fn(&Self, usize) -> bool) {
        let wants = |member: &usize| {
            self.problem.members[*member].topics.contains(&partition.0) && may(self, *member)
        };
        let taker = self.emptiest_first().find(wants);
        if let Some(member) = taker {
            self.by_count.remove(&self.place(member));
            self.assigned[member].push(partition);
            self.owners.insert(partition, member);
            self.by_count.insert(self.place(member));
        }
    }

    fn balance(&mut self, before: &HashMap<Partition, usize>, mut unassigned: Vec<Partition>, revoked: bool) {
        // What only one member can read, and members that can neither get nor give anything, stay as they are.
        let movable = |partition: &Partition| self.consumers[partition.0].len() >= 2;
        unassigned.retain(movable);
        let mut all = self.partitions.clone();
        all.retain(movable);
        let fixed: Vec<usize> = (0..self.assigned.len()).filter(|member| !self.takes_part(*member)).collect();
        for member in fixed {
            self.by_count.remove(&self.place(member));
        }
        let unbalanced = self.assigned.clone();
        let first_assignment = self.nothing_kept;
        if !revoked {
            self.move_partitions(&unassigned, before);
        }
        let moved = self.move_partitions(&all, before);
        if !first_assignment && moved && self.imbalance(&self.assigned) >= self.imbalance(&unbalanced) {
            self.assigned = unbalanced;
        }
    }

    fn takes_part(&self, member: usize) -> bool {
        self.assigned[member].len() < self.assignable(member)
            || self.assigned[member].iter().any(|partition| self.consumers[partition.0].len() >= 2)
    }

    fn assignable(&self, member: usize) -> usize {
        self.problem.members[member].topics.iter().map(|topic| self.problem.topics[*topic].racks.len()).sum()
    }

    /// Sum of differences between all pairs of members that take part.
    fn imbalance(&self, assigned: &[Vec<Partition>]) -> usize {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, rank) in &self.by_count {
            *counts.entry(assigned[self.by_rank[*rank]].len()).or_default() += 1;
        }
        let counts: Vec<(usize, usize)> = counts.into_iter().collect();
        let pairs =
            counts.iter().enumerate().flat_map(|(at, few)| counts[..at].iter().map(move |many| (few, many)));
        pairs.map(|((one, ones), (other, others))| one.abs_diff(*other) * ones * others).sum()
    }

    /// Moves what makes members more equal, until nothing does. Did anything move?
    fn move_partitions(&mut self, movable: &[Partition], before: &HashMap<Partition, usize>) -> bool {
        let mut moved = false;
        // Every move makes members more equal, so this ends by itself; the bound is for what nobody thought of.
        let mut moves_left = movable.len().saturating_mul(self.assigned.len());
        loop {
            let mut moved_now = false;
            for partition in movable {
                if moves_left == 0 || self.is_balanced() {
                    break;
                }
                if let Some(to) = self.better_owner(*partition, before) {
                    self.move_to(*partition, to);
                    moved_now = true;
                    moves_left -= 1;
                }
            }
            moved |= moved_now;
            if !moved_now || moves_left == 0 {
                return moved;
            }
        }
    }

    fn better_owner(&self, partition: Partition, before: &HashMap<Partition, usize>) -> Option<usize> {
        let owner = *self.owners.get(&partition)?;
        let has_more_than = |other: usize| self.assigned[owner].len() > self.assigned[other].len() + 1;
        let consumers = &self.consumers[partition.0];
        if let Some(earlier) = before.get(&partition).filter(|member| consumers.contains(member))
            && has_more_than(*earlier)
        {
            return Some(*earlier);
        }
        consumers.iter().any(|other| has_more_than(*other)).then(|| {
            let emptiest = self.emptiest_first().find(|member| consumers.contains(member));
            emptiest.unwrap_or(owner)
        })
    }

    fn move_to(&mut self, partition: Partition, to: usize) {
        let Some(owner) = self.owners.get(&partition).copied() else { return };
        let moved = self.movements.instead_of(partition, owner, to);
        let Some(from) = self.owners.get(&moved).copied() else { return };
        for member in [from, to] {
            self.by_count.remove(&self.place(member));
        }
        self.movements.record(moved, self.problem.hash_code(moved), from, to);
        self.assigned[from].retain(|assigned| *assigned != moved);
        self.assigned[to].push(moved);
        self.owners.insert(moved, to);
        for member in [from, to] {
            self.by_count.insert(self.place(member));
        }
    }

    /// Nobody could get anything from a member that has at least two more.
    fn is_balanced(&self) -> bool {
        let (Some(min), Some(max)) = (self.by_count.first(), self.by_count.last()) else { return true };
        min.0 + 1 >= max.0 || self.emptiest_first().all(|member| !self.could_get_more(member))
    }

    fn could_get_more(&self, member: usize) -> bool {
        let count = self.assigned[member].len();
        if count == self.assignable(member) {
            return false;
        }
        let mut possible =
            self.problem.members[member].topics.iter().flat_map(|topic| self.problem.partitions_of(*topic));
        possible.any(|partition| {
            let owner = self.owners.get(&partition).filter(|owner| **owner != member);
            owner.is_some_and(|owner| count + 1 < self.assigned[*owner].len())
        })
    }
}
