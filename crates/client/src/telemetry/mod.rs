//! Metrics that a client tells its cluster of, where the cluster asks for them (KIP-714).

pub(crate) mod core;
mod measures;
pub(crate) mod metrics;
mod otlp;
mod push;

pub(crate) use measures::{Activity, Spread};
pub(crate) use metrics::{Kind, Metrics};
pub(crate) use push::Reporter;

#[cfg(test)]
mod tests;
