//! Subscriptions by pattern. Patterns are those of the `regex` crate, which takes time linear in the name as RE2/J does
//! that Kafka uses, and much the same syntax; a pattern must match a whole name.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, Look};
use thiserror::Error;

/// How large a compiled pattern may be, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a pattern can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct PatternError(String);

/// A pattern that names match or don't.
#[derive(Debug)]
pub(crate) struct TopicPattern(Regex);

impl TopicPattern {
    pub(crate) fn new(pattern: &str) -> Result<TopicPattern, PatternError> {
        let failed = |error: &dyn std::fmt::Display| PatternError(error.to_string());
        let parsed = regex_syntax::parse(pattern).map_err(|error| failed(&error))?;
        // Anchored as parsed, not as text: what stands in the pattern can't reach beyond it.
        let whole = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
        let built = RegexBuilder::new(&whole.to_string()).size_limit(COMPILED_BYTES_MAX).build();
        built.map(TopicPattern).map_err(|error| failed(&error))
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = TopicPattern::new(pattern).expect("a pattern");
        for name in matching {
            assert!(compiled.matches(name), "{pattern} must match {name}");
        }
        for name in others {
            assert!(!compiled.matches(name), "{pattern} must not match {name}");
        }
    }

    #[test]
    fn whole_names_match() {
        check("t", &["t"], &["t1", "at", ""]);
        check("t.*", &["t", "topic"], &["at"]);
        check("a|ab", &["a", "ab"], &["abb", "b"]);
        check("orders-(eu|us)", &["orders-eu", "orders-us"], &["orders-", "orders-eux"]);
        check("[a-c]{2}", &["ab", "cc"], &["a", "abc", "ad"]);
        check("(?i)Topic", &["tOPIC"], &["topics"]);
        // A comment doesn't swallow the end.
        check("(?x)a # b", &["a"], &["ab", "a # b"]);
        check("(?P<name>x)+?", &["x", "xx"], &["y"]);
        check("^t$", &["t"], &["tt"]);
        check(r"\p{Lu}x|\d", &["Ax", "7"], &["ax"]);
        check("[[:alpha:]]+", &["abc"], &["a1"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn what_is_no_pattern_or_too_large_a_one() {
        for pattern in ["*", "(", "[", "a{1000}{1000}{1000}", r"\Qa\E", "(?=a)", r"(a)\1"] {
            assert!(TopicPattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
