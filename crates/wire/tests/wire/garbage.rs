use bytes::Bytes;
use ottla_testkit::cases;
use ottla_wire::records::{
    ConsumerOffsetsRecord, ControlRecord, MetadataRecord, ShareGroupStateRecord, TransactionStateRecord,
};
use ottla_wire::{ApiKey, Decoder, decode_request_header, decode_response_header};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::codecs;
use crate::generate::{self, Random};

proptest! {
    #![proptest_config(cases(400))]

    /// Whatever comes is a message that can be written again, or an error.
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        for (codec, _) in codecs::all() {
            for version in [codec.versions.min, codec.versions.max] {
                let _ = (codec.rewrite)(bytes.clone(), version);
            }
        }
    }

    /// A real message in which some bytes are others.
    #[test]
    fn a_damaged_message_is_a_message_or_an_error(
        seed in any::<u64>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (codec, schema) in codecs::all() {
            let mut random = Random(seed);
            let versions = codec.versions;
            let version = versions.min + random.below((versions.max - versions.min) as u64 + 1) as i16;
            let mut bytes = generate::message(schema, version, &mut random);
            for (place, value) in &damage {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = *value;
                }
            }
            let _ = (codec.rewrite)(bytes.into(), version);
        }
    }

    #[test]
    fn any_bytes_are_a_header_or_a_record_or_an_error(
        key in vec(any::<u8>(), 0..40),
        value in vec(any::<u8>(), 0..80),
        type_id in 0u8..32,
    ) {
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        let _ = decode_request_header(&mut Decoder::new(key.clone()));
        for api in ApiKey::all() {
            let _ = decode_response_header(&mut Decoder::new(key.clone()), api, 0);
        }
        let prefixed = |prefix: &[u8], rest: &Bytes| Bytes::from([prefix, rest].concat());
        for typed in [key.clone(), prefixed(&[0, type_id], &key)] {
            for value in [value.clone(), prefixed(&[0, 0], &value)] {
                let _ = ConsumerOffsetsRecord::decode(typed.clone(), Some(value.clone()));
                let _ = TransactionStateRecord::decode(typed.clone(), Some(value.clone()));
                let _ = ShareGroupStateRecord::decode(typed.clone(), Some(value));
            }
        }
        let _ = ControlRecord::decode(prefixed(&[0, 0, 0, type_id], &key), value.clone());
        for value in [value.clone(), prefixed(&[1, type_id, 0], &value), prefixed(&[1, type_id, 1], &value)] {
            if let Ok((record, version)) = MetadataRecord::decode(value) {
                let bytes = record.encode(version).unwrap();
                assert_eq!(MetadataRecord::decode(bytes), Ok((record, version)));
            }
        }
    }
}
