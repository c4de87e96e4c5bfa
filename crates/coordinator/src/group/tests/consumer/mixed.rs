//! Members of the classic and of the consumer protocol in one group, which becomes one of the other kind with the first
//! and with the last of the latter; they join, leave, vanish and come back speaking the other protocol, while topics come,
//! grow and go, over a log that fails, commits late and changes its leader at any record: from one seed. What must hold
//! is checked after every step.

use bytes::{BufMut, BytesMut};
use ottla_testkit::cases;
use ottla_wire::messages::leave_group_request::Member as Leaving;
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};
use ottla_wire::records::consumer_protocol_assignment::AssignedPartition;
use ottla_wire::records::consumer_protocol_subscription::OwnedPartition;
use ottla_wire::records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::{Decoder, Message};
use proptest::prelude::*;

use super::simulation::check_owners;
use super::*;
use crate::group::state::StoredGroup;
use crate::testing::Choices;

const TOPICS: [&str; 2] = ["t", "u"];
/// Of what classic members say to each other.
const VERSION: i16 = 3;

/// Who speaks the consumer protocol.
#[derive(Default)]
struct Modern {
    consumer: Consumer,
    waiting: Option<Answer<ConsumerGroupHeartbeatResponse>>,
    /// Its last heartbeat failed, and may have been acted on all the same.
    is_uncertain: bool,
    is_leaving: bool,
}

/// Who speaks the classic protocol.
#[derive(Default)]
struct Classic {
    member_id: String,
    instance_id: Option<String>,
    /// It has joined, and not been told to join again.
    generation: Option<JoinGroupResponse>,
    /// The generation in which it was given what it has.
    given_in: i32,
    joining: Option<Answer<JoinGroupResponse>>,
    syncing: Option<Answer<SyncGroupResponse>>,
    is_stable: bool,
    /// The topics when it joined: a leader joins again when they are others.
    seen: BTreeMap<&'static str, i32>,
}

enum Speaker {
    Modern(Modern),
    Classic(Classic),
}

struct Client {
    number: usize,
    lives: usize,
    speaker: Speaker,
    /// What it works on.
    in_hand: Owned,
}

struct World {
    choices: Choices,
    rig: Rig,
    clients: Vec<Client>,
    partitions: BTreeMap<&'static str, i32>,
    /// Classic members keep what they have while they join again.
    is_cooperative: bool,
    leaving: Vec<Answer<LeaveGroupResponse>>,
}

fn name_of(topic_id: Uuid) -> &'static str {
    TOPICS.into_iter().find(|name| super::topic_id(name) == topic_id).expect("one of the topics")
}

fn with_version<M: Message>(message: &M) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    bytes.put_slice(&message.to_bytes(VERSION).expect("it is small"));
    bytes.freeze()
}

fn without_version<M: Message>(bytes: &Bytes) -> M {
    let mut reader = Decoder::new(bytes.clone());
    let version = reader.i16("version").expect("a version");
    M::decode(&mut reader, version).expect("what members say to each other")
}

fn by_name(owned: &Owned) -> impl Iterator<Item = (String, Vec<i32>)> {
    owned.iter().map(|(id, partitions)| (name_of(*id).to_owned(), partitions.iter().copied().collect()))
}

impl World {
    fn new(seed: u64) -> World {
        let rig = Rig::new();
        rig.hold_commits();
        let mut world = World {
            choices: Choices::new(seed),
            rig,
            clients: Vec::new(),
            partitions: BTreeMap::new(),
            is_cooperative: seed & 2 == 0,
            leaving: Vec::new(),
        };
        if seed & 4 == 0 {
            world.rig.coordinator.set_consumer_assignment_interval_ms(0);
        }
        for number in 0..4 {
            let speaker = Speaker::Classic(Classic::default());
            world.clients.push(Client { number, lives: 0, speaker, in_hand: Owned::new() });
            world.live_again(number);
        }
        world.grow("t", 4);
        world
    }

