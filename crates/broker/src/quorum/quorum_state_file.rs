//! The `quorum-state` file: epoch, vote and leader, replaced whole and durably.

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
}

impl QuorumStateStore for QuorumStateFile {
    fn read(&self) -> Result<Option<ElectionState>, LogError> {
        let Some(bytes) = files::read(&*self.disk, &self.path)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let election = quorum_state_file::decode(&text)
            .map_err(|error| LogError::Corrupt(format!("{}: {error}; {REMEDY}", self.path.display())))?;
        Ok(Some(election))
    }

    fn write(&mut self, election: &ElectionState, kraft_version: i16) -> Result<(), LogError> {
        let text = quorum_state_file::encode(election, kraft_version);
        files::replace(&*self.disk, &self.path, text.as_bytes())?;
        Ok(())
    }
}
