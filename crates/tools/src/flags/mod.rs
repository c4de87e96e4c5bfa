//! Flags of tools: the table that declares them, and the two ways in which Kafka's tools read them.
//!
//! Most tools read flags as the library joptsimple does, those with sub-commands as argparse4j does: abbreviations, values
//! behind `=`, what counts as a value, what is said of a wrong line. Both give one [`Parsed`], whose values have been checked
//! against their types. A flag that isn't in the table can't be read: [`Parsed`] knows it by the name there.

mod commands;
mod former;
mod help;
mod options;
mod suggest;
mod table;

use std::collections::BTreeMap;

use crate::tool::Failure;
pub(crate) use former::former_class;
pub use former::former_tool;
pub(crate) use help::commands_help;
pub use help::{command_line_help, usage};
pub use suggest::nearest;
pub use table::{Flag, Grammar, Style, Takes, Value, tools};

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// Kafka's words, where it has some.
    pub text: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The sub-command in whose flags it was found.
    pub command: Option<&'static str>,
}

impl Misuse {
    fn new(text: impl Into<String>) -> Misuse {
        Misuse { text: text.into(), hint: None, command: None }
    }

    fn hinting(self, hint: Option<String>) -> Misuse {
        Misuse { hint, ..self }
    }
}

/// A command line that was understood. Flags are asked for by the first of their names in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    command: Option<&'static str>,
    found: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    order: Vec<&'static str>,
    words: Vec<String>,
    /// Words that are neither flags nor their values.
    ignored: Vec<String>,
}

impl Parsed {
    /// The sub-command.
    pub fn command(&self) -> Option<&'static str> {
        self.command
    }

    /// There was nothing at all.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// What may have been meant by a word that is not looked at: the flag of that name.
    pub(crate) fn hint_for_ignored(&self, grammar: &Grammar) -> Option<String> {
        let named = |word: &&String| grammar.flags.iter().any(|flag| flag.name() == format!("--{word}"));
        let word = self.ignored.iter().find(named)?;
        Some(format!("{word} without dashes is not looked at. Did you mean --{word}?"))
    }

    /// The command line as it was.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Was the flag given?
    pub fn has(&self, flag: &str) -> bool {
        self.found.contains_key(flag)
    }

    /// The flag's value, or its default.
    pub fn value(&self, flag: &str) -> Option<&str> {
        let given = self.found.get(flag).and_then(|values| values.last()).map(String::as_str);
        given.or_else(|| self.defaults.get(flag).copied())
    }

    /// All values of a flag that may be repeated or takes several.
    pub fn values(&self, flag: &str) -> &[String] {
        self.found.get(flag).map(Vec::as_slice).unwrap_or_default()
    }

    /// Flags in the order of the command line, each as often as it stands there.
    pub fn order(&self) -> &[&'static str] {
        &self.order
    }

    /// The value of a flag that the table says is a number, or its default.
    pub fn number<T: std::str::FromStr>(&self, flag: &str) -> Option<T> {
        self.value(flag)?.trim_start_matches('+').parse().ok()
    }

    /// Fails where flags stand beside one that they can't be used with. Names are without dashes.
    pub fn refuse_beside(&self, flag: &str, others: &[&str]) -> Result<(), Failure> {
        let has = |name: &str| self.has(&format!("--{name}"));
        match others.iter().find(|other| has(flag) && has(other)) {
            Some(other) => {
                Err(Failure::Usage(format!("Option \"[{flag}]\" can't be used with option \"[{other}]\"")))
            }
            None => Ok(()),
        }
    }

    fn note(&mut self, flag: &Flag, value: Option<String>) {
        self.order.push(flag.name());
        self.found.entry(flag.name()).or_default().extend(value);
    }

    fn note_defaults(&mut self, flags: &[Flag]) {
        let with_default = flags.iter().filter_map(|flag| Some((flag.name(), flag.default?)));
        self.defaults.extend(with_default);
    }
}

/// Reads a tool's command line, without the tool's name.
pub fn parse(grammar: &Grammar, args: &[String]) -> Result<Parsed, Misuse> {
    match grammar.style {
        Style::Options => options::parse(grammar, args),
        Style::Commands => commands::parse(grammar, args),
    }
}

#[cfg(test)]
mod tests;
