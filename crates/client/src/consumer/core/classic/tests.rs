//! Members of a group against a coordinator that does the least that one has to do, with answers that come late or
//! never; and single steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{MonoMs, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_response::Member as JoinMember;
use ottla_wire::messages::{
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use proptest::prelude::*;

use super::super::assignors::{Assignment, RebalanceProtocol, TopicRacks, by_name};
use super::super::membership::{Effect, GroupError, GroupRequest, OnClose, Rebalanced};
use super::{ClassicMembership, ClassicSettings, Phase};

impl ClassicMembership {
    /// What belongs to this member.
    fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    /// In a generation, with an assignment, and nothing known that would change it.
    fn is_stable(&self) -> bool {
        matches!(self.phase, Phase::Stable) && !self.rejoin_wanted && self.awaited.is_none()
    }
}

fn settings(assignors: &[&str]) -> ClassicSettings {
    ClassicSettings {
        group_id: "group".to_owned(),
        group_instance_id: None,
        rack_id: None,
        session_timeout_ms: 45_000,
        heartbeat_interval_ms: 3_000,
        max_poll_interval_ms: 300_000,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
        assignors: assignors.iter().map(|name| by_name(name).unwrap()).collect(),
    }
}

fn topics() -> TopicRacks {
    BTreeMap::from([("a".into(), vec![Vec::new(); 4]), ("b".into(), vec![Vec::new(); 3])])
}

#[derive(Default)]
struct Coordinator {
    generation: i32,
    ids: i32,
    members: BTreeMap<String, Registered>,
    leader: String,
    protocol: String,
    is_rebalancing: bool,
    is_syncing: bool,
}

#[derive(Default)]
struct Registered {
    owner: usize,
    joins: Option<JoinGroupRequest>,
    metadata: Vec<(String, Bytes)>,
    syncs: bool,
    assignment: Bytes,
}

enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(i32, HeartbeatResponse),
}

impl Coordinator {
    fn handle(&mut self, from: usize, request: GroupRequest, answers: &mut [VecDeque<Answer>]) {
        match request {
            GroupRequest::Join(request) => self.join(from, request, answers),
            GroupRequest::Sync(request) => self.sync(from, request, answers),
            GroupRequest::Heartbeat(request) => {
                let code = match self.members.get(&request.member_id) {
                    None => ErrorCode::UnknownMemberId,
                    Some(_) if request.generation_id != self.generation => ErrorCode::IllegalGeneration,
                    Some(_) if self.is_rebalancing => ErrorCode::RebalanceInProgress,
                    Some(_) => ErrorCode::None,
                };
                let answer = HeartbeatResponse { error_code: code.code(), ..HeartbeatResponse::default() };
                answers[from].push_back(Answer::Heartbeat(request.generation_id, answer));
            }
            GroupRequest::Leave(request) => {
                for member in request.members {
                    self.remove(&member.member_id, answers);
                }
            }
            GroupRequest::ConsumerHeartbeat(_) => unreachable!("that is the other protocol"),
        }
    }

    fn join(&mut self, from: usize, request: JoinGroupRequest, answers: &mut [VecDeque<Answer>]) {
        let refused = |code: ErrorCode, member_id: String| {
            Answer::Join(JoinGroupResponse {
                error_code: code.code(),
                member_id,
                ..JoinGroupResponse::default()
            })
        };
        if request.member_id.is_empty() {
            self.ids += 1;
            let id = format!("member-{}", self.ids);
            self.members.insert(id.clone(), Registered { owner: from, ..Registered::default() });
            return answers[from].push_back(refused(ErrorCode::MemberIdRequired, id));
        }
        let Some(member) = self.members.get_mut(&request.member_id) else {
            return answers[from].push_back(refused(ErrorCode::UnknownMemberId, String::new()));
        };
        member.metadata = request.protocols.iter().map(|p| (p.name.clone(), p.metadata.clone())).collect();
        member.joins = Some(request);
        self.start_rebalance(answers);
        self.complete_join(answers);
    }

