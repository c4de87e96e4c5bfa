//! The leader's side of changes of the voter set (KIP-853): one at a time, each by one voter, and each appended only when
//! the last is committed, so that any majority before meets any majority after.

use ottla_types::{LeaderEpoch, Now, Offset};
use ottla_wire::ErrorCode;

use super::voter_words as words;
use super::{Action, RaftCore};
use crate::control::ControlRecord;
use crate::messages::{
    AddRaftVoterRequest, ApiVersionsResponse, EpochResponse, RaftError, RemoveRaftVoterRequest, Request,
    Response, UpdateRaftVoterRequest, VoterChangeResponse,
};
use crate::quorum_state::Role;
use crate::replica::{Endpoints, Node, ReplicaKey};
use crate::voter_change::{VoterChange, VoterChangeKind, VoterChangeStage};
use crate::voter_set::{VoterNode, VoterSet};

/// Why voters are not changed.
type Refusal = (RaftError, Option<String>);

/// What may be so in a moment: whoever asks may ask again.
fn not_now(why: &str) -> Refusal {
    (RaftError::RequestTimedOut, Some(why.to_owned()))
}

impl RaftCore {
    pub(super) fn handle_add_raft_voter(&mut self, id: u64, request: AddRaftVoterRequest, now: Now) {
        if let Err(refusal) = self.begin_adding(id, request, now) {
            self.refuse_voter_change(VoterChangeKind::Add, id, refusal);
        }
    }

    pub(super) fn handle_remove_raft_voter(&mut self, id: u64, request: &RemoveRaftVoterRequest, now: Now) {
        if let Err(refusal) = self.begin_removing(id, request, now) {
            self.refuse_voter_change(VoterChangeKind::Remove, id, refusal);
        }
    }

    /// What a voter tells of itself; the answer does not wait for the commit.
    pub(super) fn handle_update_raft_voter(
        &mut self,
        request: UpdateRaftVoterRequest,
        now: Now,
    ) -> EpochResponse {
        let updated = self.update_voter(request, now);
        EpochResponse { error: updated.err().map(|(error, _)| error), leader: self.leader_info() }
    }

    /// What a replica that is to be added supports; none if it did not answer.
    pub(super) fn handle_api_versions_response(
        &mut self,
        correlation_id: u64,
        response: Option<ApiVersionsResponse>,
        now: Now,
    ) {
        let Role::Leader(leader) = &mut self.quorum.role else { return };
        let is_awaited = leader.voter_change.as_ref().is_some_and(|change| {
            matches!(change.stage, VoterChangeStage::AskingVersions { correlation_id: asked, .. } if asked == correlation_id)
        });
        if !is_awaited {
            return;
        }
        let Some(change) = leader.voter_change.take() else { return };
        self.append_new_voter(change, response, now);
    }

    /// Ends the change that is committed by now; a leader that is no voter any more makes room.
    pub(super) fn complete_voter_change(&mut self) {
        let is_voter = self.is_voter();
        let Role::Leader(leader) = &mut self.quorum.role else { return };
        let Some(committed) = leader.high_watermark else { return };
        let is_committed = leader.voter_change.as_ref().is_some_and(
            |change| matches!(change.stage, VoterChangeStage::Committing { offset } if offset < committed),
        );
        let latest = self.voters.latest_offset();
        if !is_voter && latest.is_some_and(|latest| latest < committed) {
            leader.resign_requested.get_or_insert("it is no voter any more");
        }
        if is_committed && let Some(change) = leader.voter_change.take() {
            self.end_voter_change(change, None);
        }
    }

    /// Gives up a change that takes too long. Its record, where there is one, may still be committed.
    pub(super) fn expire_voter_change(&mut self, now: Now) {
        let Role::Leader(leader) = &mut self.quorum.role else { return };
        let change = leader.voter_change.take_if(|change| change.deadline <= now.mono);
        if let Some(change) = change {
            self.end_voter_change(change, Some((RaftError::RequestTimedOut, None)));
        }
    }

    /// Answers whoever waits for a change, in the way that its request is answered.
    pub(super) fn end_voter_change(&mut self, change: VoterChange, refusal: Option<Refusal>) {
        let VoterChange { kind, voter, waiting, .. } = change;
        let (error, message) = refusal.map_or((None, None), |(error, message)| (Some(error), message));
        tracing::info!(
            node = self.local.id().value(),
            epoch = self.quorum.epoch.value(),
            change = ?kind,
            %voter,
            voters = %self.voters.latest(),
            error = error.map(tracing::field::debug),
            why = message,
            "change of a voter ended"
        );
        if let Some(id) = waiting {
            let response = kind.response(response(error, message));
            self.actions.push(Action::Reply { id, response });
        }
    }

