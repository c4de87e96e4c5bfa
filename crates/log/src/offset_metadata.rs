use std::fmt;

use ottla_types::Offset;

/// An offset together with the place of its record: which segment, and how many bytes into it. The place may be
/// unknown, as after a high watermark has been read from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetMetadata {
    pub message_offset: Offset,
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment_base_offset: Offset,
    position: u32,
}

impl OffsetMetadata {
    /// At `position` bytes into the segment that starts at `segment_base_offset`.
    pub const fn new(message_offset: Offset, segment_base_offset: Offset, position: u32) -> OffsetMetadata {
        OffsetMetadata { message_offset, place: Some(Place { segment_base_offset, position }) }
    }

    /// Of unknown place.
    pub const fn offset_only(message_offset: Offset) -> OffsetMetadata {
        OffsetMetadata { message_offset, place: None }
    }

    /// Whether the place is unknown.
    pub const fn is_offset_only(&self) -> bool {
        self.place.is_none()
    }

    pub fn segment_base_offset(&self) -> Option<Offset> {
        self.place.map(|place| place.segment_base_offset)
    }

    /// Bytes from the start of the segment.
    pub fn position_in_segment(&self) -> Option<u32> {
        self.place.map(|place| place.position)
    }

    /// Whether this lies in an earlier segment than `other`; false while either place is unknown.
    pub fn on_older_segment(&self, other: &OffsetMetadata) -> bool {
        matches!((self.place, other.place), (Some(a), Some(b)) if a.segment_base_offset < b.segment_base_offset)
    }

    pub fn on_same_segment(&self, other: &OffsetMetadata) -> bool {
        matches!((self.place, other.place), (Some(a), Some(b)) if a.segment_base_offset == b.segment_base_offset)
    }

    /// Bytes from `earlier` to this, where both lie in one segment: what a fetch counts against `fetch.min.bytes`.
    pub fn bytes_since(&self, earlier: &OffsetMetadata) -> Option<u64> {
        match (self.place, earlier.place) {
            (Some(a), Some(b)) if a.segment_base_offset == b.segment_base_offset => {
                Some(u64::from(a.position.saturating_sub(b.position)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for OffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => {
                write!(
                    f,
                    "{} (segment {}, byte {})",
                    self.message_offset, place.segment_base_offset, place.position
                )
            }
            None => self.message_offset.fmt(f),
        }
    }
}
