//! What an operator has to do with the machines: brokers that are to be taken away, and whether that is done.

use std::collections::BTreeSet;

use ottla_types::NodeId;
use parking_lot::Mutex;

/// See the module.
#[derive(Debug, Default)]
pub struct Machines(Mutex<Away>);

#[derive(Debug, Default)]
struct Away {
    wanted: BTreeSet<NodeId>,
    is_so: BTreeSet<NodeId>,
}

impl Machines {
    /// Its process is to stop, and none is to start.
    pub fn take_away(&self, id: NodeId) {
        self.0.lock().wanted.insert(id);
    }

    pub fn bring_back(&self, id: NodeId) {
        self.0.lock().wanted.remove(&id);
    }

    pub fn is_to_be_away(&self, id: NodeId) -> bool {
        self.0.lock().wanted.contains(&id)
    }

    pub fn is_away(&self, id: NodeId) -> bool {
        self.0.lock().is_so.contains(&id)
    }

    /// There is a process, or none that could start.
    pub fn note(&self, id: NodeId, is_away: bool) {
        let mut away = self.0.lock();
        if is_away {
            away.is_so.insert(id);
        } else {
            away.is_so.remove(&id);
        }
    }
}