    fn start_rebalance(&mut self, answers: &mut [VecDeque<Answer>]) {
        self.is_rebalancing = true;
        self.is_syncing = false;
        for member in self.members.values_mut() {
            if !std::mem::take(&mut member.syncs) {
                continue;
            }
            let code = ErrorCode::RebalanceInProgress.code();
            answers[member.owner]
                .push_back(Answer::Sync(SyncGroupResponse { error_code: code, ..Default::default() }));
        }
    }

    /// Once all have joined; those that only asked for an id aren't waited for.
    fn complete_join(&mut self, answers: &mut [VecDeque<Answer>]) {
        let waits = self.members.values().any(|member| member.joins.is_none() && !member.metadata.is_empty());
        if waits || self.members.values().all(|member| member.joins.is_none()) {
            return;
        }
        self.members.retain(|_, member| member.joins.is_some());
        self.generation += 1;
        self.is_rebalancing = false;
        self.is_syncing = true;
        self.leader = self.members.keys().next().unwrap().clone();
        self.protocol = self.members[&self.leader].metadata[0].0.clone();
        let all = self.members.iter().map(|(id, member)| JoinMember {
            member_id: id.clone(),
            metadata: member.metadata.iter().find(|(name, _)| *name == self.protocol).unwrap().1.clone(),
            ..JoinMember::default()
        });
        let all: Vec<JoinMember> = all.collect();
        for (id, member) in &mut self.members {
            member.joins = None;
            answers[member.owner].push_back(Answer::Join(JoinGroupResponse {
                generation_id: self.generation,
                protocol_name: Some(self.protocol.clone()),
                leader: self.leader.clone(),
                member_id: id.clone(),
                members: if *id == self.leader { all.clone() } else { Vec::new() },
                ..JoinGroupResponse::default()
            }));
        }
    }

    fn sync(&mut self, from: usize, request: SyncGroupRequest, answers: &mut [VecDeque<Answer>]) {
        let code = match self.members.get(&request.member_id) {
            None => ErrorCode::UnknownMemberId,
            Some(_) if request.generation_id != self.generation => ErrorCode::IllegalGeneration,
            Some(_) if self.is_rebalancing => ErrorCode::RebalanceInProgress,
            Some(_) => ErrorCode::None,
        };
        if code != ErrorCode::None {
            let answer = SyncGroupResponse { error_code: code.code(), ..SyncGroupResponse::default() };
            return answers[from].push_back(Answer::Sync(answer));
        }
        self.members.get_mut(&request.member_id).unwrap().syncs = true;
        if request.member_id == self.leader && self.is_syncing {
            self.is_syncing = false;
            for assigned in request.assignments {
                self.members.get_mut(&assigned.member_id).unwrap().assignment = assigned.assignment;
            }
        }
        if !self.is_syncing {
            for member in self.members.values_mut() {
                if !std::mem::take(&mut member.syncs) {
                    continue;
                }
                answers[member.owner].push_back(Answer::Sync(SyncGroupResponse {
                    assignment: member.assignment.clone(),
                    ..SyncGroupResponse::default()
                }));
            }
        }
    }

    /// The member left, or its session ended, or it didn't join in time.
    fn remove(&mut self, member_id: &str, answers: &mut [VecDeque<Answer>]) {
        if let Some(member) = self.members.remove(member_id) {
            let code = ErrorCode::UnknownMemberId.code();
            if member.joins.is_some() {
                let answer = JoinGroupResponse { error_code: code, ..Default::default() };
                answers[member.owner].push_back(Answer::Join(answer));
            }
            if member.syncs {
                let answer = SyncGroupResponse { error_code: code, ..Default::default() };
                answers[member.owner].push_back(Answer::Sync(answer));
            }
            self.start_rebalance(answers);
            self.complete_join(answers);
        }
    }
}

