//! Which batches have not been answered: what `flush` and `close` wait for.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Batches have numbers in the order in which they are begun; parts of a batch that was split share its number.
#[derive(Debug, Default)]
pub(crate) struct Incomplete {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// With how many parts each has.
    begun: BTreeMap<u64, u32>,
    waiting: Vec<(u64, Waker)>,
}

impl Incomplete {
    pub fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.begun.insert(number, 1);
        number
    }

    pub fn split(&self, number: u64, parts: usize) {
        let more = u32::try_from(parts.saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(count) = self.state.lock().begun.get_mut(&number) {
            *count = count.saturating_add(more);
        }
    }

    pub fn end(&self, number: u64) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            match state.begun.get_mut(&number) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    state.begun.remove(&number);
                }
            }
            let first = state.begun.keys().next().copied().unwrap_or(u64::MAX);
            state.waiting.retain(|(until, waker)| {
                let waits = first < *until;
                if !waits {
                    wakers.push(waker.clone());
                }
                waits
            });
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The number that the next batch gets: all before it have been begun.
    pub fn next(&self) -> u64 {
        self.state.lock().next
    }

    pub fn is_empty(&self) -> bool {
        self.state.lock().begun.is_empty()
    }

    /// Ready when all batches with numbers below `until` are answered.
    pub fn until(self: &Arc<Self>, until: u64) -> Answered {
        Answered { incomplete: Arc::clone(self), until }
    }
}

/// See [`Incomplete::until`].
#[derive(Debug)]
pub(crate) struct Answered {
    incomplete: Arc<Incomplete>,
    until: u64,
}

impl Future for Answered {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.incomplete.state.lock();
        if state.begun.keys().next().is_none_or(|first| *first >= self.until) {
            return Poll::Ready(());
        }
        let is_known = state
            .waiting
            .iter()
            .any(|(until, waker)| *until == self.until && waker.will_wake(context.waker()));
        if !is_known {
            state.waiting.push((self.until, context.waker().clone()));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_batches_before_are_waited_for() {
        let incomplete = Arc::new(Incomplete::default());
        let is_ready = |until| {
            let mut answered = incomplete.until(until);
            Pin::new(&mut answered).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let (first, second) = (incomplete.begin(), incomplete.begin());
        let until = incomplete.next();
        let later = incomplete.begin();
        assert!(is_ready(0) && !is_ready(until));
        incomplete.split(second, 3);
        incomplete.end(first);
        for _ in 0..3 {
            assert!(!is_ready(until));
            incomplete.end(second);
        }
        assert!(is_ready(until) && !is_ready(u64::MAX) && !incomplete.is_empty());
        incomplete.end(later);
        assert!(is_ready(u64::MAX) && incomplete.is_empty());
    }
}
