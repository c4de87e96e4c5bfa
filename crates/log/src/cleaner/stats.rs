//! What a cleaning read, wrote and left out.

/// Of one cleaning of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CleanerStats {
    /// First pass.
    pub map_bytes_read: u64,
    pub map_records_read: u64,
    /// Memory of the keys' map at its end.
    pub map_bytes: usize,
    /// The share of the memory bound that the keys took.
    pub map_utilization: f64,
    /// Second pass.
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_written: u64,
    /// Records without key, which a compacted topic should not have; they were removed.
    pub invalid_records: u64,
}
