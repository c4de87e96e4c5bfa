use bytes::{BufMut, Bytes, BytesMut};

use crate::decode::{Decoded, Decoder};
use crate::encode::{EncodeError, Encoder};
use crate::message::Message;

/// `number` as an int16, then the message.
pub(crate) fn prefixed<M: Message>(number: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut buffer = BytesMut::with_capacity(2 + message.encoded_len(version)?);
    buffer.put_i16(number);
    let mut e = Encoder::appending_to(buffer);
    message.encode(&mut e, version)?;
    Ok(e.into_parts().0.freeze())
}

/// The version as an int16, then the message: values of the coordinators' records, what members put into JoinGroup and
/// SyncGroup, principals in envelopes.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    prefixed(version, message, version)
}

/// The opposite of [`encode_versioned`], with the version. What is behind the message is ignored, as Kafka does.
pub fn decode_versioned<M: Message>(bytes: Bytes) -> Decoded<(M, i16)> {
    let mut d = Decoder::new(bytes);
    let version = d.i16(M::NAME)?;
    Ok((M::decode(&mut d, version)?, version))
}

/// Like [`decode_versioned`], but a version that is newer than all known ones is read as the latest: for what group
/// members send, where a newer version only appends fields.
pub fn decode_versioned_or_latest<M: Message>(bytes: Bytes) -> Decoded<(M, i16)> {
    let mut d = Decoder::new(bytes);
    let version = d.i16(M::NAME)?;
    Ok((M::decode(&mut d, version.min(M::VERSIONS.max))?, version))
}
