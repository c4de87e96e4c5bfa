//! Partitions that come to this node, change or go.

use std::sync::Arc;

use ottla_log::log_manager::CreateLog;
use ottla_log::{LogConfig, OpenError, StorageError, UnifiedLog};
use ottla_metadata::MetadataImage;
use ottla_metadata::image::{PartitionRegistration, TopicImage, directory};
use ottla_metadata::loader::Publication;
use ottla_replica::Assignment;
use ottla_types::{
    CONSUMER_OFFSETS_TOPIC, NodeId, Now, Offset, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC,
    TopicIdPartition, TopicPartition, Uuid,
};
use ottla_wire::ErrorCode;

use super::log_config;
use super::throttles::Throttles;
use crate::node::Node;

/// A partition that should be here, and whose files can't be had now.
#[derive(Clone, Debug)]
pub(super) struct Unassigned {
    topic_id: Uuid,
    partition: i32,
    /// It was never here before.
    is_new: bool,
}

/// Returns the partitions that are to be tried again.
pub(super) fn apply(node: &Node, publication: &Publication, now: Now) -> Vec<Unassigned> {
    for (id, name) in &publication.changes.deleted_topics {
        if let Some(topic) = publication.previous.topics.by_id(*id) {
            let local = node.identity.node_id;
            let here = topic.partitions.iter().filter(|(_, p)| p.replicas.contains(&local));
            let here = here.map(|(partition, _)| TopicPartition::new(Arc::clone(name), *partition));
            remove(node, here, *id, now);
        }
    }
    create_logs(node, publication, now);
    let mut unassigned = Vec::new();
    for id in &publication.changes.topics {
        if let Some(topic) = publication.image.topics.by_id(*id) {
            unassigned.extend(apply_topic(node, publication, topic, now));
        }
    }
    unassigned
}

/// Tries again what could not be had; returns what can't be had still.
pub(super) fn assign_again(
    node: &Node,
    image: &MetadataImage,
    unassigned: Vec<Unassigned>,
    now: Now,
) -> Vec<Unassigned> {
    let is_unassigned = |again: &Unassigned| {
        let Some(topic) = image.topics.by_id(again.topic_id) else { return false };
        let Some(registration) = topic.partitions.get(&again.partition) else { return false };
        if node.replicas.partition_by_id(again.topic_id, again.partition).is_some()
            || !registration.replicas.contains(&node.identity.node_id)
        {
            return false;
        }
        let id = TopicPartition::new(Arc::clone(&topic.name), again.partition);
        let settings = TopicSettings::new(node, image, topic);
        match assign(node, &settings, &id, registration, again.is_new, now) {
            Ok(()) => {
                tracing::info!(partition = %id, "the partition is available now");
                false
            }
            Err(error) => is_to_be_tried_again(&error),
        }
    };
    unassigned.into_iter().filter(is_unassigned).collect()
}

/// A full disk may have room again, and files be closed. A failed directory is out of reach for as long as this process
/// lives.
fn is_to_be_tried_again(error: &OpenError) -> bool {
    matches!(error, OpenError::Storage(StorageError::NoSpace { .. } | StorageError::OutOfFiles { .. }))
}

fn is_full(error: &OpenError) -> bool {
    matches!(error, OpenError::Storage(StorageError::NoSpace { .. }))
}

fn apply_topic(node: &Node, publication: &Publication, topic: &TopicImage, now: Now) -> Vec<Unassigned> {
    let mut unassigned = Vec::new();
    let local = node.identity.node_id;
    let mut settings = None;
    for (number, registration) in &topic.partitions {
        let id = TopicPartition::new(Arc::clone(&topic.name), *number);
        let previous = publication.previous.topics.partition(topic.id, *number);
        let was_here = previous.is_some_and(|previous| previous.replicas.contains(&local));
        if !registration.replicas.contains(&local) {
            if was_here {
                remove(node, [id], topic.id, now);
            }
        } else if previous.is_none_or(|previous| !Arc::ptr_eq(previous, registration)) || !was_here {
            let settings =
                settings.get_or_insert_with(|| TopicSettings::new(node, &publication.image, topic));
            let is_new = previous.is_none() && is_never_seen(publication, registration);
            if let Err(error) = assign(node, settings, &id, registration, is_new, now) {
                tracing::error!(partition = %id, %error, "the partition is not available");
                if is_to_be_tried_again(&error) {
                    unassigned.push(Unassigned { topic_id: topic.id, partition: *number, is_new });
                }
            }
        }
    }
    unassigned
}

