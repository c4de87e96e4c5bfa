use std::collections::{BTreeMap, HashMap};

use ottla_types::{MonoMs, Offset};
use ottla_wire::ErrorCode;

use super::{FetchPartition, NO_SESSION, PartitionKey, PartitionSummary};

/// What one session holds. Partitions that were answered with records go to the end, so that a response that is full
/// before it reaches the last one starts there the next time.
#[derive(Debug)]
pub(super) struct Session {
    pub id: i32,
    pub epoch: i32,
    pub is_follower: bool,
    pub uses_topic_ids: bool,
    pub created: MonoMs,
    pub last_used: MonoMs,
    partitions: HashMap<PartitionKey, CachedPartition>,
    order: BTreeMap<u64, PartitionKey>,
    next_place: u64,
}

#[derive(Debug)]
struct CachedPartition {
    request: FetchPartition,
    place: u64,
    /// What the client was told last.
    told_high_watermark: Offset,
    told_log_start_offset: Offset,
}

impl Session {
    /// Not in the cache yet, which gives it its id.
    pub fn new(is_follower: bool, uses_topic_ids: bool, now: MonoMs) -> Session {
        Session {
            id: NO_SESSION,
            epoch: 1,
            is_follower,
            uses_topic_ids,
            created: now,
            last_used: now,
            partitions: HashMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Adds a partition, or changes what is asked of it.
    pub fn put(&mut self, request: FetchPartition) {
        if let Some(cached) = self.partitions.get_mut(&request.key) {
            cached.request = request;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.order.insert(place, request.key.clone());
        self.partitions.insert(
            request.key.clone(),
            CachedPartition {
                request,
                place,
                told_high_watermark: Offset::UNKNOWN,
                told_log_start_offset: Offset::UNKNOWN,
            },
        );
    }

    pub fn forget(&mut self, key: &PartitionKey) {
        if let Some(cached) = self.partitions.remove(key) {
            self.order.remove(&cached.place);
        }
    }

    /// In the order in which they are to be read.
    pub fn requests(&self) -> Vec<FetchPartition> {
        self.order
            .values()
            .filter_map(|key| self.partitions.get(key))
            .map(|cached| cached.request.clone())
            .collect()
    }

    /// Notes what the client is told of `key`; whether there is anything new to tell.
    pub fn tell(&mut self, key: &PartitionKey, summary: &PartitionSummary) -> bool {
        let Some(cached) = self.partitions.get_mut(key) else { return true };
        let mut must_respond = summary.has_records || summary.has_redirect;
        if cached.told_high_watermark != summary.high_watermark {
            cached.told_high_watermark = summary.high_watermark;
            must_respond = true;
        }
        if cached.told_log_start_offset != summary.log_start_offset {
            cached.told_log_start_offset = summary.log_start_offset;
            must_respond = true;
        }
        if summary.error != ErrorCode::None || summary.has_redirect {
            // Whatever comes after an error is news; who has to truncate first takes no high watermark.
            cached.told_high_watermark = Offset::UNKNOWN;
            must_respond = true;
        }
        if summary.has_records {
            self.order.remove(&cached.place);
            cached.place = self.next_place;
            self.next_place += 1;
            self.order.insert(cached.place, key.clone());
        }
        must_respond
    }
}