    fn refuse_voter_change(&mut self, kind: VoterChangeKind, id: u64, (error, message): Refusal) {
        tracing::info!(
            node = self.local.id().value(),
            epoch = self.quorum.epoch.value(),
            change = ?kind,
            ?error,
            why = message,
            "change of a voter refused"
        );
        self.actions.push(Action::Reply { id, response: kind.response(response(Some(error), message)) });
    }

    fn begin_adding(&mut self, id: u64, request: AddRaftVoterRequest, now: Now) -> Result<(), Refusal> {
        let AddRaftVoterRequest { cluster_id, voter, listeners, ack_when_committed, .. } = request;
        self.check_voter_change(VoterChangeKind::Add, &cluster_id, &voter)?;
        let Some(address) = listeners.get(&self.config.controller_listener).cloned() else {
            let listener = &self.config.controller_listener;
            let why = words::without_endpoint(&listeners, listener);
            return Err((RaftError::InvalidRequest, Some(why)));
        };
        self.may_change_voters(VoterChangeKind::Add, now)?;
        let voters = self.voters.latest();
        if voters.get(voter.id).is_some() {
            return Err((RaftError::DuplicateVoter, Some(words::is_voter_already(&voter, voters))));
        }
        let node = Node { id: voter.id, address };
        if !self.connections.is_ready(node.id, now.mono) {
            return Err(not_now("the new voter can't be asked at the moment"));
        }
        let correlation_id = self.send(node, Request::ApiVersions, now);
        let deadline = now.mono.plus_ms(self.config.request_timeout_ms);
        if let Role::Leader(leader) = &mut self.quorum.role {
            leader.voter_change = Some(VoterChange {
                kind: VoterChangeKind::Add,
                voter,
                waiting: Some(id),
                deadline,
                stage: VoterChangeStage::AskingVersions { correlation_id, listeners, ack_when_committed },
            });
        }
        Ok(())
    }

    fn append_new_voter(&mut self, mut change: VoterChange, response: Option<ApiVersionsResponse>, now: Now) {
        let VoterChangeStage::AskingVersions { listeners, ack_when_committed, .. } = &change.stage else {
            return;
        };
        let (listeners, ack_when_committed) = (listeners.clone(), *ack_when_committed);
        let voters = match self.with_new_voter(change.voter, listeners, response, now) {
            Ok(voters) => voters,
            Err(refusal) => return self.end_voter_change(change, Some(refusal)),
        };
        let offset = self.append_other_voters(&voters, "adding a voter", now);
        change.stage = VoterChangeStage::Committing { offset };
        if !ack_when_committed && let Some(id) = change.waiting.take() {
            self.actions
                .push(Action::Reply { id, response: change.kind.response(self::response(None, None)) });
        }
        if let Role::Leader(leader) = &mut self.quorum.role {
            leader.voter_change = Some(change);
        }
    }

    fn with_new_voter(
        &self,
        key: ReplicaKey,
        listeners: Endpoints,
        response: Option<ApiVersionsResponse>,
        now: Now,
    ) -> Result<VoterSet, Refusal> {
        let supported = match response {
            None => return Err(not_now(&words::no_api_versions(RaftError::BrokerNotAvailable))),
            Some(ApiVersionsResponse { error: Some(error), .. }) => {
                return Err(not_now(&words::no_api_versions(error)));
            }
            Some(response) => response.kraft_version,
        };
        let kraft_version = self.voters.latest_kraft_version();
        let voter = VoterNode { key, listeners, supported_kraft_version: supported.unwrap_or((0, 0)) };
        if supported.is_none() || !voter.supports(kraft_version) {
            let (lowest, highest) = voter.supported_kraft_version;
            let why = format!("{key} supports kraft.version {lowest} to {highest}, and not {kraft_version}");
            return Err((RaftError::InvalidRequest, Some(why)));
        }
        let Role::Leader(leader) = &self.quorum.role else {
            return Err((RaftError::NotLeaderOrFollower, None));
        };
        if !leader.is_caught_up(&key, now.mono) {
            return Err(not_now(&words::is_lagging(&key)));
        }
        let duplicate = || (RaftError::DuplicateVoter, None);
        self.voters.latest().with_voter(voter).ok_or_else(duplicate)
    }

