//! Disks of nodes that can be filled: file systems in memory, where this process may mount such.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BALLAST: &str = "ballast";
/// What is mounted is named so, and after the process that did it.
const NAME: &str = "ottla-test-";

/// Those that are mounted.
#[derive(Default)]
pub struct Disks(Vec<PathBuf>);

impl Disks {
    /// Whether there is one of this size at this directory now.
    pub fn mount(&mut self, at: &Path, mib: u32) -> bool {
        std::fs::create_dir_all(at).unwrap();
        unmount_what_the_dead_have_left();
        let (size, name) = (format!("size={mib}m"), format!("{NAME}{}", std::process::id()));
        let mounting = Command::new("mount").args(["-t", "tmpfs", "-o", &size, &name]).arg(at).output();
        let is_mounted = mounting.is_ok_and(|ended| ended.status.success());
        if is_mounted {
            self.0.push(at.to_owned());
        }
        is_mounted
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        self.0.iter().for_each(|at| unmount(at));
    }
}

fn unmount(at: &Path) {
    // Whoever still has files there keeps them.
    let _ = Command::new("umount").arg("--lazy").arg(at).status();
}

/// A process that is killed tidies nothing up.
fn unmount_what_the_dead_have_left() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let Some((process, rest)) = line.strip_prefix(NAME).and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let at = rest.split(' ').next().unwrap_or_default();
        if !at.is_empty() && !Path::new("/proc").join(process).exists() {
            unmount(Path::new(at));
        }
    }
}

/// Leaves no room for anything more.
pub fn fill(disk: &Path) {
    let mut ballast = File::create(disk.join(BALLAST)).unwrap();
    for bytes in [1 << 20, 1 << 12, 1] {
        let zeros = vec![0; bytes];
        while ballast.write_all(&zeros).is_ok() {}
    }
}

/// Makes room again.
pub fn relieve(disk: &Path) {
    std::fs::remove_file(disk.join(BALLAST)).unwrap();
}
