//! Matching: all places in a pattern that a name may have led to, byte by byte, as RE2/J does it. Nothing is remembered of
//! one name for the next, so that the work is known: it is counted in steps ([`Effort`]), one for each place that is looked at.

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

use super::PatternError;
use super::effort::Effort;

/// So many ranges of characters are looked through in the time of a step.
const RANGES_A_STEP: usize = 2;
/// How much longer it takes to see whether a name, or a word, begins or ends somewhere.
const STEPS_A_LOOK: usize = 3;

/// Matches names with a pattern, one after another.
#[derive(Debug)]
pub(crate) struct Matcher<'a> {
    nfa: &'a NFA,
    places: Places,
    next: Places,
    /// Places that are yet to be looked at.
    stack: Vec<StateID>,
}

/// Places in a pattern, each once.
#[derive(Debug)]
struct Places {
    all: Vec<StateID>,
    /// In which round each place was met last.
    met: Vec<u64>,
    round: u64,
}

impl Places {
    fn new(count: usize) -> Places {
        Places { all: Vec::new(), met: vec![0; count], round: 0 }
    }

    fn clear(&mut self) {
        self.all.clear();
        self.round += 1;
    }

    /// Whether it was not met since all were cleared.
    fn meet(&mut self, place: StateID) -> bool {
        let Some(met) = self.met.get_mut(place.as_usize()) else { return false };
        std::mem::replace(met, self.round) != self.round
    }
}

impl<'a> Matcher<'a> {
    pub(super) fn new(nfa: &'a NFA) -> Matcher<'a> {
        let count = nfa.states().len();
        Matcher { nfa, places: Places::new(count), next: Places::new(count), stack: Vec::new() }
    }

    /// Whether the whole name matches. Fails if that takes too much work.
    pub(crate) fn matches(&mut self, name: &str, effort: &mut Effort) -> Result<bool, PatternError> {
        let name = name.as_bytes();
        self.next.clear();
        self.reach(self.nfa.start_anchored(), name, 0, effort)?;
        for (at, byte) in name.iter().enumerate() {
            std::mem::swap(&mut self.places, &mut self.next);
            self.next.clear();
            if self.places.all.is_empty() {
                return Ok(false);
            }
            for index in 0..self.places.all.len() {
                let Some(&place) = self.places.all.get(index) else { break };
                effort.spend(1)?;
                let after = match self.nfa.state(place) {
                    State::ByteRange { trans } => trans.matches_byte(*byte).then_some(trans.next),
                    State::Sparse(sparse) => {
                        effort.spend(sparse.transitions.len() / RANGES_A_STEP)?;
                        sparse.matches_byte(*byte)
                    }
                    State::Dense(dense) => dense.matches_byte(*byte),
                    _ => None,
                };
                if let Some(after) = after {
                    self.reach(after, name, at + 1, effort)?;
                }
            }
        }
        Ok(self.next.all.iter().any(|place| matches!(self.nfa.state(*place), State::Match { .. })))
    }

    /// Takes up the places that are reached from this one without a further byte.
    fn reach(
        &mut self,
        from: StateID,
        name: &[u8],
        at: usize,
        effort: &mut Effort,
    ) -> Result<(), PatternError> {
        self.stack.clear();
        self.stack.push(from);
        while let Some(place) = self.stack.pop() {
            effort.spend(1)?;
            if !self.next.meet(place) {
                continue;
            }
            match self.nfa.state(place) {
                State::Union { alternates } => self.stack.extend(alternates.iter().rev()),
                State::BinaryUnion { alt1, alt2 } => self.stack.extend([*alt2, *alt1]),
                State::Capture { next, .. } => self.stack.push(*next),
                State::Look { look, next } => {
                    effort.spend(STEPS_A_LOOK)?;
                    if self.nfa.look_matcher().matches(*look, name, at) {
                        self.stack.push(*next);
                    }
                }
                State::Fail => {}
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                    self.next.all.push(place);
                }
            }
        }
        Ok(())
    }
}