    fn begin_removing(&mut self, id: u64, request: &RemoveRaftVoterRequest, now: Now) -> Result<(), Refusal> {
        let voter = request.voter;
        self.check_voter_change(VoterChangeKind::Remove, &request.cluster_id, &voter)?;
        self.may_change_voters(VoterChangeKind::Remove, now)?;
        let voters = self.voters.latest();
        let Some(left) = voters.without_voter(&voter) else {
            // Kafka says so of the only voter as well.
            return Err((RaftError::VoterNotFound, Some(words::can_not_remove(&voter, voters))));
        };
        let offset = self.append_other_voters(&left, "removing a voter", now);
        let deadline = now.mono.plus_ms(self.config.request_timeout_ms);
        if let Role::Leader(leader) = &mut self.quorum.role {
            leader.voter_change = Some(VoterChange {
                kind: VoterChangeKind::Remove,
                voter,
                waiting: Some(id),
                deadline,
                stage: VoterChangeStage::Committing { offset },
            });
        }
        Ok(())
    }

    fn update_voter(&mut self, request: UpdateRaftVoterRequest, now: Now) -> Result<(), Refusal> {
        let UpdateRaftVoterRequest { cluster_id, current_leader_epoch, voter } = request;
        let invalid = || (RaftError::InvalidRequest, None);
        if !self.has_valid_cluster_id(&cluster_id) {
            return Err((RaftError::InconsistentClusterId, None));
        }
        if let Some(error) = self.validate_leader_request(current_leader_epoch) {
            return Err((error, None));
        }
        let (lowest, highest) = voter.supported_kraft_version;
        let is_valid = voter.key.id.value() >= 0
            && voter.key.directory_id.is_some()
            && voter.listeners.get(&self.config.controller_listener).is_some()
            && 0 <= lowest
            && lowest <= highest;
        if !is_valid {
            return Err(invalid());
        }
        let kraft_version = self.voters.latest_kraft_version();
        // It is answered without words.
        match self.may_change_voters(VoterChangeKind::Add, now) {
            // There is no record of them that could be uncommitted.
            Err((RaftError::UnsupportedVersion, _)) => {}
            may => may?,
        }
        if !voter.supports(kraft_version) {
            return Err(invalid());
        }
        let Role::Leader(leader) = &mut self.quorum.role else {
            return Err((RaftError::NotLeaderOrFollower, None));
        };
        let not_found = || (RaftError::VoterNotFound, None);
        if kraft_version == 0 {
            leader.told_voters = leader.told_voters.with_updated_node(voter).ok_or_else(not_found)?;
            return Ok(());
        }
        let key = voter.key;
        let voters = self.voters.latest();
        let is_news = voters.needs_update(&voter);
        let updated = voters.with_updated_voter(voter).ok_or_else(not_found)?;
        if is_news {
            let offset = self.append_voters(&updated, now);
            tracing::info!(
                node = self.local.id().value(),
                epoch = self.quorum.epoch.value(),
                offset = offset.value(),
                voter = %key,
                "updating a voter"
            );
        }
        Ok(())
    }

    /// What must be right of a request whenever it comes.
    fn check_voter_change(
        &self,
        kind: VoterChangeKind,
        cluster_id: &Option<String>,
        voter: &ReplicaKey,
    ) -> Result<(), Refusal> {
        if let Some(told) = cluster_id.as_ref().filter(|_| !self.has_valid_cluster_id(cluster_id)) {
            let why = words::other_cluster(told, &self.config.cluster_id);
            return Err((RaftError::InconsistentClusterId, Some(why)));
        }
        if let Some(error) = self.validate_leader_request(self.quorum.epoch) {
            return Err((error, None));
        }
        if voter.id.value() < 0 || voter.directory_id.is_none() {
            return Err((RaftError::InvalidRequest, Some(words::invalid_voter(kind).to_owned())));
        }
        Ok(())
    }

