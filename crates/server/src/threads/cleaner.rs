//! The threads that compact logs: as many as `log.cleaner.threads` says, also when it changes.

use std::io;
use std::sync::Arc;

use ottla_broker::node::Node;
use ottla_types::MonoMs;
use parking_lot::Mutex;

use super::{Alarm, Woken, Worker};
use crate::clock::Clock;

/// The pool of cleaner threads.
#[derive(Debug)]
pub struct Cleaners {
    node: Arc<Node>,
    clock: Clock,
    workers: Mutex<Workers>,
}

#[derive(Debug, Default)]
struct Workers {
    running: Vec<Worker>,
    /// No more are to come.
    is_stopped: bool,
}

impl Cleaners {
    /// No thread runs before [`Cleaners::update`].
    pub fn new(node: Arc<Node>, clock: Clock) -> Cleaners {
        Cleaners { node, clock, workers: Mutex::default() }
    }

    /// Runs as many threads as the node wants now. Those that wait look at the new settings; a cleaning that is under
    /// way goes on with its buffers.
    pub fn update(&self) -> io::Result<()> {
        self.resize(self.node.cleaner_threads(), false)
    }

    pub fn stop(&self) {
        // Stopping none can't fail.
        let _ = self.resize(0, true);
    }

    fn resize(&self, threads: usize, is_last: bool) -> io::Result<()> {
        let mut workers = self.workers.lock();
        if workers.is_stopped {
            return Ok(());
        }
        workers.is_stopped = is_last;
        let workers = &mut workers.running;
        let kept = threads.min(workers.len());
        for removed in workers.drain(kept..).collect::<Vec<_>>() {
            removed.stop();
        }
        for worker in workers.iter() {
            worker.alarm.ring();
        }
        while workers.len() < threads {
            let (node, clock) = (Arc::clone(&self.node), self.clock);
            let name = format!("cleaner-{}", workers.len());
            workers.push(Worker::spawn(&name, Arc::default(), move |alarm| run(alarm, &node, clock))?);
        }
        Ok(())
    }
}

fn run(alarm: &Alarm, node: &Node, clock: Clock) {
    let mut worker = node.cleaner_worker();
    while !alarm.is_stopped() {
        let now = clock.now();
        let wait_ms = node.clean_step(&mut worker, now);
        let until = MonoMs(now.mono.0.saturating_add(wait_ms));
        if wait_ms > 0 && alarm.sleep_until(&clock, || until) == Woken::Stop {
            break;
        }
    }
    node.stop_cleaning(worker);
}
