//! Server-side assignors: from who is in the group, what each subscribes to and what each has, to who shall have what.
//!
//! What always holds of an assignment: every partition of a topic that somebody subscribes to belongs to exactly one
//! member, and that member subscribes to the topic. The same input always has the same answer.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;

/// Partitions by topic. No topic is without partitions.
pub type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member as an assignor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSpec {
    /// Set for a static member, whose id changes with each of its lives while this does not.
    pub instance_id: Option<String>,
    pub subscribed: BTreeSet<Uuid>,
    /// What the member is to have so far.
    pub assigned: Assignment,
}

/// A group as an assignor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// By member id.
    pub members: BTreeMap<String, MemberSpec>,
    /// How many partitions each topic has. A topic that is not here does not exist.
    pub partitions: BTreeMap<Uuid, i32>,
}

/// The assignors that `group.consumer.assignors` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Spreads partitions evenly and leaves them where they are if it can.
    Uniform,
    /// Gives each member a run of each topic's partitions, and of topics with as many partitions the same run.
    Range,
}

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// As members and settings name it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member shall have; members that get nothing are there with nothing.
    pub fn assign(self, group: &GroupSpec) -> BTreeMap<String, Assignment> {
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}
