//! Settings of topics, brokers, groups and the like.

use std::fmt;

use ottla_types::NodeId;
use ottla_wire::messages::{DescribeConfigsRequest, describe_configs_request, describe_configs_response};

use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// What settings belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

/// One topic, broker and so on. The broker without name is the default of all brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    pub kind: ResourceType,
    pub name: String,
}

impl ConfigResource {
    pub fn new(kind: ResourceType, name: impl Into<String>) -> ConfigResource {
        ConfigResource { kind, name: name.into() }
    }

    pub fn topic(name: impl Into<String>) -> ConfigResource {
        ConfigResource::new(ResourceType::Topic, name)
    }

    /// Settings of a node are known to that node only.
    fn target(&self) -> Target {
        let is_of_node = matches!(self.kind, ResourceType::Broker | ResourceType::BrokerLogger);
        match self.name.parse() {
            Ok(id) if is_of_node => Target::Node(NodeId(id)),
            _ => Target::AnyNode,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Unknown,
    DynamicTopic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    DynamicBrokerLogger,
    DynamicClientMetrics,
    DynamicGroup,
}

impl ConfigSource {
    fn of(id: i8) -> ConfigSource {
        match id {
            1 => ConfigSource::DynamicTopic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            6 => ConfigSource::DynamicBrokerLogger,
            7 => ConfigSource::DynamicClientMetrics,
            8 => ConfigSource::DynamicGroup,
            _ => ConfigSource::Unknown,
        }
    }
}

/// Kafka's name.
impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigSource::Unknown => "UNKNOWN",
            ConfigSource::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
            ConfigSource::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            ConfigSource::DynamicClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            ConfigSource::DynamicGroup => "DYNAMIC_GROUP_CONFIG",
        })
    }
}

/// A setting and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` also where it must not be told.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_sensitive: bool,
    pub is_read_only: bool,
    /// What would count if the ones before were not set.
    pub synonyms: Vec<ConfigSynonym>,
}

/// A value at one of the places where it can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

impl Admin {
    /// All settings of each resource.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        with_synonyms: bool,
    ) -> Result<Results<ConfigResource, Vec<ConfigEntry>>, ClientError> {
        let mut results = Results::new();
        for (target, resources) in by_target(resources.iter().cloned()) {
            let resource = |resource: &ConfigResource| describe_configs_request::Resource {
                resource_type: resource.kind as i8,
                resource_name: resource.name.clone(),
                configuration_keys: None,
                ..Default::default()
            };
            let request = DescribeConfigsRequest {
                resources: resources.iter().map(resource).collect(),
                include_synonyms: with_synonyms,
                ..Default::default()
            };
            let answer = self.ask(target, &request, |_| 0).await?;
            for result in answer.results {
                let Some(resource) = resources
                    .iter()
                    .find(|resource| is_named(resource, result.resource_type, &result.resource_name))
                else {
                    continue;
                };
                let checked = check(result.error_code, result.error_message, || {
                    format!("describing {}", resource.name)
                });
                let entries = result.configs.into_iter().map(entry).collect();
                results.insert(resource.clone(), checked.map(|()| entries));
            }
        }
        Ok(results)
    }
}

fn by_target(resources: impl Iterator<Item = ConfigResource>) -> Vec<(Target, Vec<ConfigResource>)> {
    let mut targets: Vec<(Target, Vec<ConfigResource>)> = Vec::new();
    for resource in resources {
        let target = resource.target();
        match targets.iter_mut().find(|(known, _)| *known == target) {
            Some((_, resources)) => resources.push(resource),
            None => targets.push((target, vec![resource])),
        }
    }
    targets
}

fn is_named(resource: &ConfigResource, kind: i8, name: &str) -> bool {
    resource.kind as i8 == kind && resource.name == name
}

fn entry(config: describe_configs_response::Config) -> ConfigEntry {
    let synonym = |synonym: describe_configs_response::Synonym| ConfigSynonym {
        name: synonym.name,
        value: synonym.value,
        source: ConfigSource::of(synonym.source),
    };
    ConfigEntry {
        name: config.name,
        value: config.value,
        source: ConfigSource::of(config.config_source),
        is_sensitive: config.is_sensitive,
        is_read_only: config.read_only,
        synonyms: config.synonyms.into_iter().map(synonym).collect(),
    }
}
