use std::sync::Arc;

use ottla_types::TopicPartition;
use rpds::RedBlackTreeMapSync;

use super::CommittedOffset;

/// How many partitions lie together. Members commit neighbours at once, and between two batches of the log only what is
/// written to is copied: so a run costs a copy of itself where each partition would cost the path to it.
const RUN_PARTITIONS: i32 = 16;

/// What a group has committed, by topic and partition, in their order. A copy is cheap: it shares what neither changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupOffsets {
    topics: RedBlackTreeMapSync<Arc<str>, TopicOffsets>,
}

/// By the number of the run. No run is empty.
type TopicOffsets = RedBlackTreeMapSync<i32, Arc<Run>>;
/// In the order of the partitions.
type Run = Vec<(i32, CommittedOffset)>;

impl GroupOffsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        let run = self.topics.get(topic)?.get(&run_of(partition))?;
        let at = position(run, partition).ok()?;
        run.get(at).map(|(_, offset)| offset)
    }

    pub(crate) fn contains(&self, partition: &TopicPartition) -> bool {
        self.get(&partition.topic, partition.partition).is_some()
    }

    pub(crate) fn put(&mut self, partition: TopicPartition, offset: CommittedOffset) {
        let TopicPartition { topic, partition } = partition;
        let number = run_of(partition);
        let Some(runs) = self.topics.get_mut(&topic) else {
            let run = Arc::new(vec![(partition, offset)]);
            self.topics.insert_mut(topic, TopicOffsets::default().insert(number, run));
            return;
        };
        let Some(run) = runs.get_mut(&number) else {
            runs.insert_mut(number, Arc::new(vec![(partition, offset)]));
            return;
        };
        let run = Arc::make_mut(run);
        match position(run, partition) {
            Ok(at) => {
                if let Some((_, known)) = run.get_mut(at) {
                    *known = offset;
                }
            }
            Err(at) => run.insert(at, (partition, offset)),
        }
    }

    pub(crate) fn remove(&mut self, partition: &TopicPartition) {
        let (topic, number) = (&partition.topic, run_of(partition.partition));
        let Some(runs) = self.topics.get_mut(topic) else { return };
        let Some(run) = runs.get_mut(&number) else { return };
        let Ok(at) = position(run, partition.partition) else { return };
        let run = Arc::make_mut(run);
        run.remove(at);
        if run.is_empty() {
            runs.remove_mut(&number);
        }
        if runs.is_empty() {
            self.topics.remove_mut(topic);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, runs)| {
            of_runs(runs).map(move |(partition, offset)| (topic, partition, offset))
        })
    }

    pub(crate) fn of_topic(&self, topic: &str) -> impl Iterator<Item = (i32, &CommittedOffset)> {
        self.topics.get(topic).into_iter().flat_map(of_runs)
    }
}

fn of_runs(runs: &TopicOffsets) -> impl Iterator<Item = (i32, &CommittedOffset)> {
    runs.values().flat_map(|run| run.iter().map(|(partition, offset)| (*partition, offset)))
}

fn run_of(partition: i32) -> i32 {
    partition.div_euclid(RUN_PARTITIONS)
}

/// Where the partition is, or belongs.
fn position(run: &Run, partition: i32) -> Result<usize, usize> {
    run.binary_search_by_key(&partition, |(partition, _)| *partition)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_types::{LeaderEpoch, Offset, Timestamp, Uuid};
    use proptest::prelude::*;

    use super::*;

    fn offset(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: LeaderEpoch(1),
            metadata: String::new(),
            commit_timestamp: Timestamp(0),
            expire_timestamp: None,
            topic_id: Uuid::ZERO,
            record_offset: Offset(offset),
        }
    }

    fn any_partition() -> impl Strategy<Value = TopicPartition> {
        let index = prop_oneof![0..50, Just(i32::MAX), Just(i32::MIN), -3..0];
        ("[a-c]", index).prop_map(|(topic, index)| TopicPartition::new(topic, index))
    }

    proptest! {
        #![proptest_config(ottla_testkit::cases(256))]

        /// Whatever is put and removed, it holds what an ordered map holds; and so do copies that were made on the way.
        #[test]
        fn it_is_an_ordered_map_whose_copies_stay(
            changes in prop::collection::vec((any_partition(), prop::option::weighted(0.6, 0..100_i64)), 0..200),
        ) {
            let (mut offsets, mut map) = (GroupOffsets::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (step, (partition, put)) in changes.into_iter().enumerate() {
                if step % 20 == 0 {
                    copies.push((offsets.clone(), map.clone()));
                }
                match put {
                    Some(at) => {
                        offsets.put(partition.clone(), offset(at));
                        map.insert(partition.clone(), offset(at));
                    }
                    None => {
                        offsets.remove(&partition);
                        map.remove(&partition);
                    }
                }
                prop_assert_eq!(offsets.contains(&partition), put.is_some());
            }
            copies.push((offsets, map));
            for (offsets, map) in copies {
                prop_assert_eq!(offsets.is_empty(), map.is_empty());
                let all = offsets.iter().map(|(topic, partition, offset)| {
                    (TopicPartition::new(Arc::clone(topic), partition), offset)
                });
                prop_assert!(all.eq(map.iter().map(|(partition, offset)| (partition.clone(), offset))));
                let of_b = map.iter().filter(|(partition, _)| &*partition.topic == "b");
                prop_assert!(offsets.of_topic("b").eq(of_b.map(|(of, offset)| (of.partition, offset))));
                for (partition, offset) in &map {
                    prop_assert_eq!(offsets.get(&partition.topic, partition.partition), Some(offset));
                }
                // The same whatever the way to it.
                let mut again = GroupOffsets::default();
                map.into_iter().for_each(|(partition, offset)| again.put(partition, offset));
                prop_assert_eq!(again, offsets);
            }
        }
    }
}
