//! The topic settings that a log acts on, as plain values: the rooms above make one from a topic's settings and hand a
//! new one in when they change.

use ottla_record::{Compression, TimestampType};

/// What `cleanup.policy` asks for; neither is possible too and then only the log start offset deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// Settings of one log. Field names are the topic settings' names; times are milliseconds, sizes bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type` and the codec's level; none is `producer`: batches keep their own.
    pub compression: Option<Compression>,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: u32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub preallocate: bool,
    /// Negative: no bound.
    pub retention_bytes: i64,
    /// Negative: no bound.
    pub retention_ms: i64,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    /// The most that is taken off `segment_ms`, by a share that the log's name and the segment decide.
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        LogConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            compression: None,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            message_timestamp_after_max_ms: 3_600_000,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            preallocate: false,
            retention_bytes: -1,
            retention_ms: 604_800_000,
            segment_bytes: 1_073_741_824,
            segment_index_bytes: 10_485_760,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
        }
    }
}

impl LogConfig {
    /// The age at which a segment is rolled at the latest: a compacted topic's segments must become cleanable within
    /// `max.compaction.lag.ms` (KIP-354).
    pub fn max_segment_ms(&self) -> i64 {
        if self.cleanup_policy.compact {
            self.max_compaction_lag_ms.max(0).min(self.segment_ms)
        } else {
            self.segment_ms
        }
    }
}
