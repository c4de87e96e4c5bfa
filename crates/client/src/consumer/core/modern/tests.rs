//! A member beside a coordinator that wants something else at random, with answers that don't come; and single steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::{MonoMs, TopicPartition, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartition as AssignedTopic};
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use proptest::prelude::*;

use super::super::membership::{Effect, GroupError, GroupRequest, OnClose, Rebalanced};
use super::{IdPartition, ModernMembership, ModernSettings, Phase, Wanted};

impl ModernMembership {
    /// What belongs to this member.
    fn owned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.owned.values()
    }

    /// In the group, and with all that the coordinator wants it to have.
    fn is_stable(&self) -> bool {
        let has_target = self.target.as_ref().is_some_and(|target| self.owned.keys().eq(target.iter()));
        self.phase == Phase::In && self.giving_up.is_none() && has_target
    }
}

fn settings() -> ModernSettings {
    ModernSettings {
        group_id: "group".to_owned(),
        member_id: "me".to_owned(),
        group_instance_id: None,
        rack_id: Some("r1".to_owned()),
        server_assignor: Some("uniform".to_owned()),
        max_poll_interval_ms: 300_000,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
    }
}

fn wanted(topics: &[&str]) -> Wanted {
    Wanted { topics: topics.iter().map(|topic| Arc::from(*topic)).collect(), regex: None }
}

const TOPICS: [(u8, &str); 2] = [(1, "a"), (2, "b")];

fn id(topic: u8) -> Uuid {
    Uuid([topic; 16])
}

fn names() -> impl Iterator<Item = (Uuid, Arc<str>)> {
    TOPICS.iter().map(|(topic, name)| (id(*topic), Arc::from(*name)))
}

#[derive(Clone, Debug)]
enum Step {
    /// The heartbeat gets there and back.
    Answer,
    LoseRequest,
    LoseAnswer,
    Revoked,
    Pass(u16),
    Target(BTreeSet<(u8, i32)>),
    LearnNames,
    Fence,
}

/// What the coordinator knows of the only member, and what its owner reads.
struct World {
    now: MonoMs,
    member: ModernMembership,
    request: Option<ConsumerGroupHeartbeatRequest>,
    revoking: Option<Vec<TopicPartition>>,
    reading: BTreeSet<TopicPartition>,
    epoch: i32,
    wanted: Option<Vec<String>>,
    owned: BTreeSet<IdPartition>,
    target: BTreeSet<IdPartition>,
    /// What may be owned until the member says that it gave it up.
    given: BTreeSet<IdPartition>,
    target_told: bool,
}

