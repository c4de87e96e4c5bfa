//! Command lines read as joptsimple reads them.
//!
//! An option may have one dash or two, and takes its value from behind `=` or from the next word, whatever that is; where the
//! value may be missing, the next word is taken unless it looks like an option. What is no option is ignored. Abbreviations, which
//! the library knows, are not allowed by Kafka.

use super::suggest::hint_for_option;
use super::table::{Flag, Grammar, Takes};
use super::{Misuse, Parsed};

pub(super) fn parse(grammar: &Grammar, args: &[String]) -> Result<Parsed, Misuse> {
    let mut parsed = Parsed { words: args.to_vec(), ..Parsed::default() };
    parsed.note_defaults(&grammar.flags);
    let mut words = args.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let (name, value) = match split(word) {
            Some(parts) => parts,
            None => {
                parsed.ignored.push(word.clone());
                continue;
            }
        };
        match recognize(&grammar.flags, name) {
            Some(flag) => {
                let value = match (flag.takes, value) {
                    (Takes::Nothing, _) => None,
                    (_, Some(value)) => Some(value.to_owned()),
                    (Takes::Perhaps, None) => {
                        words.next_if(|next| !looks_like_an_option(&grammar.flags, next)).cloned()
                    }
                    (_, None) => Some(words.next().cloned().ok_or_else(|| misses_value(flag))?),
                };
                accept(&mut parsed, flag, value)?;
            }
            None if word.starts_with("--") => return Err(unknown(grammar, name)),
            None => cluster(grammar, &mut parsed, word, &mut words)?,
        }
    }
    Ok(parsed)
}

/// Name and value of what has dashes.
fn split(word: &str) -> Option<(&str, Option<&str>)> {
    let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|bare| !bare.is_empty())?;
    Some(match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    })
}

/// The option of that name.
fn recognize<'a>(flags: &'a [Flag], name: &str) -> Option<&'a Flag> {
    flags.iter().find(|flag| bare(flag) == name)
}

fn bare(flag: &Flag) -> &'static str {
    flag.name().trim_start_matches('-')
}

fn looks_like_an_option(flags: &[Flag], word: &str) -> bool {
    split(word).is_some_and(|(name, _)| word.starts_with("--") || recognize(flags, name).is_some())
}

/// One dash and several letters that are an option each; the first that takes a value takes the rest.
fn cluster<'a>(
    grammar: &Grammar,
    parsed: &mut Parsed,
    word: &str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<(), Misuse> {
    let letters = word.trim_start_matches('-');
    for (at, letter) in letters.char_indices() {
        let name = letter.to_string();
        let flag = recognize(&grammar.flags, &name).ok_or_else(|| {
            let whole = unknown(grammar, letters);
            Misuse { text: format!("{name} is not a recognized option"), ..whole }
        })?;
        if flag.takes == Takes::Nothing {
            accept(parsed, flag, None)?;
            continue;
        }
        let rest = letters.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
        let value = rest.map(str::to_owned).or_else(|| words.next().cloned());
        return accept(parsed, flag, Some(value.ok_or_else(|| misses_value(flag))?));
    }
    Ok(())
}

fn accept(parsed: &mut Parsed, flag: &Flag, value: Option<String>) -> Result<(), Misuse> {
    if let Some(text) = value.as_deref().filter(|text| !flag.value.admits(text)) {
        return Err(Misuse::new(format!("Cannot parse argument '{text}' of option {}", bare(flag)))
            .hinting(Some(format!("It must be a number of Java's type {}.", flag.value.java_name()))));
    }
    if flag.takes == Takes::One && parsed.has(flag.name()) {
        let text = format!("Found multiple arguments for option {}, but you asked for only one", bare(flag));
        return Err(Misuse::new(text).hinting(Some(format!("Give {} once.", flag.name()))));
    }
    parsed.note(flag, value);
    Ok(())
}

fn misses_value(flag: &Flag) -> Misuse {
    Misuse::new(format!("Option {} requires an argument", bare(flag)))
}

fn unknown(grammar: &Grammar, name: &str) -> Misuse {
    Misuse::new(format!("{name} is not a recognized option")).hinting(hint_for_option(
        grammar.tool,
        &grammar.flags,
        name,
    ))
}
