//! Groups' settings for share partitions: the group's own where it has some, within the broker's bounds.

use std::sync::Arc;

use ottla_config::{Config, Key, keys};
use ottla_metadata::MetadataImage;
use ottla_metadata::image::{ConfigResource, ResourceType};
use ottla_replica::share::{OffsetReset, ShareGroupSettings, ShareGroups, ShareSettings};

use super::NodeLink;
use super::dead_letters::TOPIC_NAME;
use crate::node::Node;

pub(super) struct NodeShareGroups {
    pub link: Arc<NodeLink>,
    /// What holds while there is no node.
    pub config: Arc<Config>,
}

impl ShareGroups for NodeShareGroups {
    fn settings(&self, group_id: &str) -> ShareGroupSettings {
        match self.link.get() {
            Some(node) => node.share_group_settings(group_id),
            None => settings(&self.config, &MetadataImage::default(), group_id),
        }
    }
}

impl Node {
    pub(crate) fn share_group_settings(&self, group_id: &str) -> ShareGroupSettings {
        settings(&self.effective_config.load(), &self.metadata.image(), group_id)
    }
}

fn own(image: &MetadataImage, group_id: &str, name: &str) -> Option<String> {
    let resource = ConfigResource::new(ResourceType::Group, group_id);
    Some(image.configs.of(&resource)?.get(name)?.trim().to_owned())
}

fn settings(config: &Config, image: &MetadataImage, group_id: &str) -> ShareGroupSettings {
    let own = |name: &str| own(image, group_id, name);
    // One that was set under other bounds is held to today's.
    let bounded = |name: &str, default: Key<i32>, min: Key<i32>, max: Key<i32>| {
        let value = own(name).and_then(|value| value.parse::<i32>().ok());
        value.map_or(config.get(default), |value| value.min(config.get(max)).max(config.get(min)))
    };
    let delivery_count_limit = bounded(
        "share.delivery.count.limit",
        keys::GROUP_SHARE_DELIVERY_COUNT_LIMIT,
        keys::GROUP_SHARE_MIN_DELIVERY_COUNT_LIMIT,
        keys::GROUP_SHARE_MAX_DELIVERY_COUNT_LIMIT,
    );
    ShareGroupSettings {
        partition: ShareSettings {
            record_lock_duration_ms: bounded(
                "share.record.lock.duration.ms",
                keys::GROUP_SHARE_RECORD_LOCK_DURATION_MS,
                keys::GROUP_SHARE_MIN_RECORD_LOCK_DURATION_MS,
                keys::GROUP_SHARE_MAX_RECORD_LOCK_DURATION_MS,
            ),
            delivery_count_limit: i16::try_from(delivery_count_limit).unwrap_or(i16::MAX),
            max_record_locks: bounded(
                "share.partition.max.record.locks",
                keys::GROUP_SHARE_PARTITION_MAX_RECORD_LOCKS,
                keys::GROUP_SHARE_MIN_PARTITION_MAX_RECORD_LOCKS,
                keys::GROUP_SHARE_MAX_PARTITION_MAX_RECORD_LOCKS,
            ),
            keeps_dead_letters: own(TOPIC_NAME).is_some_and(|name| !name.is_empty()),
            may_renew: own("share.renew.acknowledge.enable").is_none_or(|value| value != "false"),
        },
        offset_reset: own("share.auto.offset.reset")
            .and_then(|value| offset_reset(&value))
            .unwrap_or(OffsetReset::Latest),
        read_committed: own("share.isolation.level").is_some_and(|value| value == "read_committed"),
    }
}

/// `latest`, `earliest` or `by_duration:` and how far back, as ISO 8601 writes durations.
fn offset_reset(text: &str) -> Option<OffsetReset> {
    match text {
        "latest" => Some(OffsetReset::Latest),
        "earliest" => Some(OffsetReset::Earliest),
        _ => Some(OffsetReset::ByDuration(duration_ms(text.strip_prefix("by_duration:")?)?)),
    }
}

/// Java's `PnDTnHnMn.nS`, in milliseconds.
fn duration_ms(text: &str) -> Option<i64> {
    let rest = text.trim().strip_prefix(['P', 'p'])?;
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let mut ms = 0.0;
    let mut add = |part: &str, units: &[(char, f64)]| -> Option<()> {
        let mut number = String::new();
        for c in part.chars() {
            if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') {
                number.push(c);
                continue;
            }
            let (_, factor) = units.iter().find(|(unit, _)| *unit == c.to_ascii_uppercase())?;
            ms += number.parse::<f64>().ok()? * factor;
            number.clear();
        }
        number.is_empty().then_some(())
    };
    add(days, &[('D', 86_400_000.0)])?;
    add(time, &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1_000.0)])?;
    (ms >= 0.0).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_may_be_so_far_back() {
        for (text, expected) in [
            ("latest", Some(OffsetReset::Latest)),
            ("earliest", Some(OffsetReset::Earliest)),
            ("by_duration:PT1H", Some(OffsetReset::ByDuration(3_600_000))),
            ("by_duration:P2DT3H4M5.5S", Some(OffsetReset::ByDuration(183_845_500))),
            ("by_duration:P1D", Some(OffsetReset::ByDuration(86_400_000))),
            ("by_duration:1H", None),
            ("never", None),
        ] {
            assert_eq!(offset_reset(text), expected, "{text}");
        }
    }
}
