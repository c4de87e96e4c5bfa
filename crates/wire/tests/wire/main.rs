//! All messages and stored records, at all versions, through generic checks: see `codecs.rs` for the list and
//! `generate.rs` for where their bytes come from.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "they are how a test fails")]

mod codecs;
mod garbage;
mod generate;
mod kafka;
mod oracle;
mod pieces;
mod round_trip;
#[path = "../../build/schema.rs"]
#[allow(dead_code)]
mod schema;
mod tables;
mod values;