    /// Whether the leader may change the voters now. What it has not committed itself is not known to be the set that others
    /// go by (the fix to Raft's single-server changes).
    fn may_change_voters(&mut self, kind: VoterChangeKind, now: Now) -> Result<(), Refusal> {
        self.expire_voter_change(now);
        let kraft_version = self.voters.latest_kraft_version();
        let latest = self.voters.latest_offset();
        let Role::Leader(leader) = &self.quorum.role else {
            return Err((RaftError::NotLeaderOrFollower, None));
        };
        if leader.voter_change.is_some() {
            return Err(not_now("another change of the voters is under way"));
        }
        let Some(committed) = leader.high_watermark else {
            return Err(not_now("the leader has committed nothing in its epoch yet"));
        };
        if kraft_version < 1 {
            let why = words::kraft_version_is_too_low(kind, kraft_version);
            return Err((RaftError::UnsupportedVersion, Some(why)));
        }
        if latest.is_none_or(|latest| latest >= committed) {
            return Err(not_now("the last change of the voters is not committed yet"));
        }
        Ok(())
    }

    /// As [`RaftCore::append_voters`], with one voter more or less.
    fn append_other_voters(&mut self, voters: &VoterSet, what: &'static str, now: Now) -> Offset {
        let offset = self.append_voters(voters, now);
        tracing::info!(
            node = self.local.id().value(),
            epoch = self.quorum.epoch.value(),
            offset = offset.value(),
            from = %self.voters.latest(),
            to = %voters,
            "{what}"
        );
        offset
    }

    /// They count from the moment that they are in the leader's log, which is in this step.
    fn append_voters(&mut self, voters: &VoterSet, now: Now) -> Offset {
        match &mut self.quorum.role {
            Role::Leader(leader) => {
                leader.accumulator.append_control(vec![ControlRecord::Voters(voters.clone())], now)
            }
            _ => Offset::UNKNOWN,
        }
    }

    /// Why `kraft.version` can't be raised to `level` now.
    pub fn check_kraft_version(&self, level: i16) -> Result<(), &'static str> {
        let Role::Leader(leader) = &self.quorum.role else {
            return Err("This controller does not lead the quorum.");
        };
        let (lowest, highest) = self.local.supported_kraft_version;
        if level < self.voters.latest_kraft_version() {
            return Err("The version of the quorum can't be lowered.");
        }
        if !(lowest..=highest).contains(&level) {
            return Err("The leader of the quorum does not support it.");
        }
        if leader.high_watermark.is_none() || leader.resign_requested.is_some() {
            return Err("The leader of the quorum has committed nothing in its epoch yet.");
        }
        let told = &leader.told_voters;
        if told.ids() != self.voters.latest().ids() {
            return Err("The version of the quorum is being changed.");
        }
        if !told.supports(level) || told.iter().any(|voter| voter.key.directory_id.is_none()) {
            return Err("Not every voter has told the leader of its directory and that it supports this.");
        }
        Ok(())
    }

    /// Raises `kraft.version`: from then on the voters are in the log, as they have told of themselves. Returns the offset of
    /// the last record that says so.
    pub fn raise_kraft_version(
        &mut self,
        epoch: LeaderEpoch,
        level: i16,
        now: Now,
    ) -> Result<Offset, &'static str> {
        self.check_kraft_version(level)?;
        let Role::Leader(leader) = &mut self.quorum.role else {
            return Err("This controller does not lead the quorum.");
        };
        if leader.epoch != epoch {
            return Err("The leader of the quorum is another one.");
        }
        let voters = std::mem::take(&mut leader.told_voters);
        tracing::info!(
            node = self.local.id().value(),
            epoch = epoch.value(),
            from = self.voters.latest_kraft_version(),
            to = level,
            %voters,
            "raising kraft.version"
        );
        let records = vec![ControlRecord::KRaftVersion(level), ControlRecord::Voters(voters)];
        Ok(leader.accumulator.append_control(records, now))
    }

    pub(super) fn api_versions(&self) -> Response {
        let kraft_version = Some(self.local.supported_kraft_version);
        Response::ApiVersions(ApiVersionsResponse { error: None, kraft_version })
    }
}

fn response(error: Option<RaftError>, message: Option<String>) -> VoterChangeResponse {
    let described =
        |error: RaftError| ErrorCode::from_code(error.code()).map(|code| code.description().to_owned());
    let message = match error {
        // Kafka leaves this one without words.
        Some(RaftError::NotLeaderOrFollower | RaftError::BrokerNotAvailable) => message,
        Some(error) => message.or_else(|| described(error)),
        None => None,
    };
    VoterChangeResponse { error, message }
}
