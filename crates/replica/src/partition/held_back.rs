//! Producers of which a batch was just refused: what they have sent behind it is refused as well, until it comes again.
//!
//! A log that knows nothing of a producer takes its batches from any number on, since it may have forgotten the ones before. So
//! where the first of several that are under way is refused, because too few replicas are in sync, nobody leads here yet or there
//! is no room for it, and the next one is taken a moment later, the first could never follow: its producer would be told that it
//! is out of order. It may be refused again when it comes again, so that it is waited for until it is in the log.
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
    refused: Mutex<AllRefused>,
    /// Length of `refused`, so that where nothing was refused nobody looks.
    count: AtomicUsize,
}

type AllRefused = HashMap<(ProducerId, ProducerEpoch), Refused>;

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

    /// Whether a batch of a producer of which the log knows nothing comes behind one that was refused and is not in the log yet.
    pub fn is_behind(&self, records: &[u8], now: MonoMs, is_known: impl FnOnce(ProducerId) -> bool) -> bool {
        if self.is_empty() {
            return false;
        }
        let Some((producer, first_sequence)) = of_producer(records) else { return false };
        let mut all = self.refused.lock();
        let Some(refused) = all.get(&producer) else { return false };
        if refused.until > now && !is_known(producer.0) {
            return refused.first_sequence < first_sequence;
        }
        self.forget(&mut all, producer);
        false
    }

    /// A batch is in the log, which knows its producer now.
    pub fn appended(&self, records: &[u8]) {
        if self.is_empty() {
            return;
        }
        if let Some((producer, _)) = of_producer(records) {
            self.forget(&mut self.refused.lock(), producer);
        }
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn forget(&self, all: &mut AllRefused, producer: (ProducerId, ProducerEpoch)) {
        all.remove(&producer);
        self.count.store(all.len(), Ordering::Release);
    }
}
