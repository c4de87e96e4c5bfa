//! The latest offset of each key in the dirty part of a log.
//!
//! Keys are kept as 128-bit hashes under a secret that the caller gives (SipHash), so that nobody can choose keys that
//! collide, and by accident two keys never do. A key costs 24 bytes at the load factor's density. Memory grows with
//! the keys, up to a bound: then the map is full, and what was mapped so far is cleaned first.

use siphasher::sip128::SipHasher13;

/// Enough shards that growing one copies little of the whole.
const SHARDS: usize = 64;
/// Below this many slots there is but one shard.
const SLOTS_PER_SHARD_MIN: usize = 1024;
const FIRST_SLOTS: usize = 16;
const SLOT_BYTES: usize = size_of::<Slot>();

const EMPTY: Slot = Slot { hash: [0; 2], offset: -1 };

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    /// Negative: nothing is here.
    offset: i64,
}

/// A table with open addressing and linear probing.
#[derive(Clone, Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    keys: usize,
}

/// No room for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Keys and their latest offsets.
#[derive(Debug)]
pub struct OffsetMap {
    secret: (u64, u64),
    load_factor: f64,
    slots_max: usize,
    slots: usize,
    keys: usize,
    shards: Vec<Shard>,
    latest_offset: Option<i64>,
}

impl OffsetMap {
    /// Takes up to about `bytes_max` bytes, but at least what the first keys need. `load_factor` is the share of slots
    /// that may be taken (`log.cleaner.io.buffer.load.factor`); values out of (0, 1] are taken as the nearest.
    pub fn new(bytes_max: usize, load_factor: f64, secret: (u64, u64)) -> OffsetMap {
        let slots_max = (bytes_max / SLOT_BYTES).max(FIRST_SLOTS);
        let shards = if slots_max >= SHARDS * SLOTS_PER_SHARD_MIN { SHARDS } else { 1 };
        OffsetMap {
            secret,
            load_factor: if load_factor > 0.0 { load_factor.min(1.0) } else { f64::MIN_POSITIVE },
            slots_max,
            slots: 0,
            keys: 0,
            shards: vec![Shard::default(); shards],
            latest_offset: None,
        }
    }

    /// Notes a key's latest offset, not negative, which also becomes the latest that was mapped.
    pub fn put(&mut self, key: &[u8], offset: i64) -> Result<(), Full> {
        let hash = self.hash(key);
        let at = self.shard_of(hash);
        let shards = self.shards.len();
        let Some(shard) = self.shards.get_mut(at) else { return Err(Full) };
        if let Some(slot) = shard.find_mut(hash) {
            slot.offset = offset;
        } else {
            if shard.keys >= shard.keys_max(self.load_factor) {
                // The slots that are left are shared out so that one shard can't starve the others.
                let left = (self.slots_max - self.slots).min(self.slots_max / shards + FIRST_SLOTS);
                self.slots += shard.grow(left, self.load_factor).ok_or(Full)?;
            }
            shard.insert(Slot { hash, offset });
            shard.keys += 1;
            self.keys += 1;
        }
        self.latest_offset = Some(offset);
        Ok(())
    }

    /// The latest offset of a key.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let hash = self.hash(key);
        let slot = self.shards.get(self.shard_of(hash))?.find(hash)?;
        Some(slot.offset)
    }

    /// Up to here, inclusively, each key's latest offset is known; none if nothing was mapped.
    pub fn latest_offset(&self) -> Option<i64> {
        self.latest_offset
    }

    pub fn set_latest_offset(&mut self, offset: i64) {
        self.latest_offset = Some(offset);
    }

    pub fn size_bytes(&self) -> usize {
        self.slots * SLOT_BYTES
    }

    /// The share of the memory bound that keys take.
    pub fn utilization(&self) -> f64 {
        self.keys as f64 / self.slots_max as f64
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let hash = SipHasher13::new_with_keys(self.secret.0, self.secret.1).hash(key);
        [hash.h1, hash.h2]
    }

    fn shard_of(&self, hash: [u64; 2]) -> usize {
        let [first, _] = hash;
        first as usize % self.shards.len()
    }
}

