//! Whatever happens in whatever order: what was acknowledged by all stays, replicas agree on what is replicated, and what a
//! consumer has read stays where it was.

use ottla_log::LogConfig;
use ottla_log::disk::sim::Loss;
use ottla_testkit::cases;
use ottla_types::NodeId;
use proptest::collection::vec;
use proptest::prelude::*;

use super::cluster::{ALL, Cluster, LAG_MS, told};
use crate::ProduceResult;
use crate::tests::{Answers, FETCHERS};

#[derive(Clone, Copy, Debug)]
enum Step {
    Produce {
        acks: i16,
    },
    /// At whoever may think that it leads.
    ProduceAt {
        id: usize,
        acks: i16,
    },
    Fetch(usize),
    FetchUnheard(usize),
    /// The controller decides on what leaders have asked.
    AlterIsrs,
    /// The controller decides, and nobody hears.
    AlterIsrsUnheard,
    Pass {
        ms: u64,
    },
    Kill(usize),
    LosePower(usize),
    Start(usize),
    Cut(usize, usize),
    Mend,
    /// The leader changes though nobody died.
    Move(usize),
    /// A broker hears what was decided before others do.
    Tell(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 0..ALL.len();
    let acks = prop_oneof![Just(-1), Just(1)];
    prop_oneof![
        6 => acks.clone().prop_map(|acks| Step::Produce { acks }),
        2 => (broker.clone(), acks).prop_map(|(id, acks)| Step::ProduceAt { id, acks }),
        12 => broker.clone().prop_map(Step::Fetch),
        2 => broker.clone().prop_map(Step::FetchUnheard),
        4 => Just(Step::AlterIsrs),
        1 => Just(Step::AlterIsrsUnheard),
        3 => prop_oneof![Just(100), Just(1_000), Just(LAG_MS)].prop_map(|ms| Step::Pass { ms }),
        1 => broker.clone().prop_map(Step::Kill),
        1 => broker.clone().prop_map(Step::LosePower),
        3 => broker.clone().prop_map(Step::Start),
        1 => (broker.clone(), broker.clone()).prop_map(|(a, b)| Step::Cut(a, b)),
        1 => Just(Step::Mend),
        1 => broker.clone().prop_map(Step::Move),
        3 => broker.prop_map(Step::Tell),
    ]
}

struct Run {
    cluster: Cluster,
    next_value: usize,
    waiting: Vec<(String, Answers<ProduceResult>)>,
    acknowledged: Vec<(String, i64)>,
    /// What consumers have seen, from offset 0 on.
    seen: Vec<String>,
}

impl Run {
    fn new(min_insync_replicas: usize) -> Run {
        let cluster = Cluster::with(min_insync_replicas, LogConfig::default(), FETCHERS);
        Run { cluster, next_value: 0, waiting: Vec::new(), acknowledged: Vec::new(), seen: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        let cluster = &mut self.cluster;
        match step {
            Step::Produce { acks } => {
                let leader = cluster.decided.leader;
                self.produce(leader, acks);
            }
            Step::ProduceAt { id, acks } => self.produce(ALL[id], acks),
            Step::Fetch(id) => cluster.fetch_once(ALL[id]),
            Step::FetchUnheard(id) => cluster.fetch_unheard(ALL[id]),
            Step::AlterIsrs => {
                cluster.alter_isrs();
            }
            Step::AlterIsrsUnheard => {
                for id in ALL {
                    if let Some(request) = cluster.isr_request(id) {
                        cluster.decide_on(&request);
                        let lost = Err(ottla_wire::ErrorCode::NetworkException);
                        cluster.manager(id).isr_changes_answered(lost, cluster.now);
                    }
                }
            }
            Step::Pass { ms } => cluster.pass_ms(ms),
            Step::Kill(id) => self.end(ALL[id], false),
            Step::LosePower(id) => self.end(ALL[id], true),
            Step::Start(id) => self.start(ALL[id]),
            Step::Cut(a, b) => {
                cluster.cut.insert((ALL[a], ALL[b]));
            }
            Step::Mend => cluster.cut.clear(),
            Step::Move(id) => self.move_leader(ALL[id]),
            Step::Tell(id) => cluster.tell(ALL[id]),
        }
        self.check();
    }

    fn produce(&mut self, to: NodeId, acks: i16) {
        if !self.cluster.is_up(to) {
            return;
        }
        let value = format!("v{}", self.next_value);
        self.next_value += 1;
        let answers = self.cluster.produce(to, acks, &[&value]);
        if acks == -1 {
            self.waiting.push((value, answers));
        }
    }

    /// The controller fences who has gone: out of the ISR, unless it is the last one there.
    fn end(&mut self, id: NodeId, loses_power: bool) {
        let cluster = &mut self.cluster;
        if !cluster.is_up(id) {
            return;
        }
        let isr: Vec<_> = cluster.decided.isr.iter().copied().filter(|member| *member != id).collect();
        let is_last = isr.is_empty();
        // The last disk with what is acknowledged is not lost.
        cluster.crash(id, (loses_power && !is_last).then_some(Loss::Seeded));
        if is_last {
            if cluster.decided.leader == id {
                let isr = cluster.decided.isr.clone();
                cluster.decide(NodeId::NONE, &isr);
            }
        } else if isr.len() < cluster.decided.isr.len() {
            let leader = match cluster.decided.leader {
                leader if leader != id => leader,
                _ => isr.iter().copied().find(|id| cluster.is_up(*id)).unwrap_or(NodeId::NONE),
            };
            self.decide(leader, &isr);
        }
    }

    fn start(&mut self, id: NodeId) {
        if self.cluster.is_up(id) {
            return;
        }
        self.cluster.start(id);
        let decided = &self.cluster.decided;
        if decided.leader == NodeId::NONE && decided.isr.contains(&id) {
            let isr = decided.isr.clone();
            self.decide(id, &isr);
        }
    }

    fn move_leader(&mut self, to: NodeId) {
        let decided = &self.cluster.decided;
        if decided.isr.contains(&to) && decided.leader != to && self.cluster.is_up(to) {
            let isr = decided.isr.clone();
            self.decide(to, &isr);
        }
    }

    /// Only the new leader hears of it at once.
    fn decide(&mut self, leader: NodeId, isr: &[NodeId]) {
        if leader == self.cluster.decided.leader {
            self.cluster.decided.isr = isr.to_vec();
            self.cluster.decided.partition_epoch += 1;
        } else {
            self.cluster.decide(leader, isr);
        }
        self.cluster.tell(leader);
    }

    fn check(&mut self) {
        for (value, answers) in std::mem::take(&mut self.waiting) {
            match told(&answers) {
                Some(Ok(offset)) => self.acknowledged.push((value, offset)),
                Some(Err(_)) => {}
                None => self.waiting.push((value, answers)),
            }
        }
        let leader = self.cluster.decided.leader;
        // Who has not heard yet that it leads serves nobody.
        if !self.cluster.is_up(leader) || !self.cluster.partition(leader).is_leader() {
            return;
        }
        let values = self.cluster.values(leader);
        for (value, offset) in &self.acknowledged {
            assert_eq!(values.get(*offset as usize), Some(value), "acknowledged, and not in {values:?}");
        }
        let replicated = self.cluster.high_watermark(leader) as usize;
        let shared = replicated.min(self.seen.len());
        assert_eq!(values[..shared], self.seen[..shared], "what consumers had seen has changed");
        if replicated > self.seen.len() {
            self.seen = values[..replicated].to_vec();
        }
        assert!(
            values.starts_with(&self.seen),
            "what consumers had seen is gone: {:?} {values:?}",
            self.seen
        );
    }

    /// Nothing fails any more: all replicas come to agree, in time.
    fn end_well(&mut self) {
        self.cluster.cut.clear();
        for id in ALL {
            self.start(id);
        }
        for _ in 0..10 {
            ALL.into_iter().for_each(|id| self.cluster.tell(id));
            self.cluster.pass_ms(1_000);
            self.cluster.replicate();
            self.check();
        }
        let values = self.cluster.values(ALL[0]);
        for id in ALL {
            assert_eq!(self.cluster.values(id), values, "of {id}");
            assert_eq!(self.cluster.high_watermark(id), values.len() as i64, "of {id}");
        }
        assert_eq!(self.cluster.decided.isr.len(), ALL.len());
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn what_is_replicated_stays(min_insync_replicas in 1..3usize, steps in vec(step(), 1..150)) {
        let mut run = Run::new(min_insync_replicas);
        for step in steps {
            run.step(step);
        }
        run.end_well();
    }
}
