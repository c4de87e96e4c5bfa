//! What a follower has not been told yet: partitions say that they have changed, and a fetch looks at those alone.
//!
//! A session's fetches would otherwise look at all of its partitions, thousands of them for each record that comes. A partition
//! is left out only while it is *at rest* for the follower: the follower is in sync, and has everything; nothing waits
//! there for replicas. Whatever ends that is said before anybody can have seen it, or the partition has not been at rest.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use ottla_log::OffsetsObserver;
use ottla_types::MonoMs;
use parking_lot::Mutex;

use crate::delayed::DelayedFetch;
use crate::purgatory::Watchers;

/// A partition of a session, as long as the session has it.
pub(crate) type Slot = u32;

/// Of one session.
pub struct News {
    slots: Mutex<BTreeSet<Slot>>,
    /// The session has ended.
    is_closed: AtomicBool,
    pub(crate) clock: Arc<FetchClock>,
    /// The fetch that waits for news.
    pub(crate) waiting: Watchers<DelayedFetch>,
}

impl News {
    pub(crate) fn new() -> Arc<News> {
        Arc::new(News {
            slots: Mutex::default(),
            is_closed: AtomicBool::new(false),
            clock: Arc::default(),
            waiting: Watchers::default(),
        })
    }

    /// The slots of partitions that have changed since they were taken last.
    pub(crate) fn take(&self) -> BTreeSet<Slot> {
        std::mem::take(&mut *self.slots.lock())
    }

    /// Nobody fetches in this session any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").field("slots", &self.slots.lock().len()).finish_non_exhaustive()
    }
}

/// When a session's last fetch came: at that time the follower had all of what is at rest.
#[derive(Debug, Default)]
pub(crate) struct FetchClock(AtomicU64);

impl FetchClock {
    /// To be called when everything has been looked at that had changed when the fetch came.
    pub fn set(&self, at: MonoMs) {
        self.0.fetch_max(at.0, Ordering::Release);
    }

    pub fn last_fetch(&self) -> MonoMs {
        MonoMs(self.0.load(Ordering::Acquire))
    }
}

/// The sessions that hear of a partition's changes.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    list: Mutex<Vec<(Weak<News>, Slot)>>,
    /// Length of `list`, so that a partition without followers takes no lock.
    count: AtomicUsize,
}

impl Subscribers {
    pub fn add(&self, news: &Arc<News>, slot: Slot) {
        let mut list = self.list.lock();
        let is_it = |(known, at): &(Weak<News>, Slot)| *at == slot && known.as_ptr() == Arc::as_ptr(news);
        if list.iter().any(is_it) {
            return;
        }
        list.retain(|(known, _)| known.strong_count() > 0);
        list.push((Arc::downgrade(news), slot));
        self.count.store(list.len(), Ordering::Release);
    }

    pub fn remove(&self, news: &Arc<News>, slot: Slot) {
        let mut list = self.list.lock();
        list.retain(|(known, at)| *at != slot || known.as_ptr() != Arc::as_ptr(news));
        self.count.store(list.len(), Ordering::Release);
    }

    /// Those whose fetch may have found what it waits for.
    pub fn waiting(&self) -> Vec<Arc<News>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let list = self.list.lock();
        list.iter().filter_map(|(news, _)| news.upgrade()).filter(|news| !news.waiting.is_empty()).collect()
    }

    /// The partition is not what it was. To be called while those are kept out who look at what has changed: who subscribes
    /// meanwhile then looks at what it is by then.
    pub fn tell(&self) {
        self.tell_if(|_| true);
    }

    /// Tells the session with that clock alone.
    pub fn tell_session(&self, clock: &Arc<FetchClock>) {
        self.tell_if(|news| Arc::ptr_eq(clock, &news.clock));
    }

    fn tell_if(&self, is_told: impl Fn(&News) -> bool) {
        for (news, slot) in &*self.list.lock() {
            if let Some(news) = news.upgrade().filter(|news| is_told(news)) {
                news.slots.lock().insert(*slot);
            }
        }
    }
}

impl OffsetsObserver for Subscribers {
    fn offsets_have_changed(&self) {
        self.tell();
    }
}
