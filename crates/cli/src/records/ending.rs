//! When reading is over. Pure.

use std::collections::BTreeMap;

use ottla_client::types::TopicPartition;

/// Up to where partitions are read, and how many records there are to be in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Partitions that are not read to their stop yet. Partitions without a stop are not in here.
    stops: BTreeMap<TopicPartition, i64>,
    is_endless: bool,
    left: Option<u64>,
}

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// It is behind the stop of its partition.
    Behind,
}

impl Ending {
    /// Without an end of the partitions.
    pub fn endless(count: Option<u64>) -> Ending {
        Ending { stops: BTreeMap::new(), is_endless: true, left: count }
    }

    /// At these offsets, which are not read themselves.
    pub fn at(stops: BTreeMap<TopicPartition, i64>, count: Option<u64>) -> Ending {
        Ending { stops, is_endless: false, left: count }
    }

    pub fn take(&mut self, at: &TopicPartition, offset: i64) -> Taken {
        let is_behind = !self.is_endless && self.stops.get(at).is_none_or(|stop| offset >= *stop);
        if is_behind {
            self.stops.remove(at);
            return Taken::Behind;
        }
        Taken::Yes
    }

    /// It was wanted, and is printed.
    pub fn count(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }

    /// The next record of the partition is at this offset or behind it; true where it is done with that.
    pub fn reached(&mut self, at: &TopicPartition, position: i64) -> bool {
        let is_done = self.stops.get(at).is_some_and(|stop| position >= *stop);
        if is_done {
            self.stops.remove(at);
        }
        is_done
    }

    pub fn stop(&self, at: &TopicPartition) -> Option<i64> {
        self.stops.get(at).copied()
    }

    pub fn open(&self) -> Vec<TopicPartition> {
        self.stops.keys().cloned().collect()
    }

    pub fn is_over(&self) -> bool {
        self.left == Some(0) || (!self.is_endless && self.stops.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_end_one_by_one() {
        let [a, b] = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let mut ending = Ending::at(BTreeMap::from([(a.clone(), 5), (b.clone(), 3)]), None);
        assert_eq!(ending.take(&a, 4), Taken::Yes);
        // What is between the last record and the stop may be no record at all.
        assert!(!ending.reached(&a, 4));
        assert!(ending.reached(&a, 5));
        assert_eq!((ending.is_over(), ending.open()), (false, vec![b.clone()]));
        assert_eq!(ending.take(&a, 5), Taken::Behind);
        assert_eq!(ending.take(&b, 7), Taken::Behind);
        assert!(ending.is_over());
    }

    #[test]
    fn enough_is_enough() {
        let at = TopicPartition::new("t", 0);
        let mut ending = Ending::endless(Some(2));
        for _ in 0..2 {
            assert!(!ending.is_over());
            assert_eq!(ending.take(&at, i64::MAX), Taken::Yes);
            ending.count();
        }
        assert!(ending.is_over());
        assert!(Ending::endless(Some(0)).is_over());
        assert!(!Ending::endless(None).is_over());
        assert!(Ending::at(BTreeMap::new(), None).is_over());
    }
}
