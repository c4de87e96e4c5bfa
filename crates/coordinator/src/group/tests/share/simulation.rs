//! Random histories of a share group over a log that fails, commits late and changes its leader at any record: whatever
//! happens, what was written is what is read back, and in the end everything that there is belongs to somebody.

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Beat(usize),
    Leave(usize),
    /// Other topics than before.
    Subscribe(usize, u8),
    Pass(i32),
    Grow(u8),
    DeleteTopic(u8),
    Hold,
    Release,
    FailState,
    FailAppend,
    Commit,
    TakeOver,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0usize..4).prop_map(Step::Beat),
        1 => (0usize..4).prop_map(Step::Leave),
        1 => (0usize..4, 1u8..8).prop_map(|(member, topics)| Step::Subscribe(member, topics)),
        4 => (0i32..20_000).prop_map(Step::Pass),
        2 => (0u8..3).prop_map(Step::Grow),
        1 => (0u8..3).prop_map(Step::DeleteTopic),
        1 => Just(Step::Hold),
        2 => Just(Step::Release),
        1 => Just(Step::FailState),
        1 => Just(Step::FailAppend),
        8 => Just(Step::Commit),
        1 => Just(Step::TakeOver),
    ]
}

fn name(topic: u8) -> String {
    format!("t{topic}")
}

fn names(bits: u8) -> Vec<String> {
    (0..3).filter(|topic| bits & (1 << topic) != 0).map(name).collect()
}

struct World {
    choices: Choices,
    rig: ShareRig,
    members: Vec<Member>,
    /// The heartbeat that each member waits for.
    waiting: Vec<Option<Answer<ShareGroupHeartbeatResponse>>>,
    topics: BTreeMap<u8, i32>,
}

impl World {
    fn new(seed: u64) -> World {
        let rig = ShareRig::new();
        rig.rig.hold_commits();
        let members = ["a", "b", "c", "d"].map(|id| Member::new(id, &["t0", "t1"])).to_vec();
        let waiting = members.iter().map(|_| None).collect();
        World { choices: Choices::new(seed), rig, members, waiting, topics: BTreeMap::new() }
    }

    fn beat(&mut self, index: usize) {
        if self.waiting[index].is_some() {
            return;
        }
        let member = &self.members[index];
        let request = ShareGroupHeartbeatRequest {
            subscribed_topic_names: Some(member.topics.clone()),
            ..member.request()
        };
        self.waiting[index] = Some(self.rig.send_beat(request));
    }

    fn look_at_answers(&mut self) {
        for (member, waiting) in self.members.iter_mut().zip(&mut self.waiting) {
            if let Some(response) = waiting.as_ref().and_then(Answer::get) {
                member.take(&response);
                *waiting = None;
            }
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Beat(index) => self.beat(index),
            Step::Leave(index) => {
                let member = &mut self.members[index];
                // Whether this is heard or not, it begins anew.
                drop(self.rig.send_beat(beat_request(&member.member_id, LEAVE)));
                self.waiting[index] = None;
                member.epoch = 0;
                member.owned.clear();
            }
            Step::Subscribe(index, bits) => self.members[index].topics = names(bits),
            Step::Pass(ms) => self.rig.rig.pass(ms),
            Step::Grow(topic) => {
                let count = self.topics.entry(topic).or_default();
                *count += 1;
                self.rig.rig.topic(&name(topic), *count);
            }
            Step::DeleteTopic(topic) => {
                if self.topics.remove(&topic).is_some() {
                    self.rig.delete_topic(&name(topic));
                }
            }
            Step::Hold => self.rig.states.hold(),
            Step::Release => self.rig.states.release(),
            Step::FailState => self.rig.states.failures.lock().push(ErrorCode::CoordinatorNotAvailable),
            Step::FailAppend => self.rig.rig.fail_next_append(ErrorCode::NotEnoughReplicas),
            Step::Commit => self.rig.rig.commit_some(&mut self.choices),
            Step::TakeOver => {
                self.rig.rig.logs.failures.lock().clear();
                self.rig.rig.check_replay();
                self.rig = self.rig.failed_over(&mut self.choices);
            }
        }
        self.look_at_answers();
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn what_was_written_is_read_back_and_in_the_end_everything_is_somebodys(
        steps in prop::collection::vec(step(), 1..100),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(seed);
        for step in steps {
            world.run(step);
        }
        world.rig.states.release();
        world.rig.states.failures.lock().clear();
        world.rig.rig.logs.failures.lock().clear();
        *world.rig.rig.logs.commit_at_once.lock() = true;
        world.rig.rig.commit();
        for _ in 0..10 {
            world.look_at_answers();
            world.rig.rig.pass(5_000);
            (0..world.members.len()).for_each(|index| world.beat(index));
        }
        world.look_at_answers();
        world.rig.rig.check_replay();
        let group = world.rig.group();
        prop_assert_eq!(group.epoch, group.target.epoch);
        let mut owned = BTreeSet::new();
        for member in &world.members {
            prop_assert_eq!(member.epoch, group.epoch);
            for (topic_id, partitions) in &member.owned {
                owned.extend(partitions.iter().map(|partition| (*topic_id, *partition)));
            }
        }
        let mut wanted = BTreeSet::new();
        for (topic, count) in &world.topics {
            if world.members.iter().any(|member| member.topics.contains(&name(*topic))) {
                wanted.extend((0..*count).map(|partition| (topic_id(&name(*topic)), partition)));
            }
        }
        prop_assert_eq!(&owned, &wanted);
        let known = world.rig.known();
        prop_assert!(wanted.iter().all(|partition| known.contains_key(partition)), "{:?}", known);
    }
}
