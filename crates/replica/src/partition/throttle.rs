//! Replication that is held to a rate (KIP-73). Who is in sync is never held up: the rate bounds what catching up takes.

use std::sync::atomic::{AtomicBool, Ordering};

use ottla_types::{MonoMs, NodeId};

use super::{Partition, Role};

/// Whether a topic's `leader.` and `follower.replication.throttled.replicas` name the replica here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    pub leader: bool,
    pub follower: bool,
}

#[derive(Debug, Default)]
pub(super) struct Flags {
    leader: AtomicBool,
    follower: AtomicBool,
}

impl Partition {
    pub fn set_throttled(&self, throttled: Throttled) {
        self.throttled.leader.store(throttled.leader, Ordering::Relaxed);
        self.throttled.follower.store(throttled.follower, Ordering::Relaxed);
    }

    /// Whether a follower gets nothing from here now, though there may be something.
    pub(crate) fn holds_back_from(&self, follower: NodeId) -> bool {
        self.throttled.leader.load(Ordering::Relaxed) && self.rules.leader_quota.is_exceeded() && {
            let state = self.state.read();
            matches!(state.role, Role::Leader(_)) && !state.assignment.isr.contains(&follower)
        }
    }

    /// Notes what a follower is sent, in sync or not: all of it counts for the rate.
    pub(crate) fn record_sent(&self, bytes: u32, now: MonoMs) {
        if bytes > 0 && self.throttled.leader.load(Ordering::Relaxed) {
            self.rules.leader_quota.record(u64::from(bytes), now);
        }
    }

    pub(crate) fn is_throttled_follower(&self) -> bool {
        self.throttled.follower.load(Ordering::Relaxed)
    }
}
