//! Records that Kafka stores, in its internal topics, its metadata log, its control batches and its files: one module a
//! record, the records themselves also here.

mod schema;

pub use schema::*;
