//! The generated types.
#![allow(unused_variables, unused_mut, unused_imports, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/records.rs"));
