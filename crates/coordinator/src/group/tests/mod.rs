//! The coordinator through its facade, over a log in memory.

mod adopted;
mod committing;
mod consumer;
mod expiry;
mod histories;
mod join;
mod leave;
mod listing;
mod offsets;
mod records;
mod share;
mod simulation;
mod static_members;
mod sync;
mod takeover;
mod transactions;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::{Changes, MetadataImage};
use ottla_types::{LeaderEpoch, MonoMs, Now, Offset, Timestamp, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_request::Protocol;
use ottla_wire::messages::sync_group_request::Assignment;
use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use parking_lot::Mutex;

use super::state::GroupState;
use super::*;
use crate::runtime::LoadProgress;
use crate::testing::{Inbox, Jobs, MemoryLog, MemoryLogs};

const GROUP: &str = "group";
const JOIN_VERSION: i16 = 9;
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 30_000;

struct Rig {
    config: GroupCoordinatorConfig,
    logs: Arc<MemoryLogs>,
    jobs: Jobs,
    coordinator: Arc<GroupCoordinator>,
    now_ms: Cell<u64>,
    last_id: Cell<u128>,
    image: RefCell<Arc<MetadataImage>>,
}

/// A response, once it has come.
struct Answer<R>(Arc<Mutex<Option<R>>>);

impl<R: Clone + Send + 'static> Answer<R> {
    fn of(call: impl FnOnce(Box<dyn FnOnce(R) + Send>)) -> Answer<R> {
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        call(Box::new(move |response| {
            assert!(filled.lock().replace(response).is_none(), "answered twice");
        }));
        Answer(slot)
    }

    fn get(&self) -> Option<R> {
        self.0.lock().clone()
    }

    #[track_caller]
    fn now(&self) -> R {
        self.get().expect("no answer yet")
    }

    #[track_caller]
    fn is_parked(&self) {
        assert!(self.0.lock().is_none(), "answered too early");
    }
}

fn config() -> GroupCoordinatorConfig {
    GroupCoordinatorConfig { group_initial_rebalance_delay_ms: 0, ..GroupCoordinatorConfig::default() }
}

impl Rig {
    /// A coordinator of an empty log, whose writes are committed at once.
    fn new() -> Rig {
        Rig::with_config(config())
    }

    fn with_config(config: GroupCoordinatorConfig) -> Rig {
        Rig::with_log(config, MemoryLog::default())
    }

    fn with_log(config: GroupCoordinatorConfig, log: MemoryLog) -> Rig {
        let rig = Rig::loading(config, log);
        rig.load();
        rig
    }

    fn loading(config: GroupCoordinatorConfig, log: MemoryLog) -> Rig {
        let logs = MemoryLogs::new();
        *logs.commit_at_once.lock() = true;
        logs.set_log(0, log);
        let jobs = Jobs::default();
        let coordinator = GroupCoordinator::new(config.clone(), logs.clone(), logs.clone());
        let coordinator = Arc::new(coordinator.within(jobs.outside()));
        let weak = Arc::downgrade(&coordinator);
        *logs.listener.lock() = Some(Arc::new(move |partition, offset| {
            if let Some(coordinator) = weak.upgrade() {
                coordinator.high_watermark_updated(partition, offset);
            }
        }));
        coordinator.start(1);
        coordinator.on_partition_leader(0, LeaderEpoch(0));
        Rig {
            config,
            logs,
            jobs,
            coordinator,
            now_ms: Cell::new(1_000_000),
            last_id: Cell::new(0),
            image: RefCell::default(),
        }
    }

    fn load(&self) {
        let mut load = self.coordinator.next_load().expect("something to load");
        while load.step(self.now()) == LoadProgress::More {}
    }

    fn publish(&self, image: Arc<MetadataImage>, changes: &Changes) {
        let previous = self.image.replace(Arc::clone(&image));
        self.coordinator.on_new_image(&previous, &image, changes, self.now());
    }

    /// Writes wait for [`Rig::commit`] from now on.
    fn hold_commits(&self) {
        *self.logs.commit_at_once.lock() = false;
    }

    fn commit(&self) {
        self.coordinator.high_watermark_updated(0, self.logs.commit(0));
    }

    fn fail_next_append(&self, code: ErrorCode) {
        self.logs.failures.lock().push_back(code);
    }

    fn now(&self) -> Now {
        let ms = self.now_ms.get();
        Now { wall: Timestamp(ms as i64), mono: MonoMs(ms) }
    }

    fn pass(&self, ms: i32) {
        self.now_ms.set(self.now_ms.get() + ms as u64);
        self.coordinator.tick(self.now());
    }

    fn context(&self, api_version: i16) -> RequestContext {
        self.last_id.set(self.last_id.get() + 1);
        RequestContext {
            api_version,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".into(),
            now: self.now(),
            fresh_id: Uuid(self.last_id.get().to_be_bytes()),
        }
    }

    fn send_join(&self, version: i16, request: JoinGroupRequest) -> Answer<JoinGroupResponse> {
        Answer::of(|reply| self.coordinator.join_group(self.context(version), request, reply))
    }

