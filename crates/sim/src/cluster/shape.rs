//! What a cluster is made of: how many machines, what each of them does, who votes first, and who comes later.

use ottla_config::Roles;
use ottla_types::NodeId;

use crate::node::{DIR, OTHER_DIR};
use crate::rng::Rng;

const BOTH: Roles = Roles { broker: true, controller: true };
const CONTROLLER: Roles = Roles { broker: false, controller: true };
const BROKER: Roles = Roles { broker: true, controller: false };
/// Not the seed's own numbers: what else it decides does not depend on the shape.
const OTHER_NUMBERS: u64 = 0x3C3C_C3C3_9696_6969;
/// When who comes later joins, in milliseconds of the run.
const JOINS_MS: (u64, u64) = (1_000, 7_000);

/// A machine of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub id: NodeId,
    pub roles: Roles,
    /// It is there from the beginning, or so long after.
    pub joins_after_ms: u64,
    /// It may be taken away for a while once nothing is on it.
    pub may_leave: bool,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// What it is counted as; nothing where there is but one shape.
    pub name: Option<&'static str>,
    pub members: Vec<Member>,
    pub voters: Vec<NodeId>,
    /// The voters are in the log, and may become others.
    pub has_voters_in_log: bool,
    /// Controllers that are no voters become such by themselves.
    pub joins_by_itself: bool,
    pub log_dirs: &'static [&'static str],
}

impl Shape {
    /// Three nodes with both roles.
    pub fn three() -> Shape {
        Shape {
            name: None,
            members: members(BOTH, &[1, 2, 3], None),
            voters: ids(&[1, 2, 3]),
            has_voters_in_log: false,
            joins_by_itself: false,
            log_dirs: &[DIR],
        }
    }

    /// More of them, some of which come later. All shapes come in turn.
    pub fn wide(seed: u64) -> Shape {
        let mut rng = Rng::new(seed ^ OTHER_NUMBERS);
        let mut later = || Some(rng.between(JOINS_MS.0, JOINS_MS.1));
        let mut shape = match seed % 3 {
            0 => {
                let mut members_of = members(BROKER, &[1, 2, 3], None);
                members_of.extend(members(BROKER, &[4], later()));
                members_of.extend(members(CONTROLLER, &[5, 6, 7], None));
                Shape {
                    name: Some("clusters of separate controllers and brokers"),
                    members: members_of,
                    voters: ids(&[5, 6, 7]),
                    ..Shape::three()
                }
            }
            1 => {
                let mut members_of = members(BOTH, &[1, 2, 3], None);
                members_of.extend(members(BROKER, &[4], None));
                members_of.extend(members(BROKER, &[5], later()));
                Shape { name: Some("clusters with more brokers"), members: members_of, ..Shape::three() }
            }
            _ => {
                let mut members_of = members(BOTH, &[1, 2, 3, 4], None);
                members_of.extend(members(BOTH, &[5], later()));
                Shape {
                    name: Some("clusters whose voters change"),
                    members: members_of,
                    has_voters_in_log: true,
                    ..Shape::three()
                }
            }
        };
        for member in &mut shape.members {
            member.may_leave = member.roles == BROKER && member.id.value() > 3;
        }
        shape.joins_by_itself = shape.has_voters_in_log && rng.one_in(3);
        if !rng.one_in(4) {
            shape.log_dirs = &[DIR, OTHER_DIR];
        }
        shape
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.members.iter().map(|member| member.id).collect()
    }

    pub fn brokers(&self) -> Vec<NodeId> {
        self.members.iter().filter(|member| member.roles.broker).map(|member| member.id).collect()
    }

    pub fn controllers(&self) -> Vec<NodeId> {
        self.members.iter().filter(|member| member.roles.controller).map(|member| member.id).collect()
    }
}

fn ids(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn members(roles: Roles, of: &[i32], joins_after_ms: Option<u64>) -> Vec<Member> {
    let joins_after_ms = joins_after_ms.unwrap_or(0);
    of.iter().map(|id| Member { id: NodeId(*id), roles, joins_after_ms, may_leave: false }).collect()
}
