//! The way to the active controller: operations go in from any thread, and run one after the other where the quorum
//! is driven. While there is no active controller here they wait for one, and what one has begun and lost the leadership
//! with is done anew by the next: whoever asked is never told that there was none, and stops waiting when its time is over.

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

/// What is told to those who can't wait: too many are waiting already, or the node ends. They may try again.
pub(crate) const NO_CONTROLLER_IN_TIME: ErrorCode = ErrorCode::RequestTimedOut;

/// Operations on their way to the controller.
pub struct ControllerChannel {
    queue: Mutex<VecDeque<Box<dyn Job>>>,
    questions: Mutex<Vec<QuorumQuestion>>,
    /// Called when a queue stops being empty.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// An operation on its way.
pub(crate) trait Job: Send {
    /// Has it done by the active controller.
    fn run(self: Box<Self>, controller: &mut Controller, now: Now) -> Written;
    /// It is not done; `code` says why.
    fn refuse(self: Box<Self>, code: ErrorCode);
}

/// What an operation leaves to be done.
pub(crate) struct Written {
    pub records: Vec<VersionedRecord>,
    pub release: Release,
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

struct Operation<F, D> {
    operation: F,
    done: D,
}

impl<F, D, R> Job for Operation<F, D>
where
    F: Fn(&mut Controller, Now) -> Outcome<R> + Send + 'static,
    D: FnOnce(Result<R, ErrorCode>) + Send + 'static,
    R: Send + 'static,
{
    fn run(self: Box<Self>, controller: &mut Controller, now: Now) -> Written {
        let Outcome { records, response } = (self.operation)(controller, now);
        let release: Release = Box::new(move |fate| match fate {
            Fate::Committed => {
                (self.done)(Ok(response));
                None
            }
            Fate::Lost => Some(self),
            Fate::Refused(code) => {
                (self.done)(Err(code));
                None
            }
        });
        Written { records, release }
    }

    fn refuse(self: Box<Self>, code: ErrorCode) {
        (self.done)(Err(code));
    }
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
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> ControllerChannel {
        ControllerChannel { queue: Mutex::default(), questions: Mutex::default(), wake }
    }

    /// Has `operation` run by the active controller, and calls `done` with its response when its records are
    /// committed, or with the code that says why not: from whatever thread drives the quorum. It runs again if the
    /// leadership is lost in between.
    pub fn submit<R: Send + 'static>(
        &self,
        operation: impl Fn(&mut Controller, Now) -> Outcome<R> + Send + 'static,
        done: impl FnOnce(Result<R, ErrorCode>) + Send + 'static,
    ) {
        let job = Box::new(Operation { operation, done });
        let mut queue = self.queue.lock();
        if queue.len() >= QUEUED_MAX {
            drop(queue);
            tracing::warn!(QUEUED_MAX, "the controller is not keeping up: an operation was refused");
            return job.refuse(NO_CONTROLLER_IN_TIME);
        }
        queue.push_back(job);
        let is_first = queue.len() == 1;
        drop(queue);
        if is_first {
            (self.wake)();
        }
    }

    /// To be done anew, before all that wait: these came first.
    pub(crate) fn put_back(&self, jobs: impl DoubleEndedIterator<Item = Box<dyn Job>>) {
        let mut queue = self.queue.lock();
        for job in jobs.rev() {
            queue.push_front(job);
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

    /// The operations that wait.
    pub(crate) fn take(&self) -> VecDeque<Box<dyn Job>> {
        std::mem::take(&mut self.queue.lock())
    }
}

impl fmt::Debug for ControllerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControllerChannel").field("queued", &self.queue.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_config::Config;
    use ottla_controller::ControllerSettings;
    use ottla_metadata::MetadataImage;

    use super::*;

    type Answers = Arc<Mutex<Vec<Result<usize, ErrorCode>>>>;

    fn controller() -> Controller {
        let config = Arc::new(Config::of_pairs([("process.roles", "controller"), ("node.id", "1")]).unwrap());
        let settings = ControllerSettings::from_config("cluster".into(), config);
        Controller::new(settings, MetadataImage::default(), Box::new(|| 7), Now::default())
    }

    /// A channel, how often its operation has run, and what was answered.
    fn submitted() -> (ControllerChannel, Arc<Mutex<usize>>, Answers) {
        let (runs, answers) = (Arc::new(Mutex::new(0)), Answers::default());
        let channel = ControllerChannel::new(Box::new(|| {}));
        let (counted, answered) = (Arc::clone(&runs), Arc::clone(&answers));
        channel.submit(
            move |_, _| {
                *counted.lock() += 1;
                Outcome::answer(*counted.lock())
            },
            move |answer| answered.lock().push(answer),
        );
        (channel, runs, answers)
    }

    fn run_one(channel: &ControllerChannel) -> Release {
        let job = channel.take().pop_front().expect("one waits");
        job.run(&mut controller(), Now::default()).release
    }

    #[test]
    fn what_is_lost_with_the_leadership_is_done_anew_and_answered_once() {
        let (channel, runs, answers) = submitted();
        for _ in 0..3 {
            let again = run_one(&channel)(Fate::Lost);
            assert!(answers.lock().is_empty());
            channel.put_back(again.into_iter());
        }
        assert!(run_one(&channel)(Fate::Committed).is_none());
        assert_eq!((*runs.lock(), answers.lock().clone()), (4, vec![Ok(4)]));
        assert!(channel.take().is_empty());
    }

    #[test]
    fn what_is_refused_is_told() {
        let (channel, _, answers) = submitted();
        assert!(run_one(&channel)(Fate::Refused(ErrorCode::UnknownServerError)).is_none());
        assert_eq!(*answers.lock(), [Err(ErrorCode::UnknownServerError)]);
        let (channel, runs, answers) = submitted();
        channel.take().into_iter().for_each(|job| job.refuse(ErrorCode::KafkaStorageError));
        assert_eq!((*runs.lock(), answers.lock().clone()), (0, vec![Err(ErrorCode::KafkaStorageError)]));
    }

    #[test]
    fn more_than_can_wait_are_told_to_try_again() {
        let channel = ControllerChannel::new(Box::new(|| {}));
        let answers = Answers::default();
        for n in 0..=QUEUED_MAX {
            let answers = Arc::clone(&answers);
            channel.submit(move |_, _| Outcome::answer(n), move |answer| answers.lock().push(answer));
        }
        assert_eq!(*answers.lock(), [Err(ErrorCode::RequestTimedOut)]);
    }
}
