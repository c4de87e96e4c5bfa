//! What a command line of kafka-console-producer means.

use crate::client_config::ClientConfig;
use crate::deprecation::Deprecated;
use crate::flags::{Parsed, former_class};
use crate::net::check_servers;
use crate::tool::{Failure, said};

const LINE_READER: &str = "org.apache.kafka.tools.LineMessageReader";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) topic: String,
    pub(super) config: ClientConfig,
    /// Each record is awaited before the next one is read.
    pub(super) is_sync: bool,
    pub(super) reader: ClientConfig,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        if !parsed.has("--topic") {
            return Err(Failure::Usage("Missing required argument \"[topic]\"".to_owned()));
        }
        check_servers(parsed.value("--bootstrap-server"))?;
        let mut deprecated = Deprecated::new(
            "Options {new} and {old} cannot be specified together.",
            "Warning: {old} is deprecated and will be removed in a future version. Use {new} instead.",
        );
        let mut either = |old, new| deprecated.either(parsed, old, new).map_err(Failure::Usage);
        let properties = either("--producer-property", "--command-property")?;
        let file = either("--producer.config", "--command-config")?;
        let reader = either("--property", "--reader-property")?;
        let mut warnings = deprecated.warnings();
        if parsed.has("--max-partition-memory-bytes") {
            let text = "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use \
                        --batch-size instead.";
            warnings.push(text.to_owned());
        }
        let class = parsed.value("--line-reader").unwrap_or(LINE_READER);
        if class != LINE_READER {
            let word = former_class(class).map_or_else(
                || format!("there is only {LINE_READER}; other readers would need a JVM"),
                str::to_owned,
            );
            return Err(said(format_args!("{class}: {word}")));
        }
        let topic = parsed.value("--topic").unwrap_or_default().to_owned();
        Ok(Plan {
            config: settings(parsed, parsed.value(file), parsed.values(properties)),
            is_sync: parsed.has("--sync"),
            reader: ClientConfig::new(parsed.value("--reader-config"), parsed.values(reader)),
            topic,
            warnings,
        })
    }
}

fn settings(parsed: &Parsed, file: Option<&str>, properties: &[String]) -> ClientConfig {
    let servers = parsed.value("--bootstrap-server").unwrap_or_default();
    let config = ClientConfig::new(file, properties)
        .fix("bootstrap.servers", servers)
        .or("client.id", "console-producer")
        .flag("linger.ms", parsed, "--timeout")
        .flag("acks", parsed, "--request-required-acks")
        .flag("request.timeout.ms", parsed, "--request-timeout-ms")
        .flag("retries", parsed, "--message-send-max-retries")
        .flag("retry.backoff.ms", parsed, "--retry-backoff-ms")
        .flag("send.buffer.bytes", parsed, "--socket-buffer-size")
        .flag("buffer.memory", parsed, "--max-memory-bytes")
        .flag("batch.size", parsed, "--batch-size")
        .flag("metadata.max.age.ms", parsed, "--metadata-expiry-ms")
        .flag("max.block.ms", parsed, "--max-block-ms");
    let config = match parsed.has("--max-partition-memory-bytes") {
        true => config.flag("batch.size", parsed, "--max-partition-memory-bytes"),
        false => config,
    };
    match parsed.value("--compression-codec") {
        Some(codec) => config.fix("compression.type", codec),
        None if parsed.has("--compression-codec") => config.fix("compression.type", "gzip"),
        None => config,
    }
}
