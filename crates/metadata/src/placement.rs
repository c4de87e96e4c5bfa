//! Where the replicas of new partitions go.
//!
//! Kafka's striped placement. Replicas are dealt out to racks in turn, and within a rack to its brokers in turn: a list
//! spans as many racks as it can, racks and brokers of equal number get equal shares of leaders and of replicas, and
//! consecutive partitions get different sets. Fenced brokers come last in their rack, and never first in a list: the first
//! replica is the preferred leader.

use std::collections::BTreeMap;

use ottla_types::NodeId;
use thiserror::Error;

/// A broker that may get replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: NodeId,
    pub rack: Option<String>,
    pub is_fenced: bool,
}

/// Why no placement is possible. The texts are Kafka's: clients see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlacementError {
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    #[error(
        "The target replication factor of {replication_factor} cannot be reached because only {registered} \
         broker(s) are registered or some brokers have all their log directories cordoned."
    )]
    TooFewBrokers { replication_factor: i16, registered: usize },
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    AllFenced,
}

/// Replica lists for `partitions` new partitions. The same `seed` deals the same; a random one spreads topics.
pub fn place(
    candidates: &[Candidate],
    partitions: usize,
    replication_factor: i16,
    seed: u64,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let replicas = usize::try_from(replication_factor)
        .ok()
        .filter(|replicas| *replicas > 0)
        .ok_or(PlacementError::NotPositive(replication_factor))?;
    if candidates.iter().all(|candidate| candidate.is_fenced) {
        return Err(PlacementError::AllFenced);
    }
    if candidates.len() < replicas {
        return Err(PlacementError::TooFewBrokers { replication_factor, registered: candidates.len() });
    }
    let mut table = Table::new(candidates, seed);
    Ok((0..partitions).map(|_| table.deal(replicas)).collect())
}

/// Everybody who may get replicas, by racks, and whose turn it is. Each partition is one round.
struct Table {
    /// Brokers without a rack form one together.
    racks: Vec<Rack>,
    /// Rounds after which the same lists would come again.
    active: usize,
    rounds_since_shuffle: usize,
    round: u64,
    /// The rack that gives the first replica of the next round.
    first_rack: usize,
    dice: Dice,
}

#[derive(Default)]
struct Rack {
    active: Turns,
    fenced: Turns,
}

/// Brokers in the order in which they take turns: when the rack gives the leader, one further each time, so that all
/// lead as often; when it follows, from where it stopped.
#[derive(Default)]
struct Turns {
    brokers: Vec<NodeId>,
    leading: usize,
    following: usize,
    /// How many were taken in this round, and from where on if the list leads in it.
    taken: usize,
    leads_from: Option<usize>,
    round: u64,
}

impl Turns {
    /// The next one in this round; none when all were taken.
    fn next(&mut self, round: u64) -> Option<NodeId> {
        if self.round != round {
            (self.round, self.taken, self.leads_from) = (round, 0, None);
        }
        if self.taken == self.brokers.len() {
            return None;
        }
        let at = match self.leads_from {
            Some(start) => start + self.taken,
            None => {
                self.following += 1;
                self.following
            }
        };
        self.taken += 1;
        self.brokers.get(at % self.brokers.len()).copied()
    }

    fn leader(&mut self, round: u64) -> Option<NodeId> {
        self.leading += 1;
        (self.round, self.taken, self.leads_from) = (round, 0, Some(self.leading));
        self.next(round)
    }
}

impl Rack {
    fn next(&mut self, round: u64) -> Option<NodeId> {
        self.active.next(round).or_else(|| self.fenced.next(round))
    }

    fn lists(&mut self) -> [&mut Turns; 2] {
        [&mut self.active, &mut self.fenced]
    }
}

impl Table {
    fn new(candidates: &[Candidate], seed: u64) -> Table {
        let mut dice = Dice(seed);
        let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for candidate in candidates {
            let rack = racks.entry(candidate.rack.as_deref()).or_default();
            if candidate.is_fenced { &mut rack.fenced } else { &mut rack.active }.brokers.push(candidate.id);
        }
        let mut racks: Vec<Rack> = racks.into_values().collect();
        for list in racks.iter_mut().flat_map(Rack::lists) {
            list.brokers.sort_unstable();
            list.leading = dice.below(list.brokers.len());
            list.following = dice.below(list.brokers.len());
        }
        let active = candidates.iter().filter(|candidate| !candidate.is_fenced).count();
        let first_rack = dice.below(racks.len());
        Table { racks, active, rounds_since_shuffle: 0, round: 0, first_rack, dice }
    }

