//! What a node knows after a crash, from its logs, is what it knew before: transactions with their producers, committed
//! offsets, the members of groups, and where share groups begin. Only what was decided is carried on: transactions come to
//! their ends, and their offsets with them. What was not flushed may be lost with the power.

use super::{Promises, Property};
use crate::cast::{TRANSACTIONAL_IDS, group_of};
use crate::event::{Ending, Event};
use crate::remembered::{Remembered, Transaction};

#[derive(Debug)]
pub(super) struct Replay {
    promises: Promises,
    before: Option<Remembered>,
}

impl Replay {
    pub(super) fn new(promises: Promises) -> Replay {
        Replay { promises, before: None }
    }
}

impl Property for Replay {
    fn name(&self) -> &'static str {
        "replaying the log gives the same state"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Down { ending, remembered, .. } => {
                let may_lose = *ending == Ending::PowerLost && !self.promises.flushes_always;
                // A node that stops in order goes on with its work meanwhile.
                let is_known = *ending != Ending::Stopped && !may_lose;
                // One that did not get to serve has carried on what it found.
                self.before = remembered.clone().filter(|_| is_known);
                Ok(())
            }
            Event::Up { remembered: Some(after), .. } => match self.before.take() {
                Some(before) => compare(&before, after),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn compare(before: &Remembered, after: &Remembered) -> Result<(), String> {
    for (id, was) in &before.transactions {
        match after.transactions.get(id) {
            Some(is) if may_become(was, is) => {}
            is => return Err(format!("the transaction of {id} was {was:?} and is {is:?}")),
        }
    }
    for ((group, partition), was) in &before.offsets {
        let is_transactional = TRANSACTIONAL_IDS.iter().any(|id| group_of(id) == *group);
        let key = (group.clone(), *partition);
        match after.offsets.get(&key) {
            Some(is) if is == was || (is_transactional && is > was) => {}
            is => return Err(format!("{group} had committed {was} for {partition}, now {is:?}")),
        }
    }
    if before.consumer_group.is_some() && before.consumer_group != after.consumer_group {
        let (was, is) = (&before.consumer_group, &after.consumer_group);
        return Err(format!("the consumer group was {was:?} and is {is:?}"));
    }
    for (partition, was) in &before.share_starts {
        if after.share_starts.get(partition) != Some(was) {
            let is = after.share_starts.get(partition);
            return Err(format!("the share group began at {was} of {partition:?}, now at {is:?}"));
        }
    }
    Ok(())
}

/// What a transaction may have become by itself: decided ones end, open ones run out of time.
fn may_become(was: &Transaction, is: &Transaction) -> bool {
    let states = (was.state.as_str(), is.state.as_str());
    let is_same_producer = was.producer_id == is.producer_id && was.epoch == is.epoch;
    match states {
        (before, after) if before == after => is_same_producer,
        ("PrepareCommit", "CompleteCommit") | ("PrepareAbort", "CompleteAbort") => {
            was.producer_id == is.producer_id && is.epoch >= was.epoch
        }
        ("Ongoing", "PrepareAbort" | "CompleteAbort") => is.epoch >= was.epoch,
        _ => false,
    }
}
