use std::collections::BTreeSet;

use ottla_record::TimestampType;
use ottla_types::Timestamp;
use proptest::prelude::*;

use super::*;

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("t", index)
}

fn record(index: i32, offset: i64, key: Option<u8>) -> ConsumerRecord {
    ConsumerRecord {
        topic_partition: partition(index),
        offset: Offset(offset),
        leader_epoch: None,
        timestamp: Timestamp(0),
        timestamp_type: TimestampType::CreateTime,
        key: key.map(|key| Bytes::from(vec![key])),
        value: None,
        headers: Vec::new(),
    }
}

#[test]
fn only_what_has_no_gap_before_it_is_to_be_committed() {
    let mut workload = Workload::new(ProcessingOrder::Unordered, 10, 100);
    workload.take((0..4).map(|offset| record(0, offset * 10, None)).collect());
    let mut begun: Vec<Begun> = std::iter::from_fn(|| workload.begin()).map(|(begun, _)| begun).collect();
    assert_eq!(begun.len(), 4);
    let mut end = |place: usize, is_done: bool| {
        workload.end(begun.remove(place), is_done);
        let done = workload.take_done();
        done.get(&partition(0)).map(|position| position.offset.0)
    };
    assert_eq!(end(1, true), None, "the first one is not done");
    assert_eq!(end(0, true), Some(11), "two in a row are");
    assert_eq!(end(1, true), None);
    assert_eq!(end(0, false), None, "what has failed is not done");
    assert_eq!(workload.unfinished(), BTreeMap::from([(partition(0), Offset(20))]));
}

#[test]
fn records_of_a_key_follow_each_other() {
    let mut workload = Workload::new(ProcessingOrder::Key, 10, 100);
    workload.take(vec![
        record(0, 0, Some(1)),
        record(0, 1, Some(1)),
        record(0, 2, Some(2)),
        record(0, 3, None),
        record(0, 4, None),
        record(1, 0, Some(1)),
    ]);
    let begin = |workload: &mut Workload| workload.begin().map(|(begun, _)| begun);
    let mut begun: Vec<Begun> = std::iter::from_fn(|| begin(&mut workload)).collect();
    let places = |begun: &[Begun]| {
        begun.iter().map(|begun| (begun.partition.partition, begun.offset.0)).collect::<Vec<_>>()
    };
    assert_eq!(places(&begun), [(0, 0), (0, 2), (0, 3), (0, 4), (1, 0)]);
    workload.end(begun.remove(0), true);
    assert_eq!(begin(&mut workload).unwrap().offset, Offset(1));
}

#[test]
fn a_partition_that_was_given_up_says_nothing_any_more() {
    let mut workload = Workload::new(ProcessingOrder::Partition, 10, 100);
    workload.take(vec![record(0, 0, None), record(0, 1, None)]);
    let (begun, _) = workload.begin().unwrap();
    workload.stop(|of| *of == partition(0));
    assert!(!workload.is_idle(&[partition(0)]));
    workload.remove(&[partition(0)]);
    // It comes again, from its start; what was begun before is still under way.
    workload.take(vec![record(0, 0, None)]);
    assert!(workload.begin().is_none(), "one at a time, whoever has begun it");
    workload.end(begun, true);
    assert!(workload.take_done().is_empty());
    let (again, _) = workload.begin().unwrap();
    workload.end(again, true);
    assert_eq!(workload.take_done()[&partition(0)].offset, Offset(1));
}

#[test]
fn the_flow_stops_and_goes_on() {
    let mut workload = Workload::new(ProcessingOrder::Unordered, 100, 8);
    let mut next = [0; 2];
    let mut take = |workload: &mut Workload, index: i32, count: i64| {
        let place = usize::try_from(index).unwrap();
        workload.take((next[place]..next[place] + count).map(|offset| record(index, offset, None)).collect());
        next[place] += count;
    };
    take(&mut workload, 1, 1);
    take(&mut workload, 0, 4);
    let paused = |pause: &[i32], resume: &[i32]| Flow {
        pause: pause.iter().map(|index| partition(*index)).collect(),
        resume: resume.iter().map(|index| partition(*index)).collect(),
    };
    assert_eq!(workload.flow(), paused(&[0], &[]), "half of it is one partition's");
    take(&mut workload, 1, 3);
    assert_eq!(workload.flow(), paused(&[1], &[]));
    let begun: Vec<Begun> = std::iter::from_fn(|| workload.begin()).map(|(begun, _)| begun).collect();
    assert_eq!(workload.flow(), Flow::default());
    let mut resumed = BTreeSet::new();
    for begun in begun {
        workload.end(begun, true);
        let flow = workload.flow();
        assert_eq!(flow.pause, []);
        resumed.extend(flow.resume);
    }
    assert_eq!(resumed, BTreeSet::from([partition(0), partition(1)]));
    assert_eq!(workload.paused().count(), 0);
}

