//! Every setting that the tables call acted on is shown to be by a test: `crates/config/tables/shown.tsv` names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::ChoreError;

const TABLES: &str = "crates/config/tables";
const NAMES: [&str; 4] = ["broker", "topic", "group", "entity"];
/// Between the mark of a test and its name there may be other marks.
const LINES_BEFORE: usize = 4;

/// One finding an acted-on key without a test, a test that does not exist or does not have to do with its key, and a key
/// that is shown to be acted on while its table says no.
pub fn check(root: &Path) -> Result<Vec<String>, ChoreError> {
    let mut acted_on = BTreeMap::new();
    for table in NAMES {
        let text = read(&root.join(TABLES).join(format!("{table}.tsv")))?;
        acted_on.extend(keys(&text).into_iter().map(|(key, is)| ((table.to_owned(), key.to_owned()), is)));
    }
    let shown = read(&root.join(TABLES).join("shown.tsv"))?;
    let mut sources = BTreeMap::new();
    for path in shown.lines().skip(1).filter_map(|line| Some(Line::parse(line)?.file)) {
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            sources.insert(path.to_owned(), text);
        }
    }
    Ok(compare(&acted_on, &shown, &sources))
}

fn read(path: &Path) -> Result<String, ChoreError> {
    fs::read_to_string(path)
        .map_err(|source| ChoreError::Io { what: format!("reading {}", path.display()), source })
}

/// Names of a table, and whether they are acted on.
fn keys(table: &str) -> Vec<(&str, bool)> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| header.iter().position(|cell| *cell == name);
    let (Some(name), Some(acted_on)) = (column("name"), column("acted_on")) else { return Vec::new() };
    let cells = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    cells.filter_map(|cells| Some((*cells.get(name)?, *cells.get(acted_on)? == "true"))).collect()
}

struct Line<'a> {
    table: &'a str,
    key: &'a str,
    file: &'a str,
    test: &'a str,
}

impl Line<'_> {
    fn parse(line: &str) -> Option<Line<'_>> {
        let mut cells = line.split('\t');
        let (table, key, test) = (cells.next()?, cells.next()?, cells.next()?);
        let (file, test) = test.split_once("::")?;
        Some(Line { table, key, file, test })
    }
}

type Key = (String, String);

fn compare(acted_on: &BTreeMap<Key, bool>, shown: &str, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut with_test = BTreeSet::new();
    let mut previous = ("", "");
    for (number, text) in (2..).zip(shown.lines().skip(1)) {
        let mut finding = |what: String| findings.push(format!("{TABLES}/shown.tsv:{number}: {what}"));
        let Some(line) = Line::parse(text) else {
            finding("this is not table, key and file::test".to_owned());
            continue;
        };
        if (line.table, line.key) < previous {
            finding(format!(
                "{} {} must not stand behind {}: lines are sorted",
                line.table, line.key, previous.1
            ));
        }
        previous = (line.table, line.key);
        match acted_on.get(&(line.table.to_owned(), line.key.to_owned())) {
            None => finding(format!("{}.tsv has no {}", line.table, line.key)),
            Some(false) => {
                finding(format!("{} is shown to be acted on; {}.tsv says no", line.key, line.table))
            }
            Some(true) => {}
        }
        match sources.get(line.file) {
            None => finding(format!("there is no {}", line.file)),
            Some(source) if !has_test(source, line.test) => {
                finding(format!("{} has no test {}", line.file, line.test));
            }
            Some(source) if !mentions(source, line.key) => {
                finding(format!("{} does not mention {}", line.file, line.key));
            }
            Some(_) => drop(with_test.insert((line.table.to_owned(), line.key.to_owned()))),
        }
    }
    for ((table, key), _) in acted_on.iter().filter(|(key, is)| **is && !with_test.contains(*key)) {
        findings.push(format!(
            "{TABLES}/{table}.tsv: {key} is acted on, and shown.tsv names no test whose outcome it changes"
        ));
    }
    findings
}

fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let is_marked = |at: usize| {
        let before = lines.get(at.saturating_sub(LINES_BEFORE)..at).unwrap_or_default();
        before.iter().any(|line| line.trim() == "#[test]" || line.trim().starts_with("#[tokio::test"))
    };
    let head = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| line.contains(&head) && is_marked(at))
}

/// By its name, or by the constant that stands for it.
fn mentions(source: &str, key: &str) -> bool {
    source.contains(key) || source.contains(&key.to_uppercase().replace(['.', '-'], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "// c d e\n#[test]\nfn it_acts() { set(\"a.b\") }\n\n\n\n\nfn no_test() {}\n";

    fn found(shown: &str) -> Vec<String> {
        let key = |key: &str| ("broker".to_owned(), key.to_owned());
        let acted_on = BTreeMap::from([(key("a.b"), true), (key("c"), false), (key("d"), true)]);
        let sources = BTreeMap::from([
            ("f.rs".to_owned(), SOURCE.to_owned()),
            ("other.rs".to_owned(), SOURCE.replace("a.b", "x")),
        ]);
        compare(&acted_on, &format!("table\tkey\ttest\n{shown}"), &sources)
    }

    #[test]
    fn what_is_not_shown_is_found() {
        let check = |shown: &str, expected: &[&str]| {
            let found = found(shown);
            assert_eq!(found.len(), expected.len(), "{shown}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found} has no {expected}");
            }
        };
        let none = ["a.b is acted on, and", "d is acted on, and"];
        check("", &none);
        check("broker\ta.b\tf.rs::it_acts", &none[1..]);
        check("broker\ta.b\tf.rs::no_test", &["f.rs has no test no_test", none[0], none[1]]);
        check("broker\ta.b\tg.rs::it_acts", &["there is no g.rs", none[0], none[1]]);
        check("broker\td\tf.rs::it_acts", &[none[0]]);
        check("broker\tc\tf.rs::it_acts", &["c is shown to be acted on", none[0], none[1]]);
        check("broker\te\tf.rs::it_acts", &["broker.tsv has no e", none[0], none[1]]);
        check("broker\td\tf.rs::it_acts\nbroker\ta.b\tf.rs::it_acts", &["lines are sorted"]);
        check("broker\ta.b\tother.rs::it_acts", &["other.rs does not mention a.b", none[0], none[1]]);
        check("nonsense", &["this is not table", none[0], none[1]]);
    }

    #[test]
    fn keys_are_mentioned_by_name_or_constant() {
        assert!(mentions("keys::LOG_DIRS", "log.dirs") && mentions("\"log.dirs\"", "log.dirs"));
        assert!(!mentions("log.dir", "log.dirs"));
    }
}
