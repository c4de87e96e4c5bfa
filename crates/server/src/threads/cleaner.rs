//! The threads that compact logs: as many as `log.cleaner.threads` says, also when it changes.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_broker::node::Node;
use ottla_config::{Config, keys};
use ottla_log::cleaner::{CleanProgress, CleanerConfig, IoThrottle};
use ottla_types::MonoMs;
use parking_lot::Mutex;

use super::{Alarm, Woken, Worker};
use crate::clock::Clock;

/// What the threads share.
#[derive(Debug)]
struct Shared {
    settings: ArcSwap<Settings>,
    throttle: Mutex<IoThrottle>,
    clock: Clock,
}

#[derive(Clone, Debug, PartialEq)]
struct Settings {
    config: CleanerConfig,
    backoff_ms: i64,
    io_bytes_per_second: f64,
}

/// The pool of cleaner threads.
#[derive(Debug)]
pub struct Cleaners {
    node: Arc<Node>,
    shared: Arc<Shared>,
    workers: Mutex<Vec<Worker>>,
}

impl Cleaners {
    /// `hash_secret` is random. No thread runs before [`Cleaners::update`].
    pub fn new(node: Arc<Node>, config: &Config, hash_secret: (u64, u64), clock: Clock) -> Cleaners {
        let settings = settings(config, hash_secret);
        let throttle = Mutex::new(IoThrottle::new(settings.io_bytes_per_second, clock.now().mono));
        let settings = ArcSwap::from_pointee(settings);
        let shared = Arc::new(Shared { settings, throttle, clock });
        Cleaners { node, shared, workers: Mutex::default() }
    }

    /// Takes new settings; a cleaning that is under way goes on with its buffers.
    pub fn update(&self, config: &Config) -> io::Result<()> {
        let hash_secret = self.shared.settings.load().config.hash_secret;
        let new = settings(config, hash_secret);
        self.shared.throttle.lock().set_bytes_per_second(new.io_bytes_per_second);
        let threads = new.config.threads;
        self.shared.settings.store(Arc::new(new));
        self.resize(if config.get(keys::LOG_CLEANER_ENABLE) { threads } else { 0 })
    }

    pub fn stop(&self) {
        // Stopping none can't fail.
        let _ = self.resize(0);
    }

    fn resize(&self, threads: usize) -> io::Result<()> {
        let mut workers = self.workers.lock();
        let kept = threads.min(workers.len());
        for removed in workers.drain(kept..).collect::<Vec<_>>() {
            removed.stop();
        }
        while workers.len() < threads {
            let (shared, node) = (Arc::clone(&self.shared), Arc::clone(&self.node));
            let name = format!("cleaner-{}", workers.len());
            workers.push(Worker::spawn(&name, Arc::default(), move |alarm| shared.run(alarm, &node))?);
        }
        Ok(())
    }
}

impl Shared {
    fn run(&self, alarm: &Alarm, node: &Arc<Node>) {
        loop {
            let has_cleaned = self.clean_one(alarm, node);
            let backoff_ms = if has_cleaned { 0 } else { self.settings.load().backoff_ms };
            let until = self.clock.now().mono.plus_ms(backoff_ms);
            if alarm.sleep_until(&self.clock, || until) == Woken::Stop {
                return;
            }
        }
    }

    /// Cleans the dirtiest log, then removes old segments of compacted ones; false if no log was dirty.
    fn clean_one(&self, alarm: &Alarm, node: &Arc<Node>) -> bool {
        let logs = node.logs().logs();
        let manager = node.logs().cleaner();
        let config = self.settings.load().config.clone();
        let cleaning = manager.grab_filthiest(&logs, &config, self.clock.now());
        let is_stopped = cleaning.as_ref().is_some_and(|cleaning| {
            let partition = cleaning.log().partition();
            loop {
                match manager.step(cleaning, self.clock.now()) {
                    CleanProgress::Worked { io_bytes } => {
                        if self.pause_for(io_bytes, alarm) == Woken::Stop {
                            manager.abort(partition);
                            return true;
                        }
                    }
                    CleanProgress::Finished(stats) => {
                        tracing::info!(%partition, ?stats, "compacted a log");
                        return false;
                    }
                    CleanProgress::Ended => return false,
                }
            }
        });
        if !is_stopped {
            for deletion in manager.grab_deletable(&logs) {
                manager.delete(&deletion, self.clock.now());
            }
        }
        cleaning.is_some()
    }

    fn pause_for(&self, io_bytes: u64, alarm: &Alarm) -> Woken {
        let now = self.clock.now().mono;
        let pause_ms = self.throttle.lock().charge(io_bytes, now);
        if pause_ms == 0 {
            return if alarm.is_stopped() { Woken::Stop } else { Woken::Work };
        }
        let until = MonoMs(now.0.saturating_add(pause_ms));
        alarm.sleep_until(&self.clock, || until)
    }
}

fn settings(config: &Config, hash_secret: (u64, u64)) -> Settings {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    Settings {
        config: CleanerConfig {
            threads: usize::try_from(config.get(keys::LOG_CLEANER_THREADS)).unwrap_or(0),
            dedupe_buffer_bytes: unsigned(config.get(keys::LOG_CLEANER_DEDUPE_BUFFER_SIZE)),
            dedupe_buffer_load_factor: config.get(keys::LOG_CLEANER_IO_BUFFER_LOAD_FACTOR),
            io_buffer_bytes: unsigned(config.get(keys::LOG_CLEANER_IO_BUFFER_SIZE).into()),
            hash_secret,
        },
        backoff_ms: config.get(keys::LOG_CLEANER_BACKOFF_MS),
        io_bytes_per_second: config.get(keys::LOG_CLEANER_IO_MAX_BYTES_PER_SECOND),
    }
}
