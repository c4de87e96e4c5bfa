//! Reading for consumers and followers, at once or when there is enough.
//!
//! Whoever calls is not kept waiting for the disk: a read that needs it is done by [`ReadLater`].
//!
//! A follower with a session reads those of its partitions alone that may have something new ([`crate::news`]).

use std::sync::Arc;

use ottla_log::disk::Reach;
use ottla_types::{LeaderEpoch, Now, Offset};
use ottla_wire::ErrorCode;

use crate::delayed::{DelayedFetch, WatchedPartition};
use crate::fetch_session::{FetchContext, FetchPartition, PartitionKey};
use crate::follower_state::FollowerFetch;
use crate::manager::ReplicaManager;
use crate::news::News;
use crate::partition::{Partition, PartitionRead, ReadLimits, Reader};

/// How a fetch is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchParams {
    pub reader: Reader,
    pub max_wait_ms: i32,
    /// The answer waits until there is this much, or until `max_wait_ms`.
    pub min_bytes: u32,
    /// Of the whole answer; the first batch may be larger.
    pub max_bytes: u32,
}

/// What is asked of one partition.
#[derive(Clone, Debug)]
pub struct PartitionFetch {
    pub partition: Result<Arc<Partition>, ErrorCode>,
    pub offset: Offset,
    pub max_bytes: u32,
    /// The leader epoch that the client knows; [`LeaderEpoch::NONE`] if it does not tell.
    pub client_epoch: LeaderEpoch,
    /// The leader epoch of the last record that the client has; [`LeaderEpoch::NONE`] if it does not tell.
    pub last_fetched_epoch: LeaderEpoch,
    /// Where a follower's log starts; [`Offset::UNKNOWN`] from consumers.
    pub log_start_offset: Offset,
}

impl PartitionFetch {
    pub fn new(asked: &FetchPartition, partition: Result<Arc<Partition>, ErrorCode>) -> PartitionFetch {
        PartitionFetch {
            partition,
            offset: asked.fetch_offset,
            max_bytes: u32::try_from(asked.max_bytes).unwrap_or(0),
            client_epoch: LeaderEpoch(asked.current_leader_epoch),
            last_fetched_epoch: LeaderEpoch(asked.last_fetched_epoch),
            log_start_offset: asked.log_start_offset,
        }
    }
}

/// What was found, in the order of what was asked.
#[derive(Clone, Debug)]
pub struct FetchedPartition {
    pub partition: Option<Arc<Partition>>,
    pub read: PartitionRead,
    /// Of a follower with a session: it is in sync, has everything, and nothing waits there. Until the partition says that it
    /// has changed another look would find the same.
    pub is_at_rest: bool,
}

impl FetchedPartition {
    pub(crate) fn new(partition: Option<Arc<Partition>>, read: PartitionRead) -> FetchedPartition {
        FetchedPartition { partition, read, is_at_rest: false }
    }
}

/// Finds the replica here of a partition that a session names.
pub type FindPartition = Box<dyn Fn(&PartitionKey) -> Result<Arc<Partition>, ErrorCode> + Send>;

/// Takes what was found, in the order of the context's partitions.
type RespondInSession = Box<dyn FnOnce(FetchContext, Vec<FetchedPartition>, Now) + Send>;

/// Where what is asked comes from, and where the answer goes.
pub(crate) struct Asking {
    context: FetchContext,
    find: FindPartition,
    /// None if all partitions are looked at.
    pub news: Option<Arc<News>>,
    respond: RespondInSession,
}

impl Asking {
    /// After a wait there may be more to look at than `before`.
    pub fn reads_again(&mut self, before: Vec<PartitionFetch>) -> Vec<PartitionFetch> {
        if self.news.is_none() {
            return before;
        }
        self.context.look_again();
        self.context.reads(&self.find)
    }

    /// What has changed since the last look.
    pub fn changed(&self) -> Vec<PartitionFetch> {
        self.context.changed(&self.find)
    }
}

/// Runs a job where waiting for the disk keeps nobody else: on another thread, or, where there is only one, at once. A
/// job that is dropped instead leaves its request without an answer.
pub type ReadLater = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

