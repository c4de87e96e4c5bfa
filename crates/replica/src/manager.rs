//! The partitions of this node, and the operations that wait for them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_log::UnifiedLog;
use ottla_log::log_manager::LogManager;
use ottla_types::{MonoMs, NodeId, Now, Offset, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::{Mutex, RwLock};

use crate::assignment::Assignment;
use crate::brokers::Brokers;
use crate::delayed::{DelayedDelete, DelayedFetch, DelayedProduce, WaitingDelete};
use crate::fetch::ReadLater;
use crate::fetcher::{FetcherSettings, Fetchers};
use crate::full_dirs::FullDirs;
use crate::isr_changes::IsrChanges;
use crate::moves::LogMoves;
use crate::partition::{Partition, ReplicaRules};
use crate::purgatory::{DelayedOperation, Purgatory, Watchers};
use crate::quota::{Quota, RateWindow};
use crate::replica_selector::ReplicaSelector;
use crate::share::DelayedShareFetch;

/// The `*.purgatory.purge.interval.requests` settings, and those of replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    pub producer_purgatory_purge_interval: usize,
    pub fetch_purgatory_purge_interval: usize,
    pub delete_records_purgatory_purge_interval: usize,
    pub share_fetch_purgatory_purge_interval: usize,
    /// `replica.lag.time.max.ms`
    pub lag_time_max_ms: i64,
    /// `replica.selector.class`
    pub selector: ReplicaSelector,
    pub fetchers: FetcherSettings,
    /// Over which the rates of throttled replication are measured.
    pub quota_window: RateWindow,
    /// Over which the rate of moves between log directories is measured.
    pub moves_window: RateWindow,
    /// `num.replica.alter.log.dirs.threads`
    pub moves_at_once: usize,
}

