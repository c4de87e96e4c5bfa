//! The image as a tree of directories and files, with Kafka's names.
//!
//! Nothing is made before it is asked for: a cluster may have very many partitions.

use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::{ConfigResource, QuotaEntity, ResourceType, TopicImage};
use ottla_types::Uuid;

use super::text;

/// A place in the tree.
#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    /// The names of these are known, and what is behind them.
    Fixed(&'static [(&'static str, Kind)], &'a MetadataImage),
    /// Of a kind whose children the image names.
    Listed(Kind, &'a MetadataImage),
    Topic(&'a Arc<TopicImage>),
    Config(&'a MetadataImage, ConfigResource),
    Quota(&'a MetadataImage, QuotaEntity),
    Mechanism(&'a MetadataImage, i8),
    File(String),
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Local,
    Version,
    CommitId,
    Provenance,
    Features,
    Cluster,
    Brokers,
    Controllers,
    Topics,
    ByName,
    ById,
    Configs,
    Quotas,
    ProducerIds,
    NextProducerId,
    Acls,
    AclsById,
    Scram,
    Tokens,
}

type Names = &'static [(&'static str, Kind)];

const ROOT: Names = &[("image", Kind::Image), ("local", Kind::Local)];
const LOCAL: Names = &[("commitId", Kind::CommitId), ("version", Kind::Version)];
const IMAGE: Names = &[
    ("acls", Kind::Acls),
    ("clientQuotas", Kind::Quotas),
    ("cluster", Kind::Cluster),
    ("configs", Kind::Configs),
    ("delegationToken", Kind::Tokens),
    ("features", Kind::Features),
    ("producerIds", Kind::ProducerIds),
    ("provenance", Kind::Provenance),
    ("scram", Kind::Scram),
    ("topics", Kind::Topics),
];
const CLUSTER: Names = &[("brokers", Kind::Brokers), ("controllers", Kind::Controllers)];
const TOPICS: Names = &[("byId", Kind::ById), ("byName", Kind::ByName)];
const PRODUCER_IDS: Names = &[("nextProducerId", Kind::NextProducerId)];
const ACLS: Names = &[("byId", Kind::AclsById)];

const FINALIZED: &str = "finalized_";
const METADATA_VERSION: &str = "metadataVersion";
/// Numbers of `UserScramCredentialRecord`.
const MECHANISMS: [(&str, i8); 2] = [("SCRAM-SHA-256", 1), ("SCRAM-SHA-512", 2)];

impl<'a> Node<'a> {
    pub(super) fn root(image: &'a MetadataImage) -> Node<'a> {
        Node::Fixed(ROOT, image)
    }

    fn of(kind: Kind, image: &'a MetadataImage) -> Node<'a> {
        match kind {
            Kind::Image => Node::Fixed(IMAGE, image),
            Kind::Local => Node::Fixed(LOCAL, image),
            Kind::Cluster => Node::Fixed(CLUSTER, image),
            Kind::Topics => Node::Fixed(TOPICS, image),
            Kind::ProducerIds => Node::Fixed(PRODUCER_IDS, image),
            Kind::Acls => Node::Fixed(ACLS, image),
            Kind::Version => Node::File(crate::tool::VERSION.to_owned()),
            Kind::CommitId => Node::File("unknown".to_owned()),
            Kind::Provenance => Node::File(text::provenance(&image.provenance)),
            Kind::NextProducerId => {
                let next = Some(image.next_producer_id).filter(|id| *id > 0).unwrap_or(-1);
                Node::File(next.to_string())
            }
            listed => Node::Listed(listed, image),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        !matches!(self, Node::File(_))
    }

    /// In the order of the alphabet.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.names_as_they_are();
        names.sort_unstable();
        names
    }

    fn names_as_they_are(&self) -> Vec<String> {
        match self {
            Node::Fixed(names, _) => names.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Node::Listed(kind, image) => listed_names(*kind, image),
            Node::Topic(topic) => {
                let fixed = ["id".to_owned(), "name".to_owned()];
                fixed.into_iter().chain(topic.partitions.keys().map(i32::to_string)).collect()
            }
            Node::Config(image, resource) => {
                image.configs.of(resource).map(|of| of.keys().cloned().collect()).unwrap_or_default()
            }
            Node::Quota(image, entity) => {
                image.quotas.of(entity).map(|of| of.keys().cloned().collect()).unwrap_or_default()
            }
            Node::Mechanism(image, mechanism) => {
                let of = image.scram_credentials.keys().filter(|(_, of)| of == mechanism);
                of.map(|(user, _)| user.clone()).collect()
            }
            Node::File(_) => Vec::new(),
        }
    }

    pub(super) fn child(&self, name: &str) -> Option<Node<'a>> {
        match self {
            Node::Fixed(names, image) => {
                let (_, kind) = names.iter().find(|(known, _)| *known == name)?;
                Some(Node::of(*kind, image))
            }
            Node::Listed(kind, image) => listed_child(*kind, image, name),
            Node::Topic(topic) => match name {
                "id" => Some(Node::File(topic.id.to_string())),
                "name" => Some(Node::File(topic.name.to_string())),
                index => Some(Node::File(text::partition(topic.partitions.get(&index.parse().ok()?)?))),
            },
            Node::Config(image, resource) => Some(Node::File(image.configs.of(resource)?.get(name)?.clone())),
            Node::Quota(image, entity) => {
                Some(Node::File(crate::java::double(*image.quotas.of(entity)?.get(name)?)))
            }
            Node::Mechanism(image, mechanism) => {
                let credential = image.scram_credentials.get(&(name.to_owned(), *mechanism))?;
                Some(Node::File(text::scram(credential)))
            }
            Node::File(_) => None,
        }
    }

    /// What a file says.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Node::File(text) => Some(text),
            _ => None,
        }
    }
}

fn listed_names(kind: Kind, image: &MetadataImage) -> Vec<String> {
    match kind {
        Kind::Features => {
            let finalized = image.features.finalized().filter(|(name, _)| *name != "metadata.version");
            let finalized = finalized.map(|(name, _)| format!("{FINALIZED}{name}"));
            let version = image.features.has_metadata_version().then(|| METADATA_VERSION.to_owned());
            finalized.chain(version).collect()
        }
        Kind::Brokers => image.brokers.keys().map(|id| id.0.to_string()).collect(),
        Kind::Controllers => image.controllers.keys().map(|id| id.0.to_string()).collect(),
        Kind::ByName => image.topics.iter().map(|topic| topic.name.to_string()).collect(),
        Kind::ById => image.topics.iter().map(|topic| topic.id.to_string()).collect(),
        Kind::Configs => image.configs.iter().map(|(resource, _)| resource_name(resource)).collect(),
        Kind::Quotas => image.quotas.iter().map(|(entity, _)| text::quota_entity(entity)).collect(),
        Kind::AclsById => image.acls.keys().map(Uuid::to_string).collect(),
        Kind::Scram => MECHANISMS.map(|(name, _)| name.to_owned()).to_vec(),
        Kind::Tokens => image.delegation_tokens.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn listed_child<'a>(kind: Kind, image: &'a MetadataImage, name: &str) -> Option<Node<'a>> {
    let uuid = || name.parse::<Uuid>().ok();
    Some(match kind {
        Kind::Features if name == METADATA_VERSION => image
            .features
            .has_metadata_version()
            .then(|| Node::File(text::optional(Some(image.features.metadata_version()))))?,
        Kind::Features => {
            let feature = name.strip_prefix(FINALIZED)?;
            let (_, level) = image.features.finalized().find(|(known, _)| *known == feature)?;
            Node::File(level.to_string())
        }
        Kind::Brokers => {
            Node::File(text::broker(image.brokers.get(&ottla_types::NodeId(name.parse().ok()?))?))
        }
        Kind::Controllers => {
            Node::File(text::controller(image.controllers.get(&ottla_types::NodeId(name.parse().ok()?))?))
        }
        Kind::ByName => Node::Topic(image.topics.by_name(name)?),
        Kind::ById => Node::Topic(image.topics.by_id(uuid()?)?),
        Kind::Configs => {
            let (resource, _) = image.configs.iter().find(|(resource, _)| resource_name(resource) == name)?;
            Node::Config(image, resource.clone())
        }
        Kind::Quotas => {
            let (entity, _) = image.quotas.iter().find(|(entity, _)| text::quota_entity(entity) == name)?;
            Node::Quota(image, entity.clone())
        }
        Kind::AclsById => Node::File(text::acl(image.acls.get(&uuid()?)?)),
        Kind::Scram => {
            let (_, mechanism) = MECHANISMS.into_iter().find(|(known, _)| *known == name)?;
            Node::Mechanism(image, mechanism)
        }
        Kind::Tokens => Node::File(text::token(image.delegation_tokens.get(name)?)),
        _ => return None,
    })
}

/// `TOPIC:first`, and `BROKER` where all of them are meant.
fn resource_name(resource: &ConfigResource) -> String {
    let kind = match resource.kind {
        ResourceType::Topic => "TOPIC",
        ResourceType::Broker => "BROKER",
        ResourceType::ClientMetrics => "CLIENT_METRICS",
        ResourceType::Group => "GROUP",
    };
    if resource.name.is_empty() { kind.to_owned() } else { format!("{kind}:{}", resource.name) }
}
