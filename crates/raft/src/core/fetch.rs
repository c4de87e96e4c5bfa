//! Fetching: the leader's answer and the follower's handling of it.

use ottla_types::{MonoMs, NodeId, Now, Offset};

use super::{Action, ParkedFetch, RaftCore};
use crate::log::FetchPosition;
use crate::messages::{
    FetchRequest, FetchResponse, FetchedRecords, RaftError, ReceivedBatch, Request, Response,
};
use crate::quorum_state::{FetchingSnapshot, LEADER_IS_SILENT, Role};
use crate::replica::{Node, OffsetAndEpoch};

/// Fetches that wait at the same time, at most: more than the replicas of any quorum.
const MAX_PARKED_FETCHES: usize = 10_000;

impl RaftCore {
    pub(super) fn handle_fetch(&mut self, id: u64, request: FetchRequest, now: Now) {
        let response = self.answer_fetch(&request, now);
        let nothing_new = response.error.is_none()
            && response.records == FetchedRecords::None
            && response.diverging.is_none()
            && response.snapshot_id.is_none()
            && !self.knows_more_committed(&request);
        if nothing_new && request.max_wait_ms > 0 && self.parked.len() < MAX_PARKED_FETCHES {
            // A replica has one fetch at a time: an older one of it is from a broken connection.
            if request.replica.id.value() >= 0 {
                self.release_parked(now, |parked| parked.request.replica == request.replica);
            }
            let deadline = now.mono.plus_ms(i64::from(request.max_wait_ms));
            self.parked.push(ParkedFetch { id, request, deadline });
        } else {
            self.actions.push(Action::Reply { id, response: Response::Fetch(response) });
        }
    }

    /// Answers the fetches that there is now something for, and those that have waited long enough.
    pub(super) fn complete_parked_fetches(&mut self, now: Now) {
        let end_offset = self.log.end_offset();
        let high_watermark = self.quorum.leader_high_watermark();
        self.release_parked(now, |parked| {
            parked.deadline <= now.mono
                || parked.request.fetch_offset < end_offset
                || high_watermark.is_some_and(|known| known > parked.request.high_watermark)
        });
    }

    fn release_parked(&mut self, now: Now, ready: impl Fn(&ParkedFetch) -> bool) {
        let (released, waiting) = std::mem::take(&mut self.parked).into_iter().partition(ready);
        self.parked = waiting;
        let released: Vec<ParkedFetch> = released;
        for parked in released {
            let response = self.answer_fetch(&parked.request, now);
            self.actions.push(Action::Reply { id: parked.id, response: Response::Fetch(response) });
        }
    }

    pub(super) fn parked_deadline(&self) -> MonoMs {
        self.parked.iter().map(|parked| parked.deadline).min().unwrap_or(MonoMs::NEVER)
    }

    fn knows_more_committed(&self, request: &FetchRequest) -> bool {
        self.quorum.leader_high_watermark().is_some_and(|known| known > request.high_watermark)
    }

    fn answer_fetch(&mut self, request: &FetchRequest, now: Now) -> FetchResponse {
        if !self.has_valid_cluster_id(&request.cluster_id) {
            return self.refused_fetch(RaftError::InconsistentClusterId);
        }
        let invalid = request.max_wait_ms < 0
            || request.fetch_offset < Offset::ZERO
            || request.last_fetched_epoch.value() < 0
            || request.last_fetched_epoch > request.current_leader_epoch
            || request.replica.id == self.local.id();
        if invalid {
            return self.refused_fetch(RaftError::InvalidRequest);
        }
        if let Some(error) = self.validate_leader_request(request.current_leader_epoch) {
            return self.refused_fetch(error);
        }
        let position = self.log.validate(request.fetch_offset, request.last_fetched_epoch);
        let end_offset = self.log.end_offset();
        let mut records = FetchedRecords::None;
        if position == FetchPosition::Valid {
            if request.fetch_offset < end_offset {
                let max_bytes = request.max_bytes.clamp(1, self.config.fetch_max_bytes);
                records = FetchedRecords::FromLog { offset: request.fetch_offset, max_bytes };
            }
            if let Role::Leader(leader) = &mut self.quorum.role
                && leader.replica_fetched(request.replica, request.fetch_offset, end_offset, now)
            {
                self.leader_high_watermark_moved();
            }
        }
        FetchResponse {
            error: None,
            leader: self.leader_info(),
            high_watermark: self.quorum.leader_high_watermark(),
            log_start_offset: self.log.start_offset(),
            diverging: match position {
                FetchPosition::Diverging(end) => Some(end),
                _ => None,
            },
            snapshot_id: match position {
                FetchPosition::Snapshot(id) => Some(id),
                _ => None,
            },
            records,
        }
    }

