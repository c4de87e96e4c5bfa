//! Partitions that are at rest for a follower: it is in sync and has everything, and nothing waits there. Its fetches leave
//! them out until they say that they have changed ([`crate::news`]).

use std::sync::Arc;

use ottla_log::OffsetMetadata;
use ottla_types::NodeId;
use ottla_wire::ErrorCode;

use super::{Partition, PartitionRead, Role};
use crate::follower_state::FollowerId;
use crate::news::{FetchClock, News, Slot};

#[cfg(test)]
pub(crate) type KnownFollower = (
    NodeId,
    ottla_types::Offset,
    ottla_types::Offset,
    Option<ottla_types::MonoMs>,
    Option<ottla_types::BrokerEpoch>,
);

impl Partition {
    /// To be called before the partition is looked at: what changes after that is said.
    pub(crate) fn subscribe(&self, news: &Arc<News>, slot: Slot) {
        self.subscribers.add(news, slot);
    }

    /// The follower does not fetch this partition any more in that session.
    pub(crate) fn unsubscribe(&self, news: &Arc<News>, slot: Slot, follower: Option<FollowerId>) {
        self.subscribers.remove(news, slot);
        if let Some(follower) = follower {
            self.rests_no_more(follower.node, &news.clock);
        }
    }

    /// The followers' sessions that wait for news.
    pub(crate) fn waiting_followers(&self) -> Vec<Arc<News>> {
        self.subscribers.waiting()
    }

    /// Whether a follower that is told this has everything, so that it need not be looked at before the partition says so. From
    /// now on it is taken to have fetched whenever `clock` says that its session did.
    ///
    /// Who could join the ISR is none of these, since whether it may depends on others than this partition; nor is who stands
    /// above the high watermark, which may move for others' sake.
    pub(crate) fn is_at_rest(
        &self,
        follower: FollowerId,
        told: &PartitionRead,
        clock: &Arc<FetchClock>,
    ) -> bool {
        let Some(at) = told.data.as_ref().filter(|_| told.error == ErrorCode::None && told.is_empty()) else {
            return false;
        };
        let end = told.log_end_offset;
        if at.fetch_offset_metadata.message_offset != end || told.high_watermark != end {
            return false;
        }
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else { return false };
        if !state.assignment.isr.contains(&follower.node) {
            return false;
        }
        let mut followers = leading.followers.lock();
        let Some(known) = followers.get_mut(&follower.node) else { return false };
        let is_there = known.is_of(clock)
            && known.log_end_offset.message_offset == end
            && !known.is_superseded(follower.broker_epoch)
            && self.log().log_end_offset() == end;
        if is_there {
            known.rests();
        }
        is_there
    }

    /// A follower does not count any more as fetching here whenever its session does.
    pub(crate) fn rests_no_more(&self, follower: NodeId, clock: &Arc<FetchClock>) {
        if let Role::Leader(leading) = &self.state.read().role
            && let Some(known) =
                leading.followers.lock().get_mut(&follower).filter(|known| known.is_of(clock))
        {
            known.rests_no_more();
        }
    }

    /// What the leader knows of its followers: ends and starts of their logs, when they had everything, and their processes.
    #[cfg(test)]
    pub(crate) fn known_followers(&self) -> Vec<KnownFollower> {
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else { return Vec::new() };
        let followers = leading.followers.lock();
        let known = |(id, known): (&NodeId, &crate::follower_state::FollowerState)| {
            let (end, start) = (known.log_end_offset.message_offset, known.log_start_offset);
            (*id, end, start, known.last_caught_up(), known.broker_epoch)
        };
        followers.iter().map(known).collect()
    }

    /// Where a follower stands by its last fetch.
    pub(crate) fn place_of_follower(&self, follower: NodeId) -> Option<OffsetMetadata> {
        let state = self.state.read();
        let Role::Leader(leading) = &state.role else { return None };
        leading.followers.lock().get(&follower).map(|known| known.log_end_offset)
    }
}
