//! The image that a snapshot or a segment of the metadata log gives.

use bytes::Bytes;
use ottla_log::dir_lock::is_held_elsewhere;
use ottla_metadata::MetadataImage;
use ottla_metadata::loader::MetadataLoader;
use ottla_record::Batch;
use ottla_wire::records::MetadataRecord;

use crate::segment_files::{File, SegmentReader};
use crate::tool::{Failure, said};

/// A compressed batch may grow to this and not further.
const BATCH_EXPANDED_BYTES_MAX: usize = i32::MAX as usize;

/// Fails where a node has the directory, as it may be writing the file.
pub(super) fn check_unused(file: &File) -> Result<(), Failure> {
    let path = std::path::absolute(&file.path).map_err(|error| file.unreadable(error))?;
    let Some(log_dir) = path.parent().and_then(|dir| dir.parent()) else { return Ok(()) };
    if is_held_elsewhere(log_dir).map_err(|error| file.unreadable(error))? {
        return Err(said(format_args!(
            "Unexpected error: Unable to lock {}. Please ensure that no broker or controller process is using this directory \
             before proceeding.",
            log_dir.display()
        )));
    }
    Ok(())
}

/// Time and offset are those of the last batch: a snapshot has offsets of its own.
pub(super) fn load(file: &File) -> Result<MetadataImage, Failure> {
    let mut loader = MetadataLoader::default();
    let mut reader = SegmentReader::open(file, 0, i32::MAX)?;
    loop {
        let position = reader.position();
        let Some(batch) = reader.next()? else { break };
        let wrong =
            |why: String| said(format_args!("{}: the batch at position {position}: {why}", file.shown));
        if batch.is_control() {
            continue;
        }
        let records = records(&batch).map_err(wrong)?;
        loader
            .apply(batch.last_offset(), batch.partition_leader_epoch, batch.max_timestamp, &records)
            .map_err(|error| wrong(error.to_string()))?;
    }
    Ok(loader.decided())
}

fn records(batch: &Batch<'_>) -> Result<Vec<MetadataRecord>, String> {
    let mut decoded = Vec::new();
    let mut records = batch.records(BATCH_EXPANDED_BYTES_MAX).map_err(|error| error.to_string())?;
    while let Some(record) = records.next().map_err(|error| error.to_string())? {
        let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
        let (record, _) = MetadataRecord::decode(value).map_err(|error| error.to_string())?;
        decoded.push(record);
    }
    Ok(decoded)
}
