//! Topics come, are found, and go.

use std::sync::Arc;

use ottla_broker::exchange::{Reply, ReplySink, ReplySlot};
use ottla_types::Uuid;
use ottla_wire::messages::create_topics_request::{self, CreateTopicsRequest};
use ottla_wire::messages::create_topics_response::CreateTopicsResponse;
use ottla_wire::messages::delete_topics_request::{self, DeleteTopicsRequest};
use ottla_wire::messages::metadata_request::{self, MetadataRequest};
use ottla_wire::messages::metadata_response::MetadataResponse;
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, encode_request};

use crate::harness::{self, SteppedNode};

pub fn new_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreateTopicsRequest {
    let config = |(name, value): &(&str, &str)| create_topics_request::Config {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![create_topics_request::Topic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        }],
        ..CreateTopicsRequest::default()
    }
}

/// Creates a topic; its id.
pub fn create(node: &mut SteppedNode, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
    let created = node.ask(&new_topic(name, partitions, configs), 7);
    assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0].error_message);
    created.topics[0].topic_id
}

pub fn metadata(node: &mut SteppedNode, names: &[&str], creates: bool) -> MetadataResponse {
    let topic =
        |name: &&str| metadata_request::Topic { name: Some((*name).to_owned()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: creates,
        ..MetadataRequest::default()
    };
    node.ask(&request, 12)
}

/// Id and number of partitions; an error instead.
fn found(node: &mut SteppedNode, name: &str) -> Result<(Uuid, usize), ErrorCode> {
    let topic = metadata(node, &[name], false).topics.remove(0);
    match ErrorCode::from_code(topic.error_code) {
        Some(ErrorCode::None) => Ok((topic.topic_id, topic.partitions.len())),
        Some(error) => Err(error),
        None => panic!("error {}", topic.error_code),
    }
}

/// The error code.
pub fn delete(node: &mut SteppedNode, name: &str) -> i16 {
    let topic = delete_topics_request::Topic { name: Some(name.to_owned()), ..Default::default() };
    let request =
        DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..DeleteTopicsRequest::default() };
    node.ask(&request, 6).responses[0].error_code
}

#[test]
fn a_topic_is_there_when_its_creation_is_answered_and_led() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "orders", 3, &[]);
    let described = metadata(&mut node, &["orders"], false);
    let topic = &described.topics[0];
    assert_eq!((topic.error_code, topic.topic_id, topic.is_internal), (0, id, false));
    assert_eq!(topic.partitions.len(), 3);
    for partition in &topic.partitions {
        assert_eq!((partition.error_code, partition.leader_id, partition.leader_epoch), (0, 1, 0));
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes, &partition.offline_replicas),
            (&vec![1], &vec![1], &vec![])
        );
    }
    assert_eq!((described.controller_id, described.brokers.len()), (1, 1));
    assert_eq!(node.node.logs().logs().len(), 3);
}

#[test]
fn what_cannot_be_created_is_refused_with_reasons() {
    let mut node = SteppedNode::start(&[]);
    create(&mut node, "taken", 1, &[]);
    let mut check = |request: CreateTopicsRequest, expected: ErrorCode| {
        let response: CreateTopicsResponse = node.ask(&request, 7);
        let topic = &response.topics[0];
        assert_eq!(ErrorCode::from_code(topic.error_code), Some(expected), "{:?}", topic.error_message);
        assert!(topic.error_message.is_some());
    };
    check(new_topic("taken", 1, &[]), ErrorCode::TopicAlreadyExists);
    check(new_topic("no/name", 1, &[]), ErrorCode::InvalidTopicException);
    check(new_topic("__cluster_metadata", 1, &[]), ErrorCode::InvalidRequest);
    check(new_topic("a", 0, &[]), ErrorCode::InvalidPartitions);
    check(new_topic("a", 1, &[("retention.ms", "soon")]), ErrorCode::InvalidConfig);
    check(new_topic("a", 1, &[("no.such.key", "1")]), ErrorCode::InvalidConfig);
    let mut three = new_topic("a", 1, &[]);
    three.topics[0].replication_factor = 3;
    check(three, ErrorCode::InvalidReplicationFactor);
    let mut twice = new_topic("a", 1, &[]);
    twice.topics.push(twice.topics[0].clone());
    check(twice, ErrorCode::InvalidRequest);
}

