//! The machine's file system.
//!
//! Handles are many (each partition has several files, and lives as long as the partition), descriptors are few. So a
//! handle holds a descriptor only while it is in use or was used lately: at most about `descriptors_max` are open,
//! the ones that were not used since the last sweep are closed first (second chance), and a handle opens its file again
//! when it is next used. An operation on an open descriptor takes no lock.
//!
//! Where the process may open no more files nevertheless, because others hold the descriptors, handles that are not in use
//! give theirs up, and the call is tried again.
//!
//! What always holds: a handle names one file. Renaming the file through its handle, or renaming its directory through
//! [`Disk::rename`], is followed by the handle; a directory made later under the old name is another directory.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use ottla_types::Timestamp;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::ReadWriteFlags;

use super::{DirEntry, Disk, DiskFile, Open, Space, is_out_of_files};

/// This part of the descriptors is given up when there are too few.
const GIVEN_UP_AT_ONCE: usize = 8;

/// Buffers of one `pwritev` call (`IOV_MAX`).
const BUFFERS_PER_CALL_MAX: usize = 1024;

/// The machine's file system behind handles that share a bounded number of descriptors.
#[derive(Debug)]
pub struct RealDisk {
    shared: Arc<Shared>,
}

impl RealDisk {
    /// At most about `descriptors_max` files are open at once; descriptors handed out by
    /// [`DiskFile::descriptor`] and still held come on top.
    pub fn new(descriptors_max: usize) -> RealDisk {
        RealDisk {
            shared: Arc::new(Shared {
                descriptors_max: descriptors_max.max(1),
                descriptors: AtomicUsize::new(0),
                cannot_tell_memory: AtomicBool::new(false),
                ring: Mutex::new(VecDeque::new()),
                directories: Mutex::new(BTreeMap::new()),
            }),
        }
    }

    /// Leaves a third of the process's limit of open files to sockets and everything else.
    pub fn with_share_of_process_limit() -> RealDisk {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = usize::try_from(limit.unwrap_or(1 << 20)).unwrap_or(1 << 20);
        RealDisk::new(limit / 3 * 2)
    }

    /// Closes descriptors that are only kept for later, at least one if there is any, for others who need some: the
    /// handles open their files again when they are used. False if there was none.
    pub fn give_up_descriptors(&self) -> bool {
        self.shared.give_up_some()
    }

    /// Descriptors that are open behind handles.
    pub fn open_descriptors(&self) -> usize {
        self.shared.descriptors.load(Ordering::Relaxed)
    }
}

/// What the handles of one disk have in common.
#[derive(Debug)]
struct Shared {
    descriptors_max: usize,
    descriptors: AtomicUsize,
    /// Reads that do not wait are not supported here.
    cannot_tell_memory: AtomicBool,
    /// Handles with an open descriptor, in the order in which a sweep visits them. Some may be gone already.
    ring: Mutex<VecDeque<Weak<RealFile>>>,
    /// Directories that handles were opened in, so that renaming one reaches them.
    directories: Mutex<BTreeMap<PathBuf, Weak<Directory>>>,
}

/// A directory that holds files with handles.
#[derive(Debug)]
struct Directory {
    path: Mutex<PathBuf>,
}

struct RealFile {
    descriptor: ArcSwapOption<OwnedFd>,
    used: AtomicBool,
    writable: bool,
    /// The name inside the directory; locked while the file is opened again or renamed.
    name: Mutex<OsString>,
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    me: Weak<RealFile>,
}

impl Shared {
    fn directory(&self, path: &Path) -> Arc<Directory> {
        let mut directories = self.directories.lock();
        if let Some(found) = directories.get(path).and_then(Weak::upgrade) {
            return found;
        }
        let directory = Arc::new(Directory { path: Mutex::new(path.to_owned()) });
        directories.insert(path.to_owned(), Arc::downgrade(&directory));
        directory
    }

