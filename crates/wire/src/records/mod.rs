//! Records that Kafka stores, in its internal topics, its metadata log, its control batches and its files: one module a
//! record, the records themselves also here. [`MetadataRecord`], [`ControlRecord`] and the coordinators'
//! [`ConsumerOffsetsRecord`], [`TransactionStateRecord`] and [`ShareGroupStateRecord`] put their frames around them.
//!
//! At which version a record is written is the caller's choice: it depends on the cluster's finalized features.

mod control;
mod coordinator;
mod metadata;
mod schema;
mod versioned;

pub use control::ControlRecord;
pub use coordinator::{ConsumerOffsetsRecord, ShareGroupStateRecord, TransactionStateRecord};
pub use metadata::MetadataRecord;
pub use schema::*;
pub use versioned::{decode_versioned, decode_versioned_or_latest, encode_versioned};
