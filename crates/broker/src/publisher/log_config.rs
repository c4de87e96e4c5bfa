//! From a topic's settings to what its logs act on.

use ottla_config::{CompressionType, TimestampType, TopicConfig};
use ottla_log::{CleanupPolicy, LogConfig};
use ottla_record::{Codec, Compression};

/// The part of a topic's settings that its logs need. Sizes that the settings' validation keeps from being negative
/// are taken as they are.
pub fn log_config(topic: &TopicConfig) -> LogConfig {
    let size = |bytes: i32| u32::try_from(bytes).unwrap_or(0);
    LogConfig {
        cleanup_policy: CleanupPolicy {
            delete: topic.cleanup_policy.delete,
            compact: topic.cleanup_policy.compact,
        },
        compression: compression(topic),
        delete_retention_ms: topic.delete_retention_ms,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        index_interval_bytes: size(topic.index_interval_bytes),
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        max_message_bytes: size(topic.max_message_bytes),
        message_timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        message_timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        message_timestamp_type: match topic.message_timestamp_type {
            TimestampType::CreateTime => ottla_record::TimestampType::CreateTime,
            TimestampType::LogAppendTime => ottla_record::TimestampType::LogAppendTime,
        },
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        preallocate: topic.preallocate,
        retention_bytes: topic.retention_bytes,
        retention_ms: topic.retention_ms,
        segment_bytes: size(topic.segment_bytes),
        segment_index_bytes: size(topic.segment_index_bytes),
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_ms: topic.segment_ms,
    }
}

/// None leaves batches as their producers compressed them.
fn compression(topic: &TopicConfig) -> Option<Compression> {
    let leveled = |codec, level| Compression::with_level(codec, level).unwrap_or(Compression::new(codec));
    match topic.compression {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some(Compression::new(Codec::None)),
        CompressionType::Gzip => Some(leveled(Codec::Gzip, topic.compression_gzip_level)),
        CompressionType::Snappy => Some(Compression::new(Codec::Snappy)),
        CompressionType::Lz4 => Some(leveled(Codec::Lz4, topic.compression_lz4_level)),
        CompressionType::Zstd => Some(leveled(Codec::Zstd, topic.compression_zstd_level)),
    }
}
