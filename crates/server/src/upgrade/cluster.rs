//! What the metadata of the cluster holds that is not acted on, or is worth knowing before a node is exchanged.

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::{Config, DynamicConfig, Row, Table, parse_boolean};
use ottla_metadata::image::{ConfigResource, ResourceType};
use ottla_metadata::{Feature, MetadataImage};

use ottla_types::NodeId;

use super::Report;
use super::metadata::Found;

/// Of a topic whose older segments are elsewhere.
const REMOTE_STORAGE: &str = "remote.storage.enable";

/// `own`: the broker whose directories these are, which has left if it was stopped in good order.
pub(super) fn look_at(found: &Found, own: Option<NodeId>, config: Option<&Config>, report: &mut Report) {
    let image = &found.image;
    tell_of_cluster(found, report);
    for (name, level) in image.features.finalized() {
        if Feature::from_name(name).is_none() {
            report.in_the_way(format!(
                "the feature {name} is finalized at level {level}, and this program does not know it: a node that runs it \
                 can't register. kafka-features downgrade --feature {name}=0, if that may be"
            ));
        }
    }
    security(image, report);
    configs(image, config, report);
    others(image, own, report);
}

fn tell_of_cluster(found: &Found, report: &mut Report) {
    let image = &found.image;
    let version = if image.features.has_metadata_version() {
        let version = image.features.metadata_version();
        format!("{} ({})", version.name(), version.level())
    } else {
        "unknown".to_owned()
    };
    let partitions: usize = image.topics.iter().map(|topic| topic.partitions.len()).sum();
    report.facts.push(format!(
        "metadata.version {version}, kraft.version {}, {} brokers, {} topics, {partitions} partitions",
        found.kraft_version,
        image.brokers.size(),
        image.topics.len(),
    ));
    if found.was_never_started {
        report.to_know("the node was formatted and never started");
    }
    if let Some(voters) = &found.voters {
        let voters: Vec<String> = voters.iter().map(|voter| voter.key.to_string()).collect();
        report.facts.push(format!("voters of the quorum: {}", voters.join(", ")));
    }
}

fn security(image: &MetadataImage, report: &mut Report) {
    let kept = [
        (image.acls.size(), "access rules (ACLs)", "nobody is denied anything"),
        (image.scram_credentials.size(), "SCRAM credentials of users", "nobody is authenticated"),
        (image.delegation_tokens.size(), "delegation tokens", "nobody is authenticated"),
        (image.quotas.iter().count(), "quotas of clients or users", "nobody is held to them"),
    ];
    for (count, what, meaning) in kept.into_iter().filter(|(count, ..)| *count > 0) {
        report.not_acted_on(format!("{what}, {count} of them: {meaning}"));
    }
}

fn configs(image: &MetadataImage, config: Option<&Config>, report: &mut Report) {
    let mut remote = BTreeSet::new();
    let mut subscriptions = BTreeSet::new();
    let mut waiting: BTreeSet<(String, String)> = BTreeSet::new();
    for (resource, settings) in image.configs.iter() {
        let table = match resource.kind {
            ResourceType::ClientMetrics => {
                subscriptions.insert(resource.name.to_string());
                continue;
            }
            ResourceType::Broker => {
                waiting.extend(of_broker(resource, settings, config));
                continue;
            }
            ResourceType::Topic => Table::Topic,
            ResourceType::Group => Table::Group,
        };
        if settings.get(REMOTE_STORAGE).and_then(|text| parse_boolean(text)) == Some(true) {
            remote.insert(resource.name.to_string());
        }
        let idle = settings.iter().filter(|(name, text)| {
            let is_idle = |row: &Row| !row.acted_on && row.default_text() != Some(text.as_str());
            name.as_str() != REMOTE_STORAGE && table.find(name).is_some_and(is_idle)
        });
        waiting.extend(idle.map(|(name, _)| (named(resource), name.clone())));
    }
    if !remote.is_empty() {
        let topics: Vec<_> = remote.into_iter().collect();
        report.in_the_way(format!(
            "topics have records in remote storage, which there is not here ({}): what is only there can't be read. Turn it \
             off for them first (remote.storage.enable, with remote.log.delete.on.disable or after the records have been \
             brought back)",
            topics.join(", ")
        ));
    }
    if !subscriptions.is_empty() {
        report.not_acted_on(format!(
            "subscriptions to metrics of clients, {} of them: no client is asked for metrics",
            subscriptions.len()
        ));
    }
    for (resource, name) in waiting {
        report.not_acted_on(format!("{name} is set for {resource}, and nothing acts on it yet"));
    }
}

fn of_broker(
    resource: &ConfigResource,
    settings: &BTreeMap<String, String>,
    config: Option<&Config>,
) -> Vec<(String, String)> {
    let Some(fixed) = config.cloned().or_else(|| Config::of_pairs(MINIMAL).ok()) else { return Vec::new() };
    let mut layers = DynamicConfig::new(fixed);
    layers.set_this_broker(settings.clone());
    layers.not_acted_on().into_iter().map(|name| (named(resource), name.to_owned())).collect()
}

fn named(resource: &ConfigResource) -> String {
    match (resource.kind, &*resource.name) {
        (ResourceType::Broker, "") => "all brokers".to_owned(),
        (ResourceType::Broker, id) => format!("broker {id}"),
        (ResourceType::Topic, name) => format!("topic {name}"),
        (ResourceType::Group, name) => format!("group {name}"),
        (ResourceType::ClientMetrics, name) => format!("subscription {name}"),
    }
}

/// Stands for a configuration that is not known.
const MINIMAL: [(&str, &str); 5] = [
    ("process.roles", "broker"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("controller.quorum.bootstrap.servers", "localhost:1"),
    ("listeners", "PLAINTEXT://localhost:2"),
];

/// What is the matter with other brokers and their replicas.
fn others(image: &MetadataImage, own: Option<NodeId>, report: &mut Report) {
    let (mut behind, mut without_leader, mut moving) = (0, 0, 0);
    for partition in image.topics.iter().flat_map(|topic| topic.partitions.values()) {
        let mut others = partition.replicas.iter().filter(|replica| Some(**replica) != own).peekable();
        without_leader += usize::from(partition.leader == NodeId::NONE && others.peek().is_some());
        behind += usize::from(others.any(|replica| !partition.isr.contains(replica)));
        moving += usize::from(partition.is_reassigning());
    }
    let as_known = "as far as this node has heard";
    if without_leader > 0 {
        report.to_know(format!("{without_leader} partitions have no leader, {as_known}"));
    }
    if behind > 0 {
        report.to_know(format!(
            "{behind} partitions lack replicas in sync on other brokers, {as_known}: before a node is stopped, wait until \
             kafka-topics --describe --under-replicated-partitions shows none"
        ));
    }
    if moving > 0 {
        report.to_know(format!(
            "replicas of {moving} partitions are moving between brokers, {as_known}: let that end first"
        ));
    }
    let fenced = image.brokers.values().filter(|broker| broker.is_fenced() && Some(broker.id()) != own);
    let fenced: Vec<String> = fenced.map(|broker| broker.id().to_string()).collect();
    if !fenced.is_empty() {
        report.to_know(format!("other brokers are fenced, {as_known}: {}", fenced.join(", ")));
    }
}
