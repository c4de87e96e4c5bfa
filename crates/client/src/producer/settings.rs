//! What a producer goes by, and what of it contradicts itself.

use std::sync::Arc;

use ottla_record::{Codec, Compression};

use super::core::CoreSettings;
use super::core::partitioner::{Partitioner, RoundRobin};
use super::interceptors::ProducerInterceptor;
use crate::client::ClientSettings;
use crate::error::ClientError;
use crate::settings::{Scope, Settings};

/// How many copies of a record there are before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// None: nobody waits for an answer, and offsets are not known.
    None,
    /// The leader's.
    Leader,
    /// All in-sync replicas': it stays as long as one of them does.
    #[default]
    All,
}

/// Settings of a producer. The names are those of Apache Kafka's settings, and so are the defaults.
///
/// ```
/// use ottla_client::{Acks, ProducerSettings};
///
/// let settings = ProducerSettings { linger_ms: 20, ..ProducerSettings::new("localhost:9092") };
/// assert_eq!(settings.acks, Acks::All);
/// // Idempotence needs acks=all: asked for both, it is refused rather than left out.
/// let wrong = ProducerSettings {
///     acks: Acks::Leader,
///     enable_idempotence: Some(true),
///     ..ProducerSettings::new("localhost:9092")
/// };
/// assert!(wrong.check().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    pub client: ClientSettings,
    /// `acks`
    pub acks: Acks,
    /// `batch.size`: a batch with so many bytes is sent at once.
    pub batch_bytes: usize,
    /// `linger.ms`: how long a batch waits for more records.
    pub linger_ms: u64,
    /// `buffer.memory`: what records that wait, or are not acknowledged, may take together.
    pub buffer_bytes: usize,
    /// `max.block.ms`: how long sending a record may wait for memory and metadata.
    pub max_block_ms: u64,
    /// `max.request.size`
    pub max_request_bytes: usize,
    /// `compression.type` and the level that goes with it.
    pub compression: Compression,
    /// `delivery.timeout.ms`: how long after [`Producer::send`](crate::Producer::send) a record may be acknowledged; `None`: two
    /// minutes, or as long as the other times need.
    pub delivery_timeout_ms: Option<u64>,
    /// `retries`; each within `delivery.timeout.ms`.
    pub retries: u32,
    /// `max.in.flight.requests.per.connection`
    pub max_in_flight: usize,
    /// `enable.idempotence`; `None`: if the other settings allow it.
    pub enable_idempotence: Option<bool>,
    /// `partitioner.ignore.keys`: records with keys go anywhere too.
    pub ignore_keys: bool,
    /// `partitioner.adaptive.partitioning.enable`: records without key go rather where less waits.
    pub adaptive_partitioning: bool,
    /// `partitioner.class`: a rule of one's own for records that don't name their partition.
    pub partitioner: Option<Arc<dyn Partitioner>>,
    /// What sees every record that is sent. `interceptor.classes` names classes of Java, which can't be loaded.
    pub interceptors: Vec<Arc<dyn ProducerInterceptor>>,
    /// `metadata.max.idle.ms`: a topic that nothing was sent to for so long is forgotten.
    pub metadata_max_idle_ms: u64,
    /// `transactional.id`: the name under which a [`TransactionalProducer`](crate::TransactionalProducer) goes on after a
    /// restart, and shuts out whoever has it still. Other producers have none.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: how long a transaction may be open before the cluster aborts it. With `transaction.version`
    /// 1 its producer then can't go on.
    pub transaction_timeout_ms: u64,
}

impl Default for ProducerSettings {
    fn default() -> ProducerSettings {
        let client = ClientSettings { allow_auto_create_topics: true, ..ClientSettings::default() };
        ProducerSettings {
            client,
            acks: Acks::All,
            batch_bytes: 16_384,
            linger_ms: 5,
            buffer_bytes: 32 * 1024 * 1024,
            max_block_ms: 60_000,
            max_request_bytes: 1024 * 1024,
            compression: Compression::NONE,
            delivery_timeout_ms: None,
            retries: i32::MAX as u32,
            max_in_flight: 5,
            enable_idempotence: None,
            ignore_keys: false,
            adaptive_partitioning: true,
            partitioner: None,
            interceptors: Vec::new(),
            metadata_max_idle_ms: 300_000,
            transactional_id: None,
            transaction_timeout_ms: 60_000,
        }
    }
}

/// More batches in flight can't be told apart from repetitions by the broker.
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;
const DELIVERY_TIMEOUT_MS: u64 = 120_000;
const ROUND_ROBIN: &str = "org.apache.kafka.clients.producer.RoundRobinPartitioner";

impl ProducerSettings {
    /// The defaults, with bootstrap servers as in `bootstrap.servers`: `host:port`, separated by commas.
    pub fn new(bootstrap_servers: &str) -> ProducerSettings {
        let settings = ProducerSettings::default();
        let bootstrap_servers = ClientSettings::new(bootstrap_servers).bootstrap_servers;
        ProducerSettings { client: ClientSettings { bootstrap_servers, ..settings.client }, ..settings }
    }

