//! The mark of a clean stop, one in each log directory: `.kafka_cleanshutdown`.
//!
//! Where it is found, the logs need no recovery. It also holds the broker epoch at the stop, which the next
//! registration tells the controller (KIP-966). It is removed before anything is written again.

use std::io;
use std::path::Path;

use ottla_types::BrokerEpoch;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::files;
use crate::index::ignore_missing;
use crate::names;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    version: i32,
    broker_epoch: i64,
}

/// What a clean stop left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// None if the file says nothing that can be read, as those of earlier versions: the stop was clean all the same.
    pub broker_epoch: Option<BrokerEpoch>,
}

/// None if the last stop was not clean.
pub fn read(disk: &dyn Disk, log_dir: &Path) -> io::Result<Option<CleanShutdown>> {
    let content = files::read(disk, &log_dir.join(names::CLEAN_SHUTDOWN))?;
    Ok(content.map(|content| {
        let parsed = serde_json::from_slice::<Content>(&content);
        CleanShutdown { broker_epoch: parsed.ok().map(|content| BrokerEpoch(content.broker_epoch)) }
    }))
}

/// Marks a clean stop, durably: the last thing that is written.
pub fn write(disk: &dyn Disk, log_dir: &Path, broker_epoch: BrokerEpoch) -> io::Result<()> {
    let content = serde_json::to_vec(&Content { version: 0, broker_epoch: broker_epoch.0 })?;
    files::replace(disk, &log_dir.join(names::CLEAN_SHUTDOWN), &content)
}

/// Removes the mark, durably: a crash from now on is seen.
pub fn remove(disk: &dyn Disk, log_dir: &Path) -> io::Result<()> {
    ignore_missing(disk.remove_file(&log_dir.join(names::CLEAN_SHUTDOWN)))?;
    disk.sync_dir(log_dir)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::disk::sim::Loss;
    use crate::disk::{Open, SimDisk};

    #[test]
    fn written_and_removed_durably() {
        let disk = SimDisk::new(1);
        let dir = Path::new("/");
        assert_eq!(read(&disk, dir).unwrap(), None);
        write(&disk, dir, BrokerEpoch(12)).unwrap();
        disk.crash(Loss::Everything);
        assert_eq!(read(&disk, dir).unwrap(), Some(CleanShutdown { broker_epoch: Some(BrokerEpoch(12)) }));
        let bytes = files::read(&disk, Path::new("/.kafka_cleanshutdown")).unwrap().unwrap();
        assert_eq!(bytes, br#"{"version":0,"brokerEpoch":12}"#);
        remove(&disk, dir).unwrap();
        remove(&disk, dir).unwrap();
        disk.crash(Loss::Everything);
        assert_eq!(read(&disk, dir).unwrap(), None);
    }

    #[test]
    fn other_contents_still_mean_a_clean_stop() {
        let check = |content: &[u8], broker_epoch: Option<i64>| {
            let disk = SimDisk::new(1);
            let file = disk.open(Path::new("/.kafka_cleanshutdown"), Open::Create).unwrap();
            file.write_all_at(&[IoSlice::new(content)], 0).unwrap();
            let expected = CleanShutdown { broker_epoch: broker_epoch.map(BrokerEpoch) };
            assert_eq!(read(&disk, Path::new("/")).unwrap(), Some(expected));
        };
        check(b"", None);
        check(b"{}", None);
        check(br#"{"version":9,"brokerEpoch":3,"more":true}"#, Some(3));
    }
}
