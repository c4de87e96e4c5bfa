//! Names of files and directories in a log directory.

use std::fmt;

use ottla_types::{TopicPartition, Uuid};
use thiserror::Error;

pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";
pub const META_PROPERTIES: &str = "meta.properties";
pub const LOCK: &str = ".lock";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// A directory in the log directory that is not a partition's: Kafka's cache of indexes of remote segments.
pub const REMOTE_LOG_INDEX_CACHE: &str = "remote-log-index-cache";

/// What a file that belongs to an offset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TxnIndex,
    ProducerSnapshot,
}

impl FileKind {
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
        FileKind::ProducerSnapshot,
    ];

    /// With the dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::OffsetIndex => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Where a segment's file stands between being made and being removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileState {
    /// It is part of the log.
    #[default]
    Live,
    /// The cleaner is writing it. After a crash it is worthless.
    Cleaned,
    /// It is complete and about to replace live segments. After a crash that is finished.
    Swap,
    /// It is no part of the log any more and will be removed.
    Deleted,
}

impl FileState {
    pub const ALL: [FileState; 4] =
        [FileState::Live, FileState::Cleaned, FileState::Swap, FileState::Deleted];

    /// With the dot; empty for a live file.
    pub const fn suffix(self) -> &'static str {
        match self {
            FileState::Live => "",
            FileState::Cleaned => ".cleaned",
            FileState::Swap => ".swap",
            FileState::Deleted => ".deleted",
        }
    }
}

/// The name of a file that belongs to an offset: 20 digits, kind, state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentFile {
    pub base_offset: i64,
    pub kind: FileKind,
    pub state: FileState,
}

impl SegmentFile {
    /// None for all other names.
    pub fn parse(name: &str) -> Option<SegmentFile> {
        let (rest, state) = FileState::ALL
            .into_iter()
            .rev()
            .find_map(|state| Some((name.strip_suffix(state.suffix())?, state)))?;
        let (digits, kind) =
            FileKind::ALL.into_iter().find_map(|kind| Some((rest.strip_suffix(kind.suffix())?, kind)))?;
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        Some(SegmentFile { base_offset: digits.parse().ok()?, kind, state })
    }
}

impl fmt::Display for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}{}{}", self.base_offset, self.kind.suffix(), self.state.suffix())
    }
}

const UNFLUSHED_END: &str = ".unflushed";

/// Of the empty file that says that what is in front of a segment was not on disk when the segment was made.
pub fn unflushed_end(base_offset: i64) -> String {
    format!("{base_offset:020}{UNFLUSHED_END}")
}

/// The base offset in such a name; none for all other names.
pub fn parse_unflushed_end(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(UNFLUSHED_END)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Longer names of directories are refused by file systems.
const DIR_NAME_BYTES_MAX: usize = 255;

/// What the directory of a partition is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DirState {
    /// It holds the partition's log.
    #[default]
    Live,
    /// It was deleted and its files will be removed.
    Delete,
    /// A replica that moves here from another log directory of the same broker (KIP-113).
    Future,
    /// It holds a log that the broker should not have according to the metadata; kept for a human to decide.
    Stray,
}

impl DirState {
    const MARKED: [DirState; 3] = [DirState::Delete, DirState::Future, DirState::Stray];

    /// With the dash; empty for a live directory.
    pub const fn suffix(self) -> &'static str {
        match self {
            DirState::Live => "",
            DirState::Delete => "-delete",
            DirState::Future => "-future",
            DirState::Stray => "-stray",
        }
    }
}

/// A partition and what its directory is for, as the directory's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDirName {
    pub partition: TopicPartition,
    pub state: DirState,
}

/// Why the name of a directory names no partition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "'{name}' is not the name of a partition's directory (topic-partition, or topic-partition.id-delete, -future or \
     -stray): move it out of the log directory if it is not Kafka's"
)]
pub struct PartitionDirNameError {
    name: String,
}

impl PartitionDirName {
    pub fn parse(name: &str) -> Result<PartitionDirName, PartitionDirNameError> {
        parse_dir(name).ok_or_else(|| PartitionDirNameError { name: name.to_owned() })
    }
}

