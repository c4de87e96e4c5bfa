//! What goes wrong in a run, and when: the seed decides it before the run begins, so that a part of it can be left out while
//! the rest stays as it is.

use ottla_log::disk::sim::{Call, Loss};
use ottla_types::NodeId;

use crate::rng::Rng;

/// Not the seed's own numbers: what goes wrong does not depend on what else the seed decides.
const OTHER_NUMBERS: u64 = 0xA5A5_5A5A_0F0F_F0F0;
const NUMBERS_OF_WIDE: u64 = 0x5A5A_A5A5_F0F0_0F0F;
const NUMBERS_OF_CONNECTIONS: u64 = 0x6969_9696_5A5A_3C3C;
const NUMBERS_OF_SCHEMES: u64 = 0x9696_6969_C3C3_A5A5;
const FAIL_DIR_PER_MYRIAD: u64 = 8;
const BREAK_PER_MYRIAD: u64 = 60;
const LEAVE_BEHIND_PER_MYRIAD: u64 = 16;

/// How the network is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing gets from the first to the second.
    OneWay(NodeId, NodeId),
    Between(NodeId, NodeId),
    /// It hears the others, and nobody hears it.
    OnlyHears(NodeId),
    CutOff(NodeId),
    /// Each hears one other.
    Ring,
}

/// A kind of fault that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill {
        node: NodeId,
        down_ms: u64,
    },
    /// It is told to stop, and starts again.
    Restart {
        node: NodeId,
        down_ms: u64,
    },
    /// What was not flushed may be lost; now and then a sector at the end of a log is garbage besides.
    LosePower {
        node: NodeId,
        down_ms: u64,
        loss: Loss,
        corrupts: bool,
    },
    /// The process stands still, and its clock runs on.
    StandStill {
        node: NodeId,
        ms: u64,
    },
    /// It gets a quarter of its time.
    Slow {
        node: NodeId,
        ms: u64,
    },
    Cut(Shape),
    Mend,
    /// The connections between two nodes are gone, and both hear of it; what was sent on them still arrives so much later, if it does.
    Break {
        between: (NodeId, NodeId),
        arrives_after_ms: Option<u64>,
    },
    /// Its connection is gone; what it sent may still arrive.
    CutClient {
        client: u64,
        arrives: bool,
    },
    /// A call fails. Since nobody knows what is on the disk by then, the machine is without power soon after.
    FailDisk {
        node: NodeId,
        call: Option<Call>,
        calls: u64,
        ms: u64,
    },
    FillDisk {
        node: NodeId,
        bytes: u64,
        ms: u64,
    },
    /// All calls to its second log directory fail, which takes that offline; the machine is without power at last.
    FailDir {
        node: NodeId,
        ms: u64,
    },
    /// A follower of the partition for which a leader that lacks records is better than none dies, the others go on without it, and are
    /// dead when it is back.
    LeaveBehind {
        choice: u64,
    },
    /// The connection of somebody who writes is gone several times in a row, each time while something is on its way.
    Flap {
        choice: u64,
    },
    /// Two voters stand at the same time, and the one that decides between them ends when it has.
    SplitVote {
        choice: u64,
    },
    /// The quorum's leader is cut off from most of the voters, together with those that it is about to make voters, or with few that are.
    SplitQuorum {
        choice: u64,
    },
    /// Who led the quorum leads it once more after another has, and ends before anything of that epoch of its is replicated.
    LeadAgain,
    /// A broker loses what it has while its leader's word that it has caught up is on its way to the controller.
    LoseLetIn {
        choice: u64,
    },
    /// Its wall clock is this much ahead from now on, or behind.
    SetClock {
        node: NodeId,
        ahead_ms: i64,
    },
}

impl Fault {
    /// Whose disk is to lose something or to fail.
    pub fn node(self) -> Option<NodeId> {
        match self {
            Fault::LosePower { node, .. }
            | Fault::FailDisk { node, .. }
            | Fault::FillDisk { node, .. }
            | Fault::FailDir { node, .. } => Some(node),
            _ => None,
        }
    }