    /// Somebody new comes in the place of one that is gone, and may speak another protocol.
    fn live_again(&mut self, i: usize) {
        let speaks_classic = self.choices.one_in(2);
        let client = &mut self.clients[i];
        client.lives += 1;
        client.in_hand.clear();
        let instance_id = (i % 3 == 2).then(|| format!("instance{i}"));
        client.speaker = if speaks_classic {
            Speaker::Classic(Classic { instance_id, ..Classic::default() })
        } else {
            let consumer = Consumer {
                member_id: format!("m{}-{}", client.number, client.lives),
                instance_id,
                topics: TOPICS.map(str::to_owned).to_vec(),
                says_all: true,
                ..Consumer::default()
            };
            Speaker::Modern(Modern { consumer, ..Modern::default() })
        };
    }

    fn step(&mut self) {
        let i = self.choices.below(self.clients.len());
        match self.choices.below(40) {
            0..=24 => self.act(i),
            25 => self.live_again(i),
            26 => self.leave(i),
            27 => self.change_topics(),
            28..=29 => self.rig.pass([1, 1_000, 5_000, 9_000][self.choices.below(4)]),
            30..=36 => self.rig.commit_some(&mut self.choices),
            37 => self.rig.fail_next_append(ErrorCode::NotEnoughReplicas),
            38 => self.rig = self.rig.failed_over(&mut self.choices),
            _ => {}
        }
        self.look_at_answers();
        self.check();
        if self.choices.one_in(16) {
            self.rig.check_replay();
        }
    }

    fn grow(&mut self, name: &'static str, by: i32) {
        let partitions = self.partitions.entry(name).or_default();
        *partitions += by;
        let partitions = *partitions;
        self.rig.topic(name, partitions);
    }

    fn change_topics(&mut self) {
        let name = TOPICS[self.choices.below(TOPICS.len())];
        if self.partitions.contains_key(name) && self.choices.one_in(2) {
            self.partitions.remove(name);
            self.rig.delete_topic(name);
        } else {
            let by = 1 + self.choices.below(3) as i32;
            self.grow(name, by);
        }
    }

    /// The client does what comes next in its life.
    fn act(&mut self, i: usize) {
        let Client { speaker, in_hand, .. } = &mut self.clients[i];
        match speaker {
            Speaker::Modern(modern) => modern.beat(&self.rig, in_hand),
            Speaker::Classic(classic) => {
                classic.act(&self.rig, in_hand, &self.partitions, self.is_cooperative);
            }
        }
    }

    fn leave(&mut self, i: usize) {
        let for_a_while = self.choices.one_in(2);
        let client = &mut self.clients[i];
        match &mut client.speaker {
            Speaker::Modern(modern) => {
                if modern.waiting.is_none() && modern.consumer.epoch > 0 {
                    client.in_hand.clear();
                    modern.leave(&self.rig, for_a_while);
                }
            }
            Speaker::Classic(classic) => {
                let member = Leaving {
                    member_id: classic.member_id.clone(),
                    group_instance_id: classic.instance_id.clone(),
                    ..Leaving::default()
                };
                let request = LeaveGroupRequest {
                    group_id: GROUP.into(),
                    members: vec![member],
                    ..LeaveGroupRequest::default()
                };
                let rig = &self.rig;
                let answer = Answer::of(|reply| rig.coordinator.leave_group(rig.context(5), request, reply));
                self.leaving.push(answer);
                self.live_again(i);
            }
        }
    }

    fn look_at_answers(&mut self) {
        for i in 0..self.clients.len() {
            let Client { speaker, in_hand, .. } = &mut self.clients[i];
            let is_gone = match speaker {
                Speaker::Modern(modern) => modern.look_at_answer(in_hand),
                Speaker::Classic(classic) => classic.look_at_answers(in_hand),
            };
            if is_gone {
                self.live_again(i);
            }
        }
    }

    fn check(&self) {
        let (written, committed) = self.rig.states();
        for state in [&written, &committed] {
            if let Some(StoredGroup::Consumer(group)) = state.groups.get(GROUP) {
                check_owners(group);
            }
        }
        self.check_hands(&written);
    }

