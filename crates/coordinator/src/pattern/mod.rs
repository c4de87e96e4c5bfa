//! Patterns of names: of topics that are subscribed to, of transactional ids that are listed. Much the same syntax as that of
//! RE2/J that Kafka uses, and as there the time is linear in the name; a pattern must match a whole name.
//!
//! Anybody may send any pattern. So whatever one says, it takes a bounded amount of memory and work to read it
//! ([`syntax`]), to compile it, and to match all names there are with it ([`matcher`]); many together take no more
//! ([`effort`]) than one may, but for what any takes.

mod effort;
mod matcher;
mod syntax;

use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use thiserror::Error;

pub(crate) use effort::Effort;
pub(crate) use matcher::Matcher;

/// How large a compiled pattern may be, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

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
    #[error("it takes too much work")]
    TooSlow,
}

/// A pattern that names match or don't.
#[derive(Debug)]
pub(crate) struct NamePattern(NFA);

impl NamePattern {
    /// Fails also where reading and compiling it takes more work than is left.
    pub(crate) fn new(pattern: &str, effort: &mut Effort) -> Result<NamePattern, PatternError> {
        effort.allow_pattern();
        let whole = syntax::parse(pattern, effort)?;
        // Whatever it becomes is paid for by then.
        let bytes_max = effort.left().min(COMPILED_BYTES_MAX);
        let bounded =
            thompson::Config::new().nfa_size_limit(Some(bytes_max)).which_captures(WhichCaptures::None);
        match thompson::Compiler::new().configure(bounded).build_from_hir(&whole) {
            Ok(nfa) => {
                effort.spend(nfa.memory_usage())?;
                Ok(NamePattern(nfa))
            }
            Err(error) if error.size_limit().is_some() => {
                effort.spend(bytes_max)?;
                Err(if bytes_max < COMPILED_BYTES_MAX {
                    PatternError::TooSlow
                } else {
                    PatternError::TooLarge
                })
            }
            Err(error) => Err(PatternError::Syntax(error.to_string())),
        }
    }

