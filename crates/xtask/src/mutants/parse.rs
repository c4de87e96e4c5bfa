//! The file of one variant:
//!
//! ```text
//! What the variant does wrong, in a sentence.
//! file: crates/log/src/segment.rs
//! test: ottla-log --lib segment::tests::name
//! --- is
//! lines that occur once in the file
//! --- becomes
//! lines that take their place; none at all if nothing does
//! ```
//!
//! Several tests may be named, each of which must catch it. A test in `crates/sim/tests/seeds.rs` is written as
//! `ottla-sim --test seeds name`, and the seed that is to catch it as `ottla-sim --test seeds name with SIM_SEED=7`.

use std::fmt;
use std::fs;
use std::path::Path;

/// A variant of the software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    pub name: String,
    pub says: String,
    /// From the workspace's root.
    pub file: String,
    /// At least one.
    pub tests: Vec<TestName>,
    is: String,
    becomes: String,
}

/// A test: in which package and target, and its path there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestName {
    pub package: String,
    /// The integration test's name; none is the library.
    pub target: Option<String>,
    pub path: String,
    /// An environment variable and its value.
    pub with: Option<(String, String)>,
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{} --test {target} {}", self.package, self.path),
            None => write!(f, "{} --lib {}", self.package, self.path),
        }?;
        match &self.with {
            Some((variable, value)) => write!(f, " with {variable}={value}"),
            None => Ok(()),
        }
    }
}

impl Mutant {
    /// The file's text with the change. An error if the text to change is not there exactly once.
    pub fn apply(&self, root: &Path) -> Result<String, String> {
        let text = fs::read_to_string(root.join(&self.file))
            .map_err(|error| format!("{} can't be read: {error}", self.file))?;
        match text.matches(&self.is).count() {
            1 => Ok(text.replacen(&self.is, &self.becomes, 1)),
            times => Err(format!("the text to change is {times} times in {}", self.file)),
        }
    }
}

/// Reads a variant's file.
pub fn parse(name: &str, text: &str) -> Result<Mutant, String> {
    let (head, change) = text.split_once("\n--- is\n").ok_or("there is no line \"--- is\"")?;
    let (is, becomes) = change.split_once("--- becomes\n").ok_or("there is no line \"--- becomes\"")?;
    let (mut says, mut file, mut tests) = (Vec::new(), None, Vec::new());
    for line in head.lines() {
        if let Some(path) = line.strip_prefix("file: ") {
            file = Some(path.trim().to_owned());
        } else if let Some(name) = line.strip_prefix("test: ") {
            tests.push(parse_test(name)?);
        } else {
            says.push(line);
        }
    }
    if is.trim().is_empty() || is == becomes {
        return Err("it changes nothing".to_owned());
    }
    if tests.is_empty() {
        return Err("there is no line \"test: \"".to_owned());
    }
    if says.is_empty() {
        return Err("it does not say what it does wrong".to_owned());
    }
    Ok(Mutant {
        name: name.to_owned(),
        says: says.join(" "),
        file: file.ok_or("there is no line \"file: \"")?,
        tests,
        is: is.to_owned(),
        becomes: becomes.to_owned(),
    })
}

fn parse_test(text: &str) -> Result<TestName, String> {
    let (text, with) = match text.split_once(" with ") {
        Some((test, with)) => {
            let (variable, value) = with.split_once('=').ok_or_else(|| format!("{with:?} sets nothing"))?;
            (test, Some((variable.trim().to_owned(), value.trim().to_owned())))
        }
        None => (text, None),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (package, target, path) = match words[..] {
        [package, "--lib", path] => (package, None, path),
        [package, "--test", target, path] => (package, Some(target.to_owned()), path),
        _ => return Err(format!("{text:?} names no test")),
    };
    Ok(TestName { package: package.to_owned(), target, path: path.to_owned(), with })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "It is wrong.\nfile: a/b.rs\ntest: ottla-a --test t m::n\n--- is\n  x;\n--- becomes\n  y;\n";

    #[test]
    fn a_variant_is_read() {
        let mutant = parse("wrong", TEXT).unwrap();
        assert_eq!((mutant.says.as_str(), mutant.file.as_str()), ("It is wrong.", "a/b.rs"));
        assert_eq!(
            mutant.tests.iter().map(TestName::to_string).collect::<Vec<_>>(),
            ["ottla-a --test t m::n"]
        );
        assert_eq!((mutant.is.as_str(), mutant.becomes.as_str()), ("  x;\n", "  y;\n"));
        assert_eq!(parse("wrong", &TEXT.replace("  y;\n", "")).unwrap().becomes, "");
    }

    #[test]
    fn several_tests_may_catch_it() {
        let seed = "test: ottla-sim --test clusters m with SIM_SEED=7";
        let mutant = parse("wrong", &TEXT.replace("\n--- is", &format!("\n{seed}\n--- is"))).unwrap();
        let named = mutant.tests.iter().map(|test| format!("test: {test}")).collect::<Vec<_>>();
        assert_eq!(named, ["test: ottla-a --test t m::n", seed]);
        assert_eq!(mutant.tests[1].with, Some(("SIM_SEED".to_owned(), "7".to_owned())));
    }

    #[test]
    fn what_is_no_variant_is_refused() {
        for (from, to) in [
            ("--- is", "--- was"),
            ("--- becomes", "--- is not"),
            ("file: ", ""),
            ("test: ", ""),
            ("--test t", "--bench t"),
            ("m::n", "m::n with SIM_SEED"),
            ("  y;", "  x;"),
            ("It is wrong.\n", ""),
        ] {
            assert!(parse("wrong", &TEXT.replace(from, to)).is_err(), "without {from:?}");
        }
    }
}