    /// Whether a process ends or is hindered, or a connection between two.
    pub fn ends_or_hinders(self) -> bool {
        let ends = matches!(self, Fault::Kill { .. } | Fault::Restart { .. } | Fault::LeaveBehind { .. });
        ends || self.may_fence() || matches!(self, Fault::Break { .. })
    }

    /// Whether a node that lives may be taken for dead.
    pub fn may_fence(self) -> bool {
        matches!(self, Fault::StandStill { .. } | Fault::Slow { .. } | Fault::Cut(_))
    }
}

/// A fault, and the round that it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub round: u32,
    pub fault: Fault,
}

/// In the order of rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(pub Vec<Planned>);

impl Plan {
    pub fn draw(seed: u64, rounds: u32, members: &[NodeId]) -> Plan {
        let mut rng = Rng::new(seed ^ OTHER_NUMBERS);
        // Clocks that are set make timeouts of transactions mean little, so that half of the seeds leave them alone.
        let clocks_are_set = rng.one_in(2);
        let mut planned = Vec::new();
        for round in 0..rounds {
            for chance in CHANCES {
                if rng.per_myriad(chance.per_myriad) {
                    let fault = (chance.draw)(members, &mut rng);
                    if clocks_are_set || !matches!(fault, Fault::SetClock { .. }) {
                        planned.push(Planned { round, fault });
                    }
                }
            }
        }
        Plan(planned)
    }

    /// With what else can go wrong: two log directories, connections that break, a partition whose leaders are all dead, and what
    /// takes several faults at the right moments.
    pub fn draw_wide(seed: u64, rounds: u32, members: &[NodeId], brokers: &[NodeId]) -> Plan {
        let Plan(mut planned) = Plan::draw(seed, rounds, members);
        let mut rng = Rng::new(seed ^ NUMBERS_OF_WIDE);
        for round in 0..rounds {
            if rng.per_myriad(FAIL_DIR_PER_MYRIAD) {
                let (node, ms) = (rng.pick(brokers), rng.between(500, 4_000));
                planned.push(Planned { round, fault: Fault::FailDir { node, ms } });
            }
        }
        let mut rng = Rng::new(seed ^ NUMBERS_OF_CONNECTIONS);
        for round in 0..rounds {
            if rng.per_myriad(BREAK_PER_MYRIAD) {
                let arrives_after_ms = rng.one_in(2).then(|| rng.between(1, 1_500));
                planned.push(Planned {
                    round,
                    fault: Fault::Break { between: pair(members, &mut rng), arrives_after_ms },
                });
            }
            if rng.per_myriad(LEAVE_BEHIND_PER_MYRIAD) {
                planned.push(Planned { round, fault: Fault::LeaveBehind { choice: rng.bits() } });
            }
        }
        let mut rng = Rng::new(seed ^ NUMBERS_OF_SCHEMES);
        for round in 0..rounds {
            for scheme in SCHEMES {
                if rng.per_myriad(scheme.per_myriad) {
                    planned.push(Planned { round, fault: (scheme.fault)(rng.bits()) });
                }
            }
        }
        planned.sort_by_key(|planned| planned.round);
        Plan(planned)
    }
}

/// What takes several faults, and how often it comes in ten thousand rounds.
struct Scheme {
    per_myriad: u64,
    fault: fn(u64) -> Fault,
}

const SCHEMES: &[Scheme] = &[
    Scheme { per_myriad: 20, fault: |choice| Fault::Flap { choice } },
    Scheme { per_myriad: 16, fault: |choice| Fault::SplitVote { choice } },
    Scheme { per_myriad: 16, fault: |choice| Fault::LoseLetIn { choice } },
    Scheme { per_myriad: 20, fault: |choice| Fault::SplitQuorum { choice } },
    Scheme { per_myriad: 6, fault: |_| Fault::LeadAgain },
];

/// How often a kind of fault comes, in ten thousand rounds.
struct Chance {
    per_myriad: u64,
    draw: fn(&[NodeId], &mut Rng) -> Fault,
}

