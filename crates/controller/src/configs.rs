//! IncrementalAlterConfigs (KIP-339) and the older AlterConfigs, for topics, brokers, groups and client metrics.
//!
//! Whether a broker can run with what is set for it is checked by the broker that a client asks, which knows its static
//! configuration; here only form and existence of what is configured are.

use std::collections::BTreeMap;

use ottla_config::Overrides;
use ottla_config::alter::{self, AlterOp, Alteration, Changes, ResourceKind};
use ottla_metadata::Feature;
use ottla_metadata::image::ResourceType;
use ottla_types::NodeId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_configs_request::{self as legacy, AlterConfigsRequest};
use ottla_wire::messages::alter_configs_response::{self, AlterConfigsResponse};
use ottla_wire::messages::incremental_alter_configs_request::{
    self as incremental, IncrementalAlterConfigsRequest,
};
use ottla_wire::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use ottla_wire::records::{ClearElrRecord, ConfigRecord, MetadataRecord};

use crate::controller::Controller;
use crate::error::{ApiError, error_fields};
use crate::outcome::{Outcome, Records};
use crate::topics::MAX_PER_REQUEST;
use crate::topics::name::check_form;

const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const CORDONED_LOG_DIRS: &str = "cordoned.log.dirs";

/// In UTF-16 units.
const MAX_VALUE_LEN: usize = 32_767;

/// Settings of loggers, which no record holds.
const BROKER_LOGGER: i8 = 8;

/// A resource as requests name it, and what became of it.
struct Altered {
    resource_type: i8,
    resource_name: String,
    error_code: i16,
    error_message: Option<String>,
}

impl Controller {
    pub fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Outcome<IncrementalAlterConfigsResponse> {
        let resources = request.resources.iter().map(|resource| {
            let change = |current: &Overrides, kind| incremental_changes(kind, current, resource);
            (resource.resource_type, resource.resource_name.as_str(), change)
        });
        let outcome = self.alter(resources.collect(), request.validate_only);
        outcome.map(|altered| IncrementalAlterConfigsResponse {
            responses: altered
                .into_iter()
                .map(|altered| incremental_alter_configs_response::Response {
                    error_code: altered.error_code,
                    error_message: altered.error_message,
                    resource_type: altered.resource_type,
                    resource_name: altered.resource_name,
                    ..incremental_alter_configs_response::Response::default()
                })
                .collect(),
            ..IncrementalAlterConfigsResponse::default()
        })
    }

    /// What the request says replaces all settings of its resources.
    pub fn alter_configs(&self, request: &AlterConfigsRequest) -> Outcome<AlterConfigsResponse> {
        let resources = request.resources.iter().map(|resource| {
            let change = |current: &Overrides, kind| replacing_changes(kind, current, resource);
            (resource.resource_type, resource.resource_name.as_str(), change)
        });
        let outcome = self.alter(resources.collect(), request.validate_only);
        outcome.map(|altered| AlterConfigsResponse {
            responses: altered
                .into_iter()
                .map(|altered| alter_configs_response::Response {
                    error_code: altered.error_code,
                    error_message: altered.error_message,
                    resource_type: altered.resource_type,
                    resource_name: altered.resource_name,
                    ..alter_configs_response::Response::default()
                })
                .collect(),
            ..AlterConfigsResponse::default()
        })
    }

    /// Judges resource by resource; what is granted is written together.
    fn alter<C>(&self, resources: Vec<(i8, &str, C)>, validate_only: bool) -> Outcome<Vec<Altered>>
    where
        C: Fn(&Overrides, ResourceKind) -> Result<Changes, ApiError>,
    {
        let mut times: BTreeMap<(i8, &str), u32> = BTreeMap::new();
        for (code, name, _) in &resources {
            *times.entry((*code, *name)).or_default() += 1;
        }
        let (mut records, mut results) = (self.records(), Vec::new());
        for (code, name, change) in resources {
            match times.get(&(code, name)) {
                Some(1) => {}
                Some(0) | None => continue,
                Some(_) => {
                    times.insert((code, name), 0);
                    let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate resource.");
                    results.push((code, name, Err(error)));
                    continue;
                }
            }
            let altered = self.alter_resource(code, name, change).and_then(|(kind, changes)| {
                if records.len() + changes.len() > MAX_PER_REQUEST {
                    let message = "Unable to perform excessively large batch operation.";
                    return Err(ApiError::new(ErrorCode::PolicyViolation, message));
                }
                if !validate_only {
                    self.write_changes(kind, name, changes, &mut records);
                }
                Ok(())
            });
            if let Err(error) = &altered {
                tracing::info!(resource_type = code, resource = name, %error, "refusing to change settings");
            }
            results.push((code, name, altered));
        }
        let clearings = self.elr_clearings(&records);
        records.extend(clearings);
        let answer = |(code, name, result): (i8, &str, Result<(), ApiError>)| {
            let (error_code, error_message) = error_fields(&result);
            Altered { resource_type: code, resource_name: name.to_owned(), error_code, error_message }
        };
        records.with(results.into_iter().map(answer).collect())
    }

