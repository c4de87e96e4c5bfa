//! What a consumer goes by.

use std::sync::Arc;

use ottla_config::OffsetResetStrategy;

use super::core::assignors;
use super::core::fetching::{FetchSettings, IsolationLevel, OffsetReset};
use super::error::ConsumerError;
use super::interceptors::ConsumerInterceptor;
use crate::{ClientSettings, Settings};

/// Which protocol a group's members speak with its coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Members assign partitions among themselves.
    #[default]
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
}

/// Settings of a consumer. The names are those of Apache Kafka's settings, and so are the defaults.
///
/// ```
/// use ottla_client::ClientSettings;
/// use ottla_client::consumer::{ConsumerSettings, OffsetReset};
///
/// let settings = ConsumerSettings {
///     group_id: Some("billing".to_owned()),
///     auto_offset_reset: OffsetReset::Earliest,
///     ..ConsumerSettings::new(ClientSettings::new("localhost:9092"))
/// };
/// assert_eq!(settings.max_poll_records, 500);
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    pub client: ClientSettings,
    /// `group.id`: needed to subscribe and to commit.
    pub group_id: Option<String>,
    /// `group.instance.id`: makes a static member, which keeps its partitions while it is away for less than its session.
    pub group_instance_id: Option<String>,
    /// `group.protocol`
    pub group_protocol: GroupProtocol,
    /// `group.remote.assignor`, of the consumer protocol: `None` leaves it to the coordinator.
    pub group_remote_assignor: Option<String>,
    /// `partition.assignment.strategy`, of the classic protocol: names in the order of preference.
    pub partition_assignment_strategy: Vec<String>,
    /// `session.timeout.ms`, of the classic protocol.
    pub session_timeout_ms: i32,
    /// `heartbeat.interval.ms`, of the classic protocol.
    pub heartbeat_interval_ms: i32,
    /// `max.poll.interval.ms`: who doesn't ask for the next event for so long, leaves the group until it does.
    pub max_poll_interval_ms: i32,
    /// `max.poll.records`
    pub max_poll_records: usize,
    /// `enable.auto.commit`
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval_ms: u64,
    /// `auto.offset.reset`
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level`
    pub isolation_level: IsolationLevel,
    /// `client.rack`
    pub client_rack: String,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`: of one answer. At most twice as much is held in memory ahead.
    pub fetch_max_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait_ms: i32,
    /// `max.partition.fetch.bytes`
    pub max_partition_fetch_bytes: i32,
    /// `exclude.internal.topics`: patterns don't match Kafka's own topics.
    pub exclude_internal_topics: bool,
    /// What sees every record that is handed out. `interceptor.classes` names classes of Java, which can't be loaded.
    pub interceptors: Vec<Arc<dyn ConsumerInterceptor>>,
}

impl ConsumerSettings {
    /// The defaults.
    pub fn new(client: ClientSettings) -> ConsumerSettings {
        let fetch = FetchSettings::default();
        ConsumerSettings {
            client,
            group_id: None,
            group_instance_id: None,
            group_protocol: GroupProtocol::Classic,
            group_remote_assignor: None,
            partition_assignment_strategy: vec!["range".to_owned(), "cooperative-sticky".to_owned()],
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            max_poll_interval_ms: 300_000,
            max_poll_records: 500,
            enable_auto_commit: true,
            auto_commit_interval_ms: 5_000,
            auto_offset_reset: fetch.auto_offset_reset,
            isolation_level: fetch.isolation_level,
            client_rack: String::new(),
            check_crcs: fetch.check_crcs,
            fetch_min_bytes: fetch.fetch_min_bytes,
            fetch_max_bytes: fetch.fetch_max_bytes,
            fetch_max_wait_ms: fetch.fetch_max_wait_ms,
            max_partition_fetch_bytes: fetch.max_partition_fetch_bytes,
            exclude_internal_topics: true,
            interceptors: Vec::new(),
        }
    }