    fn send_sync(&self, request: SyncGroupRequest) -> Answer<SyncGroupResponse> {
        Answer::of(|reply| self.coordinator.sync_group(self.context(5), request, reply))
    }

    fn send_heartbeat(&self, request: HeartbeatRequest) -> Answer<HeartbeatResponse> {
        Answer::of(|reply| self.coordinator.heartbeat(self.context(4), request, reply))
    }

    /// Joins under this id, or under a new one that is asked for first.
    fn join(&self, member_id: &str) -> Answer<JoinGroupResponse> {
        self.join_with(JoinGroupRequest { member_id: member_id.to_owned(), ..join_request() })
    }

    fn join_with(&self, request: JoinGroupRequest) -> Answer<JoinGroupResponse> {
        let answer = self.send_join(JOIN_VERSION, request.clone());
        match answer.get() {
            Some(response) if response.error_code == ErrorCode::MemberIdRequired.code() => {
                self.send_join(JOIN_VERSION, JoinGroupRequest { member_id: response.member_id, ..request })
            }
            _ => answer,
        }
    }

    fn sync(&self, joined: &JoinGroupResponse) -> Answer<SyncGroupResponse> {
        self.send_sync(sync_request(joined))
    }

    /// Gives every member its own id as its assignment.
    fn sync_as_leader(&self, joined: &JoinGroupResponse) -> Answer<SyncGroupResponse> {
        let assignments = joined.members.iter().map(|member| Assignment {
            member_id: member.member_id.clone(),
            assignment: Bytes::from(member.member_id.clone()),
            ..Assignment::default()
        });
        self.send_sync(SyncGroupRequest { assignments: assignments.collect(), ..sync_request(joined) })
    }

    fn heartbeat(&self, joined: &JoinGroupResponse) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.to_owned(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            ..HeartbeatRequest::default()
        };
        error(self.send_heartbeat(request).now().error_code)
    }

    /// A stable group of `count` members, the leader first.
    fn stable_group(&self, count: usize) -> Vec<JoinGroupResponse> {
        let mut members: Vec<JoinGroupResponse> = Vec::new();
        for _ in 0..count {
            let mut answers: Vec<_> = members.iter().map(|member| self.join(&member.member_id)).collect();
            let newcomer = self.join("");
            // The others learn of the newcomer and join again.
            for (member, answer) in members.iter().zip(&mut answers) {
                if answer.get().is_none_or(|response| response.generation_id == member.generation_id) {
                    *answer = self.join(&member.member_id);
                }
            }
            answers.push(newcomer);
            self.pass(0);
            members = answers.iter().map(Answer::now).collect();
        }
        let leader = members.iter().position(|member| member.member_id == member.leader).unwrap();
        members.swap(0, leader);
        let synced = self.sync_as_leader(&members[0]);
        assert_eq!(synced.now().error_code, 0);
        for member in &members[1..] {
            assert_eq!(self.sync(member).now().assignment, member.member_id);
        }
        members
    }

    fn state(&self) -> String {
        let request = ottla_wire::messages::DescribeGroupsRequest {
            groups: vec![GROUP.to_owned()],
            ..Default::default()
        };
        let answer = Answer::of(|reply| self.coordinator.describe_groups(self.context(5), request, reply));
        answer.now().groups[0].group_state.clone()
    }

    /// A coordinator that takes over what was committed.
    fn taken_over(&self) -> Rig {
        self.taken_over_at(self.logs.log(0).high_watermark)
    }

    /// A coordinator that takes over with what lies in the log before `end`.
    fn taken_over_at(&self, end: Offset) -> Rig {
        self.taken_over_with(self.logs.log(0).truncated(end))
    }

    /// A coordinator that takes over and finds this log.
    fn taken_over_with(&self, log: MemoryLog) -> Rig {
        let rig = Rig::loading(self.config.clone(), log);
        rig.now_ms.set(self.now_ms.get());
        rig.last_id.set(self.last_id.get() + 1_000_000);
        rig.publish(Arc::clone(&self.image.borrow()), &Changes::default());
        rig.load();
        rig
    }

    /// What was written, and what of it is committed.
    fn states(&self) -> (GroupState, GroupState) {
        let (inbox, responder) = Inbox::new();
        self.coordinator.runtime.submit(0, self.now(), responder, |_, turn, responder| {
            let states = (turn.state.clone(), turn.committed.clone());
            turn.reply_at_once(responder, Ok(states));
        });
        inbox.get().expect("an answer").expect("a loaded shard")
    }
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

fn protocol(name: &str, metadata: &str) -> Protocol {
    let metadata = Bytes::from(metadata.to_owned());
    Protocol { name: name.to_owned(), metadata, ..Protocol::default() }
}

/// What a consumer says that subscribes to these topics.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 3];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

fn join_request() -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol {
            name: "range".to_owned(),
            metadata: subscription(&["topic"]),
            ..Protocol::default()
        }],
        ..JoinGroupRequest::default()
    }
}

fn sync_request(joined: &JoinGroupResponse) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        ..SyncGroupRequest::default()
    }
}
