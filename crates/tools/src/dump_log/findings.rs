//! What doesn't fit together: told at the end, file by file.

use crate::segment_files::File;
use crate::tool::{Failure, Output};

/// Pairs of numbers of each file in which some were found.
#[derive(Debug, Default)]
struct Pairs(Vec<(String, Vec<(i64, i64)>)>);

impl Pairs {
    fn note(&mut self, file: &File, first: i64, second: i64) {
        let path = file.absolute();
        match self.0.iter_mut().find(|(name, _)| *name == path) {
            Some((_, pairs)) => pairs.push((first, second)),
            None => self.0.push((path, vec![(first, second)])),
        }
    }

    fn tell(
        &self,
        head: &str,
        pair: impl Fn(i64, i64) -> String,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        for (name, pairs) in &self.0 {
            output.tell(format_args!("{head}{name}"))?;
            for &(first, second) in pairs {
                output.tell(pair(first, second))?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    index_mismatches: Pairs,
    time_mismatches: Pairs,
    out_of_order_times: Pairs,
    offsets_not_found: Pairs,
    gaps: Pairs,
}

impl Findings {
    pub(super) fn index_mismatch(&mut self, file: &File, index_offset: i64, log_offset: i64) {
        self.index_mismatches.note(file, index_offset, log_offset);
    }

    pub(super) fn time_mismatch(&mut self, file: &File, index_timestamp: i64, log_timestamp: i64) {
        self.time_mismatches.note(file, index_timestamp, log_timestamp);
    }

    pub(super) fn time_out_of_order(&mut self, file: &File, timestamp: i64, before: i64) {
        self.out_of_order_times.note(file, timestamp, before);
    }

    pub(super) fn offset_not_found(&mut self, file: &File, index_offset: i64, log_offset: i64) {
        self.offsets_not_found.note(file, index_offset, log_offset);
    }

    pub(super) fn gap(&mut self, file: &File, offset: i64, next: i64) {
        self.gaps.note(file, offset, next);
    }

    pub(super) fn tell(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        self.index_mismatches.tell(
            "Mismatches in :",
            |index, log| format!("  Index offset: {index}, log offset: {log}"),
            output,
        )?;
        self.time_mismatches.tell(
            "Found timestamp mismatch in :",
            |index, log| format!("  Index timestamp: {index}, log timestamp: {log}"),
            output,
        )?;
        self.out_of_order_times.tell(
            "Found out of order timestamp in :",
            |index, before| format!("  Index timestamp: {index}, Previously indexed timestamp: {before}"),
            output,
        )?;
        self.offsets_not_found.tell(
            "The following indexed offsets are not found in :",
            |index, log| format!("Indexed offset: {index}, found log offset: {log}"),
            output,
        )?;
        self.gaps.tell(
            "Non-consecutive offsets in ",
            |offset, next| format!("  {offset} is followed by {next}"),
            output,
        )
    }
}
