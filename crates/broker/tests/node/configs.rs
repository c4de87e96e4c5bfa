//! Settings change while the node runs, act at once, and stay.

use bytes::Bytes;
use ottla_record::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_configs_request::{self, AlterConfigsRequest};
use ottla_wire::messages::describe_configs_request::{self, DescribeConfigsRequest};
use ottla_wire::messages::describe_configs_response::{Config, Result as Described};
use ottla_wire::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use ottla_wire::messages::list_config_resources_request::ListConfigResourcesRequest;
use ottla_wire::messages::produce_request::{self, ProduceRequest};

use crate::harness::SteppedNode;
use crate::topics::create;

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
pub const BROKER_LOGGER: i8 = 8;
pub const CLIENT_METRICS: i8 = 16;
pub const GROUP: i8 = 32;

/// A key and what it is set to; `None` deletes.
pub type Change<'a> = (&'a str, Option<&'a str>);

fn alteration(kind: i8, name: &str, changes: &[Change<'_>]) -> IncrementalAlterConfigsRequest {
    let config = |(name, value): &Change<'_>| incremental_alter_configs_request::Config {
        name: (*name).to_owned(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::Resource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: changes.iter().map(config).collect(),
            ..Default::default()
        }],
        ..IncrementalAlterConfigsRequest::default()
    }
}

pub fn alter(node: &mut SteppedNode, kind: i8, name: &str, changes: &[Change<'_>]) -> (ErrorCode, String) {
    let mut altered = node.ask(&alteration(kind, name, changes), 1);
    assert_eq!(altered.responses.len(), 1);
    let answer = altered.responses.remove(0);
    assert_eq!((answer.resource_type, answer.resource_name.as_str()), (kind, name));
    let code = ErrorCode::from_code(answer.error_code).unwrap();
    (code, answer.error_message.unwrap_or_default())
}

pub fn alter_well(node: &mut SteppedNode, kind: i8, name: &str, changes: &[Change<'_>]) {
    assert_eq!(alter(node, kind, name, changes), (ErrorCode::None, String::new()));
}

fn describe(node: &mut SteppedNode, kind: i8, name: &str) -> Described {
    let request = DescribeConfigsRequest {
        resources: vec![describe_configs_request::Resource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configuration_keys: None,
            ..Default::default()
        }],
        include_synonyms: true,
        include_documentation: true,
        ..DescribeConfigsRequest::default()
    };
    node.ask(&request, 4).results.remove(0)
}

fn setting(node: &mut SteppedNode, kind: i8, name: &str, key: &str) -> Config {
    let described = describe(node, kind, name);
    assert_eq!(described.error_code, 0, "{:?}", described.error_message);
    described.configs.into_iter().find(|config| config.name == key).expect("the key is described")
}

/// Value, and where it comes from.
fn value(node: &mut SteppedNode, kind: i8, name: &str, key: &str) -> (String, i8) {
    let config = setting(node, kind, name, key);
    (config.value.unwrap_or_default(), config.config_source)
}

/// The settings by which the first log acts.
fn log_config(node: &SteppedNode) -> std::sync::Arc<ottla_log::LogConfig> {
    node.node.logs().logs().remove(0).config()
}

#[test]
fn a_topics_settings_reach_its_logs_and_go_back_to_the_defaults() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[("segment.bytes", "2097152")]);
    assert_eq!(log_config(&node).segment_bytes, 2_097_152);
    let changes = [
        ("retention.ms", Some("0")),
        ("cleanup.policy", Some("compact")),
        ("segment.bytes", Some("1048576")),
        ("max.message.bytes", Some("1000")),
    ];
    alter_well(&mut node, TOPIC, "a", &changes);
    let config = log_config(&node);
    assert_eq!((config.retention_ms, config.segment_bytes, config.max_message_bytes), (0, 1_048_576, 1000));
    assert!(config.cleanup_policy.compact && !config.cleanup_policy.delete);
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!(*log_config(&node), *config);
    alter_well(&mut node, TOPIC, "a", &changes.map(|(name, _)| (name, None)));
    let config = log_config(&node);
    assert_eq!((config.retention_ms, config.segment_bytes), (604_800_000, 1_073_741_824));
    assert!(config.cleanup_policy.delete && !config.cleanup_policy.compact);
}

#[test]
fn settings_are_described_with_every_layer_below() {
    let mut node = SteppedNode::start(&[("log.retention.hours", "2")]);
    create(&mut node, "a", 1, &[]);
    // Hours are another key than the one that stands below the topic's: Apache Kafka calls that a default.
    assert_eq!(value(&mut node, TOPIC, "a", "retention.ms"), ("7200000".into(), 5));
    alter_well(&mut node, BROKER, "", &[("log.retention.ms", Some("5000"))]);
    assert_eq!(value(&mut node, TOPIC, "a", "retention.ms"), ("5000".into(), 3));
    alter_well(&mut node, BROKER, "1", &[("log.retention.ms", Some("6000"))]);
    alter_well(&mut node, TOPIC, "a", &[("retention.ms", Some("7000"))]);
    let config = setting(&mut node, TOPIC, "a", "retention.ms");
    let layers: Vec<(&str, &str, i8)> = config
        .synonyms
        .iter()
        .map(|layer| (layer.name.as_str(), layer.value.as_deref().unwrap(), layer.source))
        .collect();
    let expected = [
        ("retention.ms", "7000", 1),
        ("log.retention.ms", "6000", 2),
        ("log.retention.ms", "5000", 3),
        ("log.retention.hours", "2", 4),
        ("log.retention.hours", "168", 5),
    ];
    assert_eq!(layers, expected);
    assert_eq!((config.config_type, config.read_only, config.is_sensitive), (5, false, false));
    assert!(config.documentation.is_some());
}

