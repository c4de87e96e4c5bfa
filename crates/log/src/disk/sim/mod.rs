//! A file system in memory that loses what was not synced, and fails when told to.
//!
//! It knows for each file and each directory what a process sees and what is on the device. A crash keeps what is on the
//! device and, as a seed decides, some of the rest: writes whole or torn at sectors, in order or not, and a prefix of
//! each directory's new, removed and changed names. Syncing a file doesn't make its name durable: syncing its directory
//! does. A sync that failed is not made good by a later one.
//!
//! What always holds: the same seed and the same calls give the same results. After [`SimDisk::crash`] and
//! [`SimDisk::kill`] the handles of before only fail.

mod content;
mod faults;
mod rng;
mod tree;

pub use content::Loss;
pub use faults::Call;

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::{DirEntry, Disk, DiskFile, Open, Space, is_out_of_files};
use faults::Faults;
use rng::Rng;
use tree::{Kind, NodeId, Tree};

/// Unless a capacity was set.
const CAPACITY_BYTES: u64 = 1 << 40;

/// The file system; clones are the same one.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    faults: Faults,
    rng: Rng,
    /// Counts crashes and kills: handles of earlier lives are dead.
    life: u64,
    meanwhile: Vec<Meanwhile>,
    /// Nothing is in memory.
    is_cold: bool,
}

/// What runs right before a call.
struct Meanwhile {
    call: Call,
    run: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "before {:?}", self.call)
    }
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    node: NodeId,
    life: u64,
    writable: bool,
}

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            tree: Tree::new(),
            faults: Faults::default(),
            rng: Rng::new(seed),
            life: 0,
            meanwhile: Vec::new(),
            is_cold: false,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The machine loses power and starts again.
    pub fn crash(&self, loss: Loss) {
        let State { tree, rng, life, .. } = &mut *self.state.lock();
        *life += 1;
        tree.crash(loss, rng);
    }

    /// The process ends without warning; what it wrote stays in the page cache.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.tree.close_all();
    }

    /// The `n`-th call from now on, of one kind or of any, fails with EIO: 1 is the next one.
    pub fn fail_nth(&self, call: Option<Call>, n: u64) {
        self.state.lock().faults.fail_nth(call, n);
    }

    /// From the `n`-th call on that may need a descriptor these fail with EMFILE: 1 is the next one.
    pub fn run_out_of_files_at_nth(&self, n: u64) {
        self.state.lock().faults.run_out_of_files_at_nth(n);
    }

    /// Runs something right before the next call of a kind: what another thread does at that moment.
    pub fn before_next(&self, call: Call, run: impl FnOnce() + Send + 'static) {
        self.state.lock().meanwhile.push(Meanwhile { call, run: Box::new(run) });
    }

    /// Calls fail with EIO at random.
    pub fn set_errors_per_million(&self, errors: u64) {
        self.state.lock().faults.set_errors_per_million(errors);
    }

    /// All calls for this directory and what is below it fail with EIO.
    pub fn fail_dir(&self, dir: &Path) {
        self.state.lock().faults.fail_dir(dir);
    }

    /// Whether everything has to be waited for that is read.
    pub fn set_cold(&self, is_cold: bool) {
        self.state.lock().is_cold = is_cold;
    }

    /// Files that change from now on are marked with this time.
    pub fn set_now(&self, now: Timestamp) {
        self.state.lock().tree.now = now;
    }

    /// Nothing fails any more, but a full disk stays full.
    pub fn heal(&self) {
        self.state.lock().faults.heal();
    }

    /// Writes beyond this fail with ENOSPC, after writing what fits.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.state.lock().faults.capacity_bytes = bytes;
    }

    /// What lies below a directory always has room, as on another device; all is on one without.
    pub fn set_roomy(&self, dir: Option<&Path>) {
        self.state.lock().faults.roomy = dir.map(Path::to_owned);
    }

    /// What counts against the capacity.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().tree.used_bytes()
    }

    /// Changes each byte of the sector at `position`, as a decaying device does.
    pub fn corrupt_sector(&self, path: &Path, position: u64) -> io::Result<()> {
        let State { tree, rng, .. } = &mut *self.state.lock();
        let node = tree.find(path).ok_or(io::ErrorKind::NotFound)?;
        tree.content_mut(node)?.corrupt(position, rng);
        Ok(())
    }

    /// Calls of one kind so far.
    pub fn calls(&self, call: Call) -> u64 {
        self.state.lock().faults.count(call)
    }

    /// The kind of the call that was made to fail last.
    pub fn last_failed(&self) -> Option<Call> {
        self.state.lock().faults.last_failed
    }

    pub fn total_calls(&self) -> u64 {
        self.state.lock().faults.total()
    }

    /// Where the sectors of a file begin that it had none of when it was synced last: a crash may leave anything there.
    pub fn first_unsynced_sector(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        let node = state.tree.find(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.tree.content(node)?.first_unsynced_sector())
    }

    /// Whether all that was written to a file would survive a crash, its name aside.
    pub fn is_synced(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        let node = state.tree.find(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.tree.content(node)?.is_synced())
    }

    fn call<T>(
        &self,
        call: Call,
        path: &Path,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = lock_for(&self.state, call);
        let State { faults, rng, .. } = &mut *state;
        faults.check(call, path, rng)?;
        run(&mut state)
    }
}

/// Takes the lock for a call, after what was to run before it.
fn lock_for(state: &Mutex<State>, call: Call) -> MutexGuard<'_, State> {
    loop {
        let mut locked = state.lock();
        let Some(at) = locked.meanwhile.iter().position(|meanwhile| meanwhile.call == call) else {
            return locked;
        };
        let meanwhile = locked.meanwhile.remove(at);
        drop(locked);
        (meanwhile.run)();
    }
}

