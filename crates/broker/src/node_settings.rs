//! What each part of a node takes from the configuration.

use std::path::PathBuf;

use ottla_config::{Config, RACK_AWARE_REPLICA_SELECTOR, keys};
use ottla_coordinator::group::consumer::assignor::Assignor;
use ottla_coordinator::group::{
    Bounded, ConsumerGroupConfig, GroupCoordinatorConfig, MigrationPolicy, ShareGroupConfig,
};
use ottla_coordinator::share_state::ShareCoordinatorConfig;
use ottla_coordinator::transaction::TransactionCoordinatorConfig;
use ottla_log::cleaner::CleanerSettings;
use ottla_log::log_manager::LogManagerConfig;
use ottla_log::producer_state::ProducerStateConfig;
use ottla_raft::RaftConfig;
use ottla_record::{Codec, Compression};
use ottla_replica::fetcher::FetcherSettings;
use ottla_replica::{RateWindow, ReplicaSelector, ReplicaSettings, ReplicationRates};

use crate::lifecycle::LifecycleSettings;
use crate::quorum::MetadataLogSettings;

/// Settings that Kafka bounds from below by validation are not negative here.
fn size(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

pub fn log_manager(config: &Config) -> LogManagerConfig {
    LogManagerConfig {
        recovery_threads_per_dir: size(config.get(keys::NUM_RECOVERY_THREADS_PER_DATA_DIR)),
        initial_task_delay_ms: config.get(keys::LOG_INITIAL_TASK_DELAY_MS),
        flush_check_ms: config.get(keys::LOG_FLUSH_SCHEDULER_INTERVAL_MS),
        recovery_point_checkpoint_ms: i64::from(config.get(keys::LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS)),
        log_start_offset_checkpoint_ms: i64::from(
            config.get(keys::LOG_FLUSH_START_OFFSET_CHECKPOINT_INTERVAL_MS),
        ),
        high_watermark_checkpoint_ms: config.get(keys::REPLICA_HIGH_WATERMARK_CHECKPOINT_INTERVAL_MS),
        retention_check_ms: config.get(keys::LOG_RETENTION_CHECK_INTERVAL_MS),
        producer_expiration_check_ms: i64::from(config.get(keys::PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS)),
        delete_delay_ms: config.get(keys::LOG_SEGMENT_DELETE_DELAY_MS),
        cleaner: cleaner(config),
        producer_state: producer_state(config),
        ..LogManagerConfig::new(config.log_dirs().iter().map(PathBuf::from).collect())
    }
}

fn cleaner(config: &Config) -> CleanerSettings {
    CleanerSettings {
        is_enabled: config.get(keys::LOG_CLEANER_ENABLE),
        threads: size(config.get(keys::LOG_CLEANER_THREADS)),
        dedupe_buffer_bytes: u64::try_from(config.get(keys::LOG_CLEANER_DEDUPE_BUFFER_SIZE)).unwrap_or(0),
        dedupe_buffer_load_factor: config.get(keys::LOG_CLEANER_IO_BUFFER_LOAD_FACTOR),
        io_buffer_bytes: u64::try_from(config.get(keys::LOG_CLEANER_IO_BUFFER_SIZE)).unwrap_or(0),
        io_max_bytes_per_second: config.get(keys::LOG_CLEANER_IO_MAX_BYTES_PER_SECOND),
        backoff_ms: config.get(keys::LOG_CLEANER_BACKOFF_MS),
    }
}

pub fn producer_state(config: &Config) -> ProducerStateConfig {
    ProducerStateConfig {
        producer_id_expiration_ms: i64::from(config.get(keys::PRODUCER_ID_EXPIRATION_MS)),
        transaction_verification: config.get(keys::TRANSACTION_PARTITION_VERIFICATION_ENABLE),
        max_transaction_timeout_ms: i64::from(config.get(keys::TRANSACTION_MAX_TIMEOUT_MS)),
    }
}

pub fn metadata_log(config: &Config) -> MetadataLogSettings {
    MetadataLogSettings {
        segment_bytes: u32::try_from(
            config
                .get(keys::INTERNAL_METADATA_LOG_SEGMENT_BYTES)
                .unwrap_or_else(|| config.get(keys::METADATA_LOG_SEGMENT_BYTES)),
        )
        .unwrap_or(u32::MAX),
        segment_ms: config.get(keys::METADATA_LOG_SEGMENT_MS),
        retention_bytes: config.get(keys::METADATA_MAX_RETENTION_BYTES),
        retention_ms: config.get(keys::METADATA_MAX_RETENTION_MS),
        ..MetadataLogSettings::default()
    }
}

/// The controller hands over whole operations, and all that wait at once: there is nothing to linger for.
pub fn raft(config: &Config, cluster_id: &str) -> RaftConfig {
    let listeners = config.controller_listener_names();
    RaftConfig {
        cluster_id: cluster_id.to_owned(),
        controller_listener: listeners.first().cloned().unwrap_or_default(),
        election_timeout_ms: i64::from(config.get(keys::CONTROLLER_QUORUM_ELECTION_TIMEOUT_MS)),
        election_backoff_max_ms: i64::from(config.get(keys::CONTROLLER_QUORUM_ELECTION_BACKOFF_MAX_MS)),
        fetch_timeout_ms: i64::from(config.get(keys::CONTROLLER_QUORUM_FETCH_TIMEOUT_MS)),
        request_timeout_ms: i64::from(config.get(keys::CONTROLLER_QUORUM_REQUEST_TIMEOUT_MS)),
        retry_backoff_ms: i64::from(config.get(keys::CONTROLLER_QUORUM_RETRY_BACKOFF_MS)),
        append_linger_ms: 0,
        auto_join: config.get(keys::CONTROLLER_QUORUM_AUTO_JOIN_ENABLE),
        fetch_max_bytes: config.get(keys::CONTROLLER_QUORUM_FETCH_MAX_BYTES),
        fetch_snapshot_max_bytes: config.get(keys::CONTROLLER_QUORUM_FETCH_SNAPSHOT_MAX_BYTES),
        ..RaftConfig::default()
    }
}

pub fn lifecycle(config: &Config) -> LifecycleSettings {
    LifecycleSettings {
        heartbeat_interval_ms: i64::from(config.get(keys::BROKER_HEARTBEAT_INTERVAL_MS)),
        session_timeout_ms: i64::from(config.get(keys::BROKER_SESSION_TIMEOUT_MS)),
        registration_timeout_ms: i64::from(config.get(keys::INITIAL_BROKER_REGISTRATION_TIMEOUT_MS)),
        dir_failure_timeout_ms: config.get(keys::LOG_DIR_FAILURE_TIMEOUT_MS),
    }
}

pub fn replicas(config: &Config) -> ReplicaSettings {
    ReplicaSettings {
        producer_purgatory_purge_interval: size(config.get(keys::PRODUCER_PURGATORY_PURGE_INTERVAL_REQUESTS)),
        fetch_purgatory_purge_interval: size(config.get(keys::FETCH_PURGATORY_PURGE_INTERVAL_REQUESTS)),
        delete_records_purgatory_purge_interval: size(
            config.get(keys::DELETE_RECORDS_PURGATORY_PURGE_INTERVAL_REQUESTS),
        ),
        share_fetch_purgatory_purge_interval: size(
            config.get(keys::SHARE_FETCH_PURGATORY_PURGE_INTERVAL_REQUESTS),
        ),
        lag_time_max_ms: config.get(keys::REPLICA_LAG_TIME_MAX_MS),
        selector: match config.get(keys::REPLICA_SELECTOR_CLASS) {
            Some(RACK_AWARE_REPLICA_SELECTOR) => ReplicaSelector::RackAware,
            _ => ReplicaSelector::Leader,
        },
        fetchers: FetcherSettings {
            fetchers: u32::try_from(config.get(keys::NUM_REPLICA_FETCHERS)).unwrap_or(1),
            min_bytes: config.get(keys::REPLICA_FETCH_MIN_BYTES),
            wait_max_ms: config.get(keys::REPLICA_FETCH_WAIT_MAX_MS),
            max_bytes: config.get(keys::REPLICA_FETCH_MAX_BYTES),
            response_max_bytes: config.get(keys::REPLICA_FETCH_RESPONSE_MAX_BYTES),
            backoff_ms: i64::from(config.get(keys::REPLICA_FETCH_BACKOFF_MS)),
        },
        quota_window: rate_window(
            config.get(keys::REPLICATION_QUOTA_WINDOW_NUM),
            config.get(keys::REPLICATION_QUOTA_WINDOW_SIZE_SECONDS),
        ),
        moves_window: rate_window(
            config.get(keys::ALTER_LOG_DIRS_REPLICATION_QUOTA_WINDOW_NUM),
            config.get(keys::ALTER_LOG_DIRS_REPLICATION_QUOTA_WINDOW_SIZE_SECONDS),
        ),
        moves_at_once: match config.get(keys::NUM_REPLICA_ALTER_LOG_DIRS_THREADS) {
            Some(threads) => size(threads),
            None => config.log_dirs().len(),
        },
    }
}

fn rate_window(samples: i32, sample_seconds: i32) -> RateWindow {
    RateWindow {
        samples: size(samples),
        sample_ms: u64::try_from(sample_seconds).unwrap_or(1).saturating_mul(1000),
    }
}

/// Kafka's default, the largest number there is, is no bound that could be reached.
pub fn replication_rates(config: &Config) -> ReplicationRates {
    let rate = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    ReplicationRates {
        leader: rate(config.get(keys::LEADER_REPLICATION_THROTTLED_RATE)),
        follower: rate(config.get(keys::FOLLOWER_REPLICATION_THROTTLED_RATE)),
        moves: rate(config.get(keys::REPLICA_ALTER_LOG_DIRS_IO_MAX_BYTES_PER_SECOND)),
    }
}

pub fn groups(config: &Config) -> GroupCoordinatorConfig {
    let linger_ms = config.get(keys::GROUP_COORDINATOR_APPEND_LINGER_MS);
    GroupCoordinatorConfig {
        offsets_commit_timeout_ms: config.get(keys::OFFSETS_COMMIT_TIMEOUT_MS),
        offsets_load_buffer_size: size(config.get(keys::OFFSETS_LOAD_BUFFER_SIZE)),
        offset_metadata_max_bytes: size(config.get(keys::OFFSET_METADATA_MAX_BYTES)),
        offsets_retention_ms: i64::from(config.get(keys::OFFSETS_RETENTION_MINUTES)) * 60_000,
        offsets_retention_check_interval_ms: config.get(keys::OFFSETS_RETENTION_CHECK_INTERVAL_MS),
        append_linger_ms: (linger_ms >= 0).then_some(linger_ms),
        group_min_session_timeout_ms: config.get(keys::GROUP_MIN_SESSION_TIMEOUT_MS),
        group_max_session_timeout_ms: config.get(keys::GROUP_MAX_SESSION_TIMEOUT_MS),
        group_initial_rebalance_delay_ms: config.get(keys::GROUP_INITIAL_REBALANCE_DELAY_MS),
        group_max_size: size(config.get(keys::GROUP_MAX_SIZE)),
        consumer: consumer_groups(config),
        share: share_groups(config),
    }
}

fn consumer_groups(config: &Config) -> ConsumerGroupConfig {
    let assignors = config.get(keys::GROUP_CONSUMER_ASSIGNORS);
    let policy = MigrationPolicy::from_name(config.get(keys::GROUP_CONSUMER_MIGRATION_POLICY));
    ConsumerGroupConfig {
        session_timeout_ms: Bounded {
            default: config.get(keys::GROUP_CONSUMER_SESSION_TIMEOUT_MS),
            min: config.get(keys::GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS),
            max: config.get(keys::GROUP_CONSUMER_MAX_SESSION_TIMEOUT_MS),
        },
        heartbeat_interval_ms: Bounded {
            default: config.get(keys::GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS),
            min: config.get(keys::GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS),
            max: config.get(keys::GROUP_CONSUMER_MAX_HEARTBEAT_INTERVAL_MS),
        },
        assignment_interval_ms: Bounded {
            default: config.get(keys::GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS),
            min: config.get(keys::GROUP_CONSUMER_MIN_ASSIGNMENT_INTERVAL_MS),
            max: config.get(keys::GROUP_CONSUMER_MAX_ASSIGNMENT_INTERVAL_MS),
        },
        max_size: size(config.get(keys::GROUP_CONSUMER_MAX_SIZE)),
        assignors: assignors.iter().filter_map(|name| Assignor::from_name(name)).collect(),
        migration_policy: policy.unwrap_or(MigrationPolicy::Bidirectional),
        regex_refresh_interval_ms: i64::from(config.get(keys::GROUP_CONSUMER_REGEX_REFRESH_INTERVAL_MS)),
        ..ConsumerGroupConfig::default()
    }
}

pub fn transactions(config: &Config) -> TransactionCoordinatorConfig {
    TransactionCoordinatorConfig {
        max_timeout_ms: config.get(keys::TRANSACTION_MAX_TIMEOUT_MS),
        id_expiration_ms: i64::from(config.get(keys::TRANSACTIONAL_ID_EXPIRATION_MS)),
        abort_timed_out_interval_ms: i64::from(
            config.get(keys::TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS),
        ),
        remove_expired_interval_ms: i64::from(
            config.get(keys::TRANSACTION_REMOVE_EXPIRED_TRANSACTION_CLEANUP_INTERVAL_MS),
        ),
        load_buffer_bytes: size(config.get(keys::TRANSACTION_STATE_LOG_LOAD_BUFFER_SIZE)),
        two_phase_commit: config.get(keys::TRANSACTION_TWO_PHASE_COMMIT_ENABLE),
        write_timeout_ms: config.get(keys::REQUEST_TIMEOUT_MS),
    }
}

fn share_groups(config: &Config) -> ShareGroupConfig {
    ShareGroupConfig {
        session_timeout_ms: Bounded {
            default: config.get(keys::GROUP_SHARE_SESSION_TIMEOUT_MS),
            min: config.get(keys::GROUP_SHARE_MIN_SESSION_TIMEOUT_MS),
            max: config.get(keys::GROUP_SHARE_MAX_SESSION_TIMEOUT_MS),
        },
        heartbeat_interval_ms: Bounded {
            default: config.get(keys::GROUP_SHARE_HEARTBEAT_INTERVAL_MS),
            min: config.get(keys::GROUP_SHARE_MIN_HEARTBEAT_INTERVAL_MS),
            max: config.get(keys::GROUP_SHARE_MAX_HEARTBEAT_INTERVAL_MS),
        },
        assignment_interval_ms: Bounded {
            default: config.get(keys::GROUP_SHARE_ASSIGNMENT_INTERVAL_MS),
            min: config.get(keys::GROUP_SHARE_MIN_ASSIGNMENT_INTERVAL_MS),
            max: config.get(keys::GROUP_SHARE_MAX_ASSIGNMENT_INTERVAL_MS),
        },
        max_size: size(config.get(keys::GROUP_SHARE_MAX_SIZE)),
        initialize_retry_interval_ms: i64::from(config.get(keys::GROUP_SHARE_INITIALIZE_RETRY_INTERVAL_MS)),
    }
}

pub fn share_coordinator(config: &Config) -> ShareCoordinatorConfig {
    let linger_ms = config.get(keys::SHARE_COORDINATOR_APPEND_LINGER_MS);
    let updates = config.get(keys::SHARE_COORDINATOR_SNAPSHOT_UPDATE_RECORDS_PER_SNAPSHOT);
    ShareCoordinatorConfig {
        write_timeout_ms: config.get(keys::SHARE_COORDINATOR_WRITE_TIMEOUT_MS),
        load_buffer_bytes: size(config.get(keys::SHARE_COORDINATOR_LOAD_BUFFER_SIZE)),
        append_linger_ms: (linger_ms >= 0).then_some(linger_ms),
        update_records_per_snapshot: u32::try_from(updates).unwrap_or(0),
        cold_partition_snapshot_interval_ms: i64::from(
            config.get(keys::SHARE_COORDINATOR_COLD_PARTITION_SNAPSHOT_INTERVAL_MS),
        ),
        prune_interval_ms: i64::from(config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_PRUNE_INTERVAL_MS)),
    }
}

/// `offsets.topic.compression.codec`, the number of a codec; one that there is not counts as none.
pub fn offsets_compression(config: &Config) -> Compression {
    compression(config.get(keys::OFFSETS_TOPIC_COMPRESSION_CODEC))
}

/// `share.coordinator.state.topic.compression.codec`, likewise.
pub fn share_state_compression(config: &Config) -> Compression {
    compression(config.get(keys::SHARE_COORDINATOR_STATE_TOPIC_COMPRESSION_CODEC))
}

fn compression(id: i32) -> Compression {
    let codec = u8::try_from(id).ok().and_then(|id| Codec::from_id(id).ok());
    Compression::new(codec.unwrap_or(Codec::None))
}
