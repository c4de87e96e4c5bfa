//! One cleaning of one log, in steps of one buffer each.

use ottla_types::{Now, Offset};

use super::chunk::Chunk;
use super::cleanable::LogToClean;
use super::copying::Copying;
use super::mapping::Mapping;
use super::offset_map::OffsetMap;
use super::stats::CleanerStats;
use super::{CleanError, CleanerConfig};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CleanStep {
    /// Read and wrote so many bytes; there is more to do.
    Worked { io_bytes: u64 },
    /// The log is clean up to, not including, `clean_up_to`.
    Finished { clean_up_to: Offset, stats: CleanerStats },
}

/// A cleaning that goes on with each step. Between steps anything may happen to the log but truncation and removal,
/// before which it is to be discarded.
#[derive(Debug)]
pub(super) struct CleanRun {
    to_clean: LogToClean,
    started: Now,
    map: OffsetMap,
    chunk: Chunk,
    stats: CleanerStats,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Mapping(Mapping),
    Copying(Copying),
    Finished,
}

impl CleanRun {
    pub fn new(to_clean: LogToClean, config: &CleanerConfig, now: Now) -> Result<CleanRun, CleanError> {
        let mapping = Mapping::new(&to_clean)?;
        Ok(CleanRun {
            to_clean,
            started: now,
            map: OffsetMap::new(
                config.map_bytes_per_thread(),
                config.dedupe_buffer_load_factor,
                config.hash_secret,
            ),
            chunk: Chunk::new(config.io_buffer_bytes_per_thread()),
            stats: CleanerStats::default(),
            stage: Stage::Mapping(mapping),
        })
    }

    /// Does the next piece of work. After an error the cleaning is to be discarded.
    pub fn step(&mut self, now: Now) -> Result<CleanStep, CleanError> {
        let io_bytes = match &mut self.stage {
            Stage::Mapping(mapping) => mapping.step(&mut self.map, &mut self.chunk, &mut self.stats)?,
            Stage::Copying(copying) => {
                copying.step(&self.to_clean.log, &self.map, &mut self.chunk, &mut self.stats, now)?
            }
            Stage::Finished => None,
        };
        match io_bytes {
            Some(io_bytes) => Ok(CleanStep::Worked { io_bytes }),
            None => self.next_stage(now),
        }
    }

    fn next_stage(&mut self, now: Now) -> Result<CleanStep, CleanError> {
        let end =
            self.map.latest_offset().map_or(self.to_clean.first_dirty_offset, |latest| Offset(latest + 1));
        self.stage = match self.stage {
            Stage::Mapping(_) => {
                // What recovery reads must not have gaps that it can't tell from what a loss of power took.
                self.to_clean.log.flush_up_to(self.to_clean.first_uncleanable_offset, now)?;
                Stage::Copying(Copying::new(&self.to_clean, end, self.started.wall)?)
            }
            Stage::Copying(_) | Stage::Finished => Stage::Finished,
        };
        if let Stage::Finished = self.stage {
            self.stats.map_bytes = self.map.size_bytes();
            self.stats.map_utilization = self.map.utilization();
            return Ok(CleanStep::Finished { clean_up_to: end, stats: self.stats });
        }
        Ok(CleanStep::Worked { io_bytes: 0 })
    }

    /// Ends the cleaning; what is in place already stays, what is half done is removed.
    pub fn discard(self) -> Result<(), CleanError> {
        match self.stage {
            Stage::Copying(copying) => copying.discard(),
            Stage::Mapping(_) | Stage::Finished => Ok(()),
        }
    }
}
