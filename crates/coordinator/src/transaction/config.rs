use std::sync::atomic::{AtomicI16, Ordering};

/// The settings of the transaction coordinator, as Kafka names them in `server.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionCoordinatorConfig {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: how long an id is kept after its last use.
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_timed_out_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub remove_expired_interval_ms: i64,
    /// `transaction.state.log.load.buffer.size`, in bytes.
    pub load_buffer_bytes: usize,
    /// `transaction.two.phase.commit.enable`: a transaction may be without a timeout (KIP-939).
    pub two_phase_commit: bool,
    /// `request.timeout.ms`: how long a write waits for its commit.
    pub write_timeout_ms: i32,
}

impl Default for TransactionCoordinatorConfig {
    fn default() -> TransactionCoordinatorConfig {
        TransactionCoordinatorConfig {
            max_timeout_ms: 900_000,
            id_expiration_ms: 7 * 24 * 3_600_000,
            abort_timed_out_interval_ms: 10_000,
            remove_expired_interval_ms: 3_600_000,
            load_buffer_bytes: 5 << 20,
            two_phase_commit: false,
            write_timeout_ms: 30_000,
        }
    }
}

/// What a shard goes by: the settings, and the finalized level of the feature `transaction.version`, which may change.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub config: TransactionCoordinatorConfig,
    level: AtomicI16,
}

impl Rules {
    pub fn new(config: TransactionCoordinatorConfig) -> Rules {
        Rules { config, level: AtomicI16::new(0) }
    }

    /// The transaction version that the coordinator uses where it acts by itself.
    pub fn level(&self) -> i16 {
        self.level.load(Ordering::Acquire)
    }

    pub fn set_level(&self, level: i16) {
        self.level.store(level, Ordering::Release);
    }
}
