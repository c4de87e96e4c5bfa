//! Bounds that a broker gives for groups' own settings: what lies outside is refused.

use crate::configs::{GROUP, alter};
use crate::harness::SteppedNode;
use crate::node_settings::Settings;

/// A bound, its value, what else must be set to allow it, and a group's setting that is outside of it.
type Bound = (&'static str, &'static str, Settings<'static>, &'static str, &'static str);

const BOUNDS: &[Bound] = &[
    ("group.consumer.max.session.timeout.ms", "50000", &[], "consumer.session.timeout.ms", "55000"),
    (
        "group.consumer.min.session.timeout.ms",
        "50000",
        &[("group.consumer.session.timeout.ms", "55000")],
        "consumer.session.timeout.ms",
        "46000",
    ),
    ("group.consumer.max.heartbeat.interval.ms", "10000", &[], "consumer.heartbeat.interval.ms", "12000"),
    (
        "group.consumer.min.heartbeat.interval.ms",
        "8000",
        &[("group.consumer.heartbeat.interval.ms", "9000")],
        "consumer.heartbeat.interval.ms",
        "6000",
    ),
    ("group.consumer.max.assignment.interval.ms", "2000", &[], "consumer.assignment.interval.ms", "3000"),
    ("group.consumer.min.assignment.interval.ms", "500", &[], "consumer.assignment.interval.ms", "100"),
    ("group.share.max.session.timeout.ms", "50000", &[], "share.session.timeout.ms", "55000"),
    (
        "group.share.min.session.timeout.ms",
        "50000",
        &[("group.share.session.timeout.ms", "55000")],
        "share.session.timeout.ms",
        "46000",
    ),
    ("group.share.max.heartbeat.interval.ms", "10000", &[], "share.heartbeat.interval.ms", "12000"),
    (
        "group.share.min.heartbeat.interval.ms",
        "8000",
        &[("group.share.heartbeat.interval.ms", "9000")],
        "share.heartbeat.interval.ms",
        "6000",
    ),
    ("group.share.max.assignment.interval.ms", "2000", &[], "share.assignment.interval.ms", "3000"),
    ("group.share.min.assignment.interval.ms", "500", &[], "share.assignment.interval.ms", "100"),
    ("group.share.max.delivery.count.limit", "7", &[], "share.delivery.count.limit", "8"),
    ("group.share.min.delivery.count.limit", "4", &[], "share.delivery.count.limit", "3"),
    ("group.share.max.record.lock.duration.ms", "40000", &[], "share.record.lock.duration.ms", "50000"),
    ("group.share.min.record.lock.duration.ms", "20000", &[], "share.record.lock.duration.ms", "16000"),
    ("group.share.max.partition.max.record.locks", "3000", &[], "share.partition.max.record.locks", "3500"),
    ("group.share.min.partition.max.record.locks", "200", &[], "share.partition.max.record.locks", "150"),
];

#[test]
fn each_bound_is_kept_by_the_settings_of_groups() {
    for (bound, value, others, own, own_value) in BOUNDS {
        let answer = |settings: Settings<'_>| {
            let mut node = SteppedNode::start(settings);
            alter(&mut node, GROUP, "g", &[(own, Some(own_value))]).0.name()
        };
        assert_eq!(answer(others), "NONE", "{own}={own_value} without {bound}");
        let with_bound = [*others, &[(*bound, *value)]].concat();
        assert_eq!(answer(&with_bound), "INVALID_CONFIG", "{own}={own_value} with {bound}={value}");
    }
}
