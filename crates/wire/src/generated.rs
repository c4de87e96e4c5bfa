//! What generated code uses.

pub(crate) mod prelude {
    pub(crate) use bytes::Bytes;
    pub(crate) use ottla_types::Uuid;

    pub(crate) use crate::decode::{Decoded, Decoder};
    pub(crate) use crate::encode::{Encoded, Encoder};
    pub(crate) use crate::json::{Json, ToJson};
    pub(crate) use crate::message::{Element, VersionRange};
    pub(crate) use crate::records_field::Records;
    pub(crate) use crate::tagged::TaggedFields;
}
