//! An administrator: creates the topics that last, and then makes, changes and deletes others, and deletes records.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_broker::api::table::Api;
use ottla_types::TopicPartition;
use ottla_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use ottla_wire::messages::{
    create_topics_request, delete_records_request, delete_topics_request, describe_configs_request,
    describe_topic_partitions_request, incremental_alter_configs_request,
};
use ottla_wire::{ApiKey, ErrorCode};

use super::asking::{Asking, Said};
use super::{Client, Topics, World, is_retriable};
use crate::event::Event;
use crate::network::{Link, decode};

const CREATE_VERSION: i16 = 7;
const DELETE_VERSION: i16 = 6;
const DESCRIBE_VERSION: i16 = 0;
const DELETE_RECORDS_VERSION: i16 = 2;
const ALTER_CONFIGS_VERSION: i16 = 1;
const DESCRIBE_CONFIGS_VERSION: i16 = 4;
const RETRY_MS: i64 = 100;
const TOPIC_RESOURCE: i8 = 2;
/// A setting that changes nothing that a run could notice.
const KEY: &str = "delete.retention.ms";

/// What it asked for.
#[derive(Clone, Debug)]
enum Asked {
    Create { name: String, partitions: i32 },
    Describe,
    Delete { name: String },
    DeleteRecords { partition: TopicPartition },
    SetConfig { topic: String, value: String },
    GetConfig { topic: String },
}

/// See the module.
#[derive(Debug)]
pub struct Admin {
    /// Names and partitions of the topics that are to last.
    lasting: BTreeMap<String, i32>,
    created: usize,
    /// Topics that come and go.
    passing: Vec<String>,
    next_passing: u32,
    asking: Asking<Asked>,
    is_finishing: bool,
}

impl Admin {
    pub fn new(lasting: &[(&str, i32)]) -> Admin {
        Admin {
            lasting: lasting.iter().map(|(name, partitions)| (name.to_string(), *partitions)).collect(),
            created: 0,
            passing: Vec::new(),
            next_passing: 0,
            asking: Asking::default(),
            is_finishing: false,
        }
    }

    fn answered(&mut self, asked: Asked, body: &Bytes, world: &mut World<'_>) {
        let (what, code) = match asked {
            Asked::Create { name, partitions } => {
                let response: CreateTopicsResponse = decode(body, CREATE_VERSION);
                let result = &response.topics[0];
                let is_lasting = self.lasting.contains_key(&name);
                if result.error_code == 0 {
                    let id = result.topic_id;
                    world.events.push(Event::TopicCreated { name: name.clone(), id, partitions });
                    if !is_lasting {
                        self.passing.push(name);
                    }
                }
                let exists = result.error_code == ErrorCode::TopicAlreadyExists.code();
                if is_lasting && (exists || result.error_code == 0) {
                    self.created += 1;
                }
                // An answer that was lost: it may exist by now.
                ("CreateTopics", if exists { 0 } else { result.error_code })
            }
            Asked::Describe => {
                let response: DescribeTopicPartitionsResponse = decode(body, DESCRIBE_VERSION);
                for topic in &response.topics {
                    if let Some(name) = topic.name.clone().filter(|_| topic.error_code == 0) {
                        let partitions = topic.partitions.len() as i32;
                        world.topics.lasting.insert(name, (topic.topic_id, partitions));
                    }
                }
                ("DescribeTopicPartitions", 0)
            }
            Asked::Delete { name } => {
                let response: DeleteTopicsResponse = decode(body, DELETE_VERSION);
                let code = response.responses[0].error_code;
                if code == 0 || code == ErrorCode::UnknownTopicOrPartition.code() {
                    self.passing.retain(|passing| *passing != name);
                    world.events.push(Event::TopicDeleted { name });
                }
                ("DeleteTopics", code)
            }
            Asked::DeleteRecords { partition } => {
                let response: DeleteRecordsResponse = decode(body, DELETE_RECORDS_VERSION);
                let result = &response.topics[0].partitions[0];
                if result.error_code == 0 {
                    let low_watermark = result.low_watermark;
                    world.events.push(Event::RecordsDeleted { partition, low_watermark });
                }
                // What was read of the end may be lost by now.
                let is_gone = result.error_code == ErrorCode::OffsetOutOfRange.code();
                ("DeleteRecords", if is_gone { 0 } else { result.error_code })
            }
            Asked::SetConfig { topic, value } => {
                let response: IncrementalAlterConfigsResponse = decode(body, ALTER_CONFIGS_VERSION);
                let code = response.responses[0].error_code;
                if code == 0 {
                    world.events.push(Event::ConfigSet { topic, key: KEY.to_owned(), value });
                }
                ("IncrementalAlterConfigs", code)
            }
            Asked::GetConfig { topic } => {
                let response: DescribeConfigsResponse = decode(body, DESCRIBE_CONFIGS_VERSION);
                let result = &response.results[0];
                if result.error_code == 0 {
                    let found = result.configs.iter().find(|config| config.name == KEY);
                    let value = found.and_then(|config| config.value.clone());
                    world.events.push(Event::ConfigSeen { topic, key: KEY.to_owned(), value });
                }
                ("DescribeConfigs", result.error_code)
            }
        };
        if is_retriable(code) {
            self.asking.wait_ms(RETRY_MS, world);
        } else if code != 0 {
            world.unexpected("administrator", what, code);
        }
    }

