//! What a command line of kafka-consumer-perf-test means.

use crate::client_config::ClientConfig;
use crate::date_format::DateFormat;
use crate::flags::Parsed;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    config: ClientConfig,
    group: Option<String>,
    pub(super) source: Source,
    pub(super) records: i64,
    pub(super) form: Form,
    /// For as long the next records are waited for.
    pub(super) timeout_ms: u64,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Topic(String),
    Pattern(String),
}

/// What is told, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) dates: DateFormat,
    pub(crate) hides_header: bool,
    /// A line in each interval, and none at the end.
    pub(crate) shows_intervals: bool,
    pub(crate) interval_ms: u64,
    pub(crate) prints_metrics: bool,
}

impl Form {
    pub(crate) fn of(parsed: &Parsed) -> Result<Form, Failure> {
        let interval_ms = parsed.number::<u64>("--reporting-interval").filter(|ms| *ms > 0);
        let interval_ms = interval_ms.ok_or_else(|| said("Reporting interval must be greater than 0."))?;
        let dates = DateFormat::parse(parsed.value("--date-format").unwrap_or_default());
        Ok(Form {
            dates: dates.map_err(said)?,
            hides_header: parsed.has("--hide-header"),
            shows_intervals: parsed.has("--show-detailed-stats"),
            interval_ms,
            prints_metrics: parsed.has("--print-metrics"),
        })
    }
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if !parsed.has("--bootstrap-server") {
            return usage("Missing required argument \"[bootstrap-server]\"");
        }
        if parsed.has("--topic") == parsed.has("--include") {
            return usage("Exactly one of the following arguments is required: [topic], [include]");
        }
        if parsed.has("--num-records") == parsed.has("--messages") {
            return usage("Exactly one of the following arguments is required: [messages], [num-records]");
        }
        if parsed.has("--consumer.config") && parsed.has("--command-config") {
            return usage(
                "Exactly one of the following arguments is required: [command-config], [consumer.config]",
            );
        }
        let mut warnings = Vec::new();
        for (old, new) in [("--messages", "--num-records"), ("--consumer.config", "--command-config")] {
            if parsed.has(old) {
                warnings.push(format!("Warning: {old} is deprecated. Use {new} instead."));
            }
        }
        let file = parsed.value("--command-config").or_else(|| parsed.value("--consumer.config"));
        let fixed = |config: ClientConfig, key, flag| config.fix(key, parsed.value(flag).unwrap_or_default());
        let config = ClientConfig::new(file, parsed.values("--command-property"))
            .or("client.id", "perf-consumer-client")
            .fix("check.crcs", false)
            .fix("auto.offset.reset", if parsed.has("--from-latest") { "latest" } else { "earliest" });
        let config = fixed(config, "bootstrap.servers", "--bootstrap-server");
        let config = fixed(config, "receive.buffer.bytes", "--socket-buffer-size");
        let text = |flag| parsed.value(flag).map(str::to_owned);
        let records = parsed.number("--num-records").or_else(|| parsed.number("--messages"));
        Ok(Plan {
            config: fixed(config, "max.partition.fetch.bytes", "--fetch-size"),
            group: parsed.has("--group").then(|| text("--group")).flatten(),
            source: match text("--topic") {
                Some(topic) => Source::Topic(topic),
                None => Source::Pattern(text("--include").unwrap_or_default()),
            },
            records: records.unwrap_or(0),
            form: Form::of(parsed)?,
            timeout_ms: parsed.number::<i64>("--timeout").and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
            warnings,
        })
    }

    /// Without a group's name it gets one that nobody has.
    pub(super) fn config(&self, number: u32) -> ClientConfig {
        let group = self.group.clone().unwrap_or_else(|| format!("perf-consumer-{number}"));
        self.config.clone().fix("group.id", group)
    }
}
