//! The consensus core: events and time in, actions out.
//!
//! [`RaftCore`] does no I/O, reads no clock, and draws its jitter from a seed, so equal inputs give equal outputs. Whoever
//! runs it carries out the actions of a step in their order before the next step: in particular a
//! [`Action::WriteQuorumState`] is durable before any message that follows it leaves. The one thing that may take its
//! time is [`Action::FlushLog`]: [`Event::Flushed`] reports it, and until then nothing that was appended counts for the
//! high watermark and no follower fetches on.

mod describe;
mod elections;
mod epochs;
mod fetch;
mod membership;
mod poll;
mod refusals;
mod snapshots;
mod transitions;
mod voter_changes;
mod voter_words;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset};

use crate::accumulator::AppendError;
use crate::config::{Jitter, RaftConfig};
use crate::connections::Connections;
use crate::control::ControlRecord;
use crate::election::ElectionState;
use crate::log::{LeaderBatch, LogStart, LogView};
use crate::messages::{FetchRequest, LeaderInfo, RaftError, ReceivedBatch, Request, Response};
use crate::quorum_state::{LeaderAndEpoch, QuorumState, Role, RoleName, Unattached};
use crate::replica::{Endpoints, LocalReplica, Node, OffsetAndEpoch};
use crate::voter_set::{VoterHistory, VoterSet};

pub use describe::{QuorumInfo, ReplicaInfo};
use refusals::Refusals;

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum Event {
    /// Another node asks; the answer is an [`Action::Reply`] with the same id, at once or later.
    Request { id: u64, request: Request },
    /// The answer to an [`Action::Send`].
    Response { correlation_id: u64, response: Response },
    /// An [`Action::Send`] got no answer: no connection, or it broke.
    RequestFailed { correlation_id: u64 },
    /// As [`Event::RequestFailed`], and where the node listens nobody does any more: its process is gone.
    RequestRefused { correlation_id: u64 },
    /// The log is durable up to here.
    Flushed { end_offset: Offset },
    /// A snapshot of the state up to `id` was written and is complete.
    SnapshotCreated { id: OffsetAndEpoch, size: u64 },
    /// An [`Action::InstallSnapshot`] is done; `control` are the snapshot's control records.
    SnapshotInstalled { id: OffsetAndEpoch, size: u64, control: Vec<ControlRecord> },
    /// What an [`Action::InstallSnapshot`] was to install is damaged.
    SnapshotRefused,
    /// Segments and snapshots were deleted; these snapshots are left.
    LogCleaned { start_offset: Offset, snapshots: Vec<OffsetAndEpoch> },
    /// Stop leading, if this is still the epoch.
    Resign { epoch: LeaderEpoch },
    /// Leave the quorum in order: hand over leadership; [`Action::ShutdownComplete`] follows within the time.
    Shutdown { timeout_ms: i64 },
}

/// What a replica must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make this durable. Version 0 of the file under `kraft.version` 0, else version 1.
    WriteQuorumState {
        election: ElectionState,
        kraft_version: i16,
    },
    AppendAsLeader(Vec<LeaderBatch>),
    AppendAsFollower(Vec<ReceivedBatch>),
    /// Make the log durable, then report [`Event::Flushed`].
    FlushLog,
    TruncateLog {
        offset: Offset,
    },
    WriteSnapshot {
        id: OffsetAndEpoch,
        position: u64,
        bytes: Bytes,
    },
    /// The snapshot is complete: make the log empty and start at its end, then report [`Event::SnapshotInstalled`], or
    /// [`Event::SnapshotRefused`].
    InstallSnapshot {
        id: OffsetAndEpoch,
    },
    Send {
        correlation_id: u64,
        to: Node,
        request: Request,
    },
    Reply {
        id: u64,
        response: Response,
    },
    /// Everything before this offset is committed. Never goes back.
    HighWatermark(Offset),
    /// The known leader or the epoch changed. Listeners of a new leader hear of it only once they have replayed
    /// everything before `epoch_start_offset`, which is set on the leader alone.
    LeaderChanged {
        leader: LeaderAndEpoch,
        epoch_start_offset: Option<Offset>,
    },
    ShutdownComplete {
        timed_out: bool,
    },
    /// The replica can't go on: an invariant of the protocol is broken, by corruption or by another's bug.
    Halt {
        reason: String,
    },
}

/// Who this replica is and whom it may meet.
#[derive(Clone, Debug)]
pub struct QuorumSettings {
    pub config: RaftConfig,
    pub local: LocalReplica,
    /// `controller.quorum.voters`; empty when the voters are in the log.
    pub static_voters: VoterSet,
    /// `controller.quorum.bootstrap.servers`: where a replica asks for the leader. Taken from the static voters when
    /// empty.
    pub bootstrap_servers: Vec<Node>,
    /// For election jitter.
    pub seed: u64,
}

