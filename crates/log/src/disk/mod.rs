//! The one trait behind which files live, so that faults can be injected below everything that must survive them.
//!
//! The log engine touches the file system through [`Disk`] and [`DiskFile`] alone.

mod real;
pub mod sim;

pub use real::RealDisk;
pub use sim::SimDisk;

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::Timestamp;

/// How [`Disk::open`] treats a file that is there or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist; it is only read.
    Read,
    /// It must exist; it is read and written.
    ReadWrite,
    /// It is made if it is missing, and read and written.
    Create,
    /// As `Create`, and emptied.
    Truncate,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    /// Bytes; zero for a directory.
    pub len: u64,
    /// When content or, for a directory, names last changed.
    pub modified: Timestamp,
}

/// A file system, real or simulated. All paths are taken as they are; none is resolved against another.
pub trait Disk: Send + Sync + fmt::Debug {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// In no particular order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Atomic; replaces `to`. A directory may be renamed too. A file that is open is renamed with
    /// [`DiskFile::rename`] instead, so that it can be opened again by its new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable: after creating, renaming or removing in it. Fails as [`DiskFile::sync`].
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Total and usable bytes of the volume that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// Whether a call failed because the process, or the system, has as many files open as it may: that is no fault of the
/// disk, and passes.
pub fn is_out_of_files(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    if let Some(number) = error.raw_os_error() {
        return number == EMFILE || number == ENFILE;
    }
    // Errors of checkpoints and the like carry that of the disk.
    let mut cause = error.get_ref().and_then(|inner| {
        inner.downcast_ref::<io::Error>().map(|inner| inner as &dyn Error).or_else(|| inner.source())
    });
    while let Some(error) = cause {
        if let Some(inner) = error.downcast_ref::<io::Error>() {
            return is_out_of_files(inner);
        }
        cause = error.source();
    }
    false
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Whatever the file holds.
    Disk,
    /// What takes no wait; the rest is answered with [`io::ErrorKind::WouldBlock`].
    Memory,
}

impl Reach {
    /// Reads as [`DiskFile::read_at`] does, as far as this goes.
    pub fn read_at(self, file: &dyn DiskFile, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match self {
            Reach::Disk => file.read_at(buf, position),
            Reach::Memory => file
                .read_at_in_memory(buf, position)?
                .ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock)),
        }
    }
}

/// Total and usable bytes of a volume (KIP-827).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    pub usable_bytes: u64,
}

/// An open file. Positions are absolute: a handle has no cursor, so readers and the one writer share it. An
/// implementation may close the descriptor behind a handle that is not in use and open it again when it is: handles
/// are cheap, descriptors are not.
pub trait DiskFile: Send + Sync + fmt::Debug {
    fn path(&self) -> PathBuf;
    /// Fills `buf` from `position` as far as the file goes; returns the bytes read.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// As [`DiskFile::read_at`] for what the page cache holds; none if some of it would have to be waited for. Without a
    /// way to tell, everything counts as held.
    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        self.read_at(buf, position).map(Some)
    }
    /// Writes all of `buffers`, one after the other, at `position`.
    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Asks for blocks for `len` bytes from `position` on, which lie beyond the end; the file's length stays. Returns
    /// whether they were given: without them a write finds its own.
    fn reserve(&self, _position: u64, _len: u64) -> bool {
        false
    }
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Also gives back what was reserved beyond `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Says when the content last changed, as [`DirEntry::modified`] tells it: for a file that takes another's place.
    fn set_modified(&self, _modified: Timestamp) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes content and length durable. An error is never [`io::ErrorKind::StorageFull`]: what a device has no room for
    /// when it is told to keep what was written is lost, and no later call brings it back.
    fn sync(&self) -> io::Result<()>;
    /// Renames the file; replaces `to`.
    fn rename(&self, to: &Path) -> io::Result<()>;
    /// A descriptor for `sendfile`; none where the file is simulated. It stays valid while the caller holds it,
    /// whatever becomes of the handle.
    fn descriptor(&self) -> io::Result<Option<Arc<OwnedFd>>>;
}
