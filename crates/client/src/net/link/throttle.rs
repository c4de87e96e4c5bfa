//! Throttling by quotas (KIP-219): a broker answers at once, says for how long it reads nothing more from this client's connection,
//! and nothing more is sent over it until then. In older versions of an API the broker waits before it answers instead.

use std::any::Any;
use std::time::Duration;

use ottla_wire::messages::*;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Ended, Lost, Outgoing, Shared};

/// `Response since version`: those whose `throttle_time_ms` Apache Kafka's clients heed, each from that version on.
macro_rules! heeded {
    ($($response:ident since $since:literal,)*) => {
        pub(super) fn heeded_ms(response: &dyn Any, version: i16) -> i32 {
            $(if let Some(response) = response.downcast_ref::<$response>() {
                return if version >= $since { response.throttle_time_ms } else { 0 };
            })*
            0
        }
    };
}

heeded! {
    ProduceResponse since 6,
    FetchResponse since 8,
    ListOffsetsResponse since 3,
    MetadataResponse since 6,
    OffsetCommitResponse since 4,
    OffsetFetchResponse since 4,
    FindCoordinatorResponse since 2,
    JoinGroupResponse since 3,
    HeartbeatResponse since 2,
    LeaveGroupResponse since 2,
    SyncGroupResponse since 2,
    DescribeGroupsResponse since 2,
    ListGroupsResponse since 2,
    ApiVersionsResponse since 2,
    CreateTopicsResponse since 3,
    DeleteTopicsResponse since 2,
    DeleteRecordsResponse since 1,
    InitProducerIdResponse since 1,
    AddPartitionsToTxnResponse since 1,
    AddOffsetsToTxnResponse since 1,
    EndTxnResponse since 1,
    TxnOffsetCommitResponse since 1,
    DescribeAclsResponse since 1,
    CreateAclsResponse since 1,
    DeleteAclsResponse since 1,
    DescribeConfigsResponse since 2,
    AlterConfigsResponse since 1,
    AlterReplicaLogDirsResponse since 1,
    DescribeLogDirsResponse since 1,
    CreatePartitionsResponse since 1,
    CreateDelegationTokenResponse since 1,
    RenewDelegationTokenResponse since 1,
    ExpireDelegationTokenResponse since 1,
    DescribeDelegationTokenResponse since 1,
    DeleteGroupsResponse since 1,
    ElectLeadersResponse since 0,
    IncrementalAlterConfigsResponse since 0,
    AlterPartitionReassignmentsResponse since 0,
    ListPartitionReassignmentsResponse since 0,
    OffsetDeleteResponse since 0,
    DescribeUserScramCredentialsResponse since 0,
    AlterUserScramCredentialsResponse since 0,
    UnregisterBrokerResponse since 0,
    DescribeTopicPartitionsResponse since 0,
}

impl Shared {
    /// Sends nothing for as long as an answer says.
    pub(super) fn heed(&self, response: &dyn Any, version: i16) {
        let throttle_ms = u64::try_from(heeded_ms(response, version)).unwrap_or(0);
        if throttle_ms > 0 {
            let until = Instant::now() + Duration::from_millis(throttle_ms);
            let mut quiet_until = self.quiet_until.lock();
            *quiet_until = Some(quiet_until.map_or(until, |earlier| earlier.max(until)));
        }
    }

    pub(super) fn is_quiet_until(&self) -> Option<Instant> {
        self.quiet_until.lock().filter(|until| *until > Instant::now())
    }
}

/// Waits until something may be sent. Requests whose time is over before that are told so, and not sent: the connection is
/// as good as before. `taken` grows to `room` at most.
pub(super) async fn hold_back(
    taken: &mut Vec<Outgoing>,
    queue: &mut mpsc::Receiver<Outgoing>,
    room: usize,
    shared: &Shared,
) {
    while let Some(until) = shared.is_quiet_until() {
        let next = taken.iter().map(|outgoing| outgoing.deadline).min().map_or(until, |next| next.min(until));
        let more = room.saturating_sub(taken.len());
        tokio::select! {
            () = sleep_until(next) => {}
            // Once nobody asks any more, there is nobody to hold back for.
            count = queue.recv_many(taken, more), if more > 0 => if count == 0 { return },
        }
        let now = Instant::now();
        for late in taken.extract_if(.., |outgoing| outgoing.deadline <= now) {
            let _ = late.answer.send(Err(Lost { why: Ended::TimedOut, is_sent: false, is_late: true }));
        }
    }
}