    /// Nobody who is a member as the coordinator knows it has in hand what another such has.
    fn check_hands(&self, state: &GroupState) {
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for client in &self.clients {
            if !client.is_current(state) {
                continue;
            }
            for (topic_id, partitions) in &client.in_hand {
                for partition in partitions {
                    let other = owners.insert((*topic_id, *partition), client.number);
                    assert_eq!(
                        other,
                        None,
                        "{}-{partition} is in two hands, the other {}: {:#?}",
                        name_of(*topic_id),
                        client.number,
                        state.groups.get(GROUP)
                    );
                }
            }
        }
    }

    /// Once nothing happens any more, everybody is in, and all there is belongs to somebody.
    fn settle(&mut self) {
        self.rig.logs.failures.lock().clear();
        *self.rig.logs.commit_at_once.lock() = true;
        self.rig.commit();
        self.look_at_answers();
        for _ in 0..80 {
            for i in 0..self.clients.len() {
                for _ in 0..3 {
                    self.act(i);
                    self.look_at_answers();
                }
            }
            self.rig.pass(2_000);
            self.look_at_answers();
            self.check();
        }
        self.rig.check_replay();
        let (state, _) = self.rig.states();
        let speaks_modern = |client: &Client| matches!(client.speaker, Speaker::Modern(_));
        let expected = if self.clients.iter().any(speaks_modern) { "consumer" } else { "classic" };
        let listed = listing::list(&self.rig, &[], &[]);
        let (_, kind, _, listed) = listed.into_iter().find(|(id, ..)| id == GROUP).expect("the group");
        assert_eq!((kind.as_str(), listed.as_str()), (expected, "Stable"), "{:#?}", state.groups.get(GROUP));
        let mut owned = Vec::new();
        for client in &self.clients {
            assert!(client.is_current(&state), "client {} is no member", client.number);
            let partitions = client.in_hand.iter();
            owned.extend(partitions.flat_map(|(id, owned)| owned.iter().map(|partition| (*id, *partition))));
        }
        owned.sort_unstable();
        let wanted = self.partitions.iter();
        let wanted = wanted.flat_map(|(name, count)| (0..*count).map(|number| (topic_id(name), number)));
        let mut wanted: Vec<(Uuid, i32)> = wanted.collect();
        wanted.sort_unstable();
        assert_eq!(owned, wanted, "{:#?}", state.groups.get(GROUP));
    }
}

impl Client {
    /// Whether the coordinator takes it for a member, and in the epoch in which it takes itself for one.
    fn is_current(&self, state: &GroupState) -> bool {
        match (state.groups.get(GROUP), &self.speaker) {
            (Some(StoredGroup::Consumer(group)), Speaker::Modern(modern)) => {
                let known = group.member(&modern.consumer.member_id).map(|member| &member.current);
                let epoch = modern.consumer.epoch;
                known.is_some_and(|known| epoch == known.epoch || epoch == known.previous_epoch)
            }
            (Some(StoredGroup::Consumer(group)), Speaker::Classic(classic)) => {
                let known = group.member(&classic.member_id);
                known.is_some_and(|known| {
                    known.uses_classic_protocol() && known.current.epoch == classic.given_in
                })
            }
            (Some(StoredGroup::Classic(group)), Speaker::Classic(classic)) => {
                let is_member = group.members.iter().any(|member| member.member_id == classic.member_id);
                is_member && classic.is_stable && group.generation == classic.given_in
            }
            _ => false,
        }
    }
}

