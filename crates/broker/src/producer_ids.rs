//! Ids for idempotent producers, out of blocks that the controller gives to brokers (KIP-730).
//!
//! No id is given out twice: an id leaves its block when it is given, and what is left of a block is lost with the node.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ottla_types::{BrokerEpoch, MonoMs, ProducerId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use parking_lot::Mutex;

use crate::node::Node;

/// With fewer ids left than this, the next block is asked for: a tenth of a block.
const LOW_WATERMARK: i64 = 100;
/// Producers that may wait for a block. More are told to try again.
const WAITING_MAX: usize = 10_000;

/// What the controller gives to this broker alone.
pub(crate) type ProducerIdBlock = Range<i64>;

/// Takes a new id, or why there is none.
type Waiting = Box<dyn FnOnce(Result<ProducerId, ErrorCode>) + Send>;

/// The ids that are left.
#[derive(Default)]
pub(crate) struct ProducerIds {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: VecDeque<ProducerIdBlock>,
    waiting: Vec<Waiting>,
    is_asking: bool,
}

impl ProducerIds {
    /// Gives an id, at once if there is one and else when a block comes. True if a block is to be asked for now: then
    /// [`ProducerIds::take_block`] must follow, once.
    #[must_use]
    pub fn next(&self, done: impl FnOnce(Result<ProducerId, ErrorCode>) + Send + 'static) -> bool {
        let mut state = self.state.lock();
        let answer = match state.take() {
            Some(id) => Some(Ok(id)),
            None if state.waiting.len() >= WAITING_MAX => Some(Err(ErrorCode::CoordinatorLoadInProgress)),
            None => None,
        };
        let must_ask = !state.is_asking && state.left() < LOW_WATERMARK;
        state.is_asking |= must_ask;
        match answer {
            Some(answer) => {
                drop(state);
                done(answer);
            }
            None => state.waiting.push(Box::new(done)),
        }
        must_ask
    }

    /// What became of the question for a block. Whoever waits is told to try again if there is none. True if another
    /// block is to be asked for.
    #[must_use]
    pub fn take_block(&self, block: Result<ProducerIdBlock, ErrorCode>) -> bool {
        let mut state = self.state.lock();
        state.is_asking = false;
        let has_failed = block.is_err();
        match block {
            Ok(block) => state.blocks.push_back(block),
            Err(code) => tracing::warn!(%code, "the controller gave no producer ids"),
        }
        let waiting = std::mem::take(&mut state.waiting);
        let mut answers = Vec::with_capacity(waiting.len());
        for done in waiting {
            match state.take() {
                Some(id) => answers.push((done, Ok(id))),
                None if has_failed => answers.push((done, Err(ErrorCode::CoordinatorLoadInProgress))),
                None => state.waiting.push(done),
            }
        }
        let must_ask = !state.waiting.is_empty();
        state.is_asking = must_ask;
        drop(state);
        for (done, answer) in answers {
            done(answer);
        }
        must_ask
    }
}

impl State {
    fn take(&mut self) -> Option<ProducerId> {
        loop {
            let block = self.blocks.front_mut()?;
            if let Some(id) = block.next() {
                return Some(ProducerId(id));
            }
            self.blocks.pop_front();
        }
    }

    fn left(&self) -> i64 {
        self.blocks.iter().map(|block| (block.end - block.start).max(0)).sum()
    }
}

impl Node {
    /// Gives a producer an id that no other has had.
    pub(crate) fn new_producer_id(
        self: &Arc<Self>,
        done: impl FnOnce(Result<ProducerId, ErrorCode>) + Send + 'static,
    ) {
        if self.producer_ids.next(done) {
            self.ask_for_block();
        }
    }

    fn ask_for_block(self: &Arc<Self>) {
        let request = AllocateProducerIdsRequest {
            broker_id: self.identity.node_id.0,
            broker_epoch: self.broker_epoch().unwrap_or(BrokerEpoch::NONE).0,
            ..AllocateProducerIdsRequest::default()
        };
        let node = Arc::clone(self);
        // Whoever waits gives up by itself.
        self.ask_active_controller(request, MonoMs::NEVER, move |response| {
            if node.producer_ids.take_block(response.and_then(|response| block(&response))) {
                node.ask_for_block();
            }
        });
    }
}

fn block(response: &AllocateProducerIdsResponse) -> Result<ProducerIdBlock, ErrorCode> {
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => {}
        code => return Err(code.unwrap_or(ErrorCode::UnknownServerError)),
    }
    let start = response.producer_id_start;
    let end = start.checked_add(i64::from(response.producer_id_len)).filter(|end| *end > start);
    end.map(|end| start..end).ok_or(ErrorCode::UnknownServerError)
}

impl fmt::Debug for ProducerIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerIds").field("left", &self.state.lock().left()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answers = Arc<Mutex<Vec<Result<i64, ErrorCode>>>>;

    fn next(ids: &ProducerIds, answers: &Answers) -> bool {
        let answers = Arc::clone(answers);
        ids.next(move |id| answers.lock().push(id.map(|id| id.0)))
    }

    #[test]
    fn ids_come_from_blocks_one_after_the_other() {
        let (ids, answers) = (ProducerIds::default(), Answers::default());
        assert!(next(&ids, &answers));
        assert!(!next(&ids, &answers), "one question is under way");
        assert_eq!(*answers.lock(), []);
        assert!(!ids.take_block(Ok(1000..2000)));
        assert_eq!(*answers.lock(), [Ok(1000), Ok(1001)]);
        let asked = (2..=1000).filter(|_| next(&ids, &answers)).count();
        assert_eq!(asked, 1, "the next block is asked for before the first has run out");
        assert!(!ids.take_block(Ok(5000..6000)));
        let given: Vec<_> = answers.lock().drain(..).map(|id| id.expect("a block follows")).collect();
        assert_eq!(given, (1000..2000).chain([5000]).collect::<Vec<_>>());
    }

    #[test]
    fn who_waits_is_told_when_there_is_no_block() {
        let (ids, answers) = (ProducerIds::default(), Answers::default());
        assert!(next(&ids, &answers));
        assert!(!ids.take_block(Err(ErrorCode::NotController)));
        assert_eq!(*answers.lock(), [Err(ErrorCode::CoordinatorLoadInProgress)]);
        assert!(next(&ids, &answers), "the next producer asks again");
    }

    #[test]
    fn a_block_that_is_too_small_is_followed_by_another() {
        let (ids, answers) = (ProducerIds::default(), Answers::default());
        assert!(next(&ids, &answers));
        assert!(!next(&ids, &answers));
        assert!(ids.take_block(Ok(7..8)));
        assert!(!ids.take_block(Ok(9..10)));
        assert_eq!(*answers.lock(), [Ok(7), Ok(9)]);
    }
}
