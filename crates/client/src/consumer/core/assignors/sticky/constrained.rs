//! All members subscribed to the same topics: everybody gets the same number of partitions, or one more.

use std::collections::BTreeMap;

use super::{Partition, Problem};

/// For each member its partitions; and those that may still be read by another member than the new one.
pub(super) fn assign(problem: &Problem<'_>) -> (Vec<Vec<Partition>>, Vec<(Partition, usize)>) {
    let mut filling = Filling::new(problem);
    filling.keep_owned();
    let mut unassigned = filling.unassigned();
    for unfilled in [&mut filling.below_min, &mut filling.at_min] {
        unfilled.sort_by_key(|member| problem.members[*member].rank);
    }
    problem.racks.sort_by_consumers(&mut unassigned);
    filling.assign_near(&mut unassigned);
    filling.assign_in_turn(&unassigned);
    (filling.assigned, filling.changing_hands)
}

struct Filling<'a> {
    problem: &'a Problem<'a>,
    /// Everybody gets so many ...
    min: usize,
    /// ... and some one more, unless it divides.
    max: usize,
    /// How many members may get `max`, where it isn't `min`.
    above_min_expected: usize,
    above_min: usize,
    assigned: Vec<Vec<Partition>>,
    below_min: Vec<usize>,
    /// May still get one more.
    at_min: Vec<usize>,
    given_up: BTreeMap<Partition, usize>,
    changing_hands: Vec<(Partition, usize)>,
}

impl<'a> Filling<'a> {
    fn new(problem: &'a Problem<'a>) -> Filling<'a> {
        let (partitions, members) = (problem.partition_count(), problem.members.len());
        Filling {
            problem,
            min: partitions / members,
            max: partitions.div_ceil(members),
            above_min_expected: partitions % members,
            above_min: 0,
            assigned: vec![Vec::new(); members],
            below_min: Vec::new(),
            at_min: Vec::new(),
            given_up: BTreeMap::new(),
            changing_hands: Vec::new(),
        }
    }

    /// Members keep what they own as far as their share goes.
    fn keep_owned(&mut self) {
        for member in 0..self.assigned.len() {
            let ownership = &self.problem.ownership;
            let (far, mut owned): (Vec<Partition>, Vec<Partition>) = ownership.owned[member]
                .iter()
                .partition(|partition| self.problem.racks.is_far(member, **partition));
            self.given_up.extend(far.into_iter().map(|partition| (partition, member)));
            owned.sort_by_key(|(topic, partition)| (*partition, *topic));
            owned.retain(|partition| !ownership.contested.contains(partition));
            let keep = if owned.len() < self.min {
                self.below_min.push(member);
                owned.len()
            } else if owned.len() >= self.max && self.above_min < self.above_min_expected {
                self.count_above_min();
                self.max
            } else {
                if self.above_min < self.above_min_expected {
                    self.at_min.push(member);
                }
                self.min
            };
            self.given_up.extend(owned.split_off(keep).into_iter().map(|partition| (partition, member)));
            self.assigned[member] = owned;
        }
    }

    fn count_above_min(&mut self) {
        self.above_min += 1;
        if self.above_min == self.above_min_expected {
            self.at_min.clear();
        }
    }

    fn unassigned(&self) -> Vec<Partition> {
        let kept: std::collections::BTreeSet<Partition> = self.assigned.iter().flatten().copied().collect();
        let all = (0..self.problem.topics.len()).flat_map(|topic| self.problem.partitions_of(topic));
        all.filter(|partition| !kept.contains(partition)).collect()
    }

    /// To members in the partition's rack in turn, up to their shares. What is left stays in `unassigned`.
    fn assign_near(&mut self, unassigned: &mut Vec<Partition>) {
        if !self.problem.racks.matter() {
            return;
        }
        let mut turn = 0;
        unassigned.retain(|partition| {
            let taker = self.near_below_min(*partition, &mut turn).or_else(|| self.near_at_min(*partition));
            if let Some(member) = taker {
                self.give(*partition, member);
            }
            taker.is_none()
        });
    }

    fn near_below_min(&mut self, partition: Partition, turn: &mut usize) -> Option<usize> {
        let mut at = self.problem.racks.next_near(partition, &self.below_min, *turn)?;
        let member = self.below_min[at];
        let count = self.assigned[member].len() + 1;
        if count >= self.min {
            self.below_min.remove(at);
            if count < self.max && self.above_min < self.above_min_expected {
                self.at_min.push(member);
            }
        } else {
            at += 1;
        }
        *turn = at.checked_rem(self.below_min.len()).unwrap_or(0);
        Some(member)
    }

    fn near_at_min(&mut self, partition: Partition) -> Option<usize> {
        let at = self.problem.racks.next_near(partition, &self.at_min, 0)?;
        let member = self.at_min[at];
        if self.assigned[member].len() + 1 == self.max {
            self.at_min.remove(at);
            self.count_above_min();
        }
        Some(member)
    }

    /// To members below their shares in turn, then one more to those that may.
    fn assign_in_turn(&mut self, unassigned: &[Partition]) {
        let mut turn = 0;
        for partition in unassigned {
            if turn >= self.below_min.len() {
                turn = 0;
            }
            let member = match self.below_min.get(turn) {
                Some(member) => *member,
                None if !self.at_min.is_empty() => self.at_min.remove(0),
                // Shares add up to the number of partitions, so there is room for each; nobody's would be worse.
                None => self.emptiest(),
            };
            let from_below = turn < self.below_min.len();
            self.give(*partition, member);
            if !from_below {
                continue;
            }
            if self.assigned[member].len() == self.min {
                self.below_min.remove(turn);
                self.at_min.push(member);
            } else {
                turn += 1;
            }
        }
    }

    fn emptiest(&self) -> usize {
        (0..self.assigned.len()).min_by_key(|member| self.assigned[*member].len()).unwrap_or(0)
    }

    fn give(&mut self, partition: Partition, member: usize) {
        self.assigned[member].push(partition);
        let was_anothers = self.given_up.get(&partition).is_some_and(|owner| *owner != member);
        if was_anothers || self.problem.ownership.contested.contains(&partition) {
            self.changing_hands.push((partition, member));
        }
    }
}