impl World {
    fn new() -> World {
        let mut world = World {
            now: MonoMs(1),
            member: ModernMembership::new(settings()),
            request: None,
            revoking: None,
            reading: BTreeSet::new(),
            epoch: 0,
            wanted: None,
            owned: BTreeSet::new(),
            target: BTreeSet::new(),
            given: BTreeSet::new(),
            target_told: false,
        };
        world.member.subscribe(wanted(&["b", "a"]), world.now);
        world.work();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Answer => {
                if let Some((request, answer)) = self.coordinate() {
                    self.member.beaten(request.member_epoch, Some(answer), self.now);
                }
            }
            Step::LoseAnswer => {
                if let Some((request, _)) = self.coordinate() {
                    self.target_told = false;
                    self.member.beaten(request.member_epoch, None, self.now);
                }
            }
            Step::LoseRequest => {
                if let Some(request) = self.request.take() {
                    self.member.beaten(request.member_epoch, None, self.now);
                }
            }
            Step::Revoked => {
                if let Some(given_up) = self.revoking.take() {
                    self.reading.retain(|partition| !given_up.contains(partition));
                    self.member.revoked(self.now);
                }
            }
            Step::Pass(ms) => {
                self.now = self.now.plus_ms(ms.into());
                self.member.polled(self.now);
                self.member.tick(self.now);
            }
            Step::Target(target) => {
                self.target = target.into_iter().map(|(topic, partition)| (id(topic), partition)).collect();
                self.target_told = false;
                self.epoch += i32::from(self.epoch > 0);
            }
            Step::LearnNames => self.member.learn_names(names(), self.now),
            Step::Fence => self.epoch = 0,
        }
        self.work();
    }

    fn work(&mut self) {
        for effect in self.member.take_effects() {
            match effect {
                Effect::Send(GroupRequest::ConsumerHeartbeat(request)) => {
                    assert!(self.request.is_none(), "two heartbeats at once");
                    self.request = Some(request);
                }
                Effect::Revoke(partitions) => {
                    assert!(partitions.iter().all(|partition| self.reading.contains(partition)));
                    self.revoking = Some(partitions);
                }
                Effect::Lost(partitions) => {
                    self.revoking = None;
                    self.reading.retain(|partition| !partitions.contains(partition));
                }
                Effect::Assigned(partitions) => {
                    for partition in partitions {
                        assert!(self.reading.insert(partition));
                    }
                }
                Effect::NeedNames | Effect::ForgetCoordinator => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn coordinate(&mut self) -> Option<(ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse)> {
        let request = self.request.take()?;
        let mut answer =
            ConsumerGroupHeartbeatResponse { heartbeat_interval_ms: 5_000, ..Default::default() };
        if request.member_epoch == 0 {
            assert_eq!(request.topic_partitions.as_deref(), Some(&[][..]));
            assert_eq!(request.rebalance_timeout_ms, 300_000);
            self.epoch = self.epoch.max(1);
            self.owned.clear();
            self.given.clear();
            self.target_told = false;
        } else if self.epoch == 0 {
            answer.error_code = ErrorCode::UnknownMemberId.code();
            return Some((request, answer));
        }
        if let Some(topics) = &request.subscribed_topic_names {
            self.wanted = Some(topics.clone());
        }
        if let Some(owned) = &request.topic_partitions {
            let said: BTreeSet<IdPartition> =
                owned.iter().flat_map(|of| of.partitions.iter().map(|p| (of.topic_id, *p))).collect();
            assert!(said.is_subset(&self.given), "owns what it wasn't given");
            // What it doesn't own and isn't to have may go to somebody else: nobody may be reading it here.
            self.given.retain(|partition| said.contains(partition) || self.target.contains(partition));
            for partition in &self.reading {
                let topic = TOPICS.iter().find(|(_, name)| **name == *partition.topic).unwrap().0;
                assert!(self.given.contains(&(id(topic), partition.partition)), "reads {partition}");
            }
            self.owned = said;
        }
        if !self.target_told {
            self.target_told = true;
            self.given.extend(self.target.iter().copied());
            let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in &self.target {
                topics.entry(*topic).or_default().push(*partition);
            }
            let topic =
                |(topic_id, partitions)| AssignedTopic { topic_id, partitions, ..AssignedTopic::default() };
            let topic_partitions = topics.into_iter().map(topic).collect();
            answer.assignment = Some(Assignment { topic_partitions, ..Assignment::default() });
        }
        answer.member_epoch = self.epoch;
        answer.member_id = Some(request.member_id.clone());
        Some((request, answer))
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Answer),
        1 => Just(Step::LoseRequest),
        1 => Just(Step::LoseAnswer),
        4 => Just(Step::Revoked),
        4 => (0u16..6_000).prop_map(Step::Pass),
        3 => prop::collection::btree_set((1u8..3, 0i32..3), 0..6).prop_map(Step::Target),
        3 => Just(Step::LearnNames),
        1 => Just(Step::Fence),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ottla_testkit::cases(150))]

    #[test]
    fn member_comes_to_have_what_it_is_to_have(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        for _ in 0..30 {
            for step in [Step::Answer, Step::LearnNames, Step::Revoked, Step::Pass(2_000)] {
                world.step(step);
            }
        }
        prop_assert!(world.member.is_stable());
        prop_assert_eq!(&world.owned, &world.target, "the coordinator knows");
        prop_assert!(world.member.owned().eq(world.reading.iter()));
        prop_assert_eq!(world.wanted, Some(vec!["a".to_owned(), "b".to_owned()]));
    }
}

fn sent(member: &mut ModernMembership) -> ConsumerGroupHeartbeatRequest {
    match member.take_effects().pop() {
        Some(Effect::Send(GroupRequest::ConsumerHeartbeat(request))) => request,
        other => panic!("{other:?}"),
    }
}

