//! `buffer.memory`: how much may wait to be sent and be acknowledged.
//!
//! What always holds: what was taken and not given back is at most the limit; who has waited longest is served first, so
//! a large record is not overtaken for ever by small ones.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    available: usize,
    next_ticket: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    bytes: usize,
    is_granted: bool,
    waker: Option<Waker>,
}

impl Memory {
    pub fn new(limit: usize) -> Arc<Memory> {
        let state = State { available: limit, next_ticket: 0, waiting: VecDeque::new() };
        Arc::new(Memory { state: Mutex::new(state) })
    }

    /// Takes so many bytes if they are there and nobody waits for others.
    pub fn try_take(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let may_take = state.waiting.iter().all(|waiting| waiting.is_granted) && state.available >= bytes;
        if may_take {
            state.available -= bytes;
        }
        may_take
    }

    /// Waits for so many bytes.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Taking {
        Taking { memory: Arc::clone(self), bytes, ticket: None }
    }

    pub fn give_back(&self, bytes: usize) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            state.available += bytes;
            state.grant(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether anybody waits: what is buffered is then sent without waiting for more.
    pub fn is_wanted(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    #[cfg(test)]
    pub fn available(&self) -> usize {
        self.state.lock().available
    }
}

impl State {
    fn grant(&mut self, wakers: &mut Vec<Waker>) {
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.is_granted) {
            if waiting.bytes > self.available {
                return;
            }
            self.available -= waiting.bytes;
            waiting.is_granted = true;
            wakers.extend(waiting.waker.take());
        }
    }
}

/// Ready once the bytes are taken. Dropped before, it gives back what it has got.
#[derive(Debug)]
pub(crate) struct Taking {
    memory: Arc<Memory>,
    bytes: usize,
    ticket: Option<u64>,
}

impl Future for Taking {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.memory.state.lock();
        let Some(ticket) = this.ticket else {
            if state.waiting.iter().all(|waiting| waiting.is_granted) && state.available >= this.bytes {
                state.available -= this.bytes;
                return Poll::Ready(());
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            let waker = Some(context.waker().clone());
            state.waiting.push_back(Waiting { ticket, bytes: this.bytes, is_granted: false, waker });
            drop(state);
            this.ticket = Some(ticket);
            return Poll::Pending;
        };
        let Some(place) = state.waiting.iter().position(|waiting| waiting.ticket == ticket) else {
            return Poll::Ready(());
        };
        match state.waiting.get_mut(place) {
            Some(waiting) if !waiting.is_granted => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => {
                state.waiting.remove(place);
                drop(state);
                this.ticket = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut wakers = Vec::new();
        {
            let mut state = self.memory.state.lock();
            let place = state.waiting.iter().position(|waiting| waiting.ticket == ticket);
            let gone = place.and_then(|place| state.waiting.remove(place));
            if gone.is_some_and(|gone| gone.is_granted) {
                state.available += self.bytes;
            }
            // It may have been in the way of others.
            state.grant(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(taking: &mut Taking) -> bool {
        Pin::new(taking).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_waits_longest_is_served_first() {
        let memory = Memory::new(10);
        assert!(memory.try_take(8));
        let (mut large, mut small) = (memory.take(5), memory.take(1));
        assert!(!poll(&mut large) && !poll(&mut small));
        assert!(memory.is_wanted() && !memory.try_take(1), "nobody overtakes");
        memory.give_back(3);
        assert!(poll(&mut large) && !poll(&mut small));
        memory.give_back(5);
        assert!(poll(&mut small));
        assert_eq!((memory.available(), memory.is_wanted()), (4, false));
    }

    #[test]
    fn who_gives_up_leaves_nothing_taken() {
        let memory = Memory::new(10);
        assert!(memory.try_take(10));
        let (mut first, mut second, mut third) = (memory.take(6), memory.take(10), memory.take(4));
        assert!(!poll(&mut first) && !poll(&mut second) && !poll(&mut third));
        memory.give_back(10);
        drop(first);
        drop(second);
        assert!(poll(&mut third));
        drop(third);
        assert_eq!(memory.available(), 6);
    }
}
