//! Command lines read as argparse4j reads them.
//!
//! The tool's own options stand before the sub-command, the sub-command's behind it. A value is never a word that begins with
//! a dash, unless it is a negative number or stands behind `=`. Long options may be abbreviated as long as only one begins so.

use super::former::former_flag;
use super::suggest::{hint_for_misplaced, nearest};
use super::table::{Flag, Grammar, Takes};
use super::{Misuse, Parsed};

pub(super) fn parse(grammar: &Grammar, args: &[String]) -> Result<Parsed, Misuse> {
    let mut parsed = Parsed { words: args.to_vec(), ..Parsed::default() };
    let mut words = Words { args, at: 0 };
    let outer = Level { grammar, flags: &grammar.flags, command: None };
    outer.read(&mut words, &mut parsed)?;
    if let Some(command) = parsed.command {
        let flags = grammar.command(command).map(|(_, flags)| flags.as_slice()).unwrap_or_default();
        Level { grammar, flags, command: Some(command) }
            .read(&mut words, &mut parsed)
            .map_err(|misuse| Misuse { command: Some(command), ..misuse })?;
    }
    Ok(parsed)
}

struct Words<'a> {
    args: &'a [String],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    fn peek(&self) -> Option<&'a str> {
        self.args.get(self.at).map(String::as_str)
    }

    /// The next word if it can be a value.
    fn value(&mut self) -> Option<&'a str> {
        self.peek().filter(|word| !is_option(word))?;
        self.next()
    }
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err()
}

/// The tool's own flags, or those of one sub-command.
struct Level<'a> {
    grammar: &'a Grammar,
    flags: &'a [Flag],
    command: Option<&'static str>,
}

