//! A group's offsets never go back: whoever owns a partition in a generation begins at least where the generations
//! before were told to have got to. Only a loss of power may take back what was not flushed; generations are counted from
//! the beginning again then, and nothing can be told from them any more.
//!
//! A node that has stood still, or is cut off, tells what it knew until it hears that another has taken over from it, as
//! Apache Kafka's do: no commit counts there any more, and yet a member may begin too early with what it is told. Where
//! nobody has taken over, nothing excuses a coordinator.

use std::collections::BTreeMap;

use super::{Promises, Property};
use crate::event::{Ending, Event};

/// Of one partition: generation -> offset.
type ByGeneration = BTreeMap<i32, i64>;

#[derive(Debug)]
pub(super) struct GroupOffsets {
    promises: Promises,
    committed: BTreeMap<(String, i32), ByGeneration>,
    seen: BTreeMap<(String, i32), ByGeneration>,
    is_over: bool,
}

impl GroupOffsets {
    pub(super) fn new(promises: Promises) -> GroupOffsets {
        GroupOffsets { promises, committed: BTreeMap::new(), seen: BTreeMap::new(), is_over: false }
    }
}

impl Property for GroupOffsets {
    fn name(&self) -> &'static str {
        "a group's offsets never go back"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        match event {
            Event::OffsetCommitted { group, generation, partition, offset } => {
                let key = (group.clone(), *partition);
                let later = self.seen.get(&key).and_then(|seen| seen.range(generation + 1..).next());
                if let Some((later, seen)) = later.filter(|(_, seen)| *seen < offset) {
                    return Err(format!(
                        "{key:?}: generation {generation} could commit {offset} after {later} began at {seen}"
                    ));
                }
                let committed = self.committed.entry(key).or_default().entry(*generation).or_insert(-1);
                *committed = (*committed).max(*offset);
            }
            Event::OffsetSeen { group, partition, offset, is_newest: false, .. } => {
                // Who works on from here commits less than was committed before.
                let key = (group.clone(), *partition);
                let committed = self.committed.get_mut(&key).into_iter().flat_map(BTreeMap::values_mut);
                committed.for_each(|committed| *committed = (*committed).min(*offset));
            }
            Event::OffsetSeen { group, generation, partition, offset, .. } => {
                let key = (group.clone(), *partition);
                let before = self.committed.get(&key).into_iter().flat_map(|all| all.range(..=*generation));
                if let Some((by, committed)) = before.max_by_key(|(_, committed)| **committed)
                    && committed > offset
                {
                    return Err(format!(
                        "{key:?}: generation {by} committed {committed}, {generation} begins at {offset}"
                    ));
                }
                self.seen.entry(key).or_default().insert(*generation, *offset);
            }
            Event::Down { ending: Ending::PowerLost, .. } if !self.promises.flushes_always => {
                self.is_over = true;
            }
            _ => {}
        }
        Ok(())
    }
}
