//! What a member makes of the coordinator's answers.

use ottla_types::MonoMs;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{HeartbeatResponse, JoinGroupResponse, SyncGroupResponse};

use super::super::assignors::Assignment;
use super::super::membership::{Effect, GroupError};
use super::super::protocol::PROTOCOL_TYPE;
use super::{ClassicMembership, Phase};

/// What an error code asks of a member.
enum Remedy {
    /// The same again, later.
    Retry,
    /// The same again, elsewhere.
    FindCoordinator,
    /// The member is not in this generation any more.
    StartOver,
    Fail,
}

fn remedy(code: ErrorCode) -> Remedy {
    use ErrorCode as E;
    match code {
        E::CoordinatorLoadInProgress | E::RebalanceInProgress | E::RequestTimedOut => Remedy::Retry,
        E::CoordinatorNotAvailable | E::NotCoordinator => Remedy::FindCoordinator,
        E::UnknownMemberId | E::IllegalGeneration => Remedy::StartOver,
        _ => Remedy::Fail,
    }
}

impl ClassicMembership {
    /// The answer to JoinGroup; `None` when none came.
    pub fn joined(&mut self, answer: Option<JoinGroupResponse>, now: MonoMs) {
        if !matches!(self.phase, Phase::Joining) {
            return;
        }
        if answer.as_ref().is_none_or(|answer| answer.error_code != 0) {
            self.rebalances.fail_once();
        }
        let Some(answer) = answer else { return self.join_later(now) };
        match ErrorCode::from_answer(answer.error_code) {
            ErrorCode::None => self.enter_generation(answer, now),
            // The coordinator wants to know that the member exists before it counts it (KIP-394).
            ErrorCode::MemberIdRequired => {
                self.member_id = answer.member_id;
                self.join(now);
            }
            code => self.mend("can't join the group", code, now),
        }
    }

    /// The answer to SyncGroup; `None` when none came.
    pub fn synced(&mut self, answer: Option<SyncGroupResponse>, now: MonoMs) {
        if !matches!(self.phase, Phase::Syncing) {
            return;
        }
        if answer.as_ref().is_none_or(|answer| answer.error_code != 0) {
            self.rebalances.fail_once();
        }
        let Some(answer) = answer else { return self.join_later(now) };
        match ErrorCode::from_answer(answer.error_code) {
            ErrorCode::None => match Assignment::decode(&answer.assignment) {
                Ok(assignment) => self.assigned(assignment, answer.protocol_name.as_deref(), now),
                Err(error) => self.fail(GroupError::Unreadable(error.to_string())),
            },
            ErrorCode::RebalanceInProgress => self.join_at(now, now),
            code => self.mend("can't get the group's assignment", code, now),
        }
    }

    /// The answer to a heartbeat that was sent in `generation`; `None` when none came.
    pub fn beaten(&mut self, generation: i32, answer: Option<HeartbeatResponse>, now: MonoMs) {
        if generation != self.generation || !self.is_beating() {
            // About a generation that is over.
            return;
        }
        self.heartbeat.in_flight = false;
        let Some(answer) = answer else {
            self.heartbeat.next = now.plus_ms(self.settings.retry_backoff_ms as i64);
            return;
        };
        self.heartbeat.next = now.plus_ms(self.settings.heartbeat_interval_ms.into());
        match ErrorCode::from_answer(answer.error_code) {
            ErrorCode::None => self.session_lives(now),
            ErrorCode::RebalanceInProgress => {
                self.session_lives(now);
                if matches!(self.phase, Phase::Stable) {
                    self.rejoin_wanted = true;
                    self.advance(now);
                }
            }
            code @ (ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator) => {
                self.heartbeat.next = now.plus_ms(self.settings.retry_backoff_ms as i64);
                tracing::debug!(%code, "the group's coordinator moved");
                self.effects.push(Effect::ForgetCoordinator);
            }
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::RequestTimedOut => {
                self.heartbeat.next = now.plus_ms(self.settings.retry_backoff_ms as i64);
            }
            // A sync or a join that is on its way hears of it too, and says what follows.
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration
                if matches!(self.phase, Phase::Syncing) => {}
            code => self.mend("can't keep the membership alive", code, now),
        }
    }

