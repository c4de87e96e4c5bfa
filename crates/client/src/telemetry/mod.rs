//! Metrics that a client tells its cluster of, where the cluster asks for them (KIP-714).

pub(crate) mod core;
pub(crate) mod metrics;
mod otlp;
mod push;

pub(crate) use metrics::{Kind, Metrics, Spread};
pub(crate) use push::Reporter;

#[cfg(test)]
mod tests;