impl ReplicaManager {
    /// Answers at once if there is enough to read, an error to tell, or no time to wait; otherwise when records
    /// arrive or the time is over.
    pub fn fetch(
        self: &Arc<Self>,
        params: FetchParams,
        partitions: Vec<PartitionFetch>,
        now: Now,
        respond: impl FnOnce(Vec<FetchedPartition>, Now) + Send + 'static,
    ) {
        let asking = Asking {
            context: FetchContext::sessionless(),
            find: Box::new(|_| Err(ErrorCode::UnknownTopicOrPartition)),
            news: None,
            respond: Box::new(move |_, fetched, now| respond(fetched, now)),
        };
        self.serve_fetch(params, partitions, asking, now);
    }

    /// As [`ReplicaManager::fetch`], of the partitions that a session has. A follower's may be others by the time that it is
    /// answered: those of the context that is handed back.
    pub fn fetch_in_session(
        self: &Arc<Self>,
        params: FetchParams,
        mut context: FetchContext,
        find: FindPartition,
        now: Now,
        respond: impl FnOnce(FetchContext, Vec<FetchedPartition>, Now) + Send + 'static,
    ) {
        if let Some(ended) = context.ended() {
            self.check_fetches(&ended.waiting, now);
        }
        let partitions = context.reads(&find);
        let news = context.news();
        let asking = Asking { context, find, news, respond: Box::new(respond) };
        self.serve_fetch(params, partitions, asking, now);
    }

    fn serve_fetch(
        self: &Arc<Self>,
        params: FetchParams,
        partitions: Vec<PartitionFetch>,
        asking: Asking,
        now: Now,
    ) {
        self.rules.leader_quota.look(now.mono);
        if let Some(mut fetched) = read_in_memory(&params, &partitions) {
            self.follower_fetched(&params, &partitions, &asking, &mut fetched, now);
            return self.answer_or_wait(params, partitions, fetched, asking, now);
        }
        let me = Arc::clone(self);
        (self.read_later)(Box::new(move || {
            let mut fetched = read_all(&params, &partitions);
            me.follower_fetched(&params, &partitions, &asking, &mut fetched, now);
            me.answer_or_wait(params, partitions, fetched, asking, now);
        }));
    }

    /// A follower has all that is before the offsets that it fetches from.
    fn follower_fetched(
        &self,
        params: &FetchParams,
        partitions: &[PartitionFetch],
        asking: &Asking,
        fetched: &mut [FetchedPartition],
        now: Now,
    ) {
        let Some(follower) = params.reader.follower else { return };
        let clock = asking.news.as_ref().map(|news| &news.clock);
        for (asked, found) in partitions.iter().zip(fetched) {
            let Some(partition) = &found.partition else { continue };
            let Some(data) = &found.read.data else {
                if let Some(clock) = clock {
                    partition.rests_no_more(follower.node, clock);
                }
                continue;
            };
            let fetch = FollowerFetch {
                offset: data.fetch_offset_metadata,
                log_start_offset: asked.log_start_offset,
                leader_end: found.read.log_end_offset,
                log_generation: found.read.log_generation,
                at: now.mono,
            };
            let progress = partition.follower_fetched(follower, asked.client_epoch, &fetch, clock);
            self.after_progress(partition, follower.node, progress, now);
            // It learns at once what its fetch has moved.
            found.read.high_watermark = partition.log().high_watermark();
        }
        // All else is at rest, and on the follower.
        if let Some(clock) = clock {
            clock.set(now.mono);
        }
    }

    fn answer_or_wait(
        &self,
        params: FetchParams,
        partitions: Vec<PartitionFetch>,
        fetched: Vec<FetchedPartition>,
        asking: Asking,
        now: Now,
    ) {
        let has_nothing = partitions.is_empty() && asking.news.is_none();
        if params.max_wait_ms <= 0 || has_nothing || is_enough(&params, &fetched) {
            return answer(&params, fetched, asking, now);
        }
        let deadline = now.mono.plus_ms(i64::from(params.max_wait_ms));
        let watched: Vec<_> =
            partitions.iter().zip(&fetched).filter_map(|(asked, found)| watch(asked, found)).collect();
        let waiting = match asking.news.clone() {
            Some(news) => {
                let fetch = DelayedFetch::for_news(params, partitions, watched, asking);
                self.fetch_purgatory.tidy(&news.waiting);
                self.fetch_purgatory.watch(fetch, deadline, std::iter::once(&news.waiting))
            }
            None => {
                let watchers: Vec<_> = watched.iter().map(|watched| Arc::clone(&watched.partition)).collect();
                let fetch = DelayedFetch::for_partitions(params, partitions, watched, asking);
                let lists = watchers.iter().map(|partition| &partition.fetches);
                self.fetch_purgatory.watch(fetch, deadline, lists)
            }
        };
        match waiting {
            Some(complete) => complete.complete(now, &self.read_later),
            None => self.will_be_due(deadline),
        }
    }
}

