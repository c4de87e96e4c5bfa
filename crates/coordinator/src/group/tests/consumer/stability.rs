//! A group whose members all want the same and do as they are told, over a log that does not fail: whatever happens, all
//! is assigned evenly soon after, and no partition has moved that need not have.

use ottla_testkit::cases;
use proptest::prelude::*;

use super::*;
use crate::testing::Choices;

const TOPICS: [&str; 3] = ["t", "u", "v"];
const MEMBERS_MAX: usize = 7;

type Partition = (Uuid, i32);

struct World {
    choices: Choices,
    rig: Rig,
    members: Vec<Consumer>,
    joined: usize,
    partitions: BTreeMap<&'static str, i32>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            choices: Choices::new(seed),
            rig: Rig::new(),
            members: Vec::new(),
            joined: 0,
            partitions: BTreeMap::new(),
        };
        world.grow(0);
        world.join();
        world
    }

    fn join(&mut self) {
        self.joined += 1;
        self.members.push(Consumer::new(&format!("m{}", self.joined), &TOPICS));
    }

    fn grow(&mut self, topic: usize) {
        let name = TOPICS[topic];
        let count = self.partitions.entry(name).or_default();
        *count += 1 + self.choices.below(6) as i32;
        self.rig.topic(name, *count);
    }

    /// One thing happens.
    fn happen(&mut self) {
        let someone = self.choices.below(self.members.len());
        match self.choices.below(8) {
            0..=2 if self.members.len() < MEMBERS_MAX => self.join(),
            3 if self.members.len() > 1 => {
                let gone = self.members.remove(someone);
                self.rig.beat(beat_request(&gone.member_id, LEAVE));
            }
            4 if self.members.len() > 1 => {
                self.members.remove(someone);
            }
            5 => {
                let topic = self.choices.below(TOPICS.len());
                self.grow(topic);
            }
            6 if self.partitions.len() > 1 => {
                let name = TOPICS[self.choices.below(TOPICS.len())];
                if self.partitions.remove(name).is_some() {
                    self.rig.delete_topic(name);
                }
            }
            _ => {
                let log = self.rig.logs.log(0).compacted(self.choices.one_in(2));
                self.rig = self.rig.taken_over_with(log);
            }
        }
    }

    /// Long enough for one who is gone to be missed.
    fn settle(&mut self) {
        for _ in 0..2 {
            settle(&self.rig, &mut self.members);
        }
    }

    fn owners(&self) -> BTreeMap<Partition, String> {
        let mut owners = BTreeMap::new();
        for member in &self.members {
            for (topic_id, owned) in &member.owned {
                for partition in owned {
                    let other = owners.insert((*topic_id, *partition), member.member_id.clone());
                    assert_eq!(other, None, "{topic_id}-{partition} has two owners");
                }
            }
        }
        owners
    }

    fn check(&self, before: &BTreeMap<Partition, String>) {
        let after = self.owners();
        let all = self.partitions.iter();
        let all: BTreeSet<Partition> =
            all.flat_map(|(name, count)| (0..*count).map(|number| (topic_id(name), number))).collect();
        assert_eq!(after.keys().copied().collect::<BTreeSet<_>>(), all, "not all are assigned");
        let members: BTreeSet<&str> = self.members.iter().map(|member| member.member_id.as_str()).collect();
        let loads: Vec<usize> =
            members.iter().map(|id| after.values().filter(|owner| owner == id).count()).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= 1, "uneven: {loads:?}");

        let kept = before
            .iter()
            .filter(|(partition, owner)| all.contains(partition) && members.contains(owner.as_str()));
        let moved = kept.clone().filter(|(partition, owner)| after.get(partition) != Some(owner)).count();
        let kept: Vec<usize> =
            members.iter().map(|id| kept.clone().filter(|(_, owner)| owner == id).count()).collect();
        assert_eq!(moved, moves_needed(kept, all.len()), "{before:?} became {after:?}");
    }
}

/// How many of the partitions that members of these loads have must move, for all of them to be spread evenly.
fn moves_needed(mut kept: Vec<usize>, partitions: usize) -> usize {
    kept.sort_unstable_by(|a, b| b.cmp(a));
    let (share, with_one_more) = (partitions / kept.len(), partitions % kept.len());
    let quota = |place: usize| share + usize::from(place < with_one_more);
    kept.iter().enumerate().map(|(place, load)| load.saturating_sub(quota(place))).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases(20) })]

    #[test]
    fn no_partition_moves_that_need_not(seed in any::<u64>()) {
        let mut world = World::new(seed);
        world.settle();
        for _ in 0..20 {
            let before = world.owners();
            world.happen();
            world.settle();
            world.check(&before);
        }
    }
}
