//! What a command line of kafka-console-share-consumer means.

use ottla_client::share::AcknowledgeType;

use crate::client_config::ClientConfig;
use crate::console_consumer::end::Limits;
use crate::console_consumer::{Formatting, deprecated, one_group};
use crate::flags::Parsed;
use crate::tool::Failure;

/// The group's name, where none is given.
const GROUP: &str = "console-share-consumer";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    config: ClientConfig,
    group: Option<String>,
    pub(super) topic: String,
    pub(super) formatting: Formatting,
    pub(super) limits: Limits,
    /// Of records that were printed.
    pub(super) acknowledgement: AcknowledgeType,
    pub(super) rejects_errors: bool,
    pub(super) tells_events: bool,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let topic = parsed.value("--topic").ok_or_else(|| usage("--topic is a required argument"))?;
        let servers = parsed
            .value("--bootstrap-server")
            .ok_or_else(|| usage("Missing required argument \"[bootstrap-server]\""))?;
        let acknowledgement = match (parsed.has("--reject"), parsed.has("--release")) {
            (true, true) => return Err(usage("At most one of --reject and --release may be specified.")),
            (true, false) => AcknowledgeType::Reject,
            (false, true) => AcknowledgeType::Release,
            (false, false) => AcknowledgeType::Accept,
        };
        let mut deprecated = deprecated();
        let mut either = |old, new| deprecated.either(parsed, old, new).map_err(Failure::Usage);
        let single = either("--consumer-property", "--command-property")?;
        let file = either("--consumer-config", "--command-config")?;
        let formatting = either("--property", "--formatter-property")?;
        Ok(Plan {
            config: ClientConfig::new(parsed.value(file), parsed.values(single))
                .fix("bootstrap.servers", servers)
                .fix("share.acknowledgement.mode", "explicit")
                .or("client.id", "console-share-consumer"),
            group: parsed.value("--group").map(str::to_owned),
            topic: topic.to_owned(),
            formatting: Formatting::of(parsed, formatting),
            limits: Limits::of(parsed),
            acknowledgement,
            rejects_errors: parsed.has("--reject-message-on-error"),
            tells_events: parsed.has("--enable-systest-events"),
            warnings: deprecated.warnings(),
        })
    }

    /// All settings of the consumer.
    pub(super) fn config(&self) -> Result<ClientConfig, Failure> {
        let group = one_group(&self.config, self.group.as_deref(), "--consumer-config")?;
        Ok(self.config.clone().fix("group.id", group.as_deref().unwrap_or(GROUP)))
    }
}
