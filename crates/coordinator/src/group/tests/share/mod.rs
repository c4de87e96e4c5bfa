//! Share groups through the coordinator's facade, with a share coordinator that answers as the test says.

mod assignor;
mod life;
mod offsets;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};

use super::consumer::topic_id;
use super::*;
use crate::group::share::{ShareGroup, ShareGroups, ShareStates};
use crate::share_state::{Outcome, SharePartitionKey, ShareStateError, StateSummary};
use crate::testing::Choices;

const LEAVE: i32 = -1;
/// Longer than `group.share.session.timeout.ms`.
const SHARE_SESSION_MS: i32 = 45_000;
/// As long as `group.share.assignment.interval.ms`.
const ASSIGNMENT_INTERVAL_MS: i32 = 1_000;

type Owned = BTreeMap<Uuid, BTreeSet<i32>>;

type Job = Box<dyn FnOnce() + Send>;

/// State epoch and start offset of each partition that is initialized.
type Known = BTreeMap<(Uuid, i32), (i32, i64)>;

/// A share coordinator in memory.
#[derive(Default)]
struct States {
    known: Arc<Mutex<Known>>,
    /// Calls that wait for [`States::release`], deletions with what they do; none: they are answered at once.
    held: Mutex<Option<Vec<Job>>>,
    /// What the next calls fail with.
    failures: Mutex<Vec<ErrorCode>>,
    ends: Mutex<BTreeMap<(Uuid, i32), i64>>,
}

impl States {
    fn hold(&self) {
        self.held.lock().get_or_insert_default();
    }

    fn release(&self) {
        let held = self.held.lock().take();
        held.into_iter().flatten().for_each(|job| job());
    }

    fn outcome<T>(&self, value: T) -> Outcome<T> {
        match self.failures.lock().pop() {
            Some(code) => Err(ShareStateError::of(code)),
            None => Ok(value),
        }
    }

    fn answer<T: Send + 'static>(
        &self,
        outcome: Outcome<T>,
        now: Now,
        done: Box<dyn FnOnce(Outcome<T>, Now) + Send>,
    ) {
        if let Some(held) = &mut *self.held.lock() {
            return held.push(Box::new(move || done(outcome, now)));
        }
        done(outcome, now);
    }
}

impl ShareStates for States {
    fn initialize(
        &self,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        now: Now,
        done: Box<dyn FnOnce(Outcome<()>, Now) + Send>,
    ) {
        let outcome = self.outcome(());
        if outcome.is_ok() {
            self.known.lock().insert((key.topic_id, key.partition), (state_epoch, start_offset));
        }
        self.answer(outcome, now, done);
    }

    fn delete(&self, key: SharePartitionKey, now: Now, done: Box<dyn FnOnce(Outcome<()>, Now) + Send>) {
        let (outcome, known) = (self.outcome(()), Arc::clone(&self.known));
        let delete: Box<dyn FnOnce(Outcome<()>, Now) + Send> = Box::new(move |outcome, now| {
            if outcome.is_ok() {
                known.lock().remove(&(key.topic_id, key.partition));
            }
            done(outcome, now);
        });
        self.answer(outcome, now, delete);
    }

    fn summarize(
        &self,
        key: SharePartitionKey,
        now: Now,
        done: Box<dyn FnOnce(Outcome<StateSummary>, Now) + Send>,
    ) {
        let known = self.known.lock().get(&(key.topic_id, key.partition)).copied();
        let summary = known.map_or(StateSummary::NONE, |(state_epoch, start_offset)| StateSummary {
            state_epoch,
            leader_epoch: 3,
            start_offset,
            delivery_complete_count: 2,
        });
        let outcome = self.outcome(summary);
        self.answer(outcome, now, done);
    }

    fn latest_offset(&self, topic_id: Uuid, partition: i32, done: Box<dyn FnOnce(Option<i64>) + Send>) {
        let end = self.ends.lock().get(&(topic_id, partition)).copied();
        done(end);
    }
}

struct ShareRig {
    rig: Rig,
    states: Arc<States>,
    api: ShareGroups,
}

impl ShareRig {
    fn new() -> ShareRig {
        ShareRig::with_config(config())
    }

