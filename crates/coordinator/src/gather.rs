use std::sync::Arc;

use parking_lot::Mutex;

/// Collects the parts of an answer that comes from several places, in the order of the parts.
pub struct Gather<T> {
    state: Mutex<State<T>>,
}

impl<T> std::fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gather")
    }
}

struct State<T> {
    parts: Vec<Option<T>>,
    missing: usize,
    finish: Option<Box<dyn FnOnce(Vec<T>) + Send>>,
}

impl<T: Send + 'static> Gather<T> {
    /// `finish` gets all parts once the last has come; at once if there are none.
    pub fn new(parts: usize, finish: impl FnOnce(Vec<T>) + Send + 'static) -> Arc<Gather<T>> {
        let finish: Box<dyn FnOnce(Vec<T>) + Send> = Box::new(finish);
        if parts == 0 {
            finish(Vec::new());
            let state = State { parts: Vec::new(), missing: 0, finish: None };
            return Arc::new(Gather { state: Mutex::new(state) });
        }
        let slots = std::iter::repeat_with(|| None).take(parts).collect();
        Arc::new(Gather { state: Mutex::new(State { parts: slots, missing: parts, finish: Some(finish) }) })
    }

    /// The part at `index`; of several, the last before all are there.
    pub fn put(&self, index: usize, part: T) {
        let mut state = self.state.lock();
        let Some(slot) = state.parts.get_mut(index) else { return };
        if slot.replace(part).is_none() {
            state.missing -= 1;
        }
        if state.missing > 0 {
            return;
        }
        let parts = std::mem::take(&mut state.parts).into_iter().flatten().collect();
        let finish = state.finish.take();
        drop(state);
        if let Some(finish) = finish {
            finish(parts);
        }
    }
}
