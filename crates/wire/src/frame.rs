//! Frames: a length of four bytes, a header, a body.
//!
//! The length counts what is behind it, records outside memory included. A header's version follows from API key and
//! version: see [`ApiKey::request_header_version`] and [`ApiKey::response_header_version`]. An ApiVersions request of
//! a version that the server doesn't have is answered with a response of version 0 (KIP-511).

use bytes::{BufMut, Bytes, BytesMut};

use crate::api::ApiKey;
use crate::decode::{DecodeErrorKind, Decoded, Decoder};
use crate::encode::{EncodeError, EncodeErrorKind, Encoded, Encoder, Splice};
use crate::message::{Request, Response};
use crate::tagged::TaggedFields;

/// Bytes of the length in front of every frame.
pub const FRAME_LENGTH_BYTES: usize = 4;

/// What stands in front of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    pub client_id: Option<String>,
    pub unknown_tagged_fields: TaggedFields,
}

/// What stands in front of a response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
    pub unknown_tagged_fields: TaggedFields,
}

impl RequestHeader {
    pub fn encode(&self, e: &mut Encoder) -> Encoded {
        write_request_header(
            e,
            self.api_key,
            self.api_version,
            self.correlation_id,
            self.client_id.as_deref(),
            &self.unknown_tagged_fields,
        )
    }
}

/// Reads a request's header. The frame's length is not part of what the decoder has.
///
/// Fails on keys that are no API of Apache Kafka 4.3.1. Versions are not checked: the header's layout of a version that
/// is newer than all known ones is that of the latest.
pub fn decode_request_header(d: &mut Decoder) -> Decoded<RequestHeader> {
    let key = d.i16("RequestHeader.RequestApiKey")?;
    let Some(api_key) = ApiKey::from_code(key) else {
        return Err(d.error("RequestHeader.RequestApiKey", DecodeErrorKind::UnknownApiKey { key }));
    };
    let api_version = d.i16("RequestHeader.RequestApiVersion")?;
    let correlation_id = d.i32("RequestHeader.CorrelationId")?;
    // Never compact: a server must be able to read it before it knows the client's versions.
    let client_id = d.nullable_string(false, "RequestHeader.ClientId")?;
    let flexible = api_key.request_header_version(api_version) >= 2;
    let unknown_tagged_fields = d.unknown_tags(flexible, "RequestHeader")?;
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id, unknown_tagged_fields })
}

/// Reads the header of a response to a request of this key and version.
pub fn decode_response_header(d: &mut Decoder, api_key: ApiKey, api_version: i16) -> Decoded<ResponseHeader> {
    let correlation_id = d.i32("ResponseHeader.CorrelationId")?;
    let flexible = api_key.response_header_version(api_version) >= 1;
    let unknown_tagged_fields = d.unknown_tags(flexible, "ResponseHeader")?;
    Ok(ResponseHeader { correlation_id, unknown_tagged_fields })
}

fn write_request_header(
    e: &mut Encoder,
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    unknown: &TaggedFields,
) -> Encoded {
    e.i16(api_key.code());
    e.i16(api_version);
    e.i32(correlation_id);
    e.nullable_string(false, client_id, "RequestHeader.ClientId")?;
    if api_key.request_header_version(api_version) >= 2 {
        e.uvarint(unknown.len() as u32);
        e.unknown_tags(unknown);
    }
    Ok(())
}

/// A frame that is ready to be sent, its length in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    pub bytes: Bytes,
    /// Where bytes from outside memory go between `bytes`, in ascending order.
    pub splices: Vec<Splice>,
}

impl EncodedFrame {
    /// Bytes that go over the wire, spliced ones included.
    pub fn len(&self) -> u64 {
        self.splices.iter().fold(self.bytes.len() as u64, |len, splice| len + u64::from(splice.len))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A response's whole frame.
pub fn encode_response<R: Response>(
    correlation_id: i32,
    response: &R,
    version: i16,
) -> Result<EncodedFrame, EncodeError> {
    encode_frame(R::NAME, version, |e| {
        e.i32(correlation_id);
        if R::header_version(version) >= 1 {
            e.uvarint(0);
        }
        response.encode(e, version)
    })
}

/// A request's whole frame.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
    version: i16,
) -> Result<EncodedFrame, EncodeError> {
    encode_frame(R::NAME, version, |e| {
        write_request_header(e, R::API_KEY, version, correlation_id, client_id, &TaggedFields::default())?;
        request.encode(e, version)
    })
}

/// A request's whole frame in pieces, for a vectored write: large records are not copied.
pub fn encode_request_pieces<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
    version: i16,
) -> Result<Vec<Bytes>, EncodeError> {
    let write = |e: &mut Encoder| {
        write_request_header(e, R::API_KEY, version, correlation_id, client_id, &TaggedFields::default())?;
        request.encode(e, version)
    };
    let mut counter = Encoder::counting().in_pieces();
    write(&mut counter)?;
    let mut e = Encoder::appending_to(with_length(&counter, R::NAME, version)?).in_pieces();
    write(&mut e)?;
    debug_assert_eq!(e.len(), FRAME_LENGTH_BYTES + counter.len());
    Ok(e.into_pieces())
}

/// A buffer for what was counted, the frame's length in it.
fn with_length(counter: &Encoder, name: &'static str, version: i16) -> Result<BytesMut, EncodeError> {
    let Ok(length) = i32::try_from(counter.len()) else {
        let kind = EncodeErrorKind::TooLong { length: counter.len() };
        return Err(EncodeError { kind, field: name, version });
    };
    let mut buffer = BytesMut::with_capacity(FRAME_LENGTH_BYTES + counter.len_in_memory());
    buffer.put_i32(length);
    Ok(buffer)
}

fn encode_frame(
    name: &'static str,
    version: i16,
    write: impl Fn(&mut Encoder) -> Encoded,
) -> Result<EncodedFrame, EncodeError> {
    let mut counter = Encoder::counting();
    write(&mut counter)?;
    let mut e = Encoder::appending_to(with_length(&counter, name, version)?);
    write(&mut e)?;
    debug_assert_eq!(e.len(), FRAME_LENGTH_BYTES + counter.len());
    let (bytes, splices) = e.into_parts();
    Ok(EncodedFrame { bytes: bytes.freeze(), splices })
}

/// Reads a response's header and body, all of the frame behind its length.
pub fn decode_response<R: Response>(frame: Bytes, version: i16) -> Decoded<(ResponseHeader, R)> {
    let mut d = Decoder::new(frame);
    let header = decode_response_header(&mut d, R::API_KEY, version)?;
    let response = R::decode(&mut d, version)?;
    d.finish(R::NAME)?;
    Ok((header, response))
}
