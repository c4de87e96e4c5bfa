use ottla_metadata::image::{ConfigResource, ResourceType};
use ottla_wire::messages::alter_configs_request as legacy;
use ottla_wire::messages::incremental_alter_configs_request::{
    Config as Alteration, IncrementalAlterConfigsRequest, Resource,
};

use super::topics::topic;
use super::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

fn resource(resource_type: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> Resource {
    let configs = changes
        .iter()
        .map(|(name, config_operation, value)| Alteration {
            name: (*name).into(),
            config_operation: *config_operation,
            value: value.map(str::to_owned),
            ..Alteration::default()
        })
        .collect();
    Resource { resource_type, resource_name: name.into(), configs, ..Resource::default() }
}

fn with_a_topic() -> Cluster {
    let mut cluster = Cluster::with_brokers(&[], &[1, 2]);
    cluster.create(&[topic("t", 1, 1)]);
    cluster
}

impl Cluster {
    fn alter(&mut self, resources: &[Resource]) -> Vec<(i16, String)> {
        let request = IncrementalAlterConfigsRequest { resources: resources.to_vec(), ..Default::default() };
        let outcome = self.controller.incremental_alter_configs(&request);
        let response = self.commit(outcome);
        response.responses.into_iter().map(|r| (r.error_code, r.error_message.unwrap_or_default())).collect()
    }

    fn replace(&mut self, resource_type: i8, name: &str, configs: &[(&str, Option<&str>)]) -> i16 {
        let configs = configs
            .iter()
            .map(|(name, value)| legacy::Config {
                name: (*name).into(),
                value: value.map(str::to_owned),
                ..Default::default()
            })
            .collect();
        let resource =
            legacy::Resource { resource_type, resource_name: name.into(), configs, ..Default::default() };
        let request = legacy::AlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let outcome = self.controller.alter_configs(&request);
        self.commit(outcome).responses[0].error_code
    }

    pub(crate) fn settings(&self, kind: ResourceType, name: &str) -> String {
        let settings = self.controller.image().configs.of(&ConfigResource::new(kind, name));
        let line = |(key, value): (&String, &String)| format!("{key}={value} ");
        settings.map(|settings| settings.iter().map(line).collect()).unwrap_or_default()
    }
}

#[test]
fn settings_change_key_by_key() {
    let mut cluster = with_a_topic();
    let changes = [("retention.ms", SET, Some("5")), ("cleanup.policy", APPEND, Some("compact"))];
    assert_eq!(cluster.alter(&[resource(TOPIC, "t", &changes)]), [(0, String::new())]);
    assert_eq!(cluster.settings(ResourceType::Topic, "t"), "cleanup.policy=delete,compact retention.ms=5 ");
    cluster.alter(&[resource(TOPIC, "t", &[("retention.ms", DELETE, None)])]);
    assert_eq!(cluster.settings(ResourceType::Topic, "t"), "cleanup.policy=delete,compact ");
}

#[test]
fn the_older_request_replaces_all() {
    let mut cluster = with_a_topic();
    cluster.alter(&[resource(TOPIC, "t", &[("retention.ms", SET, Some("5")), ("flush.ms", SET, Some("6"))])]);
    assert_eq!(cluster.replace(TOPIC, "t", &[("flush.ms", Some("7"))]), 0);
    assert_eq!(cluster.settings(ResourceType::Topic, "t"), "flush.ms=7 ");
    assert_eq!(cluster.replace(TOPIC, "t", &[("flush.ms", None)]), 42);
    assert_eq!(cluster.replace(TOPIC, "t", &[("no.such.key", Some("1"))]), 40);
}

#[test]
fn every_kind_of_resource_has_settings() {
    let mut cluster = with_a_topic();
    let answers = cluster.alter(&[
        resource(BROKER, "", &[("log.retention.ms", SET, Some("8"))]),
        resource(BROKER, "2", &[("log.cleaner.threads", SET, Some("2"))]),
        resource(GROUP, "g", &[("consumer.session.timeout.ms", SET, Some("50000"))]),
        resource(CLIENT_METRICS, "m", &[("interval.ms", SET, Some("1000"))]),
    ]);
    assert!(answers.iter().all(|(code, _)| *code == 0), "{answers:?}");
    assert_eq!(cluster.settings(ResourceType::Broker, ""), "log.retention.ms=8 ");
    assert_eq!(cluster.settings(ResourceType::Broker, "2"), "log.cleaner.threads=2 ");
    assert_eq!(cluster.settings(ResourceType::Group, "g"), "consumer.session.timeout.ms=50000 ");
    assert_eq!(cluster.settings(ResourceType::ClientMetrics, "m"), "interval.ms=1000 ");
}

#[test]
fn changes_are_refused_in_kafkas_words() {
    let long = "x".repeat(40_000);
    for (resource, code, message) in [
        (resource(TOPIC, "", &[]), 42, "Default topic resources are not allowed."),
        (resource(TOPIC, "x", &[]), 3, "The topic 'x' does not exist."),
        (resource(TOPIC, "t", &[("x", SET, Some("1"))]), 40, "Unknown topic config name: x"),
        (resource(TOPIC, "t", &[("x", 9, Some("1"))]), 42, "Unknown operations type 9"),
        (resource(TOPIC, "t", &[("x", SET, None)]), 42, "Null value not supported for : x"),
        (
            resource(TOPIC, "t", &[("x", SET, Some("1")), ("x", SET, Some("1"))]),
            42,
            "Error due to duplicate config keys",
        ),
        (
            resource(TOPIC, "t", &[("retention.ms", APPEND, Some("1"))]),
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            resource(BROKER, "2", &[("x", SET, Some(&long))]),
            40,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        ),
        (resource(BROKER, "b", &[]), 42, "Unable to parse broker name as a base 10 number."),
        (resource(BROKER, "-1", &[]), 42, "Invalid negative broker ID."),
        (resource(BROKER, "9", &[]), 102, "No node with id 9 found."),
        (resource(GROUP, "", &[]), 42, "Default group resources are not allowed."),
        (resource(CLIENT_METRICS, "", &[]), 42, "Subscription name can't be empty"),
        (resource(8, "1", &[]), 42, "Unknown resource type BROKER_LOGGER"),
        (resource(77, "1", &[]), 35, "Unknown resource type 77."),
    ] {
        let mut cluster = with_a_topic();
        let before = cluster.next_offset;
        assert_eq!(cluster.alter(&[resource]), [(code, message.to_owned())]);
        assert_eq!(cluster.next_offset, before, "{message}");
    }
    let twice = resource(TOPIC, "t", &[("flush.ms", SET, Some("1"))]);
    assert_eq!(with_a_topic().alter(&[twice.clone(), twice]), [(42, "Duplicate resource.".into())]);
}

#[test]
fn with_eligible_leader_replicas_all_brokers_have_one_min_insync_replicas() {
    let mut cluster = with_a_topic();
    cluster.enable_elr();
    let key = "min.insync.replicas";
    for (name, op, value, message) in [
        ("2", SET, Some("2"), "Broker-level min.insync.replicas cannot be altered while ELR is enabled."),
        ("", DELETE, None, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."),
    ] {
        assert_eq!(cluster.alter(&[resource(BROKER, name, &[(key, op, value)])]), [(40, message.to_owned())]);
    }
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            resource(TOPIC, "t", &[(key, SET, Some("2"))]),
            resource(BROKER, "", &[(key, SET, Some("2"))]),
        ],
        ..Default::default()
    };
    let outcome = cluster.controller.incremental_alter_configs(&request);
    let cleared: Vec<_> = outcome
        .records
        .iter()
        .filter_map(|(record, _)| match record {
            MetadataRecord::ClearElr(record) => Some(record.topic_name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(cleared, ["t", ""]);
}
