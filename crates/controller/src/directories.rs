//! AssignReplicasToDirs (KIP-858): a broker says in which of its directories its replicas are.

use ottla_metadata::image::{BrokerRegistration, TopicImage};
use ottla_types::{BrokerEpoch, NodeId, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::assign_replicas_to_dirs_request::{AssignReplicasToDirsRequest, Topic};
use ottla_wire::messages::assign_replicas_to_dirs_response::{
    self as response, AssignReplicasToDirsResponse,
};
use ottla_wire::records::MetadataRecord;

use crate::controller::Controller;
use crate::outcome::Outcome;

impl Controller {
    pub fn assign_replicas_to_dirs(
        &self,
        request: &AssignReplicasToDirsRequest,
    ) -> Outcome<AssignReplicasToDirsResponse> {
        let refuse = |code: ErrorCode| {
            tracing::info!(broker = request.broker_id, code = code.name(), "refusing to assign directories");
            let error_code = code.code();
            Outcome::answer(AssignReplicasToDirsResponse {
                error_code,
                ..AssignReplicasToDirsResponse::default()
            })
        };
        if !self.image.features.metadata_version().is_directory_assignment_supported() {
            return refuse(ErrorCode::UnsupportedVersion);
        }
        let broker = match self.registered(NodeId(request.broker_id), BrokerEpoch(request.broker_epoch)) {
            Ok(broker) => broker,
            Err(error) => return refuse(error.code),
        };
        let mut records = self.records();
        let directories = request.directories.iter().map(|asked| {
            let topics = asked.topics.iter().map(|topic| {
                let (answer, changes) = self.assign(broker, asked.id, topic);
                records.extend(changes);
                answer
            });
            response::Directory { id: asked.id, topics: topics.collect(), ..response::Directory::default() }
        });
        let directories = directories.collect();
        records.with(AssignReplicasToDirsResponse { directories, ..AssignReplicasToDirsResponse::default() })
    }

    fn assign(
        &self,
        broker: &BrokerRegistration,
        directory: Uuid,
        asked: &Topic,
    ) -> (response::Topic, Vec<MetadataRecord>) {
        let mut changes = Vec::new();
        let topic = self.image.topics.by_id(asked.topic_id);
        let partitions = asked.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let assigned = match topic {
                Some(topic) => self.assign_one(broker, directory, topic, index),
                None => Err(ErrorCode::UnknownTopicId),
            };
            let error_code = assigned.as_ref().err().map_or(ErrorCode::None, |code| *code).code();
            changes.extend(assigned.ok().flatten());
            response::Partition { partition_index: index, error_code, ..response::Partition::default() }
        });
        let partitions = partitions.collect();
        (response::Topic { topic_id: asked.topic_id, partitions, ..response::Topic::default() }, changes)
    }

    fn assign_one(
        &self,
        broker: &BrokerRegistration,
        directory: Uuid,
        topic: &TopicImage,
        partition: i32,
    ) -> Result<Option<MetadataRecord>, ErrorCode> {
        let id = broker.id();
        let current = topic.partitions.get(&partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !current.replicas.contains(&id) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let is_online = broker.has_online_directory(directory);
        let mut change = self.change(topic, partition, current);
        change.directory = Some((id, directory));
        if !is_online {
            change.isr.retain(|replica| *replica != id);
            change.without_directory = Some(id);
        }
        Ok(change
            .build("directory assigned", |replica| self.is_active(replica) && (is_online || replica != id)))
    }
}
