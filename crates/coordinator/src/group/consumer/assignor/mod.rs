//! Server-side assignors: from who is in the group, what each subscribes to and what each has, to who shall have what.
//!
//! What always holds of an assignment: every partition of a topic that somebody subscribes to belongs to exactly one
//! member, and that member subscribes to the topic. The same input always has the same answer.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::group::modern::assignor::{Assignment, GroupSpec, MemberSpec};

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
    pub fn assign(self, group: &GroupSpec) -> BTreeMap<Arc<str>, Assignment> {
        match self {
            Assignor::Uniform => uniform::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}
