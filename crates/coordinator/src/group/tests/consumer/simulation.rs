//! Members of consumer groups that join, leave for good or for a while, change their minds, are slow, forget and vanish;
//! topics that come, grow and go; a log that fails, commits late and changes its leader at any record: from one seed.
//! What must hold is checked after every step.

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;
use crate::group::consumer::ConsumerGroupConfig;
use crate::group::state::StoredGroup;
use crate::testing::Choices;

const TOPICS: [&str; 3] = ["t", "u", "v"];

struct Client {
    consumer: Consumer,
    /// What it has in hand, which may be more than it was told to have: it is slow.
    in_hand: Owned,
    waiting: Option<Answer<ConsumerGroupHeartbeatResponse>>,
    /// Its last heartbeat failed, and may have been acted on all the same.
    is_uncertain: bool,
    is_leaving: bool,
    lives: usize,
    number: usize,
}

struct World {
    choices: Choices,
    rig: Rig,
    clients: Vec<Client>,
    partitions: BTreeMap<&'static str, i32>,
    uses_regexes: bool,
    max_batch_bytes: usize,
}

impl Client {
    fn new(number: usize) -> Client {
        let mut client = Client {
            consumer: Consumer::default(),
            in_hand: Owned::new(),
            waiting: None,
            is_uncertain: false,
            is_leaving: false,
            lives: 0,
            number,
        };
        client.live_again();
        client
    }

    /// Somebody new comes in the place of one that is gone.
    fn live_again(&mut self) {
        self.lives += 1;
        let instance_id = (self.number % 3 == 2).then(|| format!("instance{}", self.number));
        self.consumer = Consumer {
            member_id: format!("m{}-{}", self.number, self.lives),
            instance_id,
            topics: TOPICS.map(str::to_owned).to_vec(),
            says_all: true,
            ..Consumer::default()
        };
        self.in_hand.clear();
        self.waiting = None;
        self.is_uncertain = false;
        self.is_leaving = false;
    }

    /// Gives up what is not its own any more, and begins with what is new; but not while a heartbeat is under way that
    /// says that it has not, nor after one of which it doesn't know what became: the coordinator might give it to
    /// somebody else.
    fn work(&mut self) {
        if self.waiting.is_none() && !self.is_uncertain {
            self.in_hand = self.consumer.owned.clone();
            return;
        }
        for (topic_id, partitions) in &mut self.in_hand {
            let owned = self.consumer.owned.get(topic_id);
            partitions.retain(|partition| owned.is_some_and(|owned| owned.contains(partition)));
        }
        self.in_hand.retain(|_, partitions| !partitions.is_empty());
    }
}

impl World {
    fn new(seed: u64) -> World {
        // In every other world targets are made elsewhere, and take their time.
        let assigned_elsewhere_from = if seed & 4 == 0 { 0 } else { usize::MAX };
        let consumer = ConsumerGroupConfig { assigned_elsewhere_from, ..ConsumerGroupConfig::default() };
        let rig = Rig::with_config(GroupCoordinatorConfig { consumer, ..config() });
        rig.hold_commits();
        rig.jobs.hold(true);
        let mut world = World {
            choices: Choices::new(seed),
            rig,
            clients: (0..5).map(Client::new).collect(),
            partitions: BTreeMap::new(),
            uses_regexes: seed.is_multiple_of(3),
            max_batch_bytes: if seed.is_multiple_of(2) { 1 << 20 } else { 400 },
        };
        *world.rig.logs.max_batch_bytes.lock() = world.max_batch_bytes;
        world.rig.coordinator.set_consumer_assignment_interval_ms(if seed.is_multiple_of(5) {
            1_000
        } else {
            0
        });
        world.grow("t", 4);
        world
    }

