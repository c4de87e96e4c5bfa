use ottla_types::{LeaderEpoch, Offset, Timestamp};

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogAppendInfo {
    /// Of the first record; [`Offset::UNKNOWN`] when a replicated batch of an old format does not say it.
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// Of the last batch.
    pub last_leader_epoch: LeaderEpoch,
    /// The largest timestamp in the records.
    pub max_timestamp: Timestamp,
    /// The broker's time that the records were given; [`Timestamp::NONE`] when they keep their own.
    pub log_append_time: Timestamp,
    pub log_start_offset: Offset,
    /// Bytes of complete batches that were taken from what was handed in. Zero: nothing was appended.
    pub valid_bytes: u32,
    /// The records were in the log already (a retry): the offsets are those that they were given then.
    pub is_duplicate: bool,
}

impl LogAppendInfo {
    /// Records in the append, which a replicated batch may have lost to compaction.
    pub fn offsets(&self) -> i64 {
        if self.first_offset >= Offset::ZERO && self.last_offset >= self.first_offset {
            self.last_offset - self.first_offset + 1
        } else {
            0
        }
    }
}