    pub(crate) fn matcher(&self) -> Matcher<'_> {
        Matcher::new(&self.0)
    }

    /// Those of the names that match.
    pub(crate) fn all_matching<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        effort: &mut Effort,
    ) -> Result<Vec<&'n str>, PatternError> {
        let mut matcher = self.matcher();
        let matching = names.filter_map(|name| match matcher.matches(name, effort) {
            Ok(matches) => matches.then_some(Ok(name)),
            Err(error) => Some(Err(error)),
        });
        matching.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let mut effort = Effort::default();
        let compiled = NamePattern::new(pattern, &mut effort).expect("a pattern");
        let mut matcher = compiled.matcher();
        for (names, expected) in [(matching, true), (others, false)] {
            for name in names {
                assert_eq!(matcher.matches(name, &mut effort), Ok(expected), "{pattern} and {name}");
            }
        }
    }

    fn new(pattern: &str) -> Result<NamePattern, PatternError> {
        NamePattern::new(pattern, &mut Effort::default())
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
            assert!(matches!(new(pattern), Err(PatternError::Syntax(_))), "{pattern}");
        }
        let deep = format!("{}a{}", "(".repeat(300), ")".repeat(300));
        assert!(matches!(new(&deep), Err(PatternError::Syntax(_))));
    }

    #[test]
    fn what_compiles_to_too_much() {
        for pattern in ["a{1000}{1000}{1000}", r"\pL{1000}", "((a{0,999}){0,999}){0,999}", "(.|..){9999}"] {
            assert_eq!(new(pattern).unwrap_err(), PatternError::TooLarge, "{pattern}");
        }
    }

    fn random_names(count: usize, length: usize) -> Vec<String> {
        let mut random = 1_u64;
        let mut letter = |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + ((random >> 33) % 26) as u8)
        };
        (0..count).map(|_| (0..length).map(&mut letter).collect()).collect()
    }

    fn matching(pattern: &str, names: &[String], effort: &mut Effort) -> Result<usize, PatternError> {
        let pattern = NamePattern::new(pattern, effort)?;
        effort.allow_names(names.iter().map(String::len).sum());
        pattern.all_matching(names.iter().map(String::as_str), effort).map(|matching| matching.len())
    }

    const HOSTILE: &str = "[a-z]*[a-z]{0,250}[a-z]{0,4000}";

    /// In the one, names lead to hundreds of places; in the other each byte is followed by thousands of ways that lead nowhere.
    #[test]
    fn what_takes_too_long_to_match_is_given_up() {
        let nowhere = format!("(?:(?:{})[a-z])*[a-m][a-z]{{0,300}}", "|".repeat(10_000));
        let names = random_names(20, 249);
        for pattern in [HOSTILE, &nowhere] {
            let mut effort = Effort::of(1 << 20);
            assert!(matching(pattern, &[String::from("abc")], &mut effort).is_ok());
            assert_eq!(matching(pattern, &names, &mut effort), Err(PatternError::TooSlow));
        }
        assert!(matching(HOSTILE, &names[..5], &mut Effort::default()).is_ok());
    }

    /// Many patterns get no more together than one does, but for what any pattern takes.
    #[test]
    fn patterns_that_are_matched_together_share_what_may_be_done() {
        let names = random_names(2, 249);
        let mut effort = Effort::of(2 << 20);
        let refused = (0..100).position(|_| matching(HOSTILE, &names, &mut effort).is_err());
        assert!(refused.is_some_and(|before| before > 1), "{refused:?}");
        assert_eq!(matching("[a-z]+", &names, &mut effort), Ok(2));
    }

    /// Those are the costliest that were found: of much text, of classes that ignore case, and of many bytes once compiled.
    #[test]
    fn patterns_that_are_compiled_together_share_what_may_be_done() {
        let costly = [
            r"\w".repeat(1 << 14),
            format!("(?i){}", r"[\x00-\x{ff000}]".repeat(3)),
            r"\pN{200}".to_owned(),
            "((a{0,999}){0,999}){0,999}".to_owned(),
        ];
        for pattern in costly {
            let begin: String = pattern.chars().take(30).collect();
            let mut effort = Effort::of(8 << 20);
            let tries = (0..100).map(|_| NamePattern::new(&pattern, &mut effort).err());
            let before = tries.take_while(|error| *error != Some(PatternError::TooSlow)).count();
            assert!((1..20).contains(&before), "{begin}: {before}");
            assert_eq!(effort.left(), 0, "{begin}");
            // What any pattern may take is not taken from those that follow.
            assert_eq!(
                NamePattern::new(&pattern, &mut effort).unwrap_err(),
                PatternError::TooSlow,
                "{begin}"
            );
            for usual in [
                r"[\w.-]+\.events\.(eu|us|asia)-\d+",
                r"team-\pL+\..*",
                r"(?i)team-.*",
                &"orders|".repeat(30),
            ] {
                assert!(NamePattern::new(usual, &mut Effort::of(0)).is_ok(), "{usual}");
                assert!(NamePattern::new(usual, &mut effort).is_ok(), "{usual} after {begin}");
            }
        }
    }

    /// A list of names, each of which there is, is no hostile pattern.
    #[test]
    fn long_lists_of_names_are_matched() {
        let names: Vec<String> =
            (0..500).map(|number| format!("department-{number}.orders.events")).collect();
        let pattern = names.join("|");
        assert!(pattern.len() > 12_000);
        let pattern = new(&pattern).expect("a pattern");
        let others: Vec<String> = (0..9_000).map(|number| format!("department-{number}.orders")).collect();
        let all = names.iter().chain(&others).map(String::as_str);
        let matching = pattern.all_matching(all, &mut Effort::default());
        assert_eq!(matching.expect("they match").len(), names.len());
    }
}
