//! What stands in the directories of partitions: formats of records, moves, groups of a kind that is not served.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::quorum::PARTITION_DIR;
use ottla_log::disk::{Disk, DiskFile, Open};
use ottla_log::names::{
    DirState, FileKind, FileState, PartitionDirName, REMOTE_LOG_INDEX_CACHE, SegmentFile,
};
use ottla_log::scan::{BatchScan, ScanError};
use ottla_record::{BATCH_PREFIX_BYTES, Batch, BatchPrefix, RecordError};
use ottla_types::CONSUMER_OFFSETS_TOPIC;
use ottla_wire::Decoder;

use super::Report;

/// Of the key of the record that makes a streams group what it is, or ends it.
const STREAMS_GROUP_METADATA: i16 = 17;
/// What the records of a batch have at most when they are decompressed.
const RECORDS_BYTES_MAX: usize = 128 << 20;
const NAMES_SHOWN_MAX: usize = 10;

#[derive(Default)]
struct Seen {
    partitions: usize,
    older_segments: usize,
    segments: usize,
    moves: usize,
    streams_groups: BTreeSet<String>,
}

pub(super) fn look_at(disk: &dyn Disk, dir: &Path, report: &mut Report) {
    let mut seen = Seen::default();
    if let Err(error) = look_around(disk, dir, &mut seen, report) {
        report.in_the_way(format!("{} can't be read: {error}", dir.display()));
    }
    let Seen { partitions, older_segments, segments, moves, streams_groups } = seen;
    report.facts.push(format!("{}: {partitions} partitions, {segments} segments", dir.display()));
    if older_segments > 0 {
        report.to_know(format!(
            "{older_segments} of {segments} segments in {} begin with records in a format older than Kafka 0.11's: they are \
             kept, served and compacted as they are",
            dir.display()
        ));
    }
    if moves > 0 {
        report.to_know(format!(
            "replicas that move to {} from another log directory, {moves} of them: let them arrive first (kafka-log-dirs shows \
             isFuture)",
            dir.display()
        ));
    }
    if !streams_groups.is_empty() {
        report.not_acted_on(format!(
            "streams groups (KIP-1071) are not served: their members can't join ({}). Groups of Kafka Streams with \
             group.protocol=classic are served",
            shown(&streams_groups)
        ));
    }
}

fn shown(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    if more == 0 { first.join(", ") } else { format!("{}, and {more} more", first.join(", ")) }
}

fn look_around(disk: &dyn Disk, dir: &Path, seen: &mut Seen, report: &mut Report) -> io::Result<()> {
    for entry in disk.read_dir(dir)?.into_iter().filter(|entry| entry.is_dir && entry.name != PARTITION_DIR) {
        if entry.name == REMOTE_LOG_INDEX_CACHE {
            report.not_acted_on(format!(
                "{} has a cache of remote segments: there is no remote storage here, and what is only there can't be read",
                dir.display()
            ));
            continue;
        }
        match PartitionDirName::parse(&entry.name) {
            Ok(PartitionDirName { state: DirState::Live, partition }) => {
                seen.partitions += 1;
                let is_of_groups = &*partition.topic == CONSUMER_OFFSETS_TOPIC;
                look_at_partition(disk, &dir.join(&entry.name), is_of_groups, seen)?;
            }
            Ok(PartitionDirName { state: DirState::Future, .. }) => seen.moves += 1,
            Ok(_) => {}
            Err(error) => report.in_the_way(format!("{}: {error}", dir.display())),
        }
    }
    Ok(())
}

fn look_at_partition(disk: &dyn Disk, dir: &Path, is_of_groups: bool, seen: &mut Seen) -> io::Result<()> {
    let files = disk.read_dir(dir)?;
    let mut segments: Vec<SegmentFile> =
        files.iter().filter_map(|file| SegmentFile::parse(&file.name)).collect();
    segments.retain(|file| file.kind == FileKind::Log && file.state == FileState::Live);
    segments.sort_unstable();
    seen.segments += segments.len();
    for segment in segments {
        let file = match disk.open(&dir.join(segment.to_string()), Open::Read) {
            // A node that runs has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let mut start = [0; BATCH_PREFIX_BYTES];
        let read = file.read_at(&mut start, 0)?;
        let start = BatchPrefix::parse(start.get(..read).unwrap_or_default());
        if start.is_ok_and(|prefix| prefix.is_some_and(|prefix| prefix.is_legacy())) {
            seen.older_segments += 1;
        }
        if is_of_groups {
            each_batch(file, |batch| {
                // Recovery says what is wrong with a batch that can't be read.
                let _ = each_record(batch, |key, value| note_streams_group(key, value.is_some(), seen));
                ControlFlow::Continue(())
            })?;
        }
    }
    Ok(())
}

fn note_streams_group(key: Option<&[u8]>, is_there: bool, seen: &mut Seen) {
    let Some(key) = key else { return };
    let mut reader = Decoder::new(Bytes::copy_from_slice(key));
    if !matches!(reader.i16("key type"), Ok(STREAMS_GROUP_METADATA)) {
        return;
    }
    let Ok(group) = reader.string(false, "group id") else { return };
    if is_there {
        seen.streams_groups.insert(group);
    } else {
        seen.streams_groups.remove(&group);
    }
}

/// Every whole batch of a file whose checksum is right, up to the first that has not.
pub(super) fn each_batch(
    file: Arc<dyn DiskFile>,
    mut see: impl FnMut(&Batch<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut scan = BatchScan::whole(file)?;
    loop {
        match scan.next() {
            Ok(Some((_, batch))) if batch.check_crc().is_ok() => {
                if see(&batch).is_break() {
                    return Ok(());
                }
            }
            Err(ScanError::Io(error)) => return Err(error),
            Ok(_) | Err(ScanError::Corrupt { .. }) => return Ok(()),
        }
    }
}

/// Key and value of every record.
pub(super) fn each_record(
    batch: &Batch<'_>,
    mut see: impl FnMut(Option<&[u8]>, Option<&[u8]>),
) -> Result<(), RecordError> {
    let mut records = batch.records(RECORDS_BYTES_MAX)?;
    while let Some(record) = records.next()? {
        see(record.key, record.value);
    }
    Ok(())
}
