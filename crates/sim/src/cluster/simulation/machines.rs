//! Machines that join a cluster, leave it and come back.

use ottla_types::NodeId;

use super::ClusterSimulation;
use crate::cluster::shape::Member;

/// The process of a machine that is taken away does not come back before that is over.
const DOWN_MS: u64 = 1;

impl ClusterSimulation {
    /// Has machines join that are due, and stop or come back as the operator wants it.
    pub(super) fn come_and_go(&mut self) {
        if self.begun > self.now.mono {
            return;
        }
        let run_ms = self.now.mono.since_ms(self.begun);
        for member in self.shape.members.clone() {
            let Member { id, joins_after_ms, .. } = member;
            let is_to_be_away = self.machines.is_to_be_away(id);
            let has_joined = joins_after_ms <= run_ms || !self.has_faults;
            let Some(host) = self.hosts.get(&id) else { continue };
            // It is killed if that takes too long, and no two machines may lose what they have.
            let may_stop = !self.has_faults || self.may_end(id);
            if host.is_away && has_joined && !is_to_be_away {
                self.join(id);
            } else if is_to_be_away && !host.is_away && host.node().is_none() {
                self.say(&format_args!("node {id} is taken away"));
                self.set_away(id, true);
            } else if is_to_be_away && host.is_running() && !host.is_stopping() && may_stop {
                self.restart(id, DOWN_MS);
            }
        }
    }

    fn join(&mut self, id: NodeId) {
        self.say(&format_args!("node {id} joins"));
        self.count("nodes joined", 1);
        self.set_away(id, false);
    }

    fn set_away(&mut self, id: NodeId, is_away: bool) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.is_away = is_away;
        }
        self.machines.note(id, is_away);
    }
}
