//! DescribeConfigs (KIP-133, KIP-226, KIP-569): the settings of topics, this broker, all brokers, groups and client
//! metrics, with where each comes from.

use std::sync::Arc;

use ottla_config::{ConfigSource, Described, DynamicConfig, Layer};
use ottla_metadata::MetadataImage;
use ottla_metadata::image::ResourceType;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_configs_request::{DescribeConfigsRequest, Resource};
use ottla_wire::messages::describe_configs_response::{
    Config, DescribeConfigsResponse, Result as ResourceResult, Synonym,
};

use super::bounds::keep_first_of_each;
use super::call::Call;
use crate::loggers::LogLevel;
use crate::node::Node;
use crate::publisher::overrides;
use ottla_types::topic_name;

/// The levels of a broker's loggers, which are no settings that anybody stores.
pub(super) const BROKER_LOGGER: i8 = 8;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeConfigsRequest>) {
    let (_, mut request, answer) = call.into_parts();
    let key = |resource: &Resource| Some((resource.resource_type, resource.resource_name.clone()));
    keep_first_of_each(&mut request.resources, key);
    let image = node.metadata.image();
    let layers = node.dynamic_config.read().clone();
    let results = request.resources.iter().map(|resource| {
        let described = describe(node, &image, &layers, resource);
        let (error_code, error_message, settings) = match described {
            Ok(settings) => (ErrorCode::None.code(), None, settings),
            Err(Refused(code, message)) => (code.code(), message, Vec::new()),
        };
        let is_asked = |name: &String| match &resource.configuration_keys {
            Some(keys) => keys.is_empty() || keys.contains(name),
            None => true,
        };
        let settings = settings.into_iter().filter(|setting| is_asked(&setting.name));
        ResourceResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: settings.map(|setting| config(setting, &request)).collect(),
            ..ResourceResult::default()
        }
    });
    let response =
        DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() };
    answer.reply(&response);
}

/// Why a resource isn't described.
struct Refused(ErrorCode, Option<String>);

impl Refused {
    fn request(why: impl Into<String>) -> Refused {
        Refused(ErrorCode::InvalidRequest, Some(why.into()))
    }
}

fn describe(
    node: &Node,
    image: &MetadataImage,
    layers: &DynamicConfig,
    resource: &Resource,
) -> Result<Vec<Described>, Refused> {
    let name = resource.resource_name.as_str();
    match ResourceType::from_code(resource.resource_type) {
        Some(ResourceType::Topic) => {
            topic_name::check(name).map_err(|why| Refused(ErrorCode::InvalidTopicException, Some(why)))?;
            if image.topics.by_name(name).is_none() {
                return Err(Refused(ErrorCode::UnknownTopicOrPartition, None));
            }
            Ok(layers.describe_topic(&overrides(image, ResourceType::Topic, name)))
        }
        Some(ResourceType::Broker) if name.is_empty() => Ok(layers.describe_all_brokers()),
        Some(ResourceType::Broker) => {
            check_broker(node, name, " or empty string,")?;
            Ok(layers.describe_broker())
        }
        Some(ResourceType::ClientMetrics) if name.is_empty() => {
            Err(Refused::request("Client metrics subscription name must not be empty"))
        }
        Some(ResourceType::ClientMetrics) => {
            Ok(client_metrics(overrides(image, ResourceType::ClientMetrics, name)))
        }
        Some(ResourceType::Group) if name.is_empty() => Err(Refused::request("Group name must not be empty")),
        Some(ResourceType::Group) => Ok(layers.describe_group(&overrides(image, ResourceType::Group, name))),
        None if resource.resource_type == BROKER_LOGGER => {
            if name.is_empty() {
                return Err(Refused::request("Broker id must not be empty"));
            }
            check_broker(node, name, "")?;
            Ok(logger_levels(node))
        }
        None => Err(Refused::request(format!(
            "Unexpected resource type {} for resource {name}",
            resource.resource_type
        ))),
    }
}

/// Only the broker itself knows its settings.
fn check_broker(node: &Node, name: &str, or_what: &str) -> Result<(), Refused> {
    let own = node.identity.node_id.value();
    match name.parse::<i32>() {
        Ok(id) if id == own => Ok(()),
        Ok(_) => Err(Refused::request(format!(
            "Unexpected broker id, expected {own}{or_what} but received {name}"
        ))),
        Err(_) => Err(Refused::request(format!("Broker id must be an integer, but it is: {name}"))),
    }
}

fn logger_levels(node: &Node) -> Vec<Described> {
    let described = |(name, level): (String, LogLevel)| Described {
        name,
        value: Some(level.to_string()),
        read_only: false,
        source: ConfigSource::DynamicBrokerLogger,
        sensitive: false,
        synonyms: Vec::new(),
        kind: None,
        documentation: None,
    };
    node.hooks.loggers.levels().into_iter().map(described).collect()
}

/// Only what is set is shown of a subscription.
fn client_metrics(overrides: ottla_config::Overrides) -> Vec<Described> {
    let described = |(name, value)| Described {
        name,
        value: Some(value),
        read_only: false,
        source: ConfigSource::ClientMetrics,
        sensitive: false,
        synonyms: Vec::new(),
        kind: None,
        documentation: None,
    };
    overrides.into_iter().map(described).collect()
}

fn config(setting: Described, request: &DescribeConfigsRequest) -> Config {
    let documentation = setting.documentation.filter(|_| request.include_documentation);
    let synonyms = if request.include_synonyms { setting.synonyms } else { Vec::new() };
    Config {
        name: setting.name,
        value: setting.value,
        read_only: setting.read_only,
        config_source: setting.source.id(),
        is_sensitive: setting.sensitive,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: setting.kind.map_or(0, ottla_config::Type::id),
        documentation: documentation.map(str::to_owned),
        ..Config::default()
    }
}

fn synonym(layer: Layer) -> Synonym {
    Synonym { name: layer.name, value: layer.value, source: layer.source.id(), ..Synonym::default() }
}
