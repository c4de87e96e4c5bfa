//! What a member makes of the coordinator's answers.

use ottla_types::MonoMs;
use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatResponse;

use super::super::membership::{Effect, GroupError};
use super::{JOINS, ModernMembership, Phase};

impl ModernMembership {
    /// The answer to a heartbeat that was sent with `epoch`; `None` when none came. The answer to one with which the
    /// member left is not to be given.
    pub fn beaten(&mut self, epoch: i32, answer: Option<ConsumerGroupHeartbeatResponse>, now: MonoMs) {
        self.heartbeat.in_flight = false;
        let saying = self.heartbeat.saying.take();
        if epoch != self.epoch || !matches!(self.phase, Phase::Joining | Phase::In) {
            // About a membership that is over.
            return;
        }
        let Some(answer) = answer else {
            // Whether it was heard isn't known: all is said again.
            self.heartbeat.said = None;
            return self.beat_later(now);
        };
        let code = ErrorCode::from_answer(answer.error_code);
        match code {
            ErrorCode::None => {
                self.heartbeat.said = saying;
                self.heard(answer, now);
            }
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                self.heartbeat.said = None;
                self.effects.push(Effect::ForgetCoordinator);
                self.beat_later(now);
            }
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::RequestTimedOut => {
                self.beat_later(now);
                self.reconcile(now);
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId if self.owned.is_empty() => {
                self.rejoin(now);
                self.beat(now);
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                self.forget();
                self.phase = Phase::OwnerBusy;
            }
            ErrorCode::FencedInstanceId => {
                let instance = self.settings.group_instance_id.clone();
                self.fail(GroupError::Fenced(instance.unwrap_or_default()));
            }
            code => self.fail(GroupError::Refused {
                what: "can't be a member of the group",
                code,
                message: answer.error_message,
            }),
        }
    }

    fn heard(&mut self, answer: ConsumerGroupHeartbeatResponse, now: MonoMs) {
        self.backoff.succeeded();
        self.heartbeat.interval_ms = answer.heartbeat_interval_ms;
        self.heartbeat.next = now.plus_ms(answer.heartbeat_interval_ms.into());
        if let Some(member_id) = answer.member_id.filter(|id| !id.is_empty()) {
            self.settings.member_id = member_id;
        }
        if answer.member_epoch > JOINS {
            self.epoch = answer.member_epoch;
            self.phase = Phase::In;
        }
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.into_iter();
            self.target = Some(
                topics.flat_map(|of| of.partitions.into_iter().map(move |p| (of.topic_id, p))).collect(),
            );
        }
        self.reconcile(now);
        let unsaid = self
            .heartbeat
            .said
            .as_ref()
            .is_some_and(|said| said.wanted != self.wanted || !said.owned.iter().eq(self.owned.keys()));
        if unsaid {
            self.heartbeat.next = now;
            self.beat(now);
        }
    }

    fn beat_later(&mut self, now: MonoMs) {
        self.heartbeat.next = self.backoff.after_failure(now);
    }
}
