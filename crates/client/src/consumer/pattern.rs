//! Patterns of topics' names, matched here: what the classic protocol needs. The consumer protocol has the coordinator match.

use regex::{Regex, RegexBuilder};

use super::error::ConsumerError;

/// How large a compiled pattern may be, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern that matches whole names.
#[derive(Clone, Debug)]
pub(super) struct NamePattern(Regex);

impl NamePattern {
    pub fn new(pattern: &str) -> Result<NamePattern, ConsumerError> {
        let anchored = format!("^(?:{pattern})$");
        let built = RegexBuilder::new(&anchored).size_limit(COMPILED_BYTES_MAX).build();
        built.map(NamePattern).map_err(|error| ConsumerError::Setting {
            key: "pattern",
            value: pattern.to_owned(),
            reason: error.to_string(),
        })
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let pattern = NamePattern::new("a|b.*").unwrap();
        for (name, matches) in [("a", true), ("ab", false), ("ba", true), ("xb", false)] {
            assert_eq!(pattern.matches(name), matches, "{name}");
        }
        assert!(NamePattern::new("(").unwrap_err().to_string().starts_with("pattern=(: "));
    }
}
