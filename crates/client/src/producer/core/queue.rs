//! What waits to be sent to one partition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use super::batch::OpenBatch;

/// See the module. Threads that send append at its end, the sender takes from its front.
#[derive(Debug)]
pub(crate) struct Queue {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Among all of a producer's.
    pub id: usize,
    /// Batches that wait: what the adaptive partitioner goes by.
    pub backlog: AtomicUsize,
    pub state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
pub(crate) struct QueueState {
    /// All but the last are full.
    pub waiting: VecDeque<OpenBatch>,
    /// The sender knows that something waits here.
    pub is_listed: bool,
}
