//! All requests and responses: one module a message, the messages themselves also here.
#![allow(unused_variables, unused_mut, unused_imports, clippy::all)]

use crate::api::ApiKey;

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
