//! What interrupted work leaves in a partition's directory, and how it is finished or undone.
//!
//! `.deleted` and `.cleaned` files are worthless. A `.swap` file is complete: it takes the place of all live files in the
//! range of offsets that the swapped segments cover. Only if there are `.cleaned` files at or below its offset, not all
//! of its set had been renamed, and it is worthless too.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use ottla_types::{Offset, Timestamp};
use tracing::{info, warn};

use crate::disk::Open;
use crate::names::{self, FileKind, FileState, SegmentFile};
use crate::partition_dir::PartitionDir;
use crate::scan::{HeaderScan, ScanError};
use crate::segment::SegmentError;

/// KRaft's snapshots are not the log's to remove.
const SNAPSHOT_DELETED: &str = ".checkpoint.deleted";

/// What a directory says of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundFile {
    pub len: u64,
    pub modified: Timestamp,
}

/// The live files of a log.
#[derive(Debug, Default)]
pub(super) struct FoundFiles {
    files: BTreeMap<(Offset, FileKind), FoundFile>,
    /// Base offsets of segments that were begun before the end of the one in front of them was on disk.
    pub unflushed_ends: BTreeSet<Offset>,
}

impl FoundFiles {
    pub fn has(&self, base_offset: Offset, kind: FileKind) -> bool {
        self.files.contains_key(&(base_offset, kind))
    }

    /// Base offset of each file of batches.
    pub fn logs(&self) -> impl Iterator<Item = (Offset, FoundFile)> {
        self.files
            .iter()
            .filter(|((_, kind), _)| *kind == FileKind::Log)
            .map(|(&(base_offset, _), &found)| (base_offset, found))
    }

    /// The base offsets of segments whose batches and indexes are there and empty.
    pub fn blank_segments(&self) -> BTreeSet<Offset> {
        let mut blank: BTreeSet<Offset> = self.logs().map(|(base_offset, _)| base_offset).collect();
        blank.retain(|&base_offset| self.has(base_offset, FileKind::OffsetIndex));
        for ((base_offset, kind), found) in &self.files {
            if found.len > 0 && *kind != FileKind::ProducerSnapshot {
                blank.remove(base_offset);
            }
        }
        blank
    }

    pub fn offsets_of(&self, wanted: FileKind) -> Vec<Offset> {
        self.files.keys().filter(|(_, kind)| *kind == wanted).map(|&(offset, _)| offset).collect()
    }
}

struct Listing {
    files: Vec<(SegmentFile, FoundFile)>,
    other_deleted: Vec<String>,
    unflushed_ends: BTreeSet<Offset>,
}

/// Finishes or undoes what was interrupted, and says what is there then.
pub(super) fn tidy(dir: &Arc<PartitionDir>) -> Result<FoundFiles, SegmentError> {
    let listing = list(dir)?;
    let all_live = listing.files.iter().all(|(file, _)| file.state == FileState::Live);
    let listing = if all_live && listing.other_deleted.is_empty() {
        listing
    } else {
        finish_interrupted(dir, &listing)?;
        list(dir)?
    };
    let mut found = FoundFiles { unflushed_ends: listing.unflushed_ends, ..FoundFiles::default() };
    for (file, of) in listing.files {
        found.files.insert((Offset(file.base_offset), file.kind), of);
    }
    remove_orphans(dir, &mut found)?;
    Ok(found)
}

fn list(dir: &PartitionDir) -> io::Result<Listing> {
    let mut listing =
        Listing { files: Vec::new(), other_deleted: Vec::new(), unflushed_ends: BTreeSet::new() };
    for entry in dir.disk().read_dir(&dir.path())? {
        if entry.is_dir {
            continue;
        }
        match SegmentFile::parse(&entry.name) {
            Some(file) => {
                listing.files.push((file, FoundFile { len: entry.len, modified: entry.modified }));
            }
            None if entry.name.ends_with(FileState::Deleted.suffix())
                && !entry.name.ends_with(SNAPSHOT_DELETED) =>
            {
                listing.other_deleted.push(entry.name);
            }
            None => listing.unflushed_ends.extend(names::parse_unflushed_end(&entry.name).map(Offset)),
        }
    }
    Ok(listing)
}