    /// Forgets directories at or below `path`; handles of removed files keep their own.
    fn forget_directories(directories: &mut BTreeMap<PathBuf, Weak<Directory>>, path: &Path) {
        for known in keys_below(directories, path) {
            directories.remove(&known);
        }
    }

    /// Counts one more descriptor and closes others if they have become too many.
    fn opened(&self, file: &RealFile) {
        let open = self.descriptors.fetch_add(1, Ordering::Relaxed) + 1;
        let mut ring = self.ring.lock();
        ring.push_back(file.me.clone());
        if open > self.descriptors_max {
            self.sweep(&mut ring, open - self.descriptors_max);
        } else if ring.len() > 2 * open + 64 {
            ring.retain(|file| file.strong_count() > 0);
        }
    }

    /// Closes a part of the descriptors; false if there was none to close.
    fn give_up_some(&self) -> bool {
        let mut ring = self.ring.lock();
        let before = self.descriptors.load(Ordering::Relaxed);
        self.sweep(&mut ring, before.div_ceil(GIVEN_UP_AT_ONCE));
        self.descriptors.load(Ordering::Relaxed) < before
    }

    /// Opens a file or directory, if need be with the descriptors of others.
    fn open_descriptor(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.with_descriptors(|| open_descriptor(path, flags))
    }

    /// Runs a call that opens something, again and again while it lacks descriptors that handles can give up.
    fn with_descriptors<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(error) if is_out_of_files(&error) && self.give_up_some() => {}
                result => return result,
            }
        }
    }

    /// Closes `excess` descriptors: those that were not used since the last visit, or, where all were, the eldest.
    fn sweep(&self, ring: &mut VecDeque<Weak<RealFile>>, mut excess: usize) {
        let mut visits = 2 * ring.len();
        while excess > 0 && visits > 0 {
            visits -= 1;
            let Some(file) = ring.pop_front() else { return };
            // A handle that is being dropped closes its descriptor itself.
            let Some(handle) = file.upgrade() else { continue };
            if handle.used.swap(false, Ordering::Relaxed) {
                ring.push_back(file);
            } else if handle.descriptor.swap(None).is_some() {
                self.descriptors.fetch_sub(1, Ordering::Relaxed);
                excess -= 1;
            }
        }
    }
}

fn keys_below(directories: &BTreeMap<PathBuf, Weak<Directory>>, path: &Path) -> Vec<PathBuf> {
    directories
        .range::<Path, _>((std::ops::Bound::Included(path), std::ops::Bound::Unbounded))
        .map(|(known, _)| known)
        .take_while(|known| known.starts_with(path))
        .cloned()
        .collect()
}

impl RealFile {
    fn open(
        shared: &Arc<Shared>,
        directory: Arc<Directory>,
        name: OsString,
        how: Open,
    ) -> io::Result<Arc<RealFile>> {
        let path = directory.path.lock().join(&name);
        let descriptor = shared.open_descriptor(&path, flags(how)).map_err(|error| naming(&path, error))?;
        let file = Arc::new_cyclic(|me| RealFile {
            descriptor: ArcSwapOption::from_pointee(descriptor),
            used: AtomicBool::new(true),
            writable: how != Open::Read,
            name: Mutex::new(name),
            directory,
            shared: Arc::clone(shared),
            me: me.clone(),
        });
        shared.opened(&file);
        Ok(file)
    }

    /// Runs `operation` on the open descriptor, opening the file again if it was closed meanwhile.
    fn with<T>(&self, operation: impl FnOnce(&OwnedFd) -> io::Result<T>) -> io::Result<T> {
        // Written only when it changes, so that the cache line stays shared between readers.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        if let Some(descriptor) = self.descriptor.load().as_ref() {
            return operation(descriptor);
        }
        operation(&*self.reopen()?)
    }

    fn reopen(&self) -> io::Result<Arc<OwnedFd>> {
        let name = self.name.lock();
        if let Some(descriptor) = self.descriptor.load_full() {
            return Ok(descriptor);
        }
        let directory = self.directory.path.lock();
        let how = if self.writable { Open::ReadWrite } else { Open::Read };
        let descriptor = Arc::new(self.shared.open_descriptor(&directory.join(&*name), flags(how))?);
        drop(directory);
        self.descriptor.store(Some(Arc::clone(&descriptor)));
        drop(name);
        self.shared.opened(self);
        Ok(descriptor)
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        if self.descriptor.swap(None).is_some() {
            self.shared.descriptors.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for RealFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RealFile({})", self.path().display())
    }
}

