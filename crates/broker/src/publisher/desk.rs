//! Where an image waits to be put into effect: one at a time, and away from the quorum, since it may make, open and recover
//! logs, for minutes after an unclean stop. What is committed meanwhile comes with the next one.

use std::sync::Arc;

use ottla_metadata::loader::Publication;
use ottla_types::{MonoMs, Now, Offset};
use parking_lot::Mutex;

use super::Publisher;
use crate::node::Node;

/// Has a job run soon, one after the other.
pub type PublishLater = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    node: Arc<Node>,
    shared: Arc<Shared>,
}

struct Shared {
    publisher: Mutex<Publisher>,
    progress: Mutex<Progress>,
    /// Lets the driver of the quorum know that there is progress.
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// How far the publisher has come.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub is_busy: bool,
    /// The last offset of the image that is in effect.
    pub through: Offset,
    /// When to try again what could not be had.
    pub retry_at: MonoMs,
    /// Why the node can't go on.
    pub failure: Option<String>,
}

impl Desk {
    pub fn new(node: Arc<Node>, wake: Arc<dyn Fn() + Send + Sync>) -> Desk {
        let progress =
            Progress { is_busy: false, through: Offset::UNKNOWN, retry_at: MonoMs::NEVER, failure: None };
        let publisher = Mutex::new(Publisher::new(Arc::clone(&node)));
        Desk { node, shared: Arc::new(Shared { publisher, progress: Mutex::new(progress), wake }) }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn progress(&self) -> Progress {
        self.shared.progress.lock().clone()
    }

    /// To be called only while it is not busy, as [`Desk::retry`]. Returns how far it is then.
    pub fn publish(&self, publication: Publication, now: Now) -> Progress {
        self.run(move |publisher, progress| match publisher.publish(&publication, now) {
            Ok(()) => progress.through = publication.image.provenance.last_offset,
            Err(failure) => progress.failure = Some(failure),
        })
    }

    /// Tries again what could not be had.
    pub fn retry(&self, now: Now) -> Progress {
        self.run(move |publisher, _| publisher.retry(now))
    }

    fn run(&self, job: impl FnOnce(&mut Publisher, &mut Progress) + Send + 'static) -> Progress {
        let mut progress = {
            let mut shared = self.shared.progress.lock();
            debug_assert!(!shared.is_busy, "one at a time");
            let before = shared.clone();
            shared.is_busy = true;
            before
        };
        let shared = Arc::clone(&self.shared);
        (self.node.hooks.publish_later)(Box::new(move || {
            let mut publisher = shared.publisher.lock();
            job(&mut publisher, &mut progress);
            progress.retry_at = publisher.retry_at();
            *shared.progress.lock() = progress;
            drop(publisher);
            (shared.wake)();
        }));
        // It may be done already.
        self.progress()
    }
}
