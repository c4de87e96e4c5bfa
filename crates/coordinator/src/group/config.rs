use super::consumer::ConsumerGroupConfig;
use super::share::ShareGroupConfig;

/// The settings of the group coordinator, as Kafka names them in `server.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCoordinatorConfig {
    /// `offsets.commit.timeout.ms`: how long any write waits for its commit.
    pub offsets_commit_timeout_ms: i32,
    /// `offsets.load.buffer.size`, in bytes.
    pub offsets_load_buffer_size: usize,
    /// `offset.metadata.max.bytes`, compared with the length in UTF-16 units as Kafka does.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// `group.coordinator.append.linger.ms`; `None` (-1) batches what waits together and no longer.
    pub append_linger_ms: Option<i32>,
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub group_max_size: usize,
    pub consumer: ConsumerGroupConfig,
    pub share: ShareGroupConfig,
}

impl Default for GroupCoordinatorConfig {
    fn default() -> GroupCoordinatorConfig {
        GroupCoordinatorConfig {
            offsets_commit_timeout_ms: 5_000,
            offsets_load_buffer_size: 5 << 20,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_interval_ms: 600_000,
            append_linger_ms: None,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: i32::MAX as usize,
            consumer: ConsumerGroupConfig::default(),
            share: ShareGroupConfig::default(),
        }
    }
}
