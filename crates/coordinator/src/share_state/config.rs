/// The settings of the share coordinator, as Kafka names them in `server.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareCoordinatorConfig {
    /// `share.coordinator.write.timeout.ms`
    pub write_timeout_ms: i32,
    /// `share.coordinator.load.buffer.size`, in bytes.
    pub load_buffer_bytes: usize,
    /// `share.coordinator.append.linger.ms`; `None` (-1) batches what waits together and no longer.
    pub append_linger_ms: Option<i32>,
    /// `share.coordinator.snapshot.update.records.per.snapshot`
    pub update_records_per_snapshot: u32,
    /// `share.coordinator.cold.partition.snapshot.interval.ms`
    pub cold_partition_snapshot_interval_ms: i64,
    /// `share.coordinator.state.topic.prune.interval.ms`
    pub prune_interval_ms: i64,
}

impl Default for ShareCoordinatorConfig {
    fn default() -> ShareCoordinatorConfig {
        ShareCoordinatorConfig {
            write_timeout_ms: 5_000,
            load_buffer_bytes: 5 << 20,
            append_linger_ms: None,
            update_records_per_snapshot: 500,
            cold_partition_snapshot_interval_ms: 300_000,
            prune_interval_ms: 300_000,
        }
    }
}