    pub(super) fn leader_high_watermark_moved(&mut self) {
        if let Some(high_watermark) = self.quorum.leader_high_watermark() {
            self.advance_high_watermark(high_watermark);
        }
        self.complete_voter_change();
    }

    pub(super) fn flushed(&mut self, end_offset: Offset, _now: Now) {
        self.log.flushed(end_offset);
        let end_offset = self.log.flushed_end_offset();
        if let Role::Leader(leader) = &mut self.quorum.role
            && leader.local_flushed(end_offset)
        {
            self.leader_high_watermark_moved();
        }
    }

    pub(super) fn handle_fetch_response(&mut self, from: NodeId, response: FetchResponse, now: Now) -> bool {
        if let Some(handled) = self.handle_common_response(from, response.error, &response.leader, now) {
            return handled;
        }
        let Role::Follower(follower) = &mut self.quorum.role else {
            return response.error.is_none();
        };
        if let Some(error) = response.error {
            tracing::error!(node = from.value(), ?error, "unexpected error in a fetch response");
            return false;
        }
        self.heard_of = Some((follower.leader_id, now.mono));
        // An answer that it gave before it resigned may come after the word of that.
        if !follower.has_leader_resigned {
            follower.fetch_deadline = now.mono.plus_ms(self.config.fetch_timeout_ms);
            follower.why_over = LEADER_IS_SILENT;
            follower.has_fetched_from_leader = true;
        }
        if let Some(diverging) = response.diverging {
            self.truncate(diverging);
        } else if let Some(id) = response.snapshot_id {
            return self.begin_snapshot(id);
        } else {
            if let FetchedRecords::Batches(batches) = response.records {
                self.append_as_follower(batches);
            }
            if let Some(high_watermark) = response.high_watermark {
                self.advance_high_watermark(high_watermark.min(self.log.end_offset()));
            }
        }
        true
    }

    fn truncate(&mut self, diverging: OffsetAndEpoch) {
        let offset = self.log.truncation_offset(diverging);
        let snapshot_end = self.log.latest_snapshot().map(|id| id.offset);
        let committed = self.high_watermark.max(snapshot_end);
        if let Some(committed) = committed
            && offset < committed
        {
            return self.halt(format!(
                "the leader asks for truncation to {offset}, but all before {committed} is committed"
            ));
        }
        tracing::info!(
            node = self.local.id().value(),
            from = self.log.end_offset().value(),
            to = offset.value(),
            diverging = %diverging,
            "truncating the log: it diverges from the leader's"
        );
        self.log.truncated(offset);
        self.voters.truncate_new(offset);
        self.actions.push(Action::TruncateLog { offset });
    }

    fn append_as_follower(&mut self, batches: Vec<ReceivedBatch>) {
        let mut accepted = Vec::with_capacity(batches.len());
        for batch in batches {
            let in_order = batch.base_offset == self.log.end_offset()
                && batch.last_offset >= batch.base_offset
                && batch.leader_epoch >= self.log.last_epoch()
                && batch.leader_epoch <= self.quorum.epoch;
            if !in_order {
                tracing::warn!(
                    base_offset = batch.base_offset.value(),
                    epoch = batch.leader_epoch.value(),
                    end = %self.log.end(),
                    "ignoring a batch that doesn't continue the log"
                );
                break;
            }
            self.log.appended(batch.base_offset, batch.last_offset, batch.leader_epoch);
            for (offset, record) in &batch.control {
                self.apply_control(*offset, record.clone());
            }
            accepted.push(batch);
        }
        if !accepted.is_empty() {
            self.actions.push(Action::AppendAsFollower(accepted));
            self.actions.push(Action::FlushLog);
        }
    }