    /// A commit said that the member is not in the generation that it committed in.
    pub fn commit_refused(&mut self, generation: i32, code: ErrorCode, now: MonoMs) {
        if generation != self.generation || !matches!(self.phase, Phase::Stable) {
            return;
        }
        match code {
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                self.mend("can't commit as a member of the group", code, now);
            }
            ErrorCode::RebalanceInProgress => {
                self.rejoin_wanted = true;
                self.advance(now);
            }
            _ => {}
        }
    }

    fn mend(&mut self, what: &'static str, code: ErrorCode, now: MonoMs) {
        match remedy(code) {
            Remedy::Retry => self.join_later(now),
            Remedy::FindCoordinator => {
                self.effects.push(Effect::ForgetCoordinator);
                self.join_later(now);
            }
            Remedy::StartOver => {
                let member_id = std::mem::take(&mut self.member_id);
                self.start_over_with_owner();
                if code == ErrorCode::IllegalGeneration {
                    // The group still counts this member.
                    self.member_id = member_id;
                }
                if self.owned.is_empty() {
                    self.join_at(now, now);
                }
            }
            Remedy::Fail if code == ErrorCode::FencedInstanceId => {
                self.fail(GroupError::Fenced(self.settings.group_instance_id.clone().unwrap_or_default()));
            }
            Remedy::Fail => self.fail(GroupError::Refused { what, code, message: None }),
        }
    }

    fn join_later(&mut self, now: MonoMs) {
        let at = self.backoff.after_failure(now);
        self.join_at(at, now);
    }

    fn join_at(&mut self, at: MonoMs, now: MonoMs) {
        self.phase = Phase::Unjoined(at);
        self.advance(now);
    }

    fn session_lives(&mut self, now: MonoMs) {
        self.heartbeat.session_deadline = now.plus_ms(self.settings.session_timeout_ms.into());
    }

    fn enter_generation(&mut self, answer: JoinGroupResponse, now: MonoMs) {
        if answer.protocol_type.as_deref().is_some_and(|of_group| of_group != PROTOCOL_TYPE) {
            return self.fail(GroupError::Refused {
                what: "the group is not one of consumers",
                code: ErrorCode::InconsistentGroupProtocol,
                message: None,
            });
        }
        self.backoff.succeeded();
        self.member_id.clone_from(&answer.member_id);
        self.generation = answer.generation_id;
        self.heartbeat.in_flight = false;
        self.heartbeat.next = now.plus_ms(self.settings.heartbeat_interval_ms.into());
        self.session_lives(now);
        if answer.leader == answer.member_id {
            self.lead(answer);
        } else {
            self.sync(answer.protocol_name, Vec::new());
        }
    }

    fn assigned(&mut self, assignment: Assignment, protocol: Option<&str>, now: MonoMs) {
        let protocol = protocol.map(str::to_owned).or_else(|| self.chosen.clone());
        let generation = self.generation;
        let chosen = protocol.as_deref().unwrap_or_default();
        let Some(assignor) = self.settings.assignors.iter_mut().find(|a| a.name() == chosen) else {
            return self.fail(GroupError::UnknownStrategy(chosen.to_owned()));
        };
        assignor.on_assignment(&assignment, generation);
        self.phase = Phase::Stable;
        self.rebalances.end(now);
        let assigned: std::collections::BTreeSet<_> = assignment.partitions.into_iter().collect();
        if assigned.iter().any(|partition| !self.topics.contains(&partition.topic)) {
            // The leader went by what this member had subscribed to before.
            self.rejoin_wanted = true;
        }
        let wanted =
            assigned.into_iter().filter(|partition| self.topics.contains(&partition.topic)).collect();
        self.reconcile(wanted, now);
    }
}
