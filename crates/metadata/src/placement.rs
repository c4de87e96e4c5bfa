//! Where the replicas of new partitions go.
//!
//! Replicas are dealt out to racks in turn, and within a rack to its brokers in turn, so that racks, then brokers, get
//! even shares and consecutive partitions get different sets. Fenced brokers come last and never first in a list: the
//! first replica is the preferred leader.

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

/// Replica lists for `partitions` new partitions. `start` is where dealing begins: a random number spreads topics.
pub fn place(
    candidates: &[Candidate],
    partitions: usize,
    replication_factor: i16,
    start: usize,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let replicas = usize::try_from(replication_factor)
        .ok()
        .filter(|replicas| *replicas > 0)
        .ok_or(PlacementError::NotPositive(replication_factor))?;
    if candidates.len() < replicas {
        return Err(PlacementError::TooFewBrokers { replication_factor, registered: candidates.len() });
    }
    if candidates.iter().all(|candidate| candidate.is_fenced) {
        return Err(PlacementError::AllFenced);
    }
    let mut racks = racks(candidates, start);
    Ok((0..partitions).map(|i| place_one(&mut racks, start.wrapping_add(i), replicas)).collect())
}

#[derive(Debug, Default)]
struct Rack {
    active: Vec<NodeId>,
    fenced: Vec<NodeId>,
    /// Whose turn it is, modulo the lists' lengths.
    turn: usize,
}

/// Brokers without a rack form one together.
fn racks(candidates: &[Candidate], start: usize) -> Vec<Rack> {
    let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
    for candidate in candidates {
        let rack = racks.entry(candidate.rack.as_deref()).or_default();
        if candidate.is_fenced { &mut rack.fenced } else { &mut rack.active }.push(candidate.id);
        rack.turn = start;
    }
    racks.into_values().collect()
}

impl Rack {
    /// The next broker of the rack that is not `taken`.
    fn next(&mut self, taken: &[NodeId], may_be_fenced: bool) -> Option<NodeId> {
        let in_turn = |list: &[NodeId], turn: usize| {
            let len = list.len();
            (0..len)
                .filter_map(|i| list.get(turn.wrapping_add(i) % len))
                .find(|id| !taken.contains(id))
                .copied()
        };
        let found = in_turn(&self.active, self.turn)
            .or_else(|| may_be_fenced.then(|| in_turn(&self.fenced, self.turn)).flatten());
        if found.is_some() {
            self.turn = self.turn.wrapping_add(1);
        }
        found
    }
}

/// There are enough brokers, one of them active: the caller has looked.
fn place_one(racks: &mut [Rack], first_rack: usize, replicas: usize) -> Vec<NodeId> {
    let count = racks.len();
    let mut chosen = Vec::with_capacity(replicas);
    let mut at = first_rack % count;
    while chosen.is_empty() {
        if let Some(leader) = racks.get_mut(at).and_then(|rack| rack.next(&chosen, false)) {
            chosen.push(leader);
        }
        at = (at + 1) % count;
    }
    while chosen.len() < replicas {
        if let Some(follower) = racks.get_mut(at).and_then(|rack| rack.next(&chosen, true)) {
            chosen.push(follower);
        }
        at = (at + 1) % count;
    }
    chosen
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
        assert_eq!(refused(&[], 1), PlacementError::TooFewBrokers { replication_factor: 1, registered: 0 });
    }

    #[test]
    fn every_list_spans_racks_and_leaders_are_spread() {
        let brokers = brokers(&["a", "a", "b", "b", "c", "c"]);
        let placed = place(&brokers, 60, 3, 5).unwrap();
        let mut leaders = [0; 6];
        for replicas in &placed {
            let racks: BTreeSet<_> = replicas.iter().map(|id| id.0 / 2).collect();
            assert_eq!(racks.len(), 3, "{replicas:?}");
            leaders[replicas[0].0 as usize] += 1;
        }
        assert_eq!(leaders, [10; 6]);
    }

    #[test]
    fn fenced_brokers_follow_where_there_is_no_other() {
        for start in 0..10 {
            for replicas in place(&brokers(&["a", "a!", "b!"]), 5, 3, start).unwrap() {
                assert_eq!(replicas[0], NodeId(0));
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
            }
        }
    }
}
