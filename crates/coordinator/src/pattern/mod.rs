//! Patterns of names: of topics that are subscribed to, of transactional ids that are listed. Much the same syntax as that of
//! RE2/J that Kafka uses, and as there the time is linear in the name; a pattern must match a whole name.
//!
//! Anybody may send any pattern. So whatever one says, it takes a bounded amount of memory and work to read it
//! ([`syntax`]), to compile it, and to match all names there are with it.

mod syntax;

use regex_automata::hybrid::dfa::{Builder, Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};
use thiserror::Error;

/// How large a compiled pattern may be, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// How much of what it found out about a pattern a matcher remembers, in bytes.
const CACHE_BYTES: usize = 2 << 20;
/// After having forgotten all of that so many times a matcher gives up. Patterns that people write are found out about
/// once; one that has this many states is made to have them.
const FORGOTTEN_MAX: usize = 32;

/// Why a pattern can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum PatternError {
    #[error("{0}")]
    Syntax(String),
    #[error("it is longer than {} bytes", syntax::PATTERN_BYTES_MAX)]
    TooLong,
    #[error("its classes have too many characters")]
    TooWide,
    #[error("it compiles to more than {COMPILED_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it takes too long to match")]
    TooSlow,
}

/// A pattern that names match or don't.
#[derive(Debug)]
pub(crate) struct NamePattern(DFA);

/// Matches names with a pattern, one after another, and remembers what it has learned of it.
#[derive(Debug)]
pub(crate) struct Matcher<'a> {
    pattern: &'a NamePattern,
    cache: Cache,
}

impl NamePattern {
    pub(crate) fn new(pattern: &str) -> Result<NamePattern, PatternError> {
        let whole = syntax::parse(pattern)?;
        let bounded = thompson::Config::new()
            .nfa_size_limit(Some(COMPILED_BYTES_MAX))
            .which_captures(WhichCaptures::None);
        let nfa =
            thompson::Compiler::new().configure(bounded).build_from_hir(&whole).map_err(
                |error| match error.size_limit() {
                    Some(_) => PatternError::TooLarge,
                    None => PatternError::Syntax(error.to_string()),
                },
            )?;
        let lazy = Config::new()
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(FORGOTTEN_MAX));
        let dfa = Builder::new().configure(lazy).build_from_nfa(nfa);
        dfa.map(NamePattern).map_err(|error| PatternError::Syntax(error.to_string()))
    }

    pub(crate) fn matcher(&self) -> Matcher<'_> {
        Matcher { pattern: self, cache: self.0.create_cache() }
    }

    /// Those of the names that match.
    pub(crate) fn all_matching<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<&'n str>, PatternError> {
        let mut matcher = self.matcher();
        let matching = names.filter_map(|name| match matcher.matches(name) {
            Ok(matches) => matches.then_some(Ok(name)),
            Err(error) => Some(Err(error)),
        });
        matching.collect()
    }
}

impl Matcher<'_> {
    /// Fails, now and from then on, if the pattern has taken too much work.
    pub(crate) fn matches(&mut self, name: &str) -> Result<bool, PatternError> {
        let input = Input::new(name).anchored(Anchored::Yes);
        let found = self.pattern.0.try_search_fwd(&mut self.cache, &input);
        found.map(|end| end.is_some()).map_err(|_| PatternError::TooSlow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = NamePattern::new(pattern).expect("a pattern");
        let mut matcher = compiled.matcher();
        for name in matching {
            assert_eq!(matcher.matches(name), Ok(true), "{pattern} must match {name}");
        }
        for name in others {
            assert_eq!(matcher.matches(name), Ok(false), "{pattern} must not match {name}");
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
        check("(?m)^t$", &["t"], &["tt", "t\nt", "t\n"]);
        check(r"\p{Lu}x|\d", &["Ax", "7"], &["ax"]);
        check("[[:alpha:]]+", &["abc"], &["a1"]);
        check("", &[""], &["a"]);
        check(r"\Qa.b\E.*", &["a.b", "a.bc"], &["axb"]);
        check(r"x\Qa+", &["xa+"], &["xaa"]);
        check(r"\\Qa", &[r"\Qa"], &["a", "Qa"]);
    }

    #[test]
    fn digits_blanks_words_and_their_boundaries_are_those_of_ascii() {
        check(r"\d+", &["12"], &["١٢"]);
        check(r"\w[\w.-]*", &["a_b-1.c"], &["é", "aé"]);
        check(r"\W[^\d]", &["éé", "-a"], &["aa", "-1"]);
        check(r"a\s.*\bb", &["a b", "a éb"], &["a\u{a0}b", "a ab"]);
        check(r"[\s\S]", &["a", "é"], &["aa"]);
        check(r"\p{Nd}+", &["12", "١٢"], &["a"]);
    }

    #[test]
    fn what_is_no_pattern() {
        for pattern in ["*", "(", "[", r"\", "(?=a)", r"(a)\1", r"\p{None}", &"(".repeat(1_000)] {
            assert!(matches!(NamePattern::new(pattern), Err(PatternError::Syntax(_))), "{pattern}");
        }
        let deep = format!("{}a{}", "(".repeat(300), ")".repeat(300));
        assert!(matches!(NamePattern::new(&deep), Err(PatternError::Syntax(_))));
    }

    #[test]
    fn what_compiles_to_too_much() {
        for pattern in ["a{1000}{1000}{1000}", r"\pL{1000}", "((a{0,999}){0,999}){0,999}", "(.|..){9999}"] {
            assert_eq!(NamePattern::new(pattern).unwrap_err(), PatternError::TooLarge, "{pattern}");
        }
    }

    /// Each name leads to states that no other does, of a hundred places in the pattern each.
    #[test]
    fn what_takes_too_long_to_match_is_given_up() {
        let pattern = NamePattern::new("[a-z]*[a-m][a-z]{0,4000}").expect("a small pattern");
        let mut random = 1_u64;
        let mut name = move || -> String {
            let letter = |_| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + ((random >> 33) % 26) as u8)
            };
            (0..249).map(letter).collect()
        };
        let names: Vec<String> = (0..2_000).map(|_| name()).collect();
        let all = pattern.all_matching(names.iter().map(String::as_str));
        assert_eq!(all.map(|matching| matching.len()), Err(PatternError::TooSlow));
        let mut matcher = pattern.matcher();
        for name in &names {
            let _ = matcher.matches(name);
            assert!(matcher.cache.memory_usage() < 2 * CACHE_BYTES);
        }
    }

    /// A list of names, each of which there is, is no hostile pattern.
    #[test]
    fn long_lists_of_names_are_matched() {
        let names: Vec<String> =
            (0..500).map(|number| format!("department-{number}.orders.events")).collect();
        let pattern = names.join("|");
        assert!(pattern.len() > 12_000);
        let pattern = NamePattern::new(&pattern).expect("a pattern");
        let others: Vec<String> = (0..9_000).map(|number| format!("department-{number}.orders")).collect();
        let all = names.iter().chain(&others).map(String::as_str);
        assert_eq!(pattern.all_matching(all).expect("they match").len(), names.len());
    }
}