fn finish_interrupted(dir: &PartitionDir, listing: &Listing) -> Result<(), SegmentError> {
    let in_state =
        |state| listing.files.iter().map(|(file, _)| *file).filter(move |file| file.state == state);
    for name in &listing.other_deleted {
        remove(dir, name)?;
    }
    for file in in_state(FileState::Deleted) {
        remove(dir, &file.to_string())?;
    }
    let first_cleaned = in_state(FileState::Cleaned).map(|file| file.base_offset).min().unwrap_or(i64::MAX);
    let (unfinished, swaps): (Vec<_>, Vec<_>) =
        in_state(FileState::Swap).partition(|file| file.base_offset >= first_cleaned);
    for file in unfinished.into_iter().chain(in_state(FileState::Cleaned)) {
        info!(%file, "removing what the cleaner had not finished");
        remove(dir, &file.to_string())?;
    }
    finish_swap(dir, listing, &swaps)
}

fn finish_swap(dir: &PartitionDir, listing: &Listing, swaps: &[SegmentFile]) -> Result<(), SegmentError> {
    let mut covered: Option<(i64, i64)> = None;
    for file in swaps.iter().filter(|file| file.kind == FileKind::Log) {
        let end = next_offset(dir, file)?.0;
        let (from, to) = covered.unwrap_or((file.base_offset, end));
        covered = Some((from.min(file.base_offset), to.max(end)));
    }
    if let Some((from, to)) = covered {
        for (file, _) in &listing.files {
            if file.state == FileState::Live && (from..to).contains(&file.base_offset) {
                info!(%file, "removing what was compacted");
                remove(dir, &file.to_string())?;
            }
        }
    }
    // The batches come last: while they are named `.swap` the work is seen to be unfinished.
    let (logs, indexes): (Vec<SegmentFile>, Vec<SegmentFile>) =
        swaps.iter().partition(|file| file.kind == FileKind::Log);
    for file in indexes.into_iter().chain(logs) {
        info!(%file, "finishing a swap");
        let live = SegmentFile { state: FileState::Live, ..file };
        dir.disk().rename(&dir.file(&file.to_string()), &dir.file(&live.to_string()))?;
    }
    dir.disk().sync_dir(&dir.path())?;
    Ok(())
}

/// The offset after the last batch of a file that is no segment yet.
fn next_offset(dir: &PartitionDir, file: &SegmentFile) -> Result<Offset, SegmentError> {
    let open = dir.disk().open(&dir.file(&file.to_string()), Open::Read)?;
    let len = u32::try_from(open.len()?).unwrap_or(u32::MAX);
    let mut scan = HeaderScan::new(&*open, 0, len);
    let mut next = Offset(file.base_offset);
    loop {
        match scan.next() {
            Ok(Some(at)) => next = at.header.next_offset(),
            Ok(None) | Err(ScanError::Corrupt { .. }) => return Ok(next),
            Err(ScanError::Io(error)) => return Err(error.into()),
        }
    }
}

/// Indexes without their segment.
fn remove_orphans(dir: &PartitionDir, found: &mut FoundFiles) -> io::Result<()> {
    let logs: BTreeSet<Offset> = found.logs().map(|(base_offset, _)| base_offset).collect();
    let is_orphan = |(base_offset, kind): &(Offset, FileKind)| {
        matches!(kind, FileKind::OffsetIndex | FileKind::TimeIndex | FileKind::TxnIndex)
            && !logs.contains(base_offset)
    };
    let orphans: Vec<(Offset, FileKind)> = found.files.keys().filter(|key| is_orphan(key)).copied().collect();
    for (base_offset, kind) in orphans {
        let file = SegmentFile { base_offset: base_offset.0, kind, state: FileState::Live };
        warn!(%file, "removing an index without its segment");
        remove(dir, &file.to_string())?;
        found.files.remove(&(base_offset, kind));
    }
    Ok(())
}

fn remove(dir: &PartitionDir, name: &str) -> io::Result<()> {
    match dir.disk().remove_file(&dir.file(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