    fn alter_resource(
        &self,
        code: i8,
        name: &str,
        change: impl Fn(&Overrides, ResourceKind) -> Result<Changes, ApiError>,
    ) -> Result<(ResourceType, Changes), ApiError> {
        let Some(kind) = ResourceType::from_code(code) else {
            return Err(match code {
                BROKER_LOGGER => {
                    ApiError::new(ErrorCode::InvalidRequest, "Unknown resource type BROKER_LOGGER")
                }
                _ => {
                    let message = format!("Unknown resource type {code}.");
                    ApiError::new(ErrorCode::UnsupportedVersion, message)
                }
            });
        };
        let current = self.overrides(kind, name);
        let changes = change(&current, resource_kind(kind))?;
        for (key, value) in &changes {
            self.check_change(kind, name, key, value.as_deref(), &current)?;
        }
        let new = alter::applied(&current, &changes);
        self.check_resource(kind, name, &current, &new)?;
        Ok((kind, changes))
    }

    /// Rules that look at one changed key.
    fn check_change(
        &self,
        kind: ResourceType,
        resource: &str,
        key: &str,
        value: Option<&str>,
        current: &Overrides,
    ) -> Result<(), ApiError> {
        let invalid = |message: &str| Err(ApiError::new(ErrorCode::InvalidConfig, message));
        if kind == ResourceType::Broker && key == MIN_INSYNC_REPLICAS && self.is_elr_enabled() {
            if !resource.is_empty() {
                return invalid("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
            }
            if value.is_none() {
                return invalid("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
            }
        }
        if kind == ResourceType::Broker
            && key == CORDONED_LOG_DIRS
            && !self.image.features.metadata_version().are_cordoned_log_dirs_supported()
        {
            return invalid(
                "The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= 4.3-IV0",
            );
        }
        let Some(value) = value else { return Ok(()) };
        // A text that was valid when it was set stays as it is, whatever its length.
        if value.encode_utf16().count() > MAX_VALUE_LEN && current.get(key).map(String::as_str) != Some(value)
        {
            return invalid(
                "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
            );
        }
        Ok(())
    }

    /// Whether the resource may have these settings, and whether there is such a resource.
    fn check_resource(
        &self,
        kind: ResourceType,
        name: &str,
        current: &Overrides,
        new: &Overrides,
    ) -> Result<(), ApiError> {
        let invalid = |message: &str| Err(ApiError::new(ErrorCode::InvalidRequest, message));
        match kind {
            ResourceType::Topic if name.is_empty() => invalid("Default topic resources are not allowed."),
            ResourceType::Topic => {
                check_form(name)?;
                alter::validate_topic(self.config.effective(), current, new)?;
                if self.image.topics.by_name(name).is_none() {
                    let message = format!("The topic '{name}' does not exist.");
                    return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message));
                }
                Ok(())
            }
            ResourceType::Broker if name.is_empty() => Ok(()),
            ResourceType::Broker => self.check_broker(name),
            ResourceType::ClientMetrics if name.is_empty() => invalid("Subscription name can't be empty"),
            ResourceType::ClientMetrics => Ok(alter::validate_client_metrics(new)?),
            ResourceType::Group if name.is_empty() => invalid("Default group resources are not allowed."),
            ResourceType::Group => Ok(alter::validate_group(self.config.effective(), new)?),
        }
    }