    /// From settings by Java's names.
    pub fn from_settings(settings: &Settings) -> Result<ConsumerSettings, ConsumerError> {
        let text = |key| settings.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
        let protocol = text("group.protocol").unwrap_or_default();
        let isolation = text("isolation.level").unwrap_or_default();
        Ok(ConsumerSettings {
            client: ClientSettings::from_settings(settings),
            group_id: text("group.id"),
            group_instance_id: text("group.instance.id"),
            group_protocol: if protocol.eq_ignore_ascii_case("consumer") {
                GroupProtocol::Consumer
            } else {
                GroupProtocol::Classic
            },
            group_remote_assignor: text("group.remote.assignor"),
            partition_assignment_strategy: settings.list("partition.assignment.strategy"),
            session_timeout_ms: settings.int("session.timeout.ms"),
            heartbeat_interval_ms: settings.int("heartbeat.interval.ms"),
            max_poll_interval_ms: settings.int("max.poll.interval.ms"),
            max_poll_records: usize::try_from(settings.int("max.poll.records")).unwrap_or(1),
            // Without a group there is nothing to commit to.
            enable_auto_commit: settings.bool("enable.auto.commit"),
            auto_commit_interval_ms: settings.unsigned("auto.commit.interval.ms"),
            auto_offset_reset: offset_reset(&text("auto.offset.reset").unwrap_or_default())?,
            isolation_level: if isolation == "read_committed" {
                IsolationLevel::ReadCommitted
            } else {
                IsolationLevel::ReadUncommitted
            },
            client_rack: text("client.rack").unwrap_or_default(),
            check_crcs: settings.bool("check.crcs"),
            fetch_min_bytes: settings.int("fetch.min.bytes"),
            fetch_max_bytes: settings.int("fetch.max.bytes"),
            fetch_max_wait_ms: settings.int("fetch.max.wait.ms"),
            max_partition_fetch_bytes: settings.int("max.partition.fetch.bytes"),
            exclude_internal_topics: settings.bool("exclude.internal.topics"),
            interceptors: Vec::new(),
        })
    }

    pub(super) fn fetch_settings(&self) -> FetchSettings {
        FetchSettings {
            fetch_min_bytes: self.fetch_min_bytes,
            fetch_max_bytes: self.fetch_max_bytes,
            fetch_max_wait_ms: self.fetch_max_wait_ms,
            max_partition_fetch_bytes: self.max_partition_fetch_bytes,
            buffer_bytes_max: usize::try_from(self.fetch_max_bytes).unwrap_or(0).saturating_mul(2),
            check_crcs: self.check_crcs,
            isolation_level: self.isolation_level,
            rack_id: self.client_rack.clone(),
            auto_offset_reset: self.auto_offset_reset,
            retry_backoff_ms: self.client.retry_backoff_ms,
            metadata_max_age_ms: self.client.metadata_max_age_ms,
        }
    }

    /// What can be said of the settings without asking anybody.
    pub(super) fn check(&self) -> Result<(), ConsumerError> {
        let refused = |key, value: String, reason: &str| {
            Err(ConsumerError::Setting { key, value, reason: reason.to_owned() })
        };
        if self.group_protocol == GroupProtocol::Classic {
            if self.heartbeat_interval_ms >= self.session_timeout_ms {
                let value = self.heartbeat_interval_ms.to_string();
                return refused("heartbeat.interval.ms", value, "it must be lower than session.timeout.ms");
            }
            if self.partition_assignment_strategy.is_empty() {
                return refused("partition.assignment.strategy", String::new(), "at least one is needed");
            }
            for name in &self.partition_assignment_strategy {
                if assignors::by_name(name).is_none() {
                    let known =
                        "there are range, roundrobin, sticky and cooperative-sticky; give others in code";
                    return refused("partition.assignment.strategy", name.clone(), known);
                }
            }
        }
        Ok(())
    }
}

/// `earliest`, `latest`, `none` or `by_duration:` with an ISO-8601 duration.
fn offset_reset(text: &str) -> Result<OffsetReset, ConsumerError> {
    let refused = || ConsumerError::Setting {
        key: "auto.offset.reset",
        value: text.to_owned(),
        reason: "earliest, latest, none or by_duration:PnDTnHnMn.nS is expected".to_owned(),
    };
    match OffsetResetStrategy::parse(text).ok_or_else(refused)? {
        OffsetResetStrategy::Earliest => Ok(OffsetReset::Earliest),
        OffsetResetStrategy::Latest => Ok(OffsetReset::Latest),
        OffsetResetStrategy::None => Ok(OffsetReset::None),
        OffsetResetStrategy::ByDuration(ms) => Ok(OffsetReset::ByDuration(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let good = ConsumerSettings::new(ClientSettings::new("a:1"));
        assert_eq!(good.check(), Ok(()));
        let late = ConsumerSettings { heartbeat_interval_ms: 45_000, ..good.clone() };
        assert!(late.check().unwrap_err().to_string().contains("lower than session.timeout.ms"));
        let unknown =
            ConsumerSettings { partition_assignment_strategy: vec!["com.example.Mine".to_owned()], ..good };
        assert!(unknown.check().unwrap_err().to_string().contains("com.example.Mine"));
    }
}
