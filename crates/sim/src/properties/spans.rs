//! The transactions that a log holds, from their first record to their marker.

use std::collections::BTreeMap;

use crate::event::RecordId;
use crate::log_files::LogFiles;

/// Records of one producer up to the marker that decides about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub first: i64,
    pub records: Vec<(i64, RecordId)>,
    /// Where the marker is, and whether it commits; none while the transaction is open.
    pub marker: Option<(i64, bool)>,
}

/// All of a log, those that are open last.
pub(super) fn spans(log: &LogFiles) -> Vec<Span> {
    let mut open: BTreeMap<i64, Span> = BTreeMap::new();
    let mut all = Vec::new();
    for record in &log.records {
        if let Some(committed) = record.marker {
            if let Some(span) = open.remove(&record.producer_id) {
                all.push(Span { marker: Some((record.offset, committed)), ..span });
            }
        } else if record.is_transactional {
            let span = open.entry(record.producer_id).or_insert_with(|| Span {
                first: record.offset,
                records: Vec::new(),
                marker: None,
            });
            span.records.extend(record.id.map(|id| (record.offset, id)));
        }
    }
    all.extend(open.into_values());
    all
}