/// Makes the logs of the partitions that come to this node: here they are seen together.
fn create_logs(node: &Node, publication: &Publication, now: Now) {
    let local = node.identity.node_id;
    let mut missing = Vec::new();
    for topic in publication.changes.topics.iter().filter_map(|id| publication.image.topics.by_id(*id)) {
        let is_new = |number: i32| publication.previous.topics.partition(topic.id, number).is_none();
        let mut coming =
            topic.partitions.iter().filter(|(number, p)| p.replicas.contains(&local) && is_new(**number));
        let Some(first) = coming.next() else { continue };
        let settings = TopicSettings::new(node, &publication.image, topic);
        missing.extend(std::iter::once(first).chain(coming).map(|(number, registration)| {
            let id = TopicPartition::new(Arc::clone(&topic.name), *number);
            log_to_create(node, &settings, &id, registration, is_never_seen(publication, registration))
        }));
    }
    node.logs.create_missing(missing, now);
}

/// Whether a partition that is not in the image before was nowhere before. What the first image has may have been here, in
/// a directory that is offline now.
fn is_never_seen(publication: &Publication, registration: &PartitionRegistration) -> bool {
    let is_first_image = publication.previous.provenance.last_offset == Offset::UNKNOWN;
    !is_first_image && registration.leader_epoch.value() == 0
}

/// The log that a partition has, or shall have.
fn log_to_create(
    node: &Node,
    settings: &TopicSettings,
    id: &TopicPartition,
    registration: &PartitionRegistration,
    is_new: bool,
) -> CreateLog {
    let assigned = registration.directory(node.identity.node_id).filter(|dir| !directory::is_reserved(*dir));
    let wanted = node.wanted_dirs.of(id).or_else(|| node.logs.dir_of_id(assigned?));
    CreateLog {
        partition: id.clone(),
        topic_id: Some(settings.id),
        config: Arc::clone(&settings.log),
        is_new,
        dir: wanted,
    }
}

/// What the partitions of a topic have in common.
struct TopicSettings {
    id: Uuid,
    log: Arc<LogConfig>,
    min_insync_replicas: usize,
    throttles: Throttles,
    /// This process, not one before it.
    is_registered: bool,
}

impl TopicSettings {
    fn new(node: &Node, image: &MetadataImage, topic: &TopicImage) -> TopicSettings {
        let config = node.topic_config(image, &topic.name);
        TopicSettings {
            id: topic.id,
            log: Arc::new(log_config(&config)),
            min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(1),
            throttles: Throttles::new(&config, node.identity.node_id),
            is_registered: node.is_registered_in(image),
        }
    }
}

