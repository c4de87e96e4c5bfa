//! The Kafka protocol: messages at all versions, API keys, error codes, stored records.

mod api;
mod decode;
mod encode;
mod error_code;
mod generated;
mod message;
pub mod messages;
#[cfg(test)]
mod messages_tests;
pub mod records;
mod records_field;
mod tagged;

pub use api::{ApiFacts, ApiKey};
pub use decode::{DecodeError, DecodeErrorKind, Decoded, Decoder};
pub use encode::{EncodeError, EncodeErrorKind, Encoded, Encoder, Splice};
pub use error_code::{ErrorCode, ErrorFacts};
pub use message::{Element, Message, Request, Response, VersionRange};
pub use records_field::Records;
pub use tagged::{RawTaggedField, TaggedFields};
