//! Sends what this broker's replicas want of other nodes: fetches to the leaders that they follow, and to the controller the
//! ISRs that leaders here want. A broker that is not registered yet follows nobody: leaders tell processes apart by their epochs.

use std::sync::Arc;

use ottla_config::keys;
use ottla_replica::fetcher::{FetcherAnswer, FetcherId, FetcherRequest, ToFetch};
use ottla_types::{BrokerEpoch, MonoMs, Now};
use ottla_wire::messages::{AlterPartitionResponse, FetchRequest, ListOffsetsRequest};
use ottla_wire::{ApiKey, ErrorCode, VersionRange};
use parking_lot::Mutex;

use crate::node::Node;
use crate::peers::{Channel, PeerAnswer, PeerError, PeerRequest, sent_versions};

/// From here on a replica tells its broker epoch (KIP-903); topics go by their ids.
const FETCH_SINCE: i16 = 15;
/// What an answer may have beside the bytes that a fetch asks for: a first batch may be larger than that. Where requests may be
/// larger still, so may batches.
const ANSWER_SLACK_BYTES: usize = 100 * 1024 * 1024;

/// The most that an answer to a fetch of so many bytes may have.
fn answer_bytes_max(asked: i32, request_bytes_max: i32) -> usize {
    let bytes = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    bytes(asked).saturating_add(ANSWER_SLACK_BYTES.max(bytes(request_bytes_max)))
}

/// What the controller has answered about ISRs, until it is taken note of.
#[derive(Debug, Default)]
pub(crate) struct IsrAnswer(Mutex<Option<Result<AlterPartitionResponse, ErrorCode>>>);

impl Node {
    /// Sends what is due.
    pub(crate) fn replicate(self: &Arc<Self>, now: Now) {
        let answer = self.isr_answer.0.lock().take();
        if let Some(answer) = answer {
            self.replicas.isr_changes_answered(answer, now);
        }
        let Some(broker_epoch) = self.broker_epoch() else { return };
        for to_fetch in self.replicas.poll_fetchers(Some(broker_epoch), now) {
            self.fetch_from_leader(to_fetch);
        }
        self.ask_for_isrs(broker_epoch, now);
    }

    pub(crate) fn replication_deadline(&self) -> MonoMs {
        if self.isr_answer.0.lock().is_some() {
            return MonoMs(0);
        }
        if self.broker_epoch().is_some() { self.replicas.next_request_deadline() } else { MonoMs::NEVER }
    }

    fn fetch_from_leader(self: &Arc<Self>, to_fetch: ToFetch) {
        let ToFetch { fetcher, ticket, connection, request } = to_fetch;
        let node = Arc::clone(self);
        let timeout_ms = i64::from(self.config.get(keys::REPLICA_SOCKET_TIMEOUT_MS));
        let request = match request {
            FetcherRequest::Fetch(fetch) => {
                let versions = VersionRange::new(FETCH_SINCE, sent_versions(ApiKey::Fetch).max);
                let request_bytes_max = self.config.get(keys::SOCKET_REQUEST_MAX_BYTES);
                let answer_bytes_max = answer_bytes_max(fetch.max_bytes, request_bytes_max);
                let done = move |answer: Result<PeerAnswer<_>, PeerError>, now| {
                    let answer = answer.map(|answer| FetcherAnswer::Fetch(answer.response));
                    node.leader_answered(fetcher, ticket, answer, now);
                };
                let mut request =
                    PeerRequest::by_version::<FetchRequest>(versions, |_| fetch, timeout_ms, done);
                request.answer_bytes_max = answer_bytes_max;
                request
            }
            FetcherRequest::ListOffsets(list) => {
                PeerRequest::new::<ListOffsetsRequest>(list, timeout_ms, move |answer, now| {
                    let answer = answer.map(|answer| FetcherAnswer::ListOffsets(answer.response));
                    node.leader_answered(fetcher, ticket, answer, now);
                })
            }
        };
        self.send_to_broker(fetcher.leader, Channel::Fetcher(connection), request);
    }

    fn leader_answered(
        self: &Arc<Self>,
        fetcher: FetcherId,
        ticket: u64,
        answer: Result<FetcherAnswer, PeerError>,
        now: Now,
    ) {
        let answer = answer.unwrap_or_else(|error| {
            tracing::debug!(leader = %fetcher.leader, %error, "a fetch from a leader failed");
            FetcherAnswer::Failed
        });
        let next = self.replicas.fetcher_answered(fetcher, ticket, answer, self.broker_epoch(), now);
        if let Some(next) = next {
            self.fetch_from_leader(next);
        }
    }

    fn ask_for_isrs(self: &Arc<Self>, broker_epoch: BrokerEpoch, now: Now) {
        let Some(request) = self.replicas.next_isr_changes(broker_epoch, now.mono) else { return };
        let node = Arc::clone(self);
        self.ask_active_controller(request, self.controller_due(now), move |answer| {
            *node.isr_answer.0.lock() = Some(answer);
            (node.hooks.wake_at)(MonoMs(0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_room_for_any_batch_that_a_leader_may_have_taken() {
        assert_eq!(answer_bytes_max(10 << 20, 1_000), 110 << 20);
        assert_eq!(answer_bytes_max(10 << 20, i32::MAX), (10 << 20) + i32::MAX as usize);
        assert_eq!(answer_bytes_max(-1, -1), ANSWER_SLACK_BYTES);
    }
}
