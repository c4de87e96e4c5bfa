//! Drives replicas that move between log directories, and knows where replicas are wanted that are to come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_config::keys;
use ottla_replica::Moved;
use ottla_types::{MonoMs, Now, TopicPartition};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use crate::node::Node;

/// Where an administrator wants the replicas that are not here yet (KIP-113): tools tell that before the replicas come. It counts
/// for more than what the controller chooses, and for as long as this process lives.
#[derive(Debug, Default)]
pub(crate) struct WantedDirs(Mutex<BTreeMap<TopicPartition, PathBuf>>);

/// `cordoned.log.dirs` that stands for all of them.
const ALL_DIRS: &str = "*";
/// More than there are partitions on a broker.
const WANTED_MAX: usize = 1_000_000;

impl WantedDirs {
    fn add(&self, partition: TopicPartition, dir: PathBuf) {
        let mut wanted = self.0.lock();
        if wanted.len() < WANTED_MAX || wanted.contains_key(&partition) {
            wanted.insert(partition, dir);
        }
    }

    pub fn of(&self, partition: &TopicPartition) -> Option<PathBuf> {
        self.0.lock().get(partition).cloned()
    }

    pub fn forget(&self, partition: &TopicPartition) {
        self.0.lock().remove(partition);
    }
}

impl Node {
    /// Moves the replica of a partition to a log directory, or notes that it is wanted there when it comes.
    pub(crate) fn alter_replica_log_dir(
        self: &Arc<Self>,
        id: &TopicPartition,
        dir: &Path,
        now: Now,
    ) -> Result<(), ErrorCode> {
        if self.replicas.is_offline(&id.topic, id.partition)
            || !self.logs.online_dirs().iter().any(|d| d == dir)
        {
            return Err(ErrorCode::KafkaStorageError);
        }
        let config = self.effective_config();
        let is_cordoned = |name: &String| name == ALL_DIRS || Path::new(name) == dir;
        if config.get(keys::CORDONED_LOG_DIRS).iter().any(is_cordoned) {
            return Err(ErrorCode::InvalidReplicaAssignment);
        }
        let Some(partition) = self.replicas.partition(&id.topic, id.partition) else {
            self.wanted_dirs.add(id.clone(), dir.to_owned());
            return Err(ErrorCode::ReplicaNotAvailable);
        };
        let is_ended = self.replicas.move_to_dir(&partition, dir, self.ids.uuid(), now)?;
        if is_ended && let Some(stays) = self.logs.dir_id(&partition.log().log_dir()) {
            // The controller may have been told otherwise.
            self.directory_assignments.add(partition.topic_id(), id.partition, stays);
            self.tell_directories(now);
        }
        Ok(())
    }

    /// Has the pieces of work done that are due, where they may wait for the disk.
    pub(crate) fn move_replicas(self: &Arc<Self>, now: Now) {
        while let Some(step) = self.replicas.next_move(now.mono) {
            let node = Arc::clone(self);
            (self.hooks.read_later)(Box::new(move || {
                let moved = node.replicas.move_on(step, node.ids.uuid(), now);
                if let Moved::Tell { topic_id, partition, directory } = moved {
                    node.directory_assignments.add(topic_id, partition, directory);
                    // With the next tick.
                    (node.hooks.wake_at)(MonoMs(0));
                }
                (node.hooks.wake_at)(node.replicas.next_move_deadline());
            }));
        }
    }
}
