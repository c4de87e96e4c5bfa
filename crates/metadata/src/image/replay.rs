//! How each record changes the image.

use std::sync::Arc;

use ottla_types::{BrokerEpoch, NodeId, Uuid};
use ottla_wire::records::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord,
    MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, RemoveTopicRecord,
    TopicRecord,
};

use super::{
    BrokerRegistration, ConfigResource, MetadataImage, PartitionRegistration, QuotaEntity, ReplayError,
    ResourceType, TopicImage,
};
use crate::changes::Changes;
use crate::features::{Feature, MetadataVersion};

impl MetadataImage {
    /// Applies one record and notes in `changes` what it touched. After an error the image is as it was.
    ///
    /// Records that bracket a metadata transaction change nothing by themselves: the loader acts on them.
    pub fn replay(&mut self, record: &MetadataRecord, changes: &mut Changes) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::FeatureLevel(record) => return self.replay_feature(record, changes),
            MetadataRecord::RegisterBroker(record) => self.replay_register_broker(record, changes),
            MetadataRecord::UnregisterBroker(record) => {
                let id = NodeId(record.broker_id);
                self.registered(id, BrokerEpoch(record.broker_epoch))?;
                self.brokers.remove_mut(&id);
                changes.brokers.insert(id);
            }
            MetadataRecord::FenceBroker(record) => {
                self.change_broker(record.id, record.epoch, changes, |broker| broker.fenced = true)?;
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.change_broker(record.id, record.epoch, changes, |broker| broker.fenced = false)?;
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                return self.replay_broker_change(record, changes);
            }
            MetadataRecord::RegisterController(record) => {
                let id = NodeId(record.controller_id);
                self.controllers.insert_mut(id, Arc::new(record.clone()));
                changes.controllers.insert(id);
            }
            MetadataRecord::Topic(record) => return self.replay_topic(record, changes),
            MetadataRecord::RemoveTopic(record) => return self.replay_remove_topic(record, changes),
            MetadataRecord::Partition(record) => return self.replay_partition(record, changes),
            MetadataRecord::PartitionChange(record) => return self.replay_partition_change(record, changes),
            MetadataRecord::ClearElr(record) => return self.replay_clear_elr(record, changes),
            MetadataRecord::Config(record) => return self.replay_config(record, changes),
            MetadataRecord::ClientQuota(record) => self.replay_quota(record, changes),
            MetadataRecord::ProducerIds(record) => {
                self.next_producer_id = record.next_producer_id;
                changes.producer_ids = true;
            }
            MetadataRecord::Unknown { type_id, .. } => {
                return Err(ReplayError::UnknownRecord(u32::from(*type_id)));
            }
            MetadataRecord::NoOp(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => {}
            security_or_legacy => self.replay_security(security_or_legacy, changes),
        }
        Ok(())
    }

    fn replay_feature(
        &mut self,
        record: &FeatureLevelRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let level = record.feature_level;
        if let Some(feature) = Feature::from_name(&record.name) {
            let facts = feature.facts();
            if level != 0 && !facts.supports(level) {
                let (min, max) = (facts.min_level, facts.max_level);
                return Err(ReplayError::UnsupportedFeature {
                    feature: record.name.clone(),
                    level,
                    min,
                    max,
                });
            }
        }
        if record.name == Feature::MetadataVersion.name() {
            self.features.metadata_version = MetadataVersion::from_level(level);
        } else if level == 0 {
            self.features.levels.remove_mut(&record.name);
        } else {
            self.features.levels.insert_mut(record.name.clone(), level);
        }
        changes.features = true;
        Ok(())
    }

    fn replay_register_broker(&mut self, record: &RegisterBrokerRecord, changes: &mut Changes) {
        let id = NodeId(record.broker_id);
        self.brokers.insert_mut(id, Arc::new(BrokerRegistration { record: record.clone() }));
        changes.brokers.insert(id);
    }

    fn replay_broker_change(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        self.change_broker(record.broker_id, record.broker_epoch, changes, |broker| {
            match record.fenced {
                1 => broker.fenced = true,
                -1 => broker.fenced = false,
                _ => {}
            }
            if record.in_controlled_shutdown == 1 {
                broker.in_controlled_shutdown = true;
            }
            if !record.log_dirs.is_empty() {
                broker.log_dirs.clone_from(&record.log_dirs);
            }
            if record.cordoned_log_dirs.is_some() {
                broker.cordoned_log_dirs.clone_from(&record.cordoned_log_dirs);
            }
        })
    }

    fn change_broker(
        &mut self,
        id: i32,
        epoch: i64,
        changes: &mut Changes,
        change: impl FnOnce(&mut RegisterBrokerRecord),
    ) -> Result<(), ReplayError> {
        let mut broker = Arc::clone(self.registered(NodeId(id), BrokerEpoch(epoch))?);
        change(&mut Arc::make_mut(&mut broker).record);
        self.brokers.insert_mut(NodeId(id), broker);
        changes.brokers.insert(NodeId(id));
        Ok(())
    }

    fn registered(
        &self,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<&Arc<BrokerRegistration>, ReplayError> {
        let registered = self.brokers.get(&broker).filter(|registered| registered.epoch() == epoch);
        registered.ok_or(ReplayError::UnknownBroker { broker, epoch })
    }

    fn replay_topic(&mut self, record: &TopicRecord, changes: &mut Changes) -> Result<(), ReplayError> {
        if self.topics.by_id(record.topic_id).is_some() || self.topics.by_name(&record.name).is_some() {
            return Err(ReplayError::TopicExists { name: record.name.as_str().into(), id: record.topic_id });
        }
        self.topics.insert(TopicImage {
            id: record.topic_id,
            name: Arc::from(record.name.as_str()),
            partitions: Default::default(),
        });
        changes.topics.insert(record.topic_id);
        Ok(())
    }

    fn replay_remove_topic(
        &mut self,
        record: &RemoveTopicRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let topic = self.topics.remove(record.topic_id).ok_or(ReplayError::UnknownTopic(record.topic_id))?;
        let resource = ConfigResource::new(ResourceType::Topic, Arc::clone(&topic.name));
        if self.configs.remove(&resource) {
            changes.configs.insert(resource);
        }
        changes.topics.remove(&topic.id);
        changes.deleted_topics.insert((topic.id, Arc::clone(&topic.name)));
        Ok(())
    }

    fn topic_mut(&mut self, id: Uuid) -> Result<&mut TopicImage, ReplayError> {
        self.topics.get_mut(id).ok_or(ReplayError::UnknownTopic(id))
    }

    fn replay_partition(
        &mut self,
        record: &PartitionRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let topic = self.topic_mut(record.topic_id)?;
        let partition = Arc::new(PartitionRegistration::from_record(record));
        topic.partitions.insert(record.partition_id, partition);
        changes.topics.insert(record.topic_id);
        Ok(())
    }

    fn replay_partition_change(
        &mut self,
        record: &PartitionChangeRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let topic = self.topic_mut(record.topic_id)?;
        let name = Arc::clone(&topic.name);
        let Some(partition) = topic.partitions.get_mut(&record.partition_id) else {
            return Err(ReplayError::UnknownPartition { topic: name, partition: record.partition_id });
        };
        Arc::make_mut(partition).apply(record);
        changes.topics.insert(record.topic_id);
        Ok(())
    }

    /// An empty name stands for all topics.
    fn replay_clear_elr(
        &mut self,
        record: &ClearElrRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let ids = if record.topic_name.is_empty() {
            self.topics.ids()
        } else {
            // A topic that is gone has nothing to clear.
            self.topics.by_name(&record.topic_name).map(|topic| topic.id).into_iter().collect()
        };
        for id in ids {
            let topic = self.topic_mut(id)?;
            for partition in topic.partitions.values_mut() {
                if !partition.elr.is_empty() || !partition.last_known_elr.is_empty() {
                    Arc::make_mut(partition).clear_elr();
                    changes.topics.insert(id);
                }
            }
        }
        Ok(())
    }

    fn replay_config(&mut self, record: &ConfigRecord, changes: &mut Changes) -> Result<(), ReplayError> {
        let kind = ResourceType::from_code(record.resource_type)
            .ok_or(ReplayError::UnknownResourceType(record.resource_type))?;
        let resource = ConfigResource::new(kind, record.resource_name.as_str());
        self.configs.set(&resource, &record.name, record.value.as_deref());
        changes.configs.insert(resource);
        Ok(())
    }

    fn replay_quota(&mut self, record: &ClientQuotaRecord, changes: &mut Changes) {
        let entity: QuotaEntity =
            record.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect();
        self.quotas.set(entity, &record.key, (!record.remove).then_some(record.value));
        changes.quotas = true;
    }

    fn replay_security(&mut self, record: &MetadataRecord, changes: &mut Changes) {
        match record {
            MetadataRecord::AccessControlEntry(record) => {
                self.acls.insert_mut(record.id, Arc::new(record.clone()));
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                self.acls.remove_mut(&record.id);
            }
            MetadataRecord::UserScramCredential(record) => {
                let key = (record.name.clone(), record.mechanism);
                self.scram_credentials.insert_mut(key, Arc::new(record.clone()));
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                self.scram_credentials.remove_mut(&(record.name.clone(), record.mechanism));
            }
            MetadataRecord::DelegationToken(record) => {
                self.delegation_tokens.insert_mut(record.token_id.clone(), Arc::new(record.clone()));
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                self.delegation_tokens.remove_mut(&record.token_id);
            }
            MetadataRecord::ZkMigrationState(record) => {
                self.zk_migration_state = Some(Arc::new(record.clone()));
                return;
            }
            _ => return,
        }
        changes.security = true;
    }
}
