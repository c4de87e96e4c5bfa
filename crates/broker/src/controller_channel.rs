//! The way to the active controller: operations go in from any thread, and run one after the other where the quorum
//! is driven; where another node leads the quorum they are sent there. While no controller is known they wait for one, and
//! what one has begun and lost the leadership with is done anew by the next: whoever asked is never told that there was none,
//! and stops waiting when its time is over. Only what came in on a controller's own listener is told so: it has chosen
//! its controller itself.

mod operation;
mod request;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use ottla_controller::Controller;
use ottla_metadata::image::VersionedRecord;
use ottla_raft::QuorumInfo;
use ottla_types::{MonoMs, NodeId, Now};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

pub(crate) use operation::{Forwarded, Operation, Way};
pub(crate) use request::ControllerRequest;

use crate::peers::{PeerAddress, Peers};

/// Operations that wait to be run at most; more are refused, so that a controller that is stuck costs no memory.
const QUEUED_MAX: usize = 10_000;

/// Before what another node could not do is tried again.
const RETRY_MS: i64 = 50;

/// What is told to those who can't wait: too many are waiting already, or the node ends. They may try again.
pub(crate) const NO_CONTROLLER_IN_TIME: ErrorCode = ErrorCode::RequestTimedOut;

/// Operations on their way to the controller.
pub struct ControllerChannel {
    queues: Mutex<Queues>,
    questions: Mutex<Vec<QuorumQuestion>>,
    /// Lets the driver of the quorum know that there is work.
    wake: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queues {
    waiting: VecDeque<Box<dyn Job>>,
    /// To be tried again at a time.
    later: Vec<(MonoMs, Box<dyn Job>)>,
    /// At the controller of another node, and to be taken back where that ceases to be the controller.
    under_way: BTreeMap<u64, Arc<dyn UnderWay>>,
    next_id: u64,
}

/// An operation on its way.
pub(crate) trait Job: Send {
    /// Has it done by the active controller.
    fn run(self: Box<Self>, controller: &mut Controller, now: Now) -> Written;
    /// Has it done by the active controller of another node.
    fn send(self: Box<Self>, link: &ControllerLink<'_>);
    /// It is not done; `code` says why.
    fn refuse(self: Box<Self>, code: ErrorCode);
    /// Whether it is for the controller of this node and no other.
    fn is_for_this_node(&self) -> bool;
    /// Nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
}

/// An operation that another node is doing.
pub(crate) trait UnderWay: Send + Sync {
    /// Takes it back, if it is not done.
    fn take_back(&self) -> Option<Box<dyn Job>>;
}

/// The way to a controller on another node.
pub(crate) struct ControllerLink<'a> {
    pub to: &'a PeerAddress,
    pub peers: &'a Arc<dyn Peers>,
    pub channel: &'a Arc<ControllerChannel>,
    /// Each attempt at most.
    pub timeout_ms: i64,
    pub now: Now,
}

/// What an operation leaves to be done.
pub(crate) struct Written {
    pub records: Vec<VersionedRecord>,
    /// Whoever is answered is to find on this node what was decided.
    pub awaits_effect: bool,
    pub release: Release,
}

impl Written {
    /// Nobody waits for what becomes of the records.
    pub fn for_nobody(records: Vec<VersionedRecord>) -> Written {
        Written { records, awaits_effect: false, release: Box::new(|_| None) }
    }
}

/// Answers, once it is known what became of everything that was written up to here. What is to be done anew comes back.
pub(crate) type Release = Box<dyn FnOnce(Fate) -> Option<Box<dyn Job>> + Send>;

/// What became of an operation's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    /// The leadership was lost first.
    Lost,
    /// They were not written.
    Refused(ErrorCode),
}

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

impl ControllerChannel {
    /// `wake` lets the driver of the quorum know that there is work.
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> ControllerChannel {
        ControllerChannel { queues: Mutex::default(), questions: Mutex::default(), wake }
    }

    /// Has it done by the active controller: it ends from whatever thread drives the quorum or hears from other nodes. It is
    /// done again if the leadership is lost before what it did is committed.
    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        let mut queues = self.queues.lock();
        if queues.waiting.len() >= QUEUED_MAX {
            drop(queues);
            tracing::warn!(QUEUED_MAX, "the controller is not keeping up: an operation was refused");
            return job.refuse(NO_CONTROLLER_IN_TIME);
        }
        queues.waiting.push_back(job);
        drop(queues);
        (self.wake)();
    }

    /// To be done anew, before all that wait: these came first.
    pub(crate) fn put_back(&self, jobs: impl DoubleEndedIterator<Item = Box<dyn Job>>) {
        let mut queues = self.queues.lock();
        for job in jobs.rev() {
            queues.waiting.push_front(job);
        }
    }

    /// To be done anew after a while.
    fn put_back_later(&self, job: Box<dyn Job>, now: Now) {
        self.queues.lock().later.push((now.mono.plus_ms(RETRY_MS), job));
        (self.wake)();
    }

    /// When something is to be tried again.
    pub(crate) fn next_retry(&self) -> MonoMs {
        self.queues.lock().later.iter().map(|(due, _)| *due).min().unwrap_or(MonoMs::NEVER)
    }

    /// The operations that wait and that somebody waits for.
    pub(crate) fn take(&self, now: MonoMs) -> VecDeque<Box<dyn Job>> {
        let mut queues = self.queues.lock();
        let (due, later) = std::mem::take(&mut queues.later).into_iter().partition(|(due, _)| *due <= now);
        queues.later = later;
        let due: Vec<(MonoMs, Box<dyn Job>)> = due;
        let waiting = std::mem::take(&mut queues.waiting);
        drop(queues);
        let all = due.into_iter().map(|(_, job)| job).chain(waiting);
        all.filter(|job| !job.is_abandoned()).collect()
    }

    fn begin(&self, under_way: Arc<dyn UnderWay>) -> u64 {
        let mut queues = self.queues.lock();
        queues.next_id += 1;
        let id = queues.next_id;
        queues.under_way.insert(id, under_way);
        id
    }

    fn end(&self, id: u64) {
        let ended = self.queues.lock().under_way.remove(&id);
        drop(ended);
    }

    /// Another node leads now: what the last one was asked, and has not answered, waits again.
    pub(crate) fn take_back_all(&self) {
        let under_way = std::mem::take(&mut self.queues.lock().under_way);
        let again: Vec<_> = under_way.into_values().filter_map(|job| job.take_back()).collect();
        self.put_back(again.into_iter());
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

    /// All operations, for the end of the node.
    pub(crate) fn take_all(&self) -> Vec<Box<dyn Job>> {
        self.take_back_all();
        self.take(MonoMs::NEVER).into()
    }
}

impl fmt::Debug for ControllerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.queues.lock().waiting.len();
        f.debug_struct("ControllerChannel").field("queued", &queued).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