/// A partition that can't be had is offline: whoever asks for it is told of the disk. Where only room is wanting and others are in
/// sync they do without it until it is made.
fn assign(
    node: &Node,
    settings: &TopicSettings,
    id: &TopicPartition,
    registration: &PartitionRegistration,
    is_new: bool,
    now: Now,
) -> Result<(), OpenError> {
    let local = node.identity.node_id;
    // What a process before this one led, this one may have lost part of: it leads nothing before the metadata know it.
    let leader = match registration.leader {
        leader if leader == local && !settings.is_registered => NodeId::NONE,
        leader => leader,
    };
    let assignment = Assignment {
        partition: TopicIdPartition { topic_id: settings.id, topic_partition: id.clone() },
        leader,
        leader_epoch: registration.leader_epoch,
        partition_epoch: registration.partition_epoch,
        replicas: registration.replicas.clone(),
        isr: registration.isr.clone(),
        min_insync_replicas: settings.min_insync_replicas,
    };
    let was_lost = node.replicas.is_offline(&id.topic, id.partition);
    let open = || -> Result<Arc<UnifiedLog>, OpenError> {
        let create = log_to_create(node, settings, id, registration, is_new);
        // What this process has lost with a directory is no copy that another one has left: it may lack records.
        if !was_lost {
            node.logs.take_up_abandoned_future(id, create.dir.as_deref(), node.ids.uuid(), now)?;
        }
        node.logs.get_or_create(&create, now)
    };
    // Making the logs of those before it may have taken longer than a follower may lag.
    match node.replicas.assign(assignment, open, node.present(now)) {
        Ok(partition) => {
            partition.set_throttled(settings.throttles.of(id.partition));
            if *id.topic == *CONSUMER_OFFSETS_TOPIC {
                partition.set_listener(Some(Arc::clone(&node.offsets_listener) as _));
            } else if *id.topic == *TRANSACTION_STATE_TOPIC {
                partition.set_listener(Some(Arc::clone(&node.transactions_listener) as _));
            } else if *id.topic == *SHARE_GROUP_STATE_TOPIC {
                partition.set_listener(Some(Arc::clone(&node.share.listener) as _));
            }
            node.wanted_dirs.forget(id);
            let known = registration.directory(local);
            let actual = node.logs.dir_id(&partition.log().log_dir());
            // On its way it may be told to be where it will be in a moment.
            let is_on_its_way =
                known.is_some_and(|dir| node.replicas.is_expected_in_future_dir(&partition, dir));
            let is_told_otherwise = is_on_its_way || node.replicas.is_given_up(&partition);
            if let Some(actual) = actual.filter(|dir| known != Some(*dir) && !is_told_otherwise) {
                node.directory_assignments.add(settings.id, id.partition, actual);
            }
            Ok(())
        }
        Err(error) => {
            node.replicas.take_offline(id, now);
            if is_full(&error) && registration.isr.len() > 1 && registration.isr.contains(&local) {
                node.assign_directory(settings.id, id.partition, directory::LOST);
            }
            Err(error)
        }
    }
}

fn remove(node: &Node, ids: impl IntoIterator<Item = TopicPartition>, topic_id: Uuid, now: Now) {
    let mut to_delete = Vec::new();
    for id in ids {
        let here = node.replicas.partition(&id.topic, id.partition).filter(|p| p.topic_id() == topic_id);
        match here {
            Some(_) => drop(node.replicas.remove(&id, ErrorCode::UnknownTopicOrPartition, now)),
            None => node.replicas.set_gone(&id),
        }
        // The log may be here without its partition, if that could not be assigned, and a copy of it without the log.
        let mut logs = node.logs.log(&id).into_iter().chain(node.logs.future_log(&id));
        if logs.any(|log| log.topic_id() == Some(topic_id)) {
            to_delete.push((id, node.ids.uuid()));
        }
    }
    for (id, error) in node.logs.delete_all(to_delete, now) {
        tracing::error!(partition = %id, %error, "the partition's log is not deleted");
    }
}

/// Logs that the metadata does not put on this node: their topic was deleted, or made again, while the node was away.
pub(super) fn set_aside_strays(node: &Node, image: &MetadataImage, now: Now) {
    let local = node.identity.node_id;
    for log in node.logs.logs().into_iter().chain(node.logs.future_logs()) {
        let id = log.partition();
        let is_assigned = image.topics.by_name(&id.topic).is_some_and(|topic| {
            log.topic_id().is_none_or(|known| known == topic.id)
                && topic.partitions.get(&id.partition).is_some_and(|p| p.replicas.contains(&local))
        });
        let is_here = node.logs.log(id).is_some() || node.logs.future_log(id).is_some();
        if is_assigned || !is_here {
            continue;
        }
        tracing::warn!(partition = %id, topic_id = ?log.topic_id(), "no metadata puts this log here: set aside");
        if let Err(error) = node.logs.set_aside_stray(id, node.ids.uuid(), now) {
            tracing::error!(partition = %id, %error, "the stray log is not set aside");
        }
    }
}
