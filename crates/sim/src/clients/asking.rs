//! One request at a time, as most clients have it: what is asked, what becomes of it, and how long to wait until more is
//! asked. And the question that all of groups and transactions begin with: who coordinates them.

use bytes::Bytes;
use ottla_types::MonoMs;
use ottla_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::World;
use crate::network::{Heard, Link, Ticket, decode};

pub(super) const FIND_VERSION: i16 = 6;
/// Kinds of coordinators, as FindCoordinator names them.
pub(super) const OF_GROUPS: i8 = 0;
pub(super) const OF_TRANSACTIONS: i8 = 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Asking<A> {
    asked: Option<(Ticket, A)>,
    wait_until: MonoMs,
}

/// What a client hears.
#[derive(Debug)]
pub(super) enum Said<A> {
    Answer(A, Bytes),
    /// The connection is lost, and with it what was asked, if anything was.
    Lost(Option<A>),
}

impl<A> Default for Asking<A> {
    fn default() -> Asking<A> {
        Asking { asked: None, wait_until: MonoMs(0) }
    }
}

impl<A> Asking<A> {
    /// What comes next of what has come by now.
    pub fn hear(&mut self, link: &mut Link, world: &World<'_>) -> Option<Said<A>> {
        while let Some(heard) = link.hear(world.mono()) {
            match (heard, self.asked.take()) {
                (Heard::Answer { ticket, body }, Some((expected, asked))) if ticket == expected => {
                    return Some(Said::Answer(asked, body));
                }
                (Heard::Answer { .. }, asked) => self.asked = asked,
                (Heard::Closed, asked) => return Some(Said::Lost(asked.map(|(_, asked)| asked))),
            }
        }
        None
    }

    /// An answer is awaited.
    pub fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    /// Nothing is under way, and the client has waited as long as it wanted to.
    pub fn may_ask(&self, world: &World<'_>) -> bool {
        self.asked.is_none() && world.mono() >= self.wait_until
    }

    pub fn ask(&mut self, ticket: Ticket, asked: A) {
        self.asked = Some((ticket, asked));
    }

    /// Asks nothing more for so long.
    pub fn wait_ms(&mut self, ms: i64, world: &World<'_>) {
        self.wait_until = world.mono().plus_ms(ms);
    }

    /// Wants no answer any more.
    pub fn give_up(&mut self) {
        self.asked = None;
    }
}

pub(super) fn find(key_type: i8, key: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![key.to_owned()],
        ..FindCoordinatorRequest::default()
    }
}

/// The error that a request made by [`find`] is answered with; 0 if there is none.
pub(super) fn find_error(body: &Bytes) -> i16 {
    let response: FindCoordinatorResponse = decode(body, FIND_VERSION);
    response.coordinators[0].error_code
}
