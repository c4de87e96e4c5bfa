//! The `quorum-state` file: epoch, vote and leader, replaced whole and durably.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::disk::Disk;
use ottla_log::files;
use ottla_raft::{ElectionState, LogError, QuorumStateStore, quorum_state_file};

const QUORUM_STATE: &str = "quorum-state";

const REMEDY: &str =
    "restore it from a copy. The only voter of a quorum may also remove it: it votes for itself again";

/// In the partition's directory.
#[derive(Debug)]
pub struct QuorumStateFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl QuorumStateFile {
    pub fn new(disk: Arc<dyn Disk>, partition_dir: PathBuf) -> QuorumStateFile {
        QuorumStateFile { disk, path: partition_dir.join(QUORUM_STATE) }
    }

    /// An error of the disk, with the file that it befell.
    fn named(&self, error: io::Error) -> LogError {
        let (kind, text) = (error.kind(), format!("{}: {error}", self.path.display()));
        if LogError::from(error).passes() {
            LogError::NotNow(text)
        } else {
            io::Error::new(kind, text).into()
        }
    }
}

impl QuorumStateStore for QuorumStateFile {
    fn read(&self) -> Result<Option<ElectionState>, LogError> {
        let Some(bytes) = files::read(&*self.disk, &self.path).map_err(|error| self.named(error))? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let election = quorum_state_file::decode(&text)
            .map_err(|error| LogError::Corrupt(format!("{}: {error}; {REMEDY}", self.path.display())))?;
        Ok(Some(election))
    }

    fn write(&mut self, election: &ElectionState, kraft_version: i16) -> Result<(), LogError> {
        let text = quorum_state_file::encode(election, kraft_version);
        files::replace(&*self.disk, &self.path, text.as_bytes()).map_err(|error| self.named(error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ottla_log::disk::SimDisk;
    use ottla_log::disk::sim::Call;
    use ottla_types::LeaderEpoch;

    use super::*;

    #[test]
    fn what_fails_is_told_with_the_file() {
        let disk = SimDisk::new(1);
        disk.create_dir_all("/data".as_ref()).unwrap();
        let mut file = QuorumStateFile::new(Arc::new(disk.clone()), "/data".into());
        let election = ElectionState::unknown_leader(LeaderEpoch(0), BTreeSet::new());
        disk.set_capacity_bytes(Some(0));
        let full = file.write(&election, 0).unwrap_err();
        assert!(full.passes() && full.to_string().contains("/data/quorum-state: "), "{full}");
        disk.set_capacity_bytes(None);
        for call in [Call::Open, Call::Sync, Call::Rename] {
            disk.fail_nth(Some(call), 1);
            let failed = file.write(&election, 0).unwrap_err();
            assert!(!failed.passes() && failed.to_string().contains("/data/quorum-state: "), "{failed}");
        }
        file.write(&election, 0).unwrap();
        disk.fail_nth(Some(Call::Open), 1);
        let failed = file.read().unwrap_err();
        assert!(failed.to_string().contains("/data/quorum-state: "), "{failed}");
    }
}
