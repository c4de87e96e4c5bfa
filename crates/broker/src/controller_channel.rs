//! The way to the active controller: operations go in from any thread, and run one after the other where the quorum
//! is driven.

use std::collections::VecDeque;
use std::fmt;

use ottla_controller::{Controller, Outcome};
use ottla_metadata::image::VersionedRecord;
use ottla_raft::QuorumInfo;
use ottla_types::{NodeId, Now};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

/// Operations that wait to be run at most; more are refused, so that a controller that is stuck costs no memory.
const QUEUED_MAX: usize = 10_000;

/// Operations on their way to the controller.
pub struct ControllerChannel {
    queue: Mutex<VecDeque<Job>>,
    questions: Mutex<Vec<QuorumQuestion>>,
    /// Called when a queue stops being empty.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// An operation: given the controller if this node leads the quorum.
type Job = Box<dyn FnOnce(Option<&mut Controller>, Now) -> Option<Written> + Send>;

/// What a node knows of the quorum.
#[derive(Clone, Debug)]
pub struct QuorumView {
    /// -1 where no leader is known.
    pub leader: NodeId,
    /// What the leader knows: nothing unless this node leads.
    pub info: Option<QuorumInfo>,
}

impl QuorumView {
    pub(crate) const UNKNOWN: QuorumView = QuorumView { leader: NodeId::NONE, info: None };
}

type QuorumQuestion = Box<dyn FnOnce(QuorumView) + Send>;

/// What an operation leaves to be done.
pub(crate) struct Written {
    pub records: Vec<VersionedRecord>,
    /// Answers, once everything that was written up to here is committed or is known not to be.
    pub release: Release,
}

/// Takes whether the records were committed.
pub(crate) type Release = Box<dyn FnOnce(Result<(), ErrorCode>) + Send>;

impl ControllerChannel {
    /// `wake` lets the driver of the quorum know that there is work.
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> ControllerChannel {
        ControllerChannel { queue: Mutex::default(), questions: Mutex::default(), wake }
    }

    /// Has `operation` run by the active controller, and calls `done` with its response when its records are
    /// committed, or with the code that says why not: from whatever thread drives the quorum.
    pub fn submit<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Controller, Now) -> Outcome<R> + Send + 'static,
        done: impl FnOnce(Result<R, ErrorCode>) + Send + 'static,
    ) {
        let job: Job = Box::new(move |controller, now| {
            let Some(controller) = controller else {
                done(Err(ErrorCode::NotController));
                return None;
            };
            let Outcome { records, response } = operation(controller, now);
            let release: Release = Box::new(move |committed| done(committed.map(|()| response)));
            Some(Written { records, release })
        });
        let mut queue = self.queue.lock();
        if queue.len() >= QUEUED_MAX {
            drop(queue);
            tracing::warn!(QUEUED_MAX, "the controller is not keeping up: an operation was refused");
            // Without a controller it answers that there is none; clients try again.
            job(None, Now::default());
            return;
        }
        queue.push_back(job);
        let is_first = queue.len() == 1;
        drop(queue);
        if is_first {
            (self.wake)();
        }
    }

    /// Tells `done` of the quorum, from whatever thread drives it.
    pub fn describe_quorum(&self, done: impl FnOnce(QuorumView) + Send + 'static) {
        let mut questions = self.questions.lock();
        if questions.len() >= QUEUED_MAX {
            drop(questions);
            return done(QuorumView::UNKNOWN);
        }
        questions.push(Box::new(done));
        let is_first = questions.len() == 1;
        drop(questions);
        if is_first {
            (self.wake)();
        }
    }

    pub(crate) fn take_questions(&self) -> Vec<QuorumQuestion> {
        std::mem::take(&mut self.questions.lock())
    }

    /// The operations that have come in since the last call.
    pub(crate) fn take(&self) -> VecDeque<Job> {
        std::mem::take(&mut self.queue.lock())
    }
}

impl fmt::Debug for ControllerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerChannel").field("queued", &self.queue.lock().len()).finish_non_exhaustive()
    }
}