fn joined(settings: ModernSettings) -> ModernMembership {
    let mut member = ModernMembership::new(settings);
    member.subscribe(wanted(&["a"]), MonoMs(0));
    sent(&mut member);
    let answer = ConsumerGroupHeartbeatResponse {
        member_epoch: 1,
        heartbeat_interval_ms: 5_000,
        ..Default::default()
    };
    member.beaten(0, Some(answer), MonoMs(0));
    member
}

/// Partition 0 of topic `a`, with the heartbeats that this takes.
fn give(member: &mut ModernMembership, now: MonoMs) {
    member.learn_names(names(), now);
    let topic = AssignedTopic { topic_id: id(1), partitions: vec![0], ..AssignedTopic::default() };
    let assignment = Assignment { topic_partitions: vec![topic], ..Assignment::default() };
    for assignment in [Some(assignment), None] {
        member.tick(now);
        let answer = ConsumerGroupHeartbeatResponse {
            member_epoch: 1,
            heartbeat_interval_ms: 5_000,
            assignment,
            ..Default::default()
        };
        member.beaten(1, Some(answer), now);
        member.learn_names(names(), now);
    }
    let effects = member.take_effects();
    assert!(effects.contains(&Effect::Assigned(vec![TopicPartition::new("a", 0)])), "{effects:?}");
}

#[test]
fn first_heartbeat_says_all_and_later_ones_what_changed() {
    let mut member = ModernMembership::new(settings());
    let regex = Wanted { topics: Vec::new(), regex: Some("a.*".to_owned()) };
    member.subscribe(regex, MonoMs(0));
    let first = sent(&mut member);
    assert_eq!((first.member_epoch, first.rebalance_timeout_ms), (0, 300_000));
    assert_eq!((first.rack_id.as_deref(), first.server_assignor.as_deref()), (Some("r1"), Some("uniform")));
    assert_eq!(first.subscribed_topic_regex.as_deref(), Some("a.*"));
    let answer = ConsumerGroupHeartbeatResponse {
        member_epoch: 4,
        heartbeat_interval_ms: 5_000,
        ..Default::default()
    };
    member.beaten(0, Some(answer), MonoMs(0));
    assert_eq!(member.identity().unwrap().generation_or_epoch, 4);
    assert_eq!(member.deadline(), MonoMs(5_000));
    member.tick(MonoMs(5_000));
    let second = sent(&mut member);
    assert_eq!((second.member_epoch, second.rebalance_timeout_ms), (4, -1));
    assert_eq!(
        (second.rack_id, second.subscribed_topic_names, second.subscribed_topic_regex),
        (None, None, None)
    );
    member.beaten(
        4,
        Some(ConsumerGroupHeartbeatResponse { member_epoch: 4, ..Default::default() }),
        MonoMs(5_000),
    );
    member.subscribe(wanted(&["a"]), MonoMs(5_000));
    let third = sent(&mut member);
    assert_eq!(third.subscribed_topic_names, Some(vec!["a".to_owned()]));
    assert_eq!(third.subscribed_topic_regex.as_deref(), Some(""), "takes the expression back");
}

#[test]
fn what_answers_say_is_done() {
    for (code, is_fatal) in [
        (ErrorCode::NotCoordinator, false),
        (ErrorCode::CoordinatorLoadInProgress, false),
        (ErrorCode::UnknownMemberId, false),
        (ErrorCode::FencedMemberEpoch, false),
        (ErrorCode::UnreleasedInstanceId, true),
        (ErrorCode::FencedInstanceId, true),
        (ErrorCode::UnsupportedAssignor, true),
        (ErrorCode::InvalidRegularExpression, true),
        (ErrorCode::GroupAuthorizationFailed, true),
    ] {
        let mut member = joined(settings());
        member.tick(MonoMs(5_000));
        sent(&mut member);
        let answer = ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() };
        member.beaten(1, Some(answer), MonoMs(5_000));
        member.tick(MonoMs(6_000));
        let effects = member.take_effects();
        let failed = effects.iter().any(|effect| matches!(effect, Effect::Failed(_)));
        assert_eq!(failed, is_fatal, "{code}");
        if !is_fatal {
            assert!(matches!(effects.last(), Some(Effect::Send(_))), "{code}");
        }
    }
    for code in [ErrorCode::UnknownMemberId, ErrorCode::FencedMemberEpoch] {
        let mut member = joined(settings());
        give(&mut member, MonoMs(5_000));
        member.tick(MonoMs(10_000));
        sent(&mut member);
        let answer = ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() };
        member.beaten(1, Some(answer), MonoMs(10_000));
        for later_ms in [10_000, 15_000, 200_000] {
            member.tick(MonoMs(later_ms));
            assert_eq!((member.take_effects(), member.identity()), (Vec::new(), None), "{code}");
        }
        member.polled(MonoMs(200_000));
        let effects = member.take_effects();
        assert_eq!(effects[0], Effect::Lost(vec![TopicPartition::new("a", 0)]), "{code}");
        assert!(matches!(effects[1], Effect::Send(_)), "{code}");
    }
    let fenced = GroupError::Fenced("i".to_owned());
    assert!(fenced.to_string().contains("group.instance.id 'i'"));
}