#[test]
fn settings_of_brokers_are_the_defaults_of_topics() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    alter_well(&mut node, BROKER, "", &[("log.segment.bytes", Some("1048576"))]);
    assert_eq!(log_config(&node).segment_bytes, 1_048_576);
    alter_well(&mut node, BROKER, "1", &[("log.segment.bytes", Some("2097152"))]);
    assert_eq!(log_config(&node).segment_bytes, 2_097_152);
    assert_eq!(value(&mut node, BROKER, "1", "log.segment.bytes"), ("2097152".into(), 2));
    assert_eq!(value(&mut node, BROKER, "", "log.segment.bytes"), ("1048576".into(), 3));
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!(log_config(&node).segment_bytes, 2_097_152);
    alter_well(&mut node, BROKER, "1", &[("log.segment.bytes", None)]);
    assert_eq!(log_config(&node).segment_bytes, 1_048_576);
}

#[test]
fn what_a_broker_could_not_run_with_is_refused() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let mut check = |kind, name, changes: &[Change<'_>], code, message: &str| {
        let (answered, words) = alter(&mut node, kind, name, changes);
        assert_eq!(answered, code, "{name}: {words}");
        assert!(words.contains(message), "{words}");
    };
    let bad = ErrorCode::InvalidRequest;
    check(BROKER, "1", &[("node.id", Some("2"))], bad, "Cannot update these configs dynamically");
    check(BROKER, "2", &[("log.retention.ms", Some("1"))], bad, "Unexpected broker id, expected 1");
    check(BROKER, "x", &[("log.retention.ms", Some("1"))], bad, "must be an integer");
    check(BROKER, "1", &[("log.retention.ms", Some("soon"))], bad, "log.retention.ms");
    check(BROKER, "1", &[("a", Some("1")), ("a", Some("2"))], bad, "duplicate config keys");
    check(99, "1", &[], bad, "Unknown resource type 99");
    check(BROKER_LOGGER, "1", &[("root", Some("DEBUG"))], ErrorCode::InvalidConfig, "root does not exist");
    check(TOPIC, "a", &[("retention.ms", Some("soon"))], ErrorCode::InvalidConfig, "retention.ms");
    check(TOPIC, "a", &[("no.such.key", Some("1"))], ErrorCode::InvalidConfig, "no.such.key");
    check(TOPIC, "b", &[("retention.ms", Some("1"))], ErrorCode::UnknownTopicOrPartition, "does not exist");
    assert_eq!(value(&mut node, TOPIC, "a", "retention.ms"), ("604800000".into(), 5));
}

#[test]
fn resources_are_answered_in_their_order_each_with_its_own_error() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let mut request = alteration(BROKER, "2", &[("log.retention.ms", Some("1"))]);
    request.resources.extend(alteration(TOPIC, "a", &[("retention.ms", Some("5"))]).resources);
    request.resources.extend(alteration(TOPIC, "b", &[("retention.ms", Some("5"))]).resources);
    let altered = node.ask(&request, 1);
    let codes: Vec<_> = altered.responses.iter().map(|r| (r.resource_name.as_str(), r.error_code)).collect();
    let (invalid, unknown) = (ErrorCode::InvalidRequest.code(), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(codes, [("2", invalid), ("a", 0), ("b", unknown)]);
    assert_eq!(value(&mut node, TOPIC, "a", "retention.ms"), ("5".into(), 1));
    let mut twice = alteration(TOPIC, "a", &[("retention.ms", Some("6"))]);
    twice.resources.extend(twice.resources.clone());
    let altered = node.ask(&twice, 1);
    assert!(altered.responses.iter().all(|response| response.error_code == invalid));
    assert_eq!(value(&mut node, TOPIC, "a", "retention.ms"), ("5".into(), 1));
}

#[test]
fn validation_alone_changes_nothing() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[]);
    let request = IncrementalAlterConfigsRequest {
        validate_only: true,
        ..alteration(TOPIC, "a", &[("retention.ms", Some("5"))])
    };
    assert_eq!(node.ask(&request, 1).responses[0].error_code, 0);
    assert_eq!(log_config(&node).retention_ms, 604_800_000);
}