    fn with_config(config: GroupCoordinatorConfig) -> ShareRig {
        ShareRig::of(Rig::with_config(config), Arc::default())
    }

    fn of(rig: Rig, states: Arc<States>) -> ShareRig {
        let api = ShareGroups {
            groups: Arc::clone(&rig.coordinator),
            states: Arc::clone(&states) as Arc<dyn ShareStates>,
        };
        ShareRig { rig, states, api }
    }

    /// A group coordinator that takes over; the share coordinator stays.
    fn taken_over(&self) -> ShareRig {
        ShareRig::of(self.rig.taken_over(), Arc::clone(&self.states))
    }

    /// Likewise, one that finds some of what was not committed.
    fn failed_over(&self, choices: &mut Choices) -> ShareRig {
        ShareRig::of(self.rig.failed_over(choices), Arc::clone(&self.states))
    }

    fn send_beat(&self, request: ShareGroupHeartbeatRequest) -> Answer<ShareGroupHeartbeatResponse> {
        Answer::of(|reply| self.api.heartbeat(self.rig.context(1), request, reply))
    }

    fn beat(&self, request: ShareGroupHeartbeatRequest) -> ShareGroupHeartbeatResponse {
        self.send_beat(request).now()
    }

    #[track_caller]
    fn refused(&self, request: ShareGroupHeartbeatRequest) -> ErrorCode {
        error(self.beat(request).error_code)
    }

    fn group(&self) -> ShareGroup {
        match self.rig.states().0.groups.get(GROUP) {
            Some(state::StoredGroup::Share(group)) => (**group).clone(),
            other => panic!("{other:?} is no share group"),
        }
    }

    fn delete_topic(&self, name: &str) {
        self.rig.delete_topic(name);
        self.rig.coordinator.on_topics_deleted(&[(name.to_owned(), topic_id(name))], self.rig.now());
    }

    fn known(&self) -> Known {
        self.states.known.lock().clone()
    }

    /// A member that has its partitions of this topic.
    #[track_caller]
    fn member_of(&self, member_id: &str, topic: &str) -> Member {
        let mut member = Member::new(member_id, &[topic]);
        for _ in 0..3 {
            member.beat(self);
            self.rig.pass(ASSIGNMENT_INTERVAL_MS);
        }
        member
    }
}

/// A client that does what it is told.
#[derive(Clone, Debug, Default)]
struct Member {
    member_id: String,
    topics: Vec<String>,
    epoch: i32,
    owned: Owned,
}

impl Member {
    fn new(member_id: &str, topics: &[&str]) -> Member {
        let topics = topics.iter().map(|name| (*name).to_owned()).collect();
        Member { member_id: member_id.to_owned(), topics, ..Member::default() }
    }

    fn request(&self) -> ShareGroupHeartbeatRequest {
        let is_joining = self.epoch == 0;
        ShareGroupHeartbeatRequest {
            subscribed_topic_names: is_joining.then(|| self.topics.clone()),
            ..beat_request(&self.member_id, self.epoch)
        }
    }

    fn take(&mut self, response: &ShareGroupHeartbeatResponse) -> ErrorCode {
        let code = error(response.error_code);
        match code {
            ErrorCode::None => {
                self.epoch = response.member_epoch;
                if let Some(assigned) = assigned(response) {
                    self.owned = assigned;
                }
            }
            _ => {
                self.owned.clear();
                self.epoch = 0;
            }
        }
        code
    }

    #[track_caller]
    fn beat(&mut self, rig: &ShareRig) {
        let response = rig.beat(self.request());
        let code = self.take(&response);
        assert_eq!(code, ErrorCode::None, "{:?}", response.error_message);
    }

    fn partitions(&self, topic: &str) -> Vec<i32> {
        self.owned.get(&topic_id(topic)).map(|owned| owned.iter().copied().collect()).unwrap_or_default()
    }
}

fn beat_request(member_id: &str, member_epoch: i32) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        ..ShareGroupHeartbeatRequest::default()
    }
}

fn assigned(response: &ShareGroupHeartbeatResponse) -> Option<Owned> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect())
}
