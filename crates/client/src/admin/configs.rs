//! Settings of topics, brokers, groups and the like.

use std::collections::BTreeMap;
use std::fmt;

use ottla_types::NodeId;
use ottla_wire::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    describe_configs_request, describe_configs_response, incremental_alter_configs_request,
};

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

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set(String),
    Delete,
    /// To a list.
    Append(String),
    /// From a list.
    Subtract(String),
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

    /// Changes settings, or only tells whether it could.
    pub async fn alter_configs(
        &self,
        changes: &BTreeMap<ConfigResource, Vec<(String, AlterOp)>>,
        validate_only: bool,
    ) -> Result<Results<ConfigResource, ()>, ClientError> {
        let mut results = Results::new();
        for (target, resources) in by_target(changes.keys().cloned()) {
            let resource = |resource: &ConfigResource| incremental_alter_configs_request::Resource {
                resource_type: resource.kind as i8,
                resource_name: resource.name.clone(),
                configs: changes.get(resource).into_iter().flatten().map(change).collect(),
                ..Default::default()
            };
            let request = IncrementalAlterConfigsRequest {
                resources: resources.iter().map(resource).collect(),
                validate_only,
                ..Default::default()
            };
            let answer = self.ask(target, &request, |_| 0).await?;
            for result in answer.responses {
                let named = resources
                    .iter()
                    .find(|resource| is_named(resource, result.resource_type, &result.resource_name));
                if let Some(resource) = named {
                    let what = || format!("changing settings of {}", resource.name);
                    results.insert(resource.clone(), check(result.error_code, result.error_message, what));
                }
            }
        }
        Ok(results)
    }

    /// Names of what has settings of its own, of one kind.
    pub async fn list_config_resources(&self, kind: ResourceType) -> Result<Vec<String>, ClientError> {
        let request = ListConfigResourcesRequest { resource_types: vec![kind as i8], ..Default::default() };
        let answer = self.ask(Target::AnyNode, &request, |answer| answer.error_code).await?;
        check(answer.error_code, None, || "listing what has settings".to_owned())?;
        Ok(answer.config_resources.into_iter().map(|resource| resource.resource_name).collect())
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

fn change((name, op): &(String, AlterOp)) -> incremental_alter_configs_request::Config {
    let (operation, value) = match op {
        AlterOp::Set(value) => (0, Some(value.clone())),
        AlterOp::Delete => (1, None),
        AlterOp::Append(value) => (2, Some(value.clone())),
        AlterOp::Subtract(value) => (3, Some(value.clone())),
    };
    incremental_alter_configs_request::Config {
        name: name.clone(),
        config_operation: operation,
        value,
        ..Default::default()
    }
}