    /// From settings by Apache Kafka's names. What contradicts itself is refused.
    ///
    /// ```
    /// use ottla_client::{ProducerSettings, Scope, Settings};
    ///
    /// let file = b"bootstrap.servers=localhost:9092\ncompression.type=zstd\nlinger.ms=20\n";
    /// let settings = Settings::parse_properties(Scope::Producer, file)?;
    /// let producer = ProducerSettings::from_settings(&settings)?;
    /// assert_eq!(producer.linger_ms, 20);
    /// # Ok::<(), ottla_client::ClientError>(())
    /// ```
    pub fn from_settings(settings: &Settings) -> Result<ProducerSettings, ClientError> {
        if settings.scope() != Scope::Producer {
            return Err(ClientError::misuse(format!("these are settings of a {}", settings.scope())));
        }
        let bytes = |key| usize::try_from(settings.unsigned(key)).unwrap_or(usize::MAX);
        let given = |key: &'static str| settings.is_set(key);
        let producer = ProducerSettings {
            client: ClientSettings::from_settings(settings),
            acks: match settings.text("acks") {
                Some("0") => Acks::None,
                Some("1") => Acks::Leader,
                _ => Acks::All,
            },
            batch_bytes: bytes("batch.size"),
            linger_ms: settings.unsigned("linger.ms"),
            buffer_bytes: bytes("buffer.memory"),
            max_block_ms: settings.unsigned("max.block.ms"),
            max_request_bytes: bytes("max.request.size"),
            compression: compression(settings)?,
            delivery_timeout_ms: given("delivery.timeout.ms")
                .then(|| settings.unsigned("delivery.timeout.ms")),
            retries: u32::try_from(settings.unsigned("retries")).unwrap_or(u32::MAX),
            max_in_flight: bytes("max.in.flight.requests.per.connection"),
            enable_idempotence: given("enable.idempotence").then(|| settings.bool("enable.idempotence")),
            ignore_keys: settings.bool("partitioner.ignore.keys"),
            adaptive_partitioning: settings.bool("partitioner.adaptive.partitioning.enable"),
            partitioner: partitioner(settings.text("partitioner.class"))?,
            interceptors: Vec::new(),
            metadata_max_idle_ms: settings.unsigned("metadata.max.idle.ms"),
            transactional_id: settings.text("transactional.id").map(str::to_owned),
            transaction_timeout_ms: settings.unsigned("transaction.timeout.ms"),
        };
        producer.check()?;
        Ok(producer)
    }

    /// Whether the settings go together.
    pub fn check(&self) -> Result<(), ClientError> {
        self.client.bootstrap_addresses()?;
        if self.enable_idempotence == Some(true)
            && let Some(conflict) = self.idempotence_conflict()
        {
            return Err(ClientError::settings(format!("enable.idempotence needs {conflict}")));
        }
        if self.transactional_id.is_some() && !self.is_idempotent() {
            let needed = self.idempotence_conflict().unwrap_or_else(|| "enable.idempotence".to_owned());
            return Err(ClientError::settings(format!("transactional.id needs {needed}")));
        }
        let needed_ms = self.linger_ms.saturating_add(self.client.request_timeout_ms);
        if self.delivery_timeout_ms.is_some_and(|timeout_ms| timeout_ms < needed_ms) {
            return Err(ClientError::settings(
                "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms",
            ));
        }
        Ok(())
    }

    /// Whether batches are numbered, so that the broker knows repetitions and gaps.
    pub fn is_idempotent(&self) -> bool {
        self.enable_idempotence.unwrap_or(true) && self.idempotence_conflict().is_none()
    }

    /// Why batches are not numbered although nobody has said so: it follows from another setting. The producer logs it.
    pub fn why_not_idempotent(&self) -> Option<String> {
        let needed = self.idempotence_conflict().filter(|_| self.enable_idempotence.is_none())?;
        Some(format!(
            "idempotence is switched off, since it needs {needed}: a batch that is sent again may be written twice or out of order"
        ))
    }

    fn idempotence_conflict(&self) -> Option<String> {
        if self.acks != Acks::All {
            Some("acks=all".to_owned())
        } else if self.retries == 0 {
            Some("retries above 0".to_owned())
        } else if self.max_in_flight > IDEMPOTENT_IN_FLIGHT_MAX {
            let max = IDEMPOTENT_IN_FLIGHT_MAX;
            Some(format!("max.in.flight.requests.per.connection of at most {max}"))
        } else {
            None
        }
    }

    fn delivery_timeout_ms(&self) -> u64 {
        let needed_ms = self.linger_ms.saturating_add(self.client.request_timeout_ms);
        self.delivery_timeout_ms.unwrap_or(DELIVERY_TIMEOUT_MS.max(needed_ms))
    }

