//! What a command line of kafka-console-consumer means.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::consumer::OffsetReset;

use super::end::Limits;
use super::formatter::Formatter;
use crate::client_config::ClientConfig;
use crate::deprecation::Deprecated;
use crate::flags::Parsed;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    config: ClientConfig,
    group: Option<String>,
    is_from_beginning: bool,
    pub(super) source: Source,
    pub(super) formatting: Formatting,
    pub(super) limits: Limits,
    pub(super) skips_errors: bool,
    pub(super) tells_events: bool,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Topic(String),
    Pattern(String),
    Partition { topic: String, partition: i32, from: From },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    End(OffsetReset),
    Offset(i64),
}

/// What is said where a flag and its successor are given, or the flag alone.
pub(crate) fn deprecated() -> Deprecated {
    Deprecated::new(
        "Options {old} and {new} cannot be specified together.",
        "Option {old} is deprecated and will be removed in a future version. Use {new} instead.",
    )
}

/// The formatter's class and what it goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Formatting {
    class: String,
    properties: ClientConfig,
}

impl Formatting {
    /// `single` names the flag of its properties.
    pub(crate) fn of(parsed: &Parsed, single: &str) -> Formatting {
        let deserializers = [("--key-deserializer", "key"), ("--value-deserializer", "value")];
        let given = deserializers.into_iter().filter_map(|(flag, of)| {
            let class = parsed.value(flag).filter(|class| !class.is_empty())?;
            Some(format!("{of}.deserializer={class}"))
        });
        let single: Vec<String> = given.chain(parsed.values(single).iter().cloned()).collect();
        Formatting {
            class: parsed.value("--formatter").unwrap_or_default().to_owned(),
            properties: ClientConfig::new(parsed.value("--formatter-config"), &single),
        }
    }

    pub(crate) fn formatter(&self) -> Result<Formatter, Failure> {
        Formatter::new(&self.class, &self.properties.read()?).map_err(said)
    }
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let source = source(parsed)?;
        let mut deprecated = deprecated();
        let mut either = |old, new| deprecated.either(parsed, old, new).map_err(Failure::Usage);
        let single = either("--consumer-property", "--command-property")?;
        let file = either("--consumer.config", "--command-config")?;
        let formatting = either("--property", "--formatter-property")?;
        let config = ClientConfig::new(parsed.value(file), parsed.values(single))
            .fix("bootstrap.servers", parsed.value("--bootstrap-server").unwrap_or_default())
            .or("client.id", "console-consumer")
            .flag("isolation.level", parsed, "--isolation-level");
        Ok(Plan {
            config,
            group: parsed.value("--group").map(str::to_owned),
            is_from_beginning: parsed.has("--from-beginning"),
            source,
            formatting: Formatting::of(parsed, formatting),
            limits: Limits::of(parsed),
            skips_errors: parsed.has("--skip-message-on-error"),
            tells_events: parsed.has("--enable-systest-events"),
            warnings: deprecated.warnings(),
        })
    }

    /// All settings of the consumer. Without a group's name it gets one that nobody has, and leaves nothing there.
    pub(super) fn config(&self, number: u32) -> Result<ClientConfig, Failure> {
        let config = self.offset_reset()?;
        match one_group(&config, self.group.as_deref(), "--consumer.config")? {
            Some(_) if matches!(self.source, Source::Partition { .. }) => {
                Err(Failure::Usage("Options group and partition cannot be specified together.".to_owned()))
            }
            Some(group) => Ok(config.fix("group.id", group)),
            None => Ok(config
                .fix("group.id", format!("console-consumer-{number}"))
                .or("enable.auto.commit", false)),
        }
    }

    fn offset_reset(&self) -> Result<ClientConfig, Failure> {
        let config = self.config.clone();
        let default = if self.is_from_beginning { "earliest" } else { "latest" };
        let config = config.or("auto.offset.reset", default);
        let all: BTreeMap<String, String> = config.read()?;
        match all.get("auto.offset.reset") {
            Some(other) if self.is_from_beginning && other != default => Err(said(format_args!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={other}', please remove one option"
            ))),
            _ => Ok(config),
        }
    }
}

/// The group that a flag, single settings and the file of settings, which `file_flag` names, agree on.
pub(crate) fn one_group(
    config: &ClientConfig,
    flag: Option<&str>,
    file_flag: &str,
) -> Result<Option<String>, Failure> {
    let named: BTreeSet<String> =
        config.said_of("group.id")?.into_iter().chain(flag.map(str::to_owned)).collect();
    if named.len() > 1 {
        let names: Vec<String> = named.iter().map(|name| format!("'{name}'")).collect();
        return Err(Failure::Usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '{file_flag}') do not match. Detected group ids: {}",
            names.join(", ")
        )));
    }
    Ok(named.into_iter().next())
}

fn source(parsed: &Parsed) -> Result<Source, Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let text = |flag| parsed.value(flag).unwrap_or_default().to_owned();
    if parsed.has("--topic") == parsed.has("--include") {
        return usage("Exactly one of the following arguments is required: [topic], [include]");
    }
    let partition: Option<i32> = parsed.number("--partition");
    if partition.is_some() && !parsed.has("--topic") {
        return usage("The topic is required when partition is specified.");
    }
    if partition.is_some() && parsed.has("--from-beginning") && parsed.has("--offset") {
        return usage("Options from-beginning and offset cannot be specified together.");
    }
    if partition.is_none() && parsed.has("--offset") {
        return usage("The partition is required when offset is specified.");
    }
    if !parsed.has("--bootstrap-server") {
        return usage("Missing required argument \"[bootstrap-server]\"");
    }
    Ok(match partition {
        Some(partition) => Source::Partition { topic: text("--topic"), partition, from: from(parsed)? },
        None if parsed.has("--topic") => Source::Topic(text("--topic")),
        None => Source::Pattern(text("--include")),
    })
}

fn from(parsed: &Parsed) -> Result<From, Failure> {
    if !parsed.has("--offset") {
        let is_first = parsed.has("--from-beginning");
        return Ok(From::End(if is_first { OffsetReset::Earliest } else { OffsetReset::Latest }));
    }
    let text = parsed.value("--offset").unwrap_or_default();
    match (text.to_ascii_lowercase().as_str(), text.parse::<i64>()) {
        ("earliest", _) => Ok(From::End(OffsetReset::Earliest)),
        ("latest", _) => Ok(From::End(OffsetReset::Latest)),
        (_, Ok(offset)) if offset >= 0 => Ok(From::Offset(offset)),
        _ => Err(Failure::Usage(format!(
            "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
        ))),
    }
}
