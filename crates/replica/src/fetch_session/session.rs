use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ottla_types::{MonoMs, Offset};
use ottla_wire::ErrorCode;

use super::{FetchPartition, NO_SESSION, PartitionKey, PartitionSummary};
use crate::follower_state::FollowerId;
use crate::news::{News, Slot};

/// What one session holds. Partitions that were answered with records go to the end, so that a response that is full
/// before it reaches the last one starts there the next time.
#[derive(Debug)]
pub(super) struct Session {
    pub id: i32,
    pub epoch: i32,
    pub uses_topic_ids: bool,
    pub created: MonoMs,
    pub last_used: MonoMs,
    slots: Vec<Option<CachedPartition>>,
    free: Vec<Slot>,
    by_key: HashMap<PartitionKey, Slot>,
    order: BTreeMap<u64, Slot>,
    next_place: u64,
    /// None if a consumer fetches.
    followed: Option<Followed>,
}

/// What a follower has to be told of.
#[derive(Debug)]
struct Followed {
    /// Who sent the last request.
    follower: Option<FollowerId>,
    news: Arc<News>,
    /// Partitions that have to be looked at whether they change or not: all that were not at rest for the follower when it
    /// was told of them last.
    restless: BTreeSet<Slot>,
}

#[derive(Debug)]
struct CachedPartition {
    request: FetchPartition,
    place: u64,
    /// What the client was told last.
    told_high_watermark: Offset,
    told_log_start_offset: Offset,
}

impl CachedPartition {
    /// Who asks in another leader epoch than before may have dropped what came for that one, so that it is told everything anew.
    fn change(&mut self, request: FetchPartition) {
        if self.request.current_leader_epoch != request.current_leader_epoch {
            (self.told_high_watermark, self.told_log_start_offset) = (Offset::UNKNOWN, Offset::UNKNOWN);
        }
        self.request = request;
    }
}

impl Session {
    /// Not in the cache yet, which gives it its id.
    pub fn new(follower: Option<FollowerId>, uses_topic_ids: bool, now: MonoMs) -> Session {
        let followed = Followed { follower, news: News::new(), restless: BTreeSet::new() };
        Session {
            id: NO_SESSION,
            epoch: 1,
            uses_topic_ids,
            created: now,
            last_used: now,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
            followed: follower.map(|_| followed),
        }
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn is_of_follower(&self) -> bool {
        self.followed.is_some()
    }

    pub fn news(&self) -> Option<&Arc<News>> {
        Some(&self.followed.as_ref()?.news)
    }

    /// Who sends the next request. Another process is told of everything.
    pub fn continue_as(&mut self, follower: Option<FollowerId>) {
        let Session { followed: Some(followed), order, .. } = self else { return };
        if followed.follower != follower {
            followed.follower = follower;
            followed.restless.extend(order.values());
        }
    }

    /// Adds a partition, or changes what is asked of it.
    pub fn put(&mut self, request: FetchPartition) {
        let slot = match self.by_key.get(&request.key) {
            Some(slot) => {
                if let Some(cached) = self.slots.get_mut(*slot as usize).and_then(Option::as_mut) {
                    cached.change(request);
                }
                *slot
            }
            None => self.add(request),
        };
        if let Some(followed) = &mut self.followed {
            followed.restless.insert(slot);
        }
    }

    fn add(&mut self, request: FetchPartition) -> Slot {
        let place = self.next_place;
        self.next_place += 1;
        let key = request.key.clone();
        let cached = Some(CachedPartition {
            request,
            place,
            told_high_watermark: Offset::UNKNOWN,
            told_log_start_offset: Offset::UNKNOWN,
        });
        let freed = self.free.pop().and_then(|slot| Some((slot, self.slots.get_mut(slot as usize)?)));
        let slot = match freed {
            Some((slot, free)) => {
                *free = cached;
                slot
            }
            None => {
                self.slots.push(cached);
                // There is a bound on partitions.
                (self.slots.len() - 1) as Slot
            }
        };
        self.order.insert(place, slot);
        self.by_key.insert(key, slot);
        slot
    }

    /// Returns the slot that it had.
    pub fn forget(&mut self, key: &PartitionKey) -> Option<Slot> {
        let slot = self.by_key.remove(key)?;
        let cached = self.slots.get_mut(slot as usize)?.take()?;
        self.order.remove(&cached.place);
        self.free.push(slot);
        if let Some(followed) = &mut self.followed {
            followed.restless.remove(&slot);
        }
        Some(slot)
    }

    /// What is to be read, in this order: all partitions, or for a follower those that may have something new.
    pub fn look(&mut self) -> Vec<(Slot, FetchPartition)> {
        self.take_news();
        let asked = |slot: &Slot| Some((*slot, self.cached(*slot)?.request.clone()));
        let Some(followed) = &self.followed else {
            return self.order.values().filter_map(asked).collect();
        };
        let place = |slot: &Slot| Some((self.cached(*slot)?.place, *slot));
        let mut in_order: Vec<_> = followed.restless.iter().filter_map(place).collect();
        in_order.sort_unstable();
        in_order.iter().filter_map(|(_, slot)| asked(slot)).collect()
    }

    /// All partitions, in order.
    pub fn look_at_all(&mut self) -> Vec<(Slot, FetchPartition)> {
        self.take_news();
        let asked = |slot: &Slot| Some((*slot, self.cached(*slot)?.request.clone()));
        self.order.values().filter_map(asked).collect()
    }

    /// What has changed since the last look, or the last call.
    pub fn take_news(&mut self) -> Vec<(Slot, FetchPartition)> {
        let Some(followed) = &mut self.followed else { return Vec::new() };
        let news = followed.news.take();
        // What has been forgotten since may be among them.
        let slots = &self.slots;
        let asked = |slot: &Slot| Some((*slot, slots.get(*slot as usize)?.as_ref()?.request.clone()));
        let changed: Vec<_> = news.iter().filter_map(asked).collect();
        followed.restless.extend(changed.iter().map(|(slot, _)| *slot));
        changed
    }

    /// Notes what the client is told of a partition; whether there is anything new to tell.
    pub fn tell(&mut self, slot: Slot, key: &PartitionKey, summary: &PartitionSummary) -> bool {
        let is_the_one = |cached: &&mut CachedPartition| cached.request.key == *key;
        let cached = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        let Some(cached) = cached.filter(is_the_one) else { return true };
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
            self.order.insert(cached.place, slot);
        }
        if let Some(followed) = &mut self.followed {
            if summary.is_at_rest && summary.error == ErrorCode::None {
                followed.restless.remove(&slot);
            } else {
                followed.restless.insert(slot);
            }
        }
        must_respond
    }

    fn cached(&self, slot: Slot) -> Option<&CachedPartition> {
        self.slots.get(slot as usize)?.as_ref()
    }
}