struct World {
    now: MonoMs,
    coordinator: Coordinator,
    members: Vec<ClassicMembership>,
    requests: Vec<VecDeque<GroupRequest>>,
    answers: Vec<VecDeque<Answer>>,
    revoking: Vec<Option<Vec<TopicPartition>>>,
    /// What each member's owner reads.
    reading: Vec<BTreeSet<TopicPartition>>,
    /// Nobody was thrown out behind its back, so nobody may read what another one reads.
    is_exclusive: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver(usize),
    Answer(usize),
    Revoked(usize),
    /// Both directions lose what is first in their queue.
    Lose(usize),
    Pass(u16),
    Evict(usize),
    Subscribe(usize, bool),
    Leave(usize),
}

impl World {
    fn new(count: usize, assignors: &[&str]) -> World {
        let mut world = World {
            now: MonoMs(1),
            coordinator: Coordinator::default(),
            members: (0..count).map(|_| ClassicMembership::new(settings(assignors))).collect(),
            requests: (0..count).map(|_| VecDeque::new()).collect(),
            answers: (0..count).map(|_| VecDeque::new()).collect(),
            revoking: vec![None; count],
            reading: vec![BTreeSet::new(); count],
            is_exclusive: true,
        };
        for member in 0..count {
            world.step(Step::Subscribe(member, true));
        }
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver(at) => {
                if let Some(request) = self.requests[at].pop_front() {
                    self.coordinator.handle(at, request, &mut self.answers);
                }
            }
            Step::Answer(at) => match self.answers[at].pop_front() {
                Some(Answer::Join(answer)) => self.members[at].joined(Some(answer), self.now),
                Some(Answer::Sync(answer)) => self.members[at].synced(Some(answer), self.now),
                Some(Answer::Heartbeat(generation, answer)) => {
                    self.members[at].beaten(generation, Some(answer), self.now);
                }
                None => {}
            },
            Step::Revoked(at) => {
                if let Some(given_up) = self.revoking[at].take() {
                    self.reading[at].retain(|partition| !given_up.contains(partition));
                    self.members[at].revoked(self.now);
                }
            }
            Step::Lose(at) => {
                if matches!(self.requests[at].front(), Some(GroupRequest::Leave(_)) | None) {
                    return;
                }
                let lost = self.requests[at].pop_front().unwrap();
                match lost {
                    GroupRequest::Join(_) => self.members[at].joined(None, self.now),
                    GroupRequest::Sync(_) => self.members[at].synced(None, self.now),
                    GroupRequest::Heartbeat(request) => {
                        self.members[at].beaten(request.generation_id, None, self.now)
                    }
                    _ => {}
                }
            }
            Step::Pass(ms) => {
                self.now = self.now.plus_ms(ms.into());
                for member in &mut self.members {
                    member.polled(self.now);
                    member.tick(self.now);
                }
            }
            Step::Evict(at) => {
                self.is_exclusive = false;
                let of = |member: &Registered| member.owner == at;
                let id =
                    self.coordinator.members.iter().find(|(_, member)| of(member)).map(|(id, _)| id.clone());
                if let Some(id) = id {
                    self.coordinator.remove(&id, &mut self.answers);
                }
            }
            Step::Subscribe(at, both) => {
                let topics: &[&str] = if both { &["a", "b"] } else { &["a"] };
                self.members[at].subscribe(topics.iter().map(|topic| Arc::from(*topic)), self.now);
            }
            // An owner that closes while a join is on its way doesn't use this member again.
            Step::Leave(at) if !matches!(self.members[at].phase, Phase::Joining | Phase::Syncing) => {
                self.members[at].close(OnClose::AsConfigured, "test");
                self.reading[at].clear();
                self.revoking[at] = None;
            }
            Step::Leave(_) => {}
        }
        for at in 0..self.members.len() {
            self.work(at);
        }
    }

    fn work(&mut self, at: usize) {
        loop {
            let effects = self.members[at].take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Send(request) => self.requests[at].push_back(request),
                    Effect::Revoke(partitions) => self.revoking[at] = Some(partitions),
                    Effect::Lost(partitions) => {
                        self.revoking[at] = None;
                        self.reading[at].retain(|partition| !partitions.contains(partition));
                    }
                    Effect::Assigned(partitions) => self.begin(at, partitions),
                    Effect::NeedTopics(_) => self.members[at].assign(topics()),
                    Effect::ForgetCoordinator | Effect::NeedNames => {}
                    Effect::Failed(error) => panic!("{error}"),
                }
            }
        }
        let phase = &self.members[at].phase;
        let in_flight =
            |request: &&GroupRequest| matches!(request, GroupRequest::Join(_) | GroupRequest::Sync(_));
        let sent = self.requests[at].iter().filter(in_flight).count();
        assert!(sent <= 1, "{sent} joins and syncs at once in {phase:?}");
    }

    fn begin(&mut self, at: usize, partitions: Vec<TopicPartition>) {
        for partition in partitions {
            if self.is_exclusive {
                let other = self.reading.iter().position(|reading| reading.contains(&partition));
                assert_eq!(other, None, "member {at} gets {partition}");
            }
            assert!(self.reading[at].insert(partition));
        }
        assert_eq!(&self.reading[at], self.members[at].owned());
    }

    /// Lets everything that is on its way arrive, and time pass, until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..400 {
            for at in 0..self.members.len() {
                for step in [Step::Deliver(at), Step::Answer(at), Step::Revoked(at)] {
                    self.step(step);
                }
            }
            self.step(Step::Pass(1_000));
        }
    }
}

