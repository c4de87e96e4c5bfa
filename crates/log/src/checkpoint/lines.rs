//! The frame that all checkpoints share.

use std::fmt::{Display, Write};
use std::path::Path;

use super::CheckpointError;
use crate::disk::Disk;
use crate::files;

const VERSION: i32 = 0;

/// Reads all entries; `parse` yields none for a line that is no entry. `remedy` ends the message of an error.
pub(super) fn read<T>(
    disk: &dyn Disk,
    path: &Path,
    remedy: &'static str,
    parse: impl Fn(&[&str]) -> Option<T>,
) -> Result<Vec<T>, CheckpointError> {
    let corrupt = |line, problem| CheckpointError::Corrupt { path: path.to_owned(), line, problem, remedy };
    let content = files::read(disk, path)
        .map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?
        .unwrap_or_default();
    let text = String::from_utf8(content).map_err(|_| corrupt(1, "it is not UTF-8 text".to_owned()))?;
    let mut lines = text.lines();
    let mut head = |line, what: &str| -> Result<Option<i64>, CheckpointError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| corrupt(line, format!("'{}' is not {what}", shortened(text))))
        };
        lines.next().map(parse).transpose()
    };
    let Some(version) = head(1, "a version number")? else { return Ok(Vec::new()) };
    if version != i64::from(VERSION) {
        return Err(corrupt(1, format!("version {version} is unknown, {VERSION} was expected")));
    }
    let Some(expected) = head(2, "a number of entries")? else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for (i, line) in lines.enumerate() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let entry =
            parse(&fields).ok_or_else(|| corrupt(i + 3, format!("'{}' is not an entry", shortened(line))))?;
        entries.push(entry);
    }
    if i64::try_from(entries.len()) != Ok(expected) {
        return Err(corrupt(2, format!("{expected} entries are announced, {} are there", entries.len())));
    }
    Ok(entries)
}

/// Replaces the file atomically and durably.
pub(super) fn write<T: Display>(
    disk: &dyn Disk,
    path: &Path,
    entries: impl ExactSizeIterator<Item = T>,
) -> Result<(), CheckpointError> {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{entry}");
    }
    files::replace(disk, path, text.as_bytes())
        .map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

/// Enough of a line to find it.
fn shortened(line: &str) -> &str {
    line.char_indices().nth(80).and_then(|(end, _)| line.get(..end)).unwrap_or(line)
}
