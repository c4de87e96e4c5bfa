//! Disks of nodes that can be filled: file systems in memory, where this process may mount such.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const SIZE: &str = "size=1g";
const BALLAST: &str = "ballast";

/// Those that are mounted.
#[derive(Default)]
pub struct Disks(Vec<PathBuf>);

impl Disks {
    /// Whether there is one at this directory now.
    pub fn mount(&mut self, at: &Path) -> bool {
        std::fs::create_dir_all(at).unwrap();
        let mounting = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "ottla-test"]).arg(at).output();
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
        for at in &self.0 {
            // Whoever still has files there keeps them.
            let _ = Command::new("umount").arg("--lazy").arg(at).status();
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
