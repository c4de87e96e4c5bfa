//! A node serves again soon after its process began, and answers with errors that a client has reason to expect.

use super::{Promises, Property};
use crate::event::{Ending, Event, GroupEvent};

const START_MS_MAX: u64 = 5_000;

#[derive(Debug)]
pub(super) struct Serving {
    promises: Promises,
    /// Two logs may have lost different amounts: of what a group begins in, and of where it stands there.
    may_have_lost_states: bool,
}

impl Serving {
    pub(super) fn new(promises: Promises) -> Serving {
        Serving { promises, may_have_lost_states: false }
    }
}

impl Property for Serving {
    fn name(&self) -> &'static str {
        "the node serves again, and as it should"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Up { after_ms, .. } if *after_ms > START_MS_MAX => {
                Err(format!("it took {after_ms} ms to serve again"))
            }
            Event::Unexpected { what } => Err(what.clone()),
            Event::Down { ending: Ending::PowerLost, .. } => {
                self.may_have_lost_states |= !self.promises.flushes_always;
                Ok(())
            }
            Event::Group(GroupEvent::Unserved { client, partition }) if !self.may_have_lost_states => {
                Err(format!("{client} is not served with {partition}"))
            }
            _ => Ok(()),
        }
    }
}
