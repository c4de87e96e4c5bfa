use crate::layout::MAGIC_V0;

/// Whose clock the timestamps of a batch come from (KIP-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Magic 0 has no timestamps.
    None,
    CreateTime,
    LogAppendTime,
}

/// The flags of a batch: codec in bits 0-2, timestamp type 3, transactional 4, control 5, delete horizon 6. Magic 0
/// and 1 know the codec, and magic 1 the timestamp type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// Without the bits that have no meaning.
    #[must_use]
    pub const fn known(self) -> Attributes {
        Attributes(self.0 & 0x7f)
    }

    /// The codec's id, which may be one that doesn't exist.
    pub const fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC) as u8
    }

    pub const fn is_compressed(self) -> bool {
        self.codec_id() != 0
    }

    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Is the base timestamp the time at which tombstones and markers in the batch may go (KIP-534)?
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub const fn timestamp_type(self, magic: i8) -> TimestampType {
        if magic == MAGIC_V0 {
            TimestampType::None
        } else if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    #[must_use]
    pub const fn with_codec_id(self, id: u8) -> Attributes {
        Attributes(self.0 & !Self::CODEC | id as i16 & Self::CODEC)
    }

    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(Self::LOG_APPEND_TIME, matches!(timestamp_type, TimestampType::LogAppendTime))
    }

    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Attributes {
        self.with(Self::TRANSACTIONAL, on)
    }

    #[must_use]
    pub const fn with_control(self, on: bool) -> Attributes {
        self.with(Self::CONTROL, on)
    }

    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with(Self::DELETE_HORIZON, on)
    }

    const fn with(self, flag: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | flag } else { self.0 & !flag })
    }
}
