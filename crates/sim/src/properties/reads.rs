//! The indexes agree with the log: reading from an offset or looking a timestamp up finds what a scan of the files from
//! front to back finds.

use ottla_log::log_manager::LogManager;
use ottla_log::{FetchIsolation, UnifiedLog};
use ottla_record::Batches;
use ottla_types::{Offset, Timestamp};

use crate::log_files::LogFiles;
use crate::rng::Rng;

/// Questions of each kind that are asked of a log.
const QUESTIONS: u64 = 40;

/// Compares what each log answers with its files. The disk must not be failing.
pub fn check(logs: &LogManager, files: &[LogFiles], rng: &mut Rng) -> Result<(), String> {
    for file in files {
        let Some(log) = logs.log(&file.partition) else { continue };
        let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
        let last = file.records.last().map_or(0, |record| record.offset + 1);
        if last > end {
            return Err(format!("{}: the files go on to {last}, the log ends at {end}", file.partition));
        }
        if start == end {
            continue;
        }
        for _ in 0..QUESTIONS {
            check_offset(&log, file, start + rng.below((end - start) as u64) as i64)?;
            let around = &file.records[rng.below(file.records.len().max(1) as u64) as usize];
            check_timestamp(&log, file, around.timestamp + rng.between(0, 2) as i64 - 1)?;
        }
    }
    Ok(())
}

fn check_offset(log: &UnifiedLog, file: &LogFiles, offset: i64) -> Result<(), String> {
    let name = &file.partition;
    let expected = file.records.iter().find(|record| record.offset >= offset).map(|record| record.offset);
    let found = log.read(Offset(offset), 1, FetchIsolation::LogEnd, true);
    let found = found.map_err(|error| format!("{name}: reading at {offset}: {error}"))?;
    let bytes = found.records.map(|slice| slice.read().expect("the disk works")).unwrap_or_default();
    let batch = Batches::new(&bytes).next().and_then(Result::ok);
    let (first, last) = batch.map_or((None, None), |batch| {
        (Some(batch.header().base_offset.0), Some(batch.header().last_offset().0))
    });
    match expected {
        Some(expected) if first <= Some(expected) && last >= Some(expected) && last >= Some(offset) => Ok(()),
        None if last.is_none_or(|last| last >= offset) => Ok(()),
        _ => Err(format!("{name}: {offset} read {first:?} to {last:?}, the files have {expected:?}")),
    }
}

fn check_timestamp(log: &UnifiedLog, file: &LogFiles, timestamp: i64) -> Result<(), String> {
    let name = &file.partition;
    let start = log.log_start_offset().0;
    let expected = file
        .records
        .iter()
        .find(|record| record.offset >= start && record.timestamp >= timestamp)
        .map(|record| (record.offset, record.timestamp));
    let found = log.offset_for_timestamp(Timestamp(timestamp));
    let found = found.map_err(|error| format!("{name}: looking {timestamp} up: {error}"))?;
    let found = found.map(|found| (found.offset.0, found.timestamp.0));
    if found == expected {
        return Ok(());
    }
    Err(format!("{name}: {timestamp} is at {found:?}, the files say {expected:?}"))
}
