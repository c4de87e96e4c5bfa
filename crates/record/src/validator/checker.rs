//! The rules about single records: keys where compaction needs them, and timestamps.

use ottla_types::{Offset, Timestamp};

use super::AppendRules;
use super::error::{InvalidRecord, InvalidRecords, ValidationError};
use super::walk::WalkedRecord;
use crate::attributes::TimestampType;
use crate::header::BatchHeader;

/// Checks the records of one batch and collects what is wrong with them.
pub(super) struct RecordChecker<'a> {
    rules: &'a AppendRules<'a>,
    base_offset: Offset,
    base_timestamp: Timestamp,
    /// The timestamp of all records, if the producer says that it is the append time.
    claimed_append_time: Option<Timestamp>,
    earliest: Timestamp,
    latest: Timestamp,
    needs_range: bool,
    errors: Vec<InvalidRecord>,
    timestamps: bool,
    /// How many records are invalid.
    pub(super) total: usize,
}

#[derive(Clone, Copy)]
enum Violation {
    MissingKey,
    TimestampOutOfRange,
    ClaimedAppendTime,
}

impl<'a> RecordChecker<'a> {
    pub(super) fn new(header: &BatchHeader, rules: &'a AppendRules<'a>) -> RecordChecker<'a> {
        let claims_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        RecordChecker {
            rules,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            claimed_append_time: claims_append_time.then_some(header.max_timestamp),
            earliest: Timestamp(rules.now.0.saturating_sub(rules.timestamp_before_max_ms)),
            latest: Timestamp(rules.now.0.saturating_add(rules.timestamp_after_max_ms)),
            needs_range: rules.timestamp_type == TimestampType::CreateTime,
            errors: Vec::new(),
            timestamps: false,
            total: 0,
        }
    }

    #[inline]
    pub(super) fn timestamp(&self, delta: i64) -> Timestamp {
        self.claimed_append_time.unwrap_or(Timestamp(self.base_timestamp.0.wrapping_add(delta)))
    }

    #[inline]
    pub(super) fn check(&mut self, index: i32, record: &WalkedRecord, timestamp: Timestamp) {
        if self.rules.compacted && record.key_bytes < 0 {
            self.report(Violation::MissingKey, index, record, timestamp);
        } else if self.needs_range && timestamp != Timestamp::NONE {
            if timestamp < self.earliest || timestamp > self.latest {
                self.report(Violation::TimestampOutOfRange, index, record, timestamp);
            }
        } else if self.claimed_append_time.is_some() {
            self.report(Violation::ClaimedAppendTime, index, record, timestamp);
        }
    }

    pub(super) fn finish(self) -> Result<(), ValidationError> {
        let RecordChecker { errors, total, timestamps, .. } = self;
        match total {
            0 => Ok(()),
            _ => Err(ValidationError::InvalidRecords(InvalidRecords { errors, total, timestamps })),
        }
    }

    #[cold]
    fn report(&mut self, violation: Violation, index: i32, record: &WalkedRecord, timestamp: Timestamp) {
        self.total += 1;
        self.timestamps |= !matches!(violation, Violation::MissingKey);
        if self.errors.len() < InvalidRecords::LISTED_MAX {
            let message = self.message(violation, record, timestamp);
            self.errors.push(InvalidRecord { batch_index: index, message });
        }
    }

    fn message(&self, violation: Violation, record: &WalkedRecord, timestamp: Timestamp) -> String {
        let offset = self.base_offset.0.wrapping_add(i64::from(record.offset_delta));
        match violation {
            Violation::MissingKey => format!(
                "Compacted topic cannot accept message without key in topic partition {}",
                self.rules.topic_partition
            ),
            Violation::TimestampOutOfRange => format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{}, {}]",
                self.rules.now.0.wrapping_sub(self.rules.timestamp_before_max_ms),
                self.rules.now.0.wrapping_add(self.rules.timestamp_after_max_ms),
            ),
            Violation::ClaimedAppendTime => format!(
                "Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp}, key={} bytes, \
                 value={} bytes). Producer should not set timestamp type to LogAppendTime.",
                record.key_bytes.max(0),
                record.value_bytes.max(0),
            ),
        }
    }
}
