//! The content of one file: as processes see it, and as it would be after a crash.

use super::rng::Rng;

/// Devices write sectors whole: a torn write ends or skips at a multiple of this.
pub(super) const SECTOR_BYTES: u64 = 512;

#[derive(Debug)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    SetLen(u64),
}

/// What becomes of changes that were not synced when the machine loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of them are lost: nothing was written back yet.
    Everything,
    /// None is lost: all was written back just in time. Names included.
    Nothing,
    /// The seed decides, file by file and directory by directory: all, none, a prefix, some in any order, some torn at
    /// a sector.
    Seeded,
}

#[derive(Debug, Default)]
pub(super) struct Content {
    current: Vec<u8>,
    /// Without `unsynced`.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => content.resize(*len as usize, 0),
        Change::Write { position, bytes } => write(content, *position, bytes),
    }
}

fn write(content: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let (start, end) = (position as usize, position as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(target) = content.get_mut(start..end) {
        target.copy_from_slice(bytes);
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.current.len() as u64
    }

    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(self.current.len());
        let available = self.current.get(from..).unwrap_or_default();
        let n = available.len().min(buf.len());
        if let (Some(target), Some(source)) = (buf.get_mut(..n), available.get(..n)) {
            target.copy_from_slice(source);
        }
        n
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.change(Change::Write { position, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len != self.len() {
            self.change(Change::SetLen(len));
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.current, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// A sync that failed: the pages count as clean from then on, so a later sync that succeeds doesn't write them.
    pub(super) fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// The first sector that no sync has brought to the device. The rest of a file that was made longer is there.
    pub(super) fn first_unsynced_sector(&self) -> u64 {
        (self.durable.len() as u64).div_ceil(SECTOR_BYTES) * SECTOR_BYTES
    }

    pub(super) fn crash(&mut self, loss: Loss, rng: &mut Rng) {
        let unsynced = std::mem::take(&mut self.unsynced);
        match loss {
            Loss::Everything => {}
            Loss::Nothing => unsynced.iter().for_each(|change| apply(&mut self.durable, change)),
            Loss::Seeded => self.crash_seeded(&unsynced, rng),
        }
        self.current.clone_from(&self.durable);
    }

    fn crash_seeded(&mut self, unsynced: &[Change], rng: &mut Rng) {
        match rng.below(4) {
            0 => {}
            1 => unsynced.iter().for_each(|change| apply(&mut self.durable, change)),
            2 => {
                let whole = rng.below(unsynced.len() as u64 + 1) as usize;
                let (whole, rest) = unsynced.split_at(whole.min(unsynced.len()));
                whole.iter().for_each(|change| apply(&mut self.durable, change));
                if let Some(torn) = rest.first() {
                    self.tear(torn, rng);
                }
            }
            _ => {
                for change in unsynced {
                    match rng.below(3) {
                        0 => {}
                        1 => apply(&mut self.durable, change),
                        _ => self.tear(change, rng),
                    }
                }
            }
        }
    }

    /// Some sectors of a write arrive, others don't; where one in front doesn't, zeros or what was there stay.
    fn tear(&mut self, change: &Change, rng: &mut Rng) {
        let Change::Write { position, bytes } = change else { return };
        let mut rest = bytes.as_slice();
        let mut at = *position;
        while !rest.is_empty() {
            let n = ((SECTOR_BYTES - at % SECTOR_BYTES) as usize).min(rest.len());
            let (sector, after) = rest.split_at(n);
            if rng.one_in(2) {
                write(&mut self.durable, at, sector);
            }
            at += n as u64;
            rest = after;
        }
    }

    /// Changes each byte of the sector at `position`, on the device too.
    pub(super) fn corrupt(&mut self, position: u64, rng: &mut Rng) {
        let from = (position - position % SECTOR_BYTES) as usize;
        let noise: Vec<u8> = (0..SECTOR_BYTES).map(|_| 1 | rng.next() as u8).collect();
        for content in [&mut self.current, &mut self.durable] {
            let sector = content.iter_mut().skip(from);
            sector.zip(&noise).for_each(|(byte, noise)| *byte ^= noise);
        }
    }
}
