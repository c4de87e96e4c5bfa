//! CreateTopics (KIP-4, KIP-525).

use std::collections::BTreeMap;

use ottla_config::Overrides;
use ottla_config::alter::{self, AlterOp, Alteration, ResourceKind};
use ottla_metadata::image::ResourceType;
use ottla_types::{METADATA_TOPIC, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::create_topics_request::{self as request, CreateTopicsRequest};
use ottla_wire::messages::create_topics_response::{self as response, CreateTopicsResponse};
use ottla_wire::records::{ConfigRecord, MetadataRecord, TopicRecord};

use super::name::NameRules;
use super::{MAX_PER_REQUEST, nodes};
use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::Outcome;

/// Replicas and ISR of each partition.
type Layout = Vec<(Vec<NodeId>, Vec<NodeId>)>;

/// What is to be made of one topic.
struct NewTopic {
    id: Uuid,
    overrides: Overrides,
    partitions: Layout,
}

impl Controller {
    /// Creates what can be created; answers for each name once.
    pub fn create_topics(&mut self, request: &CreateTopicsRequest) -> Outcome<CreateTopicsResponse> {
        if self.partitions_wanted(request) > MAX_PER_REQUEST {
            return refuse_all(request, "Excessively large number of partitions per request.");
        }
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(&topic.name).or_default() += 1;
        }
        let is_unique = |topic: &&request::Topic| times.get(topic.name.as_str()) == Some(&1);
        let topics_image = self.image.topics.clone();
        let mut names = NameRules::new(&topics_image);
        let (mut records, mut results) = (self.records(), Vec::new());
        for topic in request.topics.iter().filter(is_unique).filter(|topic| topic.name != METADATA_TOPIC) {
            let planned = names.check(&topic.name).and_then(|()| self.plan(topic));
            match planned {
                Ok(new) => {
                    results.push(self.created(topic, &new));
                    if !request.validate_only {
                        self.log_creation(topic, &new);
                        records.extend(self.creation_records(topic, new));
                    }
                }
                Err(error) => {
                    tracing::info!(topic = %topic.name, %error, "refusing to create a topic");
                    results.push(refused(&topic.name, error));
                }
            }
        }
        if records.len() > MAX_PER_REQUEST {
            return refuse_all(request, "Unable to perform excessively large batch operation.");
        }
        for (name, _) in times.iter().filter(|(_, times)| **times > 1) {
            results.push(refused(name, ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")));
        }
        if times.get(METADATA_TOPIC) == Some(&1) {
            let message = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
            results.push(refused(METADATA_TOPIC, ApiError::new(ErrorCode::InvalidRequest, message)));
        }
        records.with(CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() })
    }

    fn partitions_wanted(&self, request: &CreateTopicsRequest) -> usize {
        let wanted = |topic: &request::Topic| match (topic.assignments.len(), topic.num_partitions) {
            (0, -1) => usize::try_from(self.settings.num_partitions).unwrap_or(0),
            (0, number) => usize::try_from(number).unwrap_or(0),
            (assigned, _) => assigned,
        };
        request.topics.iter().map(wanted).fold(0, usize::saturating_add)
    }

    fn plan(&mut self, topic: &request::Topic) -> Result<NewTopic, ApiError> {
        let overrides = self.check_configs(topic)?;
        let partitions = if topic.assignments.is_empty() {
            self.automatic_partitions(topic)?
        } else {
            self.manual_partitions(topic)?
        };
        Ok(NewTopic { id: self.new_topic_id(), overrides, partitions })
    }

    fn check_configs(&self, topic: &request::Topic) -> Result<Overrides, ApiError> {
        let nulls: Vec<&str> = topic
            .configs
            .iter()
            .filter(|config| config.value.is_none())
            .map(|config| config.name.as_str())
            .collect();
        if !nulls.is_empty() {
            let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
            return Err(ApiError::new(ErrorCode::InvalidConfig, message));
        }
        // Of a key that is given twice, the last value counts.
        let wanted: BTreeMap<&str, Option<&str>> =
            topic.configs.iter().map(|config| (config.name.as_str(), config.value.as_deref())).collect();
        if wanted.is_empty() {
            return Ok(Overrides::new());
        }
        let alterations: Vec<Alteration<'_>> =
            wanted.into_iter().map(|(name, value)| Alteration { name, op: AlterOp::Set, value }).collect();
        let none = Overrides::new();
        let changes = alter::changes(ResourceKind::Topic, &none, &alterations)?;
        let overrides = alter::applied(&none, &changes);
        alter::validate_topic(self.config.effective(), &none, &overrides)?;
        Ok(overrides)
    }

    fn manual_partitions(&self, topic: &request::Topic) -> Result<Layout, ApiError> {
        let invalid = |message: &str| {
            let message =
                format!("A manual partition assignment was specified, but {message} was not set to -1.");
            Err(ApiError::new(ErrorCode::InvalidRequest, message))
        };
        if topic.replication_factor != -1 {
            return invalid("replication factor");
        }
        if topic.num_partitions != -1 {
            return invalid("numPartitions");
        }
        let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
        let mut by_partition = BTreeMap::new();
        let mut replication_factor = None;
        for assignment in &topic.assignments {
            let partition = assignment.partition_index;
            if by_partition.contains_key(&partition) {
                return refuse(format!(
                    "Found multiple manual partition assignments for partition {partition}"
                ));
            }
            self.check_assignment(&assignment.broker_ids, replication_factor)?;
            replication_factor = Some(assignment.broker_ids.len());
            let replicas = nodes(&assignment.broker_ids);
            let isr = self.first_isr(&replicas);
            if isr.is_empty() {
                return refuse(format!(
                    "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
                     controlled shutdown."
                ));
            }
            by_partition.insert(partition, (replicas, isr));
        }
        if !by_partition.keys().copied().eq((0..).take(by_partition.len())) {
            return refuse("partitions should be a consecutive 0-based integer sequence".into());
        }
        Ok(by_partition.into_values().collect())
    }

    fn automatic_partitions(&mut self, topic: &request::Topic) -> Result<Layout, ApiError> {
        let replication_factor = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            given if given > 0 => given,
            _ => {
                let message = "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
            }
        };
        let partitions = match topic.num_partitions {
            -1 => self.settings.num_partitions,
            given => given,
        };
        let Some(partitions) = usize::try_from(partitions).ok().filter(|partitions| *partitions > 0) else {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
        };
        let unable = |why: &str| {
            let message = format!("Unable to replicate the partition {replication_factor} time(s): {why}");
            ApiError::new(ErrorCode::InvalidReplicationFactor, message)
        };
        let placed = self
            .place(partitions, replication_factor)
            .map_err(|error| unable(error.message.as_deref().unwrap_or_default()))?;
        placed
            .into_iter()
            .map(|replicas| match self.first_isr(&replicas) {
                isr if isr.is_empty() => {
                    Err(unable("All brokers are currently fenced or in controlled shutdown."))
                }
                isr => Ok((replicas, isr)),
            })
            .collect()
    }

    fn creation_records(&self, topic: &request::Topic, new: NewTopic) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::Topic(TopicRecord {
            name: topic.name.clone(),
            topic_id: new.id,
            ..TopicRecord::default()
        })];
        records.extend(new.overrides.into_iter().map(|(name, value)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceType::Topic as i8,
                resource_name: topic.name.clone(),
                name,
                value: Some(value),
                ..ConfigRecord::default()
            })
        }));
        records.extend(
            (0..)
                .zip(new.partitions)
                .map(|(partition, (replicas, isr))| self.partition_record(new.id, partition, replicas, isr)),
        );
        records
    }

    /// The answer, with what settings the topic will have.
    fn created(&self, topic: &request::Topic, new: &NewTopic) -> response::Topic {
        let mut described = self.config.layers().describe_topic(&new.overrides);
        described.sort_by(|a, b| a.name.cmp(&b.name));
        let configs = described.into_iter().map(|setting| response::Config {
            name: setting.name,
            value: setting.value,
            read_only: setting.read_only,
            config_source: setting.source.id(),
            is_sensitive: setting.sensitive,
            ..response::Config::default()
        });
        let replicas = new.partitions.first().map_or(0, |(replicas, _)| replicas.len());
        response::Topic {
            name: topic.name.clone(),
            topic_id: new.id,
            num_partitions: i32::try_from(new.partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
            configs: Some(configs.collect()),
            ..response::Topic::default()
        }
    }

    fn log_creation(&self, topic: &request::Topic, new: &NewTopic) {
        tracing::info!(topic = %topic.name, topic_id = %new.id, partitions = new.partitions.len(),
            replication_factor = new.partitions.first().map_or(0, |(replicas, _)| replicas.len()),
            configs = ?new.overrides, "creating a topic");
    }
}

fn refused(name: &str, error: ApiError) -> response::Topic {
    response::Topic {
        name: name.to_owned(),
        error_code: error.code.code(),
        error_message: error.message,
        ..response::Topic::default()
    }
}

fn refuse_all(request: &CreateTopicsRequest, why: &str) -> Outcome<CreateTopicsResponse> {
    tracing::info!(topics = request.topics.len(), why, "refusing to create topics");
    let refuse =
        |topic: &request::Topic| refused(&topic.name, ApiError::new(ErrorCode::PolicyViolation, why));
    Outcome::answer(CreateTopicsResponse {
        topics: request.topics.iter().map(refuse).collect(),
        ..CreateTopicsResponse::default()
    })
}
