//! Keeps what is expensive to make (codec contexts, buffers) for the thread's next batch.

use std::cell::RefCell;
use std::thread::LocalKey;

/// A thread's idle items.
pub(super) type Pool<T> = RefCell<Vec<T>>;

/// More than this are never kept: a thread seldom has more than two streams open.
const IDLE_MAX: usize = 2;

/// An item on loan from the thread's pool.
pub(super) struct Pooled<T: 'static> {
    item: Option<T>,
    make: fn() -> T,
    pool: &'static LocalKey<Pool<T>>,
}

impl<T> Pooled<T> {
    pub(super) fn take(pool: &'static LocalKey<Pool<T>>, make: fn() -> T) -> Pooled<T> {
        // `try_with` fails only while the thread ends.
        let idle = pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        Pooled { item: idle.or_else(|| Some(make())), make, pool }
    }

    pub(super) fn get(&mut self) -> &mut T {
        self.item.get_or_insert_with(self.make)
    }

    pub(super) fn peek(&self) -> Option<&T> {
        self.item.as_ref()
    }

    /// Drops the item instead of giving it back.
    pub(super) fn discard(&mut self) {
        self.item = None;
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(item) = self.item.take() else { return };
        let _ = self.pool.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < IDLE_MAX {
                pool.push(item);
            }
        });
    }
}
