//! The project's own chores, run as `cargo xtask CHORE`.
//!
//! Each chore is a function that takes the workspace's root and returns what it found wrong, so that
//! the command line and the tests ask the same question.

pub mod docs;
pub mod layers;
pub mod mutants;
pub mod settings;
pub mod verify;

use std::path::{Path, PathBuf};

/// Why a chore could not be carried out at all (as opposed to what it found).
#[derive(Debug, thiserror::Error)]
pub enum ChoreError {
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{command} failed: {stderr}")]
    Command { command: String, stderr: String },
    #[error("cargo metadata answered something else than expected: {0}")]
    Metadata(String),
}

/// The workspace's root: two directories above this crate.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
