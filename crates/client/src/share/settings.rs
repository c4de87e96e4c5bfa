//! What a share consumer goes by.

use super::core::machine::ShareCoreSettings;
use crate::consumer::ConsumerSettings;
use crate::{ClientError, ClientSettings, Settings};

/// Who says what becomes of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcknowledgementMode {
    /// Asking for more records, or committing, accepts all that were handed out before.
    #[default]
    Implicit,
    /// Each record is acknowledged before more are asked for.
    Explicit,
}

/// How many records a broker lends at once (KIP-1206).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcquireMode {
    /// Whole batches, also if that makes it more than `max.poll.records`; what is too much is handed out later.
    #[default]
    BatchOptimized,
    /// Never more than `max.poll.records`.
    RecordLimit,
}

/// Settings of a share consumer. The names are those of Apache Kafka's settings, and so are the defaults.
///
/// Where a group starts to read and which transactions it sees is not for its members to say: `share.auto.offset.reset` and
/// `share.isolation.level` are settings of the group.
///
/// ```
/// use ottla_client::ClientSettings;
/// use ottla_client::share::{AcknowledgementMode, ShareConsumerSettings};
///
/// let settings = ShareConsumerSettings {
///     acknowledgement_mode: AcknowledgementMode::Explicit,
///     ..ShareConsumerSettings::new(ClientSettings::new("localhost:9092"), "thumbnails")
/// };
/// assert_eq!(settings.max_poll_records, 500);
/// ```
#[derive(Clone, Debug)]
pub struct ShareConsumerSettings {
    pub client: ClientSettings,
    /// `group.id`
    pub group_id: String,
    /// `share.acknowledgement.mode`
    pub acknowledgement_mode: AcknowledgementMode,
    /// `share.acquire.mode`
    pub acquire_mode: AcquireMode,
    /// `max.poll.interval.ms`: who doesn't ask for records for so long, leaves the group until it does.
    pub max_poll_interval_ms: i32,
    /// `max.poll.records`
    pub max_poll_records: usize,
    /// `client.rack`
    pub client_rack: String,
    /// `check.crcs`
    pub check_crcs: bool,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`: of one answer.
    pub fetch_max_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait_ms: i32,
}

impl ShareConsumerSettings {
    /// The defaults.
    pub fn new(client: ClientSettings, group_id: impl Into<String>) -> ShareConsumerSettings {
        let usual = ConsumerSettings::new(client);
        ShareConsumerSettings {
            client: usual.client,
            group_id: group_id.into(),
            acknowledgement_mode: AcknowledgementMode::Implicit,
            acquire_mode: AcquireMode::BatchOptimized,
            max_poll_interval_ms: usual.max_poll_interval_ms,
            max_poll_records: usual.max_poll_records,
            client_rack: usual.client_rack,
            check_crcs: usual.check_crcs,
            fetch_min_bytes: usual.fetch_min_bytes,
            fetch_max_bytes: usual.fetch_max_bytes,
            fetch_max_wait_ms: usual.fetch_max_wait_ms,
        }
    }

    /// From settings by Java's names, read with [`Scope::ShareConsumer`](crate::Scope::ShareConsumer).
    pub fn from_settings(settings: &Settings) -> Result<ShareConsumerSettings, ClientError> {
        let text = |key| settings.text(key).unwrap_or_default();
        let is = |key, value: &str| text(key).eq_ignore_ascii_case(value);
        let made = ShareConsumerSettings {
            client: ClientSettings::from_settings(settings),
            group_id: text("group.id").to_owned(),
            acknowledgement_mode: if is("share.acknowledgement.mode", "explicit") {
                AcknowledgementMode::Explicit
            } else {
                AcknowledgementMode::Implicit
            },
            acquire_mode: if is("share.acquire.mode", "record_limit") {
                AcquireMode::RecordLimit
            } else {
                AcquireMode::BatchOptimized
            },
            max_poll_interval_ms: settings.int("max.poll.interval.ms"),
            max_poll_records: usize::try_from(settings.int("max.poll.records")).unwrap_or(1),
            client_rack: text("client.rack").to_owned(),
            check_crcs: settings.bool("check.crcs"),
            fetch_min_bytes: settings.int("fetch.min.bytes"),
            fetch_max_bytes: settings.int("fetch.max.bytes"),
            fetch_max_wait_ms: settings.int("fetch.max.wait.ms"),
        };
        made.check()?;
        Ok(made)
    }

    /// What can be said of the settings without asking anybody.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        if self.group_id.is_empty() {
            return Err(ClientError::settings("a share consumer needs a group.id, and none is set"));
        }
        Ok(())
    }

    pub(super) fn core(&self) -> ShareCoreSettings {
        ShareCoreSettings {
            is_explicit: self.acknowledgement_mode == AcknowledgementMode::Explicit,
            max_poll_records: self.max_poll_records.max(1),
            fetch_min_bytes: self.fetch_min_bytes,
            fetch_max_bytes: self.fetch_max_bytes,
            fetch_max_wait_ms: self.fetch_max_wait_ms,
            is_record_limit: self.acquire_mode == AcquireMode::RecordLimit,
            check_crcs: self.check_crcs,
            retry_backoff_ms: self.client.retry_backoff_ms,
            retry_backoff_max_ms: self.client.retry_backoff_max_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;

    fn parse(pairs: &[(&str, &str)]) -> Result<ShareConsumerSettings, ClientError> {
        let settings = Settings::parse(Scope::ShareConsumer, pairs.iter().copied())?;
        ShareConsumerSettings::from_settings(&settings)
    }

    #[test]
    fn javas_names_have_their_effect() {
        let settings = parse(&[
            ("group.id", "g"),
            ("share.acknowledgement.mode", "explicit"),
            ("share.acquire.mode", "record_limit"),
            ("max.poll.records", "7"),
            ("client.rack", "r"),
        ])
        .unwrap();
        assert_eq!(settings.acknowledgement_mode, AcknowledgementMode::Explicit);
        assert_eq!(settings.acquire_mode, AcquireMode::RecordLimit);
        assert_eq!((settings.max_poll_records, &*settings.client_rack), (7, "r"));
        let settings = parse(&[("group.id", "g")]).unwrap();
        assert_eq!(settings.acknowledgement_mode, AcknowledgementMode::Implicit);
        assert_eq!(settings.acquire_mode, AcquireMode::BatchOptimized);
    }

    #[test]
    fn what_is_not_a_share_consumers_is_refused_also_as_its_default() {
        for (key, value) in [
            ("auto.offset.reset", "latest"),
            ("enable.auto.commit", "true"),
            ("group.instance.id", "i"),
            ("isolation.level", "read_uncommitted"),
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "45000"),
            ("heartbeat.interval.ms", "3000"),
            ("group.protocol", "classic"),
            ("group.remote.assignor", "uniform"),
            ("interceptor.classes", ""),
        ] {
            let error = parse(&[("group.id", "g"), (key, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key} can't be set for a share consumer: ")), "{error}");
        }
        assert!(parse(&[]).unwrap_err().to_string().contains("group.id"));
    }
}