impl Level<'_> {
    /// Up to the sub-command, or to the end.
    fn read(&self, words: &mut Words<'_>, parsed: &mut Parsed) -> Result<(), Misuse> {
        parsed.note_defaults(self.flags);
        let mut positionals = self.flags.iter().filter(|flag| flag.is_positional());
        while let Some(word) = words.next() {
            if is_option(word) {
                self.option(word, words, parsed)?;
                if parsed.has("--help") || parsed.has("--version") {
                    return Ok(());
                }
            } else if self.has_commands() {
                self.choose_command(word, parsed)?;
                break;
            } else if let Some(flag) = positionals.next() {
                self.accept(flag, Some(word.to_owned()), parsed)?;
                while let (Takes::Several { .. }, Some(more)) = (flag.takes, words.value()) {
                    self.accept(flag, Some(more.to_owned()), parsed)?;
                }
            } else {
                return Err(Misuse::new(format!("unrecognized arguments: '{word}'")));
            }
        }
        self.check_complete(parsed)
    }

    fn has_commands(&self) -> bool {
        self.command.is_none() && !self.grammar.commands.is_empty()
    }

    fn choose_command(&self, word: &str, parsed: &mut Parsed) -> Result<(), Misuse> {
        if let Some((command, _)) = self.grammar.command(word) {
            parsed.command = Some(command);
            return Ok(());
        }
        let names: Vec<&str> = self.grammar.commands.iter().map(|(name, _)| *name).collect();
        let choices: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let hint = nearest(word, names.iter().copied()).map(|name| format!("Did you mean {name}?"));
        Err(Misuse::new(format!("invalid choice: '{word}' (choose from {})", choices.join(", ")))
            .hinting(hint))
    }

    fn option(&self, word: &str, words: &mut Words<'_>, parsed: &mut Parsed) -> Result<(), Misuse> {
        let (name, attached) = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let Some(flag) = self.recognize(name)? else {
            return self.letters(word, words, parsed);
        };
        match (flag.takes, attached) {
            (Takes::Nothing, None) => self.accept(flag, None, parsed),
            (Takes::Nothing, Some(value)) => {
                Err(self.wrong(flag, &format!("ignore implicit argument '{value}'")))
            }
            (_, Some(value)) => self.accept(flag, Some(value.to_owned()), parsed),
            (Takes::Several { at_least }, None) => {
                let mut count = 0;
                while let Some(value) = words.value() {
                    self.accept(flag, Some(value.to_owned()), parsed)?;
                    count += 1;
                }
                if count < at_least {
                    return Err(self.wrong(flag, "expected at least one argument"));
                }
                Ok(())
            }
            (_, None) => {
                let value = words.value().ok_or_else(|| self.wrong(flag, "expected one argument"))?;
                self.accept(flag, Some(value.to_owned()), parsed)
            }
        }
    }

    fn recognize(&self, name: &str) -> Result<Option<&Flag>, Misuse> {
        if let Some(flag) = self.flags.iter().find(|flag| flag.names.contains(&name)) {
            return Ok(Some(flag));
        }
        if !name.starts_with("--") {
            return Ok(None);
        }
        let begins = |flag: &&Flag| flag.names.iter().any(|long| long.starts_with(name));
        let found: Vec<&Flag> = self.flags.iter().filter(begins).collect();
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            several => {
                let names: Vec<&str> = several.iter().map(|flag| flag.name()).collect();
                let hint = former_flag(self.grammar.tool, name).map(str::to_owned);
                Err(Misuse::new(format!("ambiguous option: {name} could match {}", names.join(", ")))
                    .hinting(hint))
            }
        }
    }

    /// Short options in one word; the first that takes a value takes the rest.
    fn letters(&self, word: &str, words: &mut Words<'_>, parsed: &mut Parsed) -> Result<(), Misuse> {
        let unknown = || {
            let hint = hint_for_misplaced(self.grammar, self.flags, self.command, word);
            Misuse::new(format!("unrecognized arguments: '{word}'")).hinting(hint)
        };
        let letters = word.strip_prefix('-').filter(|_| !word.starts_with("--")).ok_or_else(unknown)?;
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            let flag =
                self.flags.iter().find(|flag| flag.names.contains(&name.as_str())).ok_or_else(unknown)?;
            if flag.takes == Takes::Nothing {
                self.accept(flag, None, parsed)?;
                continue;
            }
            let rest = letters.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
            let value = rest.or_else(|| words.value());
            let value = value.ok_or_else(|| self.wrong(flag, "expected one argument"))?;
            return self.accept(flag, Some(value.to_owned()), parsed);
        }
        Ok(())
    }

    fn accept(&self, flag: &Flag, value: Option<String>, parsed: &mut Parsed) -> Result<(), Misuse> {
        if let Some(text) = value.as_deref().filter(|text| !flag.value.admits(text)) {
            return Err(self.wrong(
                flag,
                &format!(
                    "could not convert '{text}' to {} (For input string: \"{text}\")",
                    flag.value.java_name()
                ),
            ));
        }
        if let Some((group, _)) = flag.group() {
            let other = self.flags.iter().find(|other| {
                other.group().is_some_and(|(of, _)| of == group)
                    && other.name() != flag.name()
                    && parsed.has(other.name())
            });
            if let Some(other) = other {
                return Err(self.wrong(flag, &format!("not allowed with argument {}", shown(other))));
            }
        }
        if flag.takes == Takes::One {
            parsed.found.remove(flag.name()); // the last one counts
        }
        parsed.note(flag, value);
        Ok(())
    }

    fn check_complete(&self, parsed: &Parsed) -> Result<(), Misuse> {
        for flag in self.flags {
            if flag.required == "yes" && !parsed.has(flag.name()) {
                return Err(if flag.is_positional() {
                    Misuse::new("too few arguments")
                } else {
                    Misuse::new(format!("argument {} is required", shown(flag)))
                });
            }
        }
        for flag in self.flags {
            let Some((group, true)) = flag.group() else { continue };
            let of_group =
                || self.flags.iter().filter(|other| other.group().is_some_and(|(of, _)| of == group));
            if !of_group().any(|other| parsed.has(other.name())) {
                let names: Vec<String> = of_group().map(shown).collect();
                return Err(Misuse::new(format!("one of the arguments {} is required", names.join(" "))));
            }
        }
        if self.has_commands() && parsed.command.is_none() {
            return Err(Misuse::new("too few arguments"));
        }
        Ok(())
    }

    fn wrong(&self, flag: &Flag, text: &str) -> Misuse {
        Misuse::new(format!("argument {}: {text}", shown(flag)))
    }
}

fn shown(flag: &Flag) -> String {
    flag.names.join("/")
}
