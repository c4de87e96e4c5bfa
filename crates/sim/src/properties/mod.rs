//! What must hold, one file each. A property sees every event in order and says what is wrong with it.

mod acknowledged;
mod duplicates;
mod group_offsets;
mod metadata;
mod order;
pub mod reads;
mod recovery;
mod serving;
mod views;

use std::fmt::Debug;

use crate::event::Event;

/// What a run is made to withstand.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// Every append is flushed before it is answered.
    pub flushes_always: bool,
}

/// Something that must hold all along.
pub trait Property: Debug {
    fn name(&self) -> &'static str;
    fn on(&mut self, event: &Event) -> Result<(), String>;
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
        Box::new(serving::Serving),
    ]
}
