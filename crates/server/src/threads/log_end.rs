//! Whether the metadata's log still ends as this node has written it.
//!
//! Apache Kafka that is started on a directory in use writes to that log, and cuts it off, before it asks for the directory's lock.
//! What is written behind that can't be read at the next start: it must not go on being acknowledged.

use ottla_broker::quorum::Quorum;
use ottla_raft::RoleName;
use ottla_types::{LeaderEpoch, Offset};

/// More than what stands between two batches, so that no other batch ends the same.
const COMPARED_BYTES: u64 = 64;

/// The end of the log at the last look.
#[derive(Debug, Default)]
pub struct LogEnd {
    last: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// A leader takes nothing back.
    led_in: LeaderEpoch,
    segment: Offset,
    position: u64,
    bytes: Vec<u8>,
}

impl LogEnd {
    /// What to tell where another program has cut the log off since the last look, also if more was written meanwhile: that
    /// then stands behind a hole.
    pub fn is_cut_off(&mut self, quorum: &Quorum) -> Option<String> {
        let active = quorum.log().unified_log().segments().last().cloned()?;
        // What keeps it from being opened or read is told by who needs it.
        let file = active.file().ok()?;
        let (len, written) = (file.len().ok()?, u64::from(active.size()));
        let read = |position: u64, len: u64| {
            let mut bytes = vec![0; usize::try_from(len).ok()?];
            let read = file.read_at(&mut bytes, position).ok()?;
            (read == bytes.len()).then_some(bytes)
        };
        let core = quorum.core();
        let led_in = (core.role() == RoleName::Leader).then(|| core.epoch());
        let is_as_seen = |seen: Seen| {
            let goes_on = led_in == Some(seen.led_in) && seen.segment == active.base_offset();
            !goes_on || read(seen.position, seen.bytes.len() as u64) == Some(seen.bytes)
        };
        if len < written || !self.last.take().is_none_or(is_as_seen) {
            return Some(format!(
                "{} has {len} bytes, and {written} were written, or not as they are there now: another program has cut it off, \
                 perhaps a second node that was started on this directory. What is changed from now on could not be kept. Make \
                 sure that the other one has ended, and start again",
                active.path().display()
            ));
        }
        let position = written.saturating_sub(COMPARED_BYTES);
        self.last = led_in.zip(read(position, written - position)).map(|(led_in, bytes)| Seen {
            led_in,
            segment: active.base_offset(),
            position,
            bytes,
        });
        None
    }
}
