//! What sees every record on its way in, and every commit.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla_types::TopicPartition;

use super::commits::CommittedOffset;
use super::core::record::ConsumerRecord;

/// Sees all records that a consumer hands out, and may change them; and hears what was committed. For tracing, measuring and
/// the like: given as [`ConsumerSettings::interceptors`](super::ConsumerSettings::interceptors), called in their order.
///
/// It is called where records are handed out and commits are answered, and holds up whatever comes next there.
pub trait ConsumerInterceptor: Debug + Send + Sync {
    /// What is taken out here counts as read: its owner never hears of it.
    fn on_consume(&self, records: &mut Vec<ConsumerRecord>) {
        let _ = records;
    }

    /// These offsets are committed.
    fn on_commit(&self, offsets: &BTreeMap<TopicPartition, CommittedOffset>) {
        let _ = offsets;
    }
}
