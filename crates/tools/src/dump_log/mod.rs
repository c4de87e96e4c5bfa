//! kafka-dump-log: what is in the files of a log.
//!
//! Files are only read, and a piece at a time: a batch of a segment, an index as a whole.

mod decoders;
mod findings;
mod indexes;
mod remote;
mod segment;

use crate::flags::Parsed;
use crate::segment_files::File;
use crate::tool::{Failure, Output, Run, Tool};
use decoders::Decoder;
use findings::Findings;

pub const TOOL: Tool = Tool { name: "kafka-dump-log", run: Run::Flags(run) };

/// What the flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    files: Vec<String>,
    decoder: Decoder,
    prints_data: bool,
    is_deep: bool,
    skips_record_metadata: bool,
    bytes_max: i32,
    index: IndexCheck,
    message_size_max: i32,
}

/// What is done with indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IndexCheck {
    /// Compared with the log, and printed.
    Print,
    /// Compared with the log.
    Verify,
    /// What a start of the broker looks at.
    Sanity,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let files = parsed
            .value("--files")
            .ok_or_else(|| Failure::Usage("Missing required argument \"[files]\"".to_owned()))?;
        let decodes = [
            "--print-data-log",
            "--offsets-decoder",
            "--transaction-log-decoder",
            "--cluster-metadata-decoder",
            "--remote-log-metadata-decoder",
            "--share-group-state-decoder",
            "--value-decoder-class",
            "--key-decoder-class",
        ];
        let prints_data = decodes.into_iter().any(|flag| parsed.has(flag));
        Ok(Plan {
            files: files.split(',').map(str::to_owned).collect(),
            decoder: Decoder::chosen(parsed)?,
            prints_data,
            is_deep: prints_data || parsed.has("--deep-iteration"),
            skips_record_metadata: parsed.has("--skip-record-metadata"),
            bytes_max: parsed.number("--max-bytes").unwrap_or(i32::MAX),
            index: if parsed.has("--index-sanity-check") {
                IndexCheck::Sanity
            } else if parsed.has("--verify-index-only") {
                IndexCheck::Verify
            } else {
                IndexCheck::Print
            },
            message_size_max: parsed.number("--max-message-size").unwrap_or(5 * 1024 * 1024),
        })
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    let mut findings = Findings::default();
    for name in &plan.files {
        let file = File::named(name);
        output.line(format_args!("Dumping {}", file.shown))?;
        match file.suffix() {
            ".log" | ".checkpoint" => segment::dump(&file, &plan, &mut findings, output)?,
            ".index" => indexes::dump_offset_index(&file, &plan, &mut findings, output)?,
            ".timeindex" => indexes::dump_time_index(&file, &plan, &mut findings, output)?,
            ".txnindex" => indexes::dump_txn_index(&file, output)?,
            ".snapshot" => indexes::dump_producer_snapshot(&file, output)?,
            _ => output.tell(format_args!("Ignoring unknown file {}", file.shown))?,
        }
    }
    findings.tell(output)
}

#[cfg(test)]
mod tests;
