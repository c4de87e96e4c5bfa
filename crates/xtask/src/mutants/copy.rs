//! A copy of the tree in which variants are built. Only what differs is written, so that little is built again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// What the packages and their tests are made of.
const COPIED: &[&str] = &[
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "crates",
    "docs",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "clippy.toml",
];

/// Makes `to` hold what `from` holds.
pub fn sync(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in COPIED {
        if from.join(name).exists() {
            sync_entry(&from.join(name), &to.join(name))?;
        }
    }
    Ok(())
}

fn sync_entry(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_symlink() {
        return Ok(());
    }
    if !from.is_dir() {
        return write_if_different(to, &fs::read(from)?);
    }
    fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        sync_entry(&from.join(&name), &to.join(&name))?;
        names.insert(name);
    }
    for entry in fs::read_dir(to)? {
        let name = entry?.file_name();
        if !names.contains(&name) {
            remove(&to.join(name))?;
        }
    }
    Ok(())
}

pub fn write_if_different(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::read(path) {
        Ok(found) if found == content => Ok(()),
        _ => fs::write(path, content),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