#[derive(Clone, Debug)]
enum Event {
    Read(i32, u8),
    Begin,
    End(usize, bool),
    Commit,
    CommitFails,
    /// Its owner hears of it first, and waits for what is under way.
    Revoke(i32),
    Lose(i32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3, 1..6u8).prop_map(|(partition, count)| Event::Read(partition, count)),
        8 => Just(Event::Begin),
        8 => (0..8usize, prop::bool::weighted(0.95)).prop_map(|(place, is_done)| Event::End(place, is_done)),
        2 => Just(Event::Commit),
        1 => Just(Event::CommitFails),
        1 => (0..3).prop_map(Event::Revoke),
        1 => (0..3).prop_map(Event::Lose),
    ]
}

/// What ought to be: for each partition where reading is, what is finished, what is committed.
#[derive(Default)]
struct World {
    read_to: BTreeMap<i32, i64>,
    finished: BTreeMap<i32, BTreeSet<i64>>,
    committed: BTreeMap<i32, i64>,
    /// With whether they count still.
    begun: Vec<(Begun, bool)>,
}

fn key(offset: i64) -> Option<u8> {
    (offset % 5 != 4).then_some(u8::try_from(offset % 3).unwrap())
}

impl World {
    fn commit(&mut self, workload: &mut Workload, order: ProcessingOrder) {
        for (name, position) in workload.take_done() {
            let (index, offset) = (name.partition, position.offset.0);
            let from = self.committed.get(&index).copied().unwrap_or(0);
            let finished = &self.finished[&index];
            assert!(
                (from..offset).all(|done| finished.contains(&done)),
                "{order:?}: {index} up to {offset}: {finished:?}"
            );
            self.committed.insert(index, offset);
        }
    }

    fn forget(&mut self, index: i32) {
        let committed = self.committed.get(&index).copied().unwrap_or(0);
        self.read_to.insert(index, committed);
        self.finished.insert(index, (0..committed).collect());
        for (begun, counts) in &mut self.begun {
            *counts &= begun.partition.partition != index;
        }
    }
}

proptest! {
    #![proptest_config(ottla_testkit::cases(400))]

    #[test]
    fn nothing_is_committed_that_is_not_done(
        order in prop::sample::select(vec![ProcessingOrder::Key, ProcessingOrder::Partition, ProcessingOrder::Unordered]),
        running_max in 1..6usize,
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut workload = Workload::new(order, running_max, 1_000);
        let mut world = World::default();
        for event in events {
            match event {
                Event::Read(index, count) => {
                    let from = world.read_to.entry(index).or_insert(0);
                    let offsets = *from..*from + i64::from(count);
                    *from = offsets.end;
                    world.finished.entry(index).or_default();
                    workload.take(offsets.map(|offset| record(index, offset, key(offset))).collect());
                }
                Event::Begin => {
                    if let Some((begun, record)) = workload.begin() {
                        prop_assert_eq!(record.offset, begun.offset);
                        let clashes = world.begun.iter().any(|(other, _)| match order {
                            ProcessingOrder::Unordered => false,
                            ProcessingOrder::Partition => other.partition == begun.partition,
                            ProcessingOrder::Key => {
                                let key = key(begun.offset.0);
                                other.partition == begun.partition
                                    && (other.offset == begun.offset || key.is_some() && self::key(other.offset.0) == key)
                            }
                        });
                        prop_assert!(!clashes, "{:?} beside {:?}", begun, world.begun);
                        world.begun.push((begun, true));
                        prop_assert!(world.begun.len() <= running_max);
                    }
                }
                Event::End(place, is_done) => {
                    if place < world.begun.len() {
                        let (begun, counts) = world.begun.remove(place);
                        if counts && is_done {
                            world.finished.get_mut(&begun.partition.partition).unwrap().insert(begun.offset.0);
                        }
                        workload.end(begun, is_done);
                    }
                }
                Event::Commit => world.commit(&mut workload, order),
                Event::CommitFails => {
                    workload.take_done();
                    workload.take_back();
                }
                Event::Revoke(index) => {
                    let partitions = [partition(index)];
                    workload.stop(|of| partitions.contains(of));
                    while !workload.is_idle(&partitions) {
                        let place = world.begun.iter().position(|(begun, counts)| *counts && begun.partition == partitions[0]);
                        let (begun, _) = world.begun.remove(place.unwrap());
                        world.finished.get_mut(&index).unwrap().insert(begun.offset.0);
                        workload.end(begun, true);
                    }
                    world.commit(&mut workload, order);
                    workload.remove(&partitions);
                    world.forget(index);
                }
                Event::Lose(index) => {
                    workload.remove(&[partition(index)]);
                    world.forget(index);
                }
            }
        }
        // Everything that is left comes to its end.
        loop {
            while let Some((begun, _)) = workload.begin() {
                world.begun.push((begun, true));
            }
            let Some((begun, counts)) = world.begun.pop() else { break };
            if counts {
                world.finished.get_mut(&begun.partition.partition).unwrap().insert(begun.offset.0);
            }
            workload.end(begun, true);
        }
        prop_assert!(workload.is_all_idle() && workload.lanes.is_empty() && workload.ready.is_empty());
        workload.take_back();
        world.commit(&mut workload, order);
    }
}
