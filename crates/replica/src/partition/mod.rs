//! One partition's replica on this node: who leads, what is appended, how far it is replicated, what may be read.
//!
//! The state lock is held in common by appends and reads and alone by a change of leadership, so that nothing is
//! appended in an epoch that is over. Nobody checks watchers while holding it.

mod following;
mod held_back;
mod leader;
mod leading;
mod nearest;
mod read;
mod rest;
mod swap;
mod throttle;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use ottla_log::{OffsetMetadata, UnifiedLog};
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Offset, TopicIdPartition, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

pub(crate) use following::{FollowError, Followed, LeaderOffsets};
pub use leader::{Appended, LeaderAppendError};
pub(crate) use leading::{FollowerProgress, ProposedIsr};
pub use read::{PartitionRead, ReadLimits, Reader, ReaderKind};
pub use throttle::Throttled;

use self::held_back::HeldBack;
use self::leading::Leading;
use self::throttle::Flags;
use crate::assignment::Assignment;
use crate::brokers::Brokers;
use crate::delayed::{DelayedDelete, DelayedFetch, DelayedProduce};
use crate::news::Subscribers;
use crate::purgatory::Watchers;
use crate::quota::Quota;
use crate::replica_selector::ReplicaSelector;
use crate::share::DelayedShareFetch;

/// What all partitions' replicas go by.
#[derive(Debug)]
pub(crate) struct ReplicaRules {
    /// `replica.lag.time.max.ms`
    pub lag_time_max_ms: i64,
    pub selector: ReplicaSelector,
    /// What leaders here send to throttled followers.
    pub leader_quota: Quota,
    /// What throttled followers here fetch.
    pub follower_quota: Quota,
    pub brokers: Arc<dyn Brokers>,
}

/// Told of a partition's progress, holding no lock of the partition's. A coordinator is told of its own topic's.
pub trait PartitionListener: Send + Sync + std::fmt::Debug {
    fn high_watermark_updated(&self, partition: &TopicPartition, high_watermark: Offset);
}

/// A partition with a replica here.
#[derive(Debug)]
pub struct Partition {
    local: NodeId,
    rules: Arc<ReplicaRules>,
    id: TopicIdPartition,
    /// Another one once the replica has moved to another directory.
    log: ArcSwap<UnifiedLog>,
    /// How often that was so.
    log_generation: AtomicU32,
    state: RwLock<State>,
    listener: Mutex<Option<Arc<dyn PartitionListener>>>,
    /// The topic's `min.insync.replicas`.
    min_insync_replicas: AtomicUsize,
    throttled: Flags,
    held_back: HeldBack,
    /// Who hears of all that changes here.
    subscribers: Arc<Subscribers>,
    pub(crate) produces: Watchers<DelayedProduce>,
    pub(crate) fetches: Watchers<DelayedFetch>,
    pub(crate) deletes: Watchers<DelayedDelete>,
    pub(crate) share_fetches: Watchers<DelayedShareFetch>,
}

#[derive(Debug)]
struct State {
    assignment: Assignment,
    role: Role,
    /// The leader epoch in which this node has ceased to lead before the metadata said so: it does not lead in that one again.
    /// What it hears next may be what was changed before another was to lead.
    stood_aside_in: Option<LeaderEpoch>,
}

#[derive(Debug)]
enum Role {
    Leader(Leading),
    Follower,
    /// The replica has gone from this node, or its directory has failed.
    Gone(ErrorCode),
}

/// The state, to be changed: subscribers hear of it.
struct StateChange<'a> {
    state: RwLockWriteGuard<'a, State>,
    subscribers: &'a Subscribers,
}

impl Deref for StateChange<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for StateChange<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for StateChange<'_> {
    fn drop(&mut self) {
        self.subscribers.tell();
    }
}

