//! What goes wrong with calls, and how many of which kind there were.

use std::io;
use std::path::{Path, PathBuf};

use super::rng::Rng;

/// A kind of call to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Open,
    Exists,
    ReadDir,
    CreateDir,
    Rename,
    Remove,
    SyncDir,
    Space,
    Read,
    Write,
    Len,
    SetLen,
    SetModified,
    Sync,
}

impl Call {
    const KINDS: usize = 14;

    /// Whether the call opens a file, or may have to open one again that a handle stands for.
    fn may_open(self) -> bool {
        !matches!(self, Call::Exists | Call::CreateDir | Call::Rename | Call::Remove | Call::Space)
    }
}

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    counts: [u64; Call::KINDS],
    /// Calls until one fails, of a kind or of any.
    fail_in: Vec<(Option<Call>, u64)>,
    /// Calls until those fail that may need a descriptor.
    out_of_files_in: Option<u64>,
    /// In a million calls.
    errors_per_million: u64,
    failing_dirs: Vec<PathBuf>,
    pub(super) last_failed: Option<Call>,
    pub(super) capacity_bytes: Option<u64>,
    /// What lies below is on another device, which has room.
    pub(super) roomy: Option<PathBuf>,
}

impl Faults {
    pub(super) fn count(&self, call: Call) -> u64 {
        self.counts.get(call as usize).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn fail_nth(&mut self, call: Option<Call>, n: u64) {
        self.fail_in.push((call, n));
    }

    pub(super) fn run_out_of_files_at_nth(&mut self, n: u64) {
        self.out_of_files_in = Some(n);
    }

    pub(super) fn set_errors_per_million(&mut self, errors: u64) {
        self.errors_per_million = errors;
    }

    pub(super) fn fail_dir(&mut self, dir: &Path) {
        self.failing_dirs.push(dir.to_owned());
    }

    /// All that was asked for to fail, but for the capacity.
    pub(super) fn heal(&mut self) {
        self.fail_in.clear();
        self.out_of_files_in = None;
        self.failing_dirs.clear();
        self.errors_per_million = 0;
    }

    /// Counts a call and decides whether it fails.
    pub(super) fn check(&mut self, call: Call, path: &Path, rng: &mut Rng) -> io::Result<()> {
        if let Some(count) = self.counts.get_mut(call as usize) {
            *count += 1;
        }
        let mut fails = false;
        self.fail_in.retain_mut(|(of, calls)| {
            if of.is_some_and(|of| of != call) {
                return true;
            }
            *calls = calls.saturating_sub(1);
            fails |= *calls == 0;
            *calls > 0
        });
        fails |= self.errors_per_million > 0 && rng.below(1_000_000) < self.errors_per_million;
        fails |= self.failing_dirs.iter().any(|dir| path.starts_with(dir));
        if fails {
            self.last_failed = Some(call);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if let Some(calls) = self.out_of_files_in.as_mut().filter(|_| call.may_open()) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                return Err(io::Error::from_raw_os_error(EMFILE));
            }
        }
        Ok(())
    }
}
