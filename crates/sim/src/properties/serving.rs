//! A node serves again soon after its process began, and answers with errors that a client has reason to expect.

use super::Property;
use crate::event::Event;

const START_MS_MAX: u64 = 5_000;

#[derive(Debug)]
pub(super) struct Serving;

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
            _ => Ok(()),
        }
    }
}
