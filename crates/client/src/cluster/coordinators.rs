//! Which broker coordinates a group, a transactional id or the shares of a partition.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_types::NodeId;

/// What a coordinator is asked for by. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
    Share = 2,
}

/// Coordinators that were found and have not been wrong since.
#[derive(Debug, Default)]
pub(crate) struct Coordinators {
    found: HashMap<(CoordinatorKind, Arc<str>), NodeId>,
}

/// A client that asks for coordinators of ever new keys forgets the old ones rather than grow without end.
const KEPT_MAX: usize = 10_000;

impl Coordinators {
    pub fn get(&self, kind: CoordinatorKind, key: &Arc<str>) -> Option<NodeId> {
        self.found.get(&(kind, Arc::clone(key))).copied()
    }

    pub fn found(&mut self, kind: CoordinatorKind, key: &Arc<str>, node: NodeId) {
        if self.found.len() >= KEPT_MAX {
            self.found.clear();
        }
        self.found.insert((kind, Arc::clone(key)), node);
    }

    pub fn forget(&mut self, kind: CoordinatorKind, key: &Arc<str>) {
        self.found.remove(&(kind, Arc::clone(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_keys_are_apart() {
        let mut coordinators = Coordinators::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        coordinators.found(CoordinatorKind::Group, &a, NodeId(1));
        coordinators.found(CoordinatorKind::Transaction, &a, NodeId(2));
        assert_eq!(coordinators.get(CoordinatorKind::Group, &a), Some(NodeId(1)));
        assert_eq!(coordinators.get(CoordinatorKind::Group, &b), None);
        coordinators.forget(CoordinatorKind::Group, &a);
        assert_eq!(coordinators.get(CoordinatorKind::Group, &a), None);
        assert_eq!(coordinators.get(CoordinatorKind::Transaction, &a), Some(NodeId(2)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut coordinators = Coordinators::default();
        for key in 0..3 * KEPT_MAX {
            coordinators.found(CoordinatorKind::Group, &key.to_string().into(), NodeId(1));
            assert!(coordinators.found.len() <= KEPT_MAX);
        }
    }
}
