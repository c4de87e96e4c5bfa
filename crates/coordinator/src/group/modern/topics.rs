//! The topics behind names, as an image of the metadata has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_metadata::image::TopicImage;
use ottla_types::Uuid;
use twox_hash::XxHash3_64;

/// Looks names up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topics<'a>(pub(crate) &'a MetadataImage);

impl Topics<'_> {
    /// The ids of those that exist.
    pub(crate) fn ids<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> BTreeSet<Uuid> {
        names.into_iter().filter_map(|name| Some(self.0.topics.by_name(name)?.id)).collect()
    }

    /// How many partitions each of those has that exist.
    pub(crate) fn partition_counts<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> BTreeMap<Uuid, i32> {
        let count = |topic: &Arc<TopicImage>| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let topics = names.into_iter().filter_map(|name| self.0.topics.by_name(name));
        topics.map(|topic| (topic.id, count(topic))).collect()
    }
}

/// Hashes of topics as groups keep them (KIP-1101): the same topics with the same partitions and racks have the same.
#[derive(Debug, Default)]
pub(crate) struct TopicHashes {
    known: BTreeMap<Arc<str>, i64>,
}

impl TopicHashes {
    /// The hash of the topics with these names, which come in their order; 0 if none of them exists.
    pub(crate) fn of_group<'n>(
        &mut self,
        image: &MetadataImage,
        names: impl IntoIterator<Item = &'n Arc<str>>,
    ) -> i64 {
        let mut input = Vec::new();
        for name in names {
            if let Some(topic) = image.topics.by_name(name) {
                let hash =
                    *self.known.entry(Arc::clone(name)).or_insert_with(|| xxh3(&hash_input(image, topic)));
                input.extend(hash.to_le_bytes());
            }
        }
        if input.is_empty() { 0 } else { xxh3(&input) }
    }

    /// These have changed.
    pub(crate) fn forget(&mut self, names: &BTreeSet<Arc<str>>) {
        self.known.retain(|name, _| !names.contains(name));
    }
}

#[expect(clippy::cast_possible_wrap, reason = "the record keeps the bits as a signed number")]
fn xxh3(input: &[u8]) -> i64 {
    XxHash3_64::oneshot(input) as i64
}

/// A version, the topic's id, its name, the number of its partitions, and the racks of each in their order. Integers are
/// little-endian, and strings are UTF-16 units followed by how many they are.
fn hash_input(image: &MetadataImage, topic: &TopicImage) -> Vec<u8> {
    let mut input = vec![HASH_VERSION];
    let (high, low) = topic.id.0.split_at(8);
    // The id is two big-endian longs.
    input.extend(high.iter().rev().chain(low.iter().rev()));
    put_string(&mut input, &topic.name);
    put_length(&mut input, topic.partitions.len());
    for (number, partition) in &topic.partitions {
        input.extend(number.to_le_bytes());
        let racks = partition.replicas.iter().filter_map(|id| image.brokers.get(id)?.rack());
        let mut racks: Vec<Vec<u16>> = racks.map(|rack| rack.encode_utf16().collect()).collect();
        racks.sort_unstable();
        for rack in &racks {
            put_length(&mut input, rack.len());
            put_units(&mut input, rack);
        }
    }
    input
}

fn put_string(input: &mut Vec<u8>, text: &str) {
    put_units(input, &text.encode_utf16().collect::<Vec<u16>>());
}

fn put_units(input: &mut Vec<u8>, units: &[u16]) {
    input.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    put_length(input, units.len());
}

fn put_length(input: &mut Vec<u8>, length: usize) {
    input.extend(i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes());
}

const HASH_VERSION: u8 = 0;
