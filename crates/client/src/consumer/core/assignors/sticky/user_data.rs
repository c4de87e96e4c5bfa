//! What a sticky member tells the leader of its last assignment: partitions by topic, and since KIP-341 the generation.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_types::TopicPartition;

use super::Previous;
use crate::consumer::core::protocol::NO_GENERATION;

pub(super) fn encode(partitions: &[TopicPartition], generation: i32) -> Bytes {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        by_topic.entry(&partition.topic).or_default().push(partition.partition);
    }
    let mut bytes = BytesMut::new();
    bytes.put_i32(by_topic.len() as i32);
    for (topic, partitions) in by_topic {
        // A topic's name has at most 249 characters.
        bytes.put_i16(topic.len() as i16);
        bytes.put_slice(topic.as_bytes());
        bytes.put_i32(partitions.len() as i32);
        partitions.into_iter().for_each(|partition| bytes.put_i32(partition));
    }
    bytes.put_i32(generation);
    bytes.freeze()
}

/// What can't be read counts as nothing.
pub(super) fn decode(bytes: Option<&Bytes>) -> Previous {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Previous::default() };
    let mut rest: &[u8] = bytes;
    match read_partitions(&mut rest) {
        Some(partitions) => Previous { partitions, generation: rest.try_get_i32().ok() },
        None => Previous { partitions: Vec::new(), generation: Some(NO_GENERATION) },
    }
}

fn read_partitions(rest: &mut &[u8]) -> Option<Vec<TopicPartition>> {
    let mut partitions = Vec::new();
    for _ in 0..rest.try_get_i32().ok()? {
        let len = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let (name, after) = rest.split_at_checked(len)?;
        *rest = after;
        let topic: std::sync::Arc<str> = std::str::from_utf8(name).ok()?.into();
        for _ in 0..rest.try_get_i32().ok()? {
            partitions.push(TopicPartition::new(topic.clone(), rest.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let partitions =
            vec![TopicPartition::new("a", 0), TopicPartition::new("a", 3), TopicPartition::new("b", 1)];
        let bytes = encode(&partitions, 7);
        assert_eq!(decode(Some(&bytes)), Previous { partitions: partitions.clone(), generation: Some(7) });
        let without_generation = bytes.slice(..bytes.len() - 4);
        assert_eq!(decode(Some(&without_generation)), Previous { partitions, generation: None });
    }

    #[test]
    fn damage_counts_as_nothing() {
        assert_eq!(decode(None), Previous::default());
        assert_eq!(decode(Some(&Bytes::new())), Previous::default());
        let nothing = Previous { partitions: Vec::new(), generation: Some(NO_GENERATION) };
        let good = encode(&[TopicPartition::new("topic", 0)], 1);
        for len in 1..good.len() - 4 {
            assert_eq!(decode(Some(&good.slice(..len))), nothing, "{len}");
        }
        assert_eq!(decode(Some(&Bytes::from_static(&[0x7f; 40]))), nothing);
    }
}
