//! The records that make an image, in the order in which Kafka writes them: the features come first, so that a reader
//! knows the metadata version before anything that depends on it.

use ottla_types::Uuid;
use ottla_wire::records::client_quota_record::Entity;
use ottla_wire::records::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};

use super::{BrokerRegistration, MetadataImage, TopicImage};
use crate::features::{Feature, MetadataVersion};

/// A record and the version to write it in.
pub type VersionedRecord = (MetadataRecord, i16);

impl MetadataImage {
    /// What a snapshot of this image holds.
    pub fn to_records(&self) -> impl Iterator<Item = VersionedRecord> {
        let version = self.features.metadata_version();
        self.feature_records()
            .chain(self.brokers.values().map(move |broker| broker_record(broker, version)))
            .chain(
                self.controllers
                    .values()
                    .map(|record| at_0(MetadataRecord::RegisterController((**record).clone()))),
            )
            .chain(self.topics.iter().flat_map(move |topic| topic_records(topic, version)))
            .chain(self.config_records())
            .chain(self.quota_records())
            .chain(self.producer_id_record())
            .chain(
                self.acls.values().map(|record| at_0(MetadataRecord::AccessControlEntry((**record).clone()))),
            )
            .chain(
                self.scram_credentials
                    .values()
                    .map(|record| at_0(MetadataRecord::UserScramCredential((**record).clone()))),
            )
            .chain(
                self.delegation_tokens
                    .values()
                    .map(|record| at_0(MetadataRecord::DelegationToken((**record).clone()))),
            )
    }

    fn feature_records(&self) -> impl Iterator<Item = VersionedRecord> {
        let legacy = self
            .zk_migration_state
            .iter()
            .map(|record| at_0(MetadataRecord::ZkMigrationState((**record).clone())));
        self.features
            .finalized()
            .map(|(name, feature_level)| {
                at_0(MetadataRecord::FeatureLevel(FeatureLevelRecord {
                    name: name.to_owned(),
                    feature_level,
                    ..FeatureLevelRecord::default()
                }))
            })
            .chain(legacy)
    }

    fn config_records(&self) -> impl Iterator<Item = VersionedRecord> {
        // In an order of its own, so that equal images give equal snapshots.
        let mut resources: Vec<_> = self.configs.iter().collect();
        resources.sort_unstable_by_key(|(resource, _)| *resource);
        resources.into_iter().flat_map(|(resource, settings)| {
            settings.iter().map(|(name, value)| {
                at_0(MetadataRecord::Config(ConfigRecord {
                    resource_type: resource.kind as i8,
                    resource_name: resource.name.to_string(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..ConfigRecord::default()
                }))
            })
        })
    }

    fn quota_records(&self) -> impl Iterator<Item = VersionedRecord> {
        self.quotas.iter().flat_map(|(entity, quotas)| {
            let entity: Vec<Entity> = entity
                .iter()
                .map(|(entity_type, entity_name)| Entity {
                    entity_type: entity_type.clone(),
                    entity_name: entity_name.clone(),
                    ..Entity::default()
                })
                .collect();
            quotas.iter().map(move |(key, value)| {
                at_0(MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity.clone(),
                    key: key.clone(),
                    value: *value,
                    remove: false,
                    ..ClientQuotaRecord::default()
                }))
            })
        })
    }

    fn producer_id_record(&self) -> impl Iterator<Item = VersionedRecord> {
        (self.next_producer_id > 0)
            .then(|| {
                at_0(MetadataRecord::ProducerIds(ProducerIdsRecord {
                    broker_id: -1,
                    broker_epoch: -1,
                    next_producer_id: self.next_producer_id,
                    ..ProducerIdsRecord::default()
                }))
            })
            .into_iter()
    }
}

/// Kafka has records that it always writes at version 0.
fn at_0(record: MetadataRecord) -> VersionedRecord {
    (record, 0)
}

fn broker_record(broker: &BrokerRegistration, version: MetadataVersion) -> VersionedRecord {
    let mut record = broker.record.clone();
    if !version.is_directory_assignment_supported() {
        record.log_dirs.clear();
    }
    if !version.are_cordoned_log_dirs_supported() {
        record.cordoned_log_dirs = None;
    }
    (MetadataRecord::RegisterBroker(record), version.register_broker_record_version())
}

fn topic_records(topic: &TopicImage, version: MetadataVersion) -> impl Iterator<Item = VersionedRecord> {
    let id: Uuid = topic.id;
    let record = TopicRecord { name: topic.name.to_string(), topic_id: id, ..TopicRecord::default() };
    let partition_version = version.partition_record_version();
    let partitions = topic.partitions.iter().map(move |(partition, registration)| {
        let record = registration.to_record(id, *partition, partition_version);
        (MetadataRecord::Partition(record), partition_version)
    });
    std::iter::once(at_0(MetadataRecord::Topic(record))).chain(partitions)
}

/// The version in which a record that changes metadata is written at a metadata version.
pub fn record_version(record: &MetadataRecord, version: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => version.register_broker_record_version(),
        MetadataRecord::Partition(_) => version.partition_record_version(),
        MetadataRecord::PartitionChange(_) => version.partition_change_record_version(),
        MetadataRecord::BrokerRegistrationChange(record) => {
            if record.cordoned_log_dirs.is_some() {
                3
            } else if !record.log_dirs.is_empty() {
                2
            } else if record.in_controlled_shutdown != 0 {
                1
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// `metadata.version` as a record.
pub fn metadata_version_record(version: MetadataVersion) -> VersionedRecord {
    feature_record(Feature::MetadataVersion, version.level())
}

/// The record that finalizes a level of a feature.
pub fn feature_record(feature: Feature, feature_level: i16) -> VersionedRecord {
    let name = feature.name().to_owned();
    at_0(MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name,
        feature_level,
        ..FeatureLevelRecord::default()
    }))
}
