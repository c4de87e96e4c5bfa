//! Producer, consumer and administration of Apache Kafka and Ottla clusters, in Rust.
//!
//! [`Client`] is what everything stands on: it knows the cluster, keeps one connection to each broker, and sends any
//! request of the protocol.
//!
//! What always holds: memory is bounded, every queue has a limit; nothing that comes from the network can make the
//! process panic; dropping anything never blocks. Modules named in the layers check (`cluster`, `settings` and the
//! `core` of producer, consumer and share consumer) are pure: no sockets, no clock, no randomness.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod admin;
mod backoff;
mod client;
mod clock;
mod cluster;
pub mod consumer;
#[cfg(test)]
mod effects;
mod error;
#[cfg(test)]
mod many_partitions;
mod net;
mod producer;
mod settings;
pub mod share;
mod telemetry;
pub mod typed;

pub use client::{Answer, Client, ClientSettings, SendOptions, Target, Topics};
pub use cluster::{Broker, CoordinatorKind, Leader, Metadata, Partition, RecoveryStrategy, Topic};
pub use error::ClientError;
pub use net::{Connector, Lane, ServedVersions, Stream};
pub use ottla_record::{Codec, Compression, Header};
pub use ottla_types as types;
pub use ottla_wire as wire;
pub use producer::core::delivery::{Delivery, RecordMetadata};
pub use producer::core::partitioner::{Partitioner, RoundRobin};
pub use producer::core::record::Record;
pub use producer::core::{murmur2, partition_of_key};
pub use producer::{
    Acks, OutgoingRecord, Producer, ProducerInterceptor, ProducerSettings, Transaction, TransactionOutcome,
    TransactionalProducer, TrySendError, TrySendReason,
};
pub use settings::{Scope, Settings, SettingsError};
