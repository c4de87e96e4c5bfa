//! Names of topics that a pattern chooses.

use ottla_types::is_internal_topic;
use regex::Regex;

use crate::tool::{Failure, said};

/// A regular expression that whole names must match. Commas part alternatives, quotes are left out.
#[derive(Clone, Debug)]
pub(crate) struct Names(Regex);

impl Names {
    pub(crate) fn parse(pattern: &str) -> Result<Names, Failure> {
        let expression =
            pattern.trim().replace(',', "|").replace(' ', "").trim_matches(['"', '\'']).to_owned();
        let regex = Regex::new(&format!("^(?:{expression})$")).map_err(|error| {
            said(format_args!("{pattern} is not a regular expression that is understood here: {error}"))
        })?;
        Ok(Names(regex))
    }

    pub(crate) fn allows(&self, topic: &str, excludes_internal: bool) -> bool {
        self.0.is_match(topic) && !(excludes_internal && is_internal_topic(topic))
    }
}

/// That a pattern to subscribe to can be understood.
pub(crate) fn check_subscription(pattern: &str) -> Result<(), Failure> {
    Regex::new(&format!("^(?:{pattern})$")).map(drop).map_err(|error| {
        said(format_args!("{pattern} is not a regular expression that is understood here: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_matched() {
        for (pattern, topic, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a.*", "ab", true),
            ("a,b", "b", true),
            ("\"a\"", "a", true),
            ("test\\.topic", "test-topic", false),
        ] {
            assert_eq!(Names::parse(pattern).unwrap().allows(topic, false), expected, "{pattern} {topic}");
        }
        let all = Names::parse(".*").unwrap();
        assert!(all.allows("__consumer_offsets", false) && !all.allows("__consumer_offsets", true));
        assert!(Names::parse("(").is_err());
    }
}
