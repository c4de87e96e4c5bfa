//! Records that are worked on at the same time: which may be begun, and up to where a partition is done.
//!
//! What always holds: records of one lane are begun one after the other, in the order in which they came, each when the one
//! before is finished; what may be committed of a partition lies before its first record that is not finished; what is
//! finished after its partition was given up counts for nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use ottla_types::{Offset, TopicPartition};

use super::record::{ConsumerRecord, Position};

/// Which records are worked on one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessingOrder {
    /// Those of a partition with the same key. Records without a key are independent of all others.
    #[default]
    Key,
    /// Those of a partition.
    Partition,
    /// None: all records are independent of each other.
    Unordered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Partition(TopicPartition),
    Key(TopicPartition, Bytes),
    Record(TopicPartition, Offset),
}

/// A record that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    partition: TopicPartition,
    offset: Offset,
    era: u64,
    lane: Lane,
}

impl Begun {
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn offset(&self) -> Offset {
        self.offset
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Finished,
}

/// A partition's records from the first that isn't finished on, in the order of their offsets.
#[derive(Debug)]
struct Progress {
    /// Tells this assignment of the partition from others.
    era: u64,
    window: VecDeque<(Offset, Position, State)>,
    /// Behind all that is finished without a gap; `None` while nothing is.
    done: Option<Position>,
    /// What was told to be committed last.
    told: Option<Position>,
    running: usize,
    is_paused: bool,
}

/// What is to be done about the flow of records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub pause: Vec<TopicPartition>,
    pub resume: Vec<TopicPartition>,
}

/// See the module.
#[derive(Debug)]
pub struct Workload {
    order: ProcessingOrder,
    running_max: usize,
    in_flight_max: usize,
    partitions: BTreeMap<TopicPartition, Progress>,
    /// Records that wait for those before them. A lane is here while one of its records is begun, or is ready to be.
    lanes: HashMap<Lane, VecDeque<ConsumerRecord>>,
    ready: VecDeque<Lane>,
    running: usize,
    eras: u64,
}

impl Workload {
    /// At most `running_max` records are begun at a time. With `in_flight_max` records that can't be committed yet, the flow
    /// stops.
    pub fn new(order: ProcessingOrder, running_max: usize, in_flight_max: usize) -> Workload {
        Workload {
            order,
            running_max: running_max.max(1),
            in_flight_max: in_flight_max.max(1),
            partitions: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            running: 0,
            eras: 0,
        }
    }

    /// Takes records over, of each partition in the order of their offsets.
    pub fn take(&mut self, records: Vec<ConsumerRecord>) {
        for record in records {
            let eras = &mut self.eras;
            let progress = self.partitions.entry(record.topic_partition.clone()).or_insert_with(|| {
                *eras += 1;
                Progress {
                    era: *eras,
                    window: VecDeque::new(),
                    done: None,
                    told: None,
                    running: 0,
                    is_paused: false,
                }
            });
            progress.window.push_back((record.offset, record.next_position(), State::Waiting));
            let lane = self.lane(&record);
            match self.lanes.get_mut(&lane) {
                Some(waiting) => waiting.push_back(record),
                None => {
                    self.lanes.insert(lane.clone(), VecDeque::from([record]));
                    self.ready.push_back(lane);
                }
            }
        }
    }

    fn lane(&self, record: &ConsumerRecord) -> Lane {
        let partition = record.topic_partition.clone();
        match (self.order, &record.key) {
            (ProcessingOrder::Partition, _) => Lane::Partition(partition),
            (ProcessingOrder::Key, Some(key)) => Lane::Key(partition, key.clone()),
            _ => Lane::Record(partition, record.offset),
        }
    }

