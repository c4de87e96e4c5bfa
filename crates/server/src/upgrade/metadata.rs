//! The metadata of the cluster as a node's replica of the metadata log has it: the latest snapshot and what follows, committed or
//! not. Unlike a node that starts, this neither recovers nor cleans up.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::quorum::{
    PARTITION_DIR, SnapshotBatch, SnapshotReader, parse_snapshot_name, read_bootstrap, snapshot_name,
};
use ottla_log::disk::{Disk, DiskFile, Open};
use ottla_log::names::{FileKind, FileState, SegmentFile};
use ottla_metadata::image::{Provenance, ReplayError};
use ottla_metadata::loader::MetadataLoader;
use ottla_metadata::{Changes, MetadataImage};
use ottla_raft::{ControlRecord, LogError, VoterSet, record_batches};
use ottla_record::Batch;
use ottla_types::Offset;
use ottla_wire::records::MetadataRecord;
use thiserror::Error;

use super::logs;

/// What the metadata log says.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub image: MetadataImage,
    pub kraft_version: i16,
    pub voters: Option<VoterSet>,
    /// Nothing but what formatting has left.
    pub was_never_started: bool,
}

#[derive(Debug, Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{}: {reason}", path.display())]
    Record { path: PathBuf, reason: String },
}

pub(super) fn read(disk: &dyn Disk, metadata_dir: &Path) -> Result<Found, Unreadable> {
    let dir = metadata_dir.join(PARTITION_DIR);
    let names: Vec<String> = disk.read_dir(&dir)?.into_iter().map(|entry| entry.name).collect();
    let mut replay = Replay::default();
    let latest = names.iter().filter_map(|name| parse_snapshot_name(name)).max();
    if let Some(id) = latest {
        replay.snapshot(disk.open(&dir.join(snapshot_name(id)), Open::Read)?, id.offset)?;
    }
    let mut segments: Vec<SegmentFile> = names.iter().filter_map(|name| SegmentFile::parse(name)).collect();
    segments.retain(|file| file.kind == FileKind::Log && file.state == FileState::Live);
    segments.sort_unstable();
    for segment in segments {
        replay.segment(disk.open(&dir.join(segment.to_string()), Open::Read)?)?;
    }
    if replay.end > Offset(0) {
        return Ok(Found { image: replay.loader.image().clone(), ..replay.found });
    }
    let records = read_bootstrap(disk, metadata_dir)?.unwrap_or_default();
    let mut found = Found { was_never_started: true, ..replay.found };
    for value in records {
        let record = decode(value, metadata_dir)?;
        found.image.replay(&record, &mut Changes::default())?;
    }
    Ok(found)
}

#[derive(Default)]
struct Replay {
    loader: MetadataLoader,
    found: Found,
    /// The first offset that is not replayed.
    end: Offset,
}

impl Replay {
    fn snapshot(&mut self, file: Arc<dyn DiskFile>, end: Offset) -> Result<(), Unreadable> {
        let path = file.path();
        let mut reader = SnapshotReader::new(file)?;
        let mut records = Vec::new();
        while let Some(batch) = reader.next_batch()? {
            match batch {
                SnapshotBatch::Control(control) => self.control(control),
                SnapshotBatch::Data(values) => {
                    for value in values {
                        records.push(decode(value, &path)?);
                    }
                }
            }
        }
        let provenance = Provenance { last_offset: Offset(end.value() - 1), ..Provenance::default() };
        self.loader.load_snapshot(provenance, records)?;
        self.end = end;
        Ok(())
    }

    /// What is torn at the end of the log is no part of it.
    fn segment(&mut self, file: Arc<dyn DiskFile>) -> Result<(), Unreadable> {
        let path = file.path();
        let mut failed = None;
        logs::each_batch(file, |batch| match self.batch(batch, &path) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn batch(&mut self, batch: &Batch<'_>, path: &Path) -> Result<(), Unreadable> {
        if batch.last_offset() < self.end {
            return Ok(());
        }
        self.end = batch.next_offset();
        let unreadable = |reason: String| Unreadable::Record { path: path.to_owned(), reason };
        if batch.is_control() {
            let records = record_batches::control_records(batch);
            let records = records.map_err(|error| unreadable(error.to_string()))?;
            self.control(records.into_iter().map(|(_, record)| record).collect());
            return Ok(());
        }
        let mut records = Vec::new();
        logs::each_record(batch, |_, value| {
            if let Some(value) = value {
                records.push(decode(Bytes::copy_from_slice(value), path));
            }
        })
        .map_err(|error| unreadable(error.to_string()))?;
        let records = records.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (offset, epoch) = (batch.last_offset(), batch.partition_leader_epoch);
        self.loader.apply(offset, epoch, batch.max_timestamp, &records)?;
        Ok(())
    }

    fn control(&mut self, records: Vec<ControlRecord>) {
        for record in records {
            match record {
                ControlRecord::KRaftVersion(level) => self.found.kraft_version = level,
                ControlRecord::Voters(voters) => self.found.voters = Some(voters),
                _ => {}
            }
        }
    }
}

fn decode(value: Bytes, path: &Path) -> Result<MetadataRecord, Unreadable> {
    let unreadable = |error: &dyn std::fmt::Display| Unreadable::Record {
        path: path.to_owned(),
        reason: format!("a record can't be read: {error}"),
    };
    MetadataRecord::decode(value).map(|(record, _)| record).map_err(|error| unreadable(&error))
}
