//! Reads the logs of coordinators that this node has become, so that nothing else waits for that.

use std::sync::Arc;

use ottla_broker::node::Node;
use ottla_types::MonoMs;

use super::{Alarm, Woken};
use crate::clock::Clock;

pub fn loader(alarm: &Alarm, node: &Arc<Node>, clock: Clock) {
    loop {
        while !alarm.is_stopped() && node.load_next_shard(|| clock.now()) {}
        if alarm.sleep_until(&clock, || MonoMs::NEVER) == Woken::Stop {
            return;
        }
    }
}