/// Answers. A follower then knows the high watermarks that it is told.
pub(crate) fn answer(params: &FetchParams, mut fetched: Vec<FetchedPartition>, asking: Asking, now: Now) {
    if let Some(follower) = params.reader.follower {
        for found in &mut fetched {
            let FetchedPartition { partition, read, is_at_rest } = found;
            if let Some(partition) = partition.as_ref().filter(|_| read.error == ErrorCode::None) {
                partition.tell_high_watermark(follower.node, read.high_watermark);
                partition.record_sent(read.len(), now.mono);
                *is_at_rest = asking
                    .news
                    .as_ref()
                    .is_some_and(|news| partition.is_at_rest(follower, read, &news.clock));
            }
        }
    }
    (asking.respond)(asking.context, fetched, now);
}

/// Reads the partitions in order until the answer is full. The first batch of the first partition that has one is
/// read even if it is larger than what is allowed: otherwise a reader would never get past it (KIP-74).
pub(crate) fn read_all(params: &FetchParams, partitions: &[PartitionFetch]) -> Vec<FetchedPartition> {
    // There is nothing that the disk does not reach.
    read_within(params, partitions, Reach::Disk).unwrap_or_default()
}

/// As [`read_all`]; none if that would have to wait for the disk.
pub(crate) fn read_in_memory(
    params: &FetchParams,
    partitions: &[PartitionFetch],
) -> Option<Vec<FetchedPartition>> {
    read_within(params, partitions, Reach::Memory)
}

fn read_within(
    params: &FetchParams,
    partitions: &[PartitionFetch],
    reach: Reach,
) -> Option<Vec<FetchedPartition>> {
    let mut left = params.max_bytes;
    let mut min_one_message = true;
    partitions
        .iter()
        .map(|asked| {
            let partition = match &asked.partition {
                Ok(partition) => Arc::clone(partition),
                Err(code) => {
                    return Some(FetchedPartition::new(None, PartitionRead::refused(*code)));
                }
            };
            let limits = ReadLimits { max_bytes: asked.max_bytes.min(left), min_one_message };
            let mut read = partition.read(asked, &params.reader, limits, reach)?;
            if params.reader.follower.is_some_and(|follower| partition.holds_back_from(follower.node)) {
                // Where it stands counts all the same.
                read.hold_back();
            }
            let len = read.len();
            min_one_message &= len == 0;
            left = left.saturating_sub(len);
            Some(FetchedPartition::new(Some(partition), read))
        })
        .collect()
}

fn is_enough(params: &FetchParams, fetched: &[FetchedPartition]) -> bool {
    let bytes: u64 = fetched.iter().map(|found| u64::from(found.read.len())).sum();
    bytes >= u64::from(params.min_bytes)
        || fetched.iter().any(|found| {
            let FetchedPartition { partition, read, .. } = found;
            read.error != ErrorCode::None
                || read.diverging.is_some()
                || read.preferred_read_replica.is_some()
                || params.reader.follower.is_some_and(|follower| {
                    partition
                        .as_ref()
                        .is_some_and(|partition| partition.has_high_watermark_for(follower.node))
                })
        })
}

fn watch(asked: &PartitionFetch, found: &FetchedPartition) -> Option<WatchedPartition> {
    let from = found.read.data.as_ref()?.fetch_offset_metadata;
    Some(WatchedPartition {
        partition: found.partition.clone()?,
        from,
        max_bytes: asked.max_bytes,
        client_epoch: asked.client_epoch,
    })
}
