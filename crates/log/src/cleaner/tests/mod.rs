//! The cleaner over whole logs.

mod golden;
mod manager;
mod model;
mod rules;
mod world;

use std::sync::Arc;

use ottla_record::{Batch, Batches};
use ottla_types::{Now, Offset};

use super::{CleanProgress, CleanerConfig, CleanerManager, CleanerStats};
use crate::unified_log::UnifiedLog;

fn config() -> CleanerConfig {
    CleanerConfig {
        threads: 1,
        dedupe_buffer_bytes: 1 << 20,
        dedupe_buffer_load_factor: 0.9,
        io_buffer_bytes: 4096,
        hash_secret: (7, 11),
    }
}

/// Cleans the log once if it is due; returns up to where it is clean then.
fn clean(manager: &CleanerManager, log: &Arc<UnifiedLog>, now: Now) -> Option<(Offset, CleanerStats)> {
    let cleaning = manager.grab_filthiest([log], &config(), now)?;
    loop {
        match manager.step(&cleaning, now) {
            CleanProgress::Worked { .. } => {}
            CleanProgress::Finished(stats) => {
                return Some((manager.clean_up_to(&log.log_dir(), log.partition()).unwrap(), stats));
            }
            CleanProgress::Ended => panic!("the cleaning ended early"),
        }
    }
}

/// Calls `f` with each batch of the log.
fn for_each_batch(log: &UnifiedLog, mut f: impl FnMut(&Batch<'_>)) {
    for segment in log.segments().iter() {
        let mut bytes = vec![0; segment.size() as usize];
        assert_eq!(segment.file().unwrap().read_at(&mut bytes, 0).unwrap(), bytes.len());
        let mut batches = Batches::new(&bytes);
        for batch in batches.by_ref() {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            f(&batch);
        }
        assert_eq!(batches.position(), bytes.len());
    }
}
