//! Messages that Apache Kafka 4.3.1's own classes have read and written again: `kafka-4.3.1/samples.tsv`, with name,
//! version and bytes. They are of stored records and of what the other oracle lacks.
//!
//! To make them again, with Kafka's libraries in `$LIBS`:
//!
//! ```text
//! cargo test -p ottla-wire --test wire -- --ignored make_samples
//! java -cp "$LIBS/*" crates/wire/tests/wire/kafka-4.3.1/Rewrite.java < target/tmp/samples.tsv \
//!     > crates/wire/tests/wire/kafka-4.3.1/samples.tsv
//! ```
//!
//! With `SAMPLES_ALL=1` the first command makes many messages of every kind: the second one must then give back what it
//! gets.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::codecs;
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
        let mut cells = line.split('\t');
        let (name, version, bytes) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
        let version = version.parse().unwrap();
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
    let all = std::env::var_os("SAMPLES_ALL").is_some();
    let mut out = String::new();
    for (codec, schema) in codecs::all() {
        for version in codec.versions.iter() {
            let mut messages: Vec<Vec<u8>> =
                (0..SEEDS).map(|seed| generate::message(schema, version, &mut Random(seed))).collect();
            if !all {
                messages.sort_by_key(|bytes| (bytes.len() > SAMPLE_LEN_MAX, usize::MAX - bytes.len()));
                messages.truncate(is_sampled(codec.name, version).into());
            }
            for bytes in messages {
                let _ = writeln!(out, "{}\t{version}\t{}", codec.name, hex(&bytes));
            }
        }
    }
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/samples.tsv"), out).unwrap();
}
