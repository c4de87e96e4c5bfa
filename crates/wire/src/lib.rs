//! The Kafka protocol: messages at all versions, API keys, error codes, stored records.
//!
//! Everything that has a schema is generated at build from the tables under `schema/`. A [`Message`] is read by a
//! [`Decoder`] from a frame, of which it keeps slices, and written by an [`Encoder`]; [`encode_request`] and
//! [`encode_response`] make whole frames.
//!
//! What always holds: reading never panics and never allocates more than its budget, whatever the bytes are; what was
//! read is written as it was, tagged fields that the schema doesn't have included; a value that a version can't carry
//! is an error, unless the schema says that it may be left out. Only this crate knows versions of schemas.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod decode;
mod encode;
mod error_code;
mod frame;
mod generated;
mod json;
mod message;
pub mod messages;
pub mod records;
mod records_field;
mod tagged;

pub use api::{ApiFacts, ApiKey};
pub use decode::{DecodeError, DecodeErrorKind, Decoded, Decoder};
pub use encode::{EncodeError, EncodeErrorKind, Encoded, Encoder, Splice};
pub use error_code::{ErrorCode, ErrorFacts};
pub use frame::{
    EncodedFrame, FRAME_LENGTH_BYTES, RequestHeader, ResponseHeader, decode_request_header, decode_response,
    decode_response_header, encode_request, encode_request_pieces, encode_response,
};
pub use json::{Json, ToJson, java_double};
pub use message::{Element, Message, Request, Response, VersionRange};
pub use records_field::Records;
pub use tagged::{RawTaggedField, TaggedFields};
