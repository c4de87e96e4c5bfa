use ottla_metadata::image::{ConfigResource, ResourceType};

use crate::group::consumer::Bounded;
use crate::group::shard::GroupShard;

/// `group.share.*` as far as the coordinator needs them, as Kafka names them in `server.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroupConfig {
    /// `group.share.session.timeout.ms`
    pub session_timeout_ms: Bounded,
    /// `group.share.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Bounded,
    /// `group.share.assignment.interval.ms`
    pub assignment_interval_ms: Bounded,
    /// `group.share.max.size`
    pub max_size: usize,
    /// `group.share.initialize.retry.interval.ms`
    pub initialize_retry_interval_ms: i64,
}

impl Default for ShareGroupConfig {
    fn default() -> ShareGroupConfig {
        ShareGroupConfig {
            session_timeout_ms: Bounded { default: 45_000, min: 45_000, max: 60_000 },
            heartbeat_interval_ms: Bounded { default: 5_000, min: 5_000, max: 15_000 },
            assignment_interval_ms: Bounded { default: 1_000, min: 0, max: 15_000 },
            max_size: 200,
            initialize_retry_interval_ms: 30_000,
        }
    }
}

/// What is in force for one group, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) session_timeout_ms: i32,
    pub(super) heartbeat_interval_ms: i32,
    pub(super) assignment_interval_ms: i32,
}

impl GroupShard {
    /// The group's own settings over those of the broker. One that was set under other bounds is held to today's.
    pub(super) fn share_settings(&self, group_id: &str) -> Settings {
        let config = &self.config.share;
        let own = self.image.configs.of(&ConfigResource::new(ResourceType::Group, group_id));
        let setting = |name: &str, bounded: Bounded| {
            let own = own.and_then(|own| own.get(name)?.trim().parse::<i32>().ok());
            own.map_or(bounded.default, |own| own.min(bounded.max).max(bounded.min))
        };
        let interval =
            Bounded { default: self.shared.share_assignment_interval_ms(), ..config.assignment_interval_ms };
        Settings {
            session_timeout_ms: setting("share.session.timeout.ms", config.session_timeout_ms),
            heartbeat_interval_ms: setting("share.heartbeat.interval.ms", config.heartbeat_interval_ms),
            assignment_interval_ms: setting("share.assignment.interval.ms", interval),
        }
    }
}
