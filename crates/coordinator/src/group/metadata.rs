//! How shards learn of the metadata: each is told of every new image in its turn, and begins with the newest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ottla_metadata::{Changes, MetadataImage};
use parking_lot::Mutex;

use super::shard::{GroupShard, GroupTurn};
use super::state::StoredGroup;

/// What all shards of a coordinator begin with.
#[derive(Debug)]
pub(crate) struct SharedMetadata {
    image: Mutex<Arc<MetadataImage>>,
    consumer_assignment_interval_ms: AtomicI32,
    share_assignment_interval_ms: AtomicI32,
}

impl SharedMetadata {
    /// With the intervals of assignments in milliseconds.
    pub(crate) fn new(of_consumer_groups_ms: i32, of_share_groups_ms: i32) -> SharedMetadata {
        SharedMetadata {
            image: Mutex::default(),
            consumer_assignment_interval_ms: AtomicI32::new(of_consumer_groups_ms),
            share_assignment_interval_ms: AtomicI32::new(of_share_groups_ms),
        }
    }

    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.lock())
    }

    pub(crate) fn set_image(&self, image: Arc<MetadataImage>) {
        *self.image.lock() = image;
    }

    /// `group.consumer.assignment.interval.ms`, which may change while the node runs.
    pub(crate) fn consumer_assignment_interval_ms(&self) -> i32 {
        self.consumer_assignment_interval_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_consumer_assignment_interval_ms(&self, interval_ms: i32) {
        self.consumer_assignment_interval_ms.store(interval_ms, Ordering::Relaxed);
    }

    /// `group.share.assignment.interval.ms`, which may change while the node runs.
    pub(crate) fn share_assignment_interval_ms(&self) -> i32 {
        self.share_assignment_interval_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_share_assignment_interval_ms(&self, interval_ms: i32) {
        self.share_assignment_interval_ms.store(interval_ms, Ordering::Relaxed);
    }
}

/// Names of topics that an image changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangedTopics {
    names: BTreeSet<Arc<str>>,
    /// Some came or went.
    is_set_changed: bool,
}

impl ChangedTopics {
    pub(crate) fn new(image: &MetadataImage, previous: &MetadataImage, changes: &Changes) -> ChangedTopics {
        let changed = changes.topics.iter().filter_map(|id| image.topics.by_id(*id));
        let deleted = changes.deleted_topics.iter().map(|(_, name)| Arc::clone(name));
        ChangedTopics {
            names: changed.map(|topic| Arc::clone(&topic.name)).chain(deleted).collect(),
            is_set_changed: !changes.deleted_topics.is_empty()
                || changes.topics.iter().any(|id| previous.topics.by_id(*id).is_none()),
        }
    }
}

impl GroupShard {
    /// Takes a new image up: groups that subscribe to what it changed are looked at again with their next heartbeat.
    pub(crate) fn new_image(
        &mut self,
        turn: &GroupTurn<'_>,
        image: Arc<MetadataImage>,
        changed: &ChangedTopics,
    ) {
        // The shard may have begun with a newer one.
        if image.provenance.last_offset < self.image.provenance.last_offset {
            return;
        }
        self.image = image;
        if changed.is_set_changed {
            self.topics_changed_at = self.image.provenance.last_offset;
        }
        self.topic_hashes.forget(&changed.names);
        if changed.names.is_empty() {
            return;
        }
        let is_concerned = |group_id: &str| match turn.state.groups.get(group_id) {
            Some(StoredGroup::Consumer(group)) => {
                changed.names.iter().any(|name| group.subscribed().contains(name))
            }
            Some(StoredGroup::Share(group)) => {
                changed.names.iter().any(|name| group.subscribed().contains(name))
            }
            _ => true,
        };
        self.freshness.forget_where(is_concerned);
        self.share_at_rest.retain(|group_id, _| !is_concerned(group_id));
    }
}
