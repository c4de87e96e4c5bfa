//! What readers see of a log: its published offsets.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ottla_types::Offset;
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::offset_metadata::OffsetMetadata;

/// Told whenever what a log has published is not what it was: where it starts, where it ends, its high watermark. Called with
/// the log's locks held: it must be quick, and ask nothing of the log.
pub trait OffsetsObserver: fmt::Debug + Send + Sync {
    fn offsets_have_changed(&self);
}

/// The offsets of a log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsetSnapshot {
    pub log_start_offset: Offset,
    pub log_end_offset: OffsetMetadata,
    pub high_watermark: OffsetMetadata,
    pub last_stable_offset: OffsetMetadata,
}

/// What always holds, outside of a truncation: log start <= high watermark <= log end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets {
    pub log_start: Offset,
    pub log_end: OffsetMetadata,
    pub high_watermark: OffsetMetadata,
    /// The start of the oldest transaction that is undecided, or whose decision is not below the high watermark.
    pub first_unstable: Option<OffsetMetadata>,
}

impl Offsets {
    pub fn last_stable(&self) -> OffsetMetadata {
        match self.first_unstable {
            Some(first) if first.message_offset < self.high_watermark.message_offset => first,
            _ => self.high_watermark,
        }
    }

    /// Sets the high watermark to `wanted`, kept between log start and log end.
    pub fn set_high_watermark(&mut self, wanted: OffsetMetadata) {
        self.high_watermark = if wanted.message_offset < self.log_start {
            OffsetMetadata::offset_only(self.log_start)
        } else if wanted.message_offset >= self.log_end.message_offset {
            self.log_end
        } else {
            wanted
        };
    }
}

/// The offsets, and who is told of each change. There is no way to change them without that.
#[derive(Debug)]
pub(super) struct PublishedOffsets {
    current: RwLock<Offsets>,
    observer: RwLock<Option<Arc<dyn OffsetsObserver>>>,
}

/// Offsets that are being changed: readers see it, and the observer hears of it, when this is dropped.
pub(super) struct OffsetsChange<'a> {
    offsets: RwLockWriteGuard<'a, Offsets>,
    before: [Offset; 3],
    observer: &'a RwLock<Option<Arc<dyn OffsetsObserver>>>,
}

impl PublishedOffsets {
    pub fn new(offsets: Offsets) -> PublishedOffsets {
        PublishedOffsets { current: RwLock::new(offsets), observer: RwLock::default() }
    }

    pub fn get(&self) -> Offsets {
        *self.current.read()
    }

    pub fn change(&self) -> OffsetsChange<'_> {
        let offsets = self.current.write();
        OffsetsChange { before: offsets.observed(), offsets, observer: &self.observer }
    }

    pub fn set_observer(&self, observer: Option<Arc<dyn OffsetsObserver>>) {
        *self.observer.write() = observer;
    }
}

impl Offsets {
    fn observed(&self) -> [Offset; 3] {
        [self.log_start, self.log_end.message_offset, self.high_watermark.message_offset]
    }
}

impl Deref for OffsetsChange<'_> {
    type Target = Offsets;

    fn deref(&self) -> &Offsets {
        &self.offsets
    }
}

impl DerefMut for OffsetsChange<'_> {
    fn deref_mut(&mut self) -> &mut Offsets {
        &mut self.offsets
    }
}

impl Drop for OffsetsChange<'_> {
    fn drop(&mut self) {
        if self.offsets.observed() != self.before
            && let Some(observer) = &*self.observer.read()
        {
            observer.offsets_have_changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl OffsetsObserver for Counting {
        fn offsets_have_changed(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_change_is_told_and_nothing_else() {
        let at = |offset| OffsetMetadata::offset_only(Offset(offset));
        let offsets =
            Offsets { log_start: Offset(0), log_end: at(5), high_watermark: at(3), first_unstable: None };
        let published = PublishedOffsets::new(offsets);
        let observer = Arc::new(Counting::default());
        published.set_observer(Some(Arc::clone(&observer) as _));
        let told = |change: fn(&mut Offsets)| {
            change(&mut published.change());
            observer.0.swap(0, Ordering::Relaxed)
        };
        assert_eq!(told(|offsets| offsets.log_end = OffsetMetadata::offset_only(Offset(6))), 1);
        assert_eq!(told(|offsets| offsets.set_high_watermark(OffsetMetadata::offset_only(Offset(4)))), 1);
        assert_eq!(told(|offsets| offsets.log_start = Offset(1)), 1);
        assert_eq!(told(|offsets| offsets.log_end = OffsetMetadata::new(Offset(6), Offset(0), 100)), 0);
        assert_eq!(told(|offsets| offsets.first_unstable = Some(offsets.high_watermark)), 0);
        assert_eq!(told(|_| {}), 0);
        published.set_observer(None);
        assert_eq!(told(|offsets| offsets.log_start = Offset(2)), 0);
    }
}
