//! Flags that have a successor: one of the two may be given, and who gives the old one is told.

use crate::flags::Parsed;

/// What a tool says of old flags; `{old}` and `{new}` stand for the names.
#[derive(Clone, Debug)]
pub(crate) struct Deprecated {
    refusal: &'static str,
    warning: &'static str,
    warnings: Vec<String>,
}

impl Deprecated {
    /// Of both at once, and of the old one.
    pub(crate) fn new(refusal: &'static str, warning: &'static str) -> Deprecated {
        Deprecated { refusal, warning, warnings: Vec::new() }
    }

    /// The name under which there are values, if there are any; `Err`: what is wrong.
    pub(crate) fn either(
        &mut self,
        parsed: &Parsed,
        old: &'static str,
        new: &'static str,
    ) -> Result<&'static str, String> {
        let words = |template: &str| template.replace("{old}", old).replace("{new}", new);
        match (parsed.has(old), parsed.has(new)) {
            (true, true) => Err(words(self.refusal)),
            (true, false) => {
                self.warnings.push(words(self.warning));
                Ok(old)
            }
            (false, _) => Ok(new),
        }
    }

    pub(crate) fn warnings(self) -> Vec<String> {
        self.warnings
    }
}
