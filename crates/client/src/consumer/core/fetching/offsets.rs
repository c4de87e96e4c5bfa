//! Where reading starts: committed offsets, ends of the log, offsets by time, and whether a leader still has what was
//! read.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{LeaderEpoch, MonoMs, NodeId, Now, Offset, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets_request::{Partition as ListPartition, Topic as ListTopic};
use ottla_wire::messages::list_offsets_response::Partition as ListAnswer;
use ottla_wire::messages::offset_for_leader_epoch_request::{
    Partition as EpochPartition, Topic as EpochTopic,
};
use ottla_wire::messages::offset_for_leader_epoch_response::Partition as EpochAnswer;
use ottla_wire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::partition::{Partition, Phase};
use super::{FetchError, Fetcher, IsolationLevel, Leaders, OffsetReset};
use crate::consumer::core::record::Position;

const CONSUMER_REPLICA_ID: i32 = -1;
const LATEST_TIMESTAMP: i64 = -1;
const EARLIEST_TIMESTAMP: i64 = -2;

/// Asked of one node: partitions with the era in which the question makes sense.
pub type Question = BTreeMap<TopicPartition, u64>;

impl Fetcher {
    /// Partitions whose committed offsets are to be looked up now. An answer or [`Fetcher::question_failed`] is to
    /// follow.
    pub fn wants_committed(&mut self, now: MonoMs) -> Question {
        self.ask(now, |phase| phase == Phase::Committed)
    }

    /// What the group has committed; partitions without are missing.
    pub fn committed(&mut self, asked: &Question, committed: &BTreeMap<TopicPartition, Position>) {
        let reset = self.settings.auto_offset_reset;
        for name in asked.keys() {
            let Some(state) = self.asked(name, asked) else { continue };
            match (committed.get(name), reset) {
                (Some(position), _) => state.seek(*position),
                (None, OffsetReset::None) => {
                    state.phase = Phase::Stuck;
                    self.errors.push_back(FetchError::NoOffset(name.clone()));
                }
                (None, reset) => state.phase = Phase::Reset(reset),
            }
        }
    }

    /// No answer came, to any of these questions: they are asked again later.
    pub fn question_failed(&mut self, asked: &Question, now: MonoMs) {
        let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
        for name in asked.keys() {
            if let Some(state) = self.asked(name, asked) {
                state.retry_at = retry_at;
            }
        }
    }

    /// Which offsets are to be listed now, by leader.
    pub fn list_offsets(
        &mut self,
        leaders: &impl Leaders,
        now: Now,
    ) -> Vec<(NodeId, ListOffsetsRequest, Question)> {
        let asked = self.ask_leaders(leaders, now.mono, |phase| matches!(phase, Phase::Reset(_)));
        let requests = asked.into_iter().map(|(node, question)| {
            let mut request = ListOffsetsRequest {
                replica_id: CONSUMER_REPLICA_ID,
                isolation_level: i8::from(self.settings.isolation_level == IsolationLevel::ReadCommitted),
                ..ListOffsetsRequest::default()
            };
            for name in question.keys() {
                let Some(Phase::Reset(reset)) = self.partitions.get(name).map(|state| state.phase) else {
                    continue;
                };
                if request.topics.last().is_none_or(|last| *last.name != *name.topic) {
                    request.topics.push(ListTopic { name: name.topic.to_string(), ..ListTopic::default() });
                }
                if let Some(topic) = request.topics.last_mut() {
                    topic.partitions.push(ListPartition {
                        partition_index: name.partition,
                        current_leader_epoch: epoch_number(leaders, name),
                        timestamp: timestamp(reset, now),
                        ..ListPartition::default()
                    });
                }
            }
            (node, request, question)
        });
        requests.collect()
    }