/// What a core starts from.
#[derive(Debug)]
pub struct RaftStart {
    pub quorum: QuorumSettings,
    /// From the `quorum-state` file.
    pub election: Option<ElectionState>,
    pub log: LogStart,
}

/// A follower's fetch that waits for something new.
#[derive(Debug)]
struct ParkedFetch {
    id: u64,
    request: FetchRequest,
    deadline: MonoMs,
}

#[derive(Clone, Copy, Debug)]
struct ShuttingDown {
    deadline: MonoMs,
    complete: bool,
}

/// One replica of the metadata partition.
#[derive(Debug)]
pub struct RaftCore {
    config: RaftConfig,
    local: LocalReplica,
    voters: VoterHistory,
    log: LogView,
    quorum: QuorumState,
    /// What this replica knows to be committed; unlike a leader's own high watermark it survives changes of role.
    high_watermark: Option<Offset>,
    /// The last leader that has answered a fetch, and when.
    heard_of: Option<(NodeId, MonoMs)>,
    connections: Connections,
    parked: Vec<ParkedFetch>,
    shutdown: Option<ShuttingDown>,
    jitter: Jitter,
    written: Option<(ElectionState, i16)>,
    why_role: &'static str,
    refusals: Refusals,
    announced: Option<LeaderAndEpoch>,
    halted: bool,
    actions: Vec<Action>,
}

impl RaftCore {
    /// Starts a replica. It doesn't lead nor fetch before the first [`RaftCore::tick`].
    pub fn new(start: RaftStart, now: Now) -> RaftCore {
        let RaftStart { quorum, election, log } = start;
        let QuorumSettings { config, local, static_voters, bootstrap_servers, seed } = quorum;
        let bootstrap = if bootstrap_servers.is_empty() {
            let ids = static_voters.ids();
            ids.iter().filter_map(|id| static_voters.node(*id, &config.controller_listener)).collect()
        } else {
            bootstrap_servers
        };
        let bootstrap = bootstrap.into_iter().filter(|node| !is_local(node, &local)).collect();
        let connections = Connections::new(bootstrap, config.request_timeout_ms, config.retry_backoff_ms);
        let role = Role::Unattached(Unattached { leader_id: None, voted: None, election_deadline: now.mono });
        let mut core = RaftCore {
            log: LogView::new(&log),
            voters: VoterHistory::new(static_voters),
            quorum: QuorumState { epoch: LeaderEpoch(0), role },
            high_watermark: None,
            heard_of: None,
            connections,
            parked: Vec::new(),
            shutdown: None,
            jitter: Jitter::new(seed),
            written: None,
            why_role: "it has started",
            refusals: Refusals::default(),
            announced: None,
            halted: false,
            actions: Vec::new(),
            config,
            local,
        };
        for (offset, record) in log.control {
            core.apply_control(offset, record);
        }
        core.initialize(election, now);
        core
    }

