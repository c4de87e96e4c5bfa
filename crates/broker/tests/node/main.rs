//! A node from its requests to its disk, in one thread and without a clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cluster;
mod configs;
mod consumer_group_settings;
mod data_plane;
mod dead_letters;
mod group_setting_bounds;
mod group_settings;
mod harness;
mod life;
mod log_dir_moves;
mod log_dirs;
mod log_settings;
mod metadata_settings;
mod node_settings;
mod publishing;
mod records;
mod replica_settings;
mod share_group_settings;
mod share_groups;
mod topic_settings;
mod topics;
mod transaction_settings;
mod transactions;
