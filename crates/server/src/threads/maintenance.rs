//! What the logs need from time to time: flushing, checkpoints, retention, removal of what was deleted; and the halting
//! rules for log directories that fail.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_broker::node::Node;
use ottla_log::log_manager::DirFailed;

use super::{Alarm, Fatal, Woken};
use crate::clock::Clock;

/// Works through the schedule of the logs.
pub fn maintenance(alarm: &Alarm, node: &Arc<Node>, metadata_dir: &Path, clock: Clock, fatal: &Fatal) {
    let logs = node.logs();
    loop {
        let failed = logs.tick(clock.now()).failed_dirs;
        if let Some(reason) = must_halt(&failed, metadata_dir, &logs.offline_dirs(), logs.has_online_dir()) {
            fatal.tell(reason);
            return;
        }
        if alarm.sleep_until(&clock, || logs.next_tick()) == Woken::Stop {
            return;
        }
    }
}

/// Kafka's rule: a node goes on without a log directory, but not without that of its metadata, nor without any.
fn must_halt(
    failed: &[DirFailed],
    metadata_dir: &Path,
    offline: &[PathBuf],
    has_online_dir: bool,
) -> Option<String> {
    if failed.iter().any(|failed| failed.dir == metadata_dir) || offline.iter().any(|dir| dir == metadata_dir)
    {
        return Some(format!(
            "the directory of the metadata log, {}, has failed: mend the disk, or start this node again as a new one",
            metadata_dir.display()
        ));
    }
    (!has_online_dir).then(|| "all log directories have failed: mend the disks and start again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_halts_without_its_metadata_or_any_directory() {
        let failed = |dir: &str| DirFailed {
            dir: PathBuf::from(dir),
            dir_id: None,
            partitions: Vec::new(),
            future_partitions: Vec::new(),
        };
        let check = |failed: &[DirFailed], has_online_dir, expected: Option<&str>| {
            let reason = must_halt(failed, Path::new("/m"), &[], has_online_dir);
            assert_eq!(reason.is_some(), expected.is_some());
            assert!(reason.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check(&[], true, None);
        check(&[failed("/a")], true, None);
        check(&[failed("/a"), failed("/m")], true, Some("the metadata log, /m,"));
        check(&[failed("/a")], false, Some("all log directories"));
    }
}
