//! Who reads a stretch of a log gets just the records that are in it: with read_committed none of transactions that are
//! open or were aborted, and all others; with read_uncommitted all.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicPartition;

use super::Property;
use super::spans::spans;
use crate::event::{Event, Seen};
use crate::log_files::LogFiles;

/// What one answer brought of the offsets from `from` to, not including, `to`.
#[derive(Debug)]
struct Stretch {
    from: i64,
    to: i64,
    read_committed: bool,
    records: Vec<Seen>,
}

#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// Since the files were looked at last.
    read: BTreeMap<TopicPartition, Vec<Stretch>>,
}

impl Isolation {
    fn check(&mut self, log: &LogFiles) -> Result<(), String> {
        let Some(read) = self.read.remove(&log.partition) else { return Ok(()) };
        // What lies in front may be deleted by now, in part.
        let Some(first) = log.records.first().map(|record| record.offset.max(log.log_start)) else {
            return Ok(());
        };
        let undone: BTreeSet<i64> = spans(log)
            .iter()
            .filter(|span| !matches!(span.marker, Some((_, true))))
            .flat_map(|span| &span.records)
            .map(|(offset, _)| *offset)
            .collect();
        for stretch in read {
            let from = stretch.from.max(first);
            let begin = log.records.partition_point(|record| record.offset < from);
            let end = log.records.partition_point(|record| record.offset < stretch.to);
            let expected = log.records.get(begin..end).unwrap_or_default().iter();
            let expected = expected
                .filter(|record| !stretch.read_committed || !undone.contains(&record.offset))
                .filter_map(|record| Some(Seen { offset: record.offset, id: record.id? }));
            let seen = stretch.records.iter().filter(|seen| seen.offset >= from).copied();
            if !seen.clone().eq(expected.clone()) {
                let (seen, expected): (Vec<_>, Vec<_>) = (seen.collect(), expected.collect());
                let Stretch { from, to, read_committed, .. } = stretch;
                return Err(format!(
                    "{}: {from}..{to} (read_committed: {read_committed}) brought {seen:?}, \
                     the log has {expected:?}",
                    log.partition
                ));
            }
        }
        Ok(())
    }
}

impl Property for Isolation {
    fn name(&self) -> &'static str {
        "readers get all that is theirs to see, and nothing else"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Fetched { partition, asked, next, read_committed, records, .. } if asked < next => {
                self.read.entry(partition.clone()).or_default().push(Stretch {
                    from: *asked,
                    to: *next,
                    read_committed: *read_committed,
                    records: records.clone(),
                });
                Ok(())
            }
            // What was read is not there any more, perhaps.
            Event::MayHaveLost { partition } => {
                self.read.remove(partition);
                Ok(())
            }
            Event::Down { logs, .. } | Event::Files { logs } | Event::End { logs } => {
                logs.iter().try_for_each(|log| self.check(log))?;
                self.read.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
