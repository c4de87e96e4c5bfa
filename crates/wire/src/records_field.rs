use bytes::Bytes;

use crate::decode::{Decoded, Decoder};

/// The record batches in an answer: in memory, or elsewhere and put in by whoever sends the frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Records {
    #[default]
    Null,
    /// In memory; when read, a slice of the frame.
    Bytes(Bytes),
    /// `len` bytes that the sender knows by `token`. Never the result of reading.
    External { len: u32, token: u64 },
}

impl Records {
    /// No batches, in fields that can't be null.
    pub const EMPTY: Records = Records::Bytes(Bytes::new());

    /// Size in bytes, 0 for null.
    pub fn len(&self) -> usize {
        match self {
            Records::Null => 0,
            Records::Bytes(bytes) => bytes.len(),
            Records::External { len, .. } => *len as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Records::Null)
    }

    /// The bytes, if there are any and they are in memory.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::Null | Records::External { .. } => None,
        }
    }

    pub(crate) fn read(
        d: &mut Decoder,
        flexible: bool,
        nullable: bool,
        field: &'static str,
    ) -> Decoded<Records> {
        let value = d.nullable_bytes(flexible, field)?;
        Ok(d.null_if(nullable, value, field)?.map_or(Records::Null, Records::Bytes))
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}