const CHANCES: &[Chance] = &[
    Chance { per_myriad: 40, draw: |members, rng| Fault::Cut(shape(members, rng)) },
    Chance { per_myriad: 120, draw: |_, _| Fault::Mend },
    Chance {
        per_myriad: 22,
        draw: |members, rng| Fault::Kill { node: rng.pick(members), down_ms: rng.between(50, 6_000) },
    },
    Chance {
        per_myriad: 10,
        draw: |members, rng| Fault::Restart { node: rng.pick(members), down_ms: rng.between(50, 3_000) },
    },
    Chance {
        per_myriad: 12,
        draw: |members, rng| Fault::LosePower {
            node: rng.pick(members),
            down_ms: rng.between(50, 6_000),
            loss: rng.pick(&[Loss::Everything, Loss::Nothing, Loss::Seeded, Loss::Seeded]),
            corrupts: rng.one_in(3),
        },
    },
    Chance {
        per_myriad: 25,
        draw: |members, rng| Fault::StandStill { node: rng.pick(members), ms: rng.between(500, 8_000) },
    },
    Chance {
        per_myriad: 12,
        draw: |members, rng| Fault::Slow { node: rng.pick(members), ms: rng.between(500, 8_000) },
    },
    Chance { per_myriad: 60, draw: |_, rng| Fault::CutClient { client: rng.bits(), arrives: rng.one_in(2) } },
    Chance {
        per_myriad: 8,
        draw: |members, rng| Fault::FailDisk {
            node: rng.pick(members),
            call: rng.pick(&[
                None,
                Some(Call::Write),
                Some(Call::Sync),
                Some(Call::Read),
                Some(Call::Rename),
            ]),
            calls: rng.between(1, 40),
            ms: rng.between(100, 2_000),
        },
    },
    Chance {
        per_myriad: 6,
        draw: |members, rng| Fault::FillDisk {
            node: rng.pick(members),
            bytes: rng.below(3_000),
            ms: rng.between(500, 4_000),
        },
    },
    Chance {
        per_myriad: 15,
        draw: |members, rng| Fault::SetClock {
            node: rng.pick(members),
            ahead_ms: rng.between(0, 40_000) as i64 - 20_000,
        },
    },
];

/// Two different ones.
fn pair(members: &[NodeId], rng: &mut Rng) -> (NodeId, NodeId) {
    let a = rng.pick(members);
    let others: Vec<NodeId> = members.iter().copied().filter(|id| *id != a).collect();
    (a, rng.pick(&others))
}

fn shape(members: &[NodeId], rng: &mut Rng) -> Shape {
    let (a, b) = pair(members, rng);
    match rng.below(9) {
        0 | 1 => Shape::OneWay(a, b),
        2 | 3 => Shape::Between(a, b),
        4 | 5 => Shape::OnlyHears(a),
        6 | 7 => Shape::CutOff(a),
        _ => Shape::Ring,
    }
}

impl Shape {
    /// The ways that it cuts.
    pub fn ways(self, members: &[NodeId]) -> Vec<(NodeId, NodeId)> {
        let others = |of: NodeId| members.iter().copied().filter(move |id| *id != of);
        match self {
            Shape::OneWay(a, b) => vec![(a, b)],
            Shape::Between(a, b) => vec![(a, b), (b, a)],
            Shape::OnlyHears(a) => others(a).map(|other| (a, other)).collect(),
            Shape::CutOff(a) => others(a).flat_map(|other| [(a, other), (other, a)]).collect(),
            Shape::Ring => {
                let next = members.iter().copied().cycle().skip(1);
                members.iter().copied().zip(next).collect()
            }
        }
    }

    /// What it is counted as.
    pub fn name(self) -> &'static str {
        match self {
            Shape::OneWay(..) => "ways cut in one direction",
            Shape::Between(..) => "ways cut",
            Shape::OnlyHears(_) => "nodes that only hear",
            Shape::CutOff(_) => "nodes cut off",
            Shape::Ring => "networks that are a ring",
        }
    }
}
