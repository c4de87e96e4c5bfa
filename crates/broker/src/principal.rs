//! Principals as Kafka passes them between nodes (KIP-590): a version, then what it says of them.

use bytes::Bytes;
use ottla_wire::EncodeError;
use ottla_wire::records::{DefaultPrincipalData, decode_versioned, encode_versioned};

const VERSION: i16 = 0;

/// Whoever is not authenticated.
const ANONYMOUS: &str = "ANONYMOUS";

/// The principal of clients that are not authenticated.
pub(crate) fn anonymous() -> Result<Bytes, EncodeError> {
    let principal = DefaultPrincipalData {
        r#type: "User".to_owned(),
        name: ANONYMOUS.to_owned(),
        ..DefaultPrincipalData::default()
    };
    encode_versioned(&principal, VERSION)
}

/// Whether these bytes are a principal.
pub(crate) fn is_valid(bytes: Bytes) -> bool {
    decode_versioned::<DefaultPrincipalData>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_laid_out_as_kafka_s() {
        let bytes = anonymous().expect("it encodes");
        // Version 0; compact strings; not from a token; no tagged fields.
        assert_eq!(bytes, b"\x00\x00\x05User\x0aANONYMOUS\x00\x00"[..]);
        assert!(is_valid(bytes.clone()));
        assert!(!is_valid(bytes.slice(..5)));
        assert!(!is_valid(Bytes::from_static(b"\x00\x09")));
    }
}
