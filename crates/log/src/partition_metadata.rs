//! The topic id of a partition's directory: `partition.metadata` (KIP-516).

use std::io;
use std::path::PathBuf;

use ottla_types::Uuid;
use thiserror::Error;

use crate::files;
use crate::names;
use crate::partition_dir::PartitionDir;

/// The version that is written. Later ones are read too: they keep these two lines.
const VERSION: i32 = 0;

/// Why the file could not be read or written.
#[derive(Debug, Error)]
pub enum PartitionMetadataError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path}, line {line}: {problem}; write 'version: 0' and 'topic_id: <the topic's id>' as its two \
         lines, or remove the partition's directory if other replicas have it"
    )]
    Corrupt { path: PathBuf, line: usize, problem: String },
}

/// The topic id; none if the file is missing.
pub fn read(dir: &PartitionDir) -> Result<Option<Uuid>, PartitionMetadataError> {
    let path = dir.file(names::PARTITION_METADATA);
    match files::read(&**dir.disk(), &path) {
        Ok(None) => Ok(None),
        Ok(Some(content)) => parse(&content)
            .map(Some)
            .map_err(|(line, problem)| PartitionMetadataError::Corrupt { path, line, problem }),
        Err(source) => Err(PartitionMetadataError::Io { path, source }),
    }
}

/// Writes the file of a log that is made. It is durable with the log's first flush, which syncs the directory: a crash
/// before that may leave it missing, and then there are no records that could be another topic's.
pub fn write_new(dir: &PartitionDir, topic_id: Uuid) -> Result<(), PartitionMetadataError> {
    let path = dir.file(names::PARTITION_METADATA);
    files::put(&**dir.disk(), &path, content(topic_id).as_bytes())
        .map_err(|source| PartitionMetadataError::Io { path, source })
}

/// Replaces the file, durably.
pub fn write(dir: &PartitionDir, topic_id: Uuid) -> Result<(), PartitionMetadataError> {
    let path = dir.file(names::PARTITION_METADATA);
    files::replace(&**dir.disk(), &path, content(topic_id).as_bytes())
        .map_err(|source| PartitionMetadataError::Io { path, source })
}

fn content(topic_id: Uuid) -> String {
    format!("version: {VERSION}\ntopic_id: {topic_id}")
}

fn parse(content: &[u8]) -> Result<Uuid, (usize, String)> {
    let text = std::str::from_utf8(content).map_err(|_| (1, "it is not UTF-8 text".to_owned()))?;
    let mut lines = text.lines();
    let mut value = |line: usize| match lines.next().map(|text| (text, text.split_whitespace())) {
        Some((text, mut words)) => match (words.next(), words.next(), words.next()) {
            (Some(_), Some(value), None) => Ok(value),
            _ => Err((line, format!("'{text}' is not a name and a value"))),
        },
        None => Err((line, "the line is missing".to_owned())),
    };
    let version = value(1)?;
    if !version.parse::<i32>().is_ok_and(|version| version >= VERSION) {
        return Err((1, format!("version '{version}' is unknown")));
    }
    let topic_id: Uuid = value(2)?.parse().map_err(|error| (2, format!("{error}")))?;
    if topic_id.is_zero() { Err((2, "a topic id is never zero".to_owned())) } else { Ok(topic_id) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn written_as_kafka_does() {
        let root = tempfile::tempdir().unwrap();
        let dir = PartitionDir::new(Arc::new(RealDisk::new(4)), root.path());
        assert_eq!(read(&dir).unwrap(), None);
        let id: Uuid = "XyFlbD1KSQqrc_k3uHgFUQ".parse().unwrap();
        write(&dir, id).unwrap();
        let text = std::fs::read_to_string(root.path().join("partition.metadata")).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: XyFlbD1KSQqrc_k3uHgFUQ");
        assert_eq!(read(&dir).unwrap(), Some(id));
    }

    #[test]
    fn what_is_read_and_what_is_refused() {
        let id = "XyFlbD1KSQqrc_k3uHgFUQ";
        assert!(parse(format!("version: 1\ntopic_id: {id}\nmore: 1\n").as_bytes()).is_ok());
        let check = |text: &str, line| assert_eq!(parse(text.as_bytes()).unwrap_err().0, line, "{text}");
        check("", 1);
        check("version: -1\ntopic_id: x", 1);
        check("version:\ntopic_id: x", 1);
        check("version: 0", 2);
        check("version: 0\ntopic_id: x", 2);
        check("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", 2);
    }
}
