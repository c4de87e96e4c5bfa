//! What the logs need from time to time: flushing, checkpoints, retention, removal of what was deleted.

use std::sync::Arc;

use ottla_broker::node::Node;

use super::{Alarm, Fatal, Woken};
use crate::clock::Clock;

/// Works through the schedule of the logs, until log directories fail that a node can't do without.
pub fn maintenance(alarm: &Alarm, node: &Arc<Node>, clock: Clock, fatal: &Fatal) {
    loop {
        if let Err(halt) = node.maintain(clock.now()) {
            fatal.tell(halt.to_string());
            return;
        }
        if alarm.sleep_until(&clock, || node.next_maintenance()) == Woken::Stop {
            return;
        }
    }
}
