//! What Apache Kafka 4.3.1's own classes have read and written again: `kafka-4.3.1/samples.tsv`, with a message's name,
//! the version that it was read at, the one that it was written at, and its bytes. They are of stored records and of
//! what the other oracle lacks.
//!
//! To make them again, with Kafka's libraries in `$LIBS`:
//!
//! ```text
//! cargo test -p ottla-wire --test wire -- --ignored make_samples
//! java -cp "$LIBS/*" crates/wire/tests/wire/kafka-4.3.1/Rewrite.java < target/tmp/samples.tsv \
//!     > crates/wire/tests/wire/kafka-4.3.1/samples.tsv
//! ```
//!
//! With `SAMPLES_ALL=1`, the first command makes many messages of every kind at every pair of versions. What the second
//! one then prints must be `target/tmp/expected.tsv`: the same bytes, or `refused` by both.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::codecs::{self, Codec};
use crate::generate::{self, Random};
use crate::oracle;
use crate::values::{hex, unhex};

/// A sample is the longest of several messages that is no longer than this, in bytes.
const SAMPLE_LEN_MAX: usize = 100;

const SEEDS: u64 = 40;

fn is_sampled(name: &str, version: i16) -> bool {
    !name.ends_with("Request") && !name.ends_with("Response") || oracle::is_lacking(name, version)
}

#[test]
fn samples_are_written_as_kafka_wrote_them() {
    let mut seen = BTreeSet::new();
    for line in include_str!("kafka-4.3.1/samples.tsv").lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, from, to, bytes] = cells[..] else { panic!("{line}") };
        assert_eq!(from, to);
        let version = from.parse().unwrap();
        let (codec, _) = codecs::all().iter().find(|(codec, _)| codec.name == name).unwrap();
        let rewritten = (codec.rewrite)(unhex(bytes), version).unwrap();
        assert_eq!((rewritten.left, hex(&rewritten.bytes).as_str()), (0, bytes), "{name} version {version}");
        seen.insert((name, version));
    }
    for (codec, _) in codecs::all() {
        for version in codec.versions.iter().filter(|&version| is_sampled(codec.name, version)) {
            assert!(seen.contains(&(codec.name, version)), "no sample of {} version {version}", codec.name);
        }
    }
}

#[test]
#[ignore = "makes the input of kafka-4.3.1/Rewrite.java"]
fn make_samples() {
    let (mut samples, mut expected) = (String::new(), String::new());
    let mut add = |codec: &Codec, from: i16, to: i16, bytes: &[u8]| {
        let answer = (codec.convert)(bytes.to_vec().into(), from, to);
        let answer = answer.map_or("refused".to_owned(), |bytes| hex(&bytes));
        let _ = writeln!(samples, "{}\t{from}\t{to}\t{}", codec.name, hex(bytes));
        let _ = writeln!(expected, "{}\t{from}\t{to}\t{answer}", codec.name);
    };
    let all = std::env::var_os("SAMPLES_ALL").is_some();
    for (codec, schema) in codecs::all() {
        for from in codec.versions.iter() {
            let mut messages: Vec<Vec<u8>> =
                (0..SEEDS).map(|seed| generate::message(schema, from, &mut Random(seed))).collect();
            if all {
                for to in codec.versions.iter() {
                    messages.iter().for_each(|bytes| add(codec, from, to, bytes));
                }
            } else if is_sampled(codec.name, from) {
                messages.sort_by_key(|bytes| (bytes.len() > SAMPLE_LEN_MAX, usize::MAX - bytes.len()));
                add(codec, from, from, &messages[0]);
            }
        }
    }
    for (name, text) in [("samples", samples), ("expected", expected)] {
        std::fs::write(format!("{}/{name}.tsv", env!("CARGO_TARGET_TMPDIR")), text).unwrap();
    }
}
