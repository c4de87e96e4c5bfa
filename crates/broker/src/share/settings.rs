//! Groups' settings for share partitions: the group's own where it has some, within the broker's bounds.

use std::sync::Arc;

use ottla_config::{Config, Key, OffsetResetStrategy, keys, parse_boolean};
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
            may_renew: own("share.renew.acknowledge.enable")
                .and_then(|text| parse_boolean(&text))
                .unwrap_or(true),
        },
        offset_reset: match own("share.auto.offset.reset").and_then(|text| OffsetResetStrategy::parse(&text))
        {
            Some(OffsetResetStrategy::Earliest) => OffsetReset::Earliest,
            Some(OffsetResetStrategy::ByDuration(ms)) => OffsetReset::ByDuration(ms),
            // No other can be set.
            Some(OffsetResetStrategy::Latest | OffsetResetStrategy::None) | None => OffsetReset::Latest,
        },
        read_committed: own("share.isolation.level").is_some_and(|value| value == "read_committed"),
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::Changes;
    use ottla_wire::records::{ConfigRecord, MetadataRecord};

    use super::*;

    fn with(name: &str, value: &str) -> ShareGroupSettings {
        let mut image = MetadataImage::default();
        let record = ConfigRecord {
            resource_type: ResourceType::Group as i8,
            resource_name: "g".to_owned(),
            name: name.to_owned(),
            value: Some(value.to_owned()),
            ..ConfigRecord::default()
        };
        image.replay(&MetadataRecord::Config(record), &mut Changes::default()).unwrap();
        let config = Config::of_pairs([]).unwrap();
        settings(&config, &image, "g")
    }

    #[test]
    fn what_may_be_set_has_its_effect_however_it_is_written() {
        let begins = |text| with("share.auto.offset.reset", text).offset_reset;
        assert_eq!(begins("earliest"), OffsetReset::Earliest);
        assert_eq!(begins("BY_DURATION:pt1h"), OffsetReset::ByDuration(3_600_000));
        assert_eq!(begins("latest"), OffsetReset::Latest);
        for text in ["false", "FALSE", " False "] {
            assert!(!with("share.renew.acknowledge.enable", text).partition.may_renew, "{text:?}");
        }
        assert!(with("share.renew.acknowledge.enable", "TRUE").partition.may_renew);
        assert!(with("share.isolation.level", " read_committed ").read_committed);
    }
}
