use ottla_record::BatchOptions;
use ottla_types::Offset;

use crate::test_log::{START, TestLog, batch, small_config};

#[test]
fn a_log_is_the_same_after_it_was_closed_or_not() {
    for clean in [true, false] {
        let mut log = TestLog::new(small_config());
        for n in 0..50 {
            log.append(&[&format!("value-{n}")]);
        }
        let (all, segments) = (log.all(), log.base_offsets());
        for round in 0..3 {
            log.reopen(clean);
            assert_eq!((log.all(), log.base_offsets()), (all.clone(), segments.clone()), "{clean} {round}");
            assert_eq!(log.log.log_end_offset(), Offset(50));
        }
        log.append(&["more"]);
        assert_eq!(log.values().last().map(String::as_str), Some("more"));
        assert!(log.file_names().iter().all(|name| !name.ends_with(".deleted")), "{:?}", log.file_names());
    }
}

#[test]
fn what_is_appended_while_a_log_closes_is_durable_with_the_rest() {
    for round in 0..50 {
        let log = TestLog::new(small_config());
        std::thread::scope(|scope| {
            let appending = scope.spawn(|| {
                let record = batch(&["x"], START, BatchOptions::default());
                while log.append_batch(&record).is_ok() {}
            });
            while log.log.log_end_offset() < Offset(round) {
                std::thread::yield_now();
            }
            log.close();
            appending.join().unwrap();
        });
        assert_eq!(log.log.recovery_point(), log.log.log_end_offset());
    }
}
