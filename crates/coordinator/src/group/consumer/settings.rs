use std::sync::Arc;

use ottla_metadata::image::{ConfigResource, ResourceType};

use super::assignor::Assignor;
use crate::group::shard::GroupShard;

/// `group.consumer.*`, as Kafka names them in `server.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout_ms: Bounded,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Bounded,
    /// `group.consumer.assignment.interval.ms`
    pub assignment_interval_ms: Bounded,
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`, the default first.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`
    pub migration_policy: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_interval_ms: i64,
    /// Groups with so many members and partitions together have their targets made outside of the shard.
    pub assigned_elsewhere_from: usize,
}

/// A setting that a group may have for itself, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    pub default: i32,
    pub min: i32,
    pub max: i32,
}

/// Which way groups may change between the classic and the consumer protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    Bidirectional,
    /// From the classic to the consumer protocol.
    Upgrade,
    /// From the consumer to the classic protocol.
    Downgrade,
    Disabled,
}

impl MigrationPolicy {
    /// Case doesn't matter.
    pub fn from_name(name: &str) -> Option<MigrationPolicy> {
        match name.to_ascii_lowercase().as_str() {
            "bidirectional" => Some(MigrationPolicy::Bidirectional),
            "upgrade" => Some(MigrationPolicy::Upgrade),
            "downgrade" => Some(MigrationPolicy::Downgrade),
            "disabled" => Some(MigrationPolicy::Disabled),
            _ => None,
        }
    }

    pub(crate) fn allows_upgrade(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Upgrade)
    }

    pub(crate) fn allows_downgrade(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Downgrade)
    }
}

impl Default for ConsumerGroupConfig {
    fn default() -> ConsumerGroupConfig {
        ConsumerGroupConfig {
            session_timeout_ms: Bounded { default: 45_000, min: 45_000, max: 60_000 },
            heartbeat_interval_ms: Bounded { default: 5_000, min: 5_000, max: 15_000 },
            assignment_interval_ms: Bounded { default: 1_000, min: 0, max: 15_000 },
            max_size: i32::MAX as usize,
            assignors: Assignor::ALL.to_vec(),
            migration_policy: MigrationPolicy::Bidirectional,
            regex_refresh_interval_ms: 600_000,
            assigned_elsewhere_from: 1_000,
        }
    }
}

/// What is in force for one group, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupSettings {
    pub(crate) session_timeout_ms: i32,
    pub(crate) heartbeat_interval_ms: i32,
    pub(crate) assignment_interval_ms: i32,
}

impl GroupShard {
    /// The group's own settings over those of the broker. One that was set under other bounds is held to today's.
    pub(crate) fn consumer_settings(&self, group_id: &Arc<str>) -> GroupSettings {
        let config = &self.config.consumer;
        let own = self.image.configs.of(&ConfigResource::new(ResourceType::Group, Arc::clone(group_id)));
        let setting = |name: &str, bounded: Bounded| {
            let own = own.and_then(|own| own.get(name)?.trim().parse::<i32>().ok());
            own.map_or(bounded.default, |own| own.min(bounded.max).max(bounded.min))
        };
        let interval = Bounded {
            default: self.shared.consumer_assignment_interval_ms(),
            ..config.assignment_interval_ms
        };
        GroupSettings {
            session_timeout_ms: setting("consumer.session.timeout.ms", config.session_timeout_ms),
            heartbeat_interval_ms: setting("consumer.heartbeat.interval.ms", config.heartbeat_interval_ms),
            assignment_interval_ms: setting("consumer.assignment.interval.ms", interval),
        }
    }
}