/// What an error answer says of where the leader is (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    pub(crate) fn new(
        local: NodeId,
        rules: Arc<ReplicaRules>,
        assignment: Assignment,
        log: Arc<UnifiedLog>,
    ) -> Partition {
        let subscribers = Arc::<Subscribers>::default();
        log.set_observer(Some(Arc::clone(&subscribers) as _));
        Partition {
            local,
            rules,
            id: assignment.partition.clone(),
            log: ArcSwap::new(log),
            log_generation: AtomicU32::new(0),
            min_insync_replicas: AtomicUsize::new(assignment.min_insync_replicas),
            throttled: Flags::default(),
            held_back: HeldBack::default(),
            subscribers,
            state: RwLock::new(State { assignment, role: Role::Follower, stood_aside_in: None }),
            listener: Mutex::new(None),
            produces: Watchers::default(),
            fetches: Watchers::default(),
            deletes: Watchers::default(),
            share_fetches: Watchers::default(),
        }
    }

    fn change_state(&self) -> StateChange<'_> {
        StateChange { state: self.state.write(), subscribers: &self.subscribers }
    }

    pub fn topic_partition(&self) -> &TopicPartition {
        &self.id.topic_partition
    }

    pub fn topic_id(&self) -> Uuid {
        self.id.topic_id
    }

    pub fn log(&self) -> Arc<UnifiedLog> {
        self.log.load_full()
    }

    /// Places in the log are those of this generation alone.
    pub(crate) fn log_generation(&self) -> u32 {
        self.log_generation.load(Ordering::Acquire)
    }

    pub fn leader_hint(&self) -> LeaderHint {
        let state = self.state.read();
        LeaderHint { leader: state.assignment.leader, leader_epoch: state.assignment.leader_epoch }
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.state.read().role, Role::Leader(_))
    }

    /// The leader epoch in which this node leads; none if it does not.
    pub fn leading_epoch(&self) -> Option<LeaderEpoch> {
        let state = self.state.read();
        matches!(state.role, Role::Leader(_)).then_some(state.assignment.leader_epoch)
    }

    /// Whether replicas are missing from the ISR.
    pub fn is_under_replicated(&self) -> bool {
        let state = self.state.read();
        matches!(state.role, Role::Leader(_)) && state.assignment.isr.len() < state.assignment.replicas.len()
    }

    pub fn set_min_insync_replicas(&self, replicas: usize) {
        self.min_insync_replicas.store(replicas, Ordering::Relaxed);
    }

    /// Whether this replica is in sync, and is not the only one.
    pub(crate) fn is_in_sync_with_others(&self) -> bool {
        let state = self.state.read();
        let isr = &state.assignment.isr;
        !matches!(state.role, Role::Gone(_)) && isr.len() > 1 && isr.contains(&self.local)
    }

    /// Ceases to lead, where others are in sync, before the metadata say who does: the next leader has another epoch.
    pub(crate) fn stand_aside(&self) -> bool {
        let mut state = self.change_state();
        if !matches!(state.role, Role::Leader(_)) || state.assignment.isr.len() < 2 {
            return false;
        }
        state.assignment.leader = NodeId::NONE;
        state.stood_aside_in = Some(state.assignment.leader_epoch);
        state.role = Role::Follower;
        true
    }

    /// Sets who is told of this partition's high watermark.
    pub fn set_listener(&self, listener: Option<Arc<dyn PartitionListener>>) {
        *self.listener.lock() = listener;
    }

    /// Takes up a newer assignment. Returns whether the high watermark moved.
    pub(crate) fn assign(&self, mut assignment: Assignment, now: MonoMs) -> bool {
        let mut state = self.change_state();
        // One that has gone does not come back: the next replica here is another.
        if assignment.partition_epoch < state.assignment.partition_epoch
            || matches!(state.role, Role::Gone(_))
        {
            return false;
        }
        self.set_min_insync_replicas(assignment.min_insync_replicas);
        if state.stood_aside_in == Some(assignment.leader_epoch) {
            assignment.leader = NodeId::NONE;
        }
        let is_new_epoch = assignment.leader_epoch > state.assignment.leader_epoch;
        // One that it has applied already settles nothing of what was proposed since.
        let is_newer = is_new_epoch || assignment.partition_epoch > state.assignment.partition_epoch;
        let was_leader = matches!(state.role, Role::Leader(_));
        let leads = assignment.leader == self.local;
        if leads && (!was_leader || is_new_epoch) {
            // The epoch starts where the log ends: followers and consumers find their common past by it (KIP-101).
            let log = self.log();
            log.assign_epoch_start_offset(assignment.leader_epoch, log.log_end_offset());
        }
        if was_leader != leads || is_new_epoch {
            tracing::debug!(partition = %self.id.topic_partition, leader = %assignment.leader,
                epoch = %assignment.leader_epoch, isr = ?assignment.isr, leads, "took up a leader epoch");
        }
        match (&mut state.role, leads) {
            (Role::Leader(leading), true) if !is_new_epoch => {
                if is_newer {
                    leading.go_on(&assignment, self.local, now);
                }
            }
            (role, true) => {
                *role = Role::Leader(Leading::new(&assignment, self.local, self.log().log_end_offset(), now));
            }
            (role, false) => *role = Role::Follower,
        }
        state.assignment = assignment;
        self.advance_high_watermark(&state, now)
    }

    /// The replica leaves this node, or can't be used: whoever asks is told `code` from now on.
    pub(crate) fn retire(&self, code: ErrorCode) {
        self.change_state().role = Role::Gone(code);
    }

    /// Moves the high watermark to what the ISR has. Only a leader decides it, and only while enough replicas are in sync:
    /// what fewer have might be lost with them (KIP-966).
    fn advance_high_watermark(&self, state: &State, now: MonoMs) -> bool {
        let Role::Leader(leading) = &state.role else { return false };
        let log = self.log();
        let end = log.log_end_offset_metadata();
        if state.assignment.replicas.len() <= 1 {
            return log.maybe_increment_high_watermark(end).is_some();
        }
        if !self.has_enough_in_sync(&state.assignment) {
            return false;
        }
        let Some(replicated) = self.replicated_up_to(leading, &state.assignment, end, now) else {
            return false;
        };
        log.maybe_increment_high_watermark(replicated).is_some()
    }

    /// Tells the listener where the high watermark is now.
    pub(crate) fn tell_listener(&self) {
        let listener = self.listener.lock().clone();
        if let Some(listener) = listener {
            listener.high_watermark_updated(self.topic_partition(), self.log().high_watermark());
        }
    }

    /// The end that readers of a kind see.
    pub(crate) fn end_for(&self, reader: ReaderKind) -> OffsetMetadata {
        let log = self.log();
        match reader {
            ReaderKind::Follower => log.log_end_offset_metadata(),
            ReaderKind::Consumer => log.high_watermark_metadata(),
            ReaderKind::CommittedConsumer => match log.offset_snapshot() {
                Ok(offsets) => offsets.last_stable_offset,
                Err(_) => OffsetMetadata::offset_only(log.last_stable_offset()),
            },
        }
    }
}