impl State {
    /// Bytes that may be added to a file before the disk is full. Walks the tree if there is a limit.
    fn room(&self, node: NodeId) -> u64 {
        let is_elsewhere = |roomy: &PathBuf| self.tree.path(node).starts_with(roomy);
        match self.faults.capacity_bytes.filter(|_| !self.faults.roomy.as_ref().is_some_and(is_elsewhere)) {
            Some(capacity) => capacity.saturating_sub(self.tree.used_bytes()),
            None => u64::MAX,
        }
    }

    /// Writes as much as there is room for.
    fn write(&mut self, node: NodeId, position: u64, bytes: &[u8]) -> io::Result<()> {
        let len = self.tree.content(node)?.len();
        let growth = (position + bytes.len() as u64).saturating_sub(len);
        let missing = growth.saturating_sub(self.room(node)) as usize;
        let fits = bytes.get(..bytes.len().saturating_sub(missing)).unwrap_or_default();
        self.tree.content_mut(node)?.write(position, fits);
        if missing > 0 { Err(faults::no_space()) } else { Ok(()) }
    }
}

impl SimFile {
    fn call<T>(
        &self,
        call: Call,
        run: impl FnOnce(&mut State, io::Result<()>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = lock_for(&self.state, call);
        if state.life != self.life {
            return Err(io::Error::other("the process that opened the file is gone"));
        }
        let State { tree, faults, rng, .. } = &mut *state;
        match faults.check(call, &tree.path(self.node), rng) {
            // The call did not get as far as the device.
            Err(error) if is_out_of_files(&error) => Err(error),
            checked => run(&mut state, checked),
        }
    }

    fn writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life
            && let Ok(node) = state.tree.node_mut(self.node)
        {
            node.handles -= 1;
        }
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> PathBuf {
        self.state.lock().tree.path(self.node)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.call(Call::Read, |state, checked| {
            checked?;
            Ok(state.tree.content(self.node)?.read(buf, position))
        })
    }

    fn read_at_in_memory(&self, buf: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        if self.state.lock().is_cold {
            return Ok(None);
        }
        self.read_at(buf, position).map(Some)
    }

    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.writable()?;
        self.call(Call::Write, |state, checked| {
            let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            if let Err(error) = checked {
                // A failing device may have written a part.
                let part = state.rng.below(bytes.len() as u64 + 1) as usize;
                state.write(self.node, position, bytes.get(..part).unwrap_or_default())?;
                return Err(error);
            }
            state.write(self.node, position, &bytes)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.call(Call::Len, |state, checked| {
            checked?;
            Ok(state.tree.content(self.node)?.len())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.call(Call::SetLen, |state, checked| {
            checked?;
            let growth = len.saturating_sub(state.tree.content(self.node)?.len());
            if growth > 0 && growth > state.room(self.node) {
                return Err(faults::no_space());
            }
            state.tree.content_mut(self.node)?.set_len(len);
            Ok(())
        })
    }

    fn set_modified(&self, modified: Timestamp) -> io::Result<()> {
        self.call(Call::SetModified, |state, checked| {
            checked?;
            state.tree.node_mut(self.node)?.modified = modified;
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call(Call::Sync, |state, checked| {
            let Kind::File(content) = &mut state.tree.node_mut(self.node)?.kind else {
                return Err(io::ErrorKind::IsADirectory.into());
            };
            match checked {
                Ok(()) => content.sync(),
                Err(_) => content.fail_sync(),
            }
            checked
        })
    }

    fn rename(&self, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, |state, checked| {
            checked?;
            if !state.tree.node(self.node)?.is_linked {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.tree.rename(self.node, to)
        })
    }

    fn descriptor(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        Ok(None)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.call(Call::Open, path, |state| {
            let node = match (state.tree.find(path), how) {
                (Some(node), _) => node,
                (None, Open::Create | Open::Truncate) => state.tree.add_file(path)?,
                (None, Open::Read | Open::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            };
            if how == Open::Truncate {
                state.tree.content_mut(node)?.set_len(0);
            }
            state.tree.content(node)?;
            state.tree.node_mut(node)?.handles += 1;
            let writable = how != Open::Read;
            Ok(Arc::new(SimFile { state: Arc::clone(&self.state), node, life: state.life, writable }) as _)
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(Call::Exists, path, |state| Ok(state.tree.find(path).is_some()))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(Call::ReadDir, path, |state| {
            let mut entries = Vec::new();
            for (name, &node) in &state.tree.names(path)?.current {
                let (is_dir, len) = match &state.tree.node(node)?.kind {
                    Kind::Directory(_) => (true, 0),
                    Kind::File(content) => (false, content.len()),
                };
                let modified = state.tree.node(node)?.modified;
                entries.push(DirEntry { name: name.clone(), is_dir, len, modified });
            }
            Ok(entries)
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(Call::CreateDir, path, |state| state.tree.create_dir_all(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, from, |state| {
            let node = state.tree.find(from).ok_or(io::ErrorKind::NotFound)?;
            state.tree.rename(node, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove, path, |state| {
            if state.tree.find(path).is_some_and(|node| state.tree.content(node).is_err()) {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            state.tree.remove(path)
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove, path, |state| {
            state.tree.names(path)?;
            state.tree.remove(path)
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::SyncDir, path, |state| state.tree.sync_dir(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.call(Call::Space, path, |state| {
            let total_bytes = state.faults.capacity_bytes.unwrap_or(CAPACITY_BYTES);
            Ok(Space { total_bytes, usable_bytes: total_bytes.saturating_sub(state.tree.used_bytes()) })
        })
    }
}

#[cfg(test)]
mod tests;
