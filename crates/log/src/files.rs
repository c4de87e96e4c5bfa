//! Small files that are read and replaced as a whole.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, Open};

/// More than any such file of a sane node; a larger one is refused rather than read.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The content of a file; none if it is missing.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.len()?;
    if len > FILE_BYTES_MAX {
        let message = format!("{} has {len} bytes, more than any such file can need", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; len as usize];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

/// Replaces a file atomically and durably: after a crash it has its old or its new content, whole.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    put(disk, path, content)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}

/// As [`replace`], but that the new content is there after a crash is the caller's business: he syncs the directory.
pub fn put(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let file = disk.open(&temporary, Open::Truncate)?;
    file.write_all_at(&[IoSlice::new(content)], 0)?;
    // The content must be there before the name says so.
    file.sync()?;
    file.rename(path)
}

/// The name of the new content until it is complete, as Kafka names it.
fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    PathBuf::from(name)
}
