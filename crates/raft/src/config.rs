//! The quorum's settings, and the one source of randomness.

/// Settings `controller.quorum.*`; all times are milliseconds.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// Checked against requests that carry one.
    pub cluster_id: String,
    /// The listener on which controllers reach one another (the first of `controller.listener.names`).
    pub controller_listener: String,
    /// `controller.quorum.election.timeout.ms`; the timeout is this up to twice this, by chance.
    pub election_timeout_ms: i64,
    /// `controller.quorum.election.backoff.max.ms`.
    pub election_backoff_max_ms: i64,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout_ms: i64,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: i64,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff_ms: i64,
    /// `controller.quorum.append.linger.ms`.
    pub append_linger_ms: i64,
    /// `controller.quorum.fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `controller.quorum.fetch.snapshot.max.bytes`.
    pub fetch_snapshot_max_bytes: i32,
    /// Longest time that a leader holds a fetch without new data.
    pub fetch_max_wait_ms: i32,
    /// `controller.quorum.auto.join.enable`: a controller that is no voter adds itself to them.
    pub auto_join: bool,
    /// Upper bound of one batch of appended records, in bytes of their values.
    pub max_batch_size_bytes: usize,
    /// Upper bound of what waits for being appended, in bytes; further appends are refused.
    pub max_pending_bytes: usize,
}

impl Default for RaftConfig {
    fn default() -> RaftConfig {
        RaftConfig {
            cluster_id: String::new(),
            controller_listener: "CONTROLLER".to_owned(),
            election_timeout_ms: 1000,
            election_backoff_max_ms: 1000,
            fetch_timeout_ms: 2000,
            request_timeout_ms: 2000,
            retry_backoff_ms: 20,
            append_linger_ms: 25,
            fetch_max_bytes: 8 * 1024 * 1024,
            fetch_snapshot_max_bytes: 8 * 1024 * 1024,
            fetch_max_wait_ms: 500,
            auto_join: false,
            max_batch_size_bytes: 8 * 1024 * 1024,
            max_pending_bytes: 80 * 1024 * 1024,
        }
    }
}

/// A small generator (SplitMix64) for election jitter: equal seeds give equal runs.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// Uniform enough in `0..bound`; zero when `bound` is not positive.
    pub(crate) fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if bound <= 0 { 0 } else { (z % bound as u64) as i64 }
    }
}
