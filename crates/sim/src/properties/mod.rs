//! What must hold, one file each. A property sees every event in order and says what is wrong with it.

mod acknowledged;
mod assigned;
mod atomic;
mod duplicates;
mod fencing;
mod group_offsets;
mod isolation;
mod metadata;
mod order;
mod ownership;
pub mod reads;
mod recovery;
mod replay;
mod serving;
mod share_deliveries;
mod share_locks;
mod spans;
mod stable_offset;
mod transactional_offsets;
pub(crate) mod views;

use std::fmt::Debug;

use crate::event::Event;

/// What a run is made to withstand.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// Every append is flushed before it is answered.
    pub flushes_always: bool,
    /// The share group is given nothing of transactions that were aborted.
    pub share_reads_committed: bool,
    /// How long a member of a share group has a record.
    pub record_lock_ms: i64,
    /// How often a record is delivered.
    pub delivery_count_limit: i16,
}

/// Something that must hold all along.
pub trait Property: Debug {
    fn name(&self) -> &'static str;
    fn on(&mut self, event: &Event) -> Result<(), String>;

    /// What is still to come when nothing fails any more.
    fn unsettled(&self) -> Option<String> {
        None
    }
}

/// Those of them that hold of a cluster too, as its clients and the newest leaders' logs show it.
pub fn of_cluster(promises: Promises) -> Vec<Box<dyn Property>> {
    vec![
        Box::new(order::Order),
        Box::new(group_offsets::GroupOffsets::new(promises)),
        Box::new(atomic::Atomic::new(promises)),
        Box::new(fencing::Fencing::new(promises)),
        Box::new(stable_offset::StableOffset::default()),
        Box::new(isolation::Isolation::default()),
        Box::new(transactional_offsets::TransactionalOffsets::new(promises)),
        Box::new(ownership::Ownership::new(promises)),
        Box::new(assigned::Assigned::default()),
        Box::new(share_locks::ShareLocks::new(promises)),
        Box::new(share_deliveries::ShareDeliveries::new(promises)),
    ]
}

/// All of them.
pub fn all(promises: Promises) -> Vec<Box<dyn Property>> {
    vec![
        Box::new(acknowledged::Acknowledged::new(promises)),
        Box::new(order::Order),
        Box::new(duplicates::Duplicates::default()),
        Box::new(views::Views::new(promises)),
        Box::new(group_offsets::GroupOffsets::new(promises)),
        Box::new(metadata::Metadata::default()),
        Box::new(recovery::Recovery::new(promises)),
        Box::new(serving::Serving::new(promises)),
        Box::new(atomic::Atomic::new(promises)),
        Box::new(fencing::Fencing::new(promises)),
        Box::new(stable_offset::StableOffset::default()),
        Box::new(isolation::Isolation::default()),
        Box::new(transactional_offsets::TransactionalOffsets::new(promises)),
        Box::new(replay::Replay::new(promises)),
        Box::new(ownership::Ownership::new(promises)),
        Box::new(assigned::Assigned::default()),
        Box::new(share_locks::ShareLocks::new(promises)),
        Box::new(share_deliveries::ShareDeliveries::new(promises)),
    ]
}