fn flags(how: Open) -> OFlags {
    match how {
        Open::Read => OFlags::RDONLY,
        Open::ReadWrite => OFlags::RDWR,
        Open::Create => OFlags::RDWR | OFlags::CREATE,
        Open::Truncate => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
    }
}

/// Which of the many files it is that its user may not open: the directory is not to blame.
fn naming(path: &Path, error: io::Error) -> io::Error {
    match error.kind() {
        kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            io::Error::new(kind, format!("{error} when {} was opened", path.display()))
        }
        _ => error,
    }
}

fn open_descriptor(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o644);
    let descriptor = retry_interrupted(|| Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, mode)?))?;
    Ok(descriptor)
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// What a failed sync says: the kernel drops what it could not write, so that a full disk is no matter of waiting here.
fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(error),
        _ => error,
    }
}

/// Writes what a short `pwritev` left, buffer by buffer, without the first `written` bytes.
fn write_rest(
    descriptor: &OwnedFd,
    buffers: &[IoSlice<'_>],
    position: u64,
    mut written: u64,
) -> io::Result<()> {
    let mut end_of_buffer = 0u64;
    for buffer in buffers {
        end_of_buffer += buffer.len() as u64;
        while written < end_of_buffer {
            let left = (end_of_buffer - written) as usize;
            let rest = buffer.get(buffer.len() - left..).unwrap_or_default();
            let n = retry_interrupted(|| Ok(rustix::io::pwrite(descriptor, rest, position + written)?))?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += n as u64;
        }
    }
    Ok(())
}

impl DiskFile for RealFile {
    fn path(&self) -> PathBuf {
        let name = self.name.lock();
        self.directory.path.lock().join(&*name)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|descriptor| {
            let mut filled = 0;
            while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                let at = position + filled as u64;
                match retry_interrupted(|| Ok(rustix::io::pread(descriptor, &mut *rest, at)?))? {
                    0 => break,
                    n => filled += n,
                }
            }
            Ok(filled)
        })
    }

    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        if self.shared.cannot_tell_memory.load(Ordering::Relaxed) {
            return self.read_at(buf, position).map(Some);
        }
        let wanted = buf.len();
        let read = self.with(|descriptor| {
            let buffers = &mut [IoSliceMut::new(buf)];
            retry_interrupted(|| {
                Ok(rustix::io::preadv2(descriptor, buffers, position, ReadWriteFlags::NOWAIT)?)
            })
        });
        match read {
            // Short of the file's end that is as far as the page cache goes.
            Ok(n) if n < wanted && position + (n as u64) < self.len()? => Ok(None),
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // This file system has no way to tell.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.shared.cannot_tell_memory.store(true, Ordering::Relaxed);
                self.read_at(buf, position).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.with(|descriptor| {
            let mut position = position;
            for chunk in buffers.chunks(BUFFERS_PER_CALL_MAX) {
                let total: u64 = chunk.iter().map(|buffer| buffer.len() as u64).sum();
                let n = retry_interrupted(|| Ok(rustix::io::pwritev(descriptor, chunk, position)?))? as u64;
                if n < total {
                    write_rest(descriptor, chunk, position, n)?;
                }
                position += total;
            }
            Ok(())
        })
    }

    fn reserve(&self, position: u64, len: u64) -> bool {
        self.with(|descriptor| {
            Ok(rustix::fs::fallocate(descriptor, FallocateFlags::KEEP_SIZE, position, len)?)
        })
        .is_ok()
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|descriptor| Ok(u64::try_from(rustix::fs::fstat(descriptor)?.st_size).unwrap_or(0)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|descriptor| retry_interrupted(|| Ok(rustix::fs::ftruncate(descriptor, len)?)))
    }

    fn set_modified(&self, modified: Timestamp) -> io::Result<()> {
        let time = Timespec {
            tv_sec: modified.0.div_euclid(1000),
            tv_nsec: modified.0.rem_euclid(1000) * 1_000_000,
        };
        let times = Timestamps { last_access: time, last_modification: time };
        self.with(|descriptor| Ok(rustix::fs::futimens(descriptor, &times)?))
    }

    fn sync(&self) -> io::Result<()> {
        // `fdatasync` writes the length too: without it the content could not be read back.
        self.with(|descriptor| retry_interrupted(|| Ok(rustix::fs::fdatasync(descriptor)?))).map_err(lost)
    }

    fn rename(&self, to: &Path) -> io::Result<()> {
        let mut name = self.name.lock();
        let directory = self.directory.path.lock();
        let (to_directory, to_name) = split(to)?;
        if to_directory != directory.as_path() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} is not in {}: a file is renamed inside its directory",
                    to.display(),
                    directory.display()
                ),
            ));
        }
        rustix::fs::rename(directory.join(&*name), to)?;
        *name = to_name;
        Ok(())
    }

    fn descriptor(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        self.used.store(true, Ordering::Relaxed);
        match self.descriptor.load_full() {
            Some(descriptor) => Ok(Some(descriptor)),
            None => self.reopen().map(Some),
        }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp(match time.duration_since(UNIX_EPOCH) {
        Ok(after) => ms(after),
        Err(before) => -ms(before.duration()),
    })
}