impl Modern {
    fn beat(&mut self, rig: &Rig, in_hand: &mut Owned) {
        if self.waiting.is_some() {
            return;
        }
        if !self.is_uncertain {
            in_hand.clone_from(&self.consumer.owned);
        }
        if self.consumer.epoch == 0 {
            in_hand.clear();
        }
        let request = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(owned_topics(in_hand)),
            ..self.consumer.request()
        };
        self.waiting = Some(rig.send_beat(request));
    }

    fn leave(&mut self, rig: &Rig, for_a_while: bool) {
        let instance_id = self.consumer.instance_id.clone();
        let epoch = if instance_id.is_some() && for_a_while { LEAVE_FOR_A_WHILE } else { LEAVE };
        let request =
            ConsumerGroupHeartbeatRequest { instance_id, ..beat_request(&self.consumer.member_id, epoch) };
        self.is_leaving = true;
        self.waiting = Some(rig.send_beat(request));
    }

    /// Whether it is gone.
    fn look_at_answer(&mut self, in_hand: &mut Owned) -> bool {
        let Some(response) = self.waiting.as_ref().and_then(Answer::get) else { return false };
        self.waiting = None;
        if std::mem::take(&mut self.is_leaving) {
            return true;
        }
        let code = self.consumer.take(&response);
        self.is_uncertain = code != ErrorCode::None;
        match code {
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                in_hand.clear();
            }
            // What it is to give up it gives up at once, and begins with what is new when it says so next.
            _ => {
                for (topic_id, partitions) in in_hand.iter_mut() {
                    let owned = self.consumer.owned.get(topic_id);
                    partitions.retain(|partition| owned.is_some_and(|owned| owned.contains(partition)));
                }
                in_hand.retain(|_, partitions| !partitions.is_empty());
            }
        }
        code == ErrorCode::FencedInstanceId
    }
}

impl Classic {
    fn act(
        &mut self,
        rig: &Rig,
        in_hand: &mut Owned,
        topics: &BTreeMap<&'static str, i32>,
        is_cooperative: bool,
    ) {
        if self.joining.is_some() || self.syncing.is_some() {
            return;
        }
        match self.generation.clone() {
            None => self.join(rig, in_hand, topics, is_cooperative),
            Some(generation) if !self.is_stable => self.sync(rig, &generation, topics, is_cooperative),
            Some(generation) if generation.leader == self.member_id && self.seen != *topics => {
                self.generation = None;
            }
            Some(generation) => self.heartbeat(rig, &generation, in_hand),
        }
    }

    fn join(
        &mut self,
        rig: &Rig,
        in_hand: &mut Owned,
        topics: &BTreeMap<&'static str, i32>,
        is_cooperative: bool,
    ) {
        if !is_cooperative {
            in_hand.clear();
        }
        self.is_stable = false;
        self.seen.clone_from(topics);
        let owned = by_name(in_hand).map(|(topic, partitions)| OwnedPartition { topic, partitions });
        let subscription = ConsumerProtocolSubscription {
            topics: TOPICS.map(str::to_owned).to_vec(),
            user_data: None,
            owned_partitions: owned.collect(),
            generation_id: self.given_in,
            rack_id: None,
        };
        let name = if is_cooperative { "cooperative" } else { "eager" };
        let protocol =
            Protocol { name: name.to_owned(), metadata: with_version(&subscription), ..Protocol::default() };
        let request = JoinGroupRequest {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocols: vec![protocol],
            ..super::super::join_request()
        };
        self.joining = Some(rig.send_join(JOIN_VERSION, request));
    }

    fn sync(
        &mut self,
        rig: &Rig,
        generation: &JoinGroupResponse,
        topics: &BTreeMap<&'static str, i32>,
        is_cooperative: bool,
    ) {
        let leads = generation.leader == self.member_id && !generation.skip_assignment;
        let assignments =
            if leads { assigned_by_leader(generation, topics, is_cooperative) } else { Vec::new() };
        let request = SyncGroupRequest {
            assignments,
            group_instance_id: self.instance_id.clone(),
            ..sync_request(generation)
        };
        self.syncing = Some(rig.send_sync(request));
    }