    fn begin_snapshot(&mut self, id: OffsetAndEpoch) -> bool {
        let known = self.log.latest_snapshot().is_some_and(|latest| id <= latest);
        if id.offset <= Offset::ZERO || id.epoch.value() < 0 || known {
            tracing::error!(snapshot = %id, "the leader names a snapshot that can't help");
            return false;
        }
        if let Role::Follower(follower) = &mut self.quorum.role {
            tracing::info!(node = self.local.id().value(), snapshot = %id, "fetching a snapshot");
            follower.fetching_snapshot = Some(FetchingSnapshot { id, position: 0 });
        }
        true
    }

    /// Asks the leader for what comes next, in the log or in the snapshot that is being fetched. What was appended is
    /// flushed first: the fetch offset tells the leader that everything before it is durable here.
    pub(super) fn send_fetch_to_leader(&mut self, now: Now) {
        let (Role::Follower(follower), Some(node)) = (&self.quorum.role, self.leader_node()) else {
            return;
        };
        if !self.connections.is_ready(node.id, now.mono) || !self.is_flushed() {
            return;
        }
        let request = match follower.fetching_snapshot {
            Some(fetching) => Request::FetchSnapshot(self.fetch_snapshot_request(fetching)),
            None => Request::Fetch(self.fetch_request()),
        };
        self.send(node, request, now);
    }

    /// Where the leader is asked that this replica follows.
    pub(super) fn leader_node(&self) -> Option<Node> {
        let Role::Follower(follower) = &self.quorum.role else { return None };
        let address = follower.leader_endpoints.get(&self.config.controller_listener)?;
        Some(Node { id: follower.leader_id, address: address.clone() })
    }

    /// Asks any node, to learn who leads. Those that the settings name are not enough: all of them may have left the quorum
    /// since.
    pub(super) fn send_fetch_to_any_bootstrap(&mut self, now: Now) {
        if !self.is_flushed() || self.connections.any_in_flight(now.mono) {
            return;
        }
        let others = self.nodes_known();
        if let Some(node) = self.connections.ready_bootstrap(others, &mut self.jitter, now.mono) {
            let request = Request::Fetch(self.fetch_request());
            self.send(node, request, now);
        }
    }

    /// The voters in the log, and the leader that was heard of last.
    fn nodes_known(&self) -> Vec<Node> {
        let voters = self.voters.latest();
        let leader = self.leader_node();
        let is_other =
            |id: &NodeId| *id != self.local.id() && leader.as_ref().is_none_or(|node| node.id != *id);
        let in_log = self.voters.latest_offset().map(|_| voters.ids()).unwrap_or_default();
        let in_log = in_log.into_iter().filter(is_other);
        let in_log = in_log.filter_map(|id| voters.node(id, &self.config.controller_listener));
        let others: Vec<Node> = in_log.collect();
        others.into_iter().chain(leader).collect()
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.log.flushed_end_offset() >= self.log.end_offset()
    }

    fn fetch_request(&self) -> FetchRequest {
        let end = self.log.end();
        FetchRequest {
            cluster_id: Some(self.config.cluster_id.clone()),
            replica: self.local.key,
            current_leader_epoch: self.quorum.epoch,
            fetch_offset: end.offset,
            last_fetched_epoch: end.epoch,
            max_bytes: self.config.fetch_max_bytes,
            max_wait_ms: self.config.fetch_max_wait_ms,
            high_watermark: self.high_watermark.unwrap_or(Offset::UNKNOWN),
        }
    }
}
