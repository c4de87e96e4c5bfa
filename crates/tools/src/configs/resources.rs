//! Settings of what DescribeConfigs and IncrementalAlterConfigs name.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{Admin, AlterOp, ConfigEntry, ConfigResource, ConfigSource, ResourceType};

use super::{Alteration, Kind, Wrong};
use crate::tool::{Output, said};

/// Settings by name: all, or only those that were set for this very resource.
async fn settings(admin: &Admin, kind: Kind, name: &str, all: bool) -> Result<Vec<ConfigEntry>, Wrong> {
    let Some(of) = kind.resource() else { return Ok(Vec::new()) };
    let wanted = match (kind, name) {
        (Kind::Topic, _) => Some(ConfigSource::DynamicTopic),
        (Kind::Broker, "") => Some(ConfigSource::DynamicDefaultBroker),
        (Kind::Broker, _) => Some(ConfigSource::DynamicBroker),
        (Kind::ClientMetrics, _) => Some(ConfigSource::DynamicClientMetrics),
        (Kind::Group, _) => Some(ConfigSource::DynamicGroup),
        _ => None,
    };
    let resource = ConfigResource::new(of, name);
    let mut described = admin.describe_configs(std::slice::from_ref(&resource), true).await?;
    let entries = described.remove(&resource).unwrap_or(Ok(Vec::new()))?;
    let is_wanted = |entry: &ConfigEntry| all || wanted.is_none_or(|wanted| entry.source == wanted);
    let mut entries: Vec<ConfigEntry> = entries.into_iter().filter(is_wanted).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

pub(super) async fn describe(
    admin: &Admin,
    kind: Kind,
    name: Option<&str>,
    all: bool,
    output: &mut Output<'_>,
) -> Result<(), Wrong> {
    let names = match name {
        Some(name) if !exists(admin, kind, name).await? => {
            return Ok(output.line(format_args!(
                "The {} '{name}' doesn't exist and doesn't have dynamic config.",
                kind.singular()
            ))?);
        }
        Some(name) => vec![name.to_owned()],
        None => every(admin, kind).await?,
    };
    for name in &names {
        match name.as_str() {
            "" => output.line(format_args!("Default configs for {} in the cluster are:", kind.name()))?,
            name => {
                let which = if all { "All" } else { "Dynamic" };
                output.line(format_args!("{which} configs for {} {name} are:", kind.singular()))?;
            }
        }
        for entry in settings(admin, kind, name, all).await? {
            output.line(format_args!("  {}", shown(&entry)))?;
        }
    }
    Ok(())
}

fn shown(entry: &ConfigEntry) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<String> =
        entry.synonyms.iter().map(|of| format!("{}:{}={}", of.source, of.name, value(&of.value))).collect();
    format!(
        "{}={} sensitive={} synonyms={{{}}}",
        entry.name,
        value(&entry.value),
        entry.is_sensitive,
        synonyms.join(", ")
    )
}

/// Names of all that there are; the default of brokers at the end.
async fn every(admin: &Admin, kind: Kind) -> Result<Vec<String>, Wrong> {
    Ok(match kind {
        Kind::Topic => topics(admin).await?,
        Kind::Broker | Kind::BrokerLogger => {
            let mut names = brokers(admin).await?;
            names.push(String::new());
            names
        }
        Kind::ClientMetrics => with_settings(admin, ResourceType::ClientMetrics).await?,
        Kind::Group => {
            let mut names: BTreeSet<String> = groups(admin).await?.into_iter().collect();
            names.extend(with_settings(admin, ResourceType::Group).await?);
            names.into_iter().collect()
        }
        Kind::Client | Kind::User | Kind::Ip => Vec::new(),
    })
}

async fn exists(admin: &Admin, kind: Kind, name: &str) -> Result<bool, Wrong> {
    Ok(name.is_empty() || every(admin, kind).await?.iter().any(|known| known == name))
}

async fn topics(admin: &Admin) -> Result<Vec<String>, Wrong> {
    let topics = admin.list_topics().await?;
    Ok(topics.iter().map(|topic| topic.name.to_string()).collect())
}

async fn brokers(admin: &Admin) -> Result<Vec<String>, Wrong> {
    let cluster = admin.describe_cluster(false).await?;
    Ok(cluster.nodes.iter().map(|node| node.id.to_string()).collect())
}

async fn groups(admin: &Admin) -> Result<Vec<String>, Wrong> {
    let mut names = Vec::new();
    for (_, listed) in admin.list_groups(&[], &[]).await {
        names.extend(listed?.into_iter().map(|group| group.id));
    }
    Ok(names)
}

async fn with_settings(admin: &Admin, kind: ResourceType) -> Result<Vec<String>, Wrong> {
    let mut names = admin.list_config_resources(kind).await?;
    names.sort();
    Ok(names)
}

/// Refuses loggers that the broker doesn't have.
async fn check_loggers(admin: &Admin, broker: &str, alteration: &Alteration) -> Result<(), Wrong> {
    let known = settings(admin, Kind::BrokerLogger, broker, true).await?;
    let is_known = |key: &&String| known.iter().any(|entry| entry.name == **key);
    let named = alteration.delete.iter().chain(alteration.add.keys());
    let unknown: Vec<&str> = named.filter(|key| !is_known(key)).map(String::as_str).collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(said(format_args!("Invalid broker logger(s): {}", unknown.join(","))).into()),
    }
}

pub(super) async fn alter(
    admin: &Admin,
    kind: Kind,
    name: &str,
    alteration: &Alteration,
) -> Result<(), Wrong> {
    let Some(of) = kind.resource() else { return Ok(()) };
    if kind == Kind::BrokerLogger {
        check_loggers(admin, name, alteration).await?;
    }
    let set = alteration.add.iter().map(|(key, value)| (key.clone(), AlterOp::Set(value.clone())));
    let delete = alteration.delete.iter().map(|key| (key.clone(), AlterOp::Delete));
    let resource = ConfigResource::new(of, name);
    let changes = BTreeMap::from([(resource, set.chain(delete).collect())]);
    let results = admin.alter_configs(&changes, false).await?;
    Ok(results.into_values().collect::<Result<(), _>>()?)
}
