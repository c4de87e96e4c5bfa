//! A sorted file of fixed-size entries: what the offset index and the time index have in common.
//!
//! What always holds: keys and values never decrease from one entry to the next, and the newest entries are held in
//! memory, since most lookups are near the end of the log. Some of those may not be in the file yet: an index that was
//! appended to is rebuilt after a crash, so that appends need no system call each. They are written when they pile up and
//! by `flush`, `trim` and `close`. Nothing is opened or read before the first use. A reader works outside the lock, on
//! entries that only a truncation could change.

use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::RwLock;

use super::IndexError;
use crate::disk::{DiskFile, Open, Reach};
use crate::names::{FileKind, FileState, SegmentFile};
use crate::partition_dir::PartitionDir;

/// Newest entries held in memory; half of them are let go when they are more.
const WARM_ENTRIES_MAX: usize = 128;
/// Entries that may wait to be written. Those that are let go never wait.
const UNWRITTEN_ENTRIES_MAX: usize = WARM_ENTRIES_MAX / 2;
/// Entries that a search on disk reads at once: about a page of the file.
const BLOCK_ENTRIES: u32 = 512;
/// Looks of a search that are guesses. Those after them halve what is left.
const GUESSES_MAX: u32 = 2;

/// An entry as it lies on disk, before its offset is made absolute.
pub(super) trait Entry: Copy {
    const SIZE: usize;
    const KIND: FileKind;
    /// Each append is written at once: the file is not rebuilt from the log alone.
    const WRITE_THROUGH: bool;
    fn decode(bytes: &[u8]) -> Option<Self>;
    fn encode(self, bytes: &mut Vec<u8>);
}

/// A lazily opened file of sorted entries.
#[derive(Debug)]
pub(super) struct Entries<E> {
    dir: Arc<PartitionDir>,
    base_offset: i64,
    state: RwLock<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    name: FileState,
    opened: Option<Box<Opened<E>>>,
}

#[derive(Debug)]
struct Opened<E> {
    file: Arc<dyn DiskFile>,
    entries: u32,
    last: Option<E>,
    /// The newest entries, without a gap.
    warm: Vec<E>,
    /// So many of the newest entries are not in the file yet.
    unwritten: usize,
    /// The file is longer than its entries: preallocated by Kafka and not trimmed, since it was not closed.
    padded: bool,
    /// Counts the changes of the file.
    changes: u64,
    /// Of those, the ones that are on disk.
    synced_changes: u64,
}

/// What a reader takes out of the lock.
struct Cold<E> {
    file: Arc<dyn DiskFile>,
    reach: Reach,
    entries: u32,
    entry: PhantomData<E>,
}

impl<E: Entry> Entries<E> {
    pub(super) fn new(dir: Arc<PartitionDir>, base_offset: i64, name: FileState) -> Entries<E> {
        Entries { dir, base_offset, state: RwLock::new(State { name, opened: None }) }
    }