    fn check_broker(&self, name: &str) -> Result<(), ApiError> {
        let id: i32 = name.parse().map_err(|_| {
            ApiError::new(ErrorCode::InvalidRequest, "Unable to parse broker name as a base 10 number.")
        })?;
        if id < 0 {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Invalid negative broker ID."));
        }
        let node = NodeId(id);
        let exists = self.image.brokers.contains_key(&node)
            || self.image.controllers.contains_key(&node)
            || node == self.settings.node_id;
        if exists {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, format!("No node with id {id} found.")))
    }

    fn write_changes(&self, kind: ResourceType, name: &str, changes: Changes, records: &mut Records) {
        for (key, value) in changes {
            let sensitive = kind == ResourceType::Broker
                && ottla_config::Table::Broker.find(&key).is_none_or(|row| row.is_sensitive());
            let shown = if sensitive { Some("[hidden]") } else { value.as_deref() };
            tracing::info!(resource = ?kind, name, key, to = ?shown, "changing a setting");
            records.push(config_record(kind, name, &key, value));
        }
    }

    /// Who was eligible under another `min.insync.replicas` may lack records (KIP-966).
    fn elr_clearings(&self, records: &Records) -> Vec<MetadataRecord> {
        if !self.is_elr_enabled() {
            return Vec::new();
        }
        let clearing = |record: &MetadataRecord| match record {
            MetadataRecord::Config(record) if record.name == MIN_INSYNC_REPLICAS => {
                let is_topic = record.resource_type == ResourceType::Topic as i8;
                let topic_name = if is_topic { record.resource_name.clone() } else { String::new() };
                Some(MetadataRecord::ClearElr(ClearElrRecord { topic_name, ..ClearElrRecord::default() }))
            }
            _ => None,
        };
        records.iter().filter_map(clearing).collect()
    }

    /// Settings that must hold before `eligible.leader.replicas.version` 1 does: all brokers go by one
    /// `min.insync.replicas` (KIP-966).
    pub(crate) fn elr_safety_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        if !self.overrides(ResourceType::Broker, "").contains_key(MIN_INSYNC_REPLICAS) {
            let value = self.settings.min_insync_replicas.to_string();
            records.push(config_record(ResourceType::Broker, "", MIN_INSYNC_REPLICAS, Some(value)));
        }
        let mut brokers: Vec<&str> = self
            .image
            .configs
            .iter()
            .filter(|(resource, settings)| {
                resource.kind == ResourceType::Broker
                    && !resource.name.is_empty()
                    && settings.contains_key(MIN_INSYNC_REPLICAS)
            })
            .map(|(resource, _)| &*resource.name)
            .collect();
        brokers.sort_unstable();
        let removals = brokers
            .into_iter()
            .map(|name| config_record(ResourceType::Broker, name, MIN_INSYNC_REPLICAS, None));
        records.extend(removals);
        records
    }

    pub(crate) fn is_elr_enabled(&self) -> bool {
        self.image.features.level(Feature::EligibleLeaderReplicasVersion) > 0
    }
}

pub(crate) fn config_record(
    kind: ResourceType,
    resource: &str,
    name: &str,
    value: Option<String>,
) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: kind as i8,
        resource_name: resource.to_owned(),
        name: name.to_owned(),
        value,
        ..ConfigRecord::default()
    })
}

fn resource_kind(kind: ResourceType) -> ResourceKind {
    match kind {
        ResourceType::Topic => ResourceKind::Topic,
        ResourceType::Broker => ResourceKind::Broker,
        ResourceType::ClientMetrics => ResourceKind::ClientMetrics,
        ResourceType::Group => ResourceKind::Group,
    }
}

fn incremental_changes(
    kind: ResourceKind,
    current: &Overrides,
    resource: &incremental::Resource,
) -> Result<Changes, ApiError> {
    let alteration = |config: &'_ incremental::Config| AlterOp::of_id(config.config_operation);
    let mut alterations = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let Some(op) = alteration(config) else {
            let message = format!("Unknown operations type {}", config.config_operation);
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        };
        alterations.push(Alteration { name: &config.name, op, value: config.value.as_deref() });
    }
    Ok(alter::changes(kind, current, &alterations)?)
}

fn replacing_changes(
    kind: ResourceKind,
    current: &Overrides,
    resource: &legacy::Resource,
) -> Result<Changes, ApiError> {
    let set = |config: &'_ legacy::Config| (config.name.clone(), config.value.clone());
    // Duplicate keys and nulls are refused as they are where each key is set by itself.
    let alterations: Vec<Alteration<'_>> = resource
        .configs
        .iter()
        .map(|config| Alteration { name: &config.name, op: AlterOp::Set, value: config.value.as_deref() })
        .collect();
    alter::changes(kind, current, &alterations)?;
    let new: Overrides =
        resource.configs.iter().map(set).filter_map(|(name, value)| Some((name, value?))).collect();
    Ok(alter::replacement(kind, current, &new))
}