/// Directory and name of a path.
fn split(path: &Path) -> io::Result<(PathBuf, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => Ok((directory.to_owned(), name.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display()))),
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let (directory, name) = split(path)?;
        Ok(RealFile::open(&self.shared, self.shared.directory(&directory), name, how)?)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in self.shared.with_descriptors(|| std::fs::read_dir(path))? {
            let entry = entry?;
            // Nothing that Kafka names is other than ASCII: a stranger's name need not survive the way to a string.
            let name = entry.file_name().to_string_lossy().into_owned();
            // Follows symbolic links. A file may vanish between listing and looking: then it was not there.
            let metadata = match std::fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            let len = if is_dir { 0 } else { metadata.len() };
            entries.push(DirEntry { name, is_dir, len, modified: timestamp(metadata.modified()?) });
        }
        Ok(entries)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Held over the call, so that no handle is opened by a name that is about to change.
        let mut directories = self.shared.directories.lock();
        let known = keys_below(&directories, from);
        let nodes: Vec<(PathBuf, Arc<Directory>)> = known
            .into_iter()
            .filter_map(|path| directories.remove(&path).and_then(|node| Some((path, node.upgrade()?))))
            .collect();
        let mut paths: Vec<_> = nodes.iter().map(|(_, node)| node.path.lock()).collect();
        let renamed = rustix::fs::rename(from, to);
        if renamed.is_ok() {
            Shared::forget_directories(&mut directories, to);
        }
        for ((old, node), path) in nodes.iter().zip(&mut paths) {
            if renamed.is_ok()
                && let Ok(below) = old.strip_prefix(from)
            {
                **path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            }
            directories.insert(path.clone(), Arc::downgrade(node));
        }
        Ok(renamed?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.shared.with_descriptors(|| std::fs::remove_dir_all(path))?;
        Shared::forget_directories(&mut self.shared.directories.lock(), path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let descriptor = self.shared.open_descriptor(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        rustix::fs::fsync(descriptor.as_fd()).map_err(|error| lost(error.into()))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let volume = rustix::fs::statvfs(path)?;
        Ok(Space {
            total_bytes: volume.f_blocks.saturating_mul(volume.f_frsize),
            usable_bytes: volume.f_bavail.saturating_mul(volume.f_frsize),
        })
    }
}

#[cfg(test)]
#[path = "real_tests.rs"]
mod tests;