    pub(super) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.path_as(self.state.read().name)
    }

    pub(super) fn path_as(&self, state: FileState) -> std::path::PathBuf {
        self.dir.file(&SegmentFile { base_offset: self.base_offset, kind: E::KIND, state }.to_string())
    }

    fn io<T>(&self, name: FileState, result: io::Result<T>) -> Result<T, IndexError> {
        result.map_err(|source| IndexError::Io { path: self.path_as(name), source })
    }

    /// Looks at the open index; opens it first if need be. A file that is missing is made.
    fn read<T>(&self, look: impl FnOnce(&Opened<E>) -> T) -> Result<T, IndexError> {
        if let Some(opened) = &self.state.read().opened {
            return Ok(look(opened));
        }
        self.write(|_, opened| Ok(look(opened)))
    }

    fn write<T>(
        &self,
        change: impl FnOnce(FileState, &mut Opened<E>) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let mut state = self.state.write();
        let name = state.name;
        if let Some(opened) = &mut state.opened {
            return change(name, opened);
        }
        let opened = self.io(name, Opened::open(&self.dir, &self.path_as(name)))?;
        change(name, state.opened.insert(Box::new(opened)))
    }

    pub(super) fn exists(&self) -> Result<bool, IndexError> {
        let name = self.state.read().name;
        self.io(name, self.dir.disk().exists(&self.path_as(name)))
    }

    pub(super) fn len(&self) -> Result<u32, IndexError> {
        self.read(|opened| opened.entries)
    }

    pub(super) fn last(&self) -> Result<Option<E>, IndexError> {
        self.read(|opened| opened.last)
    }

    /// The length of the file if it holds no whole number of entries.
    pub(super) fn odd_length(&self) -> Result<Option<u64>, IndexError> {
        let (file, name) = (self.read(|opened| Arc::clone(&opened.file))?, self.state.read().name);
        let len = self.io(name, file.len())?;
        Ok((!len.is_multiple_of(E::SIZE as u64)).then_some(len))
    }

    pub(super) fn entry(&self, n: u32) -> Result<Option<E>, IndexError> {
        let cold = self.read(|opened| match opened.warm(n) {
            Some(entry) => Err(Some(entry)),
            None if n >= opened.entries => Err(None),
            None => Ok(opened.cold()),
        })?;
        match cold {
            Ok(cold) => self.io(self.state.read().name, cold.entry(n)),
            Err(found) => Ok(found),
        }
    }

    /// The number of entries whose key is below `bound`, and the last of them. Keys must not decrease.
    pub(super) fn partition_point(
        &self,
        key: impl Fn(E) -> i64,
        bound: i64,
    ) -> Result<(u32, Option<E>), IndexError> {
        self.partition_point_within(key, bound, Reach::Disk)
    }

    /// As [`Self::partition_point`], going no further for it than `reach`.
    pub(super) fn partition_point_within(
        &self,
        key: impl Fn(E) -> i64,
        bound: i64,
        reach: Reach,
    ) -> Result<(u32, Option<E>), IndexError> {
        if reach == Reach::Memory && self.state.read().opened.is_none() {
            return self.io(self.state.read().name, Err(io::ErrorKind::WouldBlock.into()));
        }
        let found = self.read(|opened| {
            let cold_entries = opened.entries - opened.warm.len() as u32;
            match opened.warm.first() {
                Some(&first) if key(first) < bound => {
                    let in_warm = opened.warm.partition_point(|&entry| key(entry) < bound);
                    Ok((cold_entries + in_warm as u32, opened.warm.get(in_warm - 1).copied()))
                }
                _ if cold_entries == 0 => Ok((0, None)),
                first => {
                    let end_key = first.copied().or(opened.last).map_or(bound, &key);
                    Err((Cold { reach, ..opened.cold() }, end_key))
                }
            }
        })?;
        match found {
            Ok(found) => Ok(found),
            Err((cold, end_key)) => {
                self.io(self.state.read().name, cold.partition_point(key, bound, end_key))
            }
        }
    }

    /// Appends if `decide` yields an entry. It is given the file's state (`path` would wait for ever inside), the number
    /// of entries and the last one.
    pub(super) fn append(
        &self,
        decide: impl FnOnce(FileState, u32, Option<E>) -> Result<Option<E>, IndexError>,
    ) -> Result<(), IndexError> {
        self.write(|name, opened| match decide(name, opened.entries, opened.last)? {
            Some(entry) => self.io(name, opened.append(entry)),
            None => Ok(()),
        })
    }

    /// Keeps the first `entries` entries.
    pub(super) fn truncate(&self, entries: u32) -> Result<(), IndexError> {
        self.write(|name, opened| self.io(name, opened.truncate(entries)))
    }

    /// Writes all entries and cuts off what a crash of Kafka left preallocated behind them.
    pub(super) fn trim(&self) -> Result<(), IndexError> {
        self.write(|name, opened| self.io(name, opened.trim()))
    }

    /// Makes the entries durable. An index that was not opened has none that are not.
    pub(super) fn flush(&self) -> Result<(), IndexError> {
        let (name, file, changes) = {
            let mut state = self.state.write();
            let name = state.name;
            let Some(opened) = &mut state.opened else { return Ok(()) };
            self.io(name, opened.write_with(None))?;
            if opened.synced_changes == opened.changes {
                return Ok(());
            }
            (name, Arc::clone(&opened.file), opened.changes)
        };
        // Outside the lock: appends need not wait for the disk.
        self.io(name, file.sync())?;
        if let Some(opened) = &mut self.state.write().opened
            && Arc::ptr_eq(&opened.file, &file)
        {
            opened.synced_changes = opened.synced_changes.max(changes);
        }
        Ok(())
    }

    /// Frees file and memory until the next use.
    pub(super) fn close(&self) -> Result<(), IndexError> {
        let mut state = self.state.write();
        let name = state.name;
        match state.opened.take() {
            Some(mut opened) => self.io(name, opened.trim()),
            None => Ok(()),
        }
    }

    /// Gives the file another state's name. A missing file is no error: then there is nothing that would be stale.
    pub(super) fn rename(&self, to: FileState) -> Result<(), IndexError> {
        let mut state = self.state.write();
        let from = state.name;
        let result = match &state.opened {
            Some(opened) => opened.file.rename(&self.path_as(to)),
            None => self.dir.disk().rename(&self.path_as(from), &self.path_as(to)),
        };
        state.name = to;
        self.io(from, ignore_missing(result))
    }

    pub(super) fn delete(&self) -> Result<(), IndexError> {
        let mut state = self.state.write();
        state.opened = None;
        self.io(state.name, ignore_missing(self.dir.disk().remove_file(&self.path_as(state.name))))
    }
}

pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl<E: Entry> Opened<E> {
    fn open(dir: &PartitionDir, path: &std::path::Path) -> io::Result<Opened<E>> {
        let file = dir.disk().open(path, Open::Create)?;
        let len = file.len()?;
        let slots = u32::try_from(len / E::SIZE as u64).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "the index is larger than 2^32 entries")
        })?;
        let mut cold =
            Cold { file: Arc::clone(&file), reach: Reach::Disk, entries: slots, entry: PhantomData };
        let entries = cold.without_padding()?;
        cold.entries = entries;
        let last = match entries.checked_sub(1) {
            Some(last) => cold.entry(last)?,
            None => None,
        };
        let padded = len != u64::from(entries) * E::SIZE as u64;
        // What an earlier process has written, or cut off, may not be on disk either.
        let changes = 1;
        Ok(Opened { file, entries, last, warm: Vec::new(), unwritten: 0, padded, changes, synced_changes: 0 })
    }

    fn cold(&self) -> Cold<E> {
        Cold {
            file: Arc::clone(&self.file),
            reach: Reach::Disk,
            entries: self.entries - self.warm.len() as u32,
            entry: PhantomData,
        }
    }

    fn warm(&self, n: u32) -> Option<E> {
        let in_warm = n.checked_sub(self.entries - self.warm.len() as u32)?;
        self.warm.get(in_warm as usize).copied()
    }

    fn append(&mut self, entry: E) -> io::Result<()> {
        self.cut()?;
        let waiting = if E::WRITE_THROUGH { 1 } else { UNWRITTEN_ENTRIES_MAX };
        if self.unwritten + 1 >= waiting {
            self.write_with(Some(entry))?;
        } else {
            self.unwritten += 1;
        }
        if self.warm.len() == WARM_ENTRIES_MAX {
            self.warm.drain(..WARM_ENTRIES_MAX / 2);
        }
        self.warm.push(entry);
        self.last = Some(entry);
        self.entries += 1;
        Ok(())
    }

    /// Writes the entries that wait, and one that is about to follow them.
    fn write_with(&mut self, next: Option<E>) -> io::Result<()> {
        let written = self.warm.len().saturating_sub(self.unwritten);
        let waiting = self.warm.get(written..).unwrap_or_default().iter().copied().chain(next);
        let mut bytes = Vec::with_capacity((self.unwritten + 1) * E::SIZE);
        waiting.for_each(|entry| entry.encode(&mut bytes));
        if !bytes.is_empty() {
            let position = (u64::from(self.entries) - self.unwritten as u64) * E::SIZE as u64;
            self.changes += 1;
            self.file.write_all_at(&[IoSlice::new(&bytes)], position)?;
        }
        self.unwritten = 0;
        Ok(())
    }

    fn truncate(&mut self, entries: u32) -> io::Result<()> {
        if entries >= self.entries {
            return Ok(());
        }
        let cold_entries = self.entries - self.warm.len() as u32;
        self.warm.truncate(entries.saturating_sub(cold_entries) as usize);
        self.unwritten = self.unwritten.saturating_sub((self.entries - entries) as usize);
        self.entries = entries;
        self.padded = true;
        self.last = match (entries.checked_sub(1), self.warm.last()) {
            (_, Some(&last)) => Some(last),
            (Some(last), None) => self.cold().entry(last)?,
            (None, None) => None,
        };
        self.cut()
    }

    /// The file is exactly the entries afterwards.
    fn trim(&mut self) -> io::Result<()> {
        self.write_with(None)?;
        self.cut()
    }

    /// The file holds nothing behind what was written of the entries. Needs no room: what a full disk refused is taken back
    /// by this.
    fn cut(&mut self) -> io::Result<()> {
        if self.padded {
            self.changes += 1;
            let written = u64::from(self.entries) - self.unwritten as u64;
            self.file.set_len(written * E::SIZE as u64)?;
            self.padded = false;
        }
        Ok(())
    }
}

