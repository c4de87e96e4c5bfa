//! Which segments of a compacted log were begun before the end of the segment in front of them was on disk.
//!
//! A loss of power may shorten a segment that was not flushed, and leave the next one. Elsewhere the gap tells; in a compacted
//! log gaps are nothing unusual. So a segment that continues the one in front of it gets an empty file beside it,
//! `<base offset>.unflushed`, made before its own files and removed when all in front of it is on disk: file systems
//! keep the order of what is made in a directory. Recovery takes a gap in front of such a segment for the log's end. Apache Kafka,
//! which has no such files, leaves them alone.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use ottla_types::Offset;
use parking_lot::Mutex;

use crate::disk::Open;
use crate::index::ignore_missing;
use crate::names;
use crate::partition_dir::PartitionDir;

/// See the module.
#[derive(Debug)]
pub(crate) struct UnflushedEnds {
    dir: Arc<PartitionDir>,
    /// Base offsets of the segments behind them.
    before: Mutex<BTreeSet<Offset>>,
}

impl UnflushedEnds {
    /// `found`: those that the directory tells of.
    pub fn new(dir: &Arc<PartitionDir>, found: BTreeSet<Offset>) -> UnflushedEnds {
        UnflushedEnds { dir: Arc::clone(dir), before: Mutex::new(found) }
    }

    /// A segment is about to be made that continues the one in front of it, whose end is not on disk.
    pub fn note(&self, base_offset: Offset) -> io::Result<()> {
        self.dir.disk().open(&self.path(base_offset), Open::Create)?;
        self.before.lock().insert(base_offset);
        Ok(())
    }

    pub fn contains(&self, base_offset: Offset) -> bool {
        self.before.lock().contains(&base_offset)
    }

    /// Whether there is one behind `from`, up to and including `to`.
    pub fn is_any_in(&self, from: Offset, to: Offset) -> bool {
        self.before.lock().range(from.next()..).next().is_some_and(|first| *first <= to)
    }

    /// All in front of `offset` is on disk.
    pub fn flushed_up_to(&self, offset: Offset) -> io::Result<()> {
        self.retain(|base_offset| base_offset > offset)
    }

    /// All from `offset` on is gone from the log.
    pub fn truncated_to(&self, offset: Offset) -> io::Result<()> {
        self.retain(|base_offset| base_offset <= offset)
    }

    pub fn retain(&self, stays: impl Fn(Offset) -> bool) -> io::Result<()> {
        let mut before = self.before.lock();
        let over: Vec<Offset> = before.iter().copied().filter(|base_offset| !stays(*base_offset)).collect();
        for base_offset in over {
            ignore_missing(self.dir.disk().remove_file(&self.path(base_offset)))?;
            before.remove(&base_offset);
        }
        Ok(())
    }

    fn path(&self, base_offset: Offset) -> std::path::PathBuf {
        self.dir.file(&names::unflushed_end(base_offset.0))
    }
}
