use ottla_types::{BrokerEpoch, MonoMs, NodeId};

use crate::controller::Controller;
use crate::outcome::Outcome;

impl Controller {
    /// Before anything else is done: who led the quorum before, and when this node has heard of it last. If its machine is dead, that
    /// costs the partitions that it led one session, and not the election's time beside.
    pub fn takes_over_from(&mut self, former: NodeId, heard_at: MonoMs) {
        self.sessions.heard_last_at(former, heard_at);
    }

    /// The process of this epoch has ended: its partitions are led on without waiting for its session. It was not so if it
    /// heartbeats again: then nobody is believed any more who says so of that process.
    pub fn broker_is_gone(&mut self, id: NodeId, epoch: BrokerEpoch) -> Outcome<()> {
        let Ok(broker) = self.registered(id, epoch) else { return Outcome::answer(()) };
        if broker.is_fenced() || id == self.settings.node_id {
            return Outcome::answer(());
        }
        let broker = broker.clone();
        if !self.sessions.take_for_gone(id) {
            tracing::warn!(broker = %id, %epoch, "a broker is said to be gone, and was once when it was not: its session decides");
            return Outcome::answer(());
        }
        let mut records = self.records();
        self.fence(&broker, "its process has ended", &mut records);
        records.with(())
    }
}
