//! Which transactions the cleaner is in the middle of, and what that means for their batches.
//!
//! Records of aborted transactions go at once. A marker may go when no record of its transaction is left before it:
//! then nobody needs it, except readers who are in the middle of what was cleaned away, for whom it is kept until its
//! delete horizon (KIP-534).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use ottla_record::{BatchHeader, ControlRecordType};
use ottla_types::ProducerId;

use crate::index::AbortedTxn;

/// What to do with a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkerVerdict {
    /// Nothing of its transaction is left.
    pub can_go: bool,
    /// The new segment's index must know of this transaction, since records of it are left.
    pub still_aborted: Option<AbortedTxn>,
}

#[derive(Debug)]
struct Aborted {
    txn: AbortedTxn,
    /// A batch of it was seen, of which the header at least may be kept.
    has_batches: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ByFirstOffset {
    first_offset: i64,
    last_offset: i64,
    producer_id: i64,
    last_stable_offset: i64,
}

/// Follows the transactions of a log over its batches, in order of their offsets.
#[derive(Debug, Default)]
pub(super) struct CleanedTransactions {
    ongoing_committed: BTreeSet<ProducerId>,
    ongoing_aborted: BTreeMap<ProducerId, Aborted>,
    /// Known from the indexes and not yet reached.
    to_come: BinaryHeap<Reverse<ByFirstOffset>>,
}

impl CleanedTransactions {
    /// Those of a segment that is about to be walked.
    pub(super) fn add_aborted(&mut self, txns: impl IntoIterator<Item = AbortedTxn>) {
        self.to_come.extend(txns.into_iter().map(|txn| {
            Reverse(ByFirstOffset {
                first_offset: txn.first_offset,
                last_offset: txn.last_offset,
                producer_id: txn.producer_id,
                last_stable_offset: txn.last_stable_offset,
            })
        }));
    }

    /// A batch of data; returns whether its transaction was aborted.
    pub(super) fn on_data(&mut self, batch: &BatchHeader) -> bool {
        self.reach(batch);
        if !batch.is_transactional() {
            return false;
        }
        match self.ongoing_aborted.get_mut(&batch.producer_id) {
            Some(aborted) => {
                aborted.has_batches = true;
                true
            }
            None => {
                self.ongoing_committed.insert(batch.producer_id);
                false
            }
        }
    }

    /// A control batch and the type of its record; none if a former cleaning removed it.
    pub(super) fn on_marker(
        &mut self,
        batch: &BatchHeader,
        record_type: Option<ControlRecordType>,
    ) -> MarkerVerdict {
        self.reach(batch);
        let can_go = |can_go| MarkerVerdict { can_go, still_aborted: None };
        match record_type {
            None => can_go(true),
            Some(ControlRecordType::Abort) => match self.ongoing_aborted.remove(&batch.producer_id) {
                Some(aborted) if aborted.has_batches => {
                    MarkerVerdict { can_go: false, still_aborted: Some(aborted.txn) }
                }
                _ => can_go(true),
            },
            Some(ControlRecordType::Commit) => can_go(!self.ongoing_committed.remove(&batch.producer_id)),
            Some(_) => can_go(false),
        }
    }

    fn reach(&mut self, batch: &BatchHeader) {
        while self.to_come.peek().is_some_and(|Reverse(next)| next.first_offset <= batch.last_offset().0) {
            let Some(Reverse(next)) = self.to_come.pop() else { return };
            let txn = AbortedTxn {
                producer_id: next.producer_id,
                first_offset: next.first_offset,
                last_offset: next.last_offset,
                last_stable_offset: next.last_stable_offset,
            };
            self.ongoing_aborted
                .entry(ProducerId(txn.producer_id))
                .or_insert(Aborted { txn, has_batches: false });
        }
    }
}
