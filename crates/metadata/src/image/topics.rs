use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Uuid;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::PartitionRegistration;

/// All topics, by id and by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicsImage {
    by_id: HashTrieMapSync<Uuid, Arc<TopicImage>>,
    by_name: RedBlackTreeMapSync<Arc<str>, Uuid>,
}

/// A topic and its partitions, which are numbered from 0 without gaps once its creation is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub id: Uuid,
    pub name: Arc<str>,
    pub partitions: BTreeMap<i32, Arc<PartitionRegistration>>,
}

impl TopicsImage {
    pub fn len(&self) -> usize {
        self.by_id.size()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// In the order of their names, from the first that is `from` or greater.
    pub fn iter_from<'a>(&'a self, from: &'a str) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        self.by_name
            .range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded))
            .filter_map(|(_, id)| self.by_id.get(id))
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    pub fn partition(&self, id: Uuid, partition: i32) -> Option<&Arc<PartitionRegistration>> {
        self.by_id(id)?.partitions.get(&partition)
    }

    pub(super) fn insert(&mut self, topic: TopicImage) {
        self.by_name.insert_mut(Arc::clone(&topic.name), topic.id);
        self.by_id.insert_mut(topic.id, Arc::new(topic));
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Option<Arc<TopicImage>> {
        let topic = Arc::clone(self.by_id.get(&id)?);
        self.by_id.remove_mut(&id);
        self.by_name.remove_mut(&topic.name);
        Some(topic)
    }

    pub(super) fn get_mut(&mut self, id: Uuid) -> Option<&mut TopicImage> {
        self.by_id.get_mut(&id).map(Arc::make_mut)
    }

    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.by_id.keys().copied().collect()
    }
}