fn steps(members: usize) -> impl Strategy<Value = Vec<Step>> {
    let at = 0..members;
    let step = prop_oneof![
        8 => at.clone().prop_map(Step::Deliver),
        8 => at.clone().prop_map(Step::Answer),
        4 => at.clone().prop_map(Step::Revoked),
        2 => at.clone().prop_map(Step::Lose),
        3 => (0u16..4_000).prop_map(Step::Pass),
        1 => at.clone().prop_map(Step::Evict),
        1 => (at.clone(), any::<bool>()).prop_map(|(at, both)| Step::Subscribe(at, both)),
        1 => at.prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 0..150)
}

fn check(assignors: &[&str], steps: &[Step], evicts: bool) {
    const MEMBERS: usize = 3;
    let mut world = World::new(MEMBERS, assignors);
    for step in steps {
        let fair = !matches!(step, Step::Evict(_) | Step::Lose(_));
        if evicts || fair {
            world.step(*step);
        }
    }
    for member in 0..MEMBERS {
        world.step(Step::Subscribe(member, true));
    }
    world.settle();
    let all: BTreeSet<TopicPartition> = topics()
        .iter()
        .flat_map(|(t, of)| (0..of.len()).map(|p| TopicPartition::new(t.clone(), p as i32)))
        .collect();
    let owned: Vec<&TopicPartition> = world.members.iter().flat_map(ClassicMembership::owned).collect();
    assert_eq!(owned.len(), all.len(), "each partition once: {owned:?}");
    assert_eq!(owned.into_iter().cloned().collect::<BTreeSet<_>>(), all);
    for (member, reading) in world.members.iter().zip(&world.reading) {
        assert!(member.is_stable(), "{:?}", member.phase);
        assert_eq!(member.owned(), reading);
    }
}

proptest! {
    #![proptest_config(ottla_testkit::cases(60))]

    #[test]
    fn eager_group_settles_and_reads_nothing_twice(steps in steps(3)) {
        check(&["range", "cooperative-sticky"], &steps, false);
        check(&["range"], &steps, true);
    }

    #[test]
    fn cooperative_group_settles_and_reads_nothing_twice(steps in steps(3)) {
        check(&["cooperative-sticky"], &steps, false);
        check(&["cooperative-sticky"], &steps, true);
    }
}