impl<E: Entry> Cold<E> {
    fn block(&self, first: u32, entries: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; entries as usize * E::SIZE];
        let n = self.reach.read_at(&*self.file, &mut bytes, u64::from(first) * E::SIZE as u64)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    fn entry(&self, n: u32) -> io::Result<Option<E>> {
        Ok(E::decode(&self.block(n, 1)?))
    }

    /// First the beginning, then where the bound should be if keys grew evenly, which they nearly do in most indexes; in
    /// halves where they don't. `end_key` is about that of the entry behind the last one.
    fn partition_point(
        &self,
        key: impl Fn(E) -> i64,
        bound: i64,
        mut end_key: i64,
    ) -> io::Result<(u32, Option<E>)> {
        // Invariant: keys are below the bound before `from`, not at `to` and after. `before` is the entry at `from - 1`.
        let (mut from, mut to, mut before) = (0, self.entries, None);
        let mut looks = 0;
        while from < to {
            let at = match before.map(&key) {
                None => from,
                Some(start) if looks <= GUESSES_MAX => {
                    from + share(to - from, bound.saturating_sub(start), end_key.saturating_sub(start))
                }
                Some(_) => from + (to - from) / 2,
            };
            looks += 1;
            let first = at.saturating_sub(BLOCK_ENTRIES / 2).max(from);
            let count = BLOCK_ENTRIES.min(to - first);
            let block = self.block(first, count)?;
            let below = count_below(&block, &key, bound);
            let last_below = below.checked_sub(1).and_then(|last| entry_at::<E>(&block, last));
            if below == 0 && first > from {
                to = first;
                // Entries that are gone were truncated away meanwhile.
                end_key = entry_at(&block, 0).map_or(end_key, &key);
            } else if below == count && first + count < to {
                from = first + count;
                before = last_below;
            } else {
                return Ok((first + below, last_below.or(before)));
            }
        }
        Ok((from, before))
    }

    /// The number of slots before the zeros that end a preallocated file. Only the first entry can be all zeros
    /// itself, and then only if it is alone or others follow.
    fn without_padding(&self) -> io::Result<u32> {
        let is_zero = |slot| Ok::<_, io::Error>(self.block(slot, 1)?.iter().all(|&byte| byte == 0));
        if self.entries <= 1 || !is_zero(self.entries - 1)? {
            return Ok(self.entries);
        }
        let (mut from, mut to) = (1, self.entries - 1);
        while from < to {
            let middle = from + (to - from) / 2;
            if is_zero(middle)? {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        if from == 1 && is_zero(0)? { Ok(0) } else { Ok(from) }
    }
}

fn entry_at<E: Entry>(block: &[u8], n: u32) -> Option<E> {
    E::decode(block.get(n as usize * E::SIZE..)?.get(..E::SIZE)?)
}

/// The number of entries in a block whose key is below `bound`.
fn count_below<E: Entry>(block: &[u8], key: impl Fn(E) -> i64, bound: i64) -> u32 {
    let (mut from, mut to) = (0, (block.len() / E::SIZE) as u32);
    while from < to {
        let middle = from + (to - from) / 2;
        match entry_at(block, middle) {
            Some(entry) if key(entry) < bound => from = middle + 1,
            _ => to = middle,
        }
    }
    from
}

/// `part` of `whole`, as so many of `entries`; less than all of them.
fn share(entries: u32, part: i64, whole: i64) -> u32 {
    if whole <= 0 {
        return entries / 2;
    }
    let share = i128::from(entries) * i128::from(part) / i128::from(whole);
    share.clamp(0, i128::from(entries.saturating_sub(1))) as u32
}
