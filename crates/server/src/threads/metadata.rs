//! Steps the quorum, the controller on it, and the image that is published from it.

use std::sync::Arc;

use ottla_broker::metadata_driver::MetadataDriver;

use super::{Alarm, Fatal, Woken};
use crate::clock::Clock;

/// What is left of the driver when its thread ends; none after a failure.
pub type MetadataThread = super::Worker<Option<MetadataDriver>>;

/// Runs until told to stop, or until the metadata fails, without which no node can go on.
pub fn metadata(
    alarm: &Arc<Alarm>,
    mut driver: MetadataDriver,
    clock: Clock,
    fatal: &Fatal,
) -> Option<MetadataDriver> {
    loop {
        let now = clock.now();
        if let Err(error) = driver.poll(now) {
            fatal.tell(format!("the metadata of the cluster failed: {error}"));
            return None;
        }
        // A quorum of one has nobody to talk to.
        drop(driver.quorum().take_outgoing());
        if alarm.sleep_until(&clock, || driver.next_deadline(now)) == Woken::Stop {
            return Some(driver);
        }
    }
}
