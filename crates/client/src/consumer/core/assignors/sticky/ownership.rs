//! Whose a partition is when several members say that they own it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Member, Partition};
use crate::consumer::core::protocol::NO_GENERATION;

/// What each member may go on with.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    /// Of each member.
    pub owned: Vec<Vec<Partition>>,
    /// Claimed by several members of one generation: nobody's.
    pub contested: BTreeSet<Partition>,
    pub max_generation: i32,
}

impl Ownership {
    /// The claim of the later generation counts; of equal ones, none does. A claim that is already there counts with the
    /// generation that its member's subscription says, in `said`.
    pub fn settle(members: &[Member<'_>], said: &[i32]) -> Ownership {
        let mut ownership = Ownership {
            max_generation: NO_GENERATION,
            owned: vec![Vec::new(); members.len()],
            ..Ownership::default()
        };
        let mut owners: BTreeMap<Partition, usize> = BTreeMap::new();
        for (index, member) in members.iter().enumerate() {
            let generation = member.generation.unwrap_or(NO_GENERATION);
            ownership.max_generation = ownership.max_generation.max(generation);
            for partition in &member.claimed {
                let Some(other) = owners.get(partition).copied() else {
                    ownership.owned[index].push(*partition);
                    owners.insert(*partition, index);
                    continue;
                };
                let other_generation = said[other];
                if generation < other_generation {
                    continue;
                }
                if let Some(at) = ownership.owned[other].iter().position(|owned| owned == partition) {
                    ownership.owned[other].remove(at);
                }
                owners.insert(*partition, index);
                if generation == other_generation {
                    ownership.contested.insert(*partition);
                } else {
                    ownership.owned[index].push(*partition);
                }
            }
        }
        ownership
    }
}
