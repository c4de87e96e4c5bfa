//! The directory of one partition, shared by everything that names files in it.
//!
//! Renaming the directory (deletion, promotion of a future replica) changes it in one place: whoever opens a file
//! lazily asks here for the path.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::disk::Disk;

/// Where the files of one partition live.
#[derive(Debug)]
pub struct PartitionDir {
    disk: Arc<dyn Disk>,
    path: RwLock<Arc<Path>>,
}

impl PartitionDir {
    pub fn new(disk: Arc<dyn Disk>, path: impl Into<Arc<Path>>) -> Arc<PartitionDir> {
        Arc::new(PartitionDir { disk, path: RwLock::new(path.into()) })
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn path(&self) -> Arc<Path> {
        Arc::clone(&self.path.read())
    }

    /// The path of a file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.read().join(name)
    }

    /// Renames the directory. The caller makes it durable with [`Disk::sync_dir`] of its parent.
    pub fn rename(&self, to: &Path) -> io::Result<()> {
        let mut path = self.path.write();
        self.disk.rename(&path, to)?;
        *path = to.into();
        Ok(())
    }
}
