//! Which process it is that answers at an address: asked and told in tagged fields of ApiVersions that Apache Kafka does not have
//! (KIP-482). Its brokers skip the question, as everybody skips a tag that he does not know, and its clients never ask it.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_types::{NodeId, Uuid};
use ottla_wire::messages::ApiVersionsRequest;
use ottla_wire::{ApiKey, Decoder, Message, TaggedFields, decode_request_header};

use crate::exchange::peek_api_key;

/// Of the question and of the answer. Kafka numbers its own from 0 on, message by message.
const TAG: u32 = 20_340;

/// The first version of ApiVersions that has tagged fields. Every node of a cluster with KRaft knows it.
pub const VERSION: i16 = 3;

/// A broker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub node: NodeId,
    /// With which it registers: random for each start.
    pub incarnation_id: Uuid,
}

/// As part of a question, of version 3 or later.
pub fn ask(fields: &mut TaggedFields) {
    fields.push(TAG, Bytes::new());
}

pub(crate) fn is_asked(fields: &TaggedFields) -> bool {
    fields.iter().any(|field| field.tag == TAG)
}

/// Whether a request frame asks it.
pub fn is_question(frame: &Bytes) -> bool {
    if peek_api_key(frame) != Some(ApiKey::ApiVersions.code()) {
        return false;
    }
    let mut d = Decoder::new(frame.clone());
    let request = decode_request_header(&mut d)
        .and_then(|header| ApiVersionsRequest::decode(&mut d, header.api_version));
    request.is_ok_and(|request| is_asked(&request.unknown_tagged_fields))
}

impl ProcessIdentity {
    pub fn tell(self, fields: &mut TaggedFields) {
        let mut data = BytesMut::new();
        data.put_i32(self.node.value());
        data.put_slice(&self.incarnation_id.0);
        fields.push(TAG, data.freeze());
    }

    /// None from whoever does not understand the question.
    pub fn told(fields: &TaggedFields) -> Option<ProcessIdentity> {
        let field = fields.iter().find(|field| field.tag == TAG)?;
        let (node, incarnation_id) = field.data.split_first_chunk()?;
        let incarnation_id = Uuid(incarnation_id.try_into().ok()?);
        Some(ProcessIdentity { node: NodeId(i32::from_be_bytes(*node)), incarnation_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_nothing_else() {
        let identity = ProcessIdentity { node: NodeId(7), incarnation_id: Uuid([9; 16]) };
        let mut fields = TaggedFields::default();
        assert_eq!((is_asked(&fields), ProcessIdentity::told(&fields)), (false, None));
        identity.tell(&mut fields);
        assert_eq!(ProcessIdentity::told(&fields), Some(identity));
        for len in [0, 3, 4, 19, 21] {
            let mut odd = TaggedFields::default();
            odd.push(TAG, Bytes::from(vec![0; len]));
            assert_eq!(ProcessIdentity::told(&odd), None, "{len} bytes");
        }
        let mut question = TaggedFields::default();
        question.push(TAG + 1, Bytes::new());
        assert!(!is_asked(&question));
        ask(&mut question);
        assert!(is_asked(&question));
    }
}