    /// The next record that may be begun now.
    pub fn begin(&mut self) -> Option<(Begun, ConsumerRecord)> {
        while self.running < self.running_max {
            let lane = self.ready.pop_front()?;
            let Some(record) = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front) else {
                // What waited there was dropped.
                self.lanes.remove(&lane);
                continue;
            };
            let Some(progress) = self.partitions.get_mut(&record.topic_partition) else {
                self.follow(lane);
                continue;
            };
            progress.set(record.offset, State::Running);
            progress.running += 1;
            self.running += 1;
            let (partition, offset, era) = (record.topic_partition.clone(), record.offset, progress.era);
            return Some((Begun { partition, offset, era, lane }, record));
        }
        None
    }

    /// A record that was begun is not worked on any more; `is_done`: it is done with.
    pub fn end(&mut self, begun: Begun, is_done: bool) {
        self.running -= 1;
        if let Some(progress) =
            self.partitions.get_mut(&begun.partition).filter(|progress| progress.era == begun.era)
        {
            progress.running -= 1;
            if is_done {
                progress.finish(begun.offset);
            }
        }
        self.follow(begun.lane);
    }

    /// The lane's next record may be begun.
    fn follow(&mut self, lane: Lane) {
        match self.lanes.get(&lane) {
            Some(waiting) if !waiting.is_empty() => self.ready.push_back(lane),
            _ => drop(self.lanes.remove(&lane)),
        }
    }

    /// Nothing of these is begun any more.
    pub fn stop(&mut self, is_meant: impl Fn(&TopicPartition) -> bool) {
        for waiting in self.lanes.values_mut() {
            waiting.retain(|record| !is_meant(&record.topic_partition));
        }
    }

    pub fn stop_all(&mut self) {
        self.stop(|_| true);
    }

    /// Whether nothing of these is worked on.
    pub fn is_idle(&self, partitions: &[TopicPartition]) -> bool {
        partitions.iter().all(|name| self.partitions.get(name).is_none_or(|progress| progress.running == 0))
    }

    /// Whether nothing at all is worked on.
    #[cfg(test)]
    pub fn is_all_idle(&self) -> bool {
        self.running == 0
    }

    /// These are somebody else's.
    pub fn remove(&mut self, partitions: &[TopicPartition]) {
        self.stop(|partition| partitions.contains(partition));
        self.partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// Up to where partitions are done, where that has changed since this was asked last.
    pub fn take_done(&mut self) -> BTreeMap<TopicPartition, Position> {
        let mut news = BTreeMap::new();
        for (partition, progress) in &mut self.partitions {
            if let Some(done) = progress.done.filter(|done| progress.told != Some(*done)) {
                progress.told = Some(done);
                news.insert(partition.clone(), done);
            }
        }
        news
    }

    /// What was told last did not get committed.
    pub fn take_back(&mut self) {
        for progress in self.partitions.values_mut() {
            progress.told = None;
        }
    }

    /// Where reading would have to go on for what was taken over and is not finished.
    pub fn unfinished(&self) -> BTreeMap<TopicPartition, Offset> {
        let first = |progress: &Progress| progress.window.front().map(|(offset, ..)| *offset);
        let partitions = self.partitions.iter();
        partitions.filter_map(|(partition, progress)| Some((partition.clone(), first(progress)?))).collect()
    }

    /// Which partitions are to be paused and resumed now. One partition may have half of what may be in flight if there are
    /// others, so that one record that takes long doesn't stop them all.
    pub fn flow(&mut self) -> Flow {
        let own_max =
            if self.partitions.len() > 1 { self.in_flight_max.div_ceil(2) } else { self.in_flight_max };
        let all: usize = self.partitions.values().map(|progress| progress.window.len()).sum();
        let mut flow = Flow::default();
        for (partition, progress) in &mut self.partitions {
            let own = progress.window.len();
            let is_too_much = all >= self.in_flight_max || own >= own_max;
            let is_little = all <= self.in_flight_max / 2 && own <= own_max / 2;
            if !progress.is_paused && is_too_much {
                progress.is_paused = true;
                flow.pause.push(partition.clone());
            } else if progress.is_paused && is_little {
                progress.is_paused = false;
                flow.resume.push(partition.clone());
            }
        }
        flow
    }

    /// Those that are paused because of what is in flight.
    pub fn paused(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter().filter(|(_, progress)| progress.is_paused).map(|(partition, _)| partition)
    }
}

impl Progress {
    fn set(&mut self, offset: Offset, state: State) {
        if let Ok(place) = self.window.binary_search_by_key(&offset, |(offset, ..)| *offset)
            && let Some(entry) = self.window.get_mut(place)
        {
            entry.2 = state;
        }
    }

    fn finish(&mut self, offset: Offset) {
        self.set(offset, State::Finished);
        while let Some((_, behind, _)) = self.window.front().filter(|(.., state)| *state == State::Finished) {
            self.done = Some(*behind);
            self.window.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