    /// There are enough brokers, one of them active: the caller has looked.
    fn deal(&mut self, replicas: usize) -> Vec<NodeId> {
        if self.rounds_since_shuffle == self.active {
            self.shuffle();
        }
        self.rounds_since_shuffle += 1;
        self.round += 1;
        let count = self.racks.len();
        let mut chosen = Vec::with_capacity(replicas);
        let mut leaders_rack = self.first_rack % count;
        while chosen.is_empty() {
            chosen.extend(self.racks.get_mut(leaders_rack).and_then(|rack| rack.active.leader(self.round)));
            if chosen.is_empty() {
                leaders_rack = (leaders_rack + 1) % count;
            }
        }
        // Every other rack has its turn before that of the leader has its next.
        let mut skip = Some(leaders_rack);
        let mut at = self.first_rack % count;
        while chosen.len() < replicas {
            if skip == Some(at) {
                skip = None;
            } else {
                chosen.extend(self.racks.get_mut(at).and_then(|rack| rack.next(self.round)));
            }
            at = (at + 1) % count;
        }
        self.first_rack = (self.first_rack + 1) % count;
        chosen
    }

    /// Other neighbours, so that the followers of one leader are not always the same.
    fn shuffle(&mut self) {
        self.rounds_since_shuffle = 0;
        self.dice.shuffle(&mut self.racks);
        for list in self.racks.iter_mut().flat_map(Rack::lists) {
            self.dice.shuffle(&mut list.brokers);
        }
    }
}

/// SplitMix64: all that is asked of it is that seeds differ.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        self.next().checked_rem(bound as u64).unwrap_or(0) as usize
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn brokers(racks: &[&str]) -> Vec<Candidate> {
        racks
            .iter()
            .enumerate()
            .map(|(id, rack)| Candidate {
                id: NodeId(id as i32),
                rack: (!rack.is_empty()).then(|| rack.trim_end_matches('!').to_owned()),
                is_fenced: rack.ends_with('!'),
            })
            .collect()
    }

    #[test]
    fn one_broker_takes_all() {
        assert_eq!(place(&brokers(&[""]), 2, 1, 17), Ok(vec![vec![NodeId(0)], vec![NodeId(0)]]));
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let refused = |racks: &[&str], factor| place(&brokers(racks), 1, factor, 0).unwrap_err();
        assert_eq!(refused(&[""], 0), PlacementError::NotPositive(0));
        assert_eq!(
            refused(&["", ""], 3),
            PlacementError::TooFewBrokers { replication_factor: 3, registered: 2 }
        );
        assert_eq!(refused(&["a!", "b!"], 1), PlacementError::AllFenced);
        assert_eq!(refused(&["a!", "b!"], 3), PlacementError::AllFenced);
        assert_eq!(refused(&[], 1), PlacementError::AllFenced);
    }

    /// How many lists each broker leads, and how many it is in.
    fn shares(placed: &[Vec<NodeId>], brokers: usize) -> (Vec<usize>, Vec<usize>) {
        let (mut leads, mut holds) = (vec![0; brokers], vec![0; brokers]);
        for replicas in placed {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replicas.len(), "{replicas:?}");
            leads[replicas[0].0 as usize] += 1;
            replicas.iter().for_each(|id| holds[id.0 as usize] += 1);
        }
        (leads, holds)
    }

    #[test]
    fn leaders_and_replicas_are_spread_over_brokers_without_racks() {
        for brokers in 1..=7 {
            for replicas in 1..=brokers {
                for seed in 0..20 {
                    let candidates = self::brokers(&vec![""; brokers]);
                    let placed = place(&candidates, 3 * brokers, replicas as i16, seed).unwrap();
                    let shares = shares(&placed, brokers);
                    assert_eq!(shares, (vec![3; brokers], vec![3 * replicas; brokers]), "{placed:?}");
                }
            }
        }
    }

    #[test]
    fn every_list_spans_racks_and_leaders_are_spread() {
        let brokers = brokers(&["a", "a", "b", "b", "c", "c"]);
        for seed in 0..20 {
            for replicas in 1..=6 {
                let placed = place(&brokers, 60, replicas, seed).unwrap();
                for list in &placed {
                    let racks: BTreeSet<_> = list.iter().map(|id| id.0 / 2).collect();
                    assert_eq!(racks.len(), list.len().min(3), "{list:?}");
                }
                let shares = shares(&placed, 6);
                assert_eq!(shares, (vec![10; 6], vec![10 * replicas as usize; 6]), "{placed:?}");
            }
        }
    }

    #[test]
    fn a_topic_with_many_partitions_gets_many_sets_of_replicas() {
        let placed = place(&brokers(&[""; 8]), 800, 3, 1).unwrap();
        let sets: BTreeSet<BTreeSet<NodeId>> =
            placed.iter().map(|list| list.iter().copied().collect()).collect();
        assert!(sets.len() > 40, "{}", sets.len());
    }

    #[test]
    fn fenced_brokers_follow_where_their_rack_has_no_other() {
        for seed in 0..20 {
            for replicas in place(&brokers(&["a", "a!", "b!"]), 9, 3, seed).unwrap() {
                assert_eq!(replicas[0], NodeId(0));
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
            }
            let placed = place(&brokers(&["a", "a", "a!", "b", "b!"]), 30, 3, seed).unwrap();
            assert!(placed.iter().flatten().all(|id| *id != NodeId(2)), "{placed:?}");
            assert!(placed.iter().all(|list| list[0] != NodeId(4)), "{placed:?}");
            assert!(placed.iter().any(|list| list.contains(&NodeId(4))), "{placed:?}");
        }
    }
}