    pub(super) fn core(&self) -> CoreSettings {
        CoreSettings {
            acks: match self.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            batch_bytes: self.batch_bytes,
            buffer_bytes: self.buffer_bytes,
            linger_ms: self.linger_ms,
            compression: self.compression,
            request_bytes_max: self.max_request_bytes,
            delivery_timeout_ms: self.delivery_timeout_ms(),
            retries: self.retries,
            retry_backoff_ms: self.client.retry_backoff_ms,
            retry_backoff_max_ms: self.client.retry_backoff_max_ms,
            in_flight_max: self.max_in_flight.max(1),
            is_idempotent: self.is_idempotent(),
            is_adaptive: self.adaptive_partitioning,
            is_transactional: self.transactional_id.is_some(),
        }
    }
}

fn compression(settings: &Settings) -> Result<Compression, ClientError> {
    let codec = settings.text("compression.type").and_then(Codec::from_name).unwrap_or_default();
    let level = match codec {
        Codec::Gzip => settings.int("compression.gzip.level"),
        Codec::Lz4 => settings.int("compression.lz4.level"),
        Codec::Zstd => settings.int("compression.zstd.level"),
        Codec::None | Codec::Snappy => 0,
    };
    Compression::with_level(codec, level).map_err(|error| ClientError::settings(error.to_string()))
}

fn partitioner(class: Option<&str>) -> Result<Option<Arc<dyn Partitioner>>, ClientError> {
    match class {
        None => Ok(None),
        Some(ROUND_ROBIN) => Ok(Some(Arc::new(RoundRobin::default()))),
        Some(class) => Err(ClientError::settings(format!(
            "partitioner.class={class} is not supported: Java classes can't be loaded. Without it keys are hashed as Java's \
             producer does; {ROUND_ROBIN} has a counterpart here, others are given in code as ProducerSettings::partitioner"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(pairs: &[(&str, &str)]) -> Result<ProducerSettings, String> {
        let pairs = pairs.iter().copied().chain([("bootstrap.servers", "a:1")]);
        let settings = Settings::parse(Scope::Producer, pairs).unwrap();
        ProducerSettings::from_settings(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_tables() {
        let (from_table, typed) = (built(&[]).unwrap(), ProducerSettings::new("a:1"));
        let shown = |settings: &ProducerSettings| format!("{settings:?}");
        assert_eq!(shown(&from_table), shown(&typed));
        assert!(typed.is_idempotent());
        assert_eq!(typed.core().delivery_timeout_ms, 120_000);
    }

    #[test]
    fn idempotence_is_refused_or_left_out_where_it_is_not_possible() {
        for conflict in
            [("acks", "1"), ("acks", "0"), ("retries", "0"), ("max.in.flight.requests.per.connection", "6")]
        {
            let settings = built(&[conflict]).unwrap();
            assert!(!settings.is_idempotent(), "{conflict:?}");
            let why = settings.why_not_idempotent().unwrap();
            assert!(why.starts_with("idempotence is switched off, since it needs "), "{why}");
            let error = built(&[conflict, ("enable.idempotence", "true")]).unwrap_err();
            assert!(error.starts_with("enable.idempotence needs "), "{error}");
        }
        let said = built(&[("enable.idempotence", "false"), ("acks", "1")]).unwrap();
        assert_eq!((said.is_idempotent(), said.why_not_idempotent()), (false, None));
        assert_eq!(built(&[]).unwrap().why_not_idempotent(), None);
    }

    #[test]
    fn transactions_need_idempotence() {
        let id = ("transactional.id", "t");
        let settings = built(&[id, ("transaction.timeout.ms", "7")]).unwrap();
        assert_eq!((settings.transactional_id.as_deref(), settings.transaction_timeout_ms), (Some("t"), 7));
        for conflict in [("acks", "1"), ("retries", "0"), ("enable.idempotence", "false")] {
            let error = built(&[id, conflict]).unwrap_err();
            assert!(error.starts_with("transactional.id needs "), "{error}");
        }
    }

    #[test]
    fn deliveries_have_time_for_an_attempt() {
        assert!(built(&[("delivery.timeout.ms", "30004")]).is_err());
        assert!(built(&[("delivery.timeout.ms", "30005")]).is_ok());
        let patient = built(&[("request.timeout.ms", "200000"), ("linger.ms", "7")]).unwrap();
        assert_eq!(patient.core().delivery_timeout_ms, 200_007);
    }

    #[test]
    fn codecs_have_their_levels_and_classes_their_counterparts() {
        let compression = |pairs| built(pairs).unwrap().compression;
        let zstd = compression(&[("compression.type", "zstd"), ("compression.zstd.level", "9")]);
        assert_eq!((zstd.codec(), zstd.level()), (Codec::Zstd, 9));
        assert_eq!(compression(&[("compression.type", "gzip")]).level(), -1);
        assert!(built(&[("partitioner.class", ROUND_ROBIN)]).unwrap().partitioner.is_some());
        assert!(built(&[("partitioner.class", "com.example.Mine")]).is_err());
    }
}
