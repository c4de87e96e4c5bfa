//! Apache Kafka's command-line tools, by name and flag, for the one executable.
//!
//! A table says which flags each tool has; the tools say what they do, one module each. What a tool prints and how it ends is
//! as with Kafka's own tool, so that scripts keep working; help is in words of our own, and what Kafka answers with a stack trace
//! is answered with a sentence.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acl_words;
mod acls;
mod api_versions;
mod client_config;
mod client_metrics;
mod cluster_tool;
mod configs;
mod console_consumer;
mod console_producer;
mod console_share_consumer;
mod consumer_groups;
mod consumer_perf;
mod coordinator_records;
mod date_format;
mod delegation_tokens;
mod delete_records;
mod deprecation;
mod dump_log;
mod e2e_latency;
mod features;
pub mod flags;
mod get_offsets;
mod group_flags;
mod group_offsets;
mod groups;
mod java;
mod leader_election;
mod link;
mod log_dirs;
mod metadata_quorum;
mod metadata_shell;
mod metrics;
mod names;
mod net;
mod producer_perf;
mod rate;
mod reassign_partitions;
mod replica_verification;
mod segment_files;
mod share_consumer_perf;
mod share_groups;
mod streams_groups;
mod streams_reset;
mod table;
mod time;
mod tool;
mod topics;
mod transactions;
mod verifiable;

pub use link::link;
pub use tool::{FAILED, Failure, Output, Run, Tool, Toolbox, said};

/// The tools of this crate.
pub const TOOLS: &[Tool] = &[
    acls::TOOL,
    api_versions::TOOL,
    client_metrics::TOOL,
    cluster_tool::TOOL,
    configs::TOOL,
    console_consumer::TOOL,
    console_producer::TOOL,
    console_share_consumer::TOOL,
    consumer_groups::TOOL,
    consumer_perf::TOOL,
    delegation_tokens::TOOL,
    delete_records::TOOL,
    dump_log::TOOL,
    e2e_latency::TOOL,
    features::TOOL,
    get_offsets::TOOL,
    groups::TOOL,
    leader_election::TOOL,
    log_dirs::TOOL,
    metadata_quorum::TOOL,
    metadata_shell::TOOL,
    producer_perf::TOOL,
    reassign_partitions::TOOL,
    replica_verification::TOOL,
    share_consumer_perf::TOOL,
    share_groups::TOOL,
    streams_groups::TOOL,
    streams_reset::TOOL,
    topics::TOOL,
    transactions::TOOL,
    verifiable::consumer::TOOL,
    verifiable::producer::TOOL,
];

#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod testing;
