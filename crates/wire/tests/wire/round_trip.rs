use bytes::Bytes;

use crate::codecs;
use crate::generate::{self, Random};

/// Messages of each version.
const SEEDS: u64 = 24;

#[test]
fn every_message_of_every_version_is_written_as_it_was_read() {
    for (codec, schema) in codecs::all() {
        for version in codec.versions.iter() {
            for seed in 0..SEEDS {
                let bytes = Bytes::from(generate::message(schema, version, &mut Random(seed)));
                let at = || format!("{} version {version} seed {seed}", codec.name);
                let rewritten =
                    (codec.rewrite)(bytes.clone(), version).unwrap_or_else(|e| panic!("{}: {e}", at()));
                assert_eq!(rewritten.left, 0, "{}", at());
                assert_eq!(rewritten.bytes, bytes, "{}", at());
                assert_eq!(rewritten.encoded_len, bytes.len(), "{}", at());
                assert!(rewritten.is_same, "{}", at());
            }
        }
    }
}

#[test]
fn defaults_can_be_written_at_every_version() {
    for (codec, _) in codecs::all() {
        for version in codec.versions.iter() {
            let bytes = (codec.default)(version);
            let rewritten = (codec.rewrite)(bytes.clone(), version).unwrap();
            assert_eq!((rewritten.left, rewritten.bytes), (0, bytes), "{} version {version}", codec.name);
        }
    }
}

#[test]
fn a_cut_message_is_an_error() {
    for (codec, schema) in codecs::all() {
        for version in codec.versions.iter() {
            let bytes = Bytes::from(generate::message(schema, version, &mut Random(1)));
            for end in 0..bytes.len() {
                assert!(
                    (codec.rewrite)(bytes.slice(..end), version).is_err(),
                    "{} version {version} cut at {end} of {}",
                    codec.name,
                    bytes.len()
                );
            }
        }
    }
}
