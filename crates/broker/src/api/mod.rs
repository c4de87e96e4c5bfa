//! The APIs that a node serves: one file an API, a typed request in, a typed response out.
//!
//! What all have in common happens once, in [`dispatch`], from the rows of [`table`]: finding the API, checking its
//! version and listener, decoding, encoding, and closing connections that break the protocol.

mod call;
pub mod dispatch;
pub mod table;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_share_group_offsets;
mod api_versions;
mod authorized_operations;
mod compatibility;
mod config_changes;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_share_group_state;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
mod fetch;
mod find_coordinator;
mod forward;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod initialize_share_group_state;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod partitions;
mod produce;
mod read_share_group_state;
mod read_share_group_state_summary;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod share_groups;
mod sync_group;
mod transactions;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_share_group_state;
mod write_txn_markers;

pub use call::{Call, Context};
pub use compatibility::compatibility_markdown;