    fn heartbeat(&mut self, rig: &Rig, generation: &JoinGroupResponse, in_hand: &mut Owned) {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: generation.generation_id,
            member_id: generation.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            ..HeartbeatRequest::default()
        };
        if let Some(response) = rig.send_heartbeat(request).get() {
            self.heed(error(response.error_code), in_hand);
        }
    }

    /// Does with an error what clients do.
    fn heed(&mut self, code: ErrorCode, in_hand: &mut Owned) {
        match code {
            ErrorCode::None
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::RequestTimedOut => return,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.member_id.clear();
                in_hand.clear();
            }
            ErrorCode::IllegalGeneration => in_hand.clear(),
            ErrorCode::RebalanceInProgress => {}
            code => panic!("a classic member is told {code:?}"),
        }
        self.generation = None;
        self.is_stable = false;
    }

    /// Whether it is gone.
    fn look_at_answers(&mut self, in_hand: &mut Owned) -> bool {
        if let Some(response) = self.joining.as_ref().and_then(Answer::get) {
            self.joining = None;
            match error(response.error_code) {
                ErrorCode::None => {
                    self.member_id = response.member_id.clone();
                    self.generation = Some(response);
                }
                ErrorCode::MemberIdRequired => self.member_id = response.member_id,
                ErrorCode::FencedInstanceId => return true,
                code => self.heed(code, in_hand),
            }
        }
        if let Some(response) = self.syncing.as_ref().and_then(Answer::get) {
            self.syncing = None;
            match error(response.error_code) {
                ErrorCode::None => self.take(&response.assignment, in_hand),
                code => self.heed(code, in_hand),
            }
        }
        false
    }

    fn take(&mut self, assignment: &Bytes, in_hand: &mut Owned) {
        let assigned = match assignment.is_empty() {
            true => ConsumerProtocolAssignment::default(),
            false => without_version(assignment),
        };
        let topics = assigned.assigned_partitions.into_iter();
        let assigned: Owned = topics
            .filter(|topic| !topic.partitions.is_empty())
            .map(|topic| (topic_id(&topic.topic), topic.partitions.into_iter().collect()))
            .collect();
        let keeps_all = in_hand.iter().all(|(topic_id, partitions)| {
            assigned.get(topic_id).is_some_and(|assigned| partitions.is_subset(assigned))
        });
        *in_hand = assigned;
        self.given_in = self.generation.as_ref().map_or(-1, |generation| generation.generation_id);
        self.is_stable = true;
        if !keeps_all {
            // Others wait for what it has given up.
            self.generation = None;
        }
    }
}

/// All partitions over all members in turn. What one has that another is to have is nobody's first, where members keep
/// what they have.
fn assigned_by_leader(
    generation: &JoinGroupResponse,
    topics: &BTreeMap<&'static str, i32>,
    is_cooperative: bool,
) -> Vec<Assignment> {
    let mut owners: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for (index, member) in generation.members.iter().enumerate() {
        let said: ConsumerProtocolSubscription = without_version(&member.metadata);
        for topic in said.owned_partitions {
            owners
                .extend(topic.partitions.iter().map(|partition| ((topic.topic.clone(), *partition), index)));
        }
    }
    let all = topics.iter().flat_map(|(name, count)| (0..*count).map(|number| ((*name).to_owned(), number)));
    let mut assigned = vec![BTreeMap::<String, Vec<i32>>::new(); generation.members.len()];
    for (turn, (topic, partition)) in all.enumerate() {
        let next = turn % assigned.len();
        let owner = owners.get(&(topic.clone(), partition)).copied().unwrap_or(next);
        if owner == next || !is_cooperative {
            assigned[next].entry(topic).or_default().push(partition);
        }
    }
    let mut assignments = Vec::new();
    for (member, assigned) in generation.members.iter().zip(assigned) {
        let topics = assigned.into_iter().map(|(topic, partitions)| AssignedPartition { topic, partitions });
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: topics.collect(), user_data: None };
        assignments.push(Assignment {
            member_id: member.member_id.clone(),
            assignment: with_version(&assignment),
            ..Assignment::default()
        });
    }
    assignments
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(60) })]

    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.settle();
    }
}
