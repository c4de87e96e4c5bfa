//! What goes wrong, as the seed wants it.

use ottla_types::NodeId;

use super::wires::Wires;
use crate::rng::Rng;

/// A kind of fault that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    Kill(NodeId),
    LosePower(NodeId),
    /// The process stands still for so long.
    Freeze(NodeId, u64),
    CutClient,
    Mend,
}

impl Harm {
    /// Perhaps one, and perhaps the network is cut besides: what of it is told.
    pub fn next(
        members: &[NodeId],
        wires: &mut Wires,
        rng: &mut Rng,
    ) -> (Option<Harm>, Option<&'static str>) {
        let cut = rng.per_myriad(40).then(|| cut(members, wires, rng));
        let victim = rng.pick(members);
        let harm = if rng.per_myriad(25) {
            Some(Harm::Kill(victim))
        } else if rng.per_myriad(20) {
            Some(Harm::LosePower(victim))
        } else if rng.per_myriad(25) {
            Some(Harm::Freeze(victim, rng.between(500, 8_000)))
        } else if rng.per_myriad(60) {
            Some(Harm::CutClient)
        } else if wires.has_cuts() && rng.per_myriad(120) {
            Some(Harm::Mend)
        } else {
            None
        };
        (harm, cut)
    }
}

/// Cuts the network in one of the shapes that there are.
fn cut(members: &[NodeId], wires: &mut Wires, rng: &mut Rng) -> &'static str {
    let a = rng.pick(members);
    let others: Vec<NodeId> = members.iter().copied().filter(|id| *id != a).collect();
    let b = rng.pick(&others);
    match rng.below(4) {
        0 => {
            wires.cut(a, b);
            "ways cut in one direction"
        }
        1 => {
            wires.cut(a, b);
            wires.cut(b, a);
            "ways cut"
        }
        2 => {
            others.iter().for_each(|other| wires.cut(a, *other));
            "nodes that only hear"
        }
        _ => {
            for other in others {
                wires.cut(a, other);
                wires.cut(other, a);
            }
            "nodes cut off"
        }
    }
}
