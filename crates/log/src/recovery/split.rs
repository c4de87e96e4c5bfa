//! Segments with offsets that their indexes cannot say: old versions of Kafka could compact segments into one such. They
//! are split into segments that can.

use std::io::IoSlice;
use std::sync::Arc;

use ottla_types::Timestamp;

use super::OFFSET_MAX;
use crate::log_config::LogConfig;
use crate::names::FileState;
use crate::partition_dir::PartitionDir;
use crate::scan::ScanError;
use crate::segment::{AppendedBatch, Segment, SegmentError};

/// Copies the valid batches of a segment into new ones, which are named `.cleaned`, complete and on disk.
pub(crate) fn split_overflowed(
    dir: &Arc<PartitionDir>,
    segment: &Segment,
    config: &LogConfig,
    now: Timestamp,
) -> Result<Vec<Arc<Segment>>, SegmentError> {
    let file = segment.file()?;
    let mut parts: Vec<Arc<Segment>> = Vec::new();
    let mut batches = segment.batches(&file, 0);
    loop {
        let batch = match batches.next() {
            Ok(Some((_, batch))) if batch.check_crc().is_ok() && batch.last_offset() < OFFSET_MAX => batch,
            Err(ScanError::Io(error)) => return Err(error.into()),
            _ => break,
        };
        let appended = AppendedBatch {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset(),
            size_in_bytes: batch.size_in_bytes as u32,
            max_timestamp: batch.max_timestamp,
        };
        let part = match parts.last().filter(|part| part.fits(appended.last_offset)) {
            Some(part) => Arc::clone(part),
            None => {
                let base_offset = if parts.is_empty() { segment.base_offset() } else { appended.base_offset };
                let part = Arc::new(Segment::create(dir, base_offset, FileState::Cleaned, config, now)?);
                parts.push(Arc::clone(&part));
                part
            }
        };
        if !part.fits(appended.last_offset) {
            return Err(SegmentError::OffsetOverflow {
                base_offset: part.base_offset(),
                offset: appended.last_offset,
            });
        }
        part.append(&[IoSlice::new(batch.bytes())], &[appended], config)?;
    }
    for part in &parts {
        part.on_become_inactive(config)?;
        part.flush()?;
        part.set_last_modified(segment.last_modified())?;
    }
    Ok(parts)
}
