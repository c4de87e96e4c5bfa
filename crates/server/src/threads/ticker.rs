//! Time for the node: delayed answers, timers of groups, heartbeats.

use std::sync::Arc;

use ottla_broker::lifecycle::LifecycleState;
use ottla_broker::node::Node;
use tokio::sync::watch;

use super::{Alarm, Woken};
use crate::clock::Clock;

/// Ticks the node whenever something is due, and publishes how far its life has come.
pub fn ticker(alarm: &Alarm, node: &Arc<Node>, clock: Clock, state: &watch::Sender<LifecycleState>) {
    loop {
        node.tick(clock.now());
        let current = node.lifecycle_state();
        state.send_if_modified(|known| std::mem::replace(known, current) != current);
        if alarm.sleep_until(&clock, || node.next_deadline()) == Woken::Stop {
            return;
        }
    }
}