#[test]
fn validation_alone_creates_nothing() {
    let mut node = SteppedNode::start(&[]);
    let request = CreateTopicsRequest { validate_only: true, ..new_topic("a", 2, &[]) };
    let answered = node.ask(&request, 7);
    assert_eq!((answered.topics[0].error_code, answered.topics[0].num_partitions), (0, 2));
    assert_eq!(found(&mut node, "a"), Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_free() {
    let mut node = SteppedNode::start(&[]);
    let first = create(&mut node, "a", 2, &[]);
    assert_eq!(delete(&mut node, "a"), 0);
    assert_eq!(found(&mut node, "a"), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(node.node.logs().logs().len(), 0);
    assert_eq!(delete(&mut node, "a"), ErrorCode::UnknownTopicOrPartition.code());
    let second = create(&mut node, "a", 1, &[]);
    assert_ne!(first, second);
    assert_eq!(found(&mut node, "a"), Ok((second, 1)));
}

#[test]
fn topics_outlive_restarts_and_crashes() {
    let mut node = SteppedNode::start(&[]);
    let (a, b) = (create(&mut node, "a", 2, &[]), create(&mut node, "b", 1, &[]));
    // What was answered stays, though nothing else was written since.
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!((found(&mut node, "a"), found(&mut node, "b")), (Ok((a, 2)), Ok((b, 1))));
    assert_eq!(delete(&mut node, "a"), 0);
    let (disk, now) = node.crash();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!(found(&mut node, "a"), Err(ErrorCode::UnknownTopicOrPartition));
    let (disk, now) = node.stop();
    let mut node = SteppedNode::start_on(disk, &[], now);
    assert_eq!((found(&mut node, "a").is_err(), found(&mut node, "b")), (true, Ok((b, 1))));
}

#[test]
fn a_topic_that_a_client_names_is_created() {
    let mut node = SteppedNode::start(&[("num.partitions", "2")]);
    let first = metadata(&mut node, &["wanted", "not/wanted"], true);
    let codes: Vec<i16> = first.topics.iter().map(|topic| topic.error_code).collect();
    // As Apache Kafka answers it: the client is to ask again.
    let expected = [ErrorCode::UnknownTopicOrPartition, ErrorCode::InvalidTopicException];
    assert_eq!(codes, expected.map(ErrorCode::code));
    node.step();
    assert!(matches!(found(&mut node, "wanted"), Ok((_, 2))));
}

#[test]
fn a_topic_is_not_created_where_nobody_allows_it() {
    let mut node = SteppedNode::start(&[]);
    metadata(&mut node, &["a"], false);
    node.pass_ms(100);
    assert_eq!(found(&mut node, "a"), Err(ErrorCode::UnknownTopicOrPartition));
    let mut node = SteppedNode::start(&[("auto.create.topics.enable", "false")]);
    metadata(&mut node, &["a"], true);
    node.pass_ms(100);
    assert_eq!(found(&mut node, "a"), Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn the_offsets_topic_is_created_with_its_own_settings() {
    let mut node = SteppedNode::start(&[("num.partitions", "7")]);
    metadata(&mut node, &["__consumer_offsets"], true);
    node.step();
    let described = metadata(&mut node, &["__consumer_offsets"], false);
    assert_eq!((described.topics[0].partitions.len(), described.topics[0].is_internal), (3, true));
    let log = node.node.logs().logs().remove(0);
    let config = log.config();
    assert!(config.cleanup_policy.compact && !config.cleanup_policy.delete);
    assert_eq!((config.segment_bytes, config.compression), (104_857_600, None));
}

#[test]
fn metadata_names_all_topics_and_finds_them_by_id() {
    let mut node = SteppedNode::start(&[]);
    let id = create(&mut node, "a", 1, &[]);
    create(&mut node, "b", 1, &[]);
    let names = |response: &MetadataResponse| -> Vec<Option<String>> {
        response.topics.iter().map(|topic| topic.name.clone()).collect()
    };
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert_eq!(names(&node.ask(&all, 12)), [Some("a".into()), Some("b".into())]);
    let empty = MetadataRequest { topics: Some(vec![]), ..MetadataRequest::default() };
    assert_eq!(names(&node.ask(&empty, 12)), []);
    assert_eq!(names(&node.ask(&empty, 0)), [Some("a".into()), Some("b".into())]);
    let by_id =
        |topic_id| metadata_request::Topic { topic_id, name: Some(String::new()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![by_id(id), by_id(Uuid([3; 16]))]), ..MetadataRequest::default() };
    let found = node.ask(&request, 12);
    assert_eq!(names(&found), [Some("a".into()), None]);
    assert_eq!(found.topics[1].error_code, ErrorCode::UnknownTopicId.code());
}

/// Looks at the node in the moment of the answer.
struct Witness {
    node: Arc<ottla_broker::node::Node>,
    logs: parking_lot::Mutex<Option<usize>>,
}

impl ReplySink for Witness {
    fn reply(&self, _: u64, _: Reply) {
        *self.logs.lock() = Some(self.node.logs().logs().len());
    }
}

#[test]
fn what_was_created_is_published_before_it_is_answered() {
    let mut node = SteppedNode::start(&[]);
    let witness = Arc::new(Witness { node: Arc::clone(&node.node), logs: parking_lot::Mutex::default() });
    let frame = encode_request(1, None, &new_topic("a", 2, &[]), 7).unwrap().bytes;
    let slot = ReplySlot::new(Arc::clone(&witness) as _, 0);
    node.deliver(&harness::connection(2), frame.slice(FRAME_LENGTH_BYTES..), slot);
    node.step();
    assert_eq!(*witness.logs.lock(), Some(2));
}
