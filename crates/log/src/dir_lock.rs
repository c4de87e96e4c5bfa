//! The lock that keeps two brokers, of either make, out of one log directory: `.lock`.
//!
//! Taken as the JVM takes it: a POSIX record lock (`fcntl`) over the whole file. Such a lock belongs to the process and
//! is lost when the process closes any descriptor of the file, so nothing else may open `.lock`, and directories that
//! this process holds are remembered here. The file stays when the lock is released.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use thiserror::Error;

use crate::names;

/// Device and inode of the lock files that this process holds.
static HELD: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// Whether another process holds a directory. Nothing is made or locked for it.
pub fn is_held_elsewhere(dir: &Path) -> io::Result<bool> {
    let path = dir.join(names::LOCK);
    let held = HELD.lock();
    let found = match rustix::fs::stat(&path) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // Closing another descriptor of the file would release this process's lock.
    if held.contains(&(found.st_dev, found.st_ino)) {
        return Ok(false);
    }
    let descriptor = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fcntl_getlk(&descriptor, &Flock::from(FlockType::WriteLock))?.is_some())
}

/// Why a directory was not locked.
#[derive(Debug, Error)]
pub enum DirLockError {
    #[error(
        "{} is in use by another process: stop it, or choose another log directory. (Its lock is {})",
        dir.display(), dir.join(names::LOCK).display()
    )]
    InUse { dir: PathBuf },
    #[error("{} is given twice", dir.display())]
    Twice { dir: PathBuf },
    #[error("cannot lock {}: {source}", dir.display())]
    Io { dir: PathBuf, source: io::Error },
}

/// Holds a log directory until it is dropped.
#[derive(Debug)]
pub struct DirLock {
    _descriptor: OwnedFd,
    id: (u64, u64),
}

impl DirLock {
    /// Locks a directory that exists, or says at once that it cannot.
    pub fn acquire(dir: &Path) -> Result<DirLock, DirLockError> {
        let io = |error: rustix::io::Errno| DirLockError::Io { dir: dir.to_owned(), source: error.into() };
        let path = dir.join(names::LOCK);
        let mut held = HELD.lock();
        // Looked at before it is opened: closing another descriptor of the file would release the lock.
        if let Ok(found) = rustix::fs::stat(&path)
            && held.contains(&(found.st_dev, found.st_ino))
        {
            return Err(DirLockError::Twice { dir: dir.to_owned() });
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o644)).map_err(io)?;
        rustix::fs::fcntl_lock(&descriptor, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match error {
                rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN => {
                    DirLockError::InUse { dir: dir.to_owned() }
                }
                other => io(other),
            }
        })?;
        let found = rustix::fs::fstat(&descriptor).map_err(io)?;
        let id = (found.st_dev, found.st_ino);
        held.insert(id);
        Ok(DirLock { _descriptor: descriptor, id })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        HELD.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(dir.path()).unwrap();
        assert!(matches!(DirLock::acquire(dir.path()), Err(DirLockError::Twice { .. })));
        assert!(!is_held_elsewhere(dir.path()).unwrap());
        assert!(matches!(DirLock::acquire(dir.path()), Err(DirLockError::Twice { .. })));
        drop(lock);
        assert!(!is_held_elsewhere(dir.path()).unwrap());
        assert!(!is_held_elsewhere(&dir.path().join("missing")).unwrap());
        drop(DirLock::acquire(dir.path()).unwrap());
        assert!(matches!(DirLock::acquire(&dir.path().join("missing")), Err(DirLockError::Io { .. })));
    }

    /// Run by the test below as a second process.
    const SECOND_PROCESS_DIR: &str = "OTTLA_TEST_LOCKED_DIR";

    #[test]
    fn another_process_is_kept_out() {
        if let Some(dir) = std::env::var_os(SECOND_PROCESS_DIR) {
            let result = DirLock::acquire(Path::new(&dir));
            assert!(matches!(result, Err(DirLockError::InUse { .. })), "{result:?}");
            assert!(is_held_elsewhere(Path::new(&dir)).unwrap());
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let _lock = DirLock::acquire(dir.path()).unwrap();
        let second = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dir_lock::tests::another_process_is_kept_out"])
            .env(SECOND_PROCESS_DIR, dir.path())
            .output()
            .unwrap();
        assert!(second.status.success(), "{second:?}");
    }
}
