//! Names as shells match them: `*` stands for anything, `?` for one character.

use regex::Regex;

use crate::error::Failure;

/// None match everything.
#[derive(Debug)]
pub struct Patterns(Vec<Regex>);

impl Patterns {
    pub fn new(patterns: &[String]) -> Result<Patterns, Failure> {
        let compiled = patterns.iter().map(|pattern| {
            let escaped = regex::escape(pattern).replace("\\*", ".*").replace("\\?", ".");
            Regex::new(&format!("^(?s:{escaped})$"))
                .map_err(|error| Failure::usage(format!("'{pattern}' is no pattern: {error}")))
        });
        Ok(Patterns(compiled.collect::<Result<_, _>>()?))
    }

    pub fn match_name(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_whole_names() {
        let of = |patterns: &[&str]| {
            Patterns::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        for (patterns, name, expected) in [
            (&[][..], "a", true),
            (&["a"][..], "a", true),
            (&["a"][..], "ab", false),
            (&["a*"][..], "ab", true),
            (&["a.b"][..], "axb", false),
            (&["a?b"][..], "axb", true),
            (&["x", "*b"][..], "ab", true),
        ] {
            assert_eq!(of(patterns).match_name(name), expected, "{patterns:?} {name}");
        }
    }
}
