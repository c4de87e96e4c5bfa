//! Files that interrupted work leaves.

use ottla_record::AppendOrigin;
use ottla_types::{Offset, ProducerEpoch, ProducerId};

use crate::producer_snapshot::{self, ProducerSnapshotEntry};
use crate::test_log::{START, TestLog, marker, numbered, producer_batch, small_config, txn_batch};

fn filled() -> TestLog {
    let log = TestLog::new(small_config());
    for n in 0..40 {
        log.append(&[&format!("value-{n}")]);
    }
    log
}

/// Changes the files of a closed log, and opens it again.
fn check(
    change: impl Fn(&TestLog, &dyn Fn(i64, &str, &str)),
    expected: impl Fn(&TestLog, Vec<(i64, String)>),
) {
    for clean in [true, false] {
        let mut log = filled();
        let before = log.all();
        log.close();
        let rename = |base: i64, from: &str, to: &str| {
            let path = |suffix: &str| log.dir.join(format!("{base:020}{suffix}"));
            std::fs::rename(path(from), path(to)).unwrap();
        };
        change(&log, &rename);
        log.reopen_with(Offset(0), log.log.log_end_offset(), clean);
        expected(&log, before);
        let names = log.file_names();
        let is_leftover =
            |name: &&String| [".swap", ".cleaned", ".deleted"].iter().any(|end| name.ends_with(end));
        assert_eq!(names.iter().find(is_leftover), None, "{names:?}");
    }
}

fn unchanged(log: &TestLog, before: Vec<(i64, String)>) {
    assert_eq!(log.all(), before);
}

#[test]
fn worthless_files_are_removed() {
    let leave = |log: &TestLog, _: &dyn Fn(i64, &str, &str)| {
        for name in [
            "00000000000000000000.log.cleaned",
            "00000000000000000000.index.cleaned",
            "00000000000000000003.log.deleted",
            "00000000000000000003.snapshot.deleted",
            "00000000000000000099.index",
            "00000000000000000099.timeindex",
        ] {
            std::fs::write(log.dir.join(name), "rubbish").unwrap();
        }
        std::fs::write(log.dir.join("00000000000000000007-0000000001.checkpoint.deleted"), "raft's").unwrap();
    };
    let kept = |log: &TestLog, before| {
        unchanged(log, before);
        assert!(!log.file_names().iter().any(|name| name.contains("99.")), "{:?}", log.file_names());
    };
    check(leave, |log, before| {
        std::fs::remove_file(log.dir.join("00000000000000000007-0000000001.checkpoint.deleted"))
            .expect("what is not the log's is left alone");
        kept(log, before);
    });
}

#[test]
fn a_swap_that_was_begun_is_finished() {
    // The second segment's files were renamed to `.swap`, and the old ones not yet removed: here they are the same.
    let swap = |log: &TestLog, _: &dyn Fn(i64, &str, &str)| {
        let base = log.base_offsets()[1];
        for kind in [".log", ".index", ".timeindex"] {
            let path = |suffix: &str| log.dir.join(format!("{base:020}{kind}{suffix}"));
            std::fs::copy(path(""), path(".swap")).unwrap();
        }
    };
    check(swap, unchanged);
    let half = |log: &TestLog, rename: &dyn Fn(i64, &str, &str)| {
        let base = log.base_offsets()[1];
        rename(base, ".log", ".log.swap");
        rename(base, ".timeindex", ".timeindex.swap");
    };
    check(half, unchanged);
}

#[test]
fn a_swap_that_was_not_complete_is_undone() {
    let swap = |log: &TestLog, _: &dyn Fn(i64, &str, &str)| {
        let bases = log.base_offsets();
        std::fs::write(log.dir.join(format!("{:020}.log.swap", bases[2])), "half").unwrap();
        std::fs::write(log.dir.join(format!("{:020}.log.cleaned", bases[1])), "half").unwrap();
    };
    check(swap, unchanged);
}

#[test]
fn indexes_are_made_again() {
    for kind in [".index", ".timeindex"] {
        check(
            |log, _| {
                for base in log.base_offsets() {
                    std::fs::remove_file(log.dir.join(format!("{base:020}{kind}"))).unwrap();
                }
            },
            unchanged,
        );
    }
    // As Kafka leaves them when it crashes: with space that it had preallocated.
    check(
        |log, _| {
            let active = *log.base_offsets().last().unwrap();
            for kind in [".index", ".timeindex"] {
                let path = log.dir.join(format!("{active:020}{kind}"));
                std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10_485_760).unwrap();
            }
        },
        unchanged,
    );
}

#[test]
fn stale_indexes_are_not_believed() {
    // Each segment gets the index of another log's segment, with larger batches.
    check(
        |log, _| {
            let other = TestLog::new(crate::LogConfig { segment_bytes: 100_000, ..small_config() });
            for n in 0..40 {
                other.append(&[&format!("{n}{}", "x".repeat(n))]);
            }
            other.close();
            let stale = std::fs::read(other.dir.join("00000000000000000000.index")).unwrap();
            for base in log.base_offsets() {
                std::fs::write(log.dir.join(format!("{base:020}.index")), &stale).unwrap();
            }
        },
        |log, before| {
            unchanged(log, before.clone());
            for (offset, value) in before {
                let found = log.consume(offset, 1, crate::FetchIsolation::LogEnd);
                assert_eq!(found.first(), Some(&(offset, value)));
            }
        },
    );
}

