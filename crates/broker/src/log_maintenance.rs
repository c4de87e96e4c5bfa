//! What has to be done with the logs from time to time, by threads that may wait for the disk: flushing, checkpoints,
//! retention and deletion by one, compaction by as many as `log.cleaner.threads` says.
//!
//! A log directory that fails goes offline with its partitions and nothing else; the controller hears of it with the
//! next heartbeat and has others lead. A node ends without its metadata directory, without any log directory, and if the
//! controller can't be told in time, of a failed directory or of this broker at all.

use std::path::{Path, PathBuf};

use ottla_log::cleaner::CleanerWorker;
use ottla_log::log_manager::DirFailed;
use ottla_replica::{Brokers, Partition};
use ottla_types::{BrokerEpoch, MonoMs, Now, Uuid};
use thiserror::Error;

use crate::metadata_driver::{MetadataDriver, MetadataDriverError};
use crate::node::Node;

/// Why a node may not go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Halt {
    #[error(
        "the log directory {}, which holds the metadata log, has failed while {why}. Mend that, or its disk, and start again",
        dir.display()
    )]
    MetadataDirFailed { dir: PathBuf, why: String },
    #[error(
        "all log directories have failed, the last while {why}. Mend that, or their disks, and start again"
    )]
    NoDirLeft { why: String },
    /// `log.dir.failure.timeout.ms` is over. Partitions that this node can't serve would stay with it.
    #[error("the controller could not be told in time that log directory {dir_id} has failed")]
    DirFailureNotTold { dir_id: Uuid },
    /// `initial.broker.registration.timeout.ms` is over.
    #[error(
        "no controller has taken this broker's registration in time: start the controllers, or look at their log for why \
         they refuse it"
    )]
    NotRegistered,
}

impl Node {
    /// Does what is due with the logs. It waits for the disk. After an error the process has to end, without a clean stop.
    pub fn maintain(&self, now: Now) -> Result<(), Halt> {
        let failed = self.logs.tick(now).failed_dirs;
        for dir in &failed {
            self.dir_failed(dir, now);
        }
        self.may_go_on(&failed, now)
    }

    /// When to [`Node::maintain`] next. The hook `maintain_at` tells of what is due earlier.
    pub fn next_maintenance(&self) -> MonoMs {
        let lifecycle = self.lifecycle.lock();
        self.logs.next_tick().min(lifecycle.dir_failure_deadline()).min(lifecycle.registration_deadline())
    }

    pub(crate) fn dir_failed(&self, failed: &DirFailed, now: Now) {
        for partition in &failed.partitions {
            // By now its replica may be in another directory: moved there, or made anew with its topic.
            let here = self.replicas.partition(&partition.topic, partition.partition);
            if here.is_some_and(|here| here.log().log_dir() != failed.dir) {
                continue;
            }
            let taken = self.replicas.take_offline(partition, now);
            if let (Some(taken), Some(id)) = (taken, failed.dir_id) {
                self.tell_that_it_stayed(&taken, id);
            }
        }
        if let Some(id) = failed.dir_id {
            self.lifecycle.lock().dir_failed(id, now);
            (self.hooks.wake_at)(now.mono);
        }
    }

    /// A replica that was about to move to another directory may not have all there that was in the one that failed, and may be
    /// believed to be there already: the controller is to count it among those that are lost, lest it lead.
    fn tell_that_it_stayed(&self, partition: &Partition, failed: Uuid) {
        let (topic, id) = (partition.topic_id(), partition.topic_partition());
        let known = self.metadata.directory(self.identity.node_id, topic, id.partition);
        // What is on its way to the controller may say otherwise.
        if known.is_some_and(|known| known != failed) || self.logs.future_log(id).is_some() {
            self.directory_assignments.add(topic, id.partition, failed);
        }
    }

    fn may_go_on(&self, failed: &[DirFailed], now: Now) -> Result<(), Halt> {
        let metadata_dir = Path::new(self.config.metadata_log_dir());
        let has_failed = failed.iter().any(|failed| failed.dir == metadata_dir)
            || self.logs.offline_dirs().iter().any(|dir| dir == metadata_dir);
        let why =
            |failed: Option<&DirFailed>| failed.map_or_else(|| "it was in use".to_owned(), |f| f.why.clone());
        if has_failed {
            let why = why(failed.iter().find(|failed| failed.dir == metadata_dir));
            return Err(Halt::MetadataDirFailed { dir: metadata_dir.to_owned(), why });
        }
        if !self.logs.has_online_dir() {
            return Err(Halt::NoDirLeft { why: why(failed.last()) });
        }
        let lifecycle = self.lifecycle.lock();
        if lifecycle.registration_deadline() <= now.mono {
            return Err(Halt::NotRegistered);
        }
        match lifecycle.dir_failure_not_told(now) {
            Some(dir_id) => Err(Halt::DirFailureNotTold { dir_id }),
            None => Ok(()),
        }
    }

    /// What comes last, when nothing works on the node any more: flushes and closes all logs and leaves the mark of a clean
    /// stop, then closes the metadata log, which says of whom they are. Returns the directories in which that failed.
    pub fn close(
        &self,
        driver: Option<MetadataDriver>,
        now: Now,
    ) -> Result<Vec<PathBuf>, MetadataDriverError> {
        let epoch = self.broker_epoch().unwrap_or(BrokerEpoch::NONE);
        let failed = self.logs.shutdown(epoch, now).failed_dirs;
        driver.map_or(Ok(()), |driver| driver.close(now))?;
        Ok(failed.into_iter().map(|failed| failed.dir).collect())
    }

    /// How many threads are to compact logs now; it changes with the configuration.
    pub fn cleaner_threads(&self) -> usize {
        self.logs.cleaner_settings().workers()
    }

    /// What one cleaner thread keeps between [`Node::clean_step`]s.
    pub fn cleaner_worker(&self) -> CleanerWorker {
        CleanerWorker::new((self.ids.next_u64(), self.ids.next_u64()))
    }

    /// Does the next piece of a cleaner thread's work; returns the milliseconds to wait before the next one.
    pub fn clean_step(&self, worker: &mut CleanerWorker, now: Now) -> u64 {
        self.logs.clean_step(worker, now)
    }

    /// A cleaner thread ends; what it has begun is given up.
    pub fn stop_cleaning(&self, worker: CleanerWorker) {
        self.logs.stop_cleaning(worker);
    }
}
