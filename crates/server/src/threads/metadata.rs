//! Steps the quorum, the controller on it, and the image that is published from it.

use std::path::Path;
use std::sync::Arc;

use ottla_broker::metadata_driver::{MetadataDriver, MetadataDriverError};
use ottla_broker::quorum::{PARTITION_DIR, dir_failure};
use ottla_metadata::ReplayError;
use ottla_raft::{LogError, RaftDriverError};

use super::log_end::LogEnd;
use super::{Alarm, Fatal, Woken};
use crate::clock::Clock;

/// What is left of the driver when its thread ends; none after a failure.
pub type MetadataThread = super::Worker<Option<MetadataDriver>>;

/// Runs until told to stop, or until the metadata fails, without which no node can go on. `dir` is where its log is.
pub fn metadata(
    alarm: &Arc<Alarm>,
    mut driver: MetadataDriver,
    clock: Clock,
    fatal: &Fatal,
    dir: &Path,
) -> Option<MetadataDriver> {
    let mut end = LogEnd::default();
    loop {
        let now = clock.now();
        if let Some(why) = end.is_cut_off(driver.quorum()) {
            fatal.tell(why);
            return None;
        }
        if let Err(error) = driver.poll(now) {
            let why = end.is_cut_off(driver.quorum());
            fatal.tell(why.unwrap_or_else(|| explain(&error, dir)));
            return None;
        }
        if alarm.sleep_until(&clock, || driver.next_deadline(now)) == Woken::Stop {
            return Some(driver);
        }
    }
}

/// What has failed, where, and what can be done about it.
fn explain(error: &MetadataDriverError, dir: &Path) -> String {
    use MetadataDriverError::{Log, Publish, Quorum, Replay, Undecodable};
    if let Quorum(RaftDriverError::Log(log)) | Log(log) = error
        && let Some(halt) = dir_failure(log)
    {
        // The thread that sees to the directories says the same, if it comes first.
        return halt.to_string();
    }
    let mend = match error {
        // What of the metadata could not be put into effect is not in its log; it says itself where.
        Publish(_) => return error.to_string(),
        Replay { source: ReplayError::UnsupportedFeature { .. }, .. } => {
            ". Start a version that knows this level; nothing has been lost"
        }
        Quorum(RaftDriverError::Log(LogError::Corrupt(_)))
        | Log(LogError::Corrupt(_))
        | Undecodable { .. }
        | Replay { .. } => {
            ". Restore the file from a copy; if it is a snapshot (.checkpoint) and an older one lies beside it, moving it \
             away may be enough"
        }
        // It says itself what is so.
        Quorum(RaftDriverError::Halted(_)) => "",
        Quorum(_) | Log(_) => ". Look at the disk and the rights of the files, then start again",
    };
    format!("{}: {error}{mend}", dir.join(PARTITION_DIR).display())
}

#[cfg(test)]
mod tests {
    use std::io;

    use ottla_log::{AppendError, StorageError};

    use super::*;

    #[test]
    fn a_directory_that_has_failed_is_named_with_what_was_noticed_first() {
        let failed = StorageError::DirFailed {
            dir: "/data".into(),
            doing: "reading partition.metadata",
            source: Arc::new(io::Error::other("/data/t-0/partition.metadata: line 1")),
        };
        let log = || LogError::Engine(Box::new(AppendError::Storage(failed.clone())));
        let said = "the log directory /data, which holds the metadata log, has failed while reading partition.metadata: \
                    /data/t-0/partition.metadata: line 1. Mend that, or its disk, and start again";
        for error in
            [MetadataDriverError::Log(log()), MetadataDriverError::Quorum(RaftDriverError::Log(log()))]
        {
            assert_eq!(explain(&error, Path::new("/data")), said);
        }
        let other = MetadataDriverError::Log(LogError::Io(io::Error::other("EIO")));
        assert!(
            explain(&other, Path::new("/data"))
                .starts_with("/data/__cluster_metadata-0: EIO. Look at the disk")
        );
    }
}