#[test]
fn index_entries_that_lead_too_far_are_passed_over() {
    // Entries that end at real batches, but at later ones than they say.
    let mut log = filled();
    let expected = log.all();
    log.close();
    for base in log.base_offsets() {
        let path = log.dir.join(format!("{base:020}.index"));
        let bytes = std::fs::read(&path).unwrap();
        let last_position = bytes.last_chunk::<4>().copied().unwrap_or_default();
        std::fs::write(path, [1i32.to_be_bytes(), last_position].concat()).unwrap();
    }
    log.reopen_with(Offset(0), log.log.log_end_offset(), true);
    for (offset, value) in expected {
        let found = log.consume(offset, 1, crate::FetchIsolation::LogEnd);
        assert_eq!(found.first(), Some(&(offset, value)));
    }
}

#[test]
fn a_flipped_bit_ends_an_unflushed_log() {
    let mut log = filled();
    let segment = log.log.segments().get(Offset(log.base_offsets()[1])).unwrap().clone();
    let second = segment.locate(Offset(segment.base_offset().0 + 1)).unwrap().unwrap();
    log.close();
    let path = segment.path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(second.position + second.size_in_bytes - 3) as usize] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    log.reopen_with(Offset(0), Offset(0), false);
    assert_eq!(log.log.log_end_offset(), second.base_offset);
    assert_eq!(log.all().len() as i64, second.base_offset.0);
}

#[test]
fn a_torn_end_is_cut_off_even_if_the_stop_seemed_clean() {
    check(
        |log, _| {
            let active = *log.base_offsets().last().unwrap();
            let path = log.dir.join(format!("{active:020}.log"));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.extend_from_within(..30);
            std::fs::write(path, bytes).unwrap();
        },
        unchanged,
    );
}

#[test]
fn damaged_snapshots_are_passed_over() {
    check(
        |log, _| {
            for name in log.file_names().iter().filter(|name| name.ends_with(".snapshot")) {
                std::fs::write(log.dir.join(name), "rubbish").unwrap();
            }
        },
        unchanged,
    );
}

/// It is left of segments that are gone, perhaps of another past, and the newer ones were lost with the power.
#[test]
fn a_snapshot_where_no_segment_begins_says_nothing() {
    let mut log = TestLog::new(small_config());
    for sequence in 0..40 {
        log.append_batch(&producer_batch(&["value"], 1, 0, sequence)).unwrap();
    }
    let (producers, bases) = (log.log.active_producers(), log.base_offsets());
    for name in log.file_names().iter().filter(|name| name.ends_with(".snapshot")) {
        std::fs::remove_file(log.dir.join(name)).unwrap();
    }
    let stray = bases[1] - 1;
    let of_nobody_here = ProducerSnapshotEntry {
        producer_id: ProducerId(77),
        producer_epoch: ProducerEpoch(0),
        last_sequence: 0,
        last_offset: Offset(stray - 1),
        offset_delta: 0,
        timestamp: START,
        coordinator_epoch: -1,
        current_txn_first_offset: Offset(-1),
    };
    let path = log.dir.join(format!("{stray:020}.snapshot"));
    std::fs::write(path, producer_snapshot::encode(&[of_nobody_here])).unwrap();
    log.reopen_with(Offset(0), Offset(bases[2]), false);
    assert_eq!(log.log.active_producers(), producers);
}

#[test]
fn a_segment_whose_offsets_are_too_far_apart_is_split() {
    let cleanup_policy = crate::CleanupPolicy { delete: false, compact: true };
    let mut log = TestLog::new(crate::LogConfig { cleanup_policy, ..small_config() });
    let far = i64::from(i32::MAX) + 10;
    let batches = [0, 5, far, far + 3].map(|offset| numbered(&[&format!("at {offset}")], offset, 0)).concat();
    log.close();
    std::fs::write(log.dir.join("00000000000000000000.log"), batches).unwrap();
    for _ in 0..2 {
        log.reopen_with(Offset(0), Offset(0), false);
        assert_eq!(log.base_offsets(), [0, far]);
        assert_eq!(log.all().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 5, far, far + 3]);
    }
}

/// The checksum does not cover the base offset: one that is wrong must not put a batch behind others that follow it.
#[test]
fn a_batch_that_lies_behind_what_follows_it_ends_the_log() {
    for wrong in [7, 1000, i64::from(i32::MAX) + 10] {
        let mut log = TestLog::new(small_config());
        let batches = [0, 1, wrong, 3].map(|offset| numbered(&[&format!("at {offset}")], offset, 0)).concat();
        log.close();
        std::fs::write(log.dir.join("00000000000000000000.log"), batches).unwrap();
        log.reopen_with(Offset(0), Offset(0), false);
        assert_eq!(log.all().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1], "{wrong}");
        assert_eq!(log.log.log_end_offset(), Offset(2));
    }
}

#[test]
fn aborted_transactions_are_found_again() {
    for is_missing in [false, true] {
        let mut log = TestLog::new(small_config());
        log.append_batch(&txn_batch(&["a"], 1, 0, 0)).unwrap();
        log.append_from(&marker(1, 0, false, 0), AppendOrigin::Coordinator).unwrap();
        log.append(&["b"]);
        let aborted = log.log.aborted_transactions(Offset(0), Offset(3)).unwrap();
        assert_eq!(aborted.len(), 1);
        if is_missing {
            std::fs::remove_file(log.dir.join("00000000000000000000.txnindex")).unwrap();
        }
        log.reopen_with(Offset(0), Offset(0), false);
        assert_eq!(log.log.aborted_transactions(Offset(0), Offset(3)).unwrap(), aborted);
    }
}