/// A member alone in its group, with topic `a`.
fn stable(settings: ClassicSettings) -> ClassicMembership {
    let mut member = ClassicMembership::new(settings);
    member.subscribe(["a".into()], MonoMs(0));
    joins(&mut member);
    answer_join(&mut member, ErrorCode::None);
    let partitions = vec![TopicPartition::new("a", 0)];
    let assignment = Assignment { partitions, user_data: None }.encode().unwrap();
    member.synced(Some(SyncGroupResponse { assignment, ..SyncGroupResponse::default() }), MonoMs(0));
    assert_eq!(member.take_effects().last(), Some(&Effect::Assigned(vec![TopicPartition::new("a", 0)])));
    member
}

#[track_caller]
fn joins(member: &mut ClassicMembership) -> JoinGroupRequest {
    match member.take_effects().pop() {
        Some(Effect::Send(GroupRequest::Join(request))) => request,
        other => panic!("{other:?}"),
    }
}

fn answer_join(member: &mut ClassicMembership, code: ErrorCode) {
    let answer = JoinGroupResponse {
        error_code: code.code(),
        generation_id: 5,
        protocol_name: Some(member.settings.assignors[0].name().to_owned()),
        leader: "other".to_owned(),
        member_id: "me".to_owned(),
        ..JoinGroupResponse::default()
    };
    member.joined(Some(answer), MonoMs(0));
}

fn beat(member: &mut ClassicMembership, code: ErrorCode) {
    member.tick(MonoMs(3_000));
    assert!(matches!(member.take_effects()[..], [Effect::Send(GroupRequest::Heartbeat(_))]));
    let answer = HeartbeatResponse { error_code: code.code(), ..HeartbeatResponse::default() };
    member.beaten(5, Some(answer), MonoMs(3_000));
}

#[test]
fn what_heartbeats_say_is_done() {
    let lost = || Some(Effect::Lost(vec![TopicPartition::new("a", 0)]));
    let refused = |code| {
        Effect::Failed(GroupError::Refused { what: "can't keep the membership alive", code, message: None })
    };
    for (code, at_once, once_the_owner_asks) in [
        (ErrorCode::RebalanceInProgress, Some(Effect::Revoke(vec![TopicPartition::new("a", 0)])), None),
        (ErrorCode::UnknownMemberId, None, lost()),
        (ErrorCode::IllegalGeneration, None, lost()),
        (ErrorCode::NotCoordinator, Some(Effect::ForgetCoordinator), None),
        (ErrorCode::CoordinatorLoadInProgress, None, None),
        (ErrorCode::None, None, None),
        (ErrorCode::FencedInstanceId, Some(Effect::Failed(GroupError::Fenced(String::new()))), lost()),
        (ErrorCode::GroupAuthorizationFailed, Some(refused(ErrorCode::GroupAuthorizationFailed)), lost()),
    ] {
        let mut member = stable(settings(&["range"]));
        beat(&mut member, code);
        assert_eq!(member.take_effects(), Vec::from_iter(at_once), "{code}");
        member.polled(MonoMs(3_000));
        assert_eq!(member.take_effects().first(), once_the_owner_asks.as_ref(), "{code}");
    }
}

#[test]
fn who_lost_its_generation_is_in_no_other_until_its_owner_asks() {
    for (code, is_counted) in [(ErrorCode::UnknownMemberId, false), (ErrorCode::IllegalGeneration, true)] {
        let mut member = stable(settings(&["range"]));
        assert!(member.identity().is_some());
        beat(&mut member, code);
        for later_ms in [3_000, 10_000, 200_000] {
            member.tick(MonoMs(later_ms));
            assert_eq!((member.take_effects(), member.identity()), (Vec::new(), None), "{code}");
        }
        member.polled(MonoMs(200_000));
        assert_eq!(member.take_effects()[0], Effect::Lost(vec![TopicPartition::new("a", 0)]));
        member.close(OnClose::AsConfigured, "closed");
        assert_eq!(member.take_effects().len(), usize::from(is_counted), "{code}: leaves if it is counted");
    }
}

