//! What readers see of a log: its published offsets.

use ottla_types::Offset;

use crate::offset_metadata::OffsetMetadata;

/// The offsets of a log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsetSnapshot {
    pub log_start_offset: Offset,
    pub log_end_offset: OffsetMetadata,
    pub high_watermark: OffsetMetadata,
    pub last_stable_offset: OffsetMetadata,
}

/// What always holds, outside of a truncation: log start <= high watermark <= log end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets {
    pub log_start: Offset,
    pub log_end: OffsetMetadata,
    pub high_watermark: OffsetMetadata,
    /// The start of the oldest transaction that is undecided, or whose decision is not below the high watermark.
    pub first_unstable: Option<OffsetMetadata>,
}

impl Offsets {
    pub fn last_stable(&self) -> OffsetMetadata {
        match self.first_unstable {
            Some(first) if first.message_offset < self.high_watermark.message_offset => first,
            _ => self.high_watermark,
        }
    }

    /// Sets the high watermark to `wanted`, kept between log start and log end.
    pub fn set_high_watermark(&mut self, wanted: OffsetMetadata) {
        self.high_watermark = if wanted.message_offset < self.log_start {
            OffsetMetadata::offset_only(self.log_start)
        } else if wanted.message_offset >= self.log_end.message_offset {
            self.log_end
        } else {
            wanted
        };
    }
}
