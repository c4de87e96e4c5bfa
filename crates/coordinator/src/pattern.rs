//! Patterns of names: of topics that are subscribed to, of transactional ids that are listed. They are those of the `regex`
//! crate, which takes time linear in the name as RE2/J does that Kafka uses, and much the same syntax; a pattern must match
//! a whole name.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, Look};
use thiserror::Error;

/// How long a pattern may be, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 15;
/// How large a compiled pattern may be, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a pattern can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct PatternError(String);

/// A pattern that names match or don't.
#[derive(Debug)]
pub(crate) struct NamePattern(Regex);

impl NamePattern {
    pub(crate) fn new(pattern: &str) -> Result<NamePattern, PatternError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternError(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let failed = |error: &dyn std::fmt::Display| PatternError(error.to_string());
        let parsed = regex_syntax::parse(&unquoted(pattern)).map_err(|error| failed(&error))?;
        // Anchored as parsed, not as text: what stands in the pattern can't reach beyond it.
        let whole = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
        let built = RegexBuilder::new(&whole.to_string()).size_limit(COMPILED_BYTES_MAX).build();
        built.map(NamePattern).map_err(|error| failed(&error))
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// The pattern with what stands between `\Q` and `\E` escaped one by one, as Java's `Pattern.quote` writes it.
fn unquoted(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains(r"\Q") {
        return Cow::Borrowed(pattern);
    }
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        if let Some(quoted) = after.strip_prefix('Q') {
            let (text, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            plain.push_str(&regex_syntax::escape(text));
            rest = after;
        } else {
            let next = after.chars().next();
            plain.push('\\');
            plain.extend(next);
            rest = after.get(next.map_or(0, char::len_utf8)..).unwrap_or_default();
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = NamePattern::new(pattern).expect("a pattern");
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
        check(r"\Qa.b\E.*", &["a.b", "a.bc"], &["axb"]);
        check(r"x\Qa+", &["xa+"], &["xaa"]);
        check(r"\\Qa", &[r"\Qa"], &["a", "Qa"]);
    }

    #[test]
    fn what_is_no_pattern_or_too_large_a_one() {
        for pattern in ["*", "(", "[", "a{1000}{1000}{1000}", r"\", "(?=a)", r"(a)\1"] {
            assert!(NamePattern::new(pattern).is_err(), "{pattern}");
        }
        assert!(NamePattern::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }
}