#[test]
fn the_older_request_replaces_all_settings() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "a", 1, &[("retention.ms", "5"), ("retention.bytes", "6")]);
    let config = alter_configs_request::Config {
        name: "retention.bytes".into(),
        value: Some("7".into()),
        ..Default::default()
    };
    let request = AlterConfigsRequest {
        resources: vec![alter_configs_request::Resource {
            resource_type: TOPIC,
            resource_name: "a".into(),
            configs: vec![config],
            ..Default::default()
        }],
        ..AlterConfigsRequest::default()
    };
    assert_eq!(node.ask(&request, 2).responses[0].error_code, 0);
    let config = log_config(&node);
    assert_eq!((config.retention_ms, config.retention_bytes), (604_800_000, 7));
}

#[test]
fn groups_and_client_metrics_have_settings() {
    let mut node = SteppedNode::start(&[]);
    alter_well(&mut node, GROUP, "g", &[("consumer.session.timeout.ms", Some("50000"))]);
    assert_eq!(value(&mut node, GROUP, "g", "consumer.session.timeout.ms"), ("50000".into(), 8));
    alter_well(&mut node, CLIENT_METRICS, "m", &[("interval.ms", Some("5000"))]);
    assert_eq!(value(&mut node, CLIENT_METRICS, "m", "interval.ms"), ("5000".into(), 7));
    create(&mut node, "a", 1, &[]);
    let mut list = |kinds: &[i8], version| -> Vec<(String, i8)> {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec(), ..Default::default() };
        let listed = node.ask(&request, version);
        assert_eq!(listed.error_code, 0);
        listed.config_resources.into_iter().map(|r| (r.resource_name, r.resource_type)).collect()
    };
    let of = |name: &str, kind| (name.to_owned(), kind);
    assert_eq!(list(&[], 0), [of("m", CLIENT_METRICS)]);
    let all =
        [of("g", GROUP), of("m", CLIENT_METRICS), of("1", BROKER_LOGGER), of("1", BROKER), of("a", TOPIC)];
    assert_eq!(list(&[], 1), all);
    assert_eq!(list(&[TOPIC], 1), [of("a", TOPIC)]);
}

#[test]
fn resources_that_cannot_be_described_say_why() {
    let mut node = SteppedNode::start(&[]);
    let mut code = |kind, name| ErrorCode::from_code(describe(&mut node, kind, name).error_code).unwrap();
    assert_eq!(code(TOPIC, "a"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(TOPIC, "a/b"), ErrorCode::InvalidTopicException);
    assert_eq!(code(BROKER, "2"), ErrorCode::InvalidRequest);
    assert_eq!(code(GROUP, ""), ErrorCode::InvalidRequest);
    assert_eq!(code(99, "a"), ErrorCode::InvalidRequest);
    assert_eq!(code(BROKER_LOGGER, "1"), ErrorCode::None);
    let sensitive = value(&mut node, BROKER, "1", "log.dirs");
    assert_eq!(sensitive, ("/data".into(), 4));
}

#[test]
fn only_the_asked_keys_are_described() {
    let mut node = SteppedNode::start(&[]);
    let mut names = |keys: Option<Vec<String>>| {
        let resource = describe_configs_request::Resource {
            resource_type: BROKER,
            resource_name: "1".into(),
            configuration_keys: keys,
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let results = node.ask(&request, 1).results.remove(0);
        results.configs.into_iter().map(|config| config.name).collect::<Vec<_>>()
    };
    assert_eq!(names(Some(vec!["log.dirs".into(), "no.such.key".into()])), ["log.dirs"]);
    // As with Apache Kafka, no keys are all keys.
    assert_eq!(names(Some(vec![])), names(None));
}

/// Writes one record, acknowledged by all replicas in sync.
fn produce(node: &mut SteppedNode, id: Uuid) -> ErrorCode {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value: Option<&[u8]> = Some(&[1; 100]);
    builder.append(&NewRecord { timestamp: node.now().wall, key: None, value, headers: &[] }).unwrap();
    let partition = produce_request::PartitionData {
        index: 0,
        records: Some(Bytes::from(builder.build().unwrap())),
        ..Default::default()
    };
    let topic =
        produce_request::TopicData { topic_id: id, partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() };
    let response = node.ask(&request, 13);
    ErrorCode::from_code(response.responses[0].partition_responses[0].error_code).unwrap()
}

#[test]
fn settings_decide_on_the_next_write() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    assert_eq!(produce(&mut node, id), ErrorCode::None);
    alter_well(&mut node, TOPIC, "a", &[("max.message.bytes", Some("50"))]);
    assert_eq!(produce(&mut node, id), ErrorCode::MessageTooLarge);
    alter_well(&mut node, BROKER, "", &[("message.max.bytes", Some("60"))]);
    alter_well(&mut node, TOPIC, "a", &[("max.message.bytes", None)]);
    assert_eq!(produce(&mut node, id), ErrorCode::MessageTooLarge);
    alter_well(&mut node, BROKER, "1", &[("message.max.bytes", Some("5000"))]);
    assert_eq!(produce(&mut node, id), ErrorCode::None);
    // No more replicas can be asked for than a partition has.
    alter_well(&mut node, TOPIC, "a", &[("min.insync.replicas", Some("2"))]);
    assert_eq!(value(&mut node, TOPIC, "a", "min.insync.replicas"), ("2".into(), 1));
    assert_eq!(produce(&mut node, id), ErrorCode::None);
}