fn parse_dir(name: &str) -> Option<PartitionDirName> {
    let marked = DirState::MARKED.into_iter().find(|state| name.ends_with(state.suffix()));
    let live = match marked {
        Some(state) => without_mark(name, state)?,
        None => name,
    };
    let (topic, partition) = live.rsplit_once('-')?;
    let partition = partition.parse().ok()?;
    if topic.is_empty() {
        return None;
    }
    let partition = TopicPartition::new(topic, partition);
    Some(PartitionDirName { partition, state: marked.unwrap_or_default() })
}

/// `topic-partition` of `topic-partition.id-mark`; none of the parts is empty or has white space.
fn without_mark(name: &str, state: DirState) -> Option<&str> {
    let (live, id) = name.strip_suffix(state.suffix())?.rsplit_once('.')?;
    let (topic, partition) = live.split_once('-')?;
    let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    [topic, partition, id].into_iter().all(is_part).then_some(live)
}

/// The name of a partition's live directory.
pub fn dir_name(partition: &TopicPartition) -> String {
    partition.to_string()
}

/// The name that a partition's directory gets in another state. `unique` (random) tells directories of one partition
/// apart. A long topic's name is cut, except in a future directory, whose name must tell the partition.
pub fn marked_dir_name(partition: &TopicPartition, state: DirState, unique: Uuid) -> String {
    let id = u128::from_be_bytes(unique.0);
    let suffix = format!("-{}.{id:032x}{}", partition.partition, state.suffix());
    let topic = match state {
        DirState::Live => return dir_name(partition),
        DirState::Future => &*partition.topic,
        DirState::Delete | DirState::Stray => {
            let room = DIR_NAME_BYTES_MAX.saturating_sub(suffix.len()).min(partition.topic.len());
            partition.topic.get(..room).unwrap_or(&partition.topic)
        }
    };
    format!("{topic}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let check = |name: &str, base_offset, kind, state| {
            let file = SegmentFile { base_offset, kind, state };
            assert_eq!(SegmentFile::parse(name), Some(file), "{name}");
            assert_eq!(file.to_string(), name);
        };
        check("00000000000000000000.log", 0, FileKind::Log, FileState::Live);
        check("00000000000000012345.index", 12345, FileKind::OffsetIndex, FileState::Live);
        check("00000000000000012345.timeindex.swap", 12345, FileKind::TimeIndex, FileState::Swap);
        check("00000000000000012345.txnindex.cleaned", 12345, FileKind::TxnIndex, FileState::Cleaned);
        check(
            "09223372036854775807.snapshot.deleted",
            i64::MAX,
            FileKind::ProducerSnapshot,
            FileState::Deleted,
        );
        for name in
            ["leader-epoch-checkpoint", ".log", "x.log", "99999999999999999999.log", "1.logs", "+1.log", ""]
        {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn directories() {
        let check = |name: &str, topic: &str, partition, state| {
            let expected = PartitionDirName { partition: TopicPartition::new(topic, partition), state };
            assert_eq!(PartitionDirName::parse(name), Ok(expected), "{name}");
        };
        check("t-0", "t", 0, DirState::Live);
        check("a-b.c_d-12", "a-b.c_d", 12, DirState::Live);
        check("a.b-3.0123abc-delete", "a.b", 3, DirState::Delete);
        check("t-1.0123abc-future", "t", 1, DirState::Future);
        check("t-1.0123abc-stray", "t", 1, DirState::Stray);
        check("x-delete-1", "x-delete", 1, DirState::Live);
        for name in [
            "",
            "t",
            "-0",
            "t-",
            "t-x",
            "t-0-delete",
            "t-0.-delete",
            "t.x-delete",
            "t-.x-delete",
            "a b-0.x-stray",
        ] {
            assert!(PartitionDirName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn marked_directories_fit_and_parse_again() {
        let unique = Uuid([0xab; 16]);
        let short = TopicPartition::new("t", 7);
        assert_eq!(
            marked_dir_name(&short, DirState::Delete, unique),
            "t-7.abababababababababababababababab-delete"
        );
        let long = TopicPartition::new("x".repeat(249), 7);
        for state in DirState::MARKED {
            let parsed = PartitionDirName::parse(&marked_dir_name(&short, state, unique)).unwrap();
            assert_eq!((parsed.partition, parsed.state), (short.clone(), state));
            let name = marked_dir_name(&long, state, unique);
            assert_eq!(PartitionDirName::parse(&name).unwrap().state, state);
            assert_eq!(name.len() > 255, state == DirState::Future);
        }
    }
}
