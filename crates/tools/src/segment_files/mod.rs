//! Files of a log as tools name them, and the batches in them.

mod reader;

use std::path::{Path, PathBuf};

use crate::tool::{Failure, said};
pub(crate) use reader::SegmentReader;

/// A file that was named.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// As Java shows its path: without doubled and trailing slashes.
    pub(crate) shown: String,
}

impl File {
    pub(crate) fn named(name: &str) -> File {
        let mut shown = String::new();
        for c in name.chars() {
            if c != '/' || !shown.ends_with('/') {
                shown.push(c);
            }
        }
        if shown.len() > 1 && shown.ends_with('/') {
            shown.pop();
        }
        File { path: PathBuf::from(&shown), shown }
    }

    pub(crate) fn name(&self) -> &str {
        self.shown.rsplit('/').next().unwrap_or_default()
    }

    /// From the last dot on.
    pub(crate) fn suffix(&self) -> &str {
        let name = self.name();
        name.rfind('.').and_then(|at| name.get(at..)).unwrap_or_default()
    }

    /// What is in front of the first dot.
    pub(crate) fn stem(&self) -> &str {
        self.name().split('.').next().unwrap_or_default()
    }

    pub(crate) fn base_offset(&self) -> Result<i64, Failure> {
        let stem = self.stem();
        stem.parse().map_err(|_| said(format_args!("{}: {stem} in the name is no offset", self.shown)))
    }

    /// The file of the same segment with another suffix.
    pub(crate) fn beside(&self, suffix: &str) -> File {
        let name = format!("{}{suffix}", self.stem());
        let path = self.path.parent().unwrap_or(Path::new("")).join(name);
        File { shown: path.display().to_string(), path }
    }

    pub(crate) fn absolute(&self) -> String {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()).display().to_string()
    }

    pub(crate) fn unreadable(&self, error: impl std::fmt::Display) -> Failure {
        said(format_args!("{}: {error}", self.shown))
    }
}