    fn step(&mut self) {
        let i = self.choices.below(self.clients.len());
        match self.choices.below(40) {
            0..=17 => self.beat(i),
            18..=19 => drop(self.rig.jobs.run_one()),
            20..=23 => self.clients[i].work(),
            24 => self.vanish(i),
            25 => self.leave(i),
            26 => self.change_mind(i),
            27 => self.change_topics(),
            28..=29 => self.rig.pass([1, 1_000, 5_000, 44_000][self.choices.below(4)]),
            30..=36 => self.advance_high_watermark(),
            37 => self.rig.fail_next_append(ErrorCode::NotEnoughReplicas),
            38 => self.fail_over(),
            _ => drop(self.rig.jobs.run_one()),
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

    fn change_mind(&mut self, i: usize) {
        let subset = self.choices.below(8);
        let by_regex = self.uses_regexes && self.choices.one_in(2);
        let consumer = &mut self.clients[i].consumer;
        let chosen = TOPICS.iter().enumerate().filter(|(bit, _)| subset & (1 << bit) != 0);
        let chosen: Vec<String> = chosen.map(|(_, name)| (*name).to_owned()).collect();
        if by_regex {
            consumer.regex = Some(format!("({})", chosen.join("|")));
            consumer.topics = Vec::new();
        } else {
            consumer.regex = Some(String::new());
            consumer.topics = if chosen.is_empty() { vec!["t".to_owned()] } else { chosen };
        }
        consumer.says_all = true;
    }

    fn beat(&mut self, i: usize) {
        let client = &mut self.clients[i];
        if client.waiting.is_some() {
            return;
        }
        let mut request = client.consumer.request();
        if client.consumer.epoch == 0 {
            client.in_hand.clear();
        }
        if request.member_epoch != 0 {
            request.topic_partitions = Some(owned_topics(&client.in_hand));
        }
        client.waiting = Some(self.rig.send_beat(request));
    }

    fn leave(&mut self, i: usize) {
        let for_a_while = self.choices.one_in(2);
        let client = &mut self.clients[i];
        if client.waiting.is_some() || client.consumer.epoch <= 0 {
            return;
        }
        client.in_hand.clear();
        let epoch = match client.consumer.instance_id.is_some() && for_a_while {
            true => LEAVE_FOR_A_WHILE,
            false => LEAVE,
        };
        let instance_id = client.consumer.instance_id.clone();
        let request =
            ConsumerGroupHeartbeatRequest { instance_id, ..beat_request(&client.consumer.member_id, epoch) };
        client.is_leaving = true;
        client.waiting = Some(self.rig.send_beat(request));
    }

    fn vanish(&mut self, i: usize) {
        self.clients[i].live_again();
    }

    fn advance_high_watermark(&mut self) {
        self.rig.commit_some(&mut self.choices);
    }

    fn fail_over(&mut self) {
        let next = self.rig.failed_over(&mut self.choices);
        next.jobs.hold(true);
        // What the former coordinator began comes to nothing.
        while self.rig.jobs.run_one() {}
        *next.logs.max_batch_bytes.lock() = self.max_batch_bytes;
        self.rig = next;
    }

    fn look_at_answers(&mut self) {
        for client in &mut self.clients {
            let Some(response) = client.waiting.as_ref().and_then(Answer::get) else { continue };
            client.waiting = None;
            if std::mem::take(&mut client.is_leaving) {
                client.live_again();
                continue;
            }
            // A client that is told that it is unknown gives everything up before it does anything else.
            let code = client.consumer.take(&response);
            client.is_uncertain = code != ErrorCode::None;
            match code {
                ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                    client.in_hand.clear();
                }
                ErrorCode::FencedInstanceId => client.live_again(),
                _ => {}
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

    /// Nobody whom the coordinator counts as a member has in hand what another such has.
    fn check_hands(&self, state: &GroupState) {
        let Some(StoredGroup::Consumer(group)) = state.groups.get(GROUP) else { return };
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for client in &self.clients {
            let known = group.member(&client.consumer.member_id).map(|member| &member.current);
            let epoch = client.consumer.epoch;
            if known.is_none_or(|known| epoch != known.epoch && epoch != known.previous_epoch) {
                continue;
            }
            for (topic_id, partitions) in &client.in_hand {
                for partition in partitions {
                    let other = owners.insert((*topic_id, *partition), &client.consumer.member_id);
                    assert_eq!(other, None, "{topic_id:?}-{partition} is in two hands: {group:#?}");
                }
            }
        }
    }

    /// Once nothing happens any more, a few heartbeats bring everybody to the target.
    fn settle(&mut self) {
        self.rig.logs.failures.lock().clear();
        *self.rig.logs.commit_at_once.lock() = true;
        self.rig.jobs.hold(false);
        while self.rig.jobs.run_one() {}
        self.rig.commit();
        self.look_at_answers();
        for _ in 0..30 {
            for i in 0..self.clients.len() {
                self.clients[i].work();
                self.beat(i);
                self.look_at_answers();
            }
            self.rig.pass(3_000);
            self.check();
        }
        self.rig.check_replay();
        assert_eq!(self.rig.listed_state(), "Stable", "{:#?}", self.rig.consumer_group());
        let group = self.rig.consumer_group();
        for client in &self.clients {
            assert!(group.member(&client.consumer.member_id).is_some(), "a client is no member");
        }
        assert_eq!(group.len(), self.clients.len());
        self.check_assignment(&group);
        let end = self.rig.logs.log(0).end();
        for i in 0..self.clients.len() {
            self.beat(i);
            self.look_at_answers();
        }
        assert_eq!(self.rig.logs.log(0).end(), end, "nothing changes, but something is written");
    }

    /// All that somebody subscribes to belongs to one who does, and evenly.
    fn check_assignment(&self, group: &ConsumerGroup) {
        let mut wanted: BTreeSet<(Uuid, i32)> = BTreeSet::new();
        let mut loads: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for client in &self.clients {
            let member = group.member(&client.consumer.member_id).unwrap();
            let topics = group.topics_of(member);
            let topics: Vec<&str> =
                topics.into_iter().filter(|name| self.partitions.contains_key(name)).collect();
            for name in &topics {
                wanted.extend((0..self.partitions[name]).map(|partition| (topic_id(name), partition)));
            }
            for topic in client.in_hand.keys() {
                assert!(topics.iter().any(|name| topic_id(name) == *topic), "has what it doesn't want");
            }
            let load = client.in_hand.values().map(BTreeSet::len).sum();
            loads.entry(topics).or_default().push(load);
        }
        let owned = self.clients.iter().flat_map(|client| &client.in_hand);
        let owned: Vec<(Uuid, i32)> = owned.flat_map(|(id, owned)| owned.iter().map(|p| (*id, *p))).collect();
        assert_eq!(owned.len(), wanted.len());
        assert_eq!(owned.into_iter().collect::<BTreeSet<_>>(), wanted);
        for loads in loads.values() {
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
        }
    }
}

/// No partition is with two members, and the group knows of all that are with one.
pub(super) fn check_owners(group: &ConsumerGroup) {
    let mut owners = BTreeSet::new();
    for member in group.members() {
        for (topic_id, partition) in member.current.partitions() {
            assert!(owners.insert((topic_id, partition)), "two members have a partition: {group:#?}");
            assert!(group.is_taken(topic_id, partition));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(40) })]

    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.settle();
    }
}