    /// The next thing to do; none for now.
    fn next(&mut self, world: &mut World<'_>) -> Option<Asked> {
        if let Some((name, partitions)) = self.lasting.iter().nth(self.created) {
            return Some(Asked::Create { name: name.clone(), partitions: *partitions });
        }
        if world.topics.lasting.is_empty() {
            return Some(Asked::Describe);
        }
        if self.is_finishing || !world.rng.one_in(12) {
            return None;
        }
        let lasting: Vec<_> = self.lasting.keys().collect();
        let topic = lasting[world.rng.below(lasting.len() as u64) as usize].clone();
        let has_configs = Api::find(ApiKey::IncrementalAlterConfigs).is_some();
        match world.rng.below(6) {
            0 | 1 => {
                self.next_passing += 1;
                let partitions = world.rng.between(1, 3) as i32;
                Some(Asked::Create { name: format!("passing-{}", self.next_passing), partitions })
            }
            2 => Some(Asked::Delete { name: self.passing.first()?.clone() }),
            3 => {
                let partitions = world.topics.partitions();
                let partition = partitions[world.rng.below(partitions.len() as u64) as usize].clone();
                Some(Asked::DeleteRecords { partition })
            }
            4 if has_configs => {
                Some(Asked::SetConfig { topic, value: world.rng.between(1000, 9000).to_string() })
            }
            5 if has_configs => Some(Asked::GetConfig { topic }),
            _ => None,
        }
    }

    fn send(&mut self, asked: Asked, link: &mut Link, world: &mut World<'_>) {
        let now = world.now.mono;
        let ticket = match &asked {
            Asked::Create { name, partitions } => {
                let topic = create_topics_request::Topic {
                    name: name.clone(),
                    num_partitions: *partitions,
                    replication_factor: 1,
                    ..create_topics_request::Topic::default()
                };
                let request = CreateTopicsRequest {
                    topics: vec![topic],
                    timeout_ms: 5_000,
                    ..CreateTopicsRequest::default()
                };
                link.send(&request, CREATE_VERSION, now, world.rng)
            }
            Asked::Describe => {
                let topic = |name: &String| describe_topic_partitions_request::Topic {
                    name: name.clone(),
                    ..describe_topic_partitions_request::Topic::default()
                };
                let request = DescribeTopicPartitionsRequest {
                    topics: self.lasting.keys().map(topic).collect(),
                    response_partition_limit: 2_000,
                    ..DescribeTopicPartitionsRequest::default()
                };
                link.send(&request, DESCRIBE_VERSION, now, world.rng)
            }
            Asked::Delete { name } => {
                world.events.push(Event::TopicDeleting { name: name.clone() });
                let topic = delete_topics_request::Topic {
                    name: Some(name.clone()),
                    ..delete_topics_request::Topic::default()
                };
                let request = DeleteTopicsRequest {
                    topics: vec![topic],
                    timeout_ms: 5_000,
                    ..DeleteTopicsRequest::default()
                };
                link.send(&request, DELETE_VERSION, now, world.rng)
            }
            Asked::DeleteRecords { partition } => {
                let offset = world.rng.below(60) as i64;
                let of_partition = delete_records_request::Partition {
                    partition_index: partition.partition,
                    offset,
                    ..delete_records_request::Partition::default()
                };
                let topic = delete_records_request::Topic {
                    name: partition.topic.to_string(),
                    partitions: vec![of_partition],
                    ..delete_records_request::Topic::default()
                };
                let request = DeleteRecordsRequest {
                    topics: vec![topic],
                    timeout_ms: 5_000,
                    ..DeleteRecordsRequest::default()
                };
                link.send(&request, DELETE_RECORDS_VERSION, now, world.rng)
            }
            Asked::SetConfig { topic, value } => {
                world.events.push(Event::ConfigSetting { topic: topic.clone(), key: KEY.to_owned() });
                let config = incremental_alter_configs_request::Config {
                    name: KEY.to_owned(),
                    config_operation: 0,
                    value: Some(value.clone()),
                    ..incremental_alter_configs_request::Config::default()
                };
                let resource = incremental_alter_configs_request::Resource {
                    resource_type: TOPIC_RESOURCE,
                    resource_name: topic.clone(),
                    configs: vec![config],
                    ..incremental_alter_configs_request::Resource::default()
                };
                let request = IncrementalAlterConfigsRequest {
                    resources: vec![resource],
                    ..IncrementalAlterConfigsRequest::default()
                };
                link.send(&request, ALTER_CONFIGS_VERSION, now, world.rng)
            }
            Asked::GetConfig { topic } => {
                let resource = describe_configs_request::Resource {
                    resource_type: TOPIC_RESOURCE,
                    resource_name: topic.clone(),
                    configuration_keys: Some(vec![KEY.to_owned()]),
                    ..describe_configs_request::Resource::default()
                };
                let request =
                    DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
                link.send(&request, DESCRIBE_CONFIGS_VERSION, now, world.rng)
            }
        };
        self.asking.ask(ticket, asked);
    }
}

impl Client for Admin {
    fn step(&mut self, link: &mut Link, world: &mut World<'_>) {
        while let Some(said) = self.asking.hear(link, world) {
            match said {
                Said::Answer(asked, body) => self.answered(asked, &body, world),
                Said::Lost(_) => self.asking.wait_ms(RETRY_MS, world),
            }
        }
        if !self.asking.may_ask(world) || !world.connect(link) {
            return;
        }
        if let Some(asked) = self.next(world) {
            self.send(asked, link, world);
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
    }

    fn is_finished(&self, topics: &Topics) -> bool {
        !self.asking.is_under_way() && !topics.lasting.is_empty()
    }
}