impl Shard {
    /// Where a search for a hash starts.
    fn start(&self, hash: [u64; 2]) -> usize {
        let [_, second] = hash;
        ((u128::from(second) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slots to look at for a hash, in order; there is always an empty one among them.
    fn probe(&self, hash: [u64; 2]) -> impl Iterator<Item = usize> + use<> {
        let start = self.start(hash);
        (start..self.slots.len()).chain(0..start)
    }

    /// The hash's slot, or the empty one that ends the search.
    fn position(&self, hash: [u64; 2]) -> Option<(usize, bool)> {
        self.probe(hash).find_map(|at| match self.slots.get(at) {
            Some(slot) if slot.offset < 0 => Some((at, false)),
            Some(slot) if slot.hash == hash => Some((at, true)),
            _ => None,
        })
    }

    fn find(&self, hash: [u64; 2]) -> Option<&Slot> {
        self.position(hash).filter(|&(_, is_found)| is_found).and_then(|(at, _)| self.slots.get(at))
    }

    fn find_mut(&mut self, hash: [u64; 2]) -> Option<&mut Slot> {
        self.position(hash).filter(|&(_, is_found)| is_found).and_then(|(at, _)| self.slots.get_mut(at))
    }

    fn insert(&mut self, new: Slot) {
        if let Some((at, _)) = self.position(new.hash)
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = new;
        }
    }

    /// One slot is always left empty, so that each search ends.
    fn keys_max(&self, load_factor: f64) -> usize {
        ((self.slots.len() as f64 * load_factor) as usize).min(self.slots.len().saturating_sub(1))
    }

    /// Makes room for at least one more key with up to `slots_left` more slots; returns how many were added.
    fn grow(&mut self, slots_left: usize, load_factor: f64) -> Option<usize> {
        let len = self.slots.len();
        let added = (len / 4).max(FIRST_SLOTS).min(slots_left);
        let grown = Shard { slots: vec![EMPTY; len + added], keys: self.keys };
        // The first key always finds room, whatever the load factor.
        if grown.keys_max(load_factor) <= self.keys && !(self.keys == 0 && added > 1) {
            return None;
        }
        let old = std::mem::replace(self, grown);
        old.slots.into_iter().filter(|slot| slot.offset >= 0).for_each(|slot| self.insert(slot));
        Some(added)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ottla_testkit::cases;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(cases(32))]

        #[test]
        fn agrees_with_a_hash_map(keys in prop::collection::vec(0..2000u32, 0..3000), bytes_max in 0..200_000usize, load in 0.1..1.0f64) {
            let mut map = OffsetMap::new(bytes_max, load, (1, 2));
            let mut model = HashMap::new();
            for (offset, key) in keys.iter().enumerate() {
                let key_bytes = key.to_be_bytes();
                match map.put(&key_bytes, offset as i64) {
                    Ok(()) => { model.insert(*key, offset as i64); }
                    Err(Full) => {
                        prop_assert!(!model.contains_key(key) && !model.is_empty());
                        break;
                    }
                }
                prop_assert_eq!(map.latest_offset(), Some(offset as i64));
            }
            prop_assert_eq!(map.keys, model.len());
            prop_assert!(map.size_bytes() <= bytes_max.max(FIRST_SLOTS * SLOT_BYTES));
            for key in 0..2000u32 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }

    fn fill(bytes_max: usize, load_factor: f64) -> OffsetMap {
        let mut map = OffsetMap::new(bytes_max, load_factor, (3, 4));
        let mut offset = 0i64;
        while map.put(&offset.to_be_bytes(), offset).is_ok() {
            offset += 1;
        }
        map
    }

    #[test]
    fn memory_is_used_up_to_the_bound() {
        for bytes_max in [10_000, 3_000_000] {
            let map = fill(bytes_max, 0.9);
            assert!(map.size_bytes() <= bytes_max);
            let share = map.keys as f64 * SLOT_BYTES as f64 / bytes_max as f64;
            assert!(share > 0.7, "{bytes_max}: {share}");
        }
    }

    #[test]
    fn memory_is_taken_as_needed() {
        let mut map = OffsetMap::new(128 << 20, 0.9, (5, 6));
        assert_eq!(map.size_bytes(), 0);
        for offset in 0..1000i64 {
            map.put(&offset.to_be_bytes(), offset).unwrap();
        }
        assert!(map.size_bytes() < 100_000, "{}", map.size_bytes());
    }

    #[test]
    fn one_key_always_fits() {
        let mut map = OffsetMap::new(0, 0.0, (0, 0));
        map.put(b"a", 1).unwrap();
        map.put(b"a", 2).unwrap();
        assert_eq!(map.put(b"b", 3), Err(Full));
        assert_eq!((map.get(b"a"), map.latest_offset()), (Some(2), Some(2)));
    }
}