#[test]
fn rebalances_last_until_the_assignment_is_taken_up() {
    let mut member = joined(settings());
    let assigned = |member: &mut ModernMembership, partitions: &[i32], code: ErrorCode, at| {
        member.tick(at);
        let partitions = partitions.to_vec();
        let topic = AssignedTopic { topic_id: id(1), partitions, ..AssignedTopic::default() };
        let answer = ConsumerGroupHeartbeatResponse {
            error_code: code.code(),
            member_epoch: 1,
            heartbeat_interval_ms: 5_000,
            assignment: Some(Assignment { topic_partitions: vec![topic], ..Assignment::default() }),
            ..Default::default()
        };
        member.beaten(1, Some(answer), at);
        member.take_rebalances()
    };
    let took = |ms: u64| Rebalanced { took_ms: vec![ms], failed: 0 };
    let none = Rebalanced::default();
    assert_eq!(assigned(&mut member, &[0, 1], ErrorCode::None, MonoMs(5_000)), none, "it has no name yet");
    member.learn_names(names(), MonoMs(5_070));
    assert_eq!(member.take_rebalances(), took(70));
    assert_eq!(assigned(&mut member, &[0, 1], ErrorCode::None, MonoMs(10_000)), none, "nothing has changed");
    assert_eq!(assigned(&mut member, &[0], ErrorCode::None, MonoMs(15_000)), none, "one is to be given up");
    member.revoked(MonoMs(15_300));
    assert_eq!(member.take_rebalances(), took(300));
    assert_eq!(assigned(&mut member, &[0], ErrorCode::None, MonoMs(20_000)), none);
    assert_eq!(assigned(&mut member, &[], ErrorCode::None, MonoMs(25_000)), none);
    let fenced = assigned(&mut member, &[], ErrorCode::FencedMemberEpoch, MonoMs(30_000));
    assert_eq!(fenced, Rebalanced { took_ms: Vec::new(), failed: 1 });
}

#[test]
fn closing_says_whether_it_comes_back() {
    let epoch = |instance: Option<&str>, on_close| {
        let mut member =
            joined(ModernSettings { group_instance_id: instance.map(str::to_owned), ..settings() });
        member.close(on_close);
        let effects = member.take_effects();
        effects.last().map(|effect| match effect {
            Effect::Send(GroupRequest::ConsumerHeartbeat(request)) => request.member_epoch,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(epoch(None, OnClose::AsConfigured), Some(-1));
    assert_eq!(epoch(None, OnClose::Stay), None);
    assert_eq!(epoch(Some("i"), OnClose::AsConfigured), Some(-2));
    assert_eq!(epoch(Some("i"), OnClose::Stay), Some(-2));
    assert_eq!(epoch(Some("i"), OnClose::Leave), Some(-1));
}

#[test]
fn slow_owner_leaves_and_comes_back() {
    let mut member = joined(settings());
    member.tick(MonoMs(300_000));
    assert_eq!(sent(&mut member).member_epoch, -1);
    assert_eq!(member.identity(), None);
    member.polled(MonoMs(300_001));
    assert_eq!(sent(&mut member).member_epoch, 0);
}