    /// Takes an event in. The actions must be carried out in order.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Action> {
        if !self.halted {
            self.handle(event, now);
            self.poll(now);
        }
        std::mem::take(&mut self.actions)
    }

    /// Does what is due at `now`. To be called at [`RaftCore::next_deadline`] at the latest.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        if !self.halted {
            self.poll(now);
        }
        std::mem::take(&mut self.actions)
    }

    /// Accepts values of metadata records for the log of `epoch`; returns the offset of the last of them. They are
    /// appended by the next [`RaftCore::tick`] after the append linger, all in one batch.
    pub fn append(
        &mut self,
        epoch: LeaderEpoch,
        records: Vec<Bytes>,
        now: Now,
    ) -> Result<Offset, AppendError> {
        let current = self.quorum.epoch;
        match &mut self.quorum.role {
            Role::Leader(leader) if leader.epoch == epoch && leader.resign_requested.is_none() => {
                leader.accumulator.append(records, now)
            }
            _ => Err(AppendError::NotLeader(current)),
        }
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.quorum.epoch
    }

    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        LeaderAndEpoch { leader_id: self.quorum.leader_id(self.local.id()), epoch: self.quorum.epoch }
    }

    /// Of which other leader this replica has heard last, and when: for whoever leads after it.
    pub fn heard_of(&self) -> Option<(NodeId, MonoMs)> {
        self.heard_of
    }

    /// Where the known leader listens; empty when nothing is known.
    pub fn leader_endpoints(&self) -> Endpoints {
        self.quorum.leader_endpoints(&self.local.listeners)
    }

    pub fn role(&self) -> RoleName {
        match self.quorum.role_name() {
            RoleName::Unattached | RoleName::Follower if !self.is_voter() => RoleName::Observer,
            role => role,
        }
    }

    /// Why the replica took its role, as the log line of that says.
    pub fn why_role(&self) -> &'static str {
        self.why_role
    }

    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    pub fn log(&self) -> &LogView {
        &self.log
    }

    pub fn voters(&self) -> &VoterHistory {
        &self.voters
    }

    pub fn is_voter(&self) -> bool {
        self.voters.latest().is_voter(&self.local.key)
    }

    fn may_stand(&self) -> bool {
        self.voters.may_stand(&self.local.key, self.high_watermark)
    }

    fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Request { id, request } => self.handle_request(id, request, now),
            Event::Response { correlation_id, response } => {
                self.handle_response(correlation_id, Some(response), now);
            }
            Event::RequestFailed { correlation_id } => self.handle_response(correlation_id, None, now),
            Event::RequestRefused { correlation_id } => {
                let refused_by = self.connections.awaited(correlation_id);
                self.handle_response(correlation_id, None, now);
                if let Some(node) = refused_by {
                    self.process_is_gone(node, now);
                }
            }
            Event::Flushed { end_offset } => self.flushed(end_offset, now),
            Event::SnapshotCreated { id, size } => self.snapshot_created(id, size),
            Event::SnapshotInstalled { id, size, control } => self.snapshot_installed(id, size, control, now),
            Event::SnapshotRefused => self.snapshot_refused(now),
            Event::LogCleaned { start_offset, snapshots } => self.log.cleaned(start_offset, &snapshots),
            Event::Resign { epoch } => {
                if let Role::Leader(leader) = &mut self.quorum.role
                    && leader.epoch == epoch
                {
                    leader.resign_requested = Some("its controller asks for it");
                }
            }
            Event::Shutdown { timeout_ms } => {
                let deadline = now.mono.plus_ms(timeout_ms);
                self.shutdown = Some(ShuttingDown { deadline, complete: false });
            }
        }
    }

    fn handle_request(&mut self, id: u64, request: Request, now: Now) {
        let response = match request {
            Request::Vote(request) => Response::Vote(self.handle_vote(request, now)),
            Request::BeginQuorumEpoch(request) => {
                Response::BeginQuorumEpoch(self.handle_begin_quorum_epoch(request, now))
            }
            Request::EndQuorumEpoch(request) => {
                Response::EndQuorumEpoch(self.handle_end_quorum_epoch(request, now))
            }
            Request::Fetch(request) => return self.handle_fetch(id, request, now),
            Request::FetchSnapshot(request) => {
                Response::FetchSnapshot(self.handle_fetch_snapshot(request, now))
            }
            Request::AddRaftVoter(request) => return self.handle_add_raft_voter(id, request, now),
            Request::RemoveRaftVoter(request) => return self.handle_remove_raft_voter(id, &request, now),
            Request::UpdateRaftVoter(request) => {
                Response::UpdateRaftVoter(self.handle_update_raft_voter(request, now))
            }
            Request::ApiVersions => self.api_versions(),
        };
        self.actions.push(Action::Reply { id, response });
    }

    fn handle_response(&mut self, correlation_id: u64, response: Option<Response>, now: Now) {
        let Some(from) = self.connections.awaited(correlation_id) else {
            tracing::debug!(correlation_id, "ignoring a response that is no longer waited for");
            return;
        };
        let handled = match response {
            None => {
                self.handle_api_versions_response(correlation_id, None, now);
                if let Role::Leader(leader) = &mut self.quorum.role {
                    leader.not_notified(now.mono);
                }
                false
            }
            Some(Response::Vote(response)) => self.handle_vote_response(from, response, now),
            Some(Response::BeginQuorumEpoch(response)) => {
                self.handle_begin_quorum_epoch_response(from, response, now)
            }
            Some(Response::EndQuorumEpoch(response)) => {
                self.handle_end_quorum_epoch_response(from, response, now)
            }
            Some(Response::Fetch(response)) => self.handle_fetch_response(from, response, now),
            Some(Response::FetchSnapshot(response)) => {
                self.handle_fetch_snapshot_response(from, response, now)
            }
            Some(Response::AddRaftVoter(response) | Response::RemoveRaftVoter(response)) => {
                self.handle_voter_change_response(from, response)
            }
            Some(Response::UpdateRaftVoter(response)) => {
                self.handle_update_raft_voter_response(from, response, now)
            }
            Some(Response::ApiVersions(response)) => {
                self.handle_api_versions_response(correlation_id, Some(response), now);
                response.error.is_none()
            }
        };
        self.connections.answered(from, correlation_id, handled, now.mono);
    }

    /// What common fields of a response tell. `Some` means that the response needs no more handling: `true` when all is
    /// well, `false` when the node should be left alone for a while.
    fn handle_common_response(
        &mut self,
        from: NodeId,
        error: Option<RaftError>,
        leader: &LeaderInfo,
        now: Now,
    ) -> Option<bool> {
        let refused = matches!(
            error,
            Some(
                RaftError::BrokerNotAvailable
                    | RaftError::InconsistentClusterId
                    | RaftError::ClusterAuthorizationFailed
                    | RaftError::UnknownServerError
                    | RaftError::InvalidRequest
            )
        );
        if refused || (error.is_some() && leader.epoch.value() < 0) {
            self.tell_refusal(from, error, now);
            return Some(false);
        }
        let epoch = leader.epoch;
        let leader_id = leader.leader_id;
        let endpoints = self.endpoints_of(leader_id, &leader.endpoints);
        if error == Some(RaftError::UnknownLeaderEpoch) {
            // It hasn't heard of this epoch yet, and will in a moment.
            return Some(false);
        }
        if epoch < self.quorum.epoch {
            return Some(true);
        }
        let stale = matches!(error, Some(RaftError::FencedLeaderEpoch | RaftError::NotLeaderOrFollower));
        if epoch > self.quorum.epoch || stale {
            let before = self.leader_and_epoch();
            self.maybe_transition(leader_id, epoch, endpoints, now);
            // Nothing learnt: asking again at once would only be refused again.
            return Some(self.leader_and_epoch() != before);
        }
        if let Some(leader_id) = leader_id
            && self.quorum.leader_id(self.local.id()).is_none()
        {
            self.maybe_transition(Some(leader_id), epoch, endpoints, now);
            return error.is_some().then_some(true);
        }
        (error == Some(RaftError::InvalidVoterKey)).then_some(true)
    }

    fn tell_refusal(&mut self, from: NodeId, error: Option<RaftError>, now: Now) {
        let Some(times) = self.refusals.tell(now.mono) else { return };
        let asked = self.connections.asked(from);
        tracing::warn!(
            node = self.local.id().value(),
            by = from.value(),
            address = asked.map(|asked| format!("{}:{}", asked.address.host, asked.address.port)),
            asked_for = asked.map(|asked| tracing::field::debug(asked.api)),
            error = error.map(tracing::field::debug),
            times,
            "a quorum request was refused"
        );
    }

    /// A leader's endpoints from a message, or from the voter set where the message has none.
    fn endpoints_of(&self, leader_id: Option<NodeId>, told: &Endpoints) -> Endpoints {
        match leader_id {
            Some(id) if told.is_empty() => self.voters.latest().endpoints(id),
            Some(_) => told.clone(),
            None => Endpoints::new(),
        }
    }

    fn leader_is_remote(&self) -> bool {
        self.quorum.leader_id(self.local.id()).is_some_and(|id| id != self.local.id())
    }

    fn leader_info(&self) -> LeaderInfo {
        LeaderInfo {
            leader_id: self.quorum.leader_id(self.local.id()),
            epoch: self.quorum.epoch,
            endpoints: self.leader_endpoints(),
        }
    }

    fn has_valid_cluster_id(&self, cluster_id: &Option<String>) -> bool {
        cluster_id.as_ref().is_none_or(|id| *id == self.config.cluster_id)
    }

    fn apply_control(&mut self, offset: Offset, record: ControlRecord) {
        match record {
            ControlRecord::KRaftVersion(version) => self.voters.add_kraft_version(offset, version),
            ControlRecord::Voters(voters) => {
                tracing::info!(
                    node = self.local.id().value(),
                    epoch = self.quorum.epoch.value(),
                    offset = offset.value(),
                    from = %self.voters.latest(),
                    to = %voters,
                    why = "the log says so",
                    "voters changed"
                );
                self.voters.add_voters(offset, voters);
            }
            ControlRecord::LeaderChange(_)
            | ControlRecord::SnapshotHeader { .. }
            | ControlRecord::SnapshotFooter => {}
        }
    }

    fn send(&mut self, to: Node, request: Request, now: Now) -> u64 {
        let correlation_id = self.connections.sent(&to, request.api(), now.mono);
        self.actions.push(Action::Send { correlation_id, to, request });
        correlation_id
    }

    /// Raises what this replica knows to be committed; it never goes back.
    fn advance_high_watermark(&mut self, offset: Offset) {
        if self.high_watermark.is_none_or(|current| current < offset) {
            self.high_watermark = Some(offset);
            self.actions.push(Action::HighWatermark(offset));
        }
    }

    fn halt(&mut self, reason: String) {
        tracing::error!(reason, "the quorum replica can't go on");
        self.halted = true;
        self.actions.push(Action::Halt { reason });
    }

    fn random_election_deadline(&mut self, now: Now) -> MonoMs {
        let timeout = self.config.election_timeout_ms;
        now.mono.plus_ms(timeout + self.jitter.below(timeout))
    }
}

fn is_local(node: &Node, local: &LocalReplica) -> bool {
    node.id == local.id() || local.listeners.iter().any(|(_, address)| *address == node.address)
}
