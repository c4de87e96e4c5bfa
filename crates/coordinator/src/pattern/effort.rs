//! How much work patterns may make, reading, compiling and matching them together. It is counted, not timed, so that it is
//! the same wherever it is done.

use super::PatternError;

/// How many steps all may take together, whatever they are: about a second.
const STEPS: usize = 1 << 27;
/// How many steps more each pattern may take to be read and compiled. Patterns that people write take less.
const STEPS_A_PATTERN: usize = 1 << 15;
/// How many steps more each pattern may take for each byte of all names. Patterns that people write take some five.
const STEPS_A_NAME_BYTE: usize = 8;
/// A byte of a pattern's text is read, at worst, in the time of so many steps.
const STEPS_A_TEXT_BYTE: usize = 64;
/// So many ranges and characters of classes are gone through in the time of a step.
const CHARACTERS_A_STEP: usize = 2;

/// How much work may still be done, in steps: one is a place in a pattern that is looked at, or a byte of a compiled one.
#[derive(Debug)]
pub(crate) struct Effort {
    steps: usize,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort::of(STEPS)
    }
}

impl Effort {
    pub(crate) fn of(steps: usize) -> Effort {
        Effort { steps }
    }

    /// One pattern more is to be read and compiled.
    pub(super) fn allow_pattern(&mut self) {
        self.steps = self.steps.saturating_add(STEPS_A_PATTERN);
    }

    /// A pattern is to be matched with names of so many bytes together.
    pub(crate) fn allow_names(&mut self, bytes: usize) {
        self.steps = self.steps.saturating_add(bytes.saturating_mul(STEPS_A_NAME_BYTE));
    }

    pub(super) fn left(&self) -> usize {
        self.steps
    }

    /// Fails, and leaves nothing, where there is less left.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), PatternError> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(PatternError::TooSlow)
    }

    pub(super) fn spend_on_text(&mut self, bytes: usize) -> Result<(), PatternError> {
        self.spend(bytes.saturating_mul(STEPS_A_TEXT_BYTE))
    }

    pub(super) fn spend_on_classes(&mut self, characters: usize) -> Result<(), PatternError> {
        self.spend(characters / CHARACTERS_A_STEP)
    }
}
