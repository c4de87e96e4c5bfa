//! What a command line of kafka-share-consumer-perf-test means.

use crate::client_config::ClientConfig;
use crate::consumer_perf::Form;
use crate::flags::Parsed;
use crate::tool::Failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    config: ClientConfig,
    pub(super) topic: String,
    records: i64,
    pub(super) form: Form,
    /// For as long the next records are waited for.
    pub(super) timeout_ms: u64,
    pub(super) members: u32,
    pub(super) shows_members: bool,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        for flag in ["topic", "bootstrap-server"] {
            if !parsed.has(&format!("--{flag}")) {
                return usage(&format!("Missing required argument \"[{flag}]\""));
            }
        }
        if parsed.has("--num-records") == parsed.has("--messages") {
            return usage("Exactly one of the following arguments is required: [messages], [num-records]");
        }
        parsed.refuse_beside("consumer.config", &["command-config"])?;
        let mut warnings = Vec::new();
        for (old, new) in [("--messages", "--num-records"), ("--consumer.config", "--command-config")] {
            if parsed.has(old) {
                warnings.push(format!("Warning: {old} is deprecated. Use {new} instead."));
            }
        }
        let file = parsed.value("--command-config").or_else(|| parsed.value("--consumer.config"));
        let value = |flag| parsed.value(flag).unwrap_or_default();
        let config = ClientConfig::new(file, parsed.values("--command-property"))
            .or("client.id", "perf-share-consumer-client")
            .fix("check.crcs", false)
            .fix("bootstrap.servers", value("--bootstrap-server"))
            .fix("group.id", value("--group"))
            .fix("receive.buffer.bytes", value("--socket-buffer-size"))
            .fix("fetch.max.bytes", value("--fetch-size"));
        let records = parsed.number("--num-records").or_else(|| parsed.number("--messages"));
        Ok(Plan {
            config,
            topic: value("--topic").to_owned(),
            records: records.unwrap_or(0),
            form: Form::of(parsed)?,
            timeout_ms: parsed.number::<i64>("--timeout").and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
            members: parsed
                .number::<i32>("--threads")
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0),
            shows_members: parsed.has("--show-consumer-stats"),
            warnings,
        })
    }

    pub(super) fn wanted(&self) -> u64 {
        u64::try_from(self.records).unwrap_or(0)
    }

    /// Of one member, counted from 1; where there are several, each has a client id of its own.
    pub(super) fn config(&self, number: u32) -> Result<ClientConfig, Failure> {
        if self.members == 1 {
            return Ok(self.config.clone());
        }
        let all = self.config.read()?;
        let client_id = all.get("client.id").cloned().unwrap_or_default();
        Ok(self.config.clone().fix("client.id", format!("{client_id}-{number}")))
    }
}