    pub fn offsets_listed(&mut self, asked: &Question, answer: &ListOffsetsResponse, now: MonoMs) {
        let answers =
            answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.name, p)));
        let mut answers: BTreeMap<(&str, i32), &ListAnswer> =
            answers.map(|(topic, answer)| ((topic.as_str(), answer.partition_index), answer)).collect();
        for name in asked.keys() {
            let answer = answers.remove(&(&*name.topic, name.partition));
            let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
            let Some(state) = self.asked(name, asked) else { continue };
            let code = answer
                .map_or(ErrorCode::UnknownServerError, |answer| ErrorCode::from_answer(answer.error_code));
            match (code, answer) {
                (ErrorCode::None, Some(answer)) if answer.offset >= 0 => {
                    let epoch = Some(LeaderEpoch(answer.leader_epoch)).filter(|epoch| epoch.value() >= 0);
                    state.seek(Position { offset: Offset(answer.offset), leader_epoch: epoch });
                    // The leader itself has just named it.
                    state.phase = Phase::Fetch;
                }
                // Nothing was written in that time.
                (ErrorCode::None, _) => state.phase = Phase::Reset(OffsetReset::Latest),
                (
                    code @ (ErrorCode::TopicAuthorizationFailed | ErrorCode::UnsupportedForMessageFormat),
                    _,
                ) => {
                    state.phase = Phase::Stuck;
                    self.errors.push_back(FetchError::Refused { partition: name.clone(), code });
                }
                _ => {
                    state.retry_at = retry_at;
                    self.wants_metadata = true;
                }
            }
        }
    }

    /// Which positions are to be validated now, by leader.
    pub fn validations(
        &mut self,
        leaders: &impl Leaders,
        now: MonoMs,
    ) -> Vec<(NodeId, OffsetForLeaderEpochRequest, Question)> {
        let asked = self.ask_leaders(leaders, now, |phase| phase == Phase::Validate);
        let requests = asked.into_iter().map(|(node, question)| {
            let mut request = OffsetForLeaderEpochRequest {
                replica_id: CONSUMER_REPLICA_ID,
                ..OffsetForLeaderEpochRequest::default()
            };
            for name in question.keys() {
                let position = self.partitions.get(name).and_then(|state| state.position);
                let Some(read_in) = position.and_then(|position| position.leader_epoch) else { continue };
                if request.topics.last().is_none_or(|last| *last.topic != *name.topic) {
                    request
                        .topics
                        .push(EpochTopic { topic: name.topic.to_string(), ..EpochTopic::default() });
                }
                if let Some(topic) = request.topics.last_mut() {
                    topic.partitions.push(EpochPartition {
                        partition: name.partition,
                        current_leader_epoch: epoch_number(leaders, name),
                        leader_epoch: read_in.value(),
                        ..EpochPartition::default()
                    });
                }
            }
            (node, request, question)
        });
        requests.collect()
    }

    pub fn validated(&mut self, asked: &Question, answer: &OffsetForLeaderEpochResponse, now: MonoMs) {
        let answers =
            answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.topic, p)));
        let mut answers: BTreeMap<(&str, i32), &EpochAnswer> =
            answers.map(|(topic, answer)| ((topic.as_str(), answer.partition), answer)).collect();
        for name in asked.keys() {
            let answer = answers.remove(&(&*name.topic, name.partition));
            let retry_at = now.plus_ms(self.settings.retry_backoff_ms as i64);
            let Some(state) = self.asked(name, asked) else { continue };
            let code = answer
                .map_or(ErrorCode::UnknownServerError, |answer| ErrorCode::from_answer(answer.error_code));
            match (code, answer) {
                (ErrorCode::None, Some(answer)) => self.compare(name, answer),
                (ErrorCode::TopicAuthorizationFailed, _) => {
                    state.phase = Phase::Stuck;
                    self.errors.push_back(FetchError::Refused { partition: name.clone(), code });
                }
                _ => {
                    state.retry_at = retry_at;
                    self.wants_metadata = true;
                }
            }
        }
    }

    /// Does the leader's log reach as far as the position, in the epoch in which that was read?
    fn compare(&mut self, name: &TopicPartition, answer: &EpochAnswer) {
        let reset = self.settings.auto_offset_reset;
        let Some(state) = self.partitions.get_mut(name) else { return };
        let Some(position) = state.position else { return };
        let known_end =
            (answer.end_offset >= 0 && answer.leader_epoch >= 0).then_some(Offset(answer.end_offset));
        match known_end {
            Some(end) if end >= position.offset => {
                state.phase = Phase::Fetch;
            }
            diverges_at if reset == OffsetReset::None => {
                state.phase = Phase::Stuck;
                self.errors.push_back(FetchError::LogTruncated {
                    partition: name.clone(),
                    position: position.offset,
                    diverges_at,
                });
            }
            Some(end) => {
                let epoch = Some(LeaderEpoch(answer.leader_epoch));
                tracing::info!(partition = %name, position = %position.offset, %end, "the log was truncated: reading goes on at its end");
                self.seek(name, Position { offset: end, leader_epoch: epoch });
            }
            None => {
                self.seek_to(name, reset);
            }
        }
    }

    /// The state of a partition that was asked for, if the answer is still about it.
    fn asked(&mut self, name: &TopicPartition, asked: &Question) -> Option<&mut Partition> {
        let state = self.partitions.get_mut(name)?;
        let is_current = asked.get(name) == Some(&state.era) && state.asking;
        is_current.then(|| {
            state.asking = false;
            state
        })
    }

    fn ask(&mut self, now: MonoMs, wanted: impl Fn(Phase) -> bool) -> Question {
        let mut question = Question::new();
        for (name, state) in &mut self.partitions {
            if wanted(state.phase) && !state.asking && !state.held && now >= state.retry_at {
                state.asking = true;
                question.insert(name.clone(), state.era);
            }
        }
        question
    }

    fn ask_leaders(
        &mut self,
        leaders: &impl Leaders,
        now: MonoMs,
        wanted: impl Fn(Phase) -> bool,
    ) -> BTreeMap<NodeId, Question> {
        let mut by_node: BTreeMap<NodeId, Question> = BTreeMap::new();
        for (name, era) in self.ask(now, wanted) {
            let leader = leaders.leader(&name);
            let Some(state) = self.partitions.get_mut(&name) else { continue };
            match leader {
                Some((node, epoch)) => {
                    state.valid_in = Some(epoch);
                    by_node.entry(node).or_default().insert(name, era);
                }
                None => {
                    state.asking = false;
                    self.wants_metadata = true;
                }
            }
        }
        by_node
    }
}

/// Partitions of a question, by topic: what a request for committed offsets needs.
pub fn by_topic(question: &Question) -> BTreeMap<&str, BTreeSet<i32>> {
    let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for name in question.keys() {
        topics.entry(&name.topic).or_default().insert(name.partition);
    }
    topics
}

fn epoch_number(leaders: &impl Leaders, name: &TopicPartition) -> i32 {
    leaders.leader(name).map_or(LeaderEpoch::NONE, |(_, epoch)| epoch).value()
}

fn timestamp(reset: OffsetReset, now: Now) -> i64 {
    match reset {
        OffsetReset::Earliest => EARLIEST_TIMESTAMP,
        OffsetReset::Latest | OffsetReset::None => LATEST_TIMESTAMP,
        OffsetReset::ByDuration(ms) => now.wall.value().saturating_sub(ms).max(0),
    }
}