#[test]
fn what_answers_to_joining_say_is_done() {
    for (code, is_fatal) in [
        (ErrorCode::CoordinatorLoadInProgress, false),
        (ErrorCode::NotCoordinator, false),
        (ErrorCode::RebalanceInProgress, false),
        (ErrorCode::UnknownMemberId, false),
        (ErrorCode::MemberIdRequired, false),
        (ErrorCode::InconsistentGroupProtocol, true),
        (ErrorCode::GroupMaxSizeReached, true),
        (ErrorCode::InvalidSessionTimeout, true),
        (ErrorCode::FencedInstanceId, true),
    ] {
        let mut member = ClassicMembership::new(settings(&["range"]));
        member.subscribe(["a".into()], MonoMs(0));
        assert_eq!(joins(&mut member).member_id, "");
        answer_join(&mut member, code);
        member.tick(MonoMs(1_000));
        let effects = member.take_effects();
        let failed = effects.iter().any(|effect| matches!(effect, Effect::Failed(_)));
        assert_eq!(failed, is_fatal, "{code}");
        if !is_fatal {
            let again = effects.iter().filter(|effect| matches!(effect, Effect::Send(GroupRequest::Join(_))));
            assert_eq!(again.count(), 1, "{code}");
        }
    }
}

#[test]
fn rebalances_last_from_the_first_try_to_the_assignment() {
    let mut member = ClassicMembership::new(settings(&["range"]));
    member.subscribe(["a".into()], MonoMs(100));
    member.joined(None, MonoMs(150));
    member.tick(MonoMs(1_000));
    answer_join(&mut member, ErrorCode::None);
    assert_eq!(member.take_rebalances(), Rebalanced { took_ms: Vec::new(), failed: 1 });
    let assignment = Assignment { partitions: Vec::new(), user_data: None }.encode().unwrap();
    member.synced(Some(SyncGroupResponse { assignment, ..SyncGroupResponse::default() }), MonoMs(1_400));
    assert_eq!(member.take_rebalances(), Rebalanced { took_ms: vec![1_300], failed: 0 });
    assert_eq!(member.take_rebalances(), Rebalanced::default());
}

#[test]
fn slow_owner_leaves_and_comes_back() {
    let mut member = stable(settings(&["range"]));
    member.tick(MonoMs(300_000));
    assert!(matches!(member.take_effects()[..], [Effect::Send(GroupRequest::Leave(_))]));
    assert_eq!(member.identity(), None);
    member.polled(MonoMs(400_000));
    let effects = member.take_effects();
    assert_eq!(effects[0], Effect::Lost(vec![TopicPartition::new("a", 0)]));
    assert!(matches!(effects[1], Effect::Send(GroupRequest::Join(_))));
}

#[test]
fn static_member_stays_when_it_closes() {
    let with = |on_close| {
        let mut member =
            stable(ClassicSettings { group_instance_id: Some("i".to_owned()), ..settings(&["range"]) });
        member.close(on_close, "closed");
        member.take_effects().len()
    };
    assert_eq!(with(OnClose::AsConfigured), 0);
    assert_eq!(with(OnClose::Stay), 0);
    assert_eq!(with(OnClose::Leave), 1);
    let mut member = stable(settings(&["range"]));
    member.close(OnClose::AsConfigured, "closed");
    assert!(matches!(member.take_effects()[..], [Effect::Send(GroupRequest::Leave(_))]));
}

#[test]
fn protocol_is_what_all_strategies_can() {
    let protocol = |names: &[&str]| ClassicMembership::new(settings(names)).protocol;
    assert_eq!(protocol(&["range", "cooperative-sticky"]), RebalanceProtocol::Eager);
    assert_eq!(protocol(&["cooperative-sticky"]), RebalanceProtocol::Cooperative);
}

#[test]
fn leader_assigns_anew_when_topics_change() {
    let mut world = World::new(1, &["range"]);
    world.settle();
    let member = &mut world.members[0];
    member.topics_changed(&topics(), world.now);
    assert!(member.is_stable());
    let mut grown = topics();
    grown.insert("a".into(), vec![Vec::new(); 6]);
    member.topics_changed(&grown, world.now);
    assert!(!member.is_stable());
}
