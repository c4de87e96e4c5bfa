//! A topic's settings, resolved: its own where it has them, its broker's otherwise.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::key::{FromValue, Key};
use crate::table::{Row, TOPIC, Table, Type, topic_keys as keys};
use crate::validate;
use crate::value::Value;

/// Everything that a partition's log and its replicas need to know of their topic's settings. Times are in
/// milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression: CompressionType,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub follower_replication_throttled_replicas: Vec<String>,
    pub index_interval_bytes: i32,
    pub leader_replication_throttled_replicas: Vec<String>,
    pub local_retention_bytes: i64,
    pub local_retention_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub remote_log_copy_disable: bool,
    pub remote_log_delete_on_disable: bool,
    pub remote_storage_enable: bool,
    /// Of one partition; -1 is no limit.
    pub retention_bytes: i64,
    /// -1 is no limit.
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

/// What happens to old segments (KIP-71): both may happen, and since 4.1 neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub compact: bool,
    pub delete: bool,
}

/// How a broker stores batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Who sets the timestamp of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

impl TopicConfig {
    /// The settings of a topic with `overrides` on a broker with the effective configuration `broker`. Overrides that
    /// aren't known or aren't valid count as not set: they come from the metadata log, where another program may have
    /// put them, and a topic must stay readable all the same.
    pub fn resolve(broker: &Config, overrides: &BTreeMap<String, String>) -> TopicConfig {
        let values = Values { own: own_values(overrides), broker };
        let policy = |word| values.list(keys::CLEANUP_POLICY).iter().any(|entry| entry == word);
        TopicConfig {
            cleanup_policy: CleanupPolicy { compact: policy("compact"), delete: policy("delete") },
            compression: compression_type(&values.string(keys::COMPRESSION_TYPE)),
            compression_gzip_level: values.number(keys::COMPRESSION_GZIP_LEVEL),
            compression_lz4_level: values.number(keys::COMPRESSION_LZ4_LEVEL),
            compression_zstd_level: values.number(keys::COMPRESSION_ZSTD_LEVEL),
            delete_retention_ms: values.number(keys::DELETE_RETENTION_MS),
            file_delete_delay_ms: values.number(keys::FILE_DELETE_DELAY_MS),
            flush_messages: values.number(keys::FLUSH_MESSAGES),
            flush_ms: values.number(keys::FLUSH_MS),
            follower_replication_throttled_replicas: values
                .list(keys::FOLLOWER_REPLICATION_THROTTLED_REPLICAS),
            index_interval_bytes: values.number(keys::INDEX_INTERVAL_BYTES),
            leader_replication_throttled_replicas: values.list(keys::LEADER_REPLICATION_THROTTLED_REPLICAS),
            local_retention_bytes: values.number(keys::LOCAL_RETENTION_BYTES),
            local_retention_ms: values.number(keys::LOCAL_RETENTION_MS),
            max_compaction_lag_ms: values.number(keys::MAX_COMPACTION_LAG_MS),
            max_message_bytes: values.number(keys::MAX_MESSAGE_BYTES),
            message_timestamp_after_max_ms: values.number(keys::MESSAGE_TIMESTAMP_AFTER_MAX_MS),
            message_timestamp_before_max_ms: values.number(keys::MESSAGE_TIMESTAMP_BEFORE_MAX_MS),
            message_timestamp_type: match values.string(keys::MESSAGE_TIMESTAMP_TYPE).as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: values.number(keys::MIN_CLEANABLE_DIRTY_RATIO),
            min_compaction_lag_ms: values.number(keys::MIN_COMPACTION_LAG_MS),
            min_insync_replicas: values.number(keys::MIN_INSYNC_REPLICAS),
            preallocate: values.number(keys::PREALLOCATE),
            remote_log_copy_disable: values.number(keys::REMOTE_LOG_COPY_DISABLE),
            remote_log_delete_on_disable: values.number(keys::REMOTE_LOG_DELETE_ON_DISABLE),
            remote_storage_enable: values.number(keys::REMOTE_STORAGE_ENABLE),
            retention_bytes: values.number(keys::RETENTION_BYTES),
            retention_ms: values.number(keys::RETENTION_MS),
            segment_bytes: values
                .read(keys::INTERNAL_SEGMENT_BYTES, |bytes| bytes)
                .unwrap_or_else(|| values.number(keys::SEGMENT_BYTES)),
            segment_index_bytes: values.number(keys::SEGMENT_INDEX_BYTES),
            segment_jitter_ms: values.number(keys::SEGMENT_JITTER_MS),
            segment_ms: values.number(keys::SEGMENT_MS),
            unclean_leader_election_enable: values.number(keys::UNCLEAN_LEADER_ELECTION_ENABLE),
        }
    }
}

/// The value that a broker's configuration gives to a topic (or group) key: that of the first of the key's synonyms that
/// isn't null, in the key's own unit, or else the key's default. `None` is null.
pub fn broker_default(broker: &Config, row: &Row) -> Option<Value> {
    let from_broker = row.synonyms.iter().find_map(|synonym| {
        let value = broker.value(Table::Broker.find(synonym.name)?)?;
        Some(match (row.kind, value.as_i64()) {
            (Type::Long, Some(number)) => Value::Long(number.saturating_mul(synonym.factor)),
            _ => value.clone(),
        })
    });
    match from_broker {
        // "No limit" may be said with any negative number of any unit.
        Some(Value::Long(ms)) if ms < 0 && row.name == keys::RETENTION_MS.name() => Some(Value::Long(-1)),
        Some(value) => Some(value),
        None => row.default_value(),
    }
}

fn own_values(overrides: &BTreeMap<String, String>) -> Vec<Option<Value>> {
    let own = |row: &Row| overrides.get(row.name).and_then(|text| validate::parse(row, text).ok());
    TOPIC.iter().map(own).collect()
}

fn compression_type(name: &str) -> CompressionType {
    match name {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

struct Values<'a> {
    /// By row.
    own: Vec<Option<Value>>,
    broker: &'a Config,
}

impl Values<'_> {
    fn read<T: FromValue, R>(&self, key: Key<T>, read: impl FnOnce(T::Out<'_>) -> R) -> R {
        let own = self.own.get(key.row().index).cloned().flatten();
        let value = own.or_else(|| broker_default(self.broker, key.row()));
        match T::from_value(value.as_ref()) {
            Some(value) => read(value),
            None => unreachable!("{} and its synonyms have the type that their tables give them", key.name()),
        }
    }

    fn number<T: for<'a> FromValue<Out<'a> = T>>(&self, key: Key<T>) -> T {
        self.read(key, |value| value)
    }

    fn string(&self, key: Key<String>) -> String {
        self.read(key, str::to_owned)
    }

    fn list(&self, key: Key<Vec<String>>) -> Vec<String> {
        self.read(key, <[String]>::to_vec)
    }
}

#[cfg(test)]
mod tests;
