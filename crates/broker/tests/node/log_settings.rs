//! Each setting of a node for all its logs changes what the node does: set in its file, and at run time.

use std::sync::Arc;
use std::time::Duration;

use ottla_broker::node_settings;
use ottla_config::{Config, Table, UpdateMode};
use ottla_log::disk::{Disk, Open, SimDisk};
use ottla_log::log_manager::{LoadProgress, LogManager};
use ottla_log::{LogConfig, UnifiedLog};
use ottla_types::{Now, Uuid};
use parking_lot::{Condvar, Mutex};

use crate::configs::{BROKER, alter_well};
use crate::harness::SteppedNode;
use crate::records::{log_of, put};
use crate::topics::create;

/// The topic whose logs are looked at.
pub const NAME: &str = "t";

/// What a node with some settings does with a topic, as a number.
pub type Observe = fn(&mut SteppedNode, Uuid) -> i64;

pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// Old segments are looked for every second.
pub const OFTEN: &[(&str, &str)] =
    &[("log.retention.check.interval.ms", "1000"), ("log.initial.task.delay.ms", "0")];

pub fn may_be_dynamic(key: &str) -> bool {
    Table::Broker.find(key).is_some_and(|row| row.update_mode != UpdateMode::ReadOnly)
}

pub fn log(node: &SteppedNode) -> Arc<UnifiedLog> {
    log_of(node, NAME)
}

/// Ten records of one key, each in a segment of its own.
pub fn put_ten(node: &mut SteppedNode, topic: Uuid) {
    for _ in 0..10 {
        put(node, topic, "key");
        node.pass_ms(2000);
    }
}

pub fn unflushed(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put(node, topic, "key");
    node.pass_ms(5000);
    node.maintain().unwrap();
    log(node).unflushed_records()
}

/// One setting of the node for all its logs.
struct NodeCase {
    key: &'static str,
    value: &'static str,
    node: &'static [(&'static str, &'static str)],
    observe: Observe,
}

fn first_pause(node: &mut SteppedNode, _: Uuid) -> i64 {
    let mut worker = node.node.cleaner_worker();
    loop {
        let wait_ms = node.node.clean_step(&mut worker, node.now());
        if wait_ms > 0 {
            return wait_ms as i64;
        }
    }
}

fn pauses_while_cleaning(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    i64::from(node.clean() > 1000)
}

fn steps_of_a_cleaning(node: &mut SteppedNode, topic: Uuid) -> i64 {
    (0..20).for_each(|_| put(node, topic, "key"));
    node.pass_ms(2000);
    put(node, topic, "key");
    let mut worker = node.node.cleaner_worker();
    let mut steps = 0;
    while node.node.clean_step(&mut worker, node.now()) == 0 {
        steps += 1;
    }
    node.node.stop_cleaning(worker);
    steps
}

fn cleaner_threads(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.node.cleaner_threads() as i64
}

fn dedupe_buffer(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.node.logs().cleaner_settings().dedupe_buffer_bytes as i64
}

fn load_factor_percent(node: &mut SteppedNode, _: Uuid) -> i64 {
    (node.node.logs().cleaner_settings().dedupe_buffer_load_factor * 100.0) as i64
}

/// Milliseconds until a checkpoint has what was flushed or deleted.
fn checkpointed(node: &mut SteppedNode, topic: Uuid, name: &str) -> i64 {
    put(node, topic, "key");
    node.maintain().unwrap();
    put_ten(node, topic);
    log(node).flush(node.now()).unwrap();
    log(node).maybe_increment_log_start_offset(ottla_types::Offset(5), "test").unwrap();
    let path = std::path::Path::new(crate::harness::DIR).join(name);
    for seconds in 0..100 {
        node.maintain().unwrap();
        let file = node.disk.open(&path, Open::Read).unwrap();
        let mut text = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut text, 0).unwrap();
        let text = String::from_utf8(text).unwrap();
        if text.contains("t 0 11") || text.contains("t 0 5") {
            return seconds;
        }
        node.pass_ms(1000);
    }
    -1
}

fn recovery_point_checkpoint(node: &mut SteppedNode, topic: Uuid) -> i64 {
    checkpointed(node, topic, "recovery-point-offset-checkpoint")
}

fn log_start_checkpoint(node: &mut SteppedNode, topic: Uuid) -> i64 {
    checkpointed(node, topic, "log-start-offset-checkpoint")
}

fn first_retention_after_s(node: &mut SteppedNode, topic: Uuid) -> i64 {
    put_ten(node, topic);
    retention_after_s(node)
}

fn second_retention_after_s(node: &mut SteppedNode, topic: Uuid) -> i64 {
    node.maintain().unwrap();
    put_ten(node, topic);
    retention_after_s(node)
}

fn retention_after_s(node: &mut SteppedNode) -> i64 {
    for seconds in 0..400 {
        node.maintain().unwrap();
        if log(node).log_start_offset().0 > 0 {
            return seconds;
        }
        node.pass_ms(1000);
    }
    -1
}

fn directories(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.node.logs().online_dirs().len() as i64
}

