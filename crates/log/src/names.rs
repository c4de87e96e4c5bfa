//! Names of files and directories in a log directory.

use std::fmt;

pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";
pub const META_PROPERTIES: &str = "meta.properties";
pub const LOCK: &str = ".lock";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

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
