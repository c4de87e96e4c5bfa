//! Writes a batch of every codec and level into a directory, for `Golden.java check`: see testdata/README.md.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::PathBuf;

use ottla_record::{BatchOptions, Codec, Compression};

#[path = "../testdata/expected.rs"]
mod expected;

fn main() {
    let dir = PathBuf::from(std::env::args_os().nth(1).expect("usage: write_batches DIR"));
    std::fs::create_dir_all(&dir).unwrap();
    for codec in Codec::ALL {
        let levels = match codec {
            Codec::Zstd => (-7..=22).chain([-131_072]).collect(),
            _ => codec.levels().map_or(vec![0], |l| (l.min..=l.max).chain([l.default]).collect()),
        };
        for level in levels {
            let compression = Compression::with_level(codec, level).unwrap();
            for (large, name) in [(false, ""), (true, "large-")] {
                let options = BatchOptions { compression, ..BatchOptions::default() };
                let path = dir.join(format!("{name}{codec}-{level}.bin"));
                std::fs::write(path, expected::build(options, large)).unwrap();
            }
        }
    }
}