/// Whether the node goes on while the controller can't hear that a directory has failed.
fn goes_on_untold(node: &mut SteppedNode, _: Uuid) -> i64 {
    node.disk.fail_dir(std::path::Path::new("/second"));
    node.node.logs().checkpoint_recovery_points();
    node.maintain().unwrap();
    node.move_clock(2000);
    i64::from(node.maintain().is_ok())
}

const NODE_CASES: &[NodeCase] = &[
    NodeCase { key: "log.cleaner.backoff.ms", value: "777", node: &[], observe: first_pause },
    NodeCase { key: "log.cleaner.dedupe.buffer.size", value: "2000000", node: &[], observe: dedupe_buffer },
    NodeCase { key: "log.cleaner.enable", value: "false", node: &[], observe: cleaner_threads },
    NodeCase {
        key: "log.cleaner.io.buffer.load.factor",
        value: "0.5",
        node: &[],
        observe: load_factor_percent,
    },
    NodeCase {
        key: "log.cleaner.io.buffer.size",
        value: "512",
        node: &[("log.cleanup.policy", "compact"), ("log.roll.ms", "1000")],
        observe: steps_of_a_cleaning,
    },
    NodeCase {
        key: "log.cleaner.io.max.bytes.per.second",
        value: "100",
        node: &[("log.cleanup.policy", "compact"), ("log.roll.ms", "1000")],
        observe: pauses_while_cleaning,
    },
    NodeCase { key: "log.cleaner.threads", value: "2", node: &[], observe: cleaner_threads },
    NodeCase {
        key: "log.dir.failure.timeout.ms",
        value: "1000",
        node: &[("log.dirs", "/data,/second")],
        observe: goes_on_untold,
    },
    NodeCase { key: "log.dirs", value: "/data,/second", node: &[], observe: directories },
    NodeCase {
        key: "log.flush.offset.checkpoint.interval.ms",
        value: "3000",
        node: &[("log.initial.task.delay.ms", "0")],
        observe: recovery_point_checkpoint,
    },
    NodeCase {
        key: "log.flush.start.offset.checkpoint.interval.ms",
        value: "3000",
        node: &[("log.initial.task.delay.ms", "0")],
        observe: log_start_checkpoint,
    },
    NodeCase {
        key: "log.flush.scheduler.interval.ms",
        value: "1000",
        node: &[("log.initial.task.delay.ms", "0")],
        observe: |node, topic| {
            node.maintain().unwrap();
            unflushed(node, topic)
        },
    },
    NodeCase {
        key: "log.initial.task.delay.ms",
        value: "60000",
        node: &[("log.retention.ms", "1000"), ("log.roll.ms", "1000")],
        observe: first_retention_after_s,
    },
    NodeCase {
        key: "log.retention.check.interval.ms",
        value: "40000",
        node: &[("log.retention.ms", "1000"), ("log.roll.ms", "1000"), ("log.initial.task.delay.ms", "0")],
        observe: second_retention_after_s,
    },
];

#[test]
fn each_setting_of_the_node_for_its_logs_acts_however_it_is_set() {
    for case in NODE_CASES {
        let key = case.key;
        let observe = |settings: Settings<'_>, dynamic: Option<&str>| {
            let mut node = SteppedNode::start(&[case.node, settings].concat());
            let id = create(&mut node, NAME, 1, &[]);
            if let Some(name) = dynamic {
                alter_well(&mut node, BROKER, name, &[(key, Some(case.value))]);
            }
            (case.observe)(&mut node, id)
        };
        let with = observe(&[(key, case.value)], None);
        assert_ne!(observe(&[], None), with, "{key} in the file");
        if may_be_dynamic(key) {
            for name in ["", "1"] {
                assert_eq!(observe(&[], Some(name)), with, "{key} of broker {name:?}");
            }
        }
    }
}

/// How many threads open logs at the same time when a node starts that is expected to use so many.
fn loading_threads(settings: Settings<'_>, expected: usize) -> usize {
    let config = Config::of_pairs([&[("log.dirs", "/data")], settings].concat()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    for number in 0..4 {
        disk.create_dir_all(&std::path::Path::new("/data").join(format!("t-{number}"))).unwrap();
    }
    let now = Now::default();
    let logs = LogManager::new(node_settings::log_manager(&config), disk, now);
    // Now, and at most.
    let (together, changed) = (Mutex::new((0_usize, 0_usize)), Condvar::new());
    let configs = |_: &str| {
        let mut together = together.lock();
        together.0 += 1;
        together.1 = together.1.max(together.0);
        changed.notify_all();
        // All that are expected come, sooner or later; one too many gets a moment.
        let seconds = Duration::from_secs;
        changed.wait_while_for(&mut together, |(_, most)| *most < expected, seconds(60));
        changed.wait_while_for(&mut together, |(_, most)| *most <= expected, seconds(1) / 5);
        together.0 -= 1;
        Arc::new(LogConfig::default())
    };
    logs.load(&configs, &LoadProgress::default(), now).unwrap();
    together.into_inner().1
}

#[test]
fn logs_are_loaded_by_as_many_threads_as_are_set() {
    for (settings, expected) in [
        (&[("num.recovery.threads.per.data.dir", "1")][..], 1),
        (&[], 2),
        (&[("num.recovery.threads.per.data.dir", "4")], 4),
    ] {
        assert_eq!(loading_threads(settings, expected), expected);
    }
}
