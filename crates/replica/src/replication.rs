//! What a broker's replicas have to do with those of other brokers: leaders are followed, followers' progress moves the
//! high watermark and the ISR.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::{BrokerEpoch, MonoMs, NodeId, Now};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

use crate::fetcher::{FetcherAnswer, FetcherId, ToFetch};
use crate::manager::ReplicaManager;
use crate::partition::{FollowerProgress, Partition};

impl ReplicaManager {
    /// Fetches from the partition's leader, if that is another broker and there is room for what it has.
    pub(crate) fn follow_leader(&self, partition: &Arc<Partition>, now: Now) {
        if partition.has_other_replicas() {
            let look = now.mono.plus_ms(self.lag_look_interval_ms()).0;
            self.look_for_lagging_at.fetch_min(look, Ordering::Relaxed);
        }
        let _following = self.following.lock();
        match partition.leader_to_follow().filter(|_| !self.is_given_up(partition)) {
            Some((leader, leader_epoch)) => {
                self.fetchers.follow(partition, leader, leader_epoch, now);
                self.will_be_due(now.mono);
            }
            None => self.fetchers.unfollow(partition),
        }
    }

    /// The replica is retired.
    pub(crate) fn follow_nobody(&self, partition: &Partition) {
        let _following = self.following.lock();
        self.fetchers.unfollow(partition);
        self.full_dirs.remove(partition);
    }

    /// `num.replica.fetchers` has changed.
    pub fn set_fetchers(&self, count: u32, now: Now) {
        let following = self.following.lock();
        self.fetchers.set_count(count, now);
        drop(following);
        self.will_be_due(now.mono);
    }

    /// The requests to leaders that are due. `broker_epoch` is this broker's own.
    pub fn poll_fetchers(&self, broker_epoch: Option<BrokerEpoch>, now: Now) -> Vec<ToFetch> {
        self.fetchers.poll(broker_epoch, now)
    }

    /// Takes a leader's answer. Returns what that fetcher asks next.
    pub fn fetcher_answered(
        &self,
        fetcher: FetcherId,
        ticket: u64,
        answer: FetcherAnswer,
        broker_epoch: Option<BrokerEpoch>,
        now: Now,
    ) -> Option<ToFetch> {
        let (taken, next) = self.fetchers.answered(fetcher, ticket, answer, broker_epoch, now);
        for changed in taken.changed {
            self.after_append(&changed.partition, changed.has_advanced, now);
        }
        for partition in taken.without_room {
            self.has_no_room(&partition, now);
        }
        if next.is_none() {
            self.will_be_due(self.fetchers.next_deadline());
        }
        next
    }

    /// A request for the changes of ISRs that leaders here want, if one is due. `broker_epoch` is this broker's own.
    pub fn next_isr_changes(&self, broker_epoch: BrokerEpoch, now: MonoMs) -> Option<AlterPartitionRequest> {
        self.isr_changes.lock().request(self.local, broker_epoch, now)
    }

    /// Takes the controller's answer to the last request of [`ReplicaManager::next_isr_changes`], or why there is none.
    pub fn isr_changes_answered(&self, answer: Result<AlterPartitionResponse, ErrorCode>, now: Now) {
        let moved = self.isr_changes.lock().answered(answer, now.mono);
        for partition in moved {
            self.after_append(&partition, true, now);
        }
        self.will_be_due(self.isr_changes.lock().next_deadline());
    }

    pub(crate) fn after_progress(
        &self,
        partition: &Arc<Partition>,
        follower: NodeId,
        progress: FollowerProgress,
        now: Now,
    ) {
        if progress.has_advanced {
            self.after_append(partition, true, now);
        }
        if progress.low_watermark_may_have_advanced {
            self.check_deletes(partition);
        }
        if progress.may_join
            && let Some(proposed) = partition.propose_to_join(follower)
        {
            self.isr_changes.lock().add(partition, proposed);
            self.will_be_due(now.mono);
        }
    }

    /// Twice within the time that a follower may lag.
    fn lag_look_interval_ms(&self) -> i64 {
        (self.rules.lag_time_max_ms / 2).max(1)
    }

    pub(crate) fn look_for_lagging(&self, now: MonoMs) {
        let due = self.look_for_lagging_at.load(Ordering::Relaxed);
        if due > now.0 {
            return;
        }
        let next = now.plus_ms(self.lag_look_interval_ms());
        self.look_for_lagging_at.store(next.0, Ordering::Relaxed);
        for partition in self.partitions() {
            if let Some(proposed) = partition.propose_without_the_lagging(now) {
                self.isr_changes.lock().add(&partition, proposed);
            }
        }
    }

    /// When there is something for [`ReplicaManager::poll_fetchers`] or [`ReplicaManager::next_isr_changes`] to give.
    pub fn next_request_deadline(&self) -> MonoMs {
        self.fetchers.next_deadline().min(self.isr_changes.lock().next_deadline())
    }
}
