//! Producers of which a batch was just refused: what they have sent behind it is refused as well, until it comes again.
//!
//! A log that knows nothing of a producer takes its batches from any number on, since it may have forgotten the ones before. So
//! where the first of several that are under way is refused, because too few replicas are in sync or nobody leads here yet, and
//! the next one is taken a moment later, the first could never follow: its producer would be told that it is out of order.
//!
//! What the log knows of a producer decides alone: it says which number comes next, also where the refused batch was written
//! meanwhile, by another leader.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_record::BatchHeader;
use ottla_types::{MonoMs, ProducerEpoch, ProducerId};
use parking_lot::Mutex;

/// What was refused longer ago is not waited for: its producer has given it up.
const WAITED_FOR_MS: i64 = 30_000;
/// More producers are let through as they come.
const PRODUCERS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    refused: Mutex<HashMap<(ProducerId, ProducerEpoch), Refused>>,
    /// Length of `refused`, so that where nothing was refused nobody looks.
    count: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    first_sequence: i32,
    until: MonoMs,
}

fn of_producer(records: &[u8]) -> Option<((ProducerId, ProducerEpoch), i32)> {
    let header = BatchHeader::parse(records).ok()??;
    header.has_producer_id().then_some(((header.producer_id, header.producer_epoch), header.base_sequence))
}

impl HeldBack {
    /// A batch was refused, and is going to come again.
    pub fn refused(&self, records: &[u8], now: MonoMs) {
        let Some((producer, first_sequence)) = of_producer(records) else { return };
        let mut refused = self.refused.lock();
        if refused.len() >= PRODUCERS_MAX {
            refused.retain(|_, refused| refused.until > now);
        }
        if refused.len() >= PRODUCERS_MAX && !refused.contains_key(&producer) {
            return;
        }
        let new = Refused { first_sequence, until: now.plus_ms(WAITED_FOR_MS) };
        let known = refused.entry(producer).or_insert(new);
        if known.until <= now || first_sequence <= known.first_sequence {
            *known = new;
        }
        self.count.store(refused.len(), Ordering::Release);
    }

    /// Whether a batch of a producer of which the log knows nothing comes behind one that was refused and has not come again.
    pub fn is_behind(&self, records: &[u8], now: MonoMs, is_known: impl FnOnce(ProducerId) -> bool) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let Some((producer, first_sequence)) = of_producer(records) else { return false };
        let mut all = self.refused.lock();
        let is_behind = all
            .get(&producer)
            .is_some_and(|refused| refused.until > now && refused.first_sequence < first_sequence)
            && !is_known(producer.0);
        if !is_behind {
            all.remove(&producer);
            self.count.store(all.len(), Ordering::Release);
        }
        is_behind
    }
}