/// The most that throttled replication, and moves between log directories, may take: in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicationRates {
    /// `leader.replication.throttled.rate`
    pub leader: u64,
    /// `follower.replication.throttled.rate`
    pub follower: u64,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`
    pub moves: u64,
}

/// Entries of the lists in which operations wait, as Kafka's `PurgatorySize` counts them: one for each partition that an
/// operation waits for, and until they are tidied up also those of operations that are over. Fetches of followers that have a
/// session are not among them: each waits in one place, for whatever partition has news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgatorySizes {
    pub produce: usize,
    pub fetch: usize,
    pub delete_records: usize,
    pub share_fetch: usize,
}

/// All partitions with a replica on this node.
pub struct ReplicaManager {
    pub(crate) local: NodeId,
    pub(crate) rules: Arc<ReplicaRules>,
    topics: RwLock<Topics>,
    pub(crate) fetchers: Fetchers,
    pub(crate) moves: LogMoves,
    pub(crate) full_dirs: FullDirs,
    /// Held by whoever looks whether a partition follows, and whom, until the fetchers have it: who looked before another
    /// must not come after it.
    pub(crate) following: Mutex<()>,
    pub(crate) logs: Arc<LogManager>,
    pub(crate) isr_changes: Mutex<IsrChanges>,
    /// When to look for members of ISRs that have fallen behind; never, while no partition has other replicas.
    pub(crate) look_for_lagging_at: AtomicU64,
    pub(crate) produce_purgatory: Purgatory<DelayedProduce>,
    pub(crate) fetch_purgatory: Purgatory<DelayedFetch>,
    delete_purgatory: Purgatory<DelayedDelete>,
    /// Ticked with the share partitions, whose watch lists are theirs.
    pub(crate) share_fetches: Purgatory<DelayedShareFetch>,
    wake_at: WakeAt,
    pub(crate) read_later: ReadLater,
}

/// Called when something begins to wait that is due before everything else that waits.
type WakeAt = Arc<dyn Fn(MonoMs) + Send + Sync>;

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, HashMap<i32, Arc<Partition>>>,
    names: HashMap<Uuid, Arc<str>>,
    /// Partitions that should be here, and whose log directory has failed.
    offline: HashSet<TopicPartition>,
}

impl ReplicaManager {
    /// `wake_at` is told when [`ReplicaManager::tick`] has something to do earlier than
    /// [`ReplicaManager::next_deadline`] last said.
    pub fn new(
        local: NodeId,
        settings: ReplicaSettings,
        logs: Arc<LogManager>,
        brokers: Arc<dyn Brokers>,
        wake_at: WakeAt,
        read_later: ReadLater,
    ) -> ReplicaManager {
        let rules = Arc::new(ReplicaRules {
            lag_time_max_ms: settings.lag_time_max_ms,
            selector: settings.selector,
            leader_quota: Quota::unbounded(settings.quota_window),
            follower_quota: Quota::unbounded(settings.quota_window),
            brokers,
        });
        ReplicaManager {
            local,
            fetchers: Fetchers::new(local, settings.fetchers, Arc::clone(&rules), Arc::clone(&logs)),
            moves: LogMoves::new(settings.moves_window, settings.moves_at_once),
            full_dirs: FullDirs::default(),
            following: Mutex::default(),
            logs,
            rules,
            topics: RwLock::default(),
            isr_changes: Mutex::default(),
            look_for_lagging_at: AtomicU64::new(MonoMs::NEVER.0),
            produce_purgatory: Purgatory::new(settings.producer_purgatory_purge_interval),
            fetch_purgatory: Purgatory::new(settings.fetch_purgatory_purge_interval),
            delete_purgatory: Purgatory::new(settings.delete_records_purgatory_purge_interval),
            share_fetches: Purgatory::new(settings.share_fetch_purgatory_purge_interval),
            wake_at,
            read_later,
        }
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.topics.read().by_name.get(topic)?.get(&partition).cloned()
    }

    /// By topic id, as newer requests name topics.
    pub fn partition_by_id(&self, topic: Uuid, partition: i32) -> Option<Arc<Partition>> {
        let topics = self.topics.read();
        topics.by_name.get(topics.names.get(&topic)?)?.get(&partition).cloned()
    }

    /// The partitions of one topic, in no particular order.
    pub fn partitions_of(&self, topic: &str) -> Vec<Arc<Partition>> {
        self.topics.read().by_name.get(topic).map_or_else(Vec::new, |of| of.values().cloned().collect())
    }

    /// In no particular order.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.topics.read().by_name.values().flat_map(HashMap::values).cloned().collect()
    }

    /// Takes up an assignment: of a partition that is here already, or of a new one, whose log `open` gives.
    pub fn assign<E>(
        &self,
        assignment: Assignment,
        open: impl FnOnce() -> Result<Arc<UnifiedLog>, E>,
        now: Now,
    ) -> Result<Arc<Partition>, E> {
        let id = &assignment.partition;
        let (topic, number) = (&id.topic_partition.topic, id.topic_partition.partition);
        let partition = match self.partition(topic, number).filter(|known| known.topic_id() == id.topic_id) {
            Some(known) => known,
            None => {
                // One of an earlier topic of that name, if there is any.
                self.remove(&id.topic_partition, ErrorCode::UnknownTopicOrPartition, now);
                let rules = Arc::clone(&self.rules);
                self.insert(Arc::new(Partition::new(self.local, rules, assignment.clone(), open()?)))
            }
        };
        let has_advanced = partition.assign(assignment, now.mono);
        self.follow_leader(&partition, now);
        self.go_on_moving(&partition, now);
        // A change of leader or ISR may be what somebody waits for.
        self.check_all(&partition, now);
        if has_advanced {
            partition.tell_listener();
        }
        Ok(partition)
    }

    fn insert(&self, partition: Arc<Partition>) -> Arc<Partition> {
        let mut topics = self.topics.write();
        let topic = Arc::clone(&partition.topic_partition().topic);
        topics.names.insert(partition.topic_id(), Arc::clone(&topic));
        topics.offline.remove(partition.topic_partition());
        topics
            .by_name
            .entry(topic)
            .or_default()
            .insert(partition.topic_partition().partition, Arc::clone(&partition));
        partition
    }

    /// Lets go of a partition. Who waits for it, and who asks later through an old reference, is told `code`.
    pub fn remove(&self, id: &TopicPartition, code: ErrorCode, now: Now) -> Option<Arc<Partition>> {
        let mut topics = self.topics.write();
        topics.offline.remove(id);
        let of_topic = topics.by_name.get_mut(&id.topic)?;
        let partition = of_topic.remove(&id.partition)?;
        if of_topic.is_empty() {
            topics.by_name.remove(&id.topic);
            topics.names.remove(&partition.topic_id());
        }
        drop(topics);
        partition.retire(code);
        self.follow_nobody(&partition);
        self.end_move(id);
        self.check_all(&partition, now);
        Some(partition)
    }

    /// The log directory of a partition has failed: it is out of reach until the directory is back.
    pub fn take_offline(&self, id: &TopicPartition, now: Now) -> Option<Arc<Partition>> {
        let partition = self.remove(id, ErrorCode::KafkaStorageError, now);
        self.set_offline(id);
        partition
    }

    /// A partition should be here, and its log can't be had.
    pub fn set_offline(&self, id: &TopicPartition) {
        self.topics.write().offline.insert(id.clone());
    }

    /// A partition should not be here any more, nor in a failed directory.
    pub fn set_gone(&self, id: &TopicPartition) {
        self.topics.write().offline.remove(id);
    }

    pub fn is_offline(&self, topic: &Arc<str>, partition: i32) -> bool {
        let topics = self.topics.read();
        !topics.offline.is_empty()
            && topics.offline.contains(&TopicPartition::new(Arc::clone(topic), partition))
    }

    /// Moves the log start offsets (KIP-107); -1 stands for the high watermark. Answers with the low watermarks.
    pub fn delete_records(
        &self,
        deletions: Vec<(Result<Arc<Partition>, ErrorCode>, Offset)>,
        timeout_ms: i32,
        now: Now,
        respond: impl FnOnce(Vec<Result<Offset, ErrorCode>>) + Send + 'static,
    ) {
        let mut waiting = Vec::new();
        let mut results = Vec::with_capacity(deletions.len());
        for (index, (partition, offset)) in deletions.into_iter().enumerate() {
            let deleted = partition.and_then(|partition| Ok((partition.delete_records(offset)?, partition)));
            results.push(deleted.map(|(required_low_watermark, partition)| {
                waiting.push(WaitingDelete { partition, required_low_watermark, index });
                required_low_watermark
            }));
        }
        let partitions: Vec<_> = waiting.iter().map(|waiting| Arc::clone(&waiting.partition)).collect();
        let mut delete = DelayedDelete { waiting, results, respond: Box::new(respond) };
        if delete.is_complete() {
            return delete.complete();
        }
        let deadline = now.mono.plus_ms(i64::from(timeout_ms));
        let lists = partitions.iter().map(|partition| &partition.deletes);
        match self.delete_purgatory.watch(delete, deadline, lists) {
            Some(complete) => complete.complete(),
            None => self.will_be_due(deadline),
        }
    }

    /// The rates of throttled replication from now on.
    pub fn set_rates(&self, rates: ReplicationRates, now: Now) {
        self.rules.leader_quota.set_bytes_per_second_max(rates.leader, now.mono);
        self.rules.follower_quota.set_bytes_per_second_max(rates.follower, now.mono);
        self.moves.quota.set_bytes_per_second_max(rates.moves, now.mono);
    }

    /// Lets go of what has waited long enough.
    pub fn tick(&self, now: Now) {
        self.rules.leader_quota.look(now.mono);
        self.produce_purgatory.expire(now.mono).into_iter().for_each(DelayedProduce::complete);
        self.fetch_purgatory
            .expire(now.mono)
            .into_iter()
            .for_each(|fetch| fetch.complete(now, &self.read_later));
        self.delete_purgatory.expire(now.mono).into_iter().for_each(DelayedDelete::complete);
        self.look_for_lagging(now.mono);
        self.purge(&self.produce_purgatory, |partition| &partition.produces);
        self.purge(&self.fetch_purgatory, |partition| &partition.fetches);
        self.purge(&self.delete_purgatory, |partition| &partition.deletes);
    }

    /// How long the lists of waiting operations are over all partitions.
    pub fn purgatory_sizes(&self) -> PurgatorySizes {
        let mut sizes = PurgatorySizes::default();
        for partition in self.partitions() {
            sizes.produce += partition.produces.len();
            sizes.fetch += partition.fetches.len();
            sizes.delete_records += partition.deletes.len();
            sizes.share_fetch += partition.share_fetches.len();
        }
        sizes
    }

    /// When to [`ReplicaManager::tick`] next, and to look at [`ReplicaManager::room_changes`].
    pub fn next_deadline(&self) -> MonoMs {
        self.produce_purgatory
            .next_deadline()
            .min(self.fetch_purgatory.next_deadline())
            .min(self.delete_purgatory.next_deadline())
            .min(MonoMs(self.look_for_lagging_at.load(Ordering::Relaxed)))
            .min(self.full_dirs.next_deadline())
    }

    pub(crate) fn will_be_due(&self, deadline: MonoMs) {
        (self.wake_at)(deadline);
    }

    /// After an append: who waits for records may have them; with the high watermark, who waits for replicas too.
    pub(crate) fn after_append(&self, partition: &Partition, has_advanced: bool, now: Now) {
        if has_advanced {
            self.produce_purgatory.check(&partition.produces).into_iter().for_each(DelayedProduce::complete);
            partition.tell_listener();
        }
        self.check_fetches(&partition.fetches, now);
        for news in partition.waiting_followers() {
            self.check_fetches(&news.waiting, now);
        }
        self.share_fetches.check(&partition.share_fetches).into_iter().for_each(|fetch| fetch.complete(now));
    }

    pub(crate) fn check_fetches(&self, waiting: &Watchers<DelayedFetch>, now: Now) {
        let complete = self.fetch_purgatory.check(waiting);
        complete.into_iter().for_each(|fetch| fetch.complete(now, &self.read_later));
    }

    pub(crate) fn check_deletes(&self, partition: &Partition) {
        self.delete_purgatory.check(&partition.deletes).into_iter().for_each(DelayedDelete::complete);
    }

    pub(crate) fn check_all(&self, partition: &Partition, now: Now) {
        self.after_append(partition, false, now);
        self.produce_purgatory.check(&partition.produces).into_iter().for_each(DelayedProduce::complete);
        self.delete_purgatory.check(&partition.deletes).into_iter().for_each(DelayedDelete::complete);
    }

    fn purge<Op: DelayedOperation>(
        &self,
        purgatory: &Purgatory<Op>,
        list: impl Fn(&Partition) -> &Watchers<Op>,
    ) {
        if purgatory.needs_purge() {
            let partitions = self.partitions();
            purgatory.purge(partitions.iter().map(|partition| list(partition)));
        }
    }
}

impl fmt::Debug for ReplicaManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaManager").field("local", &self.local).finish_non_exhaustive()
    }
}
